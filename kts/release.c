// SPDX-License-Identifier: Apache-2.0
// A retrieval whose release policy has held the body back: refused, or put to the writer, and then
// fetched by the row that the writer made.
#include <string.h>

#include "kts/request.h"
#include "kts/worker.h"

// The writer answers without a code also when no more than a request was made: it then names that.
static int decided(struct kts_request *request, const struct kt_outcome *outcome)
{
    const struct kts_query query = {.kind = KTS_READ_RELEASED};

    if (outcome->text) {
        if (kt_uuid_parse(outcome->text, &request->release_request))
            return KT_ERR_PROTOCOL;
        return kts_fail(request, KT_ERR_VOTES_REQUIRED, "the request %s waits for votes",
                        outcome->text);
    }
    // From here on it is a read as any other, with a record of its own.
    request->recorded_by_writer = 0;
    request->released = request->retrieval_id;
    return kts_read(request, &query, request->read_done);
}

static int ask_writer(struct kts_request *request, const struct db_deposit *deposit)
{
    struct kt_change change = {.kind = KT_CHANGE_RETRIEVE,
                               .deposit_id = deposit->deposit_id,
                               .version = deposit->receipt.leaf.version};
    int rc = kts_writer_check(request->worker);

    if (rc == KT_ERR_PASSIVE)
        return kt_error_set(&request->error, rc, "ask the active: the header KT-Active names it",
                            "the deposit's release policy counts retrievals or wants votes, which"
                            " a passive cannot do");
    if (rc == 0 && kt_uuid_is_nil(&request->retrieval_id))
        rc = kt_uuid_random(&request->retrieval_id);
    if (rc)
        return rc;
    memcpy(change.handle, deposit->handle, sizeof(change.handle));
    if (request->justification)
        memcpy(change.justification, request->justification, strlen(request->justification) + 1);
    change.retrieval_id = request->retrieval_id;
    return kts_change(request, &change, decided);
}

int kts_release(struct kts_request *request, const struct db_answer *answer, kts_read_done released)
{
    switch (answer->release) {
    case DB_RELEASE_TOO_EARLY:
        return KT_ERR_RELEASE_TOO_EARLY;
    case DB_RELEASE_EXPIRED:
        return KT_ERR_RELEASE_EXPIRED;
    case DB_RELEASE_UNJUSTIFIED:
        return KT_ERR_JUSTIFICATION_REQUIRED;
    case DB_RELEASE_COUNTED:
        request->read_done = released;
        return ask_writer(request, &answer->deposits[0]);
    case DB_RELEASE_UNKNOWN:
    case DB_RELEASE_NOW:
        break;
    }
    return KT_ERR_DATABASE_UNAVAILABLE;
}
