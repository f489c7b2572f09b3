// SPDX-License-Identifier: Apache-2.0
// POST /v1/deposits/{handle}/undelete and /purge: a deletion is taken back, or made final.
#include <string.h>

#include "kts/handlers.h"
#include "kts/request.h"

static int undeleted(struct kts_request *request, const struct kt_outcome *outcome)
{
    return kts_respond_json(request, 200,
                            json_pack("{s:I}", "undeleted", (json_int_t)outcome->count));
}

static int purging(struct kts_request *request, const struct kt_outcome *outcome)
{
    return kts_answer_text(request, outcome, 200);
}

static int begin(struct kts_request *request, enum kt_change_kind kind, kts_change_done done)
{
    struct kt_change change = {.kind = kind};
    int rc = kts_request_version(request, &change.version);

    if (rc)
        return rc;
    memcpy(change.handle, request->match.handle, sizeof(change.handle));
    return kts_change(request, &change, done);
}

int kts_h_deposit_undelete(struct kts_request *request)
{
    return begin(request, KT_CHANGE_UNDELETE, undeleted);
}

int kts_h_deposit_purge(struct kts_request *request)
{
    return begin(request, KT_CHANGE_PURGE, purging);
}
