// SPDX-License-Identifier: Apache-2.0
// Between the parts of the door: door.c (the process), door_accept.c (who may connect), door_conn.c
// (the states of a connection), door_call.c (what is handed to the agent, and its answer).
#ifndef KTS_DOOR_INNER_H
#define KTS_DOOR_INNER_H

#include "kts/conn_inner.h"
#include "kts/http.h"
#include "kts/link.h"
#include "kts/relay.h"

#define KTS_DOOR_HEADER_MAX 8192

struct kts_door_conn {
    struct kts_conn io; // bytes through TLS (conn_io.c); it has no worker and no request
    struct kts_door_conn *next, **link;
    struct kts_door *door;
    uint64_t greeting_id;
    uint64_t call_id; // 0: the agent has no call of it
    int is_known;     // its certificate is a node's or operator's
    int is_asked;     // its request is in the agent's hands, or the answer is not out yet
    // of the request
    uint64_t body_expected;
    int late_refusal; // why its body is not taken, should the agent let it in; or 0
    int keep_alive;
    int expect_continue;
};

struct kts_door {
    struct kts_start *start;
    struct event_base *base;
    SSL_CTX *tls;
    char cluster_id[KT_UUID_TEXT];
    struct event *control;
    struct kt_buf storage;  // of control messages
    struct kts_link *agent; // NULL: not here yet
    struct event *readable, *writable;
    struct event *listener;
    struct event *pause; // goes on accepting
    struct event *stop_timer;
    struct kts_door_conn *conns; // newest first
    size_t count, stranger_count;
    uint64_t last_id; // of a call or greeting
    int stopping;
    int exit_code;
};

// --- door.c ---
// KT_ERR_AGENT_UNAVAILABLE without a link.
int kts_door_send(struct kts_door *door, uint16_t type, uint64_t id, const void *payload,
                  size_t n) KT_MUST_CHECK;
// When it is to stop and nobody waits for an answer: ends the loop.
void kts_door_check_stop(struct kts_door *door);

// --- door_accept.c ---
int kts_door_accept_start(struct kts_door *door) KT_MUST_CHECK;
// No new connections; those without a request under way are closed.
void kts_door_accept_stop(struct kts_door *door);

// --- door_conn.c ---
// Takes the descriptor over.
void kts_door_conn_new(struct kts_door *door, int fd, const struct sockaddr *peer);
void kts_door_conn_free(struct kts_door_conn *conn);
// The agent lets the request in: its body is read.
void kts_door_conn_go_on(struct kts_door_conn *conn);
// The answer is in io.out: it is sent.
void kts_door_conn_send(struct kts_door_conn *conn, int closes);

// --- door_call.c ---
// After the handshake: asks the agent whether the certificate is one that it knows.
void kts_door_call_greet(struct kts_door_conn *conn);
// Looks at a head. 0: it has gone to the agent, which says whether the body is wanted; else `error`
// is the answer.
int kts_door_call_head(struct kts_door_conn *conn, const struct kts_http_head *head,
                       struct kt_error *error) KT_MUST_CHECK;
// Else `error` is the answer.
int kts_door_call_body(struct kts_door_conn *conn, const void *body, size_t n,
                       struct kt_error *error) KT_MUST_CHECK;
// Answers in the agent's place: the request cannot be one. The connection is closed then.
void kts_door_call_refuse(struct kts_door_conn *conn, const struct kt_error *error);
// The caller is gone, or is not waited for any longer.
void kts_door_call_cancel(struct kts_door_conn *conn);
// Something came from the agent. KT_ERR_PROTOCOL.
int kts_door_call_message(struct kts_door *door, struct kts_message *message) KT_MUST_CHECK;

#endif
