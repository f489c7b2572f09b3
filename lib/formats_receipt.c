// SPDX-License-Identifier: Apache-2.0
// Leaves (what a deposit is) and receipts (the signed proof that it is durable).
#include "lib/formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/formats_text.h"

void kt_leaf_format(const struct kt_leaf *leaf, char out[KT_LEAF_TEXT])
{
    char incarnation[KT_INCARNATION_TEXT], deposit[KT_UUID_TEXT], client[KT_UUID_TEXT];
    char handle[KT_SHA256_TEXT], body[KT_SHA256_TEXT], when[KT_TIME_TEXT];
    kt_incarnation_format(&leaf->incarnation, incarnation);
    kt_uuid_format(&leaf->deposit_id, deposit);
    kt_uuid_format(&leaf->client_id, client);
    kt_hex_encode(leaf->handle_hash, KT_SHA256_LEN, handle);
    kt_hex_encode(leaf->sha256, KT_SHA256_LEN, body);
    kt_time_format(leaf->time_us, when);
    snprintf(out, KT_LEAF_TEXT,
             "keytrustee-leaf 1\n"
             "incarnation %s\n"
             "epoch %" PRIu64 "\n"
             "index %" PRIu64 "\n"
             "deposit %s\n"
             "client %s\n"
             "handle-sha256 %s\n"
             "version %" PRIu32 "\n"
             "sha256 %s\n"
             "size %" PRIu64 "\n"
             "time %s\n",
             incarnation, leaf->epoch, leaf->log_index, deposit, client, handle, leaf->version,
             body, leaf->size, when);
}

static int read_leaf(struct kt_text *text, struct kt_leaf *leaf)
{
    char when[KT_TEXT_VALUE];
    int rc = kt_text_literal(text, "keytrustee-leaf 1\n");
    if (rc == 0)
        rc = kt_text_incarnation(text, "incarnation", &leaf->incarnation);
    if (rc == 0)
        rc = kt_text_u64(text, "epoch", 0, UINT64_MAX, &leaf->epoch);
    if (rc == 0)
        rc = kt_text_u64(text, "index", 0, UINT64_MAX, &leaf->log_index);
    if (rc == 0)
        rc = kt_text_uuid(text, "deposit", &leaf->deposit_id);
    if (rc == 0)
        rc = kt_text_uuid(text, "client", &leaf->client_id);
    if (rc == 0)
        rc = kt_text_hex(text, "handle-sha256", leaf->handle_hash, KT_SHA256_LEN);
    if (rc == 0)
        rc = kt_text_u32(text, "version", 1, &leaf->version);
    if (rc == 0)
        rc = kt_text_hex(text, "sha256", leaf->sha256, KT_SHA256_LEN);
    if (rc == 0)
        rc = kt_text_u64(text, "size", 0, UINT64_MAX, &leaf->size);
    if (rc == 0)
        rc = kt_text_line(text, "time", when);
    if (rc == 0 && kt_time_parse(when, &leaf->time_us) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int kt_leaf_parse(const char *text, size_t n, struct kt_leaf *leaf)
{
    struct kt_text rest = {text, n};
    struct kt_leaf parsed = {0};
    char again[KT_LEAF_TEXT];
    int rc = read_leaf(&rest, &parsed);
    if (rc != 0)
        return rc;
    kt_leaf_format(&parsed, again);
    if (strlen(again) != n || memcmp(again, text, n) != 0)
        return KT_ERR_INVALID;
    *leaf = parsed;
    return 0;
}

// The bytes that are signed: what stands before "key" in the text of the receipt.
static void format_signed(const struct kt_receipt *receipt, char out[KT_RECEIPT_TEXT])
{
    char leaf[KT_LEAF_TEXT];
    kt_leaf_format(&receipt->leaf, leaf);
    snprintf(out, KT_RECEIPT_TEXT, "keytrustee-receipt 1\n%sw %" PRIu32 "\n", leaf, receipt->w);
}

int kt_receipt_sign(struct kt_receipt *receipt, uint32_t w, struct evp_pkey_st *key)
{
    char text[KT_RECEIPT_TEXT];
    struct kt_receipt made = {.leaf = receipt->leaf, .w = w};
    format_signed(&made, text);
    int rc = kt_text_sign(text, key, made.key_id, made.signature);
    if (rc == 0)
        *receipt = made;
    return rc;
}

int kt_receipt_verify(const struct kt_receipt *receipt, const uint8_t pub[KT_ED25519_PUB_LEN])
{
    char text[KT_RECEIPT_TEXT];
    format_signed(receipt, text);
    return kt_text_verify(text, pub, receipt->key_id, receipt->signature);
}

void kt_receipt_format(const struct kt_receipt *receipt, char out[KT_RECEIPT_TEXT])
{
    char signature[KT_TEXT_SIGNATURE];
    format_signed(receipt, out);
    size_t n = strlen(out);
    kt_text_format_signature(receipt->key_id, receipt->signature, signature);
    snprintf(out + n, KT_RECEIPT_TEXT - n, "%s", signature);
}

int kt_receipt_parse(const char *text, size_t n, struct kt_receipt *receipt)
{
    struct kt_text rest = {text, n};
    struct kt_receipt parsed = {0};
    char again[KT_RECEIPT_TEXT];
    int rc = kt_text_literal(&rest, "keytrustee-receipt 1\n");
    if (rc == 0)
        rc = read_leaf(&rest, &parsed.leaf);
    if (rc == 0)
        rc = kt_text_u32(&rest, "w", 0, &parsed.w);
    if (rc == 0)
        rc = kt_text_signature(&rest, parsed.key_id, parsed.signature);
    if (rc != 0)
        return rc;
    kt_receipt_format(&parsed, again);
    if (strlen(again) != n || memcmp(again, text, n) != 0)
        return KT_ERR_INVALID;
    *receipt = parsed;
    return 0;
}
