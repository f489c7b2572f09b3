// SPDX-License-Identifier: Apache-2.0
// group add, group list: groups of deposits on which rights can be granted.
#include <stdio.h>

#include "ktadmin/commands.h"

static int run_add(struct kt_cli_run *run)
{
    const char *name = run->argc > 1 ? run->argv[1] : NULL;
    json_t *result = NULL;
    int rc = kta_ask(run, "group.add",
                     json_pack("{s:s, s:s*}", "organisation", run->argv[0], "name", name), &result);

    if (rc)
        return rc;
    if (kt_cli_flag(run, "json"))
        kta_print_json(result);
    else
        printf("%s\n", json_string_value(json_object_get(result, "key_group")));
    json_decref(result);
    return KT_EXIT_OK;
}

static int run_list(struct kt_cli_run *run)
{
    static const struct kta_column COLUMNS[] = {
        {"key group", "key_group_id"},
        {"name", "name"},
        {"organisation", "organisation"},
        {"grants", "grants"},
        {"created", "created_at"},
        {"by", "created_by"},
        {NULL, NULL},
    };
    json_t *rows = NULL;
    int rc =
        kta_ask(run, "group.list",
                json_pack("{s:s*}", "organisation", run->argc > 0 ? run->argv[0] : NULL), &rows);

    if (rc == 0)
        rc = kta_print_rows(run, rows, COLUMNS);
    json_decref(rows);
    return rc;
}

const struct kt_cli_command kta_cmd_group_add = {
    .verb = "group add",
    .arguments = "ORGANISATION [NAME]",
    .summary = "make a key group, and print its id",
    .help = "Grant rights on it with 'grant --key-group'; clients put deposits into it with\n"
            "'keytrustee put --group'.",
    .min_args = 1,
    .max_args = 2,
    .run = run_add,
};
const struct kt_cli_command kta_cmd_group_list = {
    .verb = "group list",
    .arguments = "[ORGANISATION]",
    .summary = "list the key groups",
    .max_args = 1,
    .run = run_list,
};
