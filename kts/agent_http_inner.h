// SPDX-License-Identifier: Apache-2.0
// Between the parts of the agent's HTTPS door: agent_http.c (the port, who may connect),
// agent_http_conn.c (the states of a connection), agent_http_call.c (what is asked, by whom).
#ifndef KTS_AGENT_HTTP_INNER_H
#define KTS_AGENT_HTTP_INNER_H

#include "kts/agent_door.h"
#include "kts/conn_inner.h"
#include "kts/http.h"
#include "kts/strangers.h"

#define KTS_HTTPS_HEADER_MAX   8192
#define KTS_HTTPS_BODY_MAX     (1u << 20)
#define KTS_HTTPS_STRANGER_MAX (64u << 10) // body of who has no listed certificate

struct kts_http_conn {
    struct kts_conn io; // bytes through TLS (conn_io.c); it has no worker and no request
    struct kts_call call;
    struct kts_http_conn *next, **link;
    struct kts_https *https;
    int is_known; // its certificate is a node's or operator's
    int is_asked; // the call has begun
    // of the request
    char verb[65];
    struct kt_join_token token;
    size_t body_expected;
    int keep_alive;
    int body_unread;
};

struct kts_https {
    struct kts_agent *agent;
    SSL_CTX *tls;
    int fd;
    struct event *listener;
    struct event *timer; // opens the port again, or goes on accepting
    int is_closed;       // the agent stops
    int has_complained;
    struct kts_http_conn *conns; // newest first
    size_t count, stranger_count;
    struct kts_strangers strangers; // budget of audit records
};

// --- agent_http_conn.c ---
// Takes the descriptor over.
void kts_http_conn_new(struct kts_https *https, int fd, const struct sockaddr *peer);
void kts_http_conn_free(struct kts_http_conn *conn);
// The answer is in io.out: it is sent, and the call ended.
void kts_http_conn_send(struct kts_http_conn *conn, int closes);

// --- agent_http_call.c ---
// Looks at a head: who asks for what. 0: its body is wanted; else `error` is the answer.
int kts_http_call_head(struct kts_http_conn *conn, const struct kts_http_head *head,
                       struct kt_error *error) KT_MUST_CHECK;
void kts_http_call_body(struct kts_http_conn *conn, const void *body, size_t n);
// Answers without a call: the request cannot be one. The connection is closed then.
void kts_http_call_refuse(struct kts_http_conn *conn, const struct kt_error *error);
// After the handshake: is_known.
void kts_http_call_greet(struct kts_http_conn *conn);

#endif
