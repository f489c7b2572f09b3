// SPDX-License-Identifier: Apache-2.0
// PUT /v1/deposits/{handle}: the next version. A repeat with the same id gets the same bytes.
#include <string.h>

#include "kts/ciphertext.h"
#include "kts/handlers.h"
#include "kts/request.h"
#include "kts/worker.h"

// From the receipt and the request only, so that a repeat is answered with the same bytes.
static int deposited(struct kts_request *request, const struct kt_outcome *outcome)
{
    const struct kt_receipt *receipt = &outcome->receipt;
    char text[KT_RECEIPT_TEXT];
    json_t *object;

    kt_receipt_format(receipt, text);
    object =
        json_pack("{s:o, s:s, s:I}", "deposit", kts_deposit_json(receipt, request->match.handle),
                  "receipt", text, "w", (json_int_t)receipt->w);
    return kts_respond_json(request, outcome->repeated ? 200 : 201, object);
}

static int take_headers(struct kts_request *request, struct kt_change *change)
{
    if (request->deposit_id[0] == '\0' || kt_uuid_parse(request->deposit_id, &change->deposit_id) ||
        kt_uuid_is_nil(&change->deposit_id))
        return kts_fail(request, KT_ERR_BAD_REQUEST, "KT-Deposit-Id is missing or not a UUID");
    if (kt_hex_decode(request->sha256, change->sha256, KT_SHA256_LEN))
        return kts_fail(request, KT_ERR_BAD_REQUEST, "KT-SHA256 is missing or not 64 hex digits");
    if (request->key_group[0] && (kt_uuid_parse(request->key_group, &change->key_group) ||
                                  kt_uuid_is_nil(&change->key_group)))
        return kts_fail(request, KT_ERR_BAD_REQUEST, "KT-Key-Group is not a UUID");
    request->deposit = change->deposit_id;
    return 0;
}

static int check_body(struct kts_request *request, struct kt_change *change)
{
    struct kts_recipients recipients = {0};
    uint8_t sha256[KT_SHA256_LEN];
    int rc;

    if (request->body_len == 0)
        return KT_ERR_BODY_EMPTY;
    rc = kt_sha256(request->body, request->body_len, sha256);
    if (rc)
        return rc;
    if (memcmp(sha256, change->sha256, sizeof(sha256)) != 0)
        return KT_ERR_HASH_MISMATCH;
    rc = kts_ciphertext_check(request->content_type, request->body, request->body_len,
                              &request->worker->own_keys, &recipients, &request->error);
    change->recipient_count = (uint32_t)recipients.count;
    memcpy(change->recipients, recipients.key_ids, sizeof(change->recipients));
    return rc;
}

int kts_h_deposit_put(struct kts_request *request)
{
    struct kt_change change = {.kind = KT_CHANGE_DEPOSIT, .body_len = request->body_len};
    union {
        const uint8_t *in;
        uint8_t *out; // kts_change reads it only, and takes nothing over
    } body = {.in = request->body};
    int rc = take_headers(request, &change);

    if (rc == 0)
        rc = check_body(request, &change);
    if (rc)
        return rc;
    change.body = body.out;
    if (request->policy)
        change.policy = *request->policy;
    memcpy(change.handle, request->match.handle, sizeof(change.handle));
    memcpy(change.content_type, request->content_type, sizeof(change.content_type));
    return kts_change(request, &change, deposited);
}
