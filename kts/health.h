// SPDX-License-Identifier: Apache-2.0
// What this node is and can do now, as load balancers, operators and clients are told.
#ifndef KTS_HEALTH_H
#define KTS_HEALTH_H

#include <jansson.h>

#include "kts/status.h"

// Statuses of readiness beside 200 and 503.
enum {
    KTS_HEALTH_PASSIVE = 473,
    KTS_HEALTH_CUT_OFF = 474,
    KTS_HEALTH_NOT_INITIALISED = 501,
    KTS_HEALTH_AUDIT = 507,
    KTS_HEALTH_FENCED = 530,
};

// What the worker itself sees.
struct kts_health {
    int reads;  // its database is there
    int writes; // kts_writer_check is 0
    int audits; // the audit process takes records
};
int kts_health_ready(const struct kts_status *status, const struct kts_health *health);
// The JSON of all three calls, without the members that say which server this is. NULL: no memory.
json_t *kts_health_json(struct kts_status *status, const struct kts_health *health, int64_t now_us);

#endif
