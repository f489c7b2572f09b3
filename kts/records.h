// SPDX-License-Identifier: Apache-2.0
// Audit records of a worker: an answer is held until its record is on disk (promise P6).
#ifndef KTS_RECORDS_H
#define KTS_RECORDS_H

#include "kts/ask.h"

struct kts_request;
struct kts_worker;

// A record under way; in its request.
struct kts_record {
    struct kts_record *next, **link; // queued for the end of the turn; link NULL: not
    struct kts_question question;
    struct kts_request *request;
    char *json; // owned until it is sent
};

// Queues the record of what was decided about this request; kts_record_done is called later, or at
// once when it cannot be written.
void kts_record_begin(struct kts_request *request);
void kts_record_forget(struct kts_record *record);
// Sends what was queued in this turn.
void kts_records_turn(struct kts_worker *worker);

// In dispatch.c: 0, the record is on disk; else KT_ERR_AUDIT_UNAVAILABLE.
void kts_record_done(struct kts_request *request, int code);

#endif
