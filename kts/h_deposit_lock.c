// SPDX-License-Identifier: Apache-2.0
// PUT /v1/deposits/{handle}/lock: a lock or a legal hold on one version, or on all.
#include <string.h>

#include "kts/handlers.h"
#include "kts/request.h"
#include "lib/json.h"

static int locked(struct kts_request *request, const struct kt_outcome *outcome)
{
    return kts_respond_json(request, 200,
                            json_pack("{s:I}", "versions", (json_int_t)outcome->count));
}

static int take_hold(struct kts_request *request, const json_t *object, struct kt_change *change)
{
    const json_t *hold = json_object_get(object, "hold");

    if (hold && !json_is_boolean(hold))
        return kts_fail(request, KT_ERR_BAD_REQUEST, "hold is neither true nor false");
    change->hold = !hold ? 0 : json_is_true(hold) ? 1 : 2;
    return 0;
}

// {"mode": "governance", "until": "2027-01-01T00:00:00.000000Z", "hold": true}, none required; what
// they must be together depends on the row, and the writer says so.
static int take_lock(struct kts_request *request, struct kt_change *change)
{
    static const char *const MEMBERS[] = {"mode", "until", "hold", NULL};
    const char *mode = NULL, *until = NULL;
    json_t *object = NULL;
    int rc = kt_json_parse_object(request->body, request->body_len, &object, &request->error);

    if (rc == 0)
        rc = kt_json_only(object, MEMBERS, &request->error);
    if (rc == 0)
        rc = kt_json_string(object, "mode", 0, sizeof(change->lock_mode) - 1, &mode,
                            &request->error);
    if (rc == 0)
        rc = kt_json_string(object, "until", 0, KT_TIME_TEXT - 1, &until, &request->error);
    if (rc == 0)
        rc = take_hold(request, object, change);
    if (rc == 0 && mode && strcmp(mode, "governance") != 0 && strcmp(mode, "compliance") != 0 &&
        strcmp(mode, "none") != 0)
        rc = kts_fail(request, KT_ERR_BAD_REQUEST, "mode is governance, compliance or none");
    if (rc == 0 && until &&
        (kt_time_parse(until, &change->lock_until_us) != 0 || change->lock_until_us <= 0))
        rc = kts_fail(request, KT_ERR_BAD_REQUEST,
                      "until is not a time like 2027-01-31T00:00:00.000000Z");
    if (rc == 0 && mode)
        memcpy(change->lock_mode, mode, strlen(mode) + 1);
    json_decref(object);
    return rc;
}

int kts_h_deposit_lock(struct kts_request *request)
{
    struct kt_change change = {.kind = KT_CHANGE_LOCK};
    int rc = kts_request_version(request, &change.version);

    if (rc == 0)
        rc = take_lock(request, &change);
    if (rc == 0 && request->bypass[0] && strcmp(request->bypass, "yes") != 0)
        rc = kts_fail(request, KT_ERR_BAD_REQUEST, "KT-Bypass-Governance is not yes");
    if (rc)
        return rc;
    change.bypass = request->bypass[0] != '\0';
    memcpy(change.handle, request->match.handle, sizeof(change.handle));
    return kts_change(request, &change, locked);
}
