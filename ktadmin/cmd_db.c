// SPDX-License-Identifier: Apache-2.0
// db: start, stop and look at the private PostgreSQL of the node.
#include <stdio.h>
#include <string.h>

#include "db/cluster.h"
#include "ktadmin/commands.h"
#include "ktadmin/db_start.h"

#define START_S 120 // recovery after a crash may take a while
#define STOP_S  120

static int start(const struct kt_cli_run *run, const struct kta_node *node,
                 struct db_cluster *cluster, int *exit_code, struct kt_error *error)
{
    int port = (int)kt_settings_number(node->settings, KT_SET_DATABASE_PORT);
    struct kta_start_answer answer;
    enum db_run_state state;
    long pid = 0;
    int rc;

    if (!kt_cli_flag(run, "background"))
        return kta_supervise(node, cluster, exit_code, error);
    rc = kta_start_allowed(node, &answer, error);
    if (rc == 0)
        rc = db_cluster_start(cluster, START_S, error);
    if (rc == 0)
        rc = db_cluster_state(cluster, &state, &pid, error);
    if (rc == 0 && kt_cli_flag(run, "json"))
        printf("{\"state\": \"running\", \"pid\": %ld, \"port\": %d}\n", pid, port);
    else if (rc == 0 && !kt_cli_flag(run, "quiet"))
        printf("PostgreSQL is running (pid %ld, port %d)\n", pid, port);
    return rc;
}

static int stop(const struct kt_cli_run *run, const struct kta_node *node,
                struct db_cluster *cluster, struct kt_error *error)
{
    int rc = kta_want_no_start(node, error);

    if (rc == 0)
        rc = db_cluster_stop(cluster, STOP_S, error);

    if (rc == 0 && kt_cli_flag(run, "json"))
        printf("{\"state\": \"stopped\"}\n");
    else if (rc == 0 && !kt_cli_flag(run, "quiet"))
        printf("PostgreSQL is stopped\n");
    return rc;
}

// *exit_code receives 0 when it is running, 3 when not.
static int show(const struct kt_cli_run *run, const struct kta_node *node,
                struct db_cluster *cluster, int *exit_code, struct kt_error *error)
{
    static const char *const WORDS[] = {"stopped", "starting", "running", "stopping"};
    int port = (int)kt_settings_number(node->settings, KT_SET_DATABASE_PORT);
    enum db_run_state state;
    json_t *answer;
    long pid;
    int rc = db_cluster_state(cluster, &state, &pid, error);

    if (rc)
        return rc;
    *exit_code = state == DB_RUNNING ? KT_EXIT_OK : KT_EXIT_NOT_FOUND;
    answer = json_pack("{s:s, s:i, s:s, s:s}", "state", WORDS[state], "port", port, "directory",
                       db_cluster_dir(cluster), "socket_directory", node->paths.run);
    if (answer && pid)
        json_object_set_new(answer, "pid", json_integer(pid));
    if (kt_cli_flag(run, "json"))
        kta_print_json(answer);
    else if (pid)
        printf("PostgreSQL is %s (pid %ld, port %d, socket in %s)\n", WORDS[state], pid, port,
               node->paths.run);
    else
        printf("PostgreSQL is %s (%s)\n", WORDS[state], db_cluster_dir(cluster));
    json_decref(answer);
    return 0;
}

// --bootstrap of Key Trustee: init and join have made all that there is to make.
static int bootstrap(const struct kt_cli_run *run, struct db_cluster *cluster, int exists,
                     struct kt_error *error)
{
    const char *slave = kt_cli_value(run, "slave");

    if (!exists)
        return kt_error_set(error, KT_ERR_NOT_INITIALISED,
                            "ktadmin init --database-port PORT --pg-rootdir DIR",
                            "init makes the database too, and it is not there");
    if (!kt_cli_flag(run, "quiet"))
        printf("PostgreSQL is set up (%s)\n", db_cluster_dir(cluster));
    if (slave && !kt_cli_flag(run, "quiet"))
        printf("next, for %s to follow: ktadmin token new here, and ktadmin join TOKEN there\n",
               slave);
    return 0;
}

static int run_db(struct kt_cli_run *run)
{
    int starts = kt_cli_flag(run, "start"), stops = kt_cli_flag(run, "stop"),
        shows = kt_cli_flag(run, "status"), bootstraps = kt_cli_flag(run, "bootstrap");
    const char *root = kt_cli_value(run, "pg-rootdir"), *port = kt_cli_value(run, "port");
    struct db_cluster *cluster = NULL;
    struct kt_error error = {0};
    struct kta_node node = {0};
    int exit_code = KT_EXIT_OK, exists = 0, rc = 0;

    if (starts + stops + shows + bootstraps != 1)
        rc = kt_error_set(&error, KT_ERR_USAGE, NULL, "give one of --start, --stop and --status");
    if (rc == 0)
        rc = kta_open(run, KTA_FILES, &node, &error);
    if (rc == 0 && root)
        rc = kt_settings_set(node.settings, KT_SET_DATABASE_DIRECTORY, root, &error);
    if (rc == 0 && port && strcmp(port, kt_settings_text(node.settings, KT_SET_DATABASE_PORT)) != 0)
        rc = kt_error_set(&error, KT_ERR_USAGE, "change database.port in the settings file",
                          "--port %.20s is not the port of this node", port);
    if (rc == 0)
        rc = db_cluster_open(&node.paths, node.settings, &cluster, &error);
    if (rc == 0) // nobody else's is started, stopped or shown
        rc = db_cluster_look(cluster, &exists, &error);
    if (rc == 0 && starts)
        rc = start(run, &node, cluster, &exit_code, &error);
    else if (rc == 0 && bootstraps)
        rc = bootstrap(run, cluster, exists, &error);
    else if (rc == 0 && stops)
        rc = stop(run, &node, cluster, &error);
    else if (rc == 0)
        rc = show(run, &node, cluster, &exit_code, &error);
    db_cluster_close(cluster);
    kta_close(&node);
    return rc ? kt_cli_fail(run, &error) : exit_code;
}

static const struct kt_cli_option OPTIONS[] = {
    {"start", 0, NULL, "start and watch it, in the foreground; the server's agent is asked first"},
    {"background", 0, NULL, "with --start: in the background, returning when it takes connections"},
    {"stop", 0, NULL, "stop it; connections are ended"},
    {"status", 0, NULL, "show whether it runs; exit code 0 when it does, 3 when not"},
    {"pg-rootdir", 0, "DIR", "its data directory (database.directory of the settings)"},
    {"port", 0, "PORT", "(of Key Trustee) must be database.port of the settings"},
    {"bootstrap", 0, NULL, "(of Key Trustee) says that it is set up: init has done it"},
    {"slave", 0, "HOST", "(of Key Trustee) with --bootstrap: says how that host joins"},
    {NULL},
};

const struct kt_cli_command kta_cmd_db = {
    .verb = "db",
    .arguments = "",
    .summary = "start, stop or look at the private PostgreSQL",
    .help = "After a crash or a power failure --start is all it needs: PostgreSQL recovers by "
            "itself.",
    .options = OPTIONS,
    .run = run_db,
};
