// SPDX-License-Identifier: Apache-2.0
// A request through the door: its head and body to the agent, the agent's answer to the caller.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/agent_door.h"
#include "kts/door_inner.h"
#include "lib/agent_call.h"
#include "lib/cli.h"
#include "lib/log.h"
#include "lib/pki.h"

#define PREFIX "/v1/cluster/"

// --- answers ---

// Codes that have no status of their own among clients' calls.
static int status_of(const struct kt_err_info *info)
{
    if (info->http)
        return info->http;
    if (info->exit == KT_EXIT_UNAVAILABLE)
        return 503;
    if (info->exit == KT_EXIT_NOT_FOUND)
        return 404;
    if (info->code == KT_ERR_INVALID || info->code == KT_ERR_TOO_LARGE)
        return 400;
    return info->code == KT_ERR_EXISTS ? 409 : 500;
}

// Without an answer nothing is sent, and the connection ends.
static void respond(struct kts_door_conn *conn, int code, const void *text, size_t n, int closes)
{
    const struct kt_err_info *info = kt_err_info(code);
    struct kt_buf *out = &conn->io.out;
    int rc = KT_ERR_NO_MEMORY;

    kt_buf_reset(out);
    if (n)
        rc = kt_buf_putf(out,
                         "HTTP/1.1 %d \r\nServer: keytrustee\r\nCache-Control: no-store\r\n"
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n%s%s%s%s\r\n",
                         code ? status_of(info) : 200, n, code ? "KT-Error: " : "",
                         code ? info->name : "", code ? "\r\n" : "",
                         closes ? "Connection: close\r\n" : "");
    if (rc == 0)
        rc = kt_buf_put(out, text, n);
    if (rc)
        kt_buf_reset(out);
    kts_door_conn_send(conn, rc ? 1 : closes);
}

void kts_door_call_refuse(struct kts_door_conn *conn, const struct kt_error *error)
{
    json_t *body = json_pack("{s:o}", "error", kts_call_error_json(error));
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    kts_door_call_cancel(conn);
    respond(conn, error->code, text, text ? strlen(text) : 0, 1);
    json_decref(body);
    free(text);
}

// --- what is asked for, by whom ---

static int take_verb(struct kts_relay_call *call, const struct kts_http_head *head,
                     struct kt_error *error)
{
    size_t skip = strlen(PREFIX), n = head->path.len;

    if (n <= skip || memcmp(head->path.at, PREFIX, skip) != 0 || head->query.len)
        return kt_error_set(error, KT_ERR_ROUTE_UNKNOWN, "calls of agents are POST " PREFIX "VERB",
                            "%s", kt_err_text(KT_ERR_ROUTE_UNKNOWN));
    if (!kts_relay_is_verb(head->path.at + skip, n - skip))
        return kt_error_set(error, KT_ERR_ROUTE_UNKNOWN, NULL, "%s",
                            kt_err_text(KT_ERR_ROUTE_UNKNOWN));
    memcpy(call->verb, head->path.at + skip, n - skip);
    if (head->method != KTS_POST)
        return kt_error_set(error, KT_ERR_METHOD_NOT_ALLOWED,
                            "calls of agents are POST " PREFIX "VERB", "%s",
                            kt_err_text(KT_ERR_METHOD_NOT_ALLOWED));
    return 0;
}

// What is wrong with it is said after the agent has said who may ask at all.
static void take_length(struct kts_door_conn *conn, const struct kts_http_head *head)
{
    struct kts_span type = kts_http_field(head, "content-type");

    conn->late_refusal = 0;
    conn->body_expected = head->has_length ? head->content_length : 0;
    if (!head->has_length)
        conn->late_refusal = KT_ERR_LENGTH_REQUIRED;
    else if (head->content_length && !kts_span_equal_nocase(type, "application/json"))
        conn->late_refusal = KT_ERR_CONTENT_TYPE;
}

static void take_authorization(struct kts_relay_call *call, const struct kts_http_head *head)
{
    struct kts_span header = kts_http_field(head, "authorization");

    call->has_authorization = header.at != NULL;
    call->authorization = (const uint8_t *)header.at;
    call->authorization_len = header.len <= KTS_RELAY_AUTH_MAX ? header.len : 0;
}

// The link between the peer's certificate and a root, when there is one.
static int take_link(const SSL *ssl, struct kts_relay_call *call, struct kt_buf *der)
{
    STACK_OF(X509) *path = SSL_get0_verified_chain(ssl);
    int rc = sk_X509_num(path) == 3 ? kt_pki_cert_to_der(sk_X509_value(path, 1), der) : 0;

    if (rc == KT_ERR_TOO_LARGE) // none of ours is; the agent does without
        return 0;
    call->link = kt_buf_ptr(der);
    call->link_len = kt_buf_left(der);
    return rc;
}

// The peer and its certificate; `der` and `link` are for the bytes, which `call` points into.
static int take_peer(struct kts_door_conn *conn, struct kts_relay_call *call, struct kt_buf *der,
                     struct kt_buf *link)
{
    X509 *cert = SSL_get0_peer_certificate(conn->io.ssl);
    uint8_t sha256[KT_SHA256_LEN];
    int rc = 0;

    memcpy(call->peer, conn->io.peer, sizeof(call->peer));
    call->verdict = kts_conn_certificate(&conn->io, sha256);
    if (call->verdict == 0)
        rc = kt_pki_cert_to_der(cert, der);
    if (rc == KT_ERR_TOO_LARGE) { // none of ours is
        call->verdict = KT_ERR_CERTIFICATE_UNKNOWN_CA;
        rc = 0;
    } else if (rc == 0) {
        call->cert = kt_buf_ptr(der);
        call->cert_len = kt_buf_left(der);
    }
    if (rc == 0 && call->verdict == 0)
        rc = take_link(conn->io.ssl, call, link);
    return rc;
}

static int send_call(struct kts_door_conn *conn, uint16_t type, struct kts_relay_call *call)
{
    struct kt_buf der = KT_BUF_INIT(KTS_RELAY_CERT_MAX), link = KT_BUF_INIT(KTS_RELAY_CERT_MAX);
    struct kt_buf out = KT_BUF_INIT(KTS_RELAY_FRAME_MAX);
    struct kts_door *door = conn->door;
    int rc = take_peer(conn, call, &der, &link);

    if (rc == 0)
        rc = kts_relay_call_encode(call, &out);
    if (rc == 0)
        rc = kts_door_send(door, type, ++door->last_id, kt_buf_ptr(&out), kt_buf_left(&out));
    kt_buf_free(&der);
    kt_buf_free(&link);
    kt_buf_free(&out); // wipes: a token
    return rc;
}

// --- to the agent ---

void kts_door_call_greet(struct kts_door_conn *conn)
{
    struct kts_relay_call call = {.verdict = 0};
    uint8_t sha256[KT_SHA256_LEN];

    if (kts_conn_certificate(&conn->io, sha256))
        return; // a stranger
    // Unanswered it is one too.
    if (send_call(conn, KTS_MSG_GREETING, &call) == 0)
        conn->greeting_id = conn->door->last_id;
}

int kts_door_call_head(struct kts_door_conn *conn, const struct kts_http_head *head,
                       struct kt_error *error)
{
    struct kts_relay_call call = {.verdict = 0};
    int rc = take_verb(&call, head, error);

    if (rc)
        return rc;
    conn->keep_alive = head->keep_alive;
    conn->expect_continue = head->expect_continue;
    take_length(conn, head);
    take_authorization(&call, head);
    call.body_len = conn->body_expected;
    rc = send_call(conn, KTS_MSG_CALL, &call);
    if (rc)
        return kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
    conn->call_id = conn->door->last_id;
    return 0;
}

int kts_door_call_body(struct kts_door_conn *conn, const void *body, size_t n,
                       struct kt_error *error)
{
    int rc = kts_door_send(conn->door, KTS_MSG_BODY, conn->call_id, body, n);

    if (rc)
        return kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
    conn->is_asked = 1;
    return 0;
}

void kts_door_call_cancel(struct kts_door_conn *conn)
{
    if (conn->call_id && kts_door_send(conn->door, KTS_MSG_CANCEL, conn->call_id, NULL, 0))
        kt_log(KT_LOG_WARNING, "a call of '%s' cannot be taken back", conn->io.peer);
    conn->call_id = 0;
}

// --- from the agent ---

static struct kts_door_conn *find(const struct kts_door *door, uint64_t id, int is_greeting)
{
    struct kts_door_conn *conn = door->conns;

    while (conn && (is_greeting ? conn->greeting_id : conn->call_id) != id)
        conn = conn->next;
    return conn;
}

static int take_known(struct kts_door *door, struct kts_message *message)
{
    struct kts_door_conn *conn = find(door, message->id, 1);
    uint8_t is_known = 0;

    if (kt_buf_get_u8(&message->payload, &is_known) || is_known > 1)
        return KT_ERR_PROTOCOL;
    if (!conn)
        return 0; // it has gone
    conn->greeting_id = 0;
    conn->is_known = is_known;
    door->stranger_count -= is_known;
    return 0;
}

static int take_leave(struct kts_door *door, struct kts_message *message)
{
    struct kts_door_conn *conn = find(door, message->id, 0);
    struct kt_error error = {0};

    if (!conn)
        return 0;
    if (conn->io.state != KTS_CONN_QUEUED)
        return KT_ERR_PROTOCOL;
    if (!conn->late_refusal) {
        kts_door_conn_go_on(conn);
        return 0;
    }
    kt_error_set(&error, conn->late_refusal, NULL, "%s", kt_err_text(conn->late_refusal));
    kts_door_call_refuse(conn, &error);
    return 0;
}

static int take_answer(struct kts_door *door, struct kts_message *message)
{
    struct kts_door_conn *conn = find(door, message->id, 0);
    struct kts_relay_answer answer;
    int rc = kts_relay_answer_decode(&message->payload, &answer);
    int closes;

    if (rc || !conn)
        return rc;
    // Who is refused before the body was read has sent more than is wanted.
    closes = conn->io.state != KTS_CONN_WORKING || !conn->keep_alive || door->stopping;
    conn->call_id = 0;
    respond(conn, answer.code, answer.text, answer.text_len, closes);
    return 0;
}

int kts_door_call_message(struct kts_door *door, struct kts_message *message)
{
    switch (message->type) {
    case KTS_MSG_KNOWN:
        return take_known(door, message);
    case KTS_MSG_LEAVE:
        return take_leave(door, message);
    case KTS_MSG_ANSWER:
        return take_answer(door, message);
    default:
        return KT_ERR_PROTOCOL;
    }
}
