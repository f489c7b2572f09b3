// SPDX-License-Identifier: Apache-2.0
// The verdict on a row that authorises: who asks, in which state, with which right.
#include "kts/dispatch.h"

static int check_who(const struct kts_route *route, const struct db_answer *answer, int64_t now_us)
{
    const struct db_who *who = &answer->who;

    if (route->caller == KTS_ANYONE)
        return 0;
    if (!answer->known)
        return route->caller == KTS_OPERATOR ? KT_ERR_NOT_GRANTED : KT_ERR_CERTIFICATE_UNKNOWN;
    if (who->certificate_revoked)
        return KT_ERR_CERTIFICATE_REVOKED;
    if (who->not_after_us < now_us)
        return KT_ERR_CERTIFICATE_EXPIRED;
    if (who->revoked)
        return KT_ERR_CLIENT_REVOKED;
    if (who->organisation_disabled)
        return KT_ERR_ORGANISATION_DISABLED;
    if (who->pending && route->caller != KTS_CLIENT_PENDING_OK)
        return KT_ERR_CLIENT_PENDING;
    return 0;
}

int kts_access_check(const struct kts_route *route, int one_deposit, const struct db_answer *answer,
                     int64_t now_us, int *reason)
{
    int rc = check_who(route, answer, now_us);

    *reason = rc;
    if (rc || !route->right)
        return rc;
    if (one_deposit && answer->count == 0)
        return *reason = KT_ERR_DEPOSIT_NOT_FOUND;
    if (one_deposit && !answer->version_found)
        *reason = KT_ERR_VERSION_NOT_FOUND;
    else if (!answer->granted)
        *reason = KT_ERR_NOT_GRANTED;
    else if (one_deposit && answer->gone)
        *reason = KT_ERR_DEPOSIT_PURGED;
    // A name that the client may not browse must not leak by the kind of refusal.
    if (*reason && one_deposit && !answer->browsable)
        return KT_ERR_DEPOSIT_NOT_FOUND;
    return *reason;
}
