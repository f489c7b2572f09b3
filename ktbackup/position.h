// SPDX-License-Identifier: Apache-2.0
// Whether what a backup will hold is proven: a barrier of the active before the snapshot, and on a
// passive everything that the active had then.
#ifndef KTB_POSITION_H
#define KTB_POSITION_H

#include "ktbackup/place.h"

struct ktb_position {
    struct kt_incarnation incarnation; // in which the barrier was
    uint64_t epoch;
};

// 0: what was acknowledged before this call is in every snapshot that is taken after it, and no
// newer epoch had begun. KT_ERR_NO_QUORUM, or what else kept it from being proven.
int ktb_position_prove(const struct ktb_place *place, struct ktb_position *position,
                       struct kt_error *error) KT_MUST_CHECK;

#endif
