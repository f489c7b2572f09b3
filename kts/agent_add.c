// SPDX-License-Identifier: Apache-2.0
// Making a newcomer known: which members there may be, where the active is, its registration there.
#include <stdio.h>
#include <string.h>

#include "kts/agent_join.h"
#include "kts/agent_listed.h"
#include "kts/agent_peers.h"
#include "lib/epoch.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/pki.h"

#define ADMIN_MS 5000

// --- who it may be ---

static int is_established(const struct kts_agent *agent)
{
    uint32_t role = atomic_load(&agent->start->status->role);

    return role == KTS_ROLE_ACTIVE || role == KTS_ROLE_STANDALONE;
}

static int is_active(const struct kts_agent *agent)
{
    return is_established(agent) ||
           atomic_load(&agent->start->status->role) == KTS_ROLE_UNESTABLISHED;
}

// 1 when the peer says that it is the active, in (*incarnation, *epoch).
static int acts_as_active(const struct kts_agent *agent, const struct kt_peer *peer,
                          struct kt_incarnation *incarnation, uint64_t *epoch)
{
    static const enum kts_role ROLES[] = {KTS_ROLE_ACTIVE, KTS_ROLE_STANDALONE,
                                          KTS_ROLE_UNESTABLISHED};
    const json_t *state = kts_agent_peer_state(agent, peer->member, NULL);
    const json_t *promise = json_object_get(state, "promise");
    const char *role = json_string_value(json_object_get(state, "role"));
    const char *text = json_string_value(json_object_get(promise, "incarnation"));

    if (peer->removed || !role || !text || !kts_agent_peer_is_reachable(agent, peer->member) ||
        kt_incarnation_parse(text, incarnation))
        return 0;
    *epoch = (uint64_t)json_integer_value(json_object_get(promise, "epoch"));
    for (size_t i = 0; i < sizeof(ROLES) / sizeof(ROLES[0]); i++) {
        if (strcmp(role, kts_role_name(ROLES[i])) == 0)
            return 1;
    }
    return 0;
}

// The node to register on: NULL when this one is it (`*here` 1), or when none answers.
const struct kt_peer *kts_join_find_active(const struct kts_agent *agent, int *here)
{
    const struct kt_peers *list = kts_agent_peers(agent);
    const struct kt_peer *found = NULL;
    struct kt_incarnation best = {0};
    uint64_t best_epoch = 0;

    *here = is_active(agent);
    for (size_t i = 0; !*here && i < list->count; i++) {
        const struct kt_peer *peer = &list->peers[i];
        struct kt_incarnation incarnation;
        uint64_t epoch = 0;
        int order = 1;
        if (!acts_as_active(agent, peer, &incarnation, &epoch))
            continue;
        if (found &&
            (kt_incarnation_compare(&incarnation, epoch, &best, best_epoch, &order) || order <= 0))
            continue;
        found = peer;
        best = incarnation;
        best_epoch = epoch;
    }
    return found;
}

// A node of the same name under another member id stands in the way, unless it is gone for good.
// Where there is an established active that is said by `ktadmin remove`; without one (the only
// other node was lost) by the operator's token, provided that the old one does not answer.
static int check_name(const struct kts_agent *agent, const struct kt_peer *newcomer,
                      struct kt_peers *list, struct kt_error *error)
{
    char node[KT_NODE_NAME_MAX + 1], other[KT_NODE_NAME_MAX + 1];
    int here = 0;
    int has_active = kts_join_find_active(agent, &here) || is_established(agent);

    kt_member_node(newcomer->member, node);
    if (strcmp(node, agent->start->info->node) == 0)
        return kt_error_set(error, KT_ERR_EXISTS, "choose another name",
                            "'%s' is the name of the node that was asked", node);
    for (size_t i = 0; i < list->count; i++) {
        struct kt_peer *peer = &list->peers[i];
        kt_member_node(peer->member, other);
        if (peer->removed || strcmp(node, other) != 0 ||
            strcmp(peer->member, newcomer->member) == 0)
            continue;
        if (has_active || kts_agent_peer_is_reachable(agent, peer->member))
            return kt_error_set(error, KT_ERR_EXISTS,
                                "choose another name, or remove the old one first: ktadmin remove",
                                "there is a node '%s' already", node);
        kt_log(KT_LOG_NOTICE, "member '%s' is replaced by '%s'", peer->member, newcomer->member);
        peer->removed = 1;
    }
    return 0;
}

// `list` is the list of now with the newcomer in it.
// `may_replace`: the entry it has may be renewed.
int kts_join_put_in_list(const struct kts_agent *agent, struct kt_peer *newcomer, int may_replace,
                         struct kt_peers *list, struct kt_error *error)
{
    static struct kt_peers one;
    const struct kt_peer *there;
    int rc;

    *list = *kts_agent_peers(agent);
    there = kt_peers_by_member(list, newcomer->member);
    if (there && (there->removed || !may_replace))
        return kt_error_set(error, KT_ERR_EXISTS, "join under a new identity",
                            "the member '%s' is known already", newcomer->member);
    if (there && there->revision == UINT32_MAX)
        return kt_error_set(error, KT_ERR_EXISTS, "join under a new identity",
                            "the entry of '%s' cannot be renewed any more", newcomer->member);
    if (there && newcomer->revision <= there->revision)
        newcomer->revision = there->revision + 1;
    rc = check_name(agent, newcomer, list, error);
    if (rc)
        return rc;
    one.count = 1;
    one.peers[0] = *newcomer;
    rc = kt_peers_merge(list, &one);
    return rc < 0 ? kt_error_set(error, rc, NULL, "the list of nodes is full") : 0;
}

// --- registration on the active ---

// In a job on the active: role, slot and rows of the newcomer.
int kts_join_register(struct kts_job *job, const struct kt_peer *peer, const char *cert,
                      struct kt_error *error)
{
    struct db_cluster *cluster = NULL;
    struct db_position position;
    struct db_admin *admin = NULL;
    int rc = db_cluster_open(job->start->paths, job->start->settings, &cluster, error);

    if (rc == 0)
        rc = db_admin_open(cluster, ADMIN_MS, &admin, error);
    if (rc == 0)
        rc = db_admin_position(admin, &position, error);
    if (rc == 0 && position.in_recovery)
        rc = kt_error_set(error, KT_ERR_PASSIVE, NULL, "%s", kt_err_text(KT_ERR_PASSIVE));
    if (rc == 0)
        rc = db_admin_node_put(admin, peer, cert, error);
    db_admin_close(admin);
    db_cluster_close(cluster);
    return rc;
}

int kts_join_peer(const json_t *object, struct kt_peer *peer, struct kt_error *error)
{
    static struct kt_peers one;
    json_t *array = object ? json_pack("[O]", object) : NULL;
    int rc = array ? kt_peers_from_json(array, &one, error)
                   : kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "there is no peer");

    json_decref(array);
    if (rc == 0)
        *peer = one.peers[0];
    return rc;
}

json_t *kts_join_peer_json(const struct kt_peer *peer)
{
    static struct kt_peers one;
    json_t *array, *object;

    one.count = 1;
    one.peers[0] = *peer;
    array = kt_peers_to_json(&one);
    object = json_incref(json_array_get(array, 0));
    json_decref(array);
    return object;
}

static int job_add(struct kts_job *job, const json_t *args, json_t **result, struct kt_error *error)
{
    struct kt_peer peer;
    int rc = kts_join_peer(json_object_get(args, "peer"), &peer, error);

    if (rc == 0)
        rc = kts_join_register(job, &peer, json_string_value(json_object_get(args, "cert")), error);
    if (rc == 0)
        *result = json_pack("{s:b}", "registered", 1);
    return rc;
}

int kts_join_check_cert(const struct kts_agent *agent, const char *member, const char *pem,
                        uint8_t sha256[KT_SHA256_LEN])
{
    X509 *cert = NULL;
    int rc = kt_pki_cert_from_pem(pem, strlen(pem), &cert);

    if (rc == 0)
        rc = kt_pki_cert_check(cert, agent->ca_cert, kt_time_now());
    if (rc == 0)
        rc = kt_pki_cert_sha256(cert, sha256);
    if (rc == 0 && !kt_pki_is_node(cert, member))
        rc = KT_ERR_INVALID;
    X509_free(cert);
    return rc;
}

static int check_cert(const struct kts_agent *agent, const struct kt_peer *peer, const char *pem,
                      struct kt_error *error)
{
    uint8_t sha256[KT_SHA256_LEN];

    return kts_join_check_cert(agent, peer->member, pem, sha256) == 0 &&
                   memcmp(sha256, peer->cert_sha256, KT_SHA256_LEN) == 0
               ? 0
               : kt_error_set(error, KT_ERR_INVALID, NULL,
                              "the certificate is not that of '%s' in this cluster", peer->member);
}

// The node that has let it in; or itself, when no active was in sight then.
static int check_caller(const struct kts_call *call, const char *member, struct kt_error *error)
{
    return strcmp(kts_call_member(call), member) == 0 ? kts_listed_check_newcomer(call, error)
                                                      : kts_listed_check(call, error);
}

// On the active, asked by the node that has let the newcomer in.
int kts_join_run_add(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    static const char *const MEMBERS[] = {"peer", "cert", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    static struct kt_peers list;
    const char *pem = NULL;
    struct kt_peer peer;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kt_json_string(args, "cert", 1, KT_CERT_PEM_MAX, &pem, error);
    if (rc == 0)
        rc = kts_join_peer(json_object_get(args, "peer"), &peer, error);
    if (rc == 0 && !is_active(agent))
        rc = kt_error_set(error, KT_ERR_PASSIVE, NULL, "this node is not the active");
    if (rc == 0)
        rc = check_cert(agent, &peer, pem, error);
    if (rc == 0)
        rc = check_caller(call, peer.member, error);
    if (rc == 0)
        rc = kts_join_put_in_list(agent, &peer, 1, &list, error);
    if (rc)
        return rc;
    rc = kts_job_start(call, "node.add", job_add, KTS_JOB_ALONE, args, error);
    if (rc == KT_ERR_AGAIN)
        kts_agent_peers_learn(agent, &list);
    return rc;
}
