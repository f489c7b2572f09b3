// SPDX-License-Identifier: Apache-2.0
// grant, revoke, grants: who may do what on which deposits of an organisation.
#include <stdio.h>
#include <string.h>

#include "ktadmin/commands.h"

// The object of the grant from the options: exactly one of them.
static int add_object(const struct kt_cli_run *run, json_t *args, struct kt_error *error)
{
    const char *prefix = kt_cli_value(run, "prefix"), *group = kt_cli_value(run, "key-group");
    int own = kt_cli_flag(run, "own"), rc = 0;
    char id[KT_UUID_TEXT] = "";
    struct kta_node node;

    if ((prefix != NULL) + (group != NULL) + own != 1)
        return kt_error_set(error, KT_ERR_USAGE, NULL,
                            "give one of --own, --prefix PREFIX and --key-group GROUP");
    if (prefix && kt_handle_check(prefix) != 0)
        return kt_error_set(error, KT_ERR_HANDLE_INVALID, NULL,
                            "--prefix: '%.80s' cannot begin a handle", prefix);
    if (group) {
        rc = kta_open(run, KTA_AGENT, &node, error);
        if (rc == 0)
            rc = kta_key_group_id(&node, run->argv[0], group, id, error);
        kta_close(&node);
    }
    if (rc)
        return rc;
    json_object_set_new(args, "object", json_string(own ? "own" : prefix ? "prefix" : "key_group"));
    if (prefix)
        json_object_set_new(args, "prefix", json_string(prefix));
    if (group)
        json_object_set_new(args, "key_group", json_string(id));
    return 0;
}

static int add_subject(const struct kt_cli_run *run, json_t *args, struct kt_error *error)
{
    const char *client = kt_cli_value(run, "client");
    char id[KT_UUID_TEXT];
    struct kta_node node;
    int rc;

    if ((client != NULL) + kt_cli_flag(run, "everyone") != 1)
        return kt_error_set(error, KT_ERR_USAGE, NULL,
                            "give one of --client CLIENT and --everyone");
    if (!client)
        return 0;
    rc = kta_open(run, KTA_AGENT, &node, error);
    if (rc == 0)
        rc = kta_client_id(&node, client, id, error);
    if (rc == 0)
        json_object_set_new(args, "client_id", json_string(id));
    kta_close(&node);
    return rc;
}

// --dry-run: who could do what afterwards, against now. `args` is stolen.
static int preview(const struct kt_cli_run *run, json_t *args)
{
    static const struct kta_column COLUMNS[] = {
        {"client", "client"},   {"id", "client_id"},      {"state", "state"}, {"right", "right"},
        {"handles now", "now"}, {"handles then", "then"}, {NULL, NULL},
    };
    json_t *rows = NULL;
    int rc = kta_ask(run, "grant.preview", args, &rows);

    if (rc)
        return rc;
    rc = kta_print_rows(run, rows, COLUMNS);
    if (!kt_cli_flag(run, "json") && !kt_cli_flag(run, "quiet"))
        printf(
            "Nothing was changed: %zu rows of clients and rights; handles that are there now, and "
            "later ones like them\n",
            json_array_size(rows));
    json_decref(rows);
    return rc;
}

static int run_grant(struct kt_cli_run *run)
{
    struct kt_error error = {0};
    json_t *args = json_pack("{s:s, s:s}", "organisation", run->argv[0], "rights", run->argv[1]);
    char done[256];
    int rc = args ? 0 : kt_error_set(&error, KT_ERR_USAGE, NULL, "arguments must be UTF-8 text");

    if (rc == 0)
        rc = kta_rights_check(run->argv[1], &error);
    if (rc == 0)
        rc = add_object(run, args, &error);
    if (rc == 0)
        rc = add_subject(run, args, &error);
    if (rc) {
        json_decref(args);
        return kt_cli_fail(run, &error);
    }
    if (kt_cli_flag(run, "dry-run"))
        return preview(run, args);
    snprintf(done, sizeof(done), "Granted %.100s in organisation %.63s", run->argv[1],
             run->argv[0]);
    return kta_change(run, "grant.add", args, done);
}

static int run_revoke(struct kt_cli_run *run)
{
    struct kt_error error = {0};
    struct kt_uuid uuid;
    char done[128];

    if (kt_uuid_parse(run->argv[0], &uuid) != 0) {
        kt_error_set(&error, KT_ERR_GRANT_NOT_FOUND, "ktadmin grants lists them",
                     "'%.40s' is not the id of a grant", run->argv[0]);
        return kt_cli_fail(run, &error);
    }
    if (kt_cli_flag(run, "dry-run"))
        return preview(run, json_pack("{s:s}", "grant_id", run->argv[0]));
    snprintf(done, sizeof(done), "Revoked grant %s", run->argv[0]);
    return kta_change(run, "grant.revoke", json_pack("{s:s}", "grant_id", run->argv[0]), done);
}

// --effective: what a client may do, and by which grant. `args` is stolen.
static int effective(const struct kt_cli_run *run, json_t *args)
{
    static const struct kta_column COLUMNS[] = {
        {"right", "right"},
        {"on", "object"},
        {"prefix", "prefix"},
        {"group", "key_group"},
        {"group id", "key_group_id"},
        {"granted to", "subject"},
        {"handles", "handles"},
        {"grant", "grant_id"},
        {NULL, NULL},
    };
    json_t *result = NULL;
    const char *state;
    int rc = kta_ask(run, "grant.effective", args, &result);

    if (rc)
        return rc;
    state = json_string_value(json_object_get(result, "state"));
    if (kt_cli_flag(run, "json"))
        kta_print_json(result);
    else
        rc = kta_print_rows(run, json_object_get(result, "grants"), COLUMNS);
    if (state && strcmp(state, "active") != 0)
        fprintf(stderr, "note: the client is %s: it can do none of this\n", state);
    if (json_is_true(json_object_get(result, "disabled")))
        fprintf(stderr, "note: its organisation is disabled: it can do none of this\n");
    json_decref(result);
    return rc;
}

static int check_effective(const struct kt_cli_run *run, struct kt_error *error)
{
    int wanted = kt_cli_flag(run, "effective");
    const char *handle = kt_cli_value(run, "handle");

    if (wanted && (!kt_cli_value(run, "client") || run->argc > 0))
        return kt_error_set(error, KT_ERR_USAGE, NULL,
                            "--effective wants --client CLIENT and no organisation");
    if (handle && !wanted)
        return kt_error_set(error, KT_ERR_USAGE, NULL, "--handle goes with --effective");
    if (handle && kt_handle_check(handle) != 0)
        return kt_error_set(error, KT_ERR_HANDLE_INVALID, NULL, "--handle: '%.80s' is not a handle",
                            handle);
    return 0;
}

static int run_grants(struct kt_cli_run *run)
{
    static const struct kta_column COLUMNS[] = {
        {"grant", "grant_id"},         {"organisation", "organisation"},
        {"client", "client"},          {"right", "right"},
        {"object", "object"},          {"prefix", "prefix"},
        {"key group", "key_group_id"}, {"granted", "created_at"},
        {"by", "created_by"},          {NULL, NULL},
    };
    json_t *args = json_pack("{s:s*}", "organisation", run->argc > 0 ? run->argv[0] : NULL);
    const char *client = kt_cli_value(run, "client");
    struct kt_error error = {0};
    struct kta_node node;
    json_t *rows = NULL;
    char id[KT_UUID_TEXT];
    int rc = check_effective(run, &error);

    if (rc == 0 && client) {
        rc = kta_open(run, KTA_AGENT, &node, &error);
        if (rc == 0)
            rc = kta_client_id(&node, client, id, &error);
        kta_close(&node);
    }
    if (rc) {
        json_decref(args);
        return kt_cli_fail(run, &error);
    }
    if (client && args)
        json_object_set_new(args, "client_id", json_string(id));
    if (kt_cli_flag(run, "effective")) {
        if (kt_cli_value(run, "handle"))
            json_object_set_new(args, "handle", json_string(kt_cli_value(run, "handle")));
        return effective(run, args);
    }
    rc = kta_ask(run, "grant.list", args, &rows);
    if (rc == 0)
        rc = kta_print_rows(run, rows, COLUMNS);
    json_decref(rows);
    return rc;
}

static const struct kt_cli_option GRANT_OPTIONS[] = {
    {"client", 0, "CLIENT", "to this client: its id, or a name that only one client has"},
    {"everyone", 0, NULL, "to every client of the organisation"},
    {"own", 0, NULL, "on the client's own deposits"},
    {"prefix", 0, "PREFIX", "on deposits whose handle begins with these bytes"},
    {"key-group", 0, "GROUP", "on the deposits of a key group: its id or name"},
    {"dry-run", 0, NULL, "change nothing: show who could do what then, and now"},
    {NULL},
};
static const struct kt_cli_option REVOKE_OPTIONS[] = {
    {"dry-run", 0, NULL, "change nothing: show who could do what then, and now"},
    {NULL},
};
static const struct kt_cli_option GRANTS_OPTIONS[] = {
    {"client", 0, "CLIENT", "only those of this client"},
    {"effective", 0, NULL, "what the client may do, also by grants to everyone"},
    {"handle", 0, "HANDLE", "with --effective: on this handle"},
    {NULL},
};

const struct kt_cli_command kta_cmd_grant = {
    .verb = "grant",
    .arguments = "ORGANISATION RIGHTS",
    .summary = "let clients do something with deposits",
    .help =
        "RIGHTS is a list with commas: deposit, browse, retrieve, delete, undelete, purge, "
        "lock, bypass.\nA prefix is of bytes: 'db' covers db/main and dbx. End it with a slash to "
        "mean a folder.",
    .options = GRANT_OPTIONS,
    .min_args = 2,
    .max_args = 2,
    .run = run_grant,
};
const struct kt_cli_command kta_cmd_revoke = {
    .verb = "revoke",
    .arguments = "GRANT",
    .summary = "take a grant back",
    .help =
        "GRANT is the id that 'grants' shows. It holds from the next request on, on every node\n"
        "that the command does not warn of.",
    .options = REVOKE_OPTIONS,
    .min_args = 1,
    .max_args = 1,
    .run = run_revoke,
};
const struct kt_cli_command kta_cmd_grants = {
    .verb = "grants",
    .arguments = "[ORGANISATION]",
    .summary = "list the grants",
    .options = GRANTS_OPTIONS,
    .max_args = 1,
    .run = run_grants,
};
