// SPDX-License-Identifier: Apache-2.0
// org add, org list, org disable: the organisations whose clients deposit here.
#include <stdio.h>
#include <string.h>

#include "ktadmin/commands.h"

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

static int run_list(struct kt_cli_run *run)
{
    static const struct kta_column COLUMNS[] = {
        {"name", "name"},
        {"clients", "clients"},
        {"approval", "needs_approval"},
        {"disabled", "disabled"},
        {"contacts", "contacts"},
        {"created", "created_at"},
        {"by", "created_by"},
        {NULL, NULL},
    };
    json_t *rows = NULL;
    int rc = kta_ask(run, "org.list", NULL, &rows);

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
