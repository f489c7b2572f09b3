// SPDX-License-Identifier: Apache-2.0
// GET /v1/deposits/{handle}/receipt: the receipt of a version, also of a deleted one.
#include <string.h>

#include "kts/handlers.h"
#include "kts/request.h"

static int answer_receipt(struct kts_request *request, const struct db_answer *answer)
{
    struct db_deposit *deposit = &answer->deposits[0];
    char text[KT_RECEIPT_TEXT];
    json_t *object, *policy = NULL;
    int rc = kt_sha256(deposit->handle, strlen(deposit->handle), deposit->receipt.leaf.handle_hash);

    if (rc)
        return rc;
    kt_receipt_format(&deposit->receipt, text);
    if (answer->text)
        policy = json_loadb(answer->text, answer->text_len, 0, NULL);
    object = kts_deposit_json(&deposit->receipt, deposit->handle);
    kts_deposit_json_key_group(object, deposit);
    return kts_respond_json(request, 200,
                            json_pack("{s:o, s:s, s:I, s:b, s:o?}", "deposit", object, "receipt",
                                      text, "w", (json_int_t)deposit->receipt.w, "deleted",
                                      deposit->deleted, "policy", policy));
}

int kts_h_deposit_receipt(struct kts_request *request)
{
    struct kts_query query = {.kind = KTS_READ_RECEIPT};
    int rc = kts_request_version(request, &query.version);

    return rc ? rc : kts_read(request, &query, answer_receipt);
}
