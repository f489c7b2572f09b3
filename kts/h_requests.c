// SPDX-License-Identifier: Apache-2.0
// GET /v1/requests and POST /v1/requests/{uuid}/vote: retrievals that wait for trustees.
#include <string.h>

#include "kts/handlers.h"
#include "kts/request.h"
#include "lib/json.h"
#include "lib/release.h"

#define STATE_MAX 16

static int is_state(const char *text)
{
    static const char *const STATES[] = {"", "waiting", "approved", "denied", "used", "expired"};

    for (size_t i = 0; i < sizeof(STATES) / sizeof(STATES[0]); i++)
        if (strcmp(text, STATES[i]) == 0)
            return 1;
    return 0;
}

static int answer_requests(struct kts_request *request, const struct db_answer *answer)
{
    if (!answer->text)
        return KT_ERR_DATABASE;
    return kts_respond(request, 200, "application/json", NULL, answer->text, answer->text_len);
}

int kts_h_request_list(struct kts_request *request)
{
    char state[STATE_MAX], after[KT_UUID_TEXT];
    struct kts_query query = {.kind = KTS_READ_REQUESTS, .state = state};
    int rc = kts_request_query(request, "state", state, sizeof(state));

    if (rc == 0 && !is_state(state))
        rc = kts_fail(request, KT_ERR_BAD_REQUEST,
                      "state is none of waiting, approved, denied, used, expired");
    if (rc == 0)
        rc = kts_request_query(request, "after", after, sizeof(after));
    if (rc == 0 && after[0] && kt_uuid_parse(after, &query.behind))
        rc = kts_fail(request, KT_ERR_BAD_REQUEST, "after is not the id of a request");
    if (rc == 0)
        rc = kts_request_limit(request, &query.limit);
    return rc ? rc : kts_read(request, &query, answer_requests);
}

static int voted(struct kts_request *request, const struct kt_outcome *outcome)
{
    return kts_answer_text(request, outcome, 200);
}

static int take_comment(struct kts_request *request, const json_t *object, struct kt_change *change)
{
    const char *comment = NULL;
    int rc = kt_json_string(object, "comment", 0, KT_JUSTIFICATION_MAX, &comment, &request->error);

    if (rc || !comment || !comment[0])
        return rc;
    if (kt_justification_check(comment))
        return kts_fail(request, KT_ERR_BAD_REQUEST, "the comment has a control character");
    memcpy(change->justification, comment, strlen(comment) + 1);
    return 0;
}

int kts_h_request_vote(struct kts_request *request)
{
    static const char *const NAMES[] = {"approve", "comment", NULL};
    struct kt_change change = {.kind = KT_CHANGE_VOTE, .vote_id = request->match.uuid};
    const json_t *approve;
    json_t *object = NULL;
    int rc = kt_json_parse_object(request->body, request->body_len, &object, &request->error);

    if (rc == 0)
        rc = kt_json_only(object, NAMES, &request->error);
    approve = json_object_get(object, "approve");
    if (rc == 0 && !json_is_boolean(approve))
        rc = kts_fail(request, KT_ERR_BAD_REQUEST, "member 'approve' is neither true nor false");
    change.approve = json_is_true(approve);
    if (rc == 0)
        rc = take_comment(request, object, &change);
    if (rc == 0)
        rc = kts_change(request, &change, voted);
    json_decref(object);
    return rc;
}
