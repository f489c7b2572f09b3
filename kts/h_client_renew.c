// SPDX-License-Identifier: Apache-2.0
// POST /v1/clients/self/renew: a new certificate for the client that asks.
#include "kts/handlers.h"
#include "kts/request.h"
#include "lib/json.h"

static int renewed(struct kts_request *request, const struct kt_outcome *outcome)
{
    return kts_answer_text(request, outcome, 200);
}

int kts_h_client_renew(struct kts_request *request)
{
    static const char *const NAMES[] = {"csr", NULL};
    struct kt_change change = {.kind = KT_CHANGE_RENEW};
    json_t *object = NULL;
    int rc = kt_json_parse_object(request->body, request->body_len, &object, &request->error);

    if (rc == 0)
        rc = kt_json_only(object, NAMES, &request->error);
    if (rc == 0)
        rc = kts_take_csr(request, object, &change);
    if (rc == 0)
        rc = kts_change(request, &change, renewed);
    json_decref(object);
    kt_change_free(&change);
    return rc;
}
