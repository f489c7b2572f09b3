// SPDX-License-Identifier: Apache-2.0
// What the agent knows of the other nodes: the list in its file, and their last answers.
#include "kts/agent_peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/agent_audit.h"
#include "kts/agent_ca_rotate.h"
#include "kts/agent_cluster_key.h"
#include "kts/agent_peers_inner.h"
#include "kts/agent_role.h"
#include "kts/agent_view.h"
#include "lib/epoch.h"
#include "lib/log.h"
#include "lib/pki.h"

// The first question is asked before there is a view.
int kts_peers_are_done(const struct kts_agent *agent)
{
    struct kt_promise promise;

    if (agent->view)
        return kts_agent_is_removed(agent, agent->view->promise.member);
    return kt_promise_load(agent->start->paths->promise, &promise, NULL) == 0 &&
           kts_agent_is_removed(agent, promise.member);
}

int kts_peer_is_asked(const struct kts_agent *agent, const struct kt_peer *peer)
{
    char node[KT_NODE_NAME_MAX + 1];

    kt_member_node(peer->member, node);
    return !peer->removed && strcmp(node, agent->start->info->node) != 0;
}

const struct kt_peers *kts_agent_peers(const struct kts_agent *agent)
{
    return &agent->peers->list;
}

const struct kt_peer *kts_agent_own_peer(const struct kts_agent *agent)
{
    return kt_peers_by_node(&agent->peers->list, agent->start->info->node);
}

int kts_agent_is_removed(const struct kts_agent *agent, const char *member)
{
    const struct kt_peer *own = kt_peers_by_member(&agent->peers->list, member);

    return own && own->removed;
}

int kts_agent_self(const struct kts_agent *agent, struct kt_peer *self, struct kt_error *error)
{
    const struct kts_start *start = agent->start;
    const char *address = kt_settings_text(start->settings, KT_SET_NODE_ADDRESS);
    const struct kt_peer *listed;
    struct kt_promise promise;
    X509 *cert = NULL;
    int rc = kt_promise_load(start->paths->promise, &promise, error);

    if (rc)
        return rc;
    *self = (struct kt_peer){.revision = 1};
    listed = kt_peers_by_member(&agent->peers->list, promise.member);
    if (listed)
        self->revision = listed->revision;
    memcpy(self->member, promise.member, sizeof(self->member));
    self->agent_port = (uint16_t)kt_settings_number(start->settings, KT_SET_AGENT_PORT);
    self->database_port = (uint16_t)kt_settings_number(start->settings, KT_SET_DATABASE_PORT);
    self->https_port = (uint16_t)kt_settings_number(start->settings, KT_SET_HTTPS_PORT);
    if (address[0])
        snprintf(self->address, sizeof(self->address), "%s", address);
    else if (gethostname(self->address, sizeof(self->address) - 1))
        return kt_error_errno(error, "this node does not know its name");
    rc = kt_pki_cert_load(start->paths->node_cert, &cert, error);
    if (rc == 0 && kt_pki_cert_sha256(cert, self->cert_sha256))
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "the node's certificate has no fingerprint");
    X509_free(cert);
    return rc;
}

static struct kts_peer_seen *find_seen(const struct kts_agent *agent, const char *member)
{
    struct kts_agent_peers *peers = agent->peers;

    for (size_t i = 0; i < peers->seen_count; i++) {
        if (strcmp(peers->seen[i].member, member) == 0)
            return &peers->seen[i];
    }
    return NULL;
}

// --- questions ---

const json_t *kts_agent_peer_state(const struct kts_agent *agent, const char *member,
                                   int64_t *asked_us)
{
    const struct kts_peer_seen *seen = find_seen(agent, member);

    if (asked_us)
        *asked_us = seen ? seen->answered_us : 0;
    return seen ? seen->state : NULL;
}

const json_t *kts_agent_peer_question(const struct kts_agent *agent, const char *member,
                                      int64_t *question_us)
{
    const struct kts_peer_seen *seen = find_seen(agent, member);

    *question_us = seen ? seen->question_us : 0;
    return *question_us ? seen->state : NULL;
}

int kts_agent_peer_is_reachable(const struct kts_agent *agent, const char *member)
{
    const struct kts_peer_seen *seen = find_seen(agent, member);

    return seen && seen->is_reachable;
}

int kts_agent_peers_asked_all(const struct kts_agent *agent)
{
    const struct kt_peers *list = &agent->peers->list;

    if (kts_peers_are_done(agent))
        return 1;
    for (size_t i = 0; i < list->count; i++) {
        const struct kts_peer_seen *seen;
        if (!kts_peer_is_asked(agent, &list->peers[i]))
            continue;
        seen = find_seen(agent, list->peers[i].member);
        if (!seen || seen->asked_us == 0)
            return 0;
    }
    return 1;
}

// --- answers ---

// 1 when it says something that the node's role may depend on.
static int is_news(const struct kts_peer_seen *seen, const json_t *state)
{
    static const char *const PARTS[] = {"promise", "role", "epoch", "member"};

    for (size_t i = 0; state && i < sizeof(PARTS) / sizeof(PARTS[0]); i++) {
        const json_t *now = json_object_get(state, PARTS[i]);
        const json_t *before = seen->state ? json_object_get(seen->state, PARTS[i]) : NULL;
        if (!now != !before || (now && !json_equal(now, before)))
            return 1;
    }
    return seen->is_reachable != (state != NULL);
}

static void tell(const struct kts_peer_seen *seen, int is_reachable)
{
    if (seen->asked_us && seen->is_reachable == is_reachable)
        return;
    if (is_reachable)
        kt_log(KT_LOG_NOTICE, "node '%s' answers", seen->member);
    else
        kt_log(KT_LOG_WARNING, "node '%s' does not answer: %s", seen->member, seen->why);
}

// A peer says that this node was removed. Who answers is known by its certificate, and the list it
// goes by only grows (`removed` is never taken back), so that one is enough; but it must not be one
// of a history that lost. It is kept in this node's own list: asked again at each start, a node
// that nobody answers would serve again.
static void take_removed(struct kts_agent_peers *peers, const char *by, const json_t *reason)
{
    struct kts_agent *agent = peers->agent;
    const char *member = json_string_value(json_object_get(reason, "member"));
    const struct kt_promise *promise = &agent->view->promise;
    const struct kt_peer *own;
    static struct kt_peers from;
    struct kt_epoch_row row;

    kts_view_files(agent->start->paths, agent->view);
    if (!member || !agent->view->has_promise || strcmp(member, promise->member) != 0 ||
        kt_epoch_row_from_json(json_object_get(reason, "row"), &row, NULL) ||
        !kts_role_is_removed(promise, &row))
        return;
    own = kt_peers_by_member(&peers->list, member);
    if (!own || own->removed)
        return;
    from.count = 1;
    from.peers[0] = *own;
    from.peers[0].removed = 1;
    kt_log(KT_LOG_ERROR,
           "this node was removed from the cluster, '%s' says in epoch %llu: it serves nothing any "
           "more; hint: to make it a node again wipe it, then run ktadmin join",
           by, (unsigned long long)row.epoch);
    kts_agent_peers_learn(agent, &from);
    kts_agent_watch_now(agent);
}

// What another's list says of this node itself is not taken on trust.
static void leave_own(const struct kts_agent_peers *peers, struct kt_peers *from)
{
    const struct kt_promise *promise = &peers->agent->view->promise;

    for (size_t i = 0; i < from->count; i++) {
        if (strcmp(from->peers[i].member, promise->member) == 0)
            from->peers[i].removed = 0;
    }
}

// 1 when there is something new.
static int take_one(struct kts_agent_peers *peers, const json_t *one)
{
    const char *member = json_string_value(json_object_get(one, "member"));
    const char *why = json_string_value(json_object_get(one, "error"));
    int64_t asked_us = json_integer_value(json_object_get(one, "asked_us"));
    json_t *state = json_object_get(one, "state");
    struct kts_peer_seen *seen = member ? find_seen(peers->agent, member) : NULL;
    int news;

    if (!member || !kt_peers_by_member(&peers->list, member))
        return 0;
    if (!seen) {
        if (peers->seen_count == KT_PEERS_MAX)
            return 0;
        seen = &peers->seen[peers->seen_count++];
        snprintf(seen->member, sizeof(seen->member), "%s", member);
    }
    news = is_news(seen, state) || seen->asked_us == 0;
    snprintf(seen->why, sizeof(seen->why), "%s", why ? why : "");
    tell(seen, state != NULL);
    seen->asked_us = kt_monotonic_now();
    seen->is_reachable = state != NULL;
    if (state) {
        seen->answered_us = seen->asked_us;
        seen->question_us = asked_us > 0 && asked_us <= seen->asked_us ? asked_us : 0;
        json_decref(seen->state);
        seen->state = json_incref(state);
        kts_agent_audit_hear(peers->agent, member, state);
        kts_ca_hear(peers->agent, member, state, &seen->ca_us);
        kts_cluster_key_hear(peers->agent, member, state, &seen->key_us);
    }
    return news;
}

void kts_peers_take_round(struct kts_agent_peers *peers, const json_t *round)
{
    int news = 0;

    for (size_t i = 0; i < json_array_size(round); i++)
        news |= take_one(peers, json_array_get(round, i));
    for (size_t i = 0; i < json_array_size(round); i++) {
        const json_t *state = json_object_get(json_array_get(round, i), "state");
        const json_t *theirs = json_object_get(state, "peers");
        static struct kt_peers from;
        struct kt_error why = {0};
        if (!theirs)
            continue;
        if (kt_peers_from_json(theirs, &from, &why))
            kt_log_error(&why, "a peer's list of nodes cannot be read");
        else {
            leave_own(peers, &from);
            kts_agent_peers_learn(peers->agent, &from);
        }
    }
    for (size_t i = 0; i < json_array_size(round); i++) {
        const json_t *one = json_array_get(round, i), *reason = json_object_get(one, "removed");
        if (reason)
            take_removed(peers, json_string_value(json_object_get(one, "member")), reason);
    }
    if (news)
        kts_agent_watch_now(peers->agent);
}

void kts_agent_peers_learn(struct kts_agent *agent, const struct kt_peers *from)
{
    struct kts_agent_peers *peers = agent->peers;
    static struct kt_peers merged;
    struct kt_error why = {0};
    int rc;

    merged = peers->list;
    rc = kt_peers_merge(&merged, from);
    if (rc < 0)
        kt_log_code(KT_LOG_ERROR, rc, "the list of nodes cannot take more");
    if (rc == 0 || (rc < 0 && kt_peers_equal(&merged, &peers->list)))
        return;
    peers->list = merged;
    if (kt_peers_save(agent->start->paths->peers, &peers->list, &why))
        kt_log_error(&why, "the list of nodes is kept in memory only");
    kt_log(KT_LOG_INFO, "the list of nodes has changed, it has %zu now", peers->list.count);
    kts_heartbeat_restart(peers);
}

void kts_agent_peers_reload(struct kts_agent *agent)
{
    if (agent->peers)
        kts_heartbeat_restart(agent->peers);
}

// --- start and end ---

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    kts_heartbeat_restart(arg);
}

int kts_agent_peers_start(struct kts_agent *agent, struct kt_error *error)
{
    struct kts_agent_peers *peers = calloc(1, sizeof(*peers));
    int rc;

    if (peers)
        *peers =
            (struct kts_agent_peers){.agent = agent, .fd = -1, .in = KT_BUF_INIT((9u << 20) + 4)};
    agent->peers = peers;
    if (!peers || !(peers->timer = evtimer_new(agent->base, on_timer, peers)))
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    rc = kt_peers_load(agent->start->paths->peers, &peers->list, error);
    if (rc == 0)
        kts_heartbeat_restart(peers);
    return rc;
}

void kts_agent_peers_stop(struct kts_agent *agent)
{
    struct kts_agent_peers *peers = agent->peers;

    if (!peers)
        return;
    if (peers->timer) {
        kts_heartbeat_end(peers);
        event_free(peers->timer);
    }
    for (size_t i = 0; i < peers->seen_count; i++)
        json_decref(peers->seen[i].state);
    free(peers);
    agent->peers = NULL;
}
