// SPDX-License-Identifier: Apache-2.0
// keytrustee log check: whether the server still has the log of deposits that it had signed.
#include <stdio.h>

#include "client/cmd.h"

// The words for enum keytrustee_log_problem.
static const char *const PROBLEMS[] = {
    [KEYTRUSTEE_LOG_LOST] = "lost in a restore",
    [KEYTRUSTEE_LOG_BEHIND] = "behind the end of the log",
    [KEYTRUSTEE_LOG_MISSING] = "not in the log",
    [KEYTRUSTEE_LOG_CHANGED] = "changed in the database",
    [KEYTRUSTEE_LOG_UNKNOWN] = "history unknown, not in the log",
};

static void print_problem(void *arg, enum keytrustee_log_problem problem, const char *deposit_id,
                          uint64_t log_index)
{
    (void)arg;
    fprintf(stderr, "deposit %s, log index %llu: %s\n", deposit_id, (unsigned long long)log_index,
            PROBLEMS[problem]);
}

static void print(const struct keytrustee_log *log)
{
    if (log->size == 0) {
        printf("the log has no deposits yet\n");
        return;
    }
    printf("%llu deposits, epoch %llu of incarnation %s, signed %s\n",
           (unsigned long long)log->size, (unsigned long long)log->epoch, log->incarnation,
           log->time);
    if (log->known_size > 0)
        printf("continues the %llu deposits that this host had seen\n",
               (unsigned long long)log->known_size);
    else
        printf("the first head that this host has seen: later ones must continue it\n");
    if (log->receipts > 0 && log->proven < log->receipts)
        printf("covers the %llu receipts of this host; --receipts proves each\n",
               (unsigned long long)log->receipts);
    else if (log->receipts > 0)
        printf("has each of the %llu receipts of this host\n", (unsigned long long)log->receipts);
}

static json_t *make_json(const struct keytrustee_log *log)
{
    return json_pack("{s:s, s:I, s:I, s:s, s:s, s:I, s:I, s:I}", "incarnation", log->incarnation,
                     "epoch", (json_int_t)log->epoch, "size", (json_int_t)log->size, "root",
                     log->root, "time", log->time, "known_size", (json_int_t)log->known_size,
                     "receipts", (json_int_t)log->receipts, "proven", (json_int_t)log->proven);
}

static int run_check(struct kt_cli_run *run)
{
    unsigned flags = kt_cli_flag(run, "receipts") ? KEYTRUSTEE_LOG_RECEIPTS : 0;
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    struct keytrustee_log log;
    int rc = ktc_cmd_open(run, &client);

    if (rc != 0)
        return rc;
    if (keytrustee_log_check(client, flags, print_problem, NULL, &log, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else if (kt_cli_flag(run, "json"))
        rc = ktc_cmd_print_json(run, make_json(&log));
    else if (!kt_cli_flag(run, "quiet"))
        print(&log);
    keytrustee_close(client);
    return rc;
}

static const struct kt_cli_option options[] = {
    {"receipts", 'r', NULL, "prove that each receipt of this host is in the log"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_log_check = {
    .verb = "log check",
    .arguments = "",
    .summary = "check that the server has taken nothing back",
    .help = "The last good head of the log is kept in the confdir; the new one must continue it.",
    .options = options,
    .run = run_check,
};
