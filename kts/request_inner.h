// SPDX-License-Identifier: Apache-2.0
// Between dispatch.c (before the handler) and request.c (behind it); nobody else includes it.
#ifndef KTS_REQUEST_INNER_H
#define KTS_REQUEST_INNER_H

#include "kts/dispatch.h"

// Answers the error that `code` and request->error say; `reason` is what the audit record says.
void kts_request_refuse(struct kts_request *request, int code, int reason);

#endif
