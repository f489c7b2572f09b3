// SPDX-License-Identifier: Apache-2.0
// GET /v1/cluster-keys: the statements by which the cluster's OpenPGP keys followed each other.
#include "kts/handlers.h"
#include "kts/request.h"

static int answer_cluster_keys(struct kts_request *request, const struct db_answer *answer)
{
    if (!answer->text)
        return KT_ERR_DATABASE;
    return kts_respond(request, 200, "application/json", NULL, answer->text, answer->text_len);
}

// Anybody may ask: a statement is believed by its signatures.
int kts_h_cluster_keys(struct kts_request *request)
{
    const struct kts_query query = {.kind = KTS_READ_CLUSTER_KEYS};

    return kts_read(request, &query, answer_cluster_keys);
}
