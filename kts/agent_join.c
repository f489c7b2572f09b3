// SPDX-License-Identifier: Apache-2.0
// Joining: a newcomer is let in by its token, gets a certificate and what the nodes have in common,
// and is made known to the active.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/agent_cluster.h"
#include "kts/agent_door.h"
#include "kts/agent_join.h"
#include "kts/agent_peers.h"
#include "kts/agent_token.h"
#include "lib/epoch.h"
#include "lib/http_client.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/pki.h"

#define CONNECT_MS 1000
#define ADD_MS     20000

struct newcomer {
    struct kt_peer peer;
    EVP_PKEY *key;
    uint8_t key_sha256[KT_SHA256_LEN];
};

// --- arguments ---

static int take_port(const json_t *args, const char *name, uint16_t *port, struct kt_error *error)
{
    int64_t number = 0;
    int rc = kt_json_integer(args, name, 1, UINT16_MAX, 1, &number, error);

    *port = (uint16_t)number;
    return rc;
}

static int check_names(const char *node, const char *member, const char *address,
                       struct kt_error *error)
{
    char of[KT_NODE_NAME_MAX + 1] = "", server[KT_HOST_MAX + 16];

    if (kt_name_check(node, KT_NODE_NAME_MAX))
        return kt_error_set(error, KT_ERR_INVALID,
                            "a node's name begins with a letter and has up to 16 of a-z, 0-9 and -",
                            "'%s' is not a name for a node", node);
    if (kt_member_check(member) == 0)
        kt_member_node(member, of);
    if (strcmp(of, node) != 0)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is not a member id of node '%s'",
                            member, node);
    snprintf(server, sizeof(server), strchr(address, ':') ? "[%s]:1" : "%s:1", address);
    if (kt_http_server_check(server))
        return kt_error_set(error, KT_ERR_INVALID, "give a host name or an address, without port",
                            "'%s' is not an address", address);
    return 0;
}

static int take_key(struct newcomer *newcomer, const char *csr, struct kt_error *error)
{
    int rc = kt_pki_csr_key(csr, strlen(csr), &newcomer->key, error);

    return rc ? rc : kt_pki_key_sha256(newcomer->key, newcomer->key_sha256);
}

// As the lists of nodes will hold it: what they would not take is refused before it is in one.
static int check_peer(const struct kt_peer *peer, struct kt_error *error)
{
    json_t *object = kts_join_peer_json(peer);
    struct kt_peer read;
    int rc = kts_join_peer(object, &read, error);

    json_decref(object);
    return rc;
}

static int take_newcomer(const json_t *args, struct newcomer *newcomer, struct kt_error *error)
{
    static const char *const MEMBERS[] = {"node",       "member",        "csr",        "address",
                                          "agent_port", "database_port", "https_port", NULL};
    const char *node = NULL, *member = NULL, *address = NULL, *csr = NULL;
    struct kt_peer *peer = &newcomer->peer;
    int rc = kt_json_only(args, MEMBERS, error);

    if (rc == 0)
        rc = kt_json_string(args, "node", 1, KT_NODE_NAME_MAX, &node, error);
    if (rc == 0)
        rc = kt_json_string(args, "member", 1, KT_MEMBER_TEXT - 1, &member, error);
    if (rc == 0)
        rc = kt_json_string(args, "csr", 1, KT_CSR_MAX, &csr, error);
    if (rc == 0)
        rc = kt_json_string(args, "address", 1, KT_HOST_MAX, &address, error);
    if (rc == 0)
        rc = take_port(args, "agent_port", &peer->agent_port, error);
    if (rc == 0)
        rc = take_port(args, "database_port", &peer->database_port, error);
    if (rc == 0)
        rc = take_port(args, "https_port", &peer->https_port, error);
    if (rc == 0)
        rc = check_names(node, member, address, error);
    if (rc)
        return rc;
    snprintf(peer->member, sizeof(peer->member), "%s", member);
    snprintf(peer->address, sizeof(peer->address), "%s", address);
    peer->revision = 1;
    rc = check_peer(peer, error);
    return rc ? rc : take_key(newcomer, csr, error);
}

// --- certificates ---

static int sign(const struct kts_agent *agent, struct newcomer *newcomer, struct kt_buf *pem,
                struct kt_error *error)
{
    struct kt_pki_subject subject = {
        .role = KT_PKI_NODE,
        .common_name = newcomer->peer.member,
        .lifetime_s =
            kt_settings_number(agent->start->settings, KT_SET_NODE_CERTIFICATE_LIFETIME) / 1000,
    };
    X509 *cert = NULL;
    int rc = kt_pki_sign(agent->ca_key, agent->ca_cert, newcomer->key, &subject, &cert);

    if (rc == 0)
        rc = kt_pki_cert_sha256(cert, newcomer->peer.cert_sha256);
    if (rc == 0)
        rc = kt_pki_cert_to_pem(cert, pem);
    if (rc == 0)
        rc = kt_pki_chain_to_pem(agent->ca_cert, pem); // its TLS listener sends the chain
    if (rc == 0)
        rc = kt_buf_put(pem, "", 1);
    X509_free(cert);
    return rc ? kt_error_set(error, rc, NULL, "the certificate cannot be made: %s", kt_err_text(rc))
              : 0;
}

// --- letting in ---

// Asks the active. 0: *registered says whether; nobody there is no failure.
static int register_there(struct kts_job *job, const struct kt_peer *active, const json_t *args,
                          int *registered, struct kt_error *error)
{
    struct kt_error why = {0};
    struct kt_node *node = NULL;
    json_t *answer = NULL;
    struct kt_node_credentials credentials = job->credentials;
    int rc;

    credentials.member = active->member;
    rc = kt_node_remote(active->address, active->agent_port, &credentials, &node, &why);

    if (rc == 0)
        rc = kt_node_call(node, "node.add",
                          json_pack("{s:O, s:O}", "peer", json_object_get(args, "peer"), "cert",
                                    json_object_get(args, "cert")),
                          CONNECT_MS, ADD_MS, &answer, &why);
    kt_node_free(node);
    json_decref(answer);
    *registered = rc == 0;
    if (rc == KT_ERR_NETWORK || rc == KT_ERR_TIMEOUT) {
        kt_log_error(&why, "the active '%s' cannot be told of the newcomer", active->member);
        return 0;
    }
    return rc ? kt_error_set(error, rc, why.hint[0] ? why.hint : NULL, "%s", why.message) : 0;
}

static json_t *cluster_json(const struct kt_cluster_info *info)
{
    char id[KT_UUID_TEXT];

    kt_uuid_format(&info->cluster_id, id);
    return json_pack("{s:s, s:s}", "cluster_id", id, "openpgp_fingerprint",
                     info->openpgp_fingerprint);
}

// For the key that the certificate is for: nobody else's opens it.
static int bundle(const struct kts_job *job, const char *pem, json_t **files,
                  struct kt_error *error)
{
    X509 *cert = NULL;
    int rc = pem ? kt_pki_cert_from_pem(pem, strlen(pem), &cert) : KT_ERR_INVALID;

    rc = rc ? kt_error_set(error, rc, NULL, "the newcomer's certificate cannot be read")
            : kts_bundle_files(job->start->paths, X509_get0_pubkey(cert), files, error);
    X509_free(cert);
    return rc;
}

// Arguments: "peer", "cert", "peers", "here", "active" (or null).
static int job_begin(struct kts_job *job, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    json_t *to = json_object_get(args, "active"), *files = NULL;
    int here = json_is_true(json_object_get(args, "here")), registered = here;
    struct kt_peer peer, active;
    int rc = kts_join_peer(json_object_get(args, "peer"), &peer, error);

    if (rc == 0 && here)
        rc = kts_join_register(job, &peer, json_string_value(json_object_get(args, "cert")), error);
    else if (rc == 0 && json_is_object(to) && (rc = kts_join_peer(to, &active, error)) == 0)
        rc = register_there(job, &active, args, &registered, error);
    if (rc == 0)
        rc = bundle(job, json_string_value(json_object_get(args, "cert")), &files, error);
    if (rc)
        return rc;
    *result = json_pack("{s:o, s:O, s:o, s:O, s:O, s:b, s:s, s:o}", "files", files, "node_cert",
                        json_object_get(args, "cert"), "cluster", cluster_json(job->start->info),
                        "peers", json_object_get(args, "peers"), "active",
                        registered ? to : json_null(), "registered", registered, "role",
                        kts_role_name((enum kts_role)atomic_load(&job->status->role)), "settings",
                        kts_bundle_settings(job->start->settings));
    return *result ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
}

// `list` has the newcomer in it already; this node is added when it is not listed yet.
static int start_begin(struct kts_call *call, const struct newcomer *newcomer, const char *cert,
                       struct kt_peers *list, struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    static struct kt_peers own;
    const struct kt_peer *active;
    json_t *args;
    int here = 0, rc;

    own.count = 1;
    rc = kts_agent_self(agent, &own.peers[0], error);
    if (rc == 0 && kt_peers_merge(list, &own) < 0)
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the list of nodes is full");
    if (rc)
        return rc;
    active = kts_join_find_active(agent, &here);
    if (here)
        active = &own.peers[0];
    args = json_pack("{s:o, s:s, s:o, s:b, s:o}", "peer", kts_join_peer_json(&newcomer->peer),
                     "cert", cert, "peers", kt_peers_to_json(list), "here", here, "active",
                     active ? kts_join_peer_json(active) : json_null());
    rc = args ? kts_job_start(call, "join.begin", job_begin, KTS_JOB_ALONE, args, error)
              : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    json_decref(args);
    if (rc == KT_ERR_AGAIN)
        kts_agent_peers_learn(agent, list);
    return rc;
}

static int run_begin(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    struct kt_buf pem = KT_BUF_INIT(2 * KT_CERT_PEM_MAX);
    struct newcomer newcomer = {.key = NULL};
    static struct kt_peers list;
    int again = 0;
    int rc = take_newcomer(args, &newcomer, error);

    (void)result;
    if (rc == 0 && kts_job_is_running(agent)) // before the token is used
        rc = kt_error_set(error, KT_ERR_BUSY, NULL, "another change is under way on this node");
    // A newcomer that is refused for its name may come again under another: all that can be refused
    // here is, before the token is used.
    if (rc == 0)
        rc = kts_token_may_use(agent, call->token, newcomer.peer.member, newcomer.key_sha256,
                               &again, error);
    if (rc == 0)
        rc = sign(agent, &newcomer, &pem, error);
    if (rc == 0)
        rc = kts_join_put_in_list(agent, &newcomer.peer, again, &list, error);
    if (rc == 0)
        rc = kts_token_use(agent, call->token, newcomer.peer.member, newcomer.key_sha256, error);
    if (rc == 0)
        kts_verb_record(call, "join.begin",
                        json_pack("{s:s, s:s, s:s*}", "member", newcomer.peer.member, "address",
                                  newcomer.peer.address, "peer", call->peer));
    if (rc == 0)
        rc = start_begin(call, &newcomer, (const char *)kt_buf_ptr(&pem), &list, error);
    kt_buf_free(&pem);
    EVP_PKEY_free(newcomer.key);
    return rc;
}

const struct kts_verb kts_join_verbs[] = {
    {"join.begin", KTS_CALLER_TOKEN, KTS_VERB_CLOSED | KTS_VERB_RECORDS, run_begin, NULL,
     "join.begin"},
    {"node.add", KTS_CALLER_NODE | KTS_CALLER_LOCAL, KTS_VERB_CLOSED, kts_join_run_add, NULL,
     "node.add"},
    // How far the newcomer's copy has to get before it has a vote.
    {"join.floor", KTS_CALLER_NODE, 0, NULL, kts_job_member_floor, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
