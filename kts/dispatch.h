// SPDX-License-Identifier: Apache-2.0
// Every check between a request and its handler, and between a handler and its answer.
#ifndef KTS_DISPATCH_H
#define KTS_DISPATCH_H

#include "kts/request.h"

// A request on this connection, with an id of its own. NULL: no memory, or no random numbers.
struct kts_request *kts_request_new(struct kts_conn *conn, struct kts_worker *worker);
// Forgets all that is under way. NULL is fine.
void kts_request_free(struct kts_request *request);

// Checks all that the head says: route, method, caller's certificate, body, content type. 1: the
// body (request->body_expected bytes, possibly 0) is wanted; 0: refused, the answer is on its way.
int kts_dispatch_head(struct kts_request *request, const struct kts_http_head *head);
// The whole body is here; it must stay where it is until this returns.
void kts_dispatch_body(struct kts_request *request, const uint8_t *body, size_t n);
// The queued request (kts/shares.h) has waited for its turn long enough.
void kts_dispatch_no_turn(struct kts_request *request);
// The time of the request's phase is up.
void kts_dispatch_timeout(struct kts_request *request);
// The connection found the request malformed or too slow.
void kts_dispatch_refuse(struct kts_request *request, const struct kt_error *error);
// An answer is composed: sends it, or holds it until its audit record is on disk. For respond.c.
void kts_dispatch_answered(struct kts_request *request);

// What the client is told about a row that was read: 0, or a code; *reason receives the true one,
// for the audit record. `now_us` is compared with the certificate's end. For `one_deposit` the
// answer is about one deposit, and what the client may not browse is answered like what is not
// there.
int kts_access_check(const struct kts_route *route, int one_deposit, const struct db_answer *answer,
                     int64_t now_us, int *reason) KT_MUST_CHECK;

#endif
