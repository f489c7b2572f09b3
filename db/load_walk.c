// SPDX-License-Identifier: Apache-2.0
// COPY's binary format: PostgreSQL 15 documentation, COPY, "Binary Format".
#include <string.h>

#include "db/load_inner.h"

#define SIGNATURE_LEN 11
#define HEAD_LEN      (SIGNATURE_LEN + 4)
#define COLUMNS_MAX   1664
#define VALUE_MAX     (1u << 30)

static const uint8_t SIGNATURE[SIGNATURE_LEN + 1] = "PGCOPY\n\377\r\n";

static size_t wanted(enum db_walk_state state)
{
    switch (state) {
    case DB_WALK_SIGNATURE:
        return HEAD_LEN;
    case DB_WALK_ROW:
        return 2;
    case DB_WALK_EXTENSION:
    case DB_WALK_LENGTH:
    case DB_WALK_END:
        break;
    }
    return 4;
}

static uint32_t number(const uint8_t *bytes, size_t n)
{
    uint32_t value = 0;

    for (size_t i = 0; i < n; i++)
        value = value << 8 | bytes[i];
    return value;
}

static int begin_row(struct db_walk *walk, uint32_t columns)
{
    if (columns == 0xffff) {
        walk->state = DB_WALK_END;
        return 0;
    }
    if (columns == 0 || columns > COLUMNS_MAX || (walk->width && columns != walk->width))
        return KT_ERR_INVALID;
    walk->width = walk->columns = columns;
    walk->state = DB_WALK_LENGTH;
    return 0;
}

static int begin_value(struct db_walk *walk, uint32_t length)
{
    if (length != 0xffffffff && length > VALUE_MAX)
        return KT_ERR_INVALID;
    walk->skip = length == 0xffffffff ? 0 : length;
    if (--walk->columns == 0) {
        walk->rows++;
        walk->state = DB_WALK_ROW;
    }
    return 0;
}

// A part is complete.
static int take_part(struct db_walk *walk)
{
    uint32_t value;

    switch (walk->state) {
    case DB_WALK_SIGNATURE:
        // no flags are known: OIDs are of old, the others are critical
        if (memcmp(walk->part, SIGNATURE, SIGNATURE_LEN) != 0 ||
            number(walk->part + SIGNATURE_LEN, 4) != 0)
            return KT_ERR_INVALID;
        walk->state = DB_WALK_EXTENSION;
        return 0;
    case DB_WALK_EXTENSION:
        value = number(walk->part, 4);
        if (value > VALUE_MAX)
            return KT_ERR_INVALID;
        walk->skip = value;
        walk->state = DB_WALK_ROW;
        return 0;
    case DB_WALK_ROW:
        return begin_row(walk, number(walk->part, 2));
    case DB_WALK_LENGTH:
        return begin_value(walk, number(walk->part, 4));
    case DB_WALK_END:
        break;
    }
    return KT_ERR_INVALID;
}

int db_walk(struct db_walk *walk, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;

    while (n > 0) {
        size_t some, want = wanted(walk->state);
        int rc;

        if (walk->skip > 0) {
            some = walk->skip < n ? (size_t)walk->skip : n;
            walk->skip -= some;
            at += some;
            n -= some;
            continue;
        }
        if (walk->state == DB_WALK_END)
            return KT_ERR_INVALID;
        some = want - walk->have < n ? want - walk->have : n;
        memcpy(walk->part + walk->have, at, some);
        walk->have += some;
        at += some;
        n -= some;
        if (walk->have < want)
            break;
        walk->have = 0;
        rc = take_part(walk);
        if (rc)
            return rc;
    }
    return 0;
}

int db_walk_is_whole(const struct db_walk *walk)
{
    return walk->state == DB_WALK_END;
}
