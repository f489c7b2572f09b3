// SPDX-License-Identifier: Apache-2.0
// GET /v1/incarnations: the lines of history that this cluster has had, with the statements that
// its OpenPGP key made of those that began with a restore.
#include "kts/handlers.h"
#include "kts/request.h"

static int answer_incarnations(struct kts_request *request, const struct db_answer *answer)
{
    if (!answer->text)
        return KT_ERR_DATABASE;
    return kts_respond(request, 200, "application/json", NULL, answer->text, answer->text_len);
}

// Anybody may ask: a statement is believed by its signature.
int kts_h_incarnations(struct kts_request *request)
{
    const struct kts_query query = {.kind = KTS_READ_INCARNATIONS};

    return kts_read(request, &query, answer_incarnations);
}
