// SPDX-License-Identifier: Apache-2.0
// What a request waits for (barrier, read, change, audit record), and the checks behind each.
#include "kts/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kts/conn.h"
#include "kts/limits.h"
#include "kts/request_inner.h"
#include "kts/worker.h"
#include "lib/log.h"

int kts_fail(struct kts_request *request, int code, const char *fmt, ...)
{
    char text[sizeof(request->error.message)];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return kt_error_set(&request->error, code, NULL, "%s", text);
}

static void enter(struct kts_request *request, enum kts_phase phase, enum kt_setting timeout)
{
    request->phase = phase;
    kts_conn_deadline(request->conn, kt_settings_number(request->worker->settings, timeout));
}

// --- answers ---

static void deliver(struct kts_request *request)
{
    request->phase = KTS_PHASE_DONE;
    kts_share_end(request);
    kts_conn_send(request->conn); // frees the request, now or later
}

// Decisions about a caller are recorded before they are told; faults of form, and what this server
// cannot do now, are not decisions. What nobody with a certificate asked for would only fill the
// disk.
static int needs_record(const struct kts_request *request)
{
    const struct kts_route *route = request->match.route;
    int http = request->refusal ? kt_err_info(request->refusal)->http : 200;
    int is_decision = http == 401 || http == 403 || http == 404 || http == 409 || http == 422;

    if (!route || request->recorded_by_writer)
        return 0;
    if (route->caller == KTS_ANYONE || request->refusal == KT_ERR_CERTIFICATE_MISSING)
        return 0;
    if (route->caller == KTS_AUTH_CODE)
        return http == 403;
    return request->refusal ? is_decision : route->audited;
}

static int is_recorded(struct kts_request *request)
{
    if (!needs_record(request))
        return 0;
    return !kts_is_stranger(request) ||
           kts_strangers_allow(&request->worker->strangers, kt_monotonic_now());
}

void kts_dispatch_answered(struct kts_request *request)
{
    if (!is_recorded(request)) {
        deliver(request);
        return;
    }
    enter(request, KTS_PHASE_AUDIT, KT_SET_TIMEOUT_WRITE);
    kts_record_begin(request);
}

void kts_record_done(struct kts_request *request, int code)
{
    // The held answer is wiped: nothing of it may leave without its record.
    if (code)
        kts_compose_error(request, &(const struct kt_error){.code = code});
    else if (request->refusal == 0 && request->match.route->right &&
             strcmp(request->match.route->right, "retrieve") == 0)
        atomic_fetch_add_explicit(&request->worker->status->retrievals, 1, memory_order_relaxed);
    deliver(request);
}

void kts_request_refuse(struct kts_request *request, int code, int reason)
{
    struct kt_error error = {.code = 0};

    code = kts_limits_refused(request, code, reason);
    error.code = code;
    if (request->error.code == code)
        error = request->error;
    request->refusal = reason;
    kt_log(KT_LOG_DEBUG, "request %s from '%s' refused: %s", request->id,
           kts_conn_peer(request->conn), kt_err_info(reason)->name);
    kts_compose_error(request, &error);
    kts_dispatch_answered(request);
}

static void conclude(struct kts_request *request, int rc)
{
    if (rc)
        kts_request_refuse(request, rc, rc);
}

void kts_dispatch_timeout(struct kts_request *request)
{
    int code = KT_ERR_INTERNAL;

    switch (request->phase) {
    case KTS_PHASE_BARRIER:
        kts_barrier_forget(&request->waiter);
        code = KT_ERR_NO_QUORUM;
        break;
    case KTS_PHASE_READ:
        // It cannot be cancelled from here (that takes a connection); its late answer is dropped.
        db_read_forget(request->read);
        request->read = NULL;
        code = KT_ERR_DATABASE_TIMEOUT;
        break;
    case KTS_PHASE_CHANGE:
        kts_ask_forget(&request->question);
        code = KT_ERR_IN_DOUBT;
        break;
    case KTS_PHASE_AUDIT:
        kts_record_forget(&request->record);
        kts_record_done(request, KT_ERR_AUDIT_UNAVAILABLE);
        return;
    case KTS_PHASE_NONE:
    case KTS_PHASE_DONE:
        break;
    }
    kts_request_refuse(request, code, code);
}

// --- barrier ---

static void on_barrier(void *arg, int code)
{
    struct kts_request *request = arg;

    request->phase = KTS_PHASE_NONE;
    conclude(request, request->passed(request, code));
}

int kts_barrier(struct kts_request *request, kts_barrier_passed passed)
{
    int rc = kts_writer_check(request->worker);

    if (rc)
        return passed(request, rc);
    enter(request, KTS_PHASE_BARRIER, KT_SET_TIMEOUT_WRITE);
    request->passed = passed;
    kts_barrier_wait(request->worker, &request->waiter, on_barrier, request);
    return 0;
}

// --- read ---

static int is_one_deposit(const struct kts_route *route)
{
    return strstr(route->pattern, "{handle}") || strstr(route->pattern, "{uuid}");
}

static void on_read(void *arg, int code, const struct db_answer *answer)
{
    struct kts_request *request = arg;
    const struct kts_route *route = request->match.route;
    int one_deposit = is_one_deposit(route);
    int reason = 0;

    request->read = NULL;
    request->phase = KTS_PHASE_NONE;
    if (code) {
        conclude(request, code);
        return;
    }
    request->who_known = answer->known;
    request->who = answer->who;
    if (one_deposit && answer->count > 0) {
        request->deposit = answer->deposits[0].deposit_id;
        request->version = answer->deposits[0].receipt.leaf.version;
    }
    code = kts_access_check(route, one_deposit, answer, kt_time_now(), &reason);
    if (code)
        kts_request_refuse(request, code, reason);
    else
        conclude(request, request->read_done(request, answer));
}

static int is_long(enum kts_query_kind kind)
{
    return kind == KTS_READ_LIST || kind == KTS_READ_REQUESTS || kind == KTS_READ_LOG_INCLUSION ||
           kind == KTS_READ_LOG_CONSISTENCY;
}

static int begin_read(struct kts_request *request, const struct kts_query *query)
{
    struct kts_database *database = request->worker->database;
    struct db_reader *reader =
        kts_database_reader(database, is_long(query->kind) ? KTS_DB_LONG : KTS_DB_SHORT);
    const struct kts_match *match = &request->match;
    const char *right = match->route->right;
    const uint8_t *who = request->certificate;
    struct db_read **read = &request->read;

    if (!reader)
        return KT_ERR_DATABASE_UNAVAILABLE;
    switch (query->kind) {
    case KTS_READ_DEPOSIT:
        return db_read_deposit(reader, who, right, match->handle, query->version,
                               request->justification != NULL, on_read, request, read);
    case KTS_READ_HEAD:
        return db_read_head(reader, who, right, match->handle, query->version, on_read, request,
                            read);
    case KTS_READ_BY_ID:
        return db_read_deposit_by_id(reader, who, right, &match->uuid,
                                     request->justification != NULL, on_read, request, read);
    case KTS_READ_RELEASED:
        return db_read_released(reader, who, right, &request->deposit, &request->retrieval_id,
                                on_read, request, read);
    case KTS_READ_RECEIPT:
        return db_read_receipt(reader, who, right, match->handle, query->version, on_read, request,
                               read);
    case KTS_READ_LIST:
        return db_read_list(reader, who, right, query->prefix, query->after, query->limit, on_read,
                            request, read);
    case KTS_READ_SELF:
        return db_read_self(reader, who, on_read, request, read);
    case KTS_READ_OPENPGP:
        return db_read_openpgp(reader, who, match->fingerprint, on_read, request, read);
    case KTS_READ_OPERATOR:
        return db_read_operator(reader, who, on_read, request, read);
    case KTS_READ_INCARNATIONS:
        return db_read_incarnations(reader, on_read, request, read);
    case KTS_READ_CLUSTER_KEYS:
        return db_read_cluster_keys(reader, on_read, request, read);
    case KTS_READ_REQUESTS:
        return db_read_requests(reader, who, query->state, &query->behind, query->limit, on_read,
                                request, read);
    case KTS_READ_LOG_HEAD:
        return db_read_log_head(reader, who, on_read, request, read);
    case KTS_READ_LOG_INCLUSION:
        return db_read_log_inclusion(reader, who, query->first, query->second, on_read, request,
                                     read);
    case KTS_READ_LOG_CONSISTENCY:
        return db_read_log_consistency(reader, who, query->first, query->second, on_read, request,
                                       read);
    }
    return KT_ERR_INTERNAL;
}

int kts_read(struct kts_request *request, const struct kts_query *query, kts_read_done done)
{
    int rc;

    request->read_done = done;
    rc = begin_read(request, query);
    if (rc)
        return rc;
    enter(request, KTS_PHASE_READ, KT_SET_TIMEOUT_READ);
    kts_worker_put_off(request->worker);
    return 0;
}

// --- change ---

static void on_outcome(void *arg, int code, struct kt_buf *payload)
{
    struct kts_request *request = arg;
    struct kt_outcome outcome = {0};

    request->phase = KTS_PHASE_NONE;
    // Without the writer's word nobody knows: asking again with the same ids is safe.
    if (code || kt_outcome_decode(payload, &outcome)) {
        conclude(request, KT_ERR_IN_DOUBT);
        return;
    }
    if (outcome.code == 0)
        code = request->change_done(request, &outcome);
    else if (outcome.message[0])
        code = kts_fail(request, outcome.code, "%s", outcome.message);
    else
        code = outcome.code;
    kt_outcome_free(&outcome);
    conclude(request, code);
}

// In the writer's queue it takes the turn that it has here.
static void put_shares(struct kts_request *request, struct kt_change *change)
{
    const struct kts_caller_keys *keys = kts_conn_keys(request->conn);
    int known = request->certificate_error == 0;

    change->organisation_share = known ? keys->organisation : KT_SHARE_STRANGERS;
    change->client_share = known ? keys->client : keys->address;
}

int kts_change(struct kts_request *request, struct kt_change *change, kts_change_done done)
{
    struct kts_worker *worker = request->worker;
    struct kt_buf out = KT_BUF_INIT(KTS_MESSAGE_MAX);
    int rc = kts_writer_check(worker);

    memcpy(change->request_id, request->id, sizeof(change->request_id));
    snprintf(change->peer, sizeof(change->peer), "%s", kts_conn_peer(request->conn));
    memcpy(change->certificate_sha256, request->certificate, KT_SHA256_LEN);
    put_shares(request, change);
    if (rc == 0)
        rc = kt_change_encode(change, &out);
    if (rc == 0 && kts_ask_send(worker->writer, KTS_MSG_CHANGE, kt_buf_ptr(&out), kt_buf_left(&out),
                                &request->question, on_outcome, request))
        rc = KT_ERR_WRITER_UNAVAILABLE;
    kt_buf_free(&out);
    if (rc)
        return rc;
    request->recorded_by_writer = 1;
    request->change_done = done;
    kts_share_move(request);
    enter(request, KTS_PHASE_CHANGE, KT_SET_TIMEOUT_WRITE);
    return 0;
}

// --- query ---

int kts_request_query(struct kts_request *request, const char *name, char *out, size_t size)
{
    struct kts_span query = {request->query, request->query ? strlen(request->query) : 0};
    int rc = kts_query_value(query, name, out, size);

    if (rc == KT_ERR_NOT_FOUND) {
        out[0] = '\0';
        return 0;
    }
    return rc ? kts_fail(request, KT_ERR_BAD_REQUEST, "malformed query parameter '%s'", name) : 0;
}

int kts_request_number(struct kts_request *request, const char *name, uint32_t max,
                       uint32_t *number)
{
    struct kts_span query = {request->query, request->query ? strlen(request->query) : 0};
    char text[16];
    uint64_t value = 0;
    int rc = kts_query_value(query, name, text, sizeof(text));

    if (rc == KT_ERR_NOT_FOUND)
        return 0;
    if (rc || kt_u64_parse(text, 1, max, &value))
        return kts_fail(request, KT_ERR_BAD_REQUEST, "%s is not a number from 1 to %u", name, max);
    *number = (uint32_t)value;
    return 0;
}

// More than the bound is not an error: the page is shorter.
int kts_request_limit(struct kts_request *request, uint32_t *limit)
{
    uint32_t max = (uint32_t)kt_settings_number(request->worker->settings, KT_SET_LIMIT_LIST);
    uint32_t asked;
    int rc;

    if (max > DB_LIST_MAX)
        max = DB_LIST_MAX;
    asked = max;
    rc = kts_request_number(request, "limit", INT32_MAX, &asked);
    *limit = asked < max ? asked : max;
    return rc;
}

int kts_request_version(struct kts_request *request, uint32_t *version)
{
    *version = 0;
    return kts_request_number(request, "version", INT32_MAX, version);
}
