// SPDX-License-Identifier: Apache-2.0
// Composes answers: head and body in one buffer.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/conn.h"
#include "kts/dispatch.h"
#include "kts/worker.h"
#include "lib/json.h"
#include "lib/log.h"

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } PHRASES[] = {
        {200, "OK"},
        {201, "Created"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {473, "Passive"},
        {474, "Passive Cut Off"},
        {500, "Internal Server Error"},
        {501, "Not Initialised"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {530, "Fenced"},
    };

    for (size_t i = 0; i < sizeof(PHRASES) / sizeof(PHRASES[0]); i++) {
        if (PHRASES[i].status == status)
            return PHRASES[i].phrase;
    }
    return "Unknown";
}

// IMF-fixdate (RFC 9110 section 5.6.7), made once a second. Not by gmtime: the C library would look
// for the time zone's file, which a worker may not open.
static const char *date_text(void)
{
    static const char DAYS[] = "ThuFriSatSunMonTueWed"; // 1970 began on a Thursday
    static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static char text[64];
    static int64_t made_s;
    int64_t now_us = kt_time_now(), now_s = now_us / 1000000;
    char iso[KT_TIME_TEXT]; // YYYY-MM-DDTHH:MM:SS.ffffffZ
    unsigned month;

    if (now_s == made_s && text[0])
        return text;
    kt_time_format(now_us, iso);
    month = (unsigned)(iso[5] - '0') * 10 + (unsigned)(iso[6] - '0') - 1;
    snprintf(text, sizeof(text), "%.3s, %.2s %.3s %.4s %.8s GMT", DAYS + now_s / 86400 % 7 * 3,
             iso + 8, MONTHS + month % 12 * 3, iso, iso + 11);
    made_s = now_s;
    return text;
}

// Host names, addresses and ports only: what another node said about itself must not end the line.
static int is_plain(const char *text)
{
    static const char ALLOWED[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789.:-_[]%";

    return text[0] && text[strspn(text, ALLOWED)] == '\0';
}

void kts_active_field(struct kts_status *status, char out[KTS_ACTIVE_FIELD])
{
    char text[256];

    kts_status_get_text(&status->active_service, text);
    out[0] = '\0';
    if (is_plain(text))
        snprintf(out, KTS_ACTIVE_FIELD, "KT-Active: %s\r\n", text);
}

static int compose(struct kts_request *request, int status, const char *content_type,
                   const char *headers, uint64_t length, const void *body, size_t n)
{
    struct kts_worker *worker = request->worker;
    struct kts_status *shared = worker->status;
    struct kt_buf *out = kts_conn_out(request->conn);
    struct kt_incarnation incarnation = {atomic_load(&shared->incarnation),
                                         atomic_load(&shared->incarnation_bits)};
    char incarnation_text[KT_INCARNATION_TEXT];
    int closes = !request->keep_alive || request->body_unread || worker->stopping;
    int rc;

    kt_incarnation_format(&incarnation, incarnation_text);
    kt_buf_reset(out);
    rc = kt_buf_putf(out,
                     "HTTP/1.1 %d %s\r\nServer: keytrustee\r\nDate: %s\r\n"
                     "Cache-Control: no-store\r\nKT-Request-Id: %s\r\nKT-Incarnation: %s\r\n"
                     "KT-Epoch: %llu\r\nKT-Freshness: %s\r\nKT-Cluster-Key: %s\r\n"
                     "%sContent-Type: %s\r\n"
                     "Content-Length: %llu\r\n%s%s\r\n",
                     status, reason_phrase(status), date_text(), request->id, incarnation_text,
                     (unsigned long long)atomic_load(&shared->epoch),
                     request->fresh ? "barrier" : "local", worker->start->info->openpgp_fingerprint,
                     worker->ca_field, content_type, (unsigned long long)length,
                     closes ? "Connection: close\r\n" : "", headers ? headers : "");
    if (rc == 0 && request->method != KTS_HEAD)
        rc = kt_buf_put(out, body, n);
    if (rc)
        kt_buf_reset(out);
    else if (closes)
        kts_conn_close_after(request->conn);
    return rc;
}

int kts_respond(struct kts_request *request, int status, const char *content_type,
                const char *headers, const void *body, size_t n)
{
    int rc = compose(request, status, content_type, headers, n, body, n);

    if (rc == 0)
        kts_dispatch_answered(request);
    return rc;
}

int kts_respond_head(struct kts_request *request, const char *content_type, const char *headers,
                     uint64_t length)
{
    int rc = compose(request, 200, content_type, headers, length, NULL, 0);

    if (rc == 0)
        kts_dispatch_answered(request);
    return rc;
}

int kts_respond_json(struct kts_request *request, int status, json_t *object)
{
    char *text = object ? kt_json_text(object) : NULL;
    int rc = KT_ERR_NO_MEMORY;

    json_decref(object);
    if (text)
        rc = kts_respond(request, status, "application/json", NULL, text, strlen(text));
    free(text);
    return rc;
}

// The methods of the path, for 405 (RFC 9110 section 15.5.6).
static void put_allow(char *out, size_t size, unsigned allow)
{
    static const enum kts_method ALL[] = {KTS_GET, KTS_HEAD, KTS_PUT, KTS_POST, KTS_DELETE};
    size_t used = (size_t)snprintf(out, size, "Allow: ");
    const char *comma = "";

    for (size_t i = 0; i < sizeof(ALL) / sizeof(ALL[0]); i++) {
        if (!(allow & (unsigned)ALL[i]))
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s", comma, kts_method_name(ALL[i]));
        comma = ", ";
    }
    snprintf(out + used, size - used, "\r\n");
}

// The request that trustees vote on.
static void put_request(char *out, size_t size, const struct kt_uuid *uuid)
{
    char id[KT_UUID_TEXT];

    kt_uuid_format(uuid, id);
    snprintf(out, size, "KT-Request: %s\r\n", id);
}

void kts_compose_error(struct kts_request *request, const struct kt_error *error)
{
    const struct kt_err_info *info = kt_err_info(error->code);
    char headers[640] = "", allow[64] = "", active[KTS_ACTIVE_FIELD] = "", waits[64] = "";
    char retry[32] = "";
    json_t *object;
    char *text;

    if (info->http == 0) { // a code that clients have no use for: the log says which
        kt_log_code(KT_LOG_ERROR, error->code, "request %s from '%s' failed%s%s", request->id,
                    kts_conn_peer(request->conn), error->message[0] ? ": " : "", error->message);
        info = kt_err_info(KT_ERR_INTERNAL);
        error = &(const struct kt_error){.code = KT_ERR_INTERNAL};
    }
    if (error->code == KT_ERR_METHOD_NOT_ALLOWED)
        put_allow(allow, sizeof(allow), request->match.allow);
    if (info->http == 503) // not here, or not now
        kts_active_field(request->worker->status, active);
    if (error->code == KT_ERR_VOTES_REQUIRED)
        put_request(waits, sizeof(waits), &request->release_request);
    if (info->http == 429) // RFC 6585 section 4
        snprintf(retry, sizeof(retry), "Retry-After: %u\r\n",
                 request->retry_after_s ? request->retry_after_s : 1);
    snprintf(headers, sizeof(headers), "KT-Error: %s\r\n%s%s%s%s", info->name, allow, active, waits,
             retry);
    object = json_pack("{s:{s:s, s:s, s:s, s:s}}", "error", "code", info->name, "message",
                       error->message[0] ? error->message : info->text, "hint",
                       error->hint[0] ? error->hint
                       : info->hint   ? info->hint
                                      : "",
                       "request_id", request->id);
    text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    if (!text ||
        compose(request, info->http, "application/json", headers, strlen(text), text, strlen(text)))
        kts_conn_close_after(request->conn); // nothing to send: the connection is closed at once
    free(text);
}
