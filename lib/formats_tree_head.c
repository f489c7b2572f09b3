// SPDX-License-Identifier: Apache-2.0
// Tree heads: the signed size and root of the log of deposits.
#include "lib/formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/formats_text.h"

// The bytes that are signed: what stands before "key" in the text of the head.
static void format_signed(const struct kt_tree_head *head, char out[KT_TREE_HEAD_TEXT])
{
    char incarnation[KT_INCARNATION_TEXT], root[KT_SHA256_TEXT], when[KT_TIME_TEXT];
    kt_incarnation_format(&head->incarnation, incarnation);
    kt_hex_encode(head->root, KT_SHA256_LEN, root);
    kt_time_format(head->time_us, when);
    snprintf(out, KT_TREE_HEAD_TEXT,
             "keytrustee-tree-head 1\n"
             "incarnation %s\n"
             "epoch %" PRIu64 "\n"
             "size %" PRIu64 "\n"
             "root %s\n"
             "time %s\n",
             incarnation, head->epoch, head->size, root, when);
}

int kt_tree_head_sign(struct kt_tree_head *head, struct evp_pkey_st *key)
{
    char text[KT_TREE_HEAD_TEXT];
    struct kt_tree_head made = *head;
    format_signed(&made, text);
    int rc = kt_text_sign(text, key, made.key_id, made.signature);
    if (rc == 0)
        *head = made;
    return rc;
}

int kt_tree_head_verify(const struct kt_tree_head *head, const uint8_t pub[KT_ED25519_PUB_LEN])
{
    char text[KT_TREE_HEAD_TEXT];
    format_signed(head, text);
    return kt_text_verify(text, pub, head->key_id, head->signature);
}

void kt_tree_head_format(const struct kt_tree_head *head, char out[KT_TREE_HEAD_TEXT])
{
    char signature[KT_TEXT_SIGNATURE];
    format_signed(head, out);
    size_t n = strlen(out);
    kt_text_format_signature(head->key_id, head->signature, signature);
    snprintf(out + n, KT_TREE_HEAD_TEXT - n, "%s", signature);
}

int kt_tree_head_parse(const char *text, size_t n, struct kt_tree_head *head)
{
    struct kt_text rest = {text, n};
    struct kt_tree_head parsed = {0};
    char when[KT_TEXT_VALUE], again[KT_TREE_HEAD_TEXT];
    int rc = kt_text_literal(&rest, "keytrustee-tree-head 1\n");
    if (rc == 0)
        rc = kt_text_incarnation(&rest, "incarnation", &parsed.incarnation);
    if (rc == 0)
        rc = kt_text_u64(&rest, "epoch", 0, UINT64_MAX, &parsed.epoch);
    if (rc == 0)
        rc = kt_text_u64(&rest, "size", 0, UINT64_MAX, &parsed.size);
    if (rc == 0)
        rc = kt_text_hex(&rest, "root", parsed.root, KT_SHA256_LEN);
    if (rc == 0)
        rc = kt_text_line(&rest, "time", when);
    if (rc == 0 && kt_time_parse(when, &parsed.time_us) != 0)
        rc = KT_ERR_INVALID;
    if (rc == 0)
        rc = kt_text_signature(&rest, parsed.key_id, parsed.signature);
    if (rc != 0)
        return rc;
    kt_tree_head_format(&parsed, again);
    if (strlen(again) != n || memcmp(again, text, n) != 0)
        return KT_ERR_INVALID;
    *head = parsed;
    return 0;
}
