// SPDX-License-Identifier: Apache-2.0
// The checks that stand before every handler: the columns of the route table, applied to a head.
#include "kts/dispatch.h"

#include <stdlib.h>
#include <string.h>

#include "kts/ciphertext.h"
#include "kts/conn.h"
#include "kts/gate.h"
#include "kts/limits.h"
#include "kts/request_inner.h"
#include "kts/worker.h"

#define STRANGERS_SHARE 8 // one part in so many of limits.bodies

int kts_is_stranger(const struct kts_request *request)
{
    return request->certificate_error != 0;
}

struct kts_request *kts_request_new(struct kts_conn *conn, struct kts_worker *worker)
{
    struct kts_request *request = calloc(1, sizeof(*request));
    uint8_t id[(KT_REQUEST_ID_TEXT - 1) / 2];

    if (!request || kt_random(id, sizeof(id))) {
        free(request);
        return NULL;
    }
    kt_hex_encode(id, sizeof(id), request->id);
    request->worker = worker;
    request->conn = conn;
    request->certificate_error = KT_ERR_CERTIFICATE_MISSING;
    request->share.lane = KTS_LANE_NONE;
    atomic_fetch_add_explicit(&worker->status->requests, 1, memory_order_relaxed);
    return request;
}

void kts_request_free(struct kts_request *request)
{
    if (!request)
        return;
    db_read_forget(request->read);
    kts_ask_forget(&request->question);
    kts_barrier_forget(&request->waiter);
    kts_record_forget(&request->record);
    kts_share_end(request);
    request->worker->body_bytes -= request->body_reserved;
    if (kts_is_stranger(request))
        request->worker->stranger_bytes -= request->body_reserved;
    free(request->query);
    free(request->policy);
    free(request->justification);
    free(request);
}

static int copy_field(const struct kts_http_head *head, const char *name, char *out, size_t size)
{
    struct kts_span value = kts_http_field(head, name);

    if (value.len >= size)
        return KT_ERR_BAD_REQUEST;
    if (value.len > 0)
        memcpy(out, value.at, value.len);
    out[value.len] = '\0';
    return 0;
}

static int find_route(struct kts_request *request, const struct kts_http_head *head)
{
    int rc = kts_route_find(head->method, head->path, &request->match);

    if (rc)
        return rc;
    if (kts_query_only(head->query, request->match.route->query))
        return kts_fail(request, KT_ERR_BAD_REQUEST, "malformed or unknown query parameter");
    if (head->query.len == 0)
        return 0;
    request->query = strndup(head->query.at, head->query.len);
    return request->query ? 0 : KT_ERR_NO_MEMORY;
}

// Who may call. Whether the client is in good standing, and has the right, is in the rows: for
// reads kts_access_check says so, for changes the writer.
static int check_caller(struct kts_request *request)
{
    switch (request->match.route->caller) {
    case KTS_ANYONE:
    case KTS_AUTH_CODE:
        return 0;
    case KTS_CLIENT:
    case KTS_CLIENT_PENDING_OK:
    case KTS_OPERATOR:
        break;
    }
    request->certificate_error = kts_conn_certificate(request->conn, request->certificate);
    return request->certificate_error ? request->certificate_error
                                      : kts_limits_check_certificate(request);
}

// A node that was removed, or is out of touch, answers nobody but who asks how it is.
static int check_served(struct kts_request *request)
{
    enum kts_caller caller = request->match.route->caller;
    int rc = caller == KTS_ANYONE || caller == KTS_OPERATOR
                 ? 0
                 : kts_gate_serves(request->worker->status);

    return rc == KT_ERR_FENCED ? kts_fail(request, rc, "this node was removed from the cluster")
                               : rc;
}

// "application/json", with or without parameters.
static int is_json(struct kts_span type)
{
    const char *semicolon;

    if (!type.at)
        return 0;
    semicolon = memchr(type.at, ';', type.len);
    if (semicolon)
        type.len = (size_t)(semicolon - type.at);
    while (type.len > 0 && (type.at[type.len - 1] == ' ' || type.at[type.len - 1] == '\t'))
        type.len--;
    return kts_span_equal_nocase(type, "application/json");
}

static int check_type(struct kts_request *request, const struct kts_http_head *head)
{
    const char *type;
    char text[sizeof(request->content_type)];

    switch (request->match.route->accepts) {
    case KTS_ACCEPTS_NOTHING:
        return 0;
    case KTS_ACCEPTS_JSON:
        return is_json(kts_http_field(head, "content-type")) ? 0 : KT_ERR_CONTENT_TYPE;
    case KTS_ACCEPTS_CIPHERTEXT:
        break;
    }
    if (copy_field(head, "content-type", text, sizeof(text)))
        return KT_ERR_CONTENT_TYPE;
    type = kts_ciphertext_type(text);
    if (!type)
        return KT_ERR_CONTENT_TYPE;
    strncpy(request->content_type, type, sizeof(request->content_type) - 1);
    return 0;
}

static int check_body(struct kts_request *request, const struct kts_http_head *head)
{
    const struct kts_route *route = request->match.route;
    size_t max = route->body_max;

    if (max == KTS_BODY_SETTING)
        max = (size_t)kt_settings_number(request->worker->settings, KT_SET_LIMIT_BODY);
    if (max == 0 && head->content_length > 0)
        return kts_fail(request, KT_ERR_BODY_TOO_LARGE, "this call takes no body");
    if (max > 0 && !head->has_length)
        return KT_ERR_LENGTH_REQUIRED;
    if (head->content_length > max)
        return kts_fail(request, KT_ERR_BODY_TOO_LARGE, "the body is over its bound of %zu bytes",
                        max);
    return check_type(request, head);
}

// The memory that all bodies together may take is bounded too; strangers have a small share of it,
// so that they cannot keep the clients out.
static int reserve_body(struct kts_request *request, const struct kts_http_head *head)
{
    struct kts_worker *worker = request->worker;
    size_t max = (size_t)kt_settings_number(worker->settings, KT_SET_LIMIT_BODIES);
    size_t n = (size_t)head->content_length;
    int stranger = kts_is_stranger(request);

    if (n > 0 && (worker->body_bytes + n > max ||
                  (stranger && worker->stranger_bytes + n > max / STRANGERS_SHARE)))
        return kts_fail(request, KT_ERR_TOO_MANY_CONNECTIONS, "too many bodies are under way");
    request->body_reserved = n;
    worker->body_bytes += n;
    if (stranger)
        worker->stranger_bytes += n;
    return 0;
}

static int check_freshness(struct kts_request *request, const struct kts_http_head *head)
{
    struct kts_span value = kts_http_field(head, "kt-freshness");

    if (!value.at || kts_span_equal(value, "local"))
        return 0;
    if (!kts_span_equal(value, "barrier"))
        return kts_fail(request, KT_ERR_BAD_REQUEST, "KT-Freshness is neither local nor barrier");
    request->barrier = request->match.route->freshness;
    return 0;
}

static int check_head(struct kts_request *request, const struct kts_http_head *head)
{
    const struct kts_route *route;
    int rc = find_route(request, head);

    if (rc == 0)
        rc = check_caller(request);
    if (rc == 0)
        rc = check_served(request);
    if (rc == 0)
        rc = check_body(request, head);
    if (rc == 0)
        rc = kts_share_begin(request);
    if (rc == 0)
        rc = reserve_body(request, head);
    if (rc == 0)
        rc = check_freshness(request, head);
    if (rc == 0 &&
        (copy_field(head, "kt-deposit-id", request->deposit_id, sizeof(request->deposit_id)) ||
         copy_field(head, "kt-sha256", request->sha256, sizeof(request->sha256)) ||
         copy_field(head, "kt-key-group", request->key_group, sizeof(request->key_group)) ||
         copy_field(head, "kt-bypass-governance", request->bypass, sizeof(request->bypass))))
        rc = kts_fail(request, KT_ERR_BAD_REQUEST,
                      "malformed KT-Deposit-Id, KT-SHA256, KT-Key-Group or KT-Bypass-Governance");
    if (rc == 0)
        rc = kts_release_take_head(request, head);
    if (rc)
        return rc;
    route = request->match.route;
    // Before the body is sent: a change that cannot be taken is refused at once.
    return route->class == KTS_CHANGE ? kts_writer_check(request->worker) : 0;
}

int kts_dispatch_head(struct kts_request *request, const struct kts_http_head *head)
{
    int rc;

    request->method = head->method;
    request->keep_alive = head->keep_alive;
    request->body_expected = head->content_length;
    request->body_unread = head->content_length > 0;
    rc = check_head(request, head);
    if (rc)
        kts_request_refuse(request, rc, rc);
    return rc == 0;
}

static int start(struct kts_request *request, int barrier_code)
{
    if (barrier_code == KT_ERR_PASSIVE || barrier_code == KT_ERR_FENCED)
        return barrier_code;
    if (barrier_code)
        return kts_fail(request, KT_ERR_NO_QUORUM, "no barrier: %s", kt_err_text(barrier_code));
    request->fresh = request->barrier;
    return request->match.route->start(request);
}

void kts_dispatch_body(struct kts_request *request, const uint8_t *body, size_t n)
{
    int rc;

    request->body = body;
    request->body_len = n;
    request->body_unread = 0;
    if (request->barrier)
        rc = kts_barrier(request, start);
    else
        rc = start(request, 0);
    if (rc)
        kts_request_refuse(request, rc, rc);
    // No touch of `request` from here on when it has been answered: it may be gone.
}

void kts_dispatch_no_turn(struct kts_request *request)
{
    int rc =
        kts_fail(request, KT_ERR_TOO_MANY_REQUESTS, "the request has waited too long for its turn");

    kts_request_refuse(request, rc, rc);
}

void kts_dispatch_refuse(struct kts_request *request, const struct kt_error *error)
{
    request->error = *error;
    request->keep_alive = 0;
    // Before the head is known nobody has asked who this is.
    if (!request->match.route)
        request->certificate_error = kts_conn_certificate(request->conn, request->certificate);
    request->malformed = 1;
    kts_request_refuse(request, error->code, error->code);
}
