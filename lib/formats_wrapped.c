// SPDX-License-Identifier: Apache-2.0
// Wrapped keys (application/vnd.keytrustee.wrapped): a data key under a key that is deposited.
#include "lib/formats.h"

#include <string.h>

#define HEADER_LEN  29 // magic, deposit id, version, algorithm, length
#define WRAPPED_MIN 24
#define WRAPPED_MAX 65536

static const uint8_t magic[4] = {'K', 'T', 'W', '1'};

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static int check(const struct kt_wrapped *wrapped)
{
    if (wrapped->len > WRAPPED_MAX)
        return KT_ERR_TOO_LARGE;
    if (wrapped->algorithm < 1 || wrapped->algorithm > 2 || wrapped->kek_version == 0 ||
        wrapped->len < WRAPPED_MIN || wrapped->len % 8 != 0)
        return KT_ERR_INVALID;
    return 0;
}

int kt_wrapped_parse(const void *bytes, size_t n, struct kt_wrapped *wrapped)
{
    const uint8_t *at = bytes;
    struct kt_wrapped parsed = {0};
    if (n < sizeof(magic) || memcmp(at, magic, sizeof(magic)) != 0)
        return KT_ERR_INVALID;
    if (n < HEADER_LEN)
        return KT_ERR_TRUNCATED;
    memcpy(parsed.kek_id.bytes, at + 4, 16);
    parsed.kek_version = get_u32(at + 20);
    parsed.algorithm = at[24];
    parsed.len = get_u32(at + 25);
    parsed.bytes = at + HEADER_LEN;
    int rc = check(&parsed);
    if (rc != 0)
        return rc;
    if (n - HEADER_LEN < parsed.len)
        return KT_ERR_TRUNCATED;
    if (n - HEADER_LEN > parsed.len)
        return KT_ERR_INVALID;
    *wrapped = parsed;
    return 0;
}

int kt_wrapped_format(const struct kt_wrapped *wrapped, void *out, size_t size, size_t *len)
{
    uint8_t *at = out;
    int rc = check(wrapped);
    if (rc != 0)
        return rc;
    if (size < HEADER_LEN + wrapped->len)
        return KT_ERR_TOO_LARGE;
    memcpy(at, magic, sizeof(magic));
    memcpy(at + 4, wrapped->kek_id.bytes, 16);
    put_u32(at + 20, wrapped->kek_version);
    at[24] = wrapped->algorithm;
    put_u32(at + 25, (uint32_t)wrapped->len);
    memcpy(at + HEADER_LEN, wrapped->bytes, wrapped->len);
    *len = HEADER_LEN + wrapped->len;
    return 0;
}
