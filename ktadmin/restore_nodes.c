// SPDX-License-Identifier: Apache-2.0
// The nodes of the cluster that was: whether one still serves, and that none goes on in its old
// history once there is a new one.
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ktadmin/restore.h"
#include "lib/json.h"

#define SEAL_MS  60000
#define PROBE_MS 2000

// The node's old certificate lets it in with the others. libcurl wants files: these are in memory.
static int open_nodes(struct kta_restore *restore, const struct kt_peers *peers,
                      struct kt_error *error)
{
    static char ca[64], key[64], cert[64]; // as long as the nodes
    const struct kta_shared *shared = kta_restore_shared(restore, "ca/cert.pem");
    const struct kta_kept *kept = restore->kept;
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    int rc = nodes ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc)
        return rc;
    restore->nodes = nodes;
    nodes->own.paths = restore->init.paths;
    snprintf(nodes->skip, sizeof(nodes->skip), "%s", restore->init.promise.member);
    nodes->credentials.ca_file = restore->init.paths.ca_cert;
    if (shared) { // not written yet
        rc = kta_memory_file(kt_secret_data(shared->content), shared->n, ca, error);
        nodes->credentials.ca_file = ca;
    }
    if (rc == 0 && kept[KTA_KEPT_NODE_KEY].text && kept[KTA_KEPT_NODE_CERT].text) {
        rc = kta_memory_file(kept[KTA_KEPT_NODE_KEY].text, kept[KTA_KEPT_NODE_KEY].n, key, error);
        if (rc == 0)
            rc = kta_memory_file(kept[KTA_KEPT_NODE_CERT].text, kept[KTA_KEPT_NODE_CERT].n, cert,
                                 error);
        nodes->credentials.key_file = key;
        nodes->credentials.cert_file = cert;
    }
    for (size_t i = 0; i < peers->count && rc >= 0; i++)
        if (!peers->peers[i].removed)
            rc = kta_nodes_add(nodes, &peers->peers[i], error);
    return rc < 0 ? rc : 0;
}

// Whether somebody takes connections there. A node that hangs is alive: it may go on any moment.
static int takes_connections(const struct kt_peer *peer)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    struct pollfd wait = {.events = POLLOUT};
    int answers = 0, problem = 0;
    socklen_t size = sizeof(problem);
    char port[8];

    snprintf(port, sizeof(port), "%u", (unsigned)peer->agent_port);
    if (getaddrinfo(peer->address, port, &hints, &list) != 0)
        return 0;
    for (const struct addrinfo *one = list; one && !answers; one = one->ai_next) {
        wait.fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (wait.fd < 0)
            continue;
        if (connect(wait.fd, one->ai_addr, one->ai_addrlen) == 0)
            answers = 1;
        else if (errno == EINPROGRESS && poll(&wait, 1, PROBE_MS) == 1)
            answers = getsockopt(wait.fd, SOL_SOCKET, SO_ERROR, &problem, &size) == 0 && !problem;
        close(wait.fd);
    }
    freeaddrinfo(list);
    return answers;
}

static int is_alive(const struct kta_member *member)
{
    return member->state || kta_member_refuses(member) || takes_connections(&member->peer);
}

static const char *role_of(const struct kta_member *member)
{
    return member->state                ? kta_state_text(member, "role")
           : kta_member_refuses(member) ? "does not let this node in"
                                        : "takes connections and does not answer";
}

static int may_go_on(struct kta_restore *restore, const char *who, struct kt_error *error)
{
    char id[KT_UUID_TEXT], what[512];

    if (!restore->accepts_loss)
        return kt_error_set(
            error, KT_ERR_EXISTS,
            "its data is newer than the backup: ktadmin failover, or ktadmin restore --from TOKEN; "
            "to give up what it has: --accept-loss",
            "the cluster is alive: %s", who);
    kt_uuid_format(&restore->file.manifest.cluster_id, id);
    snprintf(
        what, sizeof(what),
        "The cluster is alive: %.200s. What it acknowledged after the backup was made is given "
        "up for ever.",
        who);
    return kta_confirm_cluster(restore->init.run, id, what, error);
}

// Names those that are alive in `who`.
static size_t ask_all(struct kta_restore *restore, int says, char *who, size_t size)
{
    size_t at = 0, alive = 0;

    (void)!kta_nodes_look(restore->nodes, NULL); // that none answers is what is hoped for
    for (size_t i = 0; i < restore->nodes->count; i++) {
        const struct kta_member *member = &restore->nodes->list[i];
        int is = is_alive(member);
        if (says)
            kta_restore_say(restore, "asked %s at %s: %s", member->name, member->peer.address,
                            is ? role_of(member) : "nobody there");
        if (is && at + 64 < size)
            at += (size_t)snprintf(who + at, size - at, "%s%s (%s)", at ? ", " : "", member->name,
                                   role_of(member));
        alive += (size_t)is;
    }
    return alive;
}

int kta_restore_look(struct kta_restore *restore, const struct kt_peers *peers,
                     struct kt_error *error)
{
    char who[256] = "";
    int rc = open_nodes(restore, peers, error);

    if (rc)
        return rc;
    restore->answered = ask_all(restore, 1, who, sizeof(who));
    return restore->answered > 0 ? may_go_on(restore, who, error) : 0;
}

int kta_restore_look_again(struct kta_restore *restore, struct kt_error *error)
{
    char who[256] = "";
    size_t alive = ask_all(restore, 0, who, sizeof(who));

    if (alive <= restore->answered)
        return 0;
    return restore->accepts_loss
               ? 0 // asked for already
               : kt_error_set(error, KT_ERR_EXISTS, "stop it, or see ktadmin restore --help",
                              "a node of the cluster has come up meanwhile: %s", who);
}

// In this very incarnation, by a run that was killed.
static int is_sealed(const struct kta_restore *restore, const struct kta_member *member)
{
    struct kt_promise promise;

    return member->state && kta_state_promise(member, &promise) == 0 &&
           promise.incarnation.number == restore->incarnation.number &&
           promise.incarnation.bits == restore->incarnation.bits &&
           promise.epoch == restore->epoch && strcmp(promise.active, restore->init.info.node) == 0;
}

int kta_restore_seal(struct kta_restore *restore, struct kt_error *error)
{
    char incarnation[KT_INCARNATION_TEXT];
    json_t *args;
    int rc = 0;

    kt_incarnation_format(&restore->incarnation, incarnation);
    for (size_t i = 0; restore->nodes && i < restore->nodes->count && rc == 0; i++) {
        const struct kta_member *member = &restore->nodes->list[i];
        json_t *result = NULL;
        struct kt_error why = {0};
        if (!is_alive(member))
            continue;
        if (is_sealed(restore, member)) {
            restore->sealed++;
            continue;
        }
        args = json_pack("{s:s, s:I, s:s}", "incarnation", incarnation, "epoch",
                         (json_int_t)restore->epoch, "target", restore->init.info.node);
        rc = kta_nodes_call_when_free(restore->nodes, i, "node.seal", args, SEAL_MS, &result, &why);
        json_decref(result);
        if (rc)
            rc = kt_error_set(error, rc, "stop that node's services, then run this again",
                              "%s answers and cannot be sealed: %.300s", member->name, why.message);
        else
            restore->sealed++;
    }
    return rc;
}
