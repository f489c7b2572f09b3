// SPDX-License-Identifier: Apache-2.0
// Line reader of the text formats.
#include "lib/formats_text.h"

#include <stdio.h>
#include <string.h>

#define SIGNATURE_BASE64 89 // 64 bytes and NUL

int kt_text_literal(struct kt_text *text, const char *literal)
{
    size_t n = strlen(literal);
    if (text->left < n || memcmp(text->at, literal, n) != 0)
        return KT_ERR_INVALID;
    text->at += n;
    text->left -= n;
    return 0;
}

int kt_text_line(struct kt_text *text, const char *name, char value[KT_TEXT_VALUE])
{
    struct kt_text rest = *text;
    int rc = kt_text_literal(&rest, name);
    if (rc == 0)
        rc = kt_text_literal(&rest, " ");
    if (rc != 0)
        return rc;
    const char *end = memchr(rest.at, '\n', rest.left);
    if (end == NULL || end - rest.at >= KT_TEXT_VALUE)
        return KT_ERR_INVALID;
    size_t n = (size_t)(end - rest.at);
    if (n == 0 || memchr(rest.at, '\0', n) != NULL)
        return KT_ERR_INVALID;
    memcpy(value, rest.at, n);
    value[n] = '\0';
    text->at = end + 1;
    text->left = rest.left - n - 1;
    return 0;
}

int kt_text_u64(struct kt_text *text, const char *name, uint64_t min, uint64_t max, uint64_t *value)
{
    char line[KT_TEXT_VALUE];
    int rc = kt_text_line(text, name, line);
    if (rc == 0 && kt_u64_parse(line, min, max, value) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int kt_text_u32(struct kt_text *text, const char *name, uint32_t min, uint32_t *value)
{
    uint64_t wide = 0;
    int rc = kt_text_u64(text, name, min, UINT32_MAX, &wide);
    if (rc == 0)
        *value = (uint32_t)wide;
    return rc;
}

int kt_text_hex(struct kt_text *text, const char *name, uint8_t *value, size_t n)
{
    char line[KT_TEXT_VALUE];
    int rc = kt_text_line(text, name, line);
    if (rc == 0 && kt_hex_decode(line, value, n) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int kt_text_uuid(struct kt_text *text, const char *name, struct kt_uuid *value)
{
    char line[KT_TEXT_VALUE];
    int rc = kt_text_line(text, name, line);
    if (rc == 0 && kt_uuid_parse(line, value) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int kt_text_incarnation(struct kt_text *text, const char *name, struct kt_incarnation *value)
{
    char line[KT_TEXT_VALUE];
    int rc = kt_text_line(text, name, line);
    if (rc == 0 && kt_incarnation_parse(line, value) != 0)
        rc = KT_ERR_INVALID;
    return rc;
}

int kt_text_signature(struct kt_text *text, uint8_t key_id[KT_KEY_ID_LEN],
                      uint8_t signature[KT_ED25519_SIG_LEN])
{
    char line[KT_TEXT_VALUE];
    size_t len = KT_ED25519_SIG_LEN;
    int rc = kt_text_hex(text, "key", key_id, KT_KEY_ID_LEN);
    if (rc == 0)
        rc = kt_text_line(text, "signature", line);
    if (rc == 0 &&
        (kt_base64_decode(line, strlen(line), signature, &len) != 0 || len != KT_ED25519_SIG_LEN))
        rc = KT_ERR_INVALID;
    return rc;
}

void kt_text_format_signature(const uint8_t key_id[KT_KEY_ID_LEN],
                              const uint8_t signature[KT_ED25519_SIG_LEN],
                              char out[KT_TEXT_SIGNATURE])
{
    char id[2 * KT_KEY_ID_LEN + 1], base64[SIGNATURE_BASE64];
    kt_hex_encode(key_id, KT_KEY_ID_LEN, id);
    kt_base64_encode(signature, KT_ED25519_SIG_LEN, base64);
    snprintf(out, KT_TEXT_SIGNATURE, "key %s\nsignature %s\n", id, base64);
}

int kt_text_sign(const char *text, struct evp_pkey_st *key, uint8_t key_id[KT_KEY_ID_LEN],
                 uint8_t signature[KT_ED25519_SIG_LEN])
{
    uint8_t pub[KT_ED25519_PUB_LEN];
    int rc = kt_ed25519_public(key, pub);
    if (rc == 0)
        rc = kt_ed25519_key_id(pub, key_id);
    if (rc == 0)
        rc = kt_ed25519_sign(key, text, strlen(text), signature);
    return rc;
}

int kt_text_verify(const char *text, const uint8_t pub[KT_ED25519_PUB_LEN],
                   const uint8_t key_id[KT_KEY_ID_LEN], const uint8_t signature[KT_ED25519_SIG_LEN])
{
    uint8_t id[KT_KEY_ID_LEN];
    int rc = kt_ed25519_key_id(pub, id);
    if (rc == 0 && memcmp(id, key_id, sizeof(id)) != 0)
        rc = KT_ERR_SIGNATURE;
    return rc == 0 ? kt_ed25519_verify(pub, text, strlen(text), signature) : rc;
}

int kt_text_part(struct kt_text *text, size_t len, char separator, const char **part)
{
    size_t taken = separator != '\0' ? len + 1 : len;
    if (text->left < taken || (separator != '\0' && text->at[len] != separator))
        return KT_ERR_INVALID;
    *part = text->at;
    text->at += taken;
    text->left -= taken;
    return 0;
}
