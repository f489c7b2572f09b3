// SPDX-License-Identifier: Apache-2.0
// keytrustee lock: locks and legal holds, against deletion and purge.
#include <stdio.h>
#include <string.h>

#include "client/cmd.h"
#include "lib/encode.h"

#define DAY_US   (INT64_C(24) * 3600 * 1000000)
#define DAYS_MAX 36500

// "+30" (days from now), "2027-01-31" or "2027-01-31T12:00:00Z", in UTC.
static int parse_until(const char *text, int64_t *us)
{
    char whole[KT_TIME_TEXT];
    uint64_t days = 0;
    size_t n = strlen(text);

    if (text[0] == '+') {
        if (kt_u64_parse(text + 1, 1, DAYS_MAX, &days) != 0)
            return KT_ERR_INVALID;
        *us = kt_time_now() + (int64_t)days * DAY_US;
        return 0;
    }
    if (n == strlen("2027-01-31"))
        snprintf(whole, sizeof whole, "%.10sT00:00:00.000000Z", text);
    else if (n == strlen("2027-01-31T12:00:00Z") && text[n - 1] == 'Z')
        snprintf(whole, sizeof whole, "%.19s.000000Z", text);
    else
        snprintf(whole, sizeof whole, "%.27s", n > 27 ? "" : text);
    return kt_time_parse(whole, us);
}

static int take(const struct kt_cli_run *run, struct keytrustee_lock *lock)
{
    const char *until = kt_cli_value(run, "until");
    int hold = kt_cli_flag(run, "hold"), release = kt_cli_flag(run, "release-hold");

    lock->mode = kt_cli_value(run, "mode");
    lock->bypass = kt_cli_flag(run, "bypass");
    lock->hold = hold - release;
    if (hold && release)
        return ktc_cmd_say(run, KT_ERR_USAGE, NULL, "--hold and --release-hold exclude each other");
    if (!lock->mode && !until && !hold && !release)
        return ktc_cmd_say(run, KT_ERR_USAGE, "give --mode and --until, or --hold",
                           "nothing is to be locked");
    if (until && parse_until(until, &lock->until_us) != 0)
        return ktc_cmd_say(run, KT_ERR_USAGE,
                           "give days from now (+30), a day (2027-01-31) or a time in UTC "
                           "(2027-01-31T12:00:00Z)",
                           "--until takes a time");
    if (lock->mode && strcmp(lock->mode, "none") != 0 && strcmp(lock->mode, "governance") != 0 &&
        strcmp(lock->mode, "compliance") != 0)
        return ktc_cmd_say(run, KT_ERR_USAGE, NULL, "--mode takes governance, compliance or none");
    return 0;
}

// Only what nobody can take back is asked for.
static int confirm(const struct kt_cli_run *run, const struct keytrustee_lock *lock)
{
    char question[512], until[KTC_CMD_TIME];

    if (lock->mode == NULL || strcmp(lock->mode, "compliance") != 0)
        return 1;
    ktc_cmd_time(lock->until_us, until);
    snprintf(question, sizeof question,
             "Lock \"%s\"%s%s? The server lets nobody lift or shorten a compliance lock.",
             run->argv[0], lock->until_us ? " until " : "", lock->until_us ? until : "");
    return kt_cli_confirm(run, question);
}

static int run_lock(struct kt_cli_run *run)
{
    struct keytrustee_lock lock = {.size = sizeof lock};
    struct keytrustee *client = NULL;
    struct keytrustee_error error;
    uint32_t version = 0;
    uint64_t count = 0;
    int rc = ktc_cmd_version(run, &version);

    if (rc == 0 && kt_handle_check(run->argv[0]) != 0)
        rc = ktc_cmd_say(run, KT_ERR_HANDLE_INVALID, NULL, "not a valid handle");
    if (rc == 0)
        rc = take(run, &lock);
    if (rc == 0)
        rc = ktc_cmd_open(run, &client);
    if (rc == 0 && !confirm(run, &lock))
        rc = KT_EXIT_FAILURE;
    if (rc != 0)
        goto out;
    if (keytrustee_lock(client, run->argv[0], version, &lock, &count, &error) != KEYTRUSTEE_OK)
        rc = ktc_cmd_fail(run, &error);
    else if (kt_cli_flag(run, "json"))
        rc = ktc_cmd_print_json(
            run, json_pack("{s:s, s:I}", "handle", run->argv[0], "versions", (json_int_t)count));
    else if (!kt_cli_flag(run, "quiet"))
        printf("%s: set the lock of %llu version%s\n", run->argv[0], (unsigned long long)count,
               count == 1 ? "" : "s");
out:
    keytrustee_close(client);
    return rc;
}

static const struct kt_cli_option options[] = {
    {"mode", 0, "MODE", "governance, compliance, or none to lift it"},
    {"until", 0, "TIME", "+DAYS from now, 2027-01-31 or 2027-01-31T12:00:00Z"},
    {"hold", 0, NULL, "set a legal hold, which has no end"},
    {"release-hold", 0, NULL, "lift the legal hold (with --bypass)"},
    {"bypass", 0, NULL, "use the right \"bypass\": lift or shorten"},
    {"version", 0, "N", "only this version; without it all of them"},
    {"yes", 'y', NULL, "do not ask before a compliance lock"},
    {NULL},
};

const struct kt_cli_command ktc_cmd_lock = {
    .verb = "lock",
    .arguments = "HANDLE",
    .summary = "lock a version of a handle, or all, against deletion and purge",
    .help = "A compliance lock can only be made longer, by anybody. A governance lock and a legal "
            "hold are lifted with --bypass, by a client that was granted it.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run_lock,
};
