// SPDX-License-Identifier: Apache-2.0
// Between the states of a connection (conn.c, door_conn.c) and what they share (conn_io.c):
// bytes through TLS, events, begin and end.
#ifndef KTS_CONN_INNER_H
#define KTS_CONN_INNER_H

#include <event2/event.h>
#include <openssl/ssl.h>

#include "kts/conn.h"
#include "kts/dispatch.h"
#include "kts/origin.h"

enum kts_conn_state {
    KTS_CONN_HANDSHAKE,
    KTS_CONN_HEAD,     // idle, or reading a head
    KTS_CONN_CONTINUE, // sending "100 Continue"
    KTS_CONN_BODY,
    KTS_CONN_QUEUED,  // the request is complete and waits for its turn
    KTS_CONN_WORKING, // the dispatcher has the request
    KTS_CONN_SENDING,
    KTS_CONN_DRAINING, // the answer is out; what still comes in is dropped until the client closes
};

struct kts_conn {
    struct kts_conn *next, **link; // of the worker's list
    struct kts_worker *worker;
    int fd;
    SSL *ssl;
    struct event *read_event;
    struct event *write_event;
    struct event *timer;
    enum kts_conn_state state;
    struct kt_buf in;
    size_t scanned; // of a head that is not complete
    int head_begun;
    struct kt_buf out;
    struct kts_request *request;
    int certificate_known; // certificate is filled in
    uint8_t certificate[KT_SHA256_LEN];
    size_t drained;
    int running; // conn_run is on the stack
    int dead;    // to be freed when it returns
    int reading; // read_event is added
    int close_after;
    int peer_done; // it sends no more, but may still read
    char peer[KT_PEER_TEXT];
    // Of a worker's connections only:
    uint32_t tls_age; // of the worker, when the certificate was last checked
    uint8_t address[KTS_ADDRESS_LEN];
    struct kts_place place;
    struct kts_caller_keys keys;
    int answered;      // a request at least: its client knows that the next may meet a closed one
    int has_turn;      // a queued request is to be worked on
    int64_t pace_us;   // since when the body comes, or the answer is taken
    size_t pace_total; // bytes of the answer
    struct kts_conn *senders_next, **senders_link; // of the worker's slow senders
    size_t answer_bytes;                           // of worker->answer_bytes
};

#define KTS_CONN_IN_STEP   4096  // read at once, of a head
#define KTS_CONN_BODY_STEP 16384 // of a body: one TLS record
#define KTS_CONN_AHEAD     16384 // bytes taken in while a request is worked on
#define KTS_CONN_DRAIN_MS  2000
#define KTS_CONN_LAST_MS   2000 // at a stop, for a first request that is on its way

// What a connection needs of its process. `arg` is given to both functions.
struct kts_conn_owner {
    struct event_base *base;
    SSL_CTX *tls;
    event_callback_fn on_event, on_timer;
    void *arg;
};
// TLS and events for conn->fd, none of them waited for yet. After a failure
// too the connection is to be closed.
int kts_conn_open(struct kts_conn *conn, const struct kts_conn_owner *owner) KT_MUST_CHECK;
// Gives back what kts_conn_open made, the buffers and the descriptor.
void kts_conn_close(struct kts_conn *conn);
// 1 between two requests, or before the first.
int kts_conn_is_idle(const struct kts_conn *conn);

// 1: something was done, go on; 0: wait for an event (which has been added), or conn->dead.
int kts_conn_shake(struct kts_conn *conn);
// Moves what is in conn->in into storage of exactly `size` bytes, which it must fit into.
int kts_conn_resize(struct kts_conn *conn, size_t size) KT_MUST_CHECK;
// Reads up to `want` bytes more into conn->in.
int kts_conn_fill(struct kts_conn *conn, size_t want);
// While a request is worked on: notices a caller that goes away, and takes in a little of what it
// sends ahead.
int kts_conn_fill_ahead(struct kts_conn *conn);
// Writes conn->out; 1 when all of it is out.
int kts_conn_write(struct kts_conn *conn);
// "100 Continue" is out: the body.
int kts_conn_continue(struct kts_conn *conn);
// Says that nothing more comes from us.
void kts_conn_shut(struct kts_conn *conn);
// The answer is out: says so, and waits a moment for the other's end.
void kts_conn_begin_drain(struct kts_conn *conn);
// Drops what the client still sends.
int kts_conn_drain(struct kts_conn *conn);
void kts_conn_format_peer(const struct sockaddr *peer, char out[KT_PEER_TEXT]);
void kts_conn_watch_reads(struct kts_conn *conn, int on);

int64_t kts_conn_setting(const struct kts_conn *conn, enum kt_setting id);
// The next look at the pace of a body or an answer, or the end of the time that it has as a whole.
void kts_conn_keep_pace(struct kts_conn *conn, enum kt_setting whole);
// 1: `moved` bytes since conn->pace_us are enough, and there is time left.
int kts_conn_is_in_pace(const struct kts_conn *conn, enum kt_setting whole, size_t moved);
// One more for the number of connections that were cut.
void kts_conn_count_cut(struct kts_conn *conn);
// Counts it, and lets it end.
void kts_conn_cut(struct kts_conn *conn);
// What answers that are not taken at once hold is bounded: the one that has been on its way longest
// is cut.
void kts_conn_enter_senders(struct kts_conn *conn);
void kts_conn_leave_senders(struct kts_conn *conn);

#endif
