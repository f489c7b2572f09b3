// SPDX-License-Identifier: Apache-2.0
// The states of a connection, from the handshake through its requests to its end.
#include "kts/conn.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/conn_inner.h"
#include "kts/worker.h"

#define KEEP_MAX  8192                                // storage kept by an idle connection
#define AHEAD_MAX (KTS_CONN_AHEAD + KTS_CONN_IN_STEP) // what was sent ahead never is more
#define IN_MAX    (18u << 20) // largest header and body that settings allow, and a step
#define OUT_MAX   (20u << 20)
#define IN_A_TURN 16 // pipelined requests served before others get their turn

static void destroy(struct kts_conn *conn);
static void on_event(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

// --- requests ---

// What a body had is given back, also when the client has sent something ahead.
static void shrink_in(struct kts_conn *conn)
{
    size_t left = kt_buf_left(&conn->in);

    if (left == 0 && conn->in.cap > KEEP_MAX)
        kt_buf_free(&conn->in);
    else if (conn->in.cap > AHEAD_MAX && kts_conn_resize(conn, AHEAD_MAX))
        conn->dead = 1;
}

static void next_request(struct kts_conn *conn)
{
    conn->state = KTS_CONN_HEAD;
    kts_origins_wait(conn->worker->origins, &conn->place);
    if (conn->worker->is_closed)
        kts_accept_resume(conn->worker);
    conn->scanned = 0;
    conn->head_begun = 0;
    shrink_in(conn);
    if (conn->out.cap > KEEP_MAX)
        kt_buf_free(&conn->out);
    kts_conn_watch_reads(conn, 1);
    kts_conn_deadline(conn, conn->worker->stopping ? KTS_CONN_LAST_MS
                                                   : kts_conn_setting(conn, KT_SET_TIMEOUT_IDLE));
}

// Answers what the connection itself finds wrong; it is closed then.
static int refuse(struct kts_conn *conn, const struct kt_error *error)
{
    conn->state = KTS_CONN_WORKING;
    kts_origins_work(conn->worker->origins, &conn->place);
    if (!conn->request)
        conn->request = kts_request_new(conn, conn->worker);
    if (!conn->request)
        conn->dead = 1;
    else
        kts_dispatch_refuse(conn->request, error);
    return !conn->dead;
}

static int begin_request(struct kts_conn *conn, const struct kts_http_head *head, size_t used)
{
    int wanted, asked = head->expect_continue;

    conn->request = kts_request_new(conn, conn->worker);
    if (!conn->request) {
        conn->dead = 1;
        return 0;
    }
    conn->state = KTS_CONN_WORKING; // the dispatcher may answer at once
    kts_origins_work(conn->worker->origins, &conn->place);
    wanted = kts_dispatch_head(conn->request, head);
    if (kt_buf_consume(&conn->in, used)) // from here on *head is not valid any more
        conn->dead = 1;
    if (!wanted || conn->dead)
        return !conn->dead;
    conn->state = KTS_CONN_BODY;
    // Exactly what limits.bodies has been charged for.
    if (conn->request->body_expected > conn->in.cap &&
        kts_conn_resize(conn, (size_t)conn->request->body_expected)) {
        conn->dead = 1;
        return 0;
    }
    if (conn->request->body_expected > 0) {
        conn->pace_us = kt_monotonic_now();
        kts_conn_keep_pace(conn, KT_SET_TIMEOUT_BODY);
    }
    if (asked && kt_buf_left(&conn->in) < conn->request->body_expected) {
        conn->state = KTS_CONN_CONTINUE;
        if (kt_buf_putf(&conn->out, "HTTP/1.1 100 Continue\r\n\r\n"))
            conn->dead = 1;
    }
    return !conn->dead;
}

static int step_head(struct kts_conn *conn)
{
    size_t left = kt_buf_left(&conn->in), used = 0;
    struct kt_error error = {0};
    struct kts_http_head head;
    int rc;

    if (left > 0 && !conn->head_begun) {
        conn->head_begun = 1;
        kts_conn_deadline(conn, kts_conn_setting(conn, KT_SET_TIMEOUT_HEADER));
    }
    if (left > conn->scanned) {
        rc = kts_http_read_head(kt_buf_ptr(&conn->in), left,
                                (size_t)kts_conn_setting(conn, KT_SET_LIMIT_HEADER), &conn->scanned,
                                &head, &used, &error);
        if (rc == 0)
            return begin_request(conn, &head, used);
        if (rc != KT_ERR_AGAIN)
            return refuse(conn, &error);
    }
    return kts_conn_fill(conn, KTS_CONN_IN_STEP);
}

// The request is complete: the dispatcher has it from here on.
static int work(struct kts_conn *conn)
{
    size_t expected = (size_t)conn->request->body_expected;

    conn->state = KTS_CONN_WORKING;
    conn->has_turn = 0;
    kts_conn_watch_reads(conn, 1);
    kts_dispatch_body(conn->request, kt_buf_ptr(&conn->in), expected);
    if (kt_buf_consume(&conn->in, expected))
        conn->dead = 1;
    if (expected > 0 && kt_buf_left(&conn->in) == 0)
        kt_buf_reset(&conn->in); // wipes: it may have been an auth code
    return !conn->dead;
}

static int step_body(struct kts_conn *conn)
{
    size_t left = kt_buf_left(&conn->in);
    size_t expected = (size_t)conn->request->body_expected, missing = expected - left;

    if (left < expected)
        return kts_conn_fill(conn, missing < KTS_CONN_BODY_STEP ? missing : KTS_CONN_BODY_STEP);
    if (kts_share_enter(conn->request))
        return work(conn);
    conn->state = KTS_CONN_QUEUED;
    kts_conn_deadline(conn, kts_conn_setting(conn, KT_SET_TIMEOUT_READ));
    return 1;
}

static int step_queued(struct kts_conn *conn)
{
    return conn->has_turn ? work(conn) : kts_conn_fill_ahead(conn);
}

static int step_sending(struct kts_conn *conn, int *served)
{
    if (!kts_conn_write(conn)) {
        if (!conn->dead)
            kts_conn_enter_senders(conn);
        return 0;
    }
    kts_conn_leave_senders(conn);
    kts_request_free(conn->request);
    conn->request = NULL;
    if (conn->peer_done) {
        conn->dead = 1;
        return 0;
    }
    if (conn->close_after || conn->worker->stopping) {
        kts_origins_wait(conn->worker->origins, &conn->place);
        kts_conn_begin_drain(conn);
        return 1;
    }
    conn->answered = 1;
    next_request(conn);
    if (++*served < IN_A_TURN)
        return 1;
    event_active(conn->read_event, EV_READ, 0);
    return 0;
}

static int step(struct kts_conn *conn, int *served)
{
    switch (conn->state) {
    case KTS_CONN_HANDSHAKE:
        if (!kts_conn_shake(conn))
            return 0;
        next_request(conn);
        return 1;
    case KTS_CONN_HEAD:
        return step_head(conn);
    case KTS_CONN_CONTINUE:
        return kts_conn_continue(conn);
    case KTS_CONN_BODY:
        return step_body(conn);
    case KTS_CONN_QUEUED:
        return step_queued(conn);
    case KTS_CONN_WORKING:
        return kts_conn_fill_ahead(conn);
    case KTS_CONN_SENDING:
        return step_sending(conn, served);
    case KTS_CONN_DRAINING:
        return kts_conn_drain(conn);
    }
    return 0;
}

// Answers may be sent from inside a step: they only change the state, and this loop goes on.
static void run(struct kts_conn *conn)
{
    int served = 0;

    conn->running = 1;
    while (!conn->dead && step(conn, &served))
        ;
    conn->running = 0;
    if (conn->dead)
        destroy(conn);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct kts_conn *conn = arg;
    struct kts_worker *worker = conn->worker;

    (void)fd;
    (void)what;
    run(conn); // may free it; so may the turn's work, which answers requests
    kts_worker_count_call(worker);
}

// --- what the dispatcher calls ---

struct kt_buf *kts_conn_out(struct kts_conn *conn)
{
    return &conn->out;
}

void kts_conn_close_after(struct kts_conn *conn)
{
    conn->close_after = 1;
}

void kts_conn_resume(struct kts_conn *conn)
{
    conn->has_turn = 1;
    event_active(conn->read_event, EV_READ, 0); // not now: somebody else's step may be running
}

void kts_conn_send(struct kts_conn *conn)
{
    conn->state = KTS_CONN_SENDING;
    conn->pace_us = kt_monotonic_now();
    conn->pace_total = kt_buf_left(&conn->out);
    kts_conn_keep_pace(conn, KT_SET_TIMEOUT_ANSWER);
    if (!conn->running)
        run(conn);
}

// --- deadlines ---

static void on_body_timer(struct kts_conn *conn)
{
    struct kt_error error = {.code = KT_ERR_REQUEST_TIMEOUT};

    if (kts_conn_is_in_pace(conn, KT_SET_TIMEOUT_BODY, kt_buf_left(&conn->in))) {
        kts_conn_keep_pace(conn, KT_SET_TIMEOUT_BODY);
        return;
    }
    kts_conn_count_cut(conn);
    refuse(conn, &error);
}

static void on_sending_timer(struct kts_conn *conn)
{
    if (kts_conn_is_in_pace(conn, KT_SET_TIMEOUT_ANSWER,
                            conn->pace_total - kt_buf_left(&conn->out)))
        kts_conn_keep_pace(conn, KT_SET_TIMEOUT_ANSWER);
    else
        kts_conn_cut(conn);
}

static void on_state_timer(struct kts_conn *conn)
{
    struct kt_error error = {.code = KT_ERR_REQUEST_TIMEOUT};

    switch (conn->state) {
    case KTS_CONN_HEAD:
        if (conn->head_begun)
            refuse(conn, &error);
        else
            conn->dead = 1; // idle: nothing to say
        break;
    case KTS_CONN_BODY:
        on_body_timer(conn);
        break;
    case KTS_CONN_QUEUED:
        conn->has_turn = 0; // given in this very turn of the loop
        kts_dispatch_no_turn(conn->request);
        break;
    case KTS_CONN_WORKING:
        kts_dispatch_timeout(conn->request);
        break;
    case KTS_CONN_SENDING:
        on_sending_timer(conn);
        break;
    case KTS_CONN_HANDSHAKE:
    case KTS_CONN_CONTINUE:
    case KTS_CONN_DRAINING:
        conn->dead = 1;
        break;
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct kts_conn *conn = arg;

    (void)fd;
    (void)what;
    conn->running = 1;
    if (!conn->dead)
        on_state_timer(conn);
    run(conn);
}

// --- begin and end ---

void kts_conn_new(struct kts_worker *worker, int fd, const struct sockaddr *peer,
                  const uint8_t address[KTS_ADDRESS_LEN])
{
    struct kts_conn *conn = calloc(1, sizeof(*conn));
    const struct kts_conn_owner owner = {worker->base, worker->tls, on_event, on_timer, conn};

    if (!conn) {
        close(fd);
        return;
    }
    conn->worker = worker;
    conn->tls_age = worker->tls_age;
    conn->fd = fd;
    conn->in = (struct kt_buf)KT_BUF_INIT(IN_MAX);
    conn->out = (struct kt_buf)KT_BUF_INIT(OUT_MAX);
    kts_conn_format_peer(peer, conn->peer);
    conn->next = worker->conns;
    conn->link = &worker->conns;
    if (conn->next)
        conn->next->link = &conn->next;
    worker->conns = conn;
    worker->conn_count++;
    atomic_fetch_add(kts_status_connections_of(worker->status, worker->start->index), 1);
    memcpy(conn->address, address, KTS_ADDRESS_LEN);
    conn->keys.address =
        kts_meter_key(worker->start->meter, KTS_METER_HANDSHAKES, address, KTS_ADDRESS_LEN);
    if (kts_origins_join(worker->origins, address, &conn->place, conn) ||
        kts_conn_open(conn, &owner)) {
        destroy(conn);
        return;
    }
    kts_conn_deadline(conn, kts_conn_setting(conn, KT_SET_TIMEOUT_HANDSHAKE));
    kts_conn_watch_reads(conn, 1); // the client speaks first
}

void kts_conn_free(struct kts_conn *conn)
{
    kts_request_free(conn->request);
    kts_conn_leave_senders(conn);
    kts_origins_leave(conn->worker->origins, &conn->place);
    kts_conn_close(conn);
    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
    conn->worker->conn_count--;
    atomic_fetch_sub(kts_status_connections_of(conn->worker->status, conn->worker->start->index),
                     1);
    free(conn);
}

static void destroy(struct kts_conn *conn)
{
    struct kts_worker *worker = conn->worker;

    kts_conn_free(conn);
    kts_worker_conn_closed(worker);
}

void kts_conn_turn_out(struct kts_conn *conn)
{
    kts_conn_shut(conn);
    destroy(conn);
}

void kts_conns_close_idle(struct kts_worker *worker)
{
    struct kts_conn *next;

    for (struct kts_conn *conn = worker->conns; conn; conn = next) {
        next = conn->next;
        if (!kts_conn_is_idle(conn))
            continue;
        if (!conn->answered) {
            kts_conn_deadline(conn, KTS_CONN_LAST_MS);
        } else {
            kts_conn_shut(conn);
            kts_conn_free(conn);
        }
    }
}

void kts_conns_free_all(struct kts_worker *worker)
{
    struct kts_conn *next;

    for (struct kts_conn *conn = worker->conns; conn; conn = next) {
        next = conn->next;
        kts_conn_free(conn);
    }
}
