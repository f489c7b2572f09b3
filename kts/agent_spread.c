// SPDX-License-Identifier: Apache-2.0
// Which nodes have a change that is durable.
#include "kts/agent_spread.h"

#include <string.h>

#include "kts/agent_peers.h"

// What says who may do what, and the key that a client asks any node for as soon as it signs. Others
// can be behind for a moment without harm.
static const enum kt_change_kind AWAITED[] = {
    KT_CHANGE_ORG_DISABLE,     KT_CHANGE_CLIENT_APPROVE,
    KT_CHANGE_CLIENT_REVOKE,   KT_CHANGE_GRANT,
    KT_CHANGE_GRANT_REVOKE,    KT_CHANGE_OPERATOR_REVOKE,
    KT_CHANGE_RECOVERY_ADD,    KT_CHANGE_RECOVERY_RETIRE,
    KT_CHANGE_RECEIPT_KEY_ADD, KT_CHANGE_RECEIPT_KEY_CERTIFY,
};

int kts_spread_is_awaited(enum kt_change_kind kind)
{
    for (size_t i = 0; i < sizeof(AWAITED) / sizeof(AWAITED[0]); i++) {
        if (AWAITED[i] == kind)
            return 1;
    }
    return 0;
}

static int is_other(const struct kts_view *view, const struct kt_peer *peer)
{
    return !peer->removed && strcmp(peer->member, view->promise.member) != 0;
}

int kts_spread_has_others(const struct kts_agent *agent)
{
    const struct kt_peers *peers = kts_agent_peers(agent);

    for (size_t i = 0; i < peers->count; i++) {
        if (is_other(agent->view, &peers->peers[i]))
            return 1;
    }
    return 0;
}

// The stream of a member that reported lately, or NULL.
static const struct kts_stream *stream_of(const struct kts_view *view, const char *member)
{
    for (size_t i = 0; i < view->stream_count; i++) {
        const struct kts_stream *stream = &view->streams[i];
        if (strcmp(stream->member, member) == 0 && stream->is_streaming &&
            kt_monotonic_now() - stream->replied_us < KTS_SILENT_US)
            return stream;
    }
    return NULL;
}

json_t *kts_spread_look(const struct kts_view *view, const struct kt_peers *peers, uint64_t lsn,
                        int *complete)
{
    json_t *reached = json_array(), *unreached = json_array();

    *complete = 1;
    for (size_t i = 0; i < peers->count; i++) {
        const struct kt_peer *peer = &peers->peers[i];
        const struct kts_stream *stream = stream_of(view, peer->member);
        int has_it = stream && stream->replay_lsn >= lsn;
        char node[KT_NODE_NAME_MAX + 1];

        if (!is_other(view, peer))
            continue;
        kt_member_node(peer->member, node);
        json_array_append_new(has_it ? reached : unreached, json_string(node));
        *complete &= has_it || !stream;
    }
    return json_pack("{s:o, s:o}", "reached", reached, "unreached", unreached);
}
