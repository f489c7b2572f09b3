// SPDX-License-Identifier: Apache-2.0
// Finding the nodes of a cluster, and what they say of themselves.
#include "ktadmin/nodes.h"

#include <string.h>

#include "ktadmin/operator.h"
#include "lib/file.h"
#include "lib/http_client.h"

#define LOOKS_MAX 3 // rounds: an answer may make further nodes known

static int out_of_room(struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "more than %d nodes", KT_PEERS_MAX);
}

static int find_member(const struct kta_nodes *nodes, const char *member)
{
    for (size_t i = 0; i < nodes->count; i++)
        if (strcmp(nodes->list[i].peer.member, member) == 0)
            return (int)i;
    return -1;
}

// The place of one that answered at an address under which we did not know who it is.
static int find_address(const struct kta_nodes *nodes, const struct kt_peer *peer)
{
    for (size_t i = 0; i < nodes->count; i++)
        if (nodes->list[i].peer.member[0] == '\0' &&
            nodes->list[i].peer.agent_port == peer->agent_port &&
            strcmp(nodes->list[i].peer.address, peer->address) == 0)
            return (int)i;
    return -1;
}

static void set_peer(struct kta_member *member, const struct kt_peer *peer)
{
    char text[KT_NODE_NAME_MAX + KT_HOST_MAX + 16];

    member->peer = *peer;
    if (peer->member[0])
        kt_member_node(peer->member, member->name);
    snprintf(text, sizeof(text), "%s (%s:%u)", member->name[0] ? member->name : "node",
             peer->address, (unsigned)peer->agent_port);
    if (member->node)
        kt_node_set_text(member->node, text);
}

int kta_nodes_add(struct kta_nodes *nodes, const struct kt_peer *peer, struct kt_error *error)
{
    struct kta_member *member;
    int rc, at = peer->member[0] ? find_member(nodes, peer->member) : -1;

    if (at < 0)
        at = find_address(nodes, peer);
    if (at >= 0) {
        if (nodes->list[at].peer.member[0] == '\0')
            set_peer(&nodes->list[at], peer);
        return at;
    }
    if (nodes->count == KT_PEERS_MAX)
        return out_of_room(error);
    member = &nodes->list[nodes->count];
    memset(member, 0, sizeof(*member));
    if (!nodes->call) {
        struct kt_node_credentials credentials = nodes->credentials;
        credentials.member = peer->member;
        rc = kt_node_remote(peer->address, peer->agent_port, &credentials, &member->node, error);
        if (rc)
            return rc;
    }
    set_peer(member, peer);
    return (int)nodes->count++;
}

// This node itself, through the socket, whatever its address.
static int add_local(struct kta_nodes *nodes, const struct kt_peers *peers, struct kt_error *error)
{
    struct kta_member *member = &nodes->list[nodes->count];
    const struct kt_peer *known = kt_peers_by_member(peers, nodes->oath.member);
    struct kt_peer self = {0};
    int rc = kt_node_local(nodes->own.paths.agent_socket, &member->node);

    if (rc)
        return kt_error_set(error, rc, NULL, "out of memory");
    memcpy(self.member, nodes->oath.member, sizeof(self.member));
    set_peer(member, known ? known : &self);
    kt_node_set_text(member->node, member->name);
    member->is_local = 1;
    nodes->count++;
    return 0;
}

static int add_peers(struct kta_nodes *nodes, const struct kt_peers *peers, struct kt_error *error)
{
    for (size_t i = 0; i < peers->count; i++) {
        const struct kt_peer *peer = &peers->peers[i];
        if (peer->removed || peer->agent_port == 0 || peer->address[0] == '\0' ||
            strcmp(peer->member, nodes->skip) == 0)
            continue;
        int at = kta_nodes_add(nodes, peer, error);
        if (at < 0)
            return at;
    }
    return 0;
}

static void use_own_certificate(struct kta_nodes *nodes)
{
    nodes->credentials.ca_file = nodes->own.paths.ca_cert;
    nodes->credentials.cert_file = nodes->own.paths.node_cert;
    nodes->credentials.key_file = nodes->own.paths.node_key;
}

static int open_own(struct kta_nodes *nodes, int has_agent, struct kt_error *error)
{
    struct kt_peers peers = {0};
    int rc = kt_promise_load(nodes->own.paths.promise, &nodes->oath, has_agent ? error : NULL);

    if (rc == KT_ERR_NOT_FOUND && has_agent && kta_join_is_unfinished(&nodes->own.paths))
        return kta_join_unfinished(&nodes->own.paths, error);
    if (rc == KT_ERR_NOT_FOUND && has_agent)
        return kt_error_set(error, KT_ERR_NOT_INITIALISED,
                            "a copied confdir does not make a member: see ktadmin(8), FILES",
                            "no promise file '%s'", nodes->own.paths.promise);
    if (rc && has_agent)
        return rc;
    use_own_certificate(nodes);
    rc = kt_peers_load(nodes->own.paths.peers, &peers, error);
    if (rc == 0 && has_agent)
        rc = add_local(nodes, &peers, error);
    return rc ? rc : add_peers(nodes, &peers, error);
}

// The nodes that --server names, else those of the bundle.
static int open_bundle(const struct kt_cli_run *run, struct kta_nodes *nodes,
                       struct kt_error *error)
{
    char servers[KTA_BUNDLE_SERVERS_MAX][KT_HOST_MAX + 16];
    const char *list[KTA_BUNDLE_SERVERS_MAX];
    size_t count = 0;
    int rc = kta_bundle_check(nodes->bundle, servers, &count, error);

    for (size_t i = 0; i < count; i++)
        list[i] = servers[i];
    if (kt_cli_count(run, "server") > 0)
        count = 0;
    for (int i = 0; i < kt_cli_count(run, "server") && count < KTA_BUNDLE_SERVERS_MAX; i++)
        list[count++] = kt_cli_nth(run, "server", i);
    if (rc == 0 && count == 0)
        rc = kt_error_set(error, KT_ERR_USAGE, "give --server HOST", "'%s' names no node",
                          nodes->bundle);
    nodes->credentials.ca_file = nodes->credentials.cert_file = nodes->credentials.key_file =
        nodes->bundle;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct kt_peer peer = {0};
        int at;
        if (kt_http_server_parse(list[i], peer.address, sizeof(peer.address), &peer.agent_port) !=
            0)
            return kt_error_set(error, KT_ERR_USAGE, "give HOST or HOST:PORT",
                                "--server: '%.80s' is not a server", list[i]);
        if (!strchr(list[i], ':') || list[i][strlen(list[i]) - 1] == ']')
            peer.agent_port = KTA_AGENT_PORT;
        at = kta_nodes_add(nodes, &peer, error);
        rc = at < 0 ? at : 0;
    }
    return rc;
}

int kta_nodes_open_bundle(const struct kt_cli_run *run, const char *bundle, struct kta_nodes *nodes,
                          struct kt_error *error)
{
    memset(nodes, 0, sizeof(*nodes));
    if (strlen(bundle) >= sizeof(nodes->bundle))
        return kt_error_set(error, KT_ERR_USAGE, NULL, "--operator: the path is too long");
    memcpy(nodes->bundle, bundle, strlen(bundle) + 1);
    return open_bundle(run, nodes, error);
}

int kta_nodes_open(const struct kt_cli_run *run, struct kta_nodes *nodes, struct kt_error *error)
{
    const char *bundle = kt_cli_value(run, "operator");
    int rc;

    if (bundle)
        return kta_nodes_open_bundle(run, bundle, nodes, error);
    memset(nodes, 0, sizeof(*nodes));
    if (kt_cli_count(run, "server") > 0)
        return kt_error_set(error, KT_ERR_USAGE, NULL, "--server goes with --operator");
    rc = kta_open(run, KTA_FILES, &nodes->own, error);
    return rc ? rc : open_own(nodes, 1, error);
}

int kta_nodes_open_paths(const struct kt_paths *paths, const char *member, struct kta_nodes *nodes,
                         struct kt_error *error)
{
    memset(nodes, 0, sizeof(*nodes));
    snprintf(nodes->skip, sizeof(nodes->skip), "%s", member);
    nodes->own.paths = *paths;
    return open_own(nodes, 0, error);
}

void kta_nodes_close(struct kta_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        kt_node_free(nodes->list[i].node);
        json_decref(nodes->list[i].state);
    }
    nodes->count = 0;
    kta_close(&nodes->own);
}

// --- looking ---

// Nodes that one which answers knows to be removed.
static void mark_removed(struct kta_nodes *nodes, const struct kt_peers *peers)
{
    for (size_t i = 0; i < peers->count; i++) {
        int at = peers->peers[i].removed ? find_member(nodes, peers->peers[i].member) : -1;
        if (at >= 0 && !nodes->list[at].is_local)
            nodes->list[at].is_removed = 1;
    }
}

// Who it is, and whom it knows.
static void take_state(struct kta_nodes *nodes, size_t i, struct kta_answer *answer)
{
    struct kta_member *member = &nodes->list[i];
    const char *id;
    json_t *known;
    struct kt_peers peers = {0};

    json_decref(member->state);
    member->state = answer->rc == 0 ? answer->result : NULL;
    answer->result = answer->rc == 0 ? NULL : answer->result;
    member->error = answer->error;
    if (!member->state)
        return;
    id = json_string_value(json_object_get(member->state, "member"));
    if (id && kt_member_check(id) == 0 && member->peer.member[0] == '\0') {
        struct kt_peer peer = member->peer;
        memcpy(peer.member, id, strlen(id) + 1);
        set_peer(member, &peer);
    }
    known = json_object_get(member->state, "peers");
    if (known && kt_peers_from_json(known, &peers, NULL) == 0)
        (void)!add_peers(nodes, &peers, NULL); // a full list is said elsewhere
    mark_removed(nodes, &peers);
}

// Again when all are known: one that knows of a removal may have answered before one that does not
// has named the node.
static void mark_all_removed(struct kta_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        const json_t *known = json_object_get(nodes->list[i].state, "peers");
        struct kt_peers peers = {0};
        if (known && kt_peers_from_json(known, &peers, NULL) == 0)
            mark_removed(nodes, &peers);
    }
}

// Of two addresses of one node the later one is forgotten, and so are nodes that were removed.
static void drop_needless(struct kta_nodes *nodes)
{
    size_t kept = 0;

    for (size_t i = 0; i < nodes->count; i++) {
        struct kta_member *member = &nodes->list[i];
        int first = member->peer.member[0] ? find_member(nodes, member->peer.member) : (int)i;
        if (member->is_removed || (first >= 0 && (size_t)first < kept)) {
            kt_node_free(member->node);
            json_decref(member->state);
            continue;
        }
        if (kept != i)
            nodes->list[kept] = *member;
        kept++;
    }
    nodes->count = kept;
}

static void look_from(struct kta_nodes *nodes, size_t first)
{
    struct kta_answer answers[KT_PEERS_MAX] = {{0}};
    size_t count = nodes->count - first;

    for (size_t i = 0; i < count; i++)
        answers[i].node = first + i;
    kta_nodes_ask(nodes, "node.state", NULL, KTA_STATE_MS, answers, count);
    for (size_t i = 0; i < count; i++)
        take_state(nodes, answers[i].node, &answers[i]);
    kta_answers_free(answers, count);
}

int kta_nodes_look(struct kta_nodes *nodes, struct kt_error *error)
{
    size_t asked = 0;

    for (int round = 0; round < LOOKS_MAX && asked < nodes->count; round++) {
        size_t first = asked;
        asked = nodes->count;
        look_from(nodes, first);
    }
    mark_all_removed(nodes);
    drop_needless(nodes);
    if (nodes->count == 0)
        return kt_error_set(error, KT_ERR_NETWORK, NULL, "no node is known");
    if (kta_nodes_reachable(nodes) == 0)
        return kt_error_set(
            error, nodes->list[0].error.code ? nodes->list[0].error.code : KT_ERR_NETWORK,
            nodes->list[0].error.hint, "no node answers: %s", nodes->list[0].error.message);
    return 0;
}

void kta_nodes_look_at(struct kta_nodes *nodes, size_t i)
{
    struct kta_answer answer = {.node = i};

    kta_nodes_ask(nodes, "node.state", NULL, KTA_STATE_MS, &answer, 1);
    take_state(nodes, i, &answer);
    kta_answers_free(&answer, 1);
}

int kta_nodes_find(const struct kta_nodes *nodes, const char *name)
{
    int at = find_member(nodes, name);

    for (size_t i = 0; i < nodes->count && at < 0; i++)
        if (strcmp(nodes->list[i].name, name) == 0)
            at = (int)i;
    return at;
}

size_t kta_nodes_reachable(const struct kta_nodes *nodes)
{
    size_t count = 0;

    for (size_t i = 0; i < nodes->count; i++)
        count += nodes->list[i].state != NULL;
    return count;
}

int kta_nodes_open_active(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t *index,
                          struct kt_error *error)
{
    int rc = kta_nodes_open(run, nodes, error);

    if (rc == 0)
        rc = kta_nodes_look(nodes, error);
    return rc ? rc : kta_nodes_active(nodes, index, error);
}
