// SPDX-License-Identifier: Apache-2.0
// Who may connect to the door for nodes and operators.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kts/door_inner.h"
#include "kts/worker.h"
#include "lib/log.h"

// A node or an operator gets in however many strangers there are: of those the oldest goes when a
// new one comes, and listed ones have room of their own.
#define STRANGERS_MAX 64
#define CONNS_MAX     128
#define BATCH         8   // accepted before others get their turn
#define PAUSE_MS      200 // when there are no descriptors left

// --- who may connect ---

// Strangers from one address; 0 when this one is none, or is being answered.
static size_t from_the_same(const struct kts_door *door, const struct kts_door_conn *as)
{
    size_t n, count = 0;
    const char *port = strrchr(as->io.peer, ':');

    if (as->is_known || as->is_asked)
        return 0;
    n = port ? (size_t)(port - as->io.peer) + 1 : strlen(as->io.peer);
    for (const struct kts_door_conn *conn = door->conns; conn; conn = conn->next)
        count += !conn->is_known && strncmp(conn->io.peer, as->io.peer, n) == 0;
    return count;
}

// A node in its handshake is a stranger too: any one goes of those of the address that holds most,
// not the oldest, which is what a flood of new ones would have go.
static struct kts_door_conn *any_of_the_greediest(struct kts_door *door)
{
    struct kts_door_conn *found = NULL;
    size_t most = 1, candidates = 0;

    for (struct kts_door_conn *conn = door->conns; conn; conn = conn->next) {
        size_t count = from_the_same(door, conn);
        uint32_t number = 0;
        if (count < most)
            continue;
        candidates = count > most ? 1 : candidates + 1;
        most = count;
        if (kt_random(&number, sizeof(number)) || number % candidates == 0)
            found = conn;
    }
    return found;
}

// Closing it loses no request: its answer is out, or there was none.
static int has_nothing_to_lose(const struct kts_conn *io)
{
    return io->state == KTS_CONN_DRAINING || kts_conn_is_idle(io);
}

static struct kts_door_conn *oldest_idle(struct kts_door *door)
{
    struct kts_door_conn *found = NULL;

    for (struct kts_door_conn *conn = door->conns; conn; conn = conn->next) {
        // A stranger that is in the middle of a request goes too; a call under way is let alone.
        int may_go = conn->is_known ? has_nothing_to_lose(&conn->io) : !conn->is_asked;
        if (may_go)
            found = conn; // the newest come first
    }
    return found;
}

// 1 when there is room for one more, which is a stranger until it has shown a certificate.
static int make_room(struct kts_door *door)
{
    struct kts_door_conn *victim = NULL;

    if (door->stranger_count >= STRANGERS_MAX)
        victim = any_of_the_greediest(door);
    else if (door->count >= CONNS_MAX)
        victim = oldest_idle(door);
    else
        return 1;
    if (victim)
        kts_door_conn_free(victim);
    return victim != NULL;
}

static void pause_accepting(struct kts_door *door, const char *why)
{
    struct timeval t = kts_milliseconds(PAUSE_MS);

    kt_log(KT_LOG_WARNING, "the port for nodes and operators pauses: %s", why);
    event_del(door->listener);
    event_add(door->pause, &t);
}

static void on_connection(evutil_socket_t listen_fd, short what, void *arg)
{
    struct kts_door *door = arg;

    (void)what;
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t n = sizeof(peer);
        int on = 1;
        int fd =
            accept4((int)listen_fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                pause_accepting(door, strerror(errno));
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (make_room(door))
            kts_door_conn_new(door, fd, (struct sockaddr *)&peer);
        else
            close(fd);
    }
}

// --- begin and end ---

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    struct kts_door *door = arg;

    (void)fd;
    (void)what;
    event_add(door->listener, NULL);
}

int kts_door_accept_start(struct kts_door *door)
{
    door->pause = evtimer_new(door->base, on_pause_over, door);
    door->listener =
        event_new(door->base, door->start->listen_fd, EV_READ | EV_PERSIST, on_connection, door);
    if (!door->pause || !door->listener || event_add(door->listener, NULL))
        return KT_ERR_NO_MEMORY;
    return 0;
}

void kts_door_accept_stop(struct kts_door *door)
{
    struct kts_door_conn *next;

    event_del(door->pause);
    event_del(door->listener);
    close(door->start->listen_fd);
    door->start->listen_fd = -1;
    for (struct kts_door_conn *conn = door->conns; conn; conn = next) {
        next = conn->next;
        if (!conn->is_asked)
            kts_door_conn_free(conn);
    }
}
