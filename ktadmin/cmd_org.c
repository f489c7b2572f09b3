// SPDX-License-Identifier: Apache-2.0
// org add, org list, org set, org disable: the organisations whose clients deposit here.
#include <stdio.h>
#include <string.h>

#include "ktadmin/commands.h"

#define LOCK_DAYS_MAX 36500

static int check_name(const char *name, struct kt_error *error)
{
    if (kt_name_check(name, KT_ORG_NAME_MAX) == 0)
        return 0;
    return kt_error_set(error, KT_ERR_USAGE,
                        "a name begins with a letter and has up to 63 of a-z, 0-9 and -",
                        "'%.63s' is not a name for an organisation", name);
}

// "a@x,b@y": not empty, no spaces, each with something on both sides of an @.
static int check_contacts(const char *contacts, struct kt_error *error)
{
    for (const char *at = contacts;; at++) {
        size_t n = strcspn(at, ",");
        const char *sign = memchr(at, '@', n);
        if (n == 0 || n > 254 || !sign || sign == at || sign == at + n - 1 ||
            strcspn(at, " \t\n\r") < n)
            return kt_error_set(error, KT_ERR_USAGE, "write them as a@example.com,b@example.com",
                                "--contacts: '%.*s' is not an address", (int)(n > 60 ? 60 : n), at);
        at += n;
        if (*at == '\0')
            return 0;
    }
}

static int run_add(struct kt_cli_run *run)
{
    const char *contacts = kt_cli_value(run, "contacts");
    struct kt_error error = {0};
    char done[160];

    if (check_name(run->argv[0], &error) != 0 ||
        (contacts && check_contacts(contacts, &error) != 0))
        return kt_cli_fail(run, &error);
    snprintf(done, sizeof(done),
             "Added organisation %s\nnext: ktadmin authcode new %s gives its clients a code to "
             "register with",
             run->argv[0], run->argv[0]);
    return kta_change(run, "org.add",
                      json_pack("{s:s, s:s*, s:b}", "name", run->argv[0], "contacts", contacts,
                                "needs_approval", kt_cli_flag(run, "approval")),
                      done);
}

// Seconds as an operator gives them: "7d", "36h", "90s".
static void show_delays(const json_t *rows)
{
    static const struct {
        json_int_t seconds;
        char unit;
    } UNITS[] = {{86400, 'd'}, {3600, 'h'}, {1, 's'}};
    json_t *row;
    size_t i, k;

    json_array_foreach(rows, i, row)
    {
        json_int_t seconds = json_integer_value(json_object_get(row, "purge_delay_s"));
        char text[32];

        for (k = 0; UNITS[k].seconds > 1 && seconds % UNITS[k].seconds != 0; k++)
            ;
        snprintf(text, sizeof(text), "%lld%c", (long long)(seconds / UNITS[k].seconds),
                 UNITS[k].unit);
        json_object_set_new(row, "purge_delay", json_string(seconds ? text : "none"));
    }
}

static int run_list(struct kt_cli_run *run)
{
    static const struct kta_column COLUMNS[] = {
        {"name", "name"},
        {"clients", "clients"},
        {"approval", "needs_approval"},
        {"disabled", "disabled"},
        {"lock", "lock_default"},
        {"purge delay", "purge_delay"},
        {"contacts", "contacts"},
        {"created", "created_at"},
        {"by", "created_by"},
        {NULL, NULL},
    };
    json_t *rows = NULL;
    int rc = kta_ask(run, "org.list", NULL, &rows);

    if (rc == 0)
        show_delays(rows);
    if (rc == 0)
        rc = kta_print_rows(run, rows, COLUMNS);
    json_decref(rows);
    return rc;
}

static int run_disable(struct kt_cli_run *run)
{
    int undo = kt_cli_flag(run, "undo");
    char question[160], done[128];
    struct kt_error error = {0};

    if (check_name(run->argv[0], &error) != 0)
        return kt_cli_fail(run, &error);
    snprintf(question, sizeof(question),
             "Disable organisation %s? All its clients are refused until this is undone.",
             run->argv[0]);
    if (!undo && !kt_cli_confirm(run, question))
        return KT_EXIT_FAILURE;
    snprintf(done, sizeof(done), "%s organisation %s", undo ? "Enabled" : "Disabled", run->argv[0]);
    return kta_change(run, "org.disable",
                      json_pack("{s:s, s:b}", "name", run->argv[0], "undo", undo), done);
}

// "governance:30" as the agent takes it: "governance 30d".
static int take_lock(const char *text, char *out, size_t size, struct kt_error *error)
{
    const char *colon = strchr(text, ':');
    uint64_t days = 0;

    if (strcmp(text, "none") == 0) {
        snprintf(out, size, "none");
        return 0;
    }
    if (!colon ||
        (strncmp(text, "governance:", 11) != 0 && strncmp(text, "compliance:", 11) != 0) ||
        kt_u64_parse(colon + 1, 1, LOCK_DAYS_MAX, &days) != 0)
        return kt_error_set(error, KT_ERR_USAGE,
                            "give governance:DAYS, compliance:DAYS (1 to 36500) or none",
                            "--lock: '%.60s' is not a default lock", text);
    snprintf(out, size, "%.10s %llud", text, (unsigned long long)days);
    return 0;
}

static int run_set(struct kt_cli_run *run)
{
    const char *lock = kt_cli_value(run, "lock"), *delay = kt_cli_value(run, "purge-delay");
    char mode[KT_ORG_NAME_MAX] = "", done[160];
    struct kt_error error = {0};
    int64_t seconds = 0;
    json_t *args;
    int rc = check_name(run->argv[0], &error);

    if (rc == 0 && !lock && !delay)
        rc = kt_error_set(&error, KT_ERR_USAGE, "give --lock or --purge-delay",
                          "nothing is to be set");
    if (rc == 0 && lock)
        rc = take_lock(lock, mode, sizeof(mode), &error);
    if (rc == 0 && delay && strcmp(delay, "none") != 0)
        rc = kta_duration("purge-delay", delay, &seconds, &error);
    if (rc)
        return kt_cli_fail(run, &error);
    args = json_pack("{s:s}", "name", run->argv[0]);
    if (args && lock)
        json_object_set_new(args, "lock", json_string(mode));
    if (args && delay)
        json_object_set_new(args, "purge_delay_s", json_integer(seconds));
    snprintf(done, sizeof(done), "Set organisation %s%s", run->argv[0],
             lock ? "; deposits that are there keep the locks they have" : "");
    return kta_change(run, "org.set", args, done);
}

static const struct kt_cli_option SET_OPTIONS[] = {
    {"lock", 0, "MODE:DAYS", "new deposits are locked: governance:30, compliance:365; or none"},
    {"purge-delay", 0, "DURATION", "from asking for a purge to the erasure: 7d, 24h; or none"},
    {NULL},
};
static const struct kt_cli_option ADD_OPTIONS[] = {
    {"contacts", 0, "LIST", "e-mail addresses of its people: a@example.com,b@example.com"},
    {"approval", 0, NULL, "new clients wait until an operator approves them"},
    {NULL},
};
static const struct kt_cli_option DISABLE_OPTIONS[] = {
    {"undo", 0, NULL, "enable it again"},
    {NULL},
};

const struct kt_cli_command kta_cmd_org_add = {
    .verb = "org add",
    .arguments = "NAME",
    .summary = "add an organisation",
    .options = ADD_OPTIONS,
    .min_args = 1,
    .max_args = 1,
    .run = run_add,
};
const struct kt_cli_command kta_cmd_org_list = {
    .verb = "org list",
    .arguments = "",
    .summary = "list the organisations",
    .run = run_list,
};
const struct kt_cli_command kta_cmd_org_disable = {
    .verb = "org disable",
    .arguments = "NAME",
    .summary = "refuse all clients of an organisation",
    .help = "Nothing is deleted: --undo lets the clients in again.",
    .options = DISABLE_OPTIONS,
    .min_args = 1,
    .max_args = 1,
    .run = run_disable,
};
const struct kt_cli_command kta_cmd_org_set = {
    .verb = "org set",
    .arguments = "NAME",
    .summary = "set an organisation's default lock and purge delay",
    .help = "The default lock is for deposits that are made from now on.",
    .options = SET_OPTIONS,
    .min_args = 1,
    .max_args = 1,
    .run = run_set,
};
