// SPDX-License-Identifier: Apache-2.0
// A request through the agent's HTTPS door: who asks, whether for something they may, the answer.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/agent_http_inner.h"
#include "kts/agent_peers.h"
#include "kts/agent_token.h"
#include "lib/agent_call.h"
#include "lib/cli.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/pki.h"

#define PREFIX "/v1/cluster/"
#define SCHEME "Keytrustee "

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

static int compose(struct kts_http_conn *conn, int status, const char *code, const json_t *body,
                   int closes)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct kt_buf *out = &conn->io.out;
    int rc = KT_ERR_NO_MEMORY;

    kt_buf_reset(out);
    if (text)
        rc = kt_buf_putf(out,
                         "HTTP/1.1 %d \r\nServer: keytrustee\r\nCache-Control: no-store\r\n"
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n%s%s%s%s\r\n",
                         status, strlen(text), code ? "KT-Error: " : "", code ? code : "",
                         code ? "\r\n" : "", closes ? "Connection: close\r\n" : "");
    if (rc == 0)
        rc = kt_buf_put(out, text, strlen(text));
    if (rc)
        kt_buf_reset(out);
    if (text)
        kt_wipe(text, strlen(text));
    free(text);
    return rc;
}

static void send_error(struct kts_http_conn *conn, const struct kt_error *error, int closes)
{
    const struct kt_err_info *info = kt_err_info(error->code);
    json_t *body = json_pack("{s:o}", "error", kts_call_error_json(error));

    // Without an answer nothing is sent, and the connection ends.
    if (compose(conn, status_of(info), info->name, body, closes))
        closes = 1;
    json_decref(body);
    kts_http_conn_send(conn, closes);
}

static void answer(struct kts_call *call, const json_t *result, const struct kt_error *error)
{
    struct kts_http_conn *conn =
        (struct kts_http_conn *)((char *)call - offsetof(struct kts_http_conn, call));
    int closes = !conn->keep_alive || conn->https->is_closed;

    kt_wipe(&conn->token, sizeof(conn->token));
    if (!result)
        send_error(conn, error, closes);
    else
        kts_http_conn_send(conn, compose(conn, 200, NULL, result, closes) ? 1 : closes);
}

void kts_http_call_refuse(struct kts_http_conn *conn, const struct kt_error *error)
{
    send_error(conn, error, 1);
}

// --- who ---

static const char *operator_of(const struct kts_agent *agent, const uint8_t sha256[KT_SHA256_LEN])
{
    const struct kts_operators *all = &agent->operators;

    for (size_t i = 0; i < all->count; i++) {
        if (memcmp(all->operators[i].cert_sha256, sha256, KT_SHA256_LEN) == 0)
            return all->operators[i].name;
    }
    return NULL;
}

// A certificate counts when it is listed, and what it is listed as: the CA's signature alone is any
// client's, and the lists are the writer's and other nodes' word.
static int identify(struct kts_http_conn *conn, struct kt_error *error)
{
    struct kts_call *call = &conn->call;
    uint8_t sha256[KT_SHA256_LEN];
    int rc = kts_conn_certificate(&conn->io, sha256);
    const X509 *cert = SSL_get0_peer_certificate(conn->io.ssl);
    const struct kt_peer *peer;
    const char *operator;

    // One that is revoked is refused from the next request on, not from the next look at the list.
    if (rc == 0 && operator_of(call->agent, sha256))
        kts_agent_watch_lists(call->agent);
    peer = rc == 0 ? kt_peers_by_cert(kts_agent_peers(call->agent), sha256) : NULL;
    operator= rc == 0 ? operator_of(call->agent, sha256) : NULL;

    if (peer && !kt_pki_is_node(cert, peer->member))
        peer = NULL;
    if (operator&& !kt_pki_is_operator(cert, operator))
        operator= NULL;
    call->member[0] = '\0';
    if (peer) {
        call->caller = KTS_CALLER_NODE;
        memcpy(call->member, peer->member, sizeof(call->member));
        snprintf(call->actor, sizeof(call->actor), "node %s", peer->member);
        return 0;
    }
    if (operator) {
        call->caller = KTS_CALLER_OPERATOR;
        snprintf(call->actor, sizeof(call->actor), "operator %s", operator);
        return 0;
    }
    peer = rc == 0 ? kt_peers_removed_by_cert(kts_agent_peers(call->agent), sha256) : NULL;
    if (peer && kt_pki_is_node(cert, peer->member)) {
        call->caller = KTS_CALLER_REMOVED;
        memcpy(call->member, peer->member, sizeof(call->member));
        snprintf(call->actor, sizeof(call->actor), "removed node %s", peer->member);
        return 0;
    }
    if (rc == KT_ERR_CERTIFICATE_EXPIRED || rc == KT_ERR_CERTIFICATE_UNKNOWN_CA)
        return kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
    return kt_error_set(error, KT_ERR_NOT_MEMBER, NULL, "%s", kt_err_text(KT_ERR_NOT_MEMBER));
}

void kts_http_call_greet(struct kts_http_conn *conn)
{
    struct kt_error why;

    conn->is_known = identify(conn, &why) == 0 && conn->call.caller != KTS_CALLER_REMOVED;
    if (conn->is_known)
        conn->https->stranger_count--;
}

// The bearer of a token: no certificate yet, and one verb.
static int identify_token(struct kts_http_conn *conn, struct kts_span header,
                          struct kt_error *error)
{
    struct kts_call *call = &conn->call;
    char text[KT_TOKEN_TEXT] = "";
    size_t skip = strlen(SCHEME);
    int rc = 0;

    if (header.len <= skip || header.len - skip >= sizeof(text) ||
        memcmp(header.at, SCHEME, skip) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                            "the authorization is not of the scheme Keytrustee");
    memcpy(text, header.at + skip, header.len - skip);
    if (kt_join_token_parse(text, &conn->token))
        rc = kt_error_set(error, KT_ERR_TOKEN_INVALID, NULL, "%s",
                          kt_err_text(KT_ERR_TOKEN_INVALID));
    kt_wipe(text, sizeof(text));
    if (rc == 0)
        rc = kts_token_check(call->agent, &conn->token, error);
    if (rc) {
        kt_wipe(&conn->token, sizeof(conn->token));
        return rc;
    }
    call->caller = KTS_CALLER_TOKEN;
    call->token = &conn->token;
    snprintf(call->actor, sizeof(call->actor), "token %s", conn->token.id);
    return 0;
}

static int authorise(struct kts_http_conn *conn, const struct kts_http_head *head,
                     struct kt_error *error)
{
    const struct kts_verb *verb = kts_verb_find(conn->verb);
    struct kts_span header = kts_http_field(head, "authorization");
    int rc = identify(conn, error);

    if ((rc || conn->call.caller == KTS_CALLER_REMOVED) && header.at) {
        rc = kts_verb_check(verb, KTS_CALLER_TOKEN, error);
        return rc ? rc : identify_token(conn, header, error);
    }
    return rc ? rc : kts_verb_check(verb, conn->call.caller, error);
}

static void record_refusal(struct kts_http_conn *conn, int code)
{
    if (!kts_strangers_allow(&conn->https->strangers, kt_monotonic_now()))
        return;
    kt_log(KT_LOG_WARNING, "refused '%s' to '%s': %s", conn->verb, conn->io.peer,
           kt_err_text(code));
    kts_agent_audit(conn->call.agent,
                    json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", "cluster.call", "result",
                              "denied", "reason", kt_err_info(code)->name, "verb", conn->verb,
                              "peer", conn->io.peer));
}

// --- what ---

static int take_verb(struct kts_http_conn *conn, const struct kts_http_head *head,
                     struct kt_error *error)
{
    size_t skip = strlen(PREFIX), n = head->path.len;

    conn->verb[0] = '\0';
    if (n <= skip || n - skip >= sizeof(conn->verb) || memcmp(head->path.at, PREFIX, skip) != 0 ||
        head->query.len)
        return kt_error_set(error, KT_ERR_ROUTE_UNKNOWN, "calls of agents are POST " PREFIX "VERB",
                            "%s", kt_err_text(KT_ERR_ROUTE_UNKNOWN));
    for (size_t i = skip; i < n; i++) {
        char c = head->path.at[i];
        if (!((c >= 'a' && c <= 'z') || c == '.' || c == '_'))
            return kt_error_set(error, KT_ERR_ROUTE_UNKNOWN, NULL, "%s",
                                kt_err_text(KT_ERR_ROUTE_UNKNOWN));
    }
    memcpy(conn->verb, head->path.at + skip, n - skip);
    conn->verb[n - skip] = '\0';
    if (head->method != KTS_POST)
        return kt_error_set(error, KT_ERR_METHOD_NOT_ALLOWED,
                            "calls of agents are POST " PREFIX "VERB", "%s",
                            kt_err_text(KT_ERR_METHOD_NOT_ALLOWED));
    return 0;
}

static int take_length(struct kts_http_conn *conn, const struct kts_http_head *head,
                       struct kt_error *error)
{
    size_t max = conn->call.caller & (KTS_CALLER_TOKEN | KTS_CALLER_REMOVED)
                     ? KTS_HTTPS_STRANGER_MAX
                     : KTS_HTTPS_BODY_MAX;
    struct kts_span type = kts_http_field(head, "content-type");

    if (!head->has_length)
        return kt_error_set(error, KT_ERR_LENGTH_REQUIRED, NULL, "%s",
                            kt_err_text(KT_ERR_LENGTH_REQUIRED));
    if (head->content_length > max)
        return kt_error_set(error, KT_ERR_BODY_TOO_LARGE, NULL,
                            "the request's body is over its bound of %zu bytes", max);
    if (head->content_length && !kts_span_equal_nocase(type, "application/json"))
        return kt_error_set(error, KT_ERR_CONTENT_TYPE, NULL, "%s",
                            kt_err_text(KT_ERR_CONTENT_TYPE));
    conn->body_expected = (size_t)head->content_length;
    return 0;
}

int kts_http_call_head(struct kts_http_conn *conn, const struct kts_http_head *head,
                       struct kt_error *error)
{
    int rc = take_verb(conn, head, error);

    conn->call.answer = answer;
    conn->keep_alive = head->keep_alive;
    if (rc)
        return rc;
    rc = authorise(conn, head, error);
    if (rc == KT_ERR_ROUTE_UNKNOWN)
        return rc;
    if (rc) {
        record_refusal(conn, rc);
        return rc;
    }
    return take_length(conn, head, error);
}

void kts_http_call_body(struct kts_http_conn *conn, const void *body, size_t n)
{
    struct kt_error error = {0};
    json_t *args = NULL;

    conn->is_asked = 1;
    kts_call_begin(&conn->call);
    if (n && kt_json_parse_object(body, n, &args, &error))
        kts_call_fail(&conn->call, &error);
    else
        kts_verb_run(&conn->call, conn->verb, args);
    json_decref(args);
}
