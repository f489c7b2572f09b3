// SPDX-License-Identifier: Apache-2.0
// init: makes a new cluster with this node as its first, step by step; can always be repeated.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/init.h"

// To add a step: a function that looks first whether it is done, and a row.
static const struct {
    const char *text;
    int (*run)(struct kta_init *init, int *done, struct kt_error *error);
} STEPS[] = {
    {"folders", kta_init_folders},
    {"settings file", kta_init_settings},
    {"cluster id and node name", kta_init_names},
    {"promise file", kta_init_promise}, // its member id is in the node certificate and the database
    {"cluster's CA", kta_init_ca},
    {"server certificate", kta_init_server},
    {"node certificate", kta_init_node},
    {"node's files", kta_init_node_files}, // name its certificate
    {"receipt key", kta_init_receipt},
    {"cluster's OpenPGP key", kta_init_openpgp},
    {"identity file", kta_init_cluster_info}, // from here on it is a cluster
    {"secrets of the database roles", kta_init_secrets},
    {"data directory of PostgreSQL", kta_init_initdb},
    {"settings of PostgreSQL", kta_init_configure},
    {"roles, schema and first rows", kta_init_populate},
};
#define STEP_COUNT (int)(sizeof(STEPS) / sizeof(STEPS[0]))

static int walk_steps(struct kta_init *init, struct kt_error *error)
{
    int quiet = kt_cli_flag(init->run, "quiet");

    for (int i = 0; i < STEP_COUNT; i++) {
        int done = 0, rc;
        if (!quiet)
            fprintf(stderr, "[%2d/%d] %s ... ", i + 1, STEP_COUNT, STEPS[i].text);
        rc = STEPS[i].run(init, &done, error);
        if (!quiet)
            fprintf(stderr, "%s\n", rc ? "failed" : done ? "already there" : "done");
        if (rc)
            return rc;
        if (done && STEPS[i].run == kta_init_server && !quiet &&
            kt_cli_count(init->run, "external-name") > 0)
            fprintf(stderr, "note: --external-name changes nothing: the certificate is there "
                            "already\n");
    }
    return kta_init_finish(init, error);
}

static void print_json(const struct kta_init *init)
{
    char id[KT_UUID_TEXT], incarnation[KT_INCARNATION_TEXT];
    json_t *answer;

    kt_uuid_format(&init->info.cluster_id, id);
    kt_incarnation_format(&init->promise.incarnation, incarnation);
    answer = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "cluster_id", id, "node",
                       init->info.node, "member", init->promise.member, "incarnation", incarnation,
                       "openpgp_fingerprint", init->info.openpgp_fingerprint, "confdir",
                       init->paths.confdir, "data_directory", db_cluster_dir(init->cluster));
    kta_print_json(answer);
    json_decref(answer);
}

// Under systemd PostgreSQL may write below the base folder only.
static void print_drop_in(const struct kta_init *init)
{
    char *base = realpath(init->paths.base, NULL),
         *dir = realpath(db_cluster_dir(init->cluster), NULL);
    size_t n = base ? strlen(base) : 0;

    if (base && dir && (strncmp(dir, base, n) != 0 || dir[n] != '/'))
        fprintf(stderr,
                "note: '%s' is outside '%s'. For the unit keytrustee-db to write there:\n"
                "    systemctl edit keytrustee-db.service\n"
                "        [Service]\n"
                "        ReadWritePaths=%s\n",
                dir, base, dir);
    free(base);
    free(dir);
}

static void print_end(const struct kta_init *init)
{
    const char *given = kt_cli_value(init->run, "confdir");
    const char *option = given ? " -c " : "", *dir = given ? init->paths.confdir : "";

    printf("Initialized directory for 4096R/%s\n", init->info.openpgp_fingerprint);
    if (kt_cli_flag(init->run, "quiet"))
        return;
    printf("\nnext:\n"
           "  start the server            kts%s%s (or systemctl start keytrusteed)\n"
           "  start its database          ktadmin%s%s db --start --background\n"
           "  add an organisation         ktadmin%s%s org add NAME\n"
           "  let a client register       ktadmin%s%s authcode new NAME\n"
           "This node stands alone: what it acknowledges is on one disk. Back up '%s'.\n",
           option, dir, option, dir, option, dir, option, dir, init->paths.confdir);
}

static int run_init(struct kt_cli_run *run)
{
    struct kta_init init = {.run = run, .lock_fd = -1};
    struct kt_error error = {0};
    int rc = kta_init_prepare(&init, &error);

    if (rc == 0)
        rc = walk_steps(&init, &error);
    if (rc == 0 && kt_cli_flag(run, "json"))
        print_json(&init);
    else if (rc == 0)
        print_end(&init);
    if (rc == 0 && !kt_cli_flag(run, "quiet"))
        print_drop_in(&init);
    kta_init_unlock(&init);
    db_cluster_close(init.cluster);
    kt_settings_free(init.settings);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

static const struct kt_cli_option OPTIONS[] = {
    {"node", 0, "NAME", "name of this node: [a-z][a-z0-9-]{0,15} (from the host's name)"},
    {"port", 0, "PORT", "port of the HTTPS service (11371)"},
    {"agent-port", 0, "PORT", "port for other nodes and operators (11372)"},
    {"database-port", 0, "PORT", "port of PostgreSQL (11381)"},
    {"address", 0, "ADDRESS", "address that the HTTPS service listens on (0.0.0.0)"},
    {"advertise", 0, "HOST", "name or address by which the other nodes reach it (the host's name)"},
    {"external-name", 0, "NAME",
     "further host name or address in the server certificate; "
     "repeatable"},
    {"pg-rootdir", 0, "DIR", "PostgreSQL's data directory (db beside the confdir)"},
    {NULL},
};

const struct kt_cli_command kta_cmd_init = {
    .verb = "init",
    .arguments = "",
    .summary = "make a new cluster with this node as its first",
    .help = "Asks nothing. A run that was stopped at any point is repeated with the same command: "
            "it\ngoes on with what is there. What init did not make is never touched. As root it "
            "becomes\nthe owner of the folder above the confdir, or the account keytrustee.",
    .options = OPTIONS,
    .run = run_init,
};
