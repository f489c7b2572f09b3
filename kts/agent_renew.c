// SPDX-License-Identifier: Apache-2.0
// A node's new certificate becomes known: on the active, from where all nodes hear it. Until the
// node says that it uses the new one, the one before is accepted as well.
#include "kts/agent_cert.h"

#include <string.h>

#include "kts/agent_join.h"
#include "kts/agent_listed.h"
#include "kts/agent_peers.h"
#include "lib/epoch.h"
#include "lib/json.h"
#include "lib/pki.h"

#define ADMIN_MS 5000

static int check_caller(const struct kts_call *call, const char *member, struct kt_error *error)
{
    const struct kt_peer *own = kts_agent_own_peer(kts_call_agent(call));
    int is_itself = kts_call_caller(call) == KTS_CALLER_LOCAL
                        ? own && strcmp(own->member, member) == 0
                        : strcmp(kts_call_member(call), member) == 0;

    return is_itself ? 0
                     : kt_error_set(error, KT_ERR_NOT_MEMBER, "run ktadmin rotate on that node",
                                    "a node renews its own certificate only");
}

static int raise_revision(struct kt_peer *peer, struct kt_error *error)
{
    if (peer->revision == UINT32_MAX)
        return kt_error_set(error, KT_ERR_EXISTS, "join under a new member id",
                            "the entry of '%s' cannot be renewed any more", peer->member);
    peer->revision++;
    return 0;
}

// `before` NULL: the new one alone counts from now on. Else the one that the node uses still, which
// must be one that is listed. The one that is being replaced comes not back: who has stolen its key
// is let in until then, and is to undo nothing.
static int change_entry(struct kt_peer *peer, const uint8_t sha256[KT_SHA256_LEN],
                        const uint8_t *before, struct kt_error *error)
{
    struct kt_peer next = *peer;

    if (memcmp(sha256, peer->cert_sha256, KT_SHA256_LEN) != 0 && kt_peer_has_before(peer) &&
        memcmp(sha256, peer->cert_before, KT_SHA256_LEN) == 0)
        return kt_error_set(error, KT_ERR_INVALID, "run ktadmin rotate on that node",
                            "the certificate of '%s' is being replaced by another", peer->member);
    memset(next.cert_before, 0, KT_SHA256_LEN);
    memcpy(next.cert_sha256, sha256, KT_SHA256_LEN);
    if (before && (memcmp(before, peer->cert_sha256, KT_SHA256_LEN) == 0 ||
                   memcmp(before, peer->cert_before, KT_SHA256_LEN) == 0))
        memcpy(next.cert_before, before, KT_SHA256_LEN);
    if (memcmp(next.cert_before, sha256, KT_SHA256_LEN) == 0)
        memset(next.cert_before, 0, KT_SHA256_LEN);
    if (memcmp(next.cert_sha256, peer->cert_sha256, KT_SHA256_LEN) == 0 &&
        memcmp(next.cert_before, peer->cert_before, KT_SHA256_LEN) == 0)
        return 0;
    *peer = next;
    return raise_revision(peer, error);
}

static int job_renew(struct kts_job *job, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    const char *pem = json_string_value(json_object_get(args, "cert"));
    struct db_cluster *cluster = NULL;
    struct db_position position;
    struct db_admin *admin = NULL;
    struct kt_peer peer;
    int rc = kts_join_peer(json_object_get(args, "peer"), &peer, error);

    if (rc == 0)
        rc = db_cluster_open(job->start->paths, job->start->settings, &cluster, error);
    if (rc == 0)
        rc = db_admin_open(cluster, ADMIN_MS, &admin, error);
    if (rc == 0)
        rc = db_admin_position(admin, &position, error);
    if (rc == 0 && position.in_recovery)
        rc = kt_error_set(error, KT_ERR_PASSIVE, NULL, "%s", kt_err_text(KT_ERR_PASSIVE));
    if (rc == 0)
        rc = db_admin_node_renew(admin, &peer, pem ? pem : "", error);
    if (rc == 0)
        *result = json_pack("{s:I}", "revision", (json_int_t)peer.revision);
    db_admin_close(admin);
    db_cluster_close(cluster);
    return rc;
}

// The lists hear of it from the table, once it is there.
static int start_renew(struct kts_call *call, const struct kt_peer *peer, const char *pem,
                       struct kt_error *error)
{
    char hex[KT_SHA256_TEXT];
    json_t *args = json_pack("{s:o, s:s}", "peer", kts_join_peer_json(peer), "cert", pem);
    int rc;

    if (kts_job_is_running(kts_call_agent(call))) {
        rc = kt_error_set(error, KT_ERR_BUSY, NULL, "another change is under way on this node");
    } else {
        kt_hex_encode(peer->cert_sha256, KT_SHA256_LEN, hex);
        kts_verb_record(call, "node.renew",
                        json_pack("{s:s, s:s}", "member", peer->member, "cert_sha256", hex));
        rc = args ? kts_job_start(call, "node.renew", job_renew, KTS_JOB_ALONE, args, error)
                  : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    json_decref(args);
    return rc;
}

int kts_run_node_renew(struct kts_call *call, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    static const char *const MEMBERS[] = {"member", "cert", "before", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    const char *member = NULL, *pem = NULL, *before = NULL;
    uint8_t sha256[KT_SHA256_LEN], listed[KT_SHA256_LEN];
    const struct kt_peer *there;
    struct kt_peer peer;
    int here = 0, rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kt_json_string(args, "member", 1, KT_MEMBER_TEXT - 1, &member, error);
    if (rc == 0)
        rc = kt_json_string(args, "cert", 1, KT_CERT_PEM_MAX, &pem, error);
    if (rc == 0)
        rc = kt_json_string(args, "before", 0, KT_SHA256_TEXT - 1, &before, error);
    if (rc == 0)
        rc = check_caller(call, member, error);
    if (rc == 0 && before && kt_hex_decode(before, listed, sizeof(listed)) != 0)
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'before' is malformed");
    if (rc)
        return rc;
    (void)!kts_join_find_active(agent, &here);
    there = kt_peers_by_member(kts_agent_peers(agent), member);
    if (!here)
        return kt_error_set(error, KT_ERR_PASSIVE, NULL, "this node is not the active");
    if (!there || there->removed)
        return kt_error_set(error, KT_ERR_NOT_MEMBER, NULL, "'%s' is no node of this cluster",
                            member);
    peer = *there;
    if (kts_join_check_cert(agent, member, pem, sha256))
        return kt_error_set(error, KT_ERR_INVALID,
                            "compare the clocks of the nodes; they must have the same CA",
                            "the certificate is not that of '%s' in this cluster", member);
    rc = change_entry(&peer, sha256, before ? listed : NULL, error);
    if (rc == 0)
        rc = kts_listed_check_newcomer(call, error);
    return rc ? rc : start_renew(call, &peer, pem, error);
}

int kts_renew_own_entry(struct kts_agent *agent, struct kt_error *error)
{
    const struct kt_peer *own = kts_agent_own_peer(agent);
    static struct kt_peers list;
    struct kt_peer now;
    int rc = kts_agent_self(agent, &now, error);

    if (rc || !own || memcmp(now.cert_sha256, own->cert_sha256, KT_SHA256_LEN) == 0)
        return rc;
    list.count = 1;
    list.peers[0] = *own;
    rc = change_entry(&list.peers[0], now.cert_sha256, NULL, error);
    if (rc == 0)
        kts_agent_peers_learn(agent, &list);
    return rc;
}
