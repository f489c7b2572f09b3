// SPDX-License-Identifier: Apache-2.0
// Incarnations, and the names of prepared groups: "kt:<number>.<bits>:<epoch>:<group>".
#include "lib/formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/formats_text.h"

void kt_incarnation_format(const struct kt_incarnation *inc, char out[KT_INCARNATION_TEXT])
{
    snprintf(out, KT_INCARNATION_TEXT, "%" PRIu32 ".%016" PRIx64, inc->number, inc->bits);
}

int kt_incarnation_parse(const char *text, struct kt_incarnation *inc)
{
    char number[16], again[KT_INCARNATION_TEXT];
    uint8_t bits[8];
    uint64_t value = 0;
    struct kt_incarnation parsed = {0};
    const char *dot = strchr(text, '.');
    if (dot == NULL || (size_t)(dot - text) >= sizeof(number))
        return KT_ERR_INVALID;
    memcpy(number, text, (size_t)(dot - text));
    number[dot - text] = '\0';
    if (kt_u64_parse(number, 0, UINT32_MAX, &value) != 0 || kt_hex_decode(dot + 1, bits, 8) != 0)
        return KT_ERR_INVALID;
    parsed.number = (uint32_t)value;
    for (int i = 0; i < 8; i++)
        parsed.bits = parsed.bits << 8 | bits[i];
    kt_incarnation_format(&parsed, again);
    if (strcmp(again, text) != 0)
        return KT_ERR_INVALID;
    *inc = parsed;
    return 0;
}

int kt_incarnation_compare(const struct kt_incarnation *a, uint64_t epoch_a,
                           const struct kt_incarnation *b, uint64_t epoch_b, int *order)
{
    if (a->number == b->number && a->bits != b->bits)
        return KT_ERR_PROTOCOL; // two restores that do not know of each other
    if (a->number != b->number)
        *order = a->number < b->number ? -1 : 1;
    else
        *order = epoch_a < epoch_b ? -1 : epoch_a > epoch_b;
    return 0;
}

void kt_gid_format(const struct kt_gid *gid, char out[KT_GID_TEXT])
{
    char incarnation[KT_INCARNATION_TEXT];
    kt_incarnation_format(&gid->incarnation, incarnation);
    snprintf(out, KT_GID_TEXT, "kt:%s:%" PRIu64 ":%" PRIu64, incarnation, gid->epoch, gid->group);
}

int kt_gid_parse(const char *text, struct kt_gid *gid)
{
    char copy[KT_GID_TEXT], again[KT_GID_TEXT];
    struct kt_gid parsed = {0};
    size_t n = strlen(text);
    if (n >= sizeof(copy) || strncmp(text, "kt:", 3) != 0)
        return KT_ERR_INVALID;
    memcpy(copy, text, n + 1);
    char *epoch = strchr(copy + 3, ':');
    if (epoch == NULL)
        return KT_ERR_INVALID;
    *epoch++ = '\0';
    char *group = strchr(epoch, ':');
    if (group == NULL)
        return KT_ERR_INVALID;
    *group++ = '\0';
    if (kt_incarnation_parse(copy + 3, &parsed.incarnation) != 0 ||
        kt_u64_parse(epoch, 0, UINT64_MAX, &parsed.epoch) != 0 ||
        kt_u64_parse(group, 0, UINT64_MAX, &parsed.group) != 0)
        return KT_ERR_INVALID;
    kt_gid_format(&parsed, again);
    if (strcmp(again, text) != 0)
        return KT_ERR_INVALID;
    *gid = parsed;
    return 0;
}
