// SPDX-License-Identifier: Apache-2.0
// authcode new, list, revoke: codes with which clients of an organisation register.
#include <stdio.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "lib/formats.h"
#include "lib/secret.h"

#define USES_MAX 100000

static int make_args(const struct kt_cli_run *run, json_t **args, struct kt_error *error)
{
    const char *uses = kt_cli_value(run, "uses"), *expires = kt_cli_value(run, "expires"),
               *rights = kt_cli_value(run, "rights");
    int64_t lifetime_s = 0;
    uint64_t count = 1;
    int rc = 0;

    if (kt_name_check(run->argv[0], KT_ORG_NAME_MAX) != 0)
        rc = kt_error_set(error, KT_ERR_ORGANISATION_NOT_FOUND, NULL, "no organisation '%.63s'",
                          run->argv[0]);
    if (rc == 0 && uses)
        rc = kta_number("uses", uses, 1, USES_MAX, &count, error);
    if (rc == 0 && expires)
        rc = kta_duration("expires", expires, &lifetime_s, error);
    if (rc == 0 && rights)
        rc = kta_rights_check(rights, error);
    if (rc)
        return rc;
    *args = json_pack("{s:s, s:I, s:s*}", "organisation", run->argv[0], "uses", (json_int_t)count,
                      "rights", rights);
    if (*args && lifetime_s > 0)
        json_object_set_new(*args, "lifetime_s", json_integer(lifetime_s));
    return *args ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
}

static int run_new(struct kt_cli_run *run)
{
    struct kt_error error = {0};
    json_t *args = NULL, *result = NULL;
    char expires[64], uses[32];
    const char *code;
    int rc = make_args(run, &args, &error);

    if (rc)
        return kt_cli_fail(run, &error);
    rc = kta_ask(run, "authcode.new", args, &result);
    if (rc)
        return rc;
    code = json_string_value(json_object_get(result, "code"));
    if (!code) {
        kt_error_set(&error, KT_ERR_PROTOCOL, NULL, "the agent's answer has no code");
        rc = kt_cli_fail(run, &error);
    } else if (kt_cli_flag(run, "json")) {
        kta_print_json(result);
    } else {
        // The code alone on standard output, so that it can be piped to where it is needed.
        printf("%s\n", code);
        kta_text_of(result, "expires_at", expires, sizeof(expires));
        kta_text_of(result, "uses", uses, sizeof(uses));
        if (!kt_cli_flag(run, "quiet"))
            fprintf(
                stderr,
                "Auth code of organisation %s: good for %s registration(s) until %s.\n"
                "It is not shown again. On the client, with the code in a file that only you can "
                "read:\n    keytrustee register --server HOST --auth-code-file FILE\n",
                run->argv[0], uses, expires);
    }
    if (code) // jansson's memory is not wiped; the text is ours to overwrite before it is freed
        kt_wipe((void *)(uintptr_t)code, strlen(code));
    json_decref(result);
    return rc;
}

static int run_list(struct kt_cli_run *run)
{
    static const struct kta_column COLUMNS[] = {
        {"id", "id"},         {"organisation", "organisation"},
        {"state", "state"},   {"uses", "uses"},
        {"of", "max_uses"},   {"expires", "expires_at"},
        {"rights", "rights"}, {"made", "created_at"},
        {"by", "created_by"}, {NULL, NULL},
    };
    json_t *rows = NULL;
    int rc = kta_ask(run, "authcode.list",
                     json_pack("{s:s*, s:b}", "organisation", run->argc > 0 ? run->argv[0] : NULL,
                               "ended", kt_cli_flag(run, "all")),
                     &rows);

    if (rc == 0)
        rc = kta_print_rows(run, rows, COLUMNS);
    json_decref(rows);
    return rc;
}

static int run_revoke(struct kt_cli_run *run)
{
    struct kt_error error = {0};
    char done[64];

    if (!kt_authcode_is_id(run->argv[0])) {
        kt_error_set(&error, KT_ERR_USAGE, "ktadmin authcode list shows the ids",
                     "give the id of an auth code, which is its first part, and never the code");
        return kt_cli_fail(run, &error);
    }
    snprintf(done, sizeof(done), "Withdrew auth code %s", run->argv[0]);
    return kta_change(run, "authcode.revoke", json_pack("{s:s}", "id", run->argv[0]), done);
}

static const struct kt_cli_option OPTIONS[] = {
    {"uses", 0, "N", "how many clients may register with it (1)"},
    {"expires", 0, "TIME", "how long it is good: 30min, 24h, 7d (certificates.auth_code_lifetime)"},
    {"rights", 0, "LIST", "rights on own deposits (deposit,browse,retrieve,delete)"},
    {NULL},
};

const struct kt_cli_command kta_cmd_authcode_new = {
    .verb = "authcode new",
    .arguments = "ORGANISATION",
    .summary = "make an auth code, with which clients register",
    .help = "Prints the code, and nothing else, on standard output. The server keeps its hash "
            "only:\nthe code is shown this once.",
    .options = OPTIONS,
    .min_args = 1,
    .max_args = 1,
    .run = run_new,
};

static const struct kt_cli_option LIST_OPTIONS[] = {
    {"all", 'a', NULL, "also those that have expired, are used up or withdrawn"},
    {NULL},
};

const struct kt_cli_command kta_cmd_authcode_list = {
    .verb = "authcode list",
    .arguments = "[ORGANISATION]",
    .summary = "list the auth codes that are good, by their ids",
    .options = LIST_OPTIONS,
    .max_args = 1,
    .run = run_list,
};

const struct kt_cli_command kta_cmd_authcode_revoke = {
    .verb = "authcode revoke",
    .arguments = "ID",
    .summary = "withdraw an auth code",
    .help =
        "Nobody else registers with it. Clients that did keep what they have: see client revoke.",
    .min_args = 1,
    .max_args = 1,
    .run = run_revoke,
};
