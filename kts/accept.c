// SPDX-License-Identifier: Apache-2.0
// Takes connections from the listening socket, and makes room for them: those that only wait go,
// of the address that has most of them.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kts/conn.h"
#include "kts/limits.h"
#include "kts/worker.h"
#include "lib/log.h"

#define BATCH       64                // accepted before others get their turn
#define SEND_BUFFER 131072            // of the kernel, for each connection; it doubles it
#define PAUSE_MS    200               // when there are no descriptors left
#define TELL_US     INT64_C(10000000) // at most one line of the log in this time

static size_t setting(const struct kts_worker *worker, enum kt_setting id)
{
    return (size_t)kt_settings_number(worker->settings, id);
}

static int is_full(const struct kts_worker *worker)
{
    return worker->conn_count >= setting(worker, KT_SET_MAX_CONNECTIONS);
}

// There is room, or can be made.
static int has_room(const struct kts_worker *worker)
{
    return !is_full(worker) || kts_origins_longest(worker->origins);
}

// 1: one that waited has gone.
static int turn_out(struct kts_worker *worker, struct kts_conn *conn)
{
    if (!conn)
        return 0;
    atomic_fetch_add_explicit(&worker->status->made_room, 1, memory_order_relaxed);
    kts_conn_turn_out(conn);
    return 1;
}

static void pause_accepting(struct kts_worker *worker, const char *why)
{
    struct timeval t = kts_milliseconds(PAUSE_MS);

    kt_log(KT_LOG_WARNING, "accepting pauses: %s", why);
    event_del(worker->listen_event);
    event_add(worker->accept_timer, &t);
}

// Closed before the handshake: that costs the least, and a client tries again.
static void turn_away(struct kts_worker *worker, int fd)
{
    int64_t now_us = kt_monotonic_now();

    close(fd);
    atomic_fetch_add_explicit(&worker->status->refused_early, 1, memory_order_relaxed);
    worker->turned_away++;
    if (worker->told_us && now_us - worker->told_us < TELL_US)
        return;
    kt_log(KT_LOG_WARNING,
           "%llu connections were closed at once: their addresses are over "
           "limits.address_connections or limits.address_handshakes",
           (unsigned long long)worker->turned_away);
    worker->turned_away = 0;
    worker->told_us = now_us;
}

static void admit(struct kts_worker *worker, int fd, const struct sockaddr *peer)
{
    uint8_t address[KTS_ADDRESS_LEN];
    const struct kts_origin *origin;

    kts_address_of(peer, address);
    origin = kts_origins_find(worker->origins, address);
    if (!kts_limits_handshake(worker, address) ||
        (origin && origin->connections >= setting(worker, KT_SET_LIMIT_ADDRESS_CONNECTIONS) &&
         !turn_out(worker, kts_origin_longest(origin)))) {
        turn_away(worker, fd);
        return;
    }
    if (is_full(worker))
        turn_out(worker, kts_origins_longest(worker->origins));
    kts_conn_new(worker, fd, peer, address);
}

// What the kernel holds for a caller that does not read is bounded too, in bytes and in time:
// limits.answers sees only what it does not take from us.
static void set_up(const struct kts_worker *worker, int fd)
{
    int on = 1, room = SEND_BUFFER;
    unsigned taken_ms = (unsigned)setting(worker, KT_SET_TIMEOUT_ANSWER);

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &taken_ms, sizeof(taken_ms));
}

// 1: go on with the next one.
static int accept_one(struct kts_worker *worker, int listen_fd)
{
    struct sockaddr_storage peer = {0};
    socklen_t n = sizeof(peer);
    int fd, why;

    if (!has_room(worker)) { // goes on when a connection closes, or waits
        worker->is_closed = 1;
        event_del(worker->listen_event);
        return 0;
    }
    fd = accept4(listen_fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        set_up(worker, fd);
        admit(worker, fd, (struct sockaddr *)&peer);
        return 1;
    }
    why = errno;
    if (why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM) {
        if (turn_out(worker, kts_origins_longest(worker->origins)))
            return 1;
        pause_accepting(worker, strerror(why));
    }
    return why == ECONNABORTED || why == EINTR;
}

static void on_connection(evutil_socket_t listen_fd, short what, void *arg)
{
    struct kts_worker *worker = arg;

    (void)what;
    kts_worker_count_call(worker);
    for (int i = 0; i < BATCH && accept_one(worker, (int)listen_fd); i++)
        ;
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    kts_accept_resume(arg);
}

int kts_accept_start(struct kts_worker *worker)
{
    worker->listen_event = event_new(worker->base, worker->start->listen_fd, EV_READ | EV_PERSIST,
                                     on_connection, worker);
    worker->accept_timer = evtimer_new(worker->base, on_pause_over, worker);
    if (!worker->listen_event || !worker->accept_timer || event_add(worker->listen_event, NULL))
        return KT_ERR_NO_MEMORY;
    return 0;
}

void kts_accept_resume(struct kts_worker *worker)
{
    if (worker->stopping || !has_room(worker) || evtimer_pending(worker->accept_timer, NULL) ||
        event_pending(worker->listen_event, EV_READ, NULL))
        return;
    worker->is_closed = 0;
    event_add(worker->listen_event, NULL);
}

void kts_accept_stop(struct kts_worker *worker)
{
    event_del(worker->listen_event);
    event_del(worker->accept_timer);
    // The other processes hold the socket too: new connections wait there, not on this one.
}
