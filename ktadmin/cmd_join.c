// SPDX-License-Identifier: Apache-2.0
// join: a bare machine becomes a node of a cluster, step by step; can always be repeated.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/join.h"
#include "ktadmin/start.h"

static int make_folders(struct kta_join *join, int *done, struct kt_error *error)
{
    return kta_init_folders(&join->base, done, error);
}

static int make_secrets(struct kta_join *join, int *done, struct kt_error *error)
{
    return kta_init_secrets(&join->base, done, error); // those that did not come with the keys
}

// To add a step: a function that looks first whether it is done, and a row.
static const struct {
    const char *text;
    int (*run)(struct kta_join *join, int *done, struct kt_error *error);
} STEPS[] = {
    {"folders", make_folders},
    {"node name and member id", kta_join_names},
    {"key of the node", kta_join_node_key},
    {"admission with the token", kta_join_admit}, // the cluster's keys and settings, a certificate
    {"server certificate", kta_join_server},
    {"identity file", kta_join_identity},
    {"secrets of the database roles", make_secrets},
    {"an active to follow", kta_join_lead},
    {"copy of its data", kta_join_copy},
    {"promise file", kta_join_promise}, // without it nothing starts
    {"wish to become a member", kta_join_ask},
};
#define STEP_COUNT (int)(sizeof(STEPS) / sizeof(STEPS[0]))

int kta_join_run(struct kta_join *join, struct kt_error *error)
{
    int quiet = kt_cli_flag(join->base.run, "quiet"), rc = kta_join_prepare(join, error);

    for (int i = 0; i < STEP_COUNT && rc == 0; i++) {
        int done = 0;
        if (!quiet)
            fprintf(stderr, "[%2d/%d] %s ... ", i + 1, STEP_COUNT, STEPS[i].text);
        rc = STEPS[i].run(join, &done, error);
        if (!quiet)
            fprintf(stderr, "%s\n", rc ? "failed" : done ? "already there" : "done");
    }
    return rc;
}

static void print_end(const struct kta_join *join)
{
    const char *given = kt_cli_value(join->base.run, "confdir");
    const char *option = given ? " -c " : "", *dir = given ? join->base.paths.confdir : "";

    printf("%s joins the cluster as %s, following %s in epoch %llu\n", join->base.info.node,
           join->self.member, join->base.promise.active,
           (unsigned long long)join->base.promise.epoch);
    if (!kt_cli_flag(join->base.run, "quiet") && !kt_cli_flag(join->base.run, "start"))
        printf("\nnext, and it counts as soon as it has caught up:\n"
               "  start the server            kts%s%s (or systemctl start keytrusteed)\n"
               "  start its database          ktadmin%s%s db --start --background\n",
               option, dir, option, dir);
}

static void print_json(const struct kta_join *join)
{
    char id[KT_UUID_TEXT], incarnation[KT_INCARNATION_TEXT];
    json_t *answer;

    kt_uuid_format(&join->base.info.cluster_id, id);
    kt_incarnation_format(&join->base.promise.incarnation, incarnation);
    answer = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s}", "cluster_id", id, "node",
                       join->base.info.node, "member", join->self.member, "incarnation",
                       incarnation, "epoch", (json_int_t)join->base.promise.epoch, "active",
                       join->base.promise.active, "confdir", join->base.paths.confdir);
    kta_print_json(answer);
    json_decref(answer);
}

// Everybody on the machine sees the command line of a process for as long as it runs.
static void hide(const char *argument)
{
    char *at = (char *)(uintptr_t)argument; // a word of main's argv

    memset(at, 'x', strlen(at));
}

// The token from a file, from standard input, or from its argument.
static int read_token(const char *argument, const char *file, struct kt_secret **token,
                      struct kt_error *error)
{
    int rc;

    if (!argument == !file)
        return kt_error_set(error, KT_ERR_USAGE,
                            "--token-file FILE, or - and the token on standard input",
                            argument ? "the token is given twice" : "there is no token");
    if (file || strcmp(argument, "-") == 0)
        return kt_secret_from_file(file ? file : "-", KT_TOKEN_TEXT, 1, token, error);
    rc = kt_secret_from_bytes(argument, strlen(argument), token);
    hide(argument);
    return rc;
}

int kta_join_command(struct kt_cli_run *run, const char *token_argument, int restores,
                     int (*after)(struct kta_join *join, struct kt_error *error))
{
    struct kta_join *join = calloc(1, sizeof(*join));
    struct kt_secret *token = NULL;
    struct kt_error error = {0};
    int rc = join ? read_token(token_argument, kt_cli_value(run, "token-file"), &token, &error)
                  : kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc == 0) {
        join->base.run = run;
        join->base.lock_fd = -1;
        join->restores = restores;
        join->token_text = kt_secret_text(token);
        join->walk.run = run;
        kta_caller(join->by, sizeof(join->by));
        rc = kta_join_run(join, &error);
        if (rc == 0 && kt_cli_flag(run, "json"))
            print_json(join);
        else if (rc == 0)
            print_end(join);
        if (rc == 0 && kt_cli_flag(run, "start"))
            rc = kta_start_node(&join->base.paths, join->base.cluster, &error);
        if (rc == 0 && after)
            rc = after(join, &error);
    } else if (!error.code) {
        kt_error_set(&error, rc, NULL, "%s", kt_err_text(rc));
    }
    if (join)
        kta_join_free(join);
    free(join);
    kt_secret_free(token);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

static int run_join(struct kt_cli_run *run)
{
    return kta_join_command(run, run->argc ? run->argv[0] : NULL, 0, NULL);
}

static const struct kt_cli_option OPTIONS[] = {KTA_JOIN_OPTIONS, {NULL}};

const struct kt_cli_command kta_cmd_join = {
    .verb = "join",
    .arguments = "--token-file FILE | - | TOKEN",
    .summary = "make this machine a node of a cluster",
    .help =
        "The token is what 'token new' on a node has printed: in a file, on standard input (-), "
        "or as an\nargument, where others on this machine see it for a moment. The machine gets "
        "the cluster's keys, a\ncertificate, and a copy of the active's data. A run that was "
        "stopped at any point is repeated with\nthe same command. The node counts once it runs "
        "and has caught up.",
    .options = OPTIONS,
    .max_args = 1,
    .run = run_join,
};
