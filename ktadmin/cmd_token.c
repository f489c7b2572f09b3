// SPDX-License-Identifier: Apache-2.0
// token new, token list, token revoke: what lets a new machine join.
#include <stdio.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/nodes.h"
#include "lib/secret.h"

static int run_new(struct kt_cli_run *run)
{
    const char *expires = kt_cli_value(run, "expires"), *token;
    struct kt_error error = {0};
    json_t *result = NULL, *args = json_object();
    int64_t lifetime_s = 0;
    char until[64];
    int rc = expires ? kta_duration("expires", expires, &lifetime_s, &error) : 0;

    if (rc) {
        json_decref(args);
        return kt_cli_fail(run, &error);
    }
    if (lifetime_s > 0)
        json_object_set_new(args, "expires_s", json_integer(lifetime_s));
    rc = kta_ask_either(run, "token.new", args, &result);
    if (rc)
        return rc;
    token = json_string_value(json_object_get(result, "token"));
    if (!token) {
        kt_error_set(&error, KT_ERR_PROTOCOL, NULL, "the agent's answer has no token");
        rc = kt_cli_fail(run, &error);
    } else if (kt_cli_flag(run, "json")) {
        kta_print_json(result);
    } else {
        printf("%s\n", token);
        kta_text_of(result, "expires", until, sizeof(until));
        if (!kt_cli_flag(run, "quiet"))
            fprintf(stderr,
                    "Good for one node until %s; it is not shown again. On the new machine:\n"
                    "    ktadmin join TOKEN --node NAME\n",
                    until);
    }
    if (token)
        kt_wipe((void *)(uintptr_t)token, strlen(token));
    json_decref(result);
    return rc;
}

static int run_list(struct kt_cli_run *run)
{
    static const struct kta_column COLUMNS[] = {
        {"token", "id"},        {"state", "state"}, {"expires", "expires"},
        {"used by", "used_by"}, {NULL, NULL},
    };
    json_t *rows = NULL;
    int rc = kta_ask_either(run, "token.list", NULL, &rows);

    if (rc == 0)
        rc = kta_print_rows(run, rows, COLUMNS);
    json_decref(rows);
    return rc;
}

static int run_revoke(struct kt_cli_run *run)
{
    json_t *result = NULL;
    int rc = kta_ask_either(run, "token.revoke", json_pack("{s:s}", "id", run->argv[0]), &result);

    if (rc == 0 && kt_cli_flag(run, "json"))
        kta_print_json(result);
    else if (rc == 0 && !kt_cli_flag(run, "quiet"))
        printf("Revoked token %s\n", run->argv[0]);
    json_decref(result);
    return rc;
}

static const struct kt_cli_option NEW_OPTIONS[] = {
    {"expires", 0, "TIME", "how long it is good: 30min, 24h (1h)"},
    KTA_OPERATOR_OPTIONS,
    {NULL},
};
static const struct kt_cli_option OPTIONS[] = {KTA_OPERATOR_OPTIONS, {NULL}};

const struct kt_cli_command kta_cmd_token_new = {
    .verb = "token new",
    .arguments = "",
    .summary = "make a token, with which one new node joins",
    .help =
        "Prints the token, and nothing else, on standard output. It names this node, which must "
        "be running\nwhen it is used. It is a secret: with it a machine gets the cluster's "
        "keys.",
    .options = NEW_OPTIONS,
    .run = run_new,
};
const struct kt_cli_command kta_cmd_token_list = {
    .verb = "token list",
    .arguments = "",
    .summary = "list this node's tokens",
    .options = OPTIONS,
    .run = run_list,
};
const struct kt_cli_command kta_cmd_token_revoke = {
    .verb = "token revoke",
    .arguments = "ID",
    .summary = "make a token useless",
    .help = "ID is what 'token list' shows. A node that has joined with it stays.",
    .options = OPTIONS,
    .min_args = 1,
    .max_args = 1,
    .run = run_revoke,
};
