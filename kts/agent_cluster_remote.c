// SPDX-License-Identifier: Apache-2.0
// Asking other nodes from a job: over HTTPS, with this node's certificate.
#include <stdio.h>
#include <string.h>

#include "kts/agent_cluster.h"
#include "lib/json.h"

int kts_remote_ask(struct kts_local *local, const struct kt_peer *peer, const char *verb,
                   json_t *args, int timeout_ms, json_t **result, struct kt_error *error)
{
    struct kt_node_credentials credentials = local->job->credentials;
    struct kt_node *node = NULL;
    char text[KT_MEMBER_TEXT + KT_HOST_MAX + 16];
    int rc;

    credentials.member = peer->member;
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

static int parse(const json_t *answer, struct kts_upstream *upstream, struct kt_error *error)
{
    struct kt_promise *promise = &upstream->promise;
    const char *active = NULL;
    int64_t timeline = 0;
    int rc = kts_args_epoch(answer, &promise->incarnation, &promise->epoch, error);

    if (rc == 0)
        rc = kts_args_node(answer, "active", &active, error);
    if (rc == 0)
        rc = kt_json_integer(answer, "timeline", 1, UINT32_MAX, 1, &timeline, error);
    if (rc == 0)
        rc = kts_json_lsn(answer, "lsn", &upstream->position.lsn, error);
    if (rc == 0)
        rc = kts_json_lsn(answer, "start_lsn", &upstream->position.start_lsn, error);
    if (rc == 0)
        rc = kt_epoch_rows_from_json(json_object_get(answer, "rows"), &upstream->rows, error);
    if (rc)
        return rc;
    snprintf(promise->active, sizeof(promise->active), "%s", active);
    upstream->position.timeline = (uint32_t)timeline;
    upstream->position.in_recovery = kt_json_boolean(answer, "in_recovery", 1);
    upstream->is_promoted = kt_json_boolean(answer, "promoted", 0);
    upstream->members = json_incref(json_object_get(answer, "members"));
    return 0;
}

int kts_upstream_ask(struct kts_local *local, const char *member, struct kts_upstream *upstream,
                     struct kt_error *error)
{
    const struct kt_peer *peer = kt_peers_by_member(&local->peers, member);
    json_t *answer = NULL;
    int rc;

    *upstream = (struct kts_upstream){.members = NULL};
    if (!peer || peer->removed)
        return kt_error_set(error, KT_ERR_NOT_MEMBER, "see ktadmin status",
                            "no node '%s' is known here", member);
    upstream->peer = *peer;
    rc = kts_remote_ask(local, peer, "node.rows", NULL, KTS_ASK_MS, &answer, error);
    if (rc == 0)
        rc = parse(answer, upstream, error);
    json_decref(answer);
    if (rc)
        kts_upstream_free(upstream);
    return rc;
}

void kts_upstream_free(struct kts_upstream *upstream)
{
    kt_epoch_rows_free(&upstream->rows);
    json_decref(upstream->members);
    upstream->members = NULL;
}

int kts_upstream_is_promoted(const struct kts_upstream *upstream)
{
    char node[KT_NODE_NAME_MAX + 1];

    kt_member_node(upstream->peer.member, node);
    return upstream->is_promoted && !upstream->position.in_recovery &&
           strcmp(node, upstream->promise.active) == 0;
}
