// SPDX-License-Identifier: Apache-2.0
// DELETE /v1/deposits/{handle}: soft deletion of one version, or of all that are present.
#include <string.h>

#include "kts/handlers.h"
#include "kts/request.h"

static int deleted(struct kts_request *request, const struct kt_outcome *outcome)
{
    return kts_respond_json(request, 200,
                            json_pack("{s:I}", "deleted", (json_int_t)outcome->count));
}

int kts_h_deposit_delete(struct kts_request *request)
{
    struct kt_change change = {.kind = KT_CHANGE_DELETE};
    int rc = kts_request_version(request, &change.version);

    if (rc)
        return rc;
    memcpy(change.handle, request->match.handle, sizeof(change.handle));
    return kts_change(request, &change, deleted);
}
