// SPDX-License-Identifier: Apache-2.0
// Takes connections from the listening socket, as long as there is room.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "kts/conn.h"
#include "kts/worker.h"
#include "lib/log.h"

#define BATCH    64  // accepted before others get their turn
#define PAUSE_MS 200 // when there are no descriptors left

static int is_full(const struct kts_worker *worker)
{
    return worker->conn_count >=
           (size_t)kt_settings_number(worker->settings, KT_SET_MAX_CONNECTIONS);
}

static void pause_accepting(struct kts_worker *worker, const char *why)
{
    struct timeval t = kts_milliseconds(PAUSE_MS);

    kt_log(KT_LOG_WARNING, "accepting pauses: %s", why);
    event_del(worker->listen_event);
    event_add(worker->accept_timer, &t);
}

static void on_connection(evutil_socket_t listen_fd, short what, void *arg)
{
    struct kts_worker *worker = arg;

    (void)what;
    kts_worker_count_call(worker);
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t n = sizeof(peer);
        int fd, on = 1;

        if (is_full(worker)) { // goes on when a connection closes
            event_del(worker->listen_event);
            return;
        }
        fd = accept4((int)listen_fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            kts_conn_new(worker, fd, (struct sockaddr *)&peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(worker, strerror(errno));
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
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
    if (worker->stopping || is_full(worker) || evtimer_pending(worker->accept_timer, NULL) ||
        event_pending(worker->listen_event, EV_READ, NULL))
        return;
    event_add(worker->listen_event, NULL);
}

void kts_accept_stop(struct kts_worker *worker)
{
    event_del(worker->listen_event);
    event_del(worker->accept_timer);
    // The other processes hold the socket too: new connections wait there, not on this one.
}
