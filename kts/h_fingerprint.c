// SPDX-License-Identifier: Apache-2.0
// GET /?a=fingerprint: the probe that Key Trustee operators know.
#include <stdio.h>
#include <string.h>

#include "kts/handlers.h"
#include "kts/request.h"
#include "kts/worker.h"

int kts_h_fingerprint(struct kts_request *request)
{
    char asked[32], text[64];
    int rc = kts_request_query(request, "a", asked, sizeof(asked));

    if (rc || strcmp(asked, "fingerprint") != 0)
        return KT_ERR_ROUTE_UNKNOWN;
    snprintf(text, sizeof(text), "4096R/%s\n", request->worker->start->info->openpgp_fingerprint);
    return kts_respond(request, 200, "text/plain", NULL, text, strlen(text));
}
