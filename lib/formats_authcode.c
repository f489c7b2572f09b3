// SPDX-License-Identifier: Apache-2.0
// Auth codes: what an operator hands to a new client, "<id>-<160 random bits>-<CA fingerprint>".
#include "lib/formats.h"

#include <stdio.h>
#include <string.h>

#include "lib/formats_text.h"

#define ID_CHARS     8
#define SECRET_CHARS 32
#define CA_CHARS     52

int kt_authcode_new(const uint8_t ca_sha256[KT_SHA256_LEN], struct kt_authcode *code)
{
    uint8_t id[KT_AUTHCODE_ID_LEN];
    struct kt_authcode made = {0};
    int rc = kt_random(id, sizeof(id));
    if (rc == 0)
        rc = kt_random(made.secret, sizeof(made.secret));
    if (rc == 0) {
        kt_base32_encode(id, sizeof(id), made.id);
        memcpy(made.ca_sha256, ca_sha256, KT_SHA256_LEN);
        *code = made;
    }
    kt_wipe(&made, sizeof(made));
    return rc;
}

void kt_authcode_format(const struct kt_authcode *code, char out[KT_AUTHCODE_TEXT])
{
    char secret[SECRET_CHARS + 1], ca[CA_CHARS + 1];
    kt_base32_encode(code->secret, KT_AUTHCODE_SECRET_LEN, secret);
    kt_base32_encode(code->ca_sha256, KT_SHA256_LEN, ca);
    snprintf(out, KT_AUTHCODE_TEXT, "%.8s-%s-%s", code->id, secret, ca);
    kt_wipe(secret, sizeof(secret));
}

int kt_authcode_is_id(const char *text)
{
    uint8_t bytes[KT_AUTHCODE_ID_LEN];

    return strlen(text) == ID_CHARS && kt_base32_decode(text, ID_CHARS, bytes, sizeof(bytes)) == 0;
}

int kt_authcode_parse(const char *text, struct kt_authcode *code)
{
    struct kt_text rest = {text, strnlen(text, KT_AUTHCODE_TEXT)};
    const char *id = NULL, *secret = NULL, *ca = NULL;
    char again[KT_AUTHCODE_TEXT];
    uint8_t id_bytes[KT_AUTHCODE_ID_LEN];
    struct kt_authcode parsed = {0};
    int rc = kt_text_part(&rest, ID_CHARS, '-', &id);
    if (rc == 0)
        rc = kt_text_part(&rest, SECRET_CHARS, '-', &secret);
    if (rc == 0)
        rc = kt_text_part(&rest, CA_CHARS, '\0', &ca);
    if (rc != 0 || rest.left != 0)
        return KT_ERR_INVALID;
    if (kt_base32_decode(id, ID_CHARS, id_bytes, sizeof(id_bytes)) != 0 ||
        kt_base32_decode(secret, SECRET_CHARS, parsed.secret, sizeof(parsed.secret)) != 0 ||
        kt_base32_decode(ca, CA_CHARS, parsed.ca_sha256, sizeof(parsed.ca_sha256)) != 0) {
        rc = KT_ERR_INVALID;
    } else {
        memcpy(parsed.id, id, ID_CHARS);
        kt_authcode_format(&parsed, again);
        if (strcmp(again, text) == 0)
            *code = parsed;
        else
            rc = KT_ERR_INVALID;
        kt_wipe(again, sizeof(again));
    }
    kt_wipe(&parsed, sizeof(parsed));
    return rc;
}

int kt_authcode_hash(const struct kt_authcode *code, uint8_t out[KT_SHA256_LEN])
{
    static const char prefix[] = "keytrustee-authcode 1\n";
    uint8_t message[sizeof(prefix) - 1 + ID_CHARS + 1 + KT_AUTHCODE_SECRET_LEN];
    uint8_t *at = message;
    memcpy(at, prefix, sizeof(prefix) - 1);
    at += sizeof(prefix) - 1;
    memcpy(at, code->id, ID_CHARS);
    at += ID_CHARS;
    *at++ = '\n';
    memcpy(at, code->secret, KT_AUTHCODE_SECRET_LEN);
    int rc = kt_sha256(message, sizeof(message), out);
    kt_wipe(message, sizeof(message));
    return rc;
}
