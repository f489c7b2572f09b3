// SPDX-License-Identifier: Apache-2.0
// Audit records: hash-chained lines "kta1 <seq> <hash> <json>".
#include "lib/formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/formats_text.h"

#define MAGIC "kta1"

// One object on one line. Its members are the business of the readers.
static int check_json(const char *json, size_t n)
{
    if (n > KT_AUDIT_JSON_MAX)
        return KT_ERR_TOO_LARGE;
    if (n < 2 || json[0] != '{' || json[n - 1] != '}')
        return KT_ERR_INVALID;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)json[i] < 0x20)
            return KT_ERR_INVALID;
    return 0;
}

int kt_audit_hash(const uint8_t previous[KT_SHA256_LEN], uint64_t seq, const char *json, size_t n,
                  uint8_t out[KT_SHA256_LEN])
{
    uint8_t message[sizeof(MAGIC "\n") - 1 + KT_SHA256_LEN + 8 + KT_AUDIT_JSON_MAX];
    uint8_t *at = message;
    int rc = check_json(json, n);
    if (rc != 0)
        return rc;
    memcpy(at, MAGIC "\n", sizeof(MAGIC "\n") - 1);
    at += sizeof(MAGIC "\n") - 1;
    memcpy(at, previous, KT_SHA256_LEN);
    at += KT_SHA256_LEN;
    for (int shift = 56; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(seq >> shift);
    memcpy(at, json, n);
    return kt_sha256(message, (size_t)(at - message) + n, out);
}

int kt_audit_line_format(uint64_t seq, const uint8_t hash[KT_SHA256_LEN], const char *json,
                         size_t n, char out[KT_AUDIT_LINE_MAX], size_t *len)
{
    char hex[KT_SHA256_TEXT];
    int rc = check_json(json, n);
    if (rc != 0)
        return rc;
    kt_hex_encode(hash, KT_SHA256_LEN, hex);
    int written =
        snprintf(out, KT_AUDIT_LINE_MAX, MAGIC " %" PRIu64 " %s %.*s\n", seq, hex, (int)n, json);
    if (written < 0 || written >= KT_AUDIT_LINE_MAX)
        return KT_ERR_TOO_LARGE;
    *len = (size_t)written;
    return 0;
}

int kt_audit_line_parse(const char *line, size_t n, uint64_t *seq, uint8_t hash[KT_SHA256_LEN],
                        const char **json, size_t *json_len)
{
    struct kt_text rest = {line, n};
    char number[24], hex[KT_SHA256_TEXT], lower[KT_SHA256_TEXT];
    const char *part = NULL;
    uint8_t digest[KT_SHA256_LEN];
    uint64_t value = 0;
    if (kt_text_literal(&rest, MAGIC " ") != 0)
        return KT_ERR_INVALID;
    const char *space = memchr(rest.at, ' ', rest.left);
    if (space == NULL || (size_t)(space - rest.at) >= sizeof(number))
        return KT_ERR_INVALID;
    size_t digits = (size_t)(space - rest.at);
    memcpy(number, rest.at, digits);
    number[digits] = '\0';
    if (kt_text_part(&rest, digits, ' ', &part) != 0 || strlen(number) != digits ||
        kt_u64_parse(number, 0, KT_AUDIT_SEQ_MAX, &value) != 0 ||
        kt_text_part(&rest, KT_SHA256_TEXT - 1, ' ', &part) != 0)
        return KT_ERR_INVALID;
    memcpy(hex, part, KT_SHA256_TEXT - 1);
    hex[KT_SHA256_TEXT - 1] = '\0';
    if (kt_hex_decode(hex, digest, sizeof(digest)) != 0)
        return KT_ERR_INVALID;
    kt_hex_encode(digest, sizeof(digest), lower);
    if (strcmp(hex, lower) != 0)
        return KT_ERR_INVALID;
    int rc = check_json(rest.at, rest.left);
    if (rc != 0)
        return rc;
    *seq = value;
    memcpy(hash, digest, sizeof(digest));
    *json = rest.at;
    *json_len = rest.left;
    return 0;
}
