// SPDX-License-Identifier: Apache-2.0
// GET /v1/health, /v1/health/ready and /v1/health/write: what this node is and can do now.
#include "kts/handlers.h"
#include "kts/request.h"
#include "kts/worker.h"
#include "lib/version.h"

#define DAY_US (86400 * INT64_C(1000000))

// The codes of readiness that load balancers of Key Trustee's successors know.
enum { READY_PASSIVE = 473, READY_NOT_INITIALISED = 501, READY_AUDIT = 507, READY_FENCED = 530 };

static json_t *describe(struct kts_request *request)
{
    const struct kts_worker *worker = request->worker;
    const struct kts_status *s = worker->status;
    struct kt_incarnation incarnation = {atomic_load(&s->incarnation),
                                         atomic_load(&s->incarnation_bits)};
    uint32_t role = atomic_load(&s->role);
    int64_t last_us = atomic_load(&s->last_commit_us), now_us = kt_time_now();
    int64_t not_after_us = atomic_load(&s->server_certificate_not_after_us);
    char text[KT_INCARNATION_TEXT];
    json_t *object;

    kt_incarnation_format(&incarnation, text);
    object = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:b, s:b, s:I, s:s, s:i, s:i}", "role",
                       kts_role_name((enum kts_role)role), "node", worker->start->info->node,
                       "incarnation", text, "epoch", (json_int_t)atomic_load(&s->epoch), "members",
                       (json_int_t)atomic_load(&s->members), "w", (json_int_t)atomic_load(&s->w),
                       "database", kts_database_is_open(worker->database), "writer",
                       kts_writer_check(worker) == 0, "audit",
                       atomic_load(&s->audit_open) && kts_ask_is_open(worker->audit), "in_doubt",
                       (json_int_t)atomic_load(&s->in_doubt), "version", KT_VERSION, "protocol",
                       KT_PROTOCOL_VERSION, "schema", KT_SCHEMA_VERSION);
    if (!object)
        return NULL;
    json_object_set_new(object, "last_commit_ms",
                        last_us ? json_integer((now_us - last_us) / 1000) : json_null());
    json_object_set_new(object, "certificate_days_left",
                        not_after_us ? json_integer((not_after_us - now_us) / DAY_US)
                                     : json_null());
    if (role == KTS_ROLE_STANDALONE)
        json_object_set_new(object, "copies",
                            json_string("acknowledged means fsynced on this node only"));
    return object;
}

int kts_h_health(struct kts_request *request)
{
    return kts_respond_json(request, 200, describe(request));
}

static int ready_status(const struct kts_worker *worker)
{
    const struct kts_status *s = worker->status;
    int serves = kts_database_is_open(worker->database);
    int audit = atomic_load(&s->audit_open) && kts_ask_is_open(worker->audit);

    switch ((enum kts_role)atomic_load(&s->role)) {
    case KTS_ROLE_FENCED:
        return READY_FENCED;
    case KTS_ROLE_UNKNOWN:
        // Without an identity there is no server at all; without a role yet, no database.
        return atomic_load(&s->database_up) ? READY_NOT_INITIALISED : 503;
    case KTS_ROLE_PASSIVE:
        return !serves ? 503 : audit ? READY_PASSIVE : READY_AUDIT;
    case KTS_ROLE_STANDALONE:
    case KTS_ROLE_ACTIVE:
        if (serves && !audit)
            return READY_AUDIT;
        return serves && kts_writer_check(worker) == 0 ? 200 : 503;
    case KTS_ROLE_UNESTABLISHED:
        break;
    }
    return 503;
}

int kts_h_health_ready(struct kts_request *request)
{
    return kts_respond_json(request, ready_status(request->worker), describe(request));
}

static int write_checked(struct kts_request *request, int code)
{
    if (code)
        return kt_err_info(code)->http == 503 ? code : KT_ERR_NO_QUORUM;
    request->fresh = 1;
    return kts_respond_json(request, 200, describe(request));
}

// A probe that only looks at settings would stay green while writes are wedged.
int kts_h_health_write(struct kts_request *request)
{
    return kts_barrier(request, write_checked);
}
