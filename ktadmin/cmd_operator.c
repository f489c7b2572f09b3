// SPDX-License-Identifier: Apache-2.0
// operator new, operator revoke: a certificate with which an operator works from elsewhere.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/nodes.h"
#include "ktadmin/operator.h"
#include "lib/agent_call.h"
#include "lib/file.h"
#include "lib/pki.h"

#define PEM_MAX          16384
#define LIFETIME_DEFAULT (INT64_C(90) * 86400)
#define TAKEN_US         10000000
#define TAKEN_PAUSE_MS   200

static int make_request(const char *name, int64_t lifetime_s, EVP_PKEY **key, json_t **args,
                        struct kt_error *error)
{
    struct kt_buf csr = KT_BUF_INIT(PEM_MAX);
    int rc = kt_pki_new_p256(key);

    if (rc == 0)
        rc = kt_pki_csr_make(*key, &csr);
    if (rc == 0) {
        *args = json_pack("{s:s, s:s%, s:I}", "name", name, "csr", (const char *)kt_buf_ptr(&csr),
                          (size_t)kt_buf_left(&csr), "lifetime_s", (json_int_t)lifetime_s);
        rc = *args ? 0 : KT_ERR_NO_MEMORY;
    }
    kt_buf_free(&csr);
    return rc ? kt_error_set(error, rc, NULL, "cannot make the operator's key") : 0;
}

// The agent is asked by whoever called, the files of the node are read afterwards.
static int make(const struct kt_cli_run *run, const char *name, const char *path,
                int64_t lifetime_s, struct kt_error *error)
{
    char title[256], *ca = NULL;
    struct kt_peers peers = {0};
    json_t *args = NULL, *result = NULL, *state = NULL;
    EVP_PKEY *key = NULL;
    struct kta_node node = {0};
    const char *cert, *cluster;
    int rc = kta_open(run, KTA_AGENT, &node, error);

    if (rc == 0)
        rc = kt_file_read_text(node.paths.ca_cert, PEM_MAX, &ca, error);
    if (rc == 0)
        rc = make_request(name, lifetime_s, &key, &args, error);
    if (rc == 0)
        rc = kt_agent_call(node.paths.agent_socket, "operator.add", args, KTA_TIMEOUT_MS, &result,
                           error);
    if (rc == 0)
        rc = kt_agent_call(node.paths.agent_socket, "node.state", NULL, KTA_TIMEOUT_MS, &state,
                           error);
    if (rc)
        goto out;
    cert = json_string_value(json_object_get(result, "cert"));
    cluster = json_string_value(json_object_get(state, "cluster"));
    if (!cert || kt_peers_from_json(json_object_get(state, "peers"), &peers, NULL) != 0) {
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "the agent's answer has no certificate");
        goto out;
    }
    snprintf(title, sizeof(title),
             "keytrustee operator bundle 1: keep it as secret as a password\n"
             "operator: %s\ncluster: %s\n",
             name, cluster ? cluster : "");
    rc = kta_bundle_save(path, title, &peers, cert, ca, key, error);
out:
    json_decref(result);
    json_decref(state);
    EVP_PKEY_free(key);
    free(ca);
    kta_close(&node);
    return rc;
}

static size_t refusing(const struct kta_nodes *nodes)
{
    size_t count = 0;

    for (size_t i = 0; i < nodes->count; i++)
        count += kta_member_refuses(&nodes->list[i]);
    return count;
}

// The nodes read the list of operators every few seconds: the bundle is good as soon as all that
// answer take it.
static void wait_taken(const struct kt_cli_run *run, const char *path)
{
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    int64_t until = kt_monotonic_now() + TAKEN_US;
    int rc = nodes ? kta_nodes_open_bundle(run, path, nodes, NULL) : KT_ERR_NO_MEMORY;

    while (rc == 0) {
        (void)!kta_nodes_look(nodes, NULL);
        if (refusing(nodes) == 0 || kt_monotonic_now() > until)
            break;
        kta_pause_ms(TAKEN_PAUSE_MS);
    }
    for (size_t i = 0; rc == 0 && i < nodes->count; i++)
        if (kta_member_refuses(&nodes->list[i]))
            fprintf(stderr,
                    "note: %s (%s) does not take it yet: it will as soon as its database is up and "
                    "has caught up\n",
                    nodes->list[i].name[0] ? nodes->list[i].name : "a node",
                    nodes->list[i].peer.address);
    if (nodes)
        kta_nodes_close(nodes);
    free(nodes);
}

static int run_new(struct kt_cli_run *run)
{
    const char *name = run->argv[0], *path = kt_cli_value(run, "output"),
               *expires = kt_cli_value(run, "expires");
    int64_t lifetime_s = LIFETIME_DEFAULT;
    struct kt_error error = {0};
    int rc = 0;

    if (kt_name_check(name, KT_ORG_NAME_MAX) != 0)
        rc = kt_error_set(&error, KT_ERR_USAGE, NULL, "'%.63s' is not a name", name);
    if (rc == 0 && !path)
        rc = kt_error_set(&error, KT_ERR_USAGE, NULL, "give --output FILE");
    if (rc == 0 && kt_file_exists(path))
        rc = kt_error_set(&error, KT_ERR_EXISTS, "choose another name", "'%.300s' is there already",
                          path);
    if (rc == 0 && expires)
        rc = kta_duration("expires", expires, &lifetime_s, &error);
    if (rc == 0)
        rc = make(run, name, path, lifetime_s, &error);
    if (rc)
        return kt_cli_fail(run, &error);
    wait_taken(run, path);
    if (kt_cli_flag(run, "json"))
        printf("{\"operator\": \"%s\"}\n", name);
    else if (!kt_cli_flag(run, "quiet"))
        printf("Operator %s: '%s' has certificate and key, for\n"
               "    ktadmin --operator FILE status\n",
               name, path);
    return KT_EXIT_OK;
}

static int run_revoke(struct kt_cli_run *run)
{
    char question[192], done[128];

    snprintf(question, sizeof(question),
             "Revoke all certificates of operator %.63s? Whoever has them is refused from the next "
             "request on.",
             run->argv[0]);
    if (!kt_cli_confirm(run, question))
        return KT_EXIT_FAILURE;
    snprintf(done, sizeof(done), "Revoked operator %.63s", run->argv[0]);
    return kta_change(run, "operator.revoke", json_pack("{s:s}", "name", run->argv[0]), done);
}

static const struct kt_cli_option OPTIONS[] = {
    {"output", 'o', "FILE", "where to write the bundle; must not be there yet"},
    {"expires", 0, "TIME", "how long the certificate is good: 24h, 90d (90d)"},
    {NULL},
};

const struct kt_cli_command kta_cmd_operator_new = {
    .verb = "operator new",
    .arguments = "NAME",
    .summary = "make a certificate for an operator elsewhere",
    .help = "The key is made here and stays in the file, with the certificate, the CA and the "
            "nodes' addresses.\nWhoever has the file may do with the cluster what its nodes may: "
            "status, failover, tokens.",
    .options = OPTIONS,
    .min_args = 1,
    .max_args = 1,
    .run = run_new,
};
const struct kt_cli_command kta_cmd_operator_revoke = {
    .verb = "operator revoke",
    .arguments = "NAME",
    .summary = "refuse an operator's certificates from now on",
    .help = "All that were made for this name. Asks first, unless --yes is given.",
    .min_args = 1,
    .max_args = 1,
    .run = run_revoke,
};
