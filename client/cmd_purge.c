// SPDX-License-Identifier: Apache-2.0
// keytrustee undelete, keytrustee purge: a deletion is taken back, or made final.
#include <stdio.h>

#include "client/cmd.h"
#include "lib/encode.h"

// What both need: the version, a handle that can be printed, and the client.
static int begin(const struct kt_cli_run *run, uint32_t *version, struct keytrustee **client)
{
    int rc = ktc_cmd_version(run, version);

    if (rc == 0 && kt_handle_check(run->argv[0]) != 0)
        rc = ktc_cmd_say(run, KT_ERR_HANDLE_INVALID, NULL, "not a valid handle");
    return rc == 0 ? ktc_cmd_open(run, client) : rc;
}

static int run_undelete(struct kt_cli_run *run)
{
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    uint32_t version = 0;
    uint64_t count = 0;
    int rc = begin(run, &version, &client);

    if (rc != 0)
        return rc;
    if (keytrustee_undelete(client, run->argv[0], version, &count, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else if (kt_cli_flag(run, "json"))
        rc = ktc_cmd_print_json(
            run, json_pack("{s:s, s:I}", "handle", run->argv[0], "undeleted", (json_int_t)count));
    else if (!kt_cli_flag(run, "quiet"))
        printf("%s undeleted %llu version%s\n", run->argv[0], (unsigned long long)count,
               count == 1 ? "" : "s");
    keytrustee_close(client);
    return rc;
}

static int confirm(const struct kt_cli_run *run, uint32_t version)
{
    char question[512], which[32] = "all deleted versions";

    if (version != 0)
        snprintf(which, sizeof which, "version %u", (unsigned)version);
    snprintf(question, sizeof question, "Erase %s of \"%s\" for ever?", which, run->argv[0]);
    return kt_cli_confirm(run, question);
}

static int print_purge(const struct kt_cli_run *run, uint64_t count, int64_t after_us)
{
    char time[KTC_CMD_TIME];

    ktc_cmd_time(after_us, time);
    if (kt_cli_flag(run, "json"))
        return ktc_cmd_print_json(run,
                                  json_pack("{s:s, s:I, s:s}", "handle", run->argv[0], "purging",
                                            (json_int_t)count, "purge_after", time));
    if (!kt_cli_flag(run, "quiet"))
        printf("%s: %llu version%s will be erased after %s\n", run->argv[0],
               (unsigned long long)count, count == 1 ? "" : "s", time);
    return KT_EXIT_OK;
}

static int run_purge(struct kt_cli_run *run)
{
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    uint32_t version = 0;
    uint64_t count = 0;
    int64_t after_us = 0;
    int rc = begin(run, &version, &client);

    if (rc == 0 && !confirm(run, version)) // which has said why, when nobody could be asked
        rc = KT_EXIT_FAILURE;
    if (rc != 0)
        goto out;
    if (keytrustee_purge(client, run->argv[0], version, &count, &after_us, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else
        rc = print_purge(run, count, after_us);
out:
    keytrustee_close(client);
    return rc;
}

static const struct kt_cli_option undelete_options[] = {
    {"version", 0, "N", "only this version; without it all deleted ones"},
    {NULL},
};
static const struct kt_cli_option purge_options[] = {
    {"version", 0, "N", "only this version; without it all deleted ones"},
    {"yes", 'y', NULL, "do not ask"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_undelete = {
    .verb = "undelete",
    .arguments = "HANDLE",
    .summary = "take a deletion back",
    .help = "Also when a purge was asked for, until it is due.",
    .options = undelete_options,
    .min_args = 1,
    .max_args = 1,
    .run = run_undelete,
};

const struct kt_cli_command ktc_cmd_purge = {
    .verb = "purge",
    .arguments = "HANDLE",
    .summary = "have deleted versions erased for ever, after a delay",
    .help = "Until the organisation's purge delay is over keytrustee undelete takes it back.",
    .options = purge_options,
    .min_args = 1,
    .max_args = 1,
    .run = run_purge,
};
