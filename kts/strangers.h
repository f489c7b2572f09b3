// SPDX-License-Identifier: Apache-2.0
// Audit records of refusals to strangers: so many a second, and one that says how many there were
// beyond. Without that anybody could fill the disk and keep the audit process from others' records.
#ifndef KTS_STRANGERS_H
#define KTS_STRANGERS_H

#include <event2/event.h>

#include "kts/ask.h"

#define KTS_STRANGERS_RATE  50  // records a second
#define KTS_STRANGERS_BURST 200 // at once, after a time of peace

struct kts_worker;

// In the worker; zeroed at first.
struct kts_strangers {
    struct kts_worker *worker;
    struct event *timer;   // the next summary
    int64_t used_until_us; // the share of records is used up until then
    uint64_t skipped;      // refusals without a record, not yet told
    uint64_t telling;      // of these, the record under way tells of so many
    struct kts_question question;
};

int kts_strangers_start(struct kts_worker *worker) KT_MUST_CHECK;
void kts_strangers_end(struct kts_strangers *strangers);
// 1: a record may be written for this refusal. 0: it was counted.
int kts_strangers_allow(struct kts_strangers *strangers, int64_t now_us);

#endif
