// SPDX-License-Identifier: Apache-2.0
// The verbs that say what this node knows of the others: to its own, and to one that was removed.
#include <string.h>

#include "kts/agent_peers_inner.h"
#include "kts/agent_view.h"

// One entry: the peer, and what came of the last question to it.
static json_t *entry_of(const struct kts_agent_peers *peers, const struct kt_peer *peer,
                        json_t *own)
{
    json_t *entry = json_pack("{s:O, s:b, s:n, s:n, s:n}", "peer", own, "reachable", 0, "error",
                              "state", "asked_ms_ago");
    int64_t now_us = kt_monotonic_now();

    for (size_t i = 0; entry && i < peers->seen_count; i++) {
        const struct kts_peer_seen *seen = &peers->seen[i];
        if (strcmp(seen->member, peer->member) != 0 || seen->asked_us == 0)
            continue;
        json_object_set_new(entry, "reachable", json_boolean(seen->is_reachable));
        if (!seen->is_reachable)
            json_object_set_new(entry, "error", json_string(seen->why));
        if (seen->state)
            json_object_set(entry, "state", seen->state);
        json_object_set_new(
            entry, "asked_ms_ago",
            json_integer((now_us - (seen->state ? seen->answered_us : seen->asked_us)) / 1000));
    }
    return entry;
}

static int run_peers(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    const struct kts_agent *agent = kts_call_agent(call);
    const struct kt_peers *list = kts_agent_peers(agent);
    json_t *all = kt_peers_to_json(list), *array = json_array();
    size_t count = kts_peers_are_done(agent) ? 0 : list->count;

    (void)args;
    for (size_t i = 0; array && i < count; i++) {
        if (kts_peer_is_asked(agent, &list->peers[i]))
            json_array_append_new(array,
                                  entry_of(agent->peers, &list->peers[i], json_array_get(all, i)));
    }
    json_decref(all);
    if (!array || !all)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    *result = array;
    return 0;
}

// Who was removed while it was off is told so, with the row by which it can judge that.
static int run_removed(struct kts_call *call, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    const struct kts_view *view = kts_call_agent(call)->view;
    const struct kt_epoch_row *newest =
        view && view->is_known ? kt_epoch_rows_newest(&view->rows) : NULL;

    (void)args;
    if (!newest)
        return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                            "this node does not know its rows now");
    *result = json_pack("{s:s, s:o}", "member", kts_call_member(call), "row",
                        kt_epoch_row_to_json(newest));
    return 0;
}

const struct kts_verb kts_peers_verbs[] = {
    {"node.peers", KTS_CALLER_LOCAL, 0, run_peers, NULL, NULL},
    {"node.removed", KTS_CALLER_REMOVED, 0, run_removed, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
