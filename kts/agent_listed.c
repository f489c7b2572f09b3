// SPDX-License-Identifier: Apache-2.0
// The nodes as the database's table lists them: who may be handed a key, and by whom one is taken.
#include "kts/agent_listed.h"

#include <stdio.h>
#include <string.h>

#include "kts/agent_cluster.h"
#include "kts/agent_door.h"
#include "kts/agent_view.h"
#include "lib/log.h"

// --- the list ---

static int has(const json_t *members, const char *member)
{
    const json_t *one;
    size_t i;

    json_array_foreach(members, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), member) == 0)
            return 1;
    }
    return 0;
}

void kts_listed_take(struct kts_view *view, const json_t *nodes, const json_t *expired)
{
    struct kts_listed *listed = &view->listed;
    struct kt_peers *list = &listed->nodes;
    const json_t *one;
    size_t i;

    list->count = 0;
    listed->expired = 0;
    json_array_foreach(nodes, i, one)
    {
        struct kt_peer peer = {.revision = 0};
        if (list->count == KT_PEERS_MAX)
            break;
        if (kt_peer_from_json(one, &peer, NULL) || peer.removed)
            continue; // who cannot be read is not there
        listed->expired |= (uint32_t)has(expired, peer.member) << list->count;
        list->peers[list->count++] = peer;
    }
    listed->is_known = 1;
}

const struct kt_peers *kts_listed_now(struct kts_agent *agent)
{
    kts_agent_watch_lists(agent);
    return agent->view && agent->view->is_known && agent->view->listed.is_known
               ? &agent->view->listed.nodes
               : NULL;
}

static int unknown(struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE,
                        "run it again when the database is up: see ktadmin status",
                        "the table of nodes cannot be read, by which keys go from node to node");
}

// --- callers ---

static int shows_listed(const struct kts_call *call, const struct kt_peers *list)
{
    const struct kt_peer *peer = kt_peers_by_cert(list, call->cert_sha256);

    return peer && strcmp(peer->member, call->member) == 0;
}

int kts_listed_check(const struct kts_call *call, struct kt_error *error)
{
    const struct kt_peers *list;

    if (call->caller == KTS_CALLER_LOCAL)
        return 0;
    list = kts_listed_now(call->agent);
    if (!list)
        return unknown(error);
    if (call->caller == KTS_CALLER_NODE && shows_listed(call, list))
        return 0;
    return kt_error_set(
        error, KT_ERR_NOT_MEMBER,
        "see ktadmin status: when this node is behind wait until it streams, then run "
        "it again; when not, somebody asks in that node's name",
        "the certificate of '%s' is not the one that the table of nodes has for it", call->member);
}

int kts_listed_check_newcomer(const struct kts_call *call, struct kt_error *error)
{
    const struct kts_agent *agent = call->agent;
    const struct kt_peers *list;
    const struct kt_peer *row;

    if (kts_listed_check(call, NULL) == 0)
        return 0;
    list = kts_listed_now(call->agent);
    if (!list)
        return unknown(error);
    row = kt_peers_by_member(list, call->member);
    if (agent->ca_phase == KT_CA_ONE &&
        (!row || (agent->view->listed.expired >> (row - list->peers) & 1)))
        return 0;
    if (row)
        return kt_error_set(error, KT_ERR_NOT_MEMBER,
                            "run ktadmin remove for it, then let it join again",
                            "the table of nodes has another certificate for '%s'", call->member);
    return kt_error_set(error, KT_ERR_NOT_MEMBER,
                        "let it join again, by a token of the active or of a node that reaches it",
                        "the table of nodes does not have '%s', and the CA is being replaced",
                        call->member);
}

// --- asking ---

void kts_listed_pin(const struct kt_peer *peer, struct kts_pins *pins,
                    struct kt_node_credentials *credentials)
{
    memcpy(pins->sha256[0], peer->cert_sha256, KT_SHA256_LEN);
    memcpy(pins->sha256[1], peer->cert_before, KT_SHA256_LEN);
    credentials->member = peer->member;
    credentials->peer_sha256 = (const uint8_t(*)[KT_SHA256_LEN])pins->sha256;
    credentials->peer_count = kt_peer_has_before(peer) ? 2 : 1;
}

int kts_listed_ask(const struct kts_job *job, const char *member, const char *verb, json_t *args,
                   int timeout_ms, json_t **result, struct kt_error *error)
{
    struct kt_node_credentials credentials = job->credentials;
    const struct kt_peer *peer = job->listed ? kt_peers_by_member(job->listed, member) : NULL;
    char text[KT_MEMBER_TEXT + KT_HOST_MAX + 16];
    struct kt_node *node = NULL;
    struct kts_pins pins = {{{0}}};
    int rc;

    if (!peer) {
        json_decref(args);
        return job->listed ? kt_error_set(error, KT_ERR_NOT_MEMBER, "see ktadmin status",
                                          "no node '%s' is in the table of nodes", member)
                           : unknown(error);
    }
    kts_listed_pin(peer, &pins, &credentials);
    rc = kt_node_remote(peer->address, peer->agent_port, &credentials, &node, error);
    if (rc) {
        json_decref(args);
        return rc;
    }
    snprintf(text, sizeof(text), "%s (%s:%u)", peer->member, peer->address,
             (unsigned)peer->agent_port);
    kt_node_set_text(node, text);
    rc = kt_node_call(node, verb, args, KTS_CONNECT_MS, timeout_ms, result, error);
    kt_node_free(node);
    return rc;
}
