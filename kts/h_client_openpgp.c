// SPDX-License-Identifier: Apache-2.0
// GET /v1/clients/{fingerprint}/openpgp: the public key of a client of the same organisation. The
// reader accepts it only if it hashes to the fingerprint.
#include "kts/handlers.h"
#include "kts/request.h"

static int answer_key(struct kts_request *request, const struct db_answer *answer)
{
    if (!answer->bytes)
        return KT_ERR_CLIENT_NOT_FOUND;
    return kts_respond(request, 200, "application/pgp-keys", NULL, answer->bytes, answer->len);
}

int kts_h_client_openpgp(struct kts_request *request)
{
    struct kts_query query = {.kind = KTS_READ_OPENPGP};

    return kts_read(request, &query, answer_key);
}
