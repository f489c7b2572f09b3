// SPDX-License-Identifier: Apache-2.0
// What this node is and can do now, as load balancers, operators and clients are told.
#include "kts/health.h"

#include "lib/err.h"

#define SECOND_US INT64_C(1000000)
#define DAY_US    (86400 * SECOND_US)

int kts_health_ready(const struct kts_status *status, const struct kts_health *health)
{
    switch ((enum kts_role)atomic_load(&status->role)) {
    case KTS_ROLE_FENCED:
    case KTS_ROLE_REMOVED:
        return KTS_HEALTH_FENCED;
    case KTS_ROLE_UNKNOWN:
        // Without an identity there is no server at all; without a role yet, no database.
        return atomic_load(&status->database_up) ? KTS_HEALTH_NOT_INITIALISED : 503;
    case KTS_ROLE_PASSIVE:
        if (!health->reads)
            return 503;
        if (!health->audits)
            return KTS_HEALTH_AUDIT;
        if (atomic_load(&status->is_silent))
            return 503;
        return atomic_load(&status->is_cut_off) ? KTS_HEALTH_CUT_OFF : KTS_HEALTH_PASSIVE;
    case KTS_ROLE_STANDALONE:
    case KTS_ROLE_ACTIVE:
        if (health->reads && !health->audits)
            return KTS_HEALTH_AUDIT;
        return health->reads && health->writes ? 200 : 503;
    case KTS_ROLE_UNESTABLISHED:
    case KTS_ROLE_COUNT:
        break;
    }
    return 503;
}

static int set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) != 0;
}

// NULL where there is nothing to say: a lag has only who follows, members only who leads.
static int set_replication(json_t *object, struct kts_status *s, int64_t now_us)
{
    uint32_t role = atomic_load(&s->role);
    int64_t last_us = atomic_load(&s->last_commit_us);
    json_t *barrier = last_us ? json_integer((now_us - last_us) / 1000) : json_null();
    int follows = role == KTS_ROLE_PASSIVE, lags = follows || role == KTS_ROLE_FENCED;
    char active[256];

    kts_status_get_text(&s->active_service, active);
    return set(object, "members", json_integer((json_int_t)atomic_load(&s->members))) ||
           set(object, "w", json_integer((json_int_t)atomic_load(&s->w))) ||
           set(object, "active", active[0] ? json_string(active) : json_null()) ||
           set(object, "last_barrier_ms", barrier) ||
           set(object, "lag_bytes",
               follows ? json_integer((json_int_t)atomic_load(&s->lag_bytes)) : json_null()) ||
           set(object, "lag_ms",
               follows ? json_integer(atomic_load(&s->lag_us) / 1000) : json_null()) ||
           set(object, "cut_off", json_boolean(follows && atomic_load(&s->is_cut_off))) ||
           set(object, "silent_s",
               lags ? json_integer(atomic_load(&s->silence_us) / SECOND_US) : json_null()) ||
           set(object, "serves",
               json_boolean(role != KTS_ROLE_REMOVED && !atomic_load(&s->is_silent)));
}

json_t *kts_health_json(struct kts_status *s, const struct kts_health *health, int64_t now_us)
{
    struct kt_incarnation incarnation = {atomic_load(&s->incarnation),
                                         atomic_load(&s->incarnation_bits)};
    uint32_t role = atomic_load(&s->role);
    int64_t not_after_us = atomic_load(&s->server_certificate_not_after_us);
    int64_t made_us = atomic_load(&s->backup_made_us), age_us = now_us - made_us;
    char text[KT_INCARNATION_TEXT];
    json_t *object;

    kt_incarnation_format(&incarnation, text);
    object =
        json_pack("{s:s, s:s, s:I, s:b, s:b, s:b, s:I}", "role", kts_role_name((enum kts_role)role),
                  "incarnation", text, "epoch", (json_int_t)atomic_load(&s->epoch), "database",
                  health->reads, "writer", health->writes, "audit", health->audits, "in_doubt",
                  (json_int_t)kts_status_in_doubt(s));
    if (!object)
        return NULL;
    if (set_replication(object, s, now_us) ||
        set(object, "certificate_days_left",
            not_after_us ? json_integer((not_after_us - now_us) / DAY_US) : json_null()) ||
        set(object, "backup_age_s",
            made_us ? json_integer(age_us > 0 ? age_us / SECOND_US : 0) : json_null()) ||
        (role == KTS_ROLE_STANDALONE &&
         set(object, "copies", json_string("acknowledged means fsynced on this node only")))) {
        json_decref(object);
        return NULL;
    }
    return object;
}
