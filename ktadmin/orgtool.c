// SPDX-License-Identifier: Apache-2.0
// The verbs of keytrustee-orgtool: add, list, set-auth, enable-client, disable-client.
#include "ktadmin/orgtool.h"

#include <string.h>
#include <strings.h>

#include "ktadmin/common.h"
#include "lib/agent_call.h"
#include "lib/version.h"

#define FINGERPRINT_TEXT 41

static int fail_usage(const struct kt_cli_run *run, const char *hint, const char *message)
{
    struct kt_error error = {0};

    kt_error_set(&error, KT_ERR_USAGE, hint, "%s", message);
    return kt_cli_fail(run, &error);
}

static int run_add(struct kt_cli_run *run)
{
    const char *name = kt_cli_value(run, "name"), *contacts = kt_cli_value(run, "contacts");

    if (!name || kt_name_check(name, KT_ORG_NAME_MAX) != 0)
        return fail_usage(run, "a name begins with a letter and has up to 63 of a-z, 0-9 and -",
                          "give -n NAME");
    return kta_change(
        run, "org.add",
        json_pack("{s:s, s:s*, s:b}", "name", name, "contacts", contacts, "needs_approval", 0),
        "Added. Its clients get codes of their own: ktadmin authcode new");
}

// A JSON object, name to organisation, as scripts read it. There is no auth_secret: nobody can list
// what is stored as a hash only.
static int run_list(struct kt_cli_run *run)
{
    json_t *rows = NULL, *map, *row;
    size_t i;
    int rc = kta_ask(run, "org.list", NULL, &rows);

    if (rc)
        return rc;
    map = json_object();
    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name)
            json_object_set(map, name, row);
    }
    kta_print_json(map);
    json_decref(map);
    json_decref(rows);
    return KT_EXIT_OK;
}

static int run_set_auth(struct kt_cli_run *run)
{
    return fail_usage(run, "ktadmin authcode new NAME, once for each client or with --uses N",
                      "there is no shared secret of an organisation to set: each code is random, "
                      "used a limited number of times, and expires");
}

// The client with that OpenPGP key; on failure prints it and gives the exit code.
static int find_client(const struct kt_cli_run *run, char id[KT_UUID_TEXT])
{
    const char *wanted = kt_cli_value(run, "fingerprint"), *found = NULL;
    json_t *rows = NULL, *row;
    struct kt_error error = {0};
    struct kt_uuid uuid;
    size_t i;
    int rc;

    if (!wanted || strlen(wanted) >= FINGERPRINT_TEXT)
        return fail_usage(run, "ktadmin client list shows it", "give --fingerprint FINGERPRINT");
    rc = kta_ask(run, "client.list", json_object(), &rows);
    if (rc)
        return rc;
    json_array_foreach(rows, i, row)
    {
        const char *has = json_string_value(json_object_get(row, "openpgp_fingerprint"));
        if (has && strcasecmp(has, wanted) == 0)
            found = json_string_value(json_object_get(row, "client_id"));
    }
    if (found && kt_uuid_parse(found, &uuid) == 0) {
        kt_uuid_format(&uuid, id);
    } else {
        kt_error_set(&error, KT_ERR_CLIENT_NOT_FOUND, NULL, "no client has the key '%s'", wanted);
        rc = kt_cli_fail(run, &error);
    }
    json_decref(rows);
    return rc;
}

static int run_enable(struct kt_cli_run *run)
{
    char id[KT_UUID_TEXT];
    int rc = find_client(run, id);

    return rc ? rc
              : kta_change(run, "client.approve", json_pack("{s:s}", "client_id", id), "Approved");
}

static int run_disable(struct kt_cli_run *run)
{
    char id[KT_UUID_TEXT];
    int rc = find_client(run, id);

    return rc ? rc
              : kta_change(run, "client.revoke", json_pack("{s:s}", "client_id", id),
                           "Revoked, for good; its deposits stay");
}

static const struct kt_cli_option GLOBALS[] = {
    {"confdir", 0, "DIR", "the node's confdir"},
    {"json", 0, NULL, "print JSON instead of text for people"},
    {"quiet", 'q', NULL, "print results only"},
    {NULL},
};
static const struct kt_cli_option ADD_OPTIONS[] = {
    {"name", 'n', "NAME", "name of the organisation"},
    {"contacts", 'c', "LIST", "e-mail addresses with commas between them"},
    {NULL},
};
static const struct kt_cli_option AUTH_OPTIONS[] = {
    {"name", 'n', "NAME", "name of the organisation"},
    {"secret", 's', "SECRET", "not taken"},
    {NULL},
};
static const struct kt_cli_option CLIENT_OPTIONS[] = {
    {"fingerprint", 0, "FINGERPRINT", "of the client's OpenPGP key"},
    {NULL},
};

static const struct kt_cli_command ADD = {.verb = "add",
                                          .arguments = "",
                                          .summary = "now: ktadmin org add",
                                          .options = ADD_OPTIONS,
                                          .run = run_add};
static const struct kt_cli_command LIST = {
    .verb = "list", .arguments = "", .summary = "now: ktadmin org list --json", .run = run_list};
static const struct kt_cli_command SET_AUTH = {.verb = "set-auth",
                                               .arguments = "",
                                               .summary = "now: ktadmin authcode new",
                                               .options = AUTH_OPTIONS,
                                               .run = run_set_auth};
static const struct kt_cli_command ENABLE = {.verb = "enable-client",
                                             .arguments = "",
                                             .summary = "now: ktadmin client approve",
                                             .options = CLIENT_OPTIONS,
                                             .run = run_enable};
static const struct kt_cli_command DISABLE = {.verb = "disable-client",
                                              .arguments = "",
                                              .summary = "now: ktadmin client revoke",
                                              .options = CLIENT_OPTIONS,
                                              .run = run_disable};
static const struct kt_cli_command *const COMMANDS[] = {&ADD,    &LIST,    &SET_AUTH,
                                                        &ENABLE, &DISABLE, NULL};

const struct kt_cli_program kta_orgtool = {
    .name = KTA_ORGTOOL_NAME,
    .summary = "Key Trustee's tool for organisations, as words for ktadmin.",
    .globals = GLOBALS,
    .commands = COMMANDS,
    .version = KT_VERSION_LINE,
};
