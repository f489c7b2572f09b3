// SPDX-License-Identifier: Apache-2.0
// The heartbeat: a child of the agent that asks all peers once a second how they are, all at the
// same time, so that one that does not answer keeps nobody waiting.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kts/agent_child.h"
#include "kts/agent_peers_inner.h"
#include "kts/sandbox.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/node_call.h"

#define PERIOD_US  1000000
#define CONNECT_MS 300
#define ANSWER_MS  1000
#define AGAIN_S    1 // before a child that ended is replaced
#define STATE_MAX  (128u << 10)
#define ROUND_MAX  (8u << 20) // KT_PEERS_MAX states with room to spare
#define READ_STEP  (64u << 10)

// --- the child's side ---

struct asked {
    const struct kt_peer *peers[KT_PEERS_MAX];
    struct kt_node *nodes[KT_PEERS_MAX];
    size_t count;
};

static void prepare(const struct kts_agent_peers *peers, struct asked *asked)
{
    const struct kt_paths *paths = peers->agent->start->paths;
    struct kt_node_credentials credentials = {
        .ca_file = paths->ca_cert, .cert_file = paths->node_cert, .key_file = paths->node_key};

    for (size_t i = 0; i < peers->list.count; i++) {
        const struct kt_peer *peer = &peers->list.peers[i];
        struct kt_error why = {0};
        if (!kts_peer_is_asked(peers->agent, peer))
            continue;
        credentials.member = peer->member;
        if (kt_node_remote(peer->address, peer->agent_port, &credentials,
                           &asked->nodes[asked->count], &why)) {
            kt_log_error(&why, "peer '%s' cannot be asked", peer->member);
            _exit(1); // the agent starts the next one
        }
        kt_node_set_max_answer(asked->nodes[asked->count], STATE_MAX);
        asked->peers[asked->count++] = peer;
    }
}

static int send_round(int fd, json_t *round)
{
    char *text = round ? json_dumps(round, JSON_COMPACT) : NULL;
    struct kt_buf frame = KT_BUF_INIT(ROUND_MAX + 4);
    int rc = text ? kt_buf_put_cstr(&frame, text) : KT_ERR_NO_MEMORY;

    if (rc == 0)
        rc = kt_write_all(fd, kt_buf_ptr(&frame), kt_buf_left(&frame));
    kt_buf_free(&frame);
    free(text);
    json_decref(round);
    return rc;
}

// One peer's answer must not be what the others' are lost by; written anew it may be longer.
static void put_state(json_t *one, json_t *state)
{
    if (json_dumpb(state, NULL, 0, JSON_COMPACT) <= STATE_MAX) {
        json_object_set_new(one, "state", state);
        return;
    }
    json_object_set_new(one, "error", json_string("its answer is too long"));
    json_decref(state);
}

// Of those that refuse this node: whether that is because it was removed.
static void ask_why_refused(const struct asked *asked, const struct kt_error *errors,
                            json_t *reasons[KT_PEERS_MAX])
{
    static struct kt_error ignored[KT_PEERS_MAX];
    struct kt_node *nodes[KT_PEERS_MAX];
    json_t *results[KT_PEERS_MAX] = {NULL};
    size_t places[KT_PEERS_MAX], count = 0;

    for (size_t i = 0; i < asked->count; i++) {
        if (errors[i].code == KT_ERR_NOT_MEMBER) {
            nodes[count] = asked->nodes[i];
            places[count++] = i;
        }
    }
    if (count == 0)
        return;
    kt_node_call_all(nodes, count, "node.removed", NULL, CONNECT_MS, ANSWER_MS, results, ignored);
    for (size_t i = 0; i < count; i++)
        reasons[places[i]] = results[i];
}

static int ask_all(const struct asked *asked, int fd)
{
    static struct kt_error errors[KT_PEERS_MAX];
    json_t *results[KT_PEERS_MAX] = {NULL}, *reasons[KT_PEERS_MAX] = {NULL};
    int64_t asked_us = kt_monotonic_now();
    json_t *round = json_array();

    kt_node_call_all(asked->nodes, asked->count, "node.state", NULL, CONNECT_MS, ANSWER_MS, results,
                     errors);
    ask_why_refused(asked, errors, reasons);
    for (size_t i = 0; i < asked->count; i++) {
        json_t *one = json_pack("{s:s, s:I, s:o*}", "member", asked->peers[i]->member, "asked_us",
                                (json_int_t)asked_us, "removed", reasons[i]);
        if (results[i])
            put_state(one, results[i]);
        else
            json_object_set_new(one, "error", json_string(errors[i].message));
        json_array_append_new(round, one);
    }
    return send_round(fd, round);
}

__attribute__((noreturn)) static void run_child(const struct kts_agent_peers *peers, int fd)
{
    static struct asked asked;
    struct kt_error why = {0};

    // It reads what other nodes say: not in a process that could sign, or run anything.
    EVP_PKEY_free(peers->agent->ca_key);
    if (kts_sandbox_enter(KTS_SANDBOX_CALLER, &why)) {
        kt_log_error(&why, "the heartbeat cannot be confined");
        _exit(1);
    }
    prepare(peers, &asked);
    for (;;) {
        int64_t begun_us = kt_monotonic_now(), left_us;
        if (ask_all(&asked, fd))
            _exit(1);
        left_us = begun_us + PERIOD_US - kt_monotonic_now();
        if (left_us > 0) {
            const struct timespec pause = {.tv_nsec = (long)left_us * 1000 % 1000000000};
            nanosleep(&pause, NULL);
        }
    }
}

// --- the agent's side ---

void kts_heartbeat_end(struct kts_agent_peers *peers)
{
    if (peers->readable)
        event_free(peers->readable);
    peers->readable = NULL;
    if (peers->fd >= 0)
        close(peers->fd);
    peers->fd = -1;
    if (peers->pid > 0) {
        kill(peers->pid, SIGKILL);
        waitpid(peers->pid, NULL, 0);
    }
    peers->pid = 0;
    kt_buf_free(&peers->in);
}

static void restart_later(struct kts_agent_peers *peers)
{
    static const struct timeval LATER = {.tv_sec = AGAIN_S};

    kts_heartbeat_end(peers);
    event_add(peers->timer, &LATER);
}

// 0, or KT_ERR_PROTOCOL.
static int take_frames(struct kts_agent_peers *peers)
{
    for (;;) {
        struct kt_buf view = peers->in;
        const uint8_t *text = NULL;
        json_t *round;
        size_t n = 0;
        int rc = kt_buf_get_block(&view, &text, &n, ROUND_MAX);

        if (rc == KT_ERR_TRUNCATED)
            return 0;
        round = rc ? NULL : json_loadb((const char *)text, n, 0, NULL);
        if (!round || kt_buf_consume(&peers->in, 4 + n)) {
            json_decref(round);
            return KT_ERR_PROTOCOL;
        }
        kts_peers_take_round(peers, round); // may restart the child
        json_decref(round);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct kts_agent_peers *peers = arg;
    uint8_t *where;
    ssize_t n = 0;

    (void)what;
    if (kt_buf_reserve(&peers->in, READ_STEP, &where) == 0)
        n = read((int)fd, where, READ_STEP);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        kt_buf_commit(&peers->in, (size_t)n);
        if (take_frames(peers) == 0)
            return;
    }
    kt_log(KT_LOG_WARNING, "the heartbeat's process ended, it is replaced");
    restart_later(peers);
}

void kts_heartbeat_restart(struct kts_agent_peers *peers)
{
    int fds[2], count = 0;

    kts_heartbeat_end(peers);
    event_del(peers->timer);
    if (kts_peers_are_done(peers->agent))
        return;
    for (size_t i = 0; i < peers->list.count; i++)
        count += kts_peer_is_asked(peers->agent, &peers->list.peers[i]);
    if (count == 0)
        return;
    if (pipe2(fds, O_CLOEXEC)) {
        restart_later(peers);
        return;
    }
    peers->fd = fds[0];
    peers->readable =
        event_new(peers->agent->base, fds[0], EV_READ | EV_PERSIST, on_readable, peers);
    peers->pid = peers->readable ? kts_agent_fork("heartbeat", fds[1]) : -1;
    if (peers->pid == 0)
        run_child(peers, fds[1]);
    close(fds[1]);
    if (peers->pid < 0 || event_add(peers->readable, NULL)) {
        kt_log(KT_LOG_ERROR, "the heartbeat's process cannot be started");
        restart_later(peers);
    }
}
