// SPDX-License-Identifier: Apache-2.0
// client list, client approve, client revoke.
#include <stdio.h>
#include <string.h>

#include "ktadmin/commands.h"

static int run_list(struct kt_cli_run *run)
{
    static const struct kta_column COLUMNS[] = {
        {"client", "client_id"},
        {"name", "name"},
        {"organisation", "organisation"},
        {"state", "state"},
        {"openpgp key", "openpgp_fingerprint"},
        {"certificate until", "certificate_not_after"},
        {"registered", "created_at"},
        {NULL, NULL},
    };
    const char *state = kt_cli_value(run, "state");
    struct kt_error error = {0};
    json_t *rows = NULL;
    int rc;

    if (state && strcmp(state, "pending") != 0 && strcmp(state, "active") != 0 &&
        strcmp(state, "revoked") != 0) {
        kt_error_set(&error, KT_ERR_USAGE, "states are pending, active, revoked",
                     "--state: '%.40s' is not a state", state);
        return kt_cli_fail(run, &error);
    }
    rc = kta_ask(run, "client.list",
                 json_pack("{s:s*, s:s*}", "organisation", run->argc > 0 ? run->argv[0] : NULL,
                           "state", state),
                 &rows);
    if (rc == 0)
        rc = kta_print_rows(run, rows, COLUMNS);
    json_decref(rows);
    return rc;
}

// The client's UUID; on failure prints it and gives the exit code.
static int find(const struct kt_cli_run *run, char id[KT_UUID_TEXT])
{
    struct kt_error error = {0};
    struct kta_node node;
    int rc = kta_open(run, KTA_AGENT, &node, &error);

    if (rc == 0)
        rc = kta_client_id(&node, run->argv[0], id, &error);
    kta_close(&node);
    return rc ? kt_cli_fail(run, &error) : 0;
}

static int run_approve(struct kt_cli_run *run)
{
    char id[KT_UUID_TEXT], done[128];
    int rc = find(run, id);

    if (rc)
        return rc;
    snprintf(done, sizeof(done), "Approved client %s", id);
    return kta_change(run, "client.approve", json_pack("{s:s}", "client_id", id), done);
}

static int run_revoke(struct kt_cli_run *run)
{
    char id[KT_UUID_TEXT], question[256], done[128];
    int rc = find(run, id);

    if (rc)
        return rc;
    snprintf(question, sizeof(question),
             "Revoke client %s (%.63s)? It is refused from its next request on, for good; its "
             "deposits stay.",
             id, run->argv[0]);
    if (!kt_cli_confirm(run, question))
        return KT_EXIT_FAILURE;
    snprintf(done, sizeof(done), "Revoked client %s", id);
    return kta_change(run, "client.revoke", json_pack("{s:s}", "client_id", id), done);
}

static const struct kt_cli_option LIST_OPTIONS[] = {
    {"state", 0, "STATE", "only those in this state: pending, active, revoked"},
    {NULL},
};

const struct kt_cli_command kta_cmd_client_list = {
    .verb = "client list",
    .arguments = "[ORGANISATION]",
    .summary = "list the clients",
    .options = LIST_OPTIONS,
    .max_args = 1,
    .run = run_list,
};
const struct kt_cli_command kta_cmd_client_approve = {
    .verb = "client approve",
    .arguments = "CLIENT",
    .summary = "let in a client that waits for approval",
    .help = "CLIENT is the id that 'client list' shows, or a name that only one client has.",
    .min_args = 1,
    .max_args = 1,
    .run = run_approve,
};
const struct kt_cli_command kta_cmd_client_revoke = {
    .verb = "client revoke",
    .arguments = "CLIENT",
    .summary = "refuse a client from now on",
    .help = "CLIENT is the id that 'client list' shows, or a name that only one client has.\n"
            "Asks first, unless --yes is given. Its deposits stay; others may be granted rights on "
            "them.",
    .min_args = 1,
    .max_args = 1,
    .run = run_revoke,
};
