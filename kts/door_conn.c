// SPDX-License-Identifier: Apache-2.0
// The states of a connection to the door for nodes and operators. Each has a deadline as a whole, so that a
// sender of single bytes is cut too; only a call that is being worked on has none.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/door_inner.h"
#include "kts/worker.h"
#include "lib/agent_call.h"

#define IN_MAX (KTS_DOOR_HEADER_MAX + KTS_RELAY_BODY_MAX + KTS_CONN_AHEAD + KTS_CONN_IN_STEP)

// Milliseconds for each state.
#define HANDSHAKE_MS 5000
#define HEAD_MS      5000
#define LEAVE_MS     30000 // for the agent to say whether the body may come
#define BODY_MS      10000
#define SEND_MS      60000
#define IDLE_MS      30000

static void on_event(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

// --- requests ---

static void end_request(struct kts_door_conn *conn)
{
    kts_door_call_cancel(conn);
    conn->is_asked = 0;
}

static void next_request(struct kts_door_conn *conn)
{
    conn->io.state = KTS_CONN_HEAD;
    conn->io.scanned = 0;
    conn->io.head_begun = 0;
    if (kt_buf_left(&conn->io.in) == 0)
        kt_buf_free(&conn->io.in);
    kt_buf_free(&conn->io.out);
    kts_conn_watch_reads(&conn->io, 1);
    kts_conn_deadline(&conn->io, IDLE_MS);
}

static int refuse(struct kts_door_conn *conn, const struct kt_error *error)
{
    conn->io.state = KTS_CONN_WORKING;
    kts_door_call_refuse(conn, error);
    return !conn->io.dead;
}

static int begin_request(struct kts_door_conn *conn, const struct kts_http_head *head, size_t used)
{
    struct kt_error error = {0};

    if (kts_door_call_head(conn, head, &error))
        return refuse(conn, &error);
    if (kt_buf_consume_wiped(&conn->io.in, used)) // from here on *head is not valid any more
        conn->io.dead = 1;
    conn->io.state = KTS_CONN_QUEUED;
    kts_conn_deadline(&conn->io, LEAVE_MS);
    return !conn->io.dead;
}

static int step_head(struct kts_door_conn *conn)
{
    size_t left = kt_buf_left(&conn->io.in), used = 0;
    struct kt_error error = {0};
    struct kts_http_head head;
    int rc;

    if (left > 0 && !conn->io.head_begun) {
        conn->io.head_begun = 1;
        kts_conn_deadline(&conn->io, HEAD_MS);
    }
    if (left > conn->io.scanned) {
        rc = kts_http_read_head(kt_buf_ptr(&conn->io.in), left, KTS_DOOR_HEADER_MAX,
                                &conn->io.scanned, &head, &used, &error);
        if (rc == 0)
            return begin_request(conn, &head, used);
        if (rc != KT_ERR_AGAIN)
            return refuse(conn, &error);
    }
    return kts_conn_fill(&conn->io, KTS_CONN_IN_STEP);
}

static int step_body(struct kts_door_conn *conn)
{
    size_t left = kt_buf_left(&conn->io.in), expected = (size_t)conn->body_expected;
    size_t missing = expected - left;
    struct kt_error error = {0};

    if (left < expected) {
        conn->io.dead = conn->io.peer_done; // it will not come
        return kts_conn_fill(&conn->io,
                             missing < KTS_CONN_BODY_STEP ? missing : KTS_CONN_BODY_STEP);
    }
    if (kts_door_call_body(conn, kt_buf_ptr(&conn->io.in), expected, &error))
        return refuse(conn, &error);
    conn->io.state = KTS_CONN_WORKING;
    event_del(conn->io.timer);
    if (kt_buf_consume_wiped(&conn->io.in, expected))
        conn->io.dead = 1;
    return !conn->io.dead;
}

static int step_sending(struct kts_door_conn *conn)
{
    if (!kts_conn_write(&conn->io))
        return 0;
    end_request(conn);
    kts_door_check_stop(conn->door);
    if (conn->io.peer_done) {
        conn->io.dead = 1;
        return 0;
    }
    if (!conn->io.close_after) {
        next_request(conn);
        return 1;
    }
    kts_conn_begin_drain(&conn->io);
    return 1;
}

static int step(struct kts_door_conn *conn)
{
    switch (conn->io.state) {
    case KTS_CONN_HANDSHAKE:
        if (!kts_conn_shake(&conn->io))
            return 0;
        kts_door_call_greet(conn);
        next_request(conn);
        return 1;
    case KTS_CONN_HEAD:
        return step_head(conn);
    case KTS_CONN_CONTINUE:
        return kts_conn_continue(&conn->io);
    case KTS_CONN_BODY:
        return step_body(conn);
    case KTS_CONN_QUEUED: // the agent has its head
    case KTS_CONN_WORKING:
        return kts_conn_fill_ahead(&conn->io);
    case KTS_CONN_SENDING:
        return step_sending(conn);
    case KTS_CONN_DRAINING:
        return kts_conn_drain(&conn->io);
    }
    return 0;
}

// Refusals may be made from inside a step: they only change the state, and this loop goes on.
static void run(struct kts_door_conn *conn)
{
    conn->io.running = 1;
    while (!conn->io.dead && step(conn))
        ;
    conn->io.running = 0;
    if (conn->io.dead)
        kts_door_conn_free(conn);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    run(arg);
}

void kts_door_conn_go_on(struct kts_door_conn *conn)
{
    conn->io.state = KTS_CONN_BODY;
    kts_conn_deadline(&conn->io, BODY_MS);
    if (conn->expect_continue && kt_buf_left(&conn->io.in) < conn->body_expected) {
        conn->io.state = KTS_CONN_CONTINUE;
        if (kt_buf_putf(&conn->io.out, "HTTP/1.1 100 Continue\r\n\r\n"))
            conn->io.dead = 1;
    }
    run(conn);
}

void kts_door_conn_send(struct kts_door_conn *conn, int closes)
{
    conn->io.state = KTS_CONN_SENDING;
    conn->io.close_after |= closes;
    kts_conn_deadline(&conn->io, SEND_MS);
    if (!conn->io.running)
        run(conn);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct kts_door_conn *conn = arg;
    struct kt_error error = {.code = KT_ERR_REQUEST_TIMEOUT};

    (void)fd;
    (void)what;
    conn->io.running = 1;
    if (conn->io.state == KTS_CONN_QUEUED)
        error.code = KT_ERR_AGENT_UNAVAILABLE;
    if (conn->io.state == KTS_CONN_BODY || conn->io.state == KTS_CONN_QUEUED ||
        (conn->io.state == KTS_CONN_HEAD && conn->io.head_begun))
        refuse(conn, &error);
    else if (conn->io.state != KTS_CONN_WORKING)
        conn->io.dead = 1;
    run(conn);
}

// --- begin and end ---

void kts_door_conn_new(struct kts_door *door, int fd, const struct sockaddr *peer)
{
    struct kts_door_conn *conn = calloc(1, sizeof(*conn));
    const struct kts_conn_owner owner = {door->base, door->tls, on_event, on_timer, conn};

    if (!conn) {
        close(fd);
        return;
    }
    conn->door = door;
    conn->io.fd = fd;
    conn->io.in = (struct kt_buf)KT_BUF_INIT(IN_MAX);
    conn->io.out = (struct kt_buf)KT_BUF_INIT(KT_AGENT_MESSAGE_MAX + KTS_DOOR_HEADER_MAX);
    kts_conn_format_peer(peer, conn->io.peer);
    conn->next = door->conns;
    conn->link = &door->conns;
    if (conn->next)
        conn->next->link = &conn->next;
    door->conns = conn;
    door->count++;
    door->stranger_count++;
    if (kts_conn_open(&conn->io, &owner)) {
        kts_door_conn_free(conn);
        return;
    }
    kts_conn_deadline(&conn->io, HANDSHAKE_MS);
    kts_conn_watch_reads(&conn->io, 1);
}

void kts_door_conn_free(struct kts_door_conn *conn)
{
    kts_conn_close(&conn->io);
    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
    conn->door->count--;
    conn->door->stranger_count -= !conn->is_known;
    end_request(conn);
    kts_door_check_stop(conn->door);
    free(conn);
}
