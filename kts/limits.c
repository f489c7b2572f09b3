// SPDX-License-Identifier: Apache-2.0
// Which refusal counts against whom.
#include "kts/limits.h"

#include <string.h>

#include "kts/conn.h"
#include "kts/request.h"
#include "kts/worker.h"

#define MINUTE_US        INT64_C(60000000)
#define HANDSHAKES_BURST 20 // seconds' worth at once: all hosts of a site that had no power

static struct kts_rate failures(const struct kts_worker *worker)
{
    return (struct kts_rate){kt_settings_number(worker->settings, KT_SET_LIMIT_FAILURES),
                             MINUTE_US};
}

int kts_limits_handshake(struct kts_worker *worker, const uint8_t address[KTS_ADDRESS_LEN])
{
    int64_t rate = kt_settings_number(worker->settings, KT_SET_LIMIT_ADDRESS_HANDSHAKES);
    const struct kts_rate limit = {rate * HANDSHAKES_BURST, HANDSHAKES_BURST * INT64_C(1000000)};
    struct kts_meter *meter = worker->start->meter;
    uint64_t key = kts_meter_key(meter, KTS_METER_HANDSHAKES, address, KTS_ADDRESS_LEN);

    return kts_meter_take(meter, key, limit, kt_monotonic_now()) == 0;
}

static int too_many(struct kts_request *request, int64_t wait_us, const char *what)
{
    request->retry_after_s = (uint32_t)((wait_us + 999999) / 1000000);
    request->keep_alive = 0;
    atomic_fetch_add_explicit(&request->worker->status->limited, 1, memory_order_relaxed);
    return kts_fail(request, KT_ERR_TOO_MANY_REQUESTS, "%s", what);
}

static int check(struct kts_request *request, uint64_t key, const char *what)
{
    struct kts_worker *worker = request->worker;
    int64_t wait_us =
        key ? kts_meter_wait(worker->start->meter, key, failures(worker), kt_monotonic_now()) : 0;

    return wait_us > 0 ? too_many(request, wait_us, what) : 0;
}

static uint64_t address_key(const struct kts_request *request, enum kts_meter_kind kind)
{
    return kts_meter_key(request->worker->start->meter, kind, kts_conn_address(request->conn),
                         KTS_ADDRESS_LEN);
}

static uint64_t certificate_key(const struct kts_request *request, enum kts_meter_kind kind)
{
    return kts_meter_key(request->worker->start->meter, kind, request->certificate, KT_SHA256_LEN);
}

int kts_limits_check_code(struct kts_request *request, const char *code_id)
{
    int rc = check(request, address_key(request, KTS_METER_CODES),
                   "too many wrong auth codes from this address");

    request->code_key =
        kts_meter_key(request->worker->start->meter, KTS_METER_CODE, code_id, strlen(code_id));
    return rc ? rc : check(request, request->code_key, "too many failures with this auth code");
}

int kts_limits_check_certificate(struct kts_request *request)
{
    return check(request, certificate_key(request, KTS_METER_CERTIFICATE),
                 "too many refused requests with this certificate");
}

// What the refusal counts as; at most two keys, 0 where there is none.
static const char *keys_of(const struct kts_request *request, int reason, uint64_t keys[2])
{
    switch (reason) {
    case KT_ERR_AUTH_CODE_INVALID:
    case KT_ERR_AUTH_CODE_EXPIRED:
    case KT_ERR_AUTH_CODE_USED_UP:
        keys[0] = address_key(request, KTS_METER_CODES);
        keys[1] = request->code_key;
        return "too many wrong auth codes";
    case KT_ERR_CERTIFICATE_UNKNOWN_CA:
        keys[0] = address_key(request, KTS_METER_CERTIFICATES);
        return "too many foreign certificates from this address";
    case KT_ERR_CERTIFICATE_EXPIRED:
    case KT_ERR_CERTIFICATE_REVOKED:
    case KT_ERR_CERTIFICATE_UNKNOWN:
    case KT_ERR_CLIENT_REVOKED:
    case KT_ERR_ORGANISATION_DISABLED:
        keys[0] = certificate_key(request, KTS_METER_CERTIFICATE);
        return "too many refused requests with this certificate";
    default:
        break;
    }
    if (!request->malformed)
        return NULL;
    keys[0] = request->certificate_error == 0 ? certificate_key(request, KTS_METER_MALFORMED)
                                              : address_key(request, KTS_METER_MALFORMED);
    return "too many malformed requests";
}

int kts_limits_refused(struct kts_request *request, int code, int reason)
{
    struct kts_worker *worker = request->worker;
    int64_t now_us = kt_monotonic_now();
    uint64_t keys[2] = {0, 0};
    const char *what = keys_of(request, reason, keys);
    int rc = 0;

    for (size_t i = 0; what && i < 2; i++) {
        int over = check(request, keys[i], what);

        if (over)
            rc = over;
        else if (keys[i])
            kts_meter_charge(worker->start->meter, keys[i], failures(worker), now_us);
    }
    return rc ? rc : code;
}
