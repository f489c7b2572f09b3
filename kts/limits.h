// SPDX-License-Identifier: Apache-2.0
// Who has failed too often, or connects too often: the meter's kinds applied to connections and
// requests. Whoever is over a limit is refused what failed, and nothing else; but no auth
// code has a verdict there, not even a right one.
#ifndef KTS_LIMITS_H
#define KTS_LIMITS_H

#include "kts/meter.h"

struct kts_request;
struct kts_worker;

// 1: this address may begin one more handshake now, and it is counted.
int kts_limits_handshake(struct kts_worker *worker, const uint8_t address[KTS_ADDRESS_LEN]);
// Before work is spent on an auth code; the code is counted by its id. KT_ERR_TOO_MANY_REQUESTS.
int kts_limits_check_code(struct kts_request *request, const char *code_id) KT_MUST_CHECK;
// Before work is spent on a certificate that the CA signed. KT_ERR_TOO_MANY_REQUESTS.
int kts_limits_check_certificate(struct kts_request *request) KT_MUST_CHECK;
// The request is refused for `reason`: what counts is counted. The code to answer: `code`, or
// KT_ERR_TOO_MANY_REQUESTS, so that beyond the limit no verdict is told.
int kts_limits_refused(struct kts_request *request, int code, int reason);

#endif
