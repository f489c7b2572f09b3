// SPDX-License-Identifier: Apache-2.0
// Hex, base64, base32, UUIDs and names as text; decoders accept exactly one form of each value.
#include "lib/encode.h"

#include <string.h>

#include "lib/digest.h"

static const char HEX[] = "0123456789abcdef";
static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char BASE32[] = "abcdefghijklmnopqrstuvwxyz234567";

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void kt_hex_encode(const void *bytes, size_t n, char *out)
{
    const uint8_t *in = bytes;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = HEX[in[i] >> 4];
        out[2 * i + 1] = HEX[in[i] & 15];
    }
    out[2 * n] = '\0';
}

int kt_hex_decode(const char *text, uint8_t *out, size_t n)
{
    if (strnlen(text, 2 * n + 1) != 2 * n)
        return KT_ERR_INVALID;
    for (size_t i = 0; i < 2 * n; i++) { // checked first: `out` is written whole or not at all
        if (hex_digit(text[i]) < 0)
            return KT_ERR_INVALID;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(hex_digit(text[2 * i]) * 16 + hex_digit(text[2 * i + 1]));
    return 0;
}

void kt_base64_encode(const void *bytes, size_t n, char *out)
{
    const uint8_t *in = bytes;

    for (; n >= 3; n -= 3, in += 3) {
        *out++ = BASE64[in[0] >> 2];
        *out++ = BASE64[(in[0] & 3) << 4 | in[1] >> 4];
        *out++ = BASE64[(in[1] & 15) << 2 | in[2] >> 6];
        *out++ = BASE64[in[2] & 63];
    }
    if (n > 0) {
        uint8_t second = n == 2 ? in[1] : 0;
        *out++ = BASE64[in[0] >> 2];
        *out++ = BASE64[(in[0] & 3) << 4 | second >> 4];
        *out++ = n == 2 ? BASE64[(second & 15) << 2] : '=';
        *out++ = '=';
    }
    *out = '\0';
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int kt_base64_decode(const char *text, size_t len, uint8_t *out, size_t *n)
{
    size_t padding = 0, size, done = 0;
    uint32_t bits = 0;
    unsigned held = 0;

    if (len % 4 != 0)
        return KT_ERR_INVALID;
    if (len > 0 && text[len - 1] == '=')
        padding = text[len - 2] == '=' ? 2 : 1;
    size = len / 4 * 3 - padding;
    if (size > *n)
        return KT_ERR_TOO_LARGE;
    for (size_t i = 0; i < len - padding; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return KT_ERR_INVALID;
        bits = (bits << 6 | (uint32_t)digit) & 0xffffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[done++] = (uint8_t)(bits >> held);
        }
    }
    if (bits & ((1u << held) - 1)) // a second spelling of the same bytes
        return KT_ERR_INVALID;
    *n = size;
    return 0;
}

void kt_base32_encode(const void *bytes, size_t n, char *out)
{
    const uint8_t *in = bytes;
    uint32_t bits = 0;
    unsigned held = 0;

    for (size_t i = 0; i < n; i++) {
        bits = (bits << 8 | in[i]) & 0xffff;
        held += 8;
        while (held >= 5) {
            held -= 5;
            *out++ = BASE32[bits >> held & 31];
        }
    }
    if (held > 0)
        *out++ = BASE32[bits << (5 - held) & 31];
    *out = '\0';
}

int kt_base32_decode(const char *text, size_t len, uint8_t *out, size_t n)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t done = 0;

    if (n > SIZE_MAX / 8 - 1 || len != (8 * n + 4) / 5)
        return KT_ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] ? strchr(BASE32, text[i]) : NULL;
        if (!at)
            return KT_ERR_INVALID;
        bits = (bits << 5 | (uint32_t)(at - BASE32)) & 0xffff;
        held += 5;
        if (held >= 8) {
            held -= 8;
            out[done++] = (uint8_t)(bits >> held);
        }
    }
    return bits & ((1u << held) - 1) ? KT_ERR_INVALID : 0;
}

int kt_uuid_random(struct kt_uuid *uuid)
{
    struct kt_uuid fresh;
    int rc = kt_random(fresh.bytes, sizeof(fresh.bytes));

    if (rc)
        return rc;
    fresh.bytes[6] = (uint8_t)((fresh.bytes[6] & 0x0f) | 0x40); // RFC 9562 section 5.4
    fresh.bytes[8] = (uint8_t)((fresh.bytes[8] & 0x3f) | 0x80);
    *uuid = fresh;
    return 0;
}

void kt_uuid_format(const struct kt_uuid *uuid, char out[KT_UUID_TEXT])
{
    char hex[33];
    size_t at = 0;

    kt_hex_encode(uuid->bytes, sizeof(uuid->bytes), hex);
    for (size_t i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            out[at++] = '-';
        out[at++] = hex[i];
    }
    out[at] = '\0';
}

int kt_uuid_parse(const char *text, struct kt_uuid *uuid)
{
    char hex[33];
    size_t at = 0;

    if (strnlen(text, KT_UUID_TEXT) != KT_UUID_TEXT - 1)
        return KT_ERR_INVALID;
    for (size_t i = 0; i < KT_UUID_TEXT - 1; i++) {
        int is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash != (text[i] == '-'))
            return KT_ERR_INVALID;
        if (!is_dash)
            hex[at++] = text[i];
    }
    hex[at] = '\0';
    return kt_hex_decode(hex, uuid->bytes, sizeof(uuid->bytes));
}

int kt_uuid_is_nil(const struct kt_uuid *uuid)
{
    static const struct kt_uuid NIL;

    return memcmp(uuid, &NIL, sizeof(NIL)) == 0;
}

int kt_u64_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
        return KT_ERR_INVALID;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9')
            return KT_ERR_INVALID;
    }
    for (const char *p = text; *p; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return KT_ERR_TOO_LARGE;
        value = value * 10 + digit;
    }
    if (value > max)
        return KT_ERR_TOO_LARGE;
    if (value < min)
        return KT_ERR_INVALID;
    *out = value;
    return 0;
}

static int is_one_of(char c, const char *further)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr(further, c));
}

int kt_handle_check(const char *handle)
{
    size_t len = strnlen(handle, KT_HANDLE_MAX + 1);

    if (len == 0 || len > KT_HANDLE_MAX)
        return KT_ERR_HANDLE_INVALID;
    for (size_t i = 0; i < len; i++) {
        if (!is_one_of(handle[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZ._/@:+-"))
            return KT_ERR_HANDLE_INVALID;
    }
    return 0;
}

int kt_name_check(const char *name, size_t max)
{
    size_t len = strnlen(name, max + 1);

    if (len == 0 || len > max || name[0] < 'a' || name[0] > 'z')
        return KT_ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        if (!is_one_of(name[i], "-"))
            return KT_ERR_INVALID;
    }
    return 0;
}
