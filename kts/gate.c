// SPDX-License-Identifier: Apache-2.0
// Whether this node takes changes now, as the agent says it in the shared status.
#include "kts/gate.h"

#include "lib/err.h"

int kts_gate_has_quorum(const struct kts_status *status)
{
    return atomic_load(&status->members) >= atomic_load(&status->w);
}

// What is in doubt may be this very change, asked for again: it must not be called undone.
static int undone(const struct kts_status *status, int code)
{
    return kts_status_in_doubt(status) > 0 ? KT_ERR_IN_DOUBT : code;
}

int kts_gate_check(const struct kts_status *status)
{
    switch ((enum kts_role)atomic_load(&status->role)) {
    case KTS_ROLE_PASSIVE:
        return KT_ERR_PASSIVE;
    case KTS_ROLE_FENCED:
    case KTS_ROLE_REMOVED:
        return KT_ERR_FENCED;
    case KTS_ROLE_UNESTABLISHED: // settles what its predecessor left only when it leads
        return undone(status, KT_ERR_NO_QUORUM);
    case KTS_ROLE_ACTIVE:
        if (kts_gate_has_quorum(status))
            return 0;
        return undone(status, KT_ERR_NO_QUORUM);
    case KTS_ROLE_UNKNOWN:
    case KTS_ROLE_STANDALONE:
    case KTS_ROLE_COUNT:
        break;
    }
    return 0;
}

int kts_gate_refusal(const struct kts_status *status)
{
    int rc = kts_gate_check(status);

    if (rc)
        return rc;
    if (!atomic_load(&status->database_up))
        return undone(status, KT_ERR_DATABASE_UNAVAILABLE);
    // held for a moment, or about to open
    return undone(status, atomic_load(&status->writer_ticket) == 0 ? KT_ERR_NO_QUORUM
                                                                   : KT_ERR_WRITER_UNAVAILABLE);
}

uint64_t kts_gate_ticket(const struct kts_status *status)
{
    switch ((enum kts_role)atomic_load(&status->role)) {
    case KTS_ROLE_ACTIVE:
        return kts_gate_has_quorum(status) ? atomic_load(&status->writer_ticket) : 0;
    case KTS_ROLE_STANDALONE:
        return atomic_load(&status->writer_ticket);
    case KTS_ROLE_UNKNOWN:
    case KTS_ROLE_PASSIVE:
    case KTS_ROLE_UNESTABLISHED:
    case KTS_ROLE_FENCED:
    case KTS_ROLE_REMOVED:
    case KTS_ROLE_COUNT:
        break;
    }
    return 0;
}

// A node that hears of no revocation: a removed one never will, and one that was cut off for too
// long may be behind. Not even what they have is for clients.
int kts_gate_serves(const struct kts_status *status)
{
    if (atomic_load(&status->role) == KTS_ROLE_REMOVED)
        return KT_ERR_FENCED;
    return atomic_load(&status->is_silent) ? KT_ERR_CUT_OFF : 0;
}
