// SPDX-License-Identifier: Apache-2.0
// kts: the key trustee server.
#include <stdio.h>

#include "kts/master.h"
#include "lib/cli.h"
#include "lib/version.h"

static const struct kt_cli_option OPTIONS[] = {
    {"confdir", 'c', "DIR", "configuration directory (default: " KT_DEFAULT_CONFDIR ")"},
    {"check", 0, NULL, "load settings, identity and TLS files, report, and exit"},
    {"foreground", 0, NULL, "stay in the foreground (the default, and the only mode)"},
    {NULL, 0, NULL, NULL},
};

static void report(const struct kts_master *master)
{
    char cluster_id[KT_UUID_TEXT];

    kt_uuid_format(&master->info.cluster_id, cluster_id);
    printf("settings  %s\n", master->paths->settings);
    printf("cluster   %s\n", cluster_id);
    printf("node      %s\n", master->info.node);
    printf("openpgp   %s\n", master->info.openpgp_fingerprint);
    printf("https     %s port %s\n", kt_settings_text(master->settings, KT_SET_HTTPS_ADDRESS),
           kt_settings_text(master->settings, KT_SET_HTTPS_PORT));
    printf("agent     %s port %s\n", kt_settings_text(master->settings, KT_SET_HTTPS_ADDRESS),
           kt_settings_text(master->settings, KT_SET_AGENT_PORT));
    printf("database  port %s\n", kt_settings_text(master->settings, KT_SET_DATABASE_PORT));
}

static int run(struct kt_cli_run *cli)
{
    struct kts_master master = {.pid_fd = -1, .listen_fd = -1, .door_fd = -1};
    struct kt_error error = {0};
    struct kt_paths paths;
    int rc = kt_paths_resolve(kt_cli_value(cli, "confdir"), &paths, &error);

    if (rc == 0)
        rc = kts_master_load(&master, &paths, &error);
    if (rc == 0 && kt_cli_flag(cli, "check"))
        report(&master);
    else if (rc == 0)
        rc = kts_master_run(&master, &error);
    kts_master_unload(&master);
    return rc ? kt_cli_fail(cli, &error) : KT_EXIT_OK;
}

int main(int argc, char **argv)
{
    static const struct kt_cli_command COMMAND = {
        .verb = "",
        .arguments = "",
        .summary = "serve deposits over HTTPS",
        .help = "Run \"ktadmin init\" once before. SIGTERM stops the server, SIGHUP makes it read "
                "its settings and certificates again and reopen its log.",
        .options = NULL,
        .run = run,
    };
    static const struct kt_cli_command *const COMMANDS[] = {&COMMAND, NULL};
    static const struct kt_cli_program PROGRAM = {
        .name = "kts",
        .summary = "the key trustee server",
        .synopsis = "",
        .globals = OPTIONS,
        .commands = COMMANDS,
        .version = KT_VERSION_LINE,
    };

    return kt_cli_main(&PROGRAM, argc, argv);
}
