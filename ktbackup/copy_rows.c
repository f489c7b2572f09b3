// SPDX-License-Identifier: Apache-2.0
// Cutting COPY's binary format into rows.
#include "ktbackup/copy_rows.h"

#include <string.h>

#define ROW_MAX      ((size_t)64 << 20)
#define HEADER_BYTES 19 // signature, flags, length of the extension

static const uint8_t SIGNATURE[11] = "PGCOPY\n\377\r\n";

static uint32_t u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int malformed(struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_INVALID, "use another backup",
                        "a table in the backup is not in COPY's binary format");
}

void ktb_rows_begin(struct ktb_rows *rows, ktb_row_taker take, void *arg)
{
    *rows = (struct ktb_rows){.take = take, .arg = arg, .buf = KT_BUF_INIT(ROW_MAX)};
}

static int take_header(struct ktb_rows *rows, struct kt_error *error)
{
    const uint8_t *at = kt_buf_ptr(&rows->buf);

    if (kt_buf_left(&rows->buf) < HEADER_BYTES)
        return KT_ERR_AGAIN;
    // No flags are known, and no extension: what we do not know may change the meaning of rows.
    if (memcmp(at, SIGNATURE, sizeof(SIGNATURE)) != 0 || u32(at + 11) != 0 || u32(at + 15) != 0)
        return malformed(error);
    rows->has_header = 1;
    return kt_buf_consume(&rows->buf, HEADER_BYTES);
}

// One row, when it is there whole.
static int take_row(struct ktb_rows *rows, struct kt_error *error)
{
    const uint8_t *at = kt_buf_ptr(&rows->buf);
    size_t left = kt_buf_left(&rows->buf), used = 2, count;
    struct ktb_row row = {0};
    int rc;

    if (left < 2)
        return KT_ERR_AGAIN;
    count = (size_t)at[0] << 8 | at[1];
    if (count == 0xffff) {
        rows->has_ended = 1;
        return kt_buf_consume(&rows->buf, 2);
    }
    if (count > KTB_COLUMNS_MAX)
        return malformed(error);
    for (row.count = 0; row.count < count; row.count++) {
        uint32_t length;
        if (left - used < 4)
            return KT_ERR_AGAIN;
        length = u32(at + used);
        used += 4;
        if (length == UINT32_MAX)
            continue;
        if (length > ROW_MAX)
            return malformed(error);
        if (left - used < length)
            return KT_ERR_AGAIN;
        row.values[row.count] = at + used;
        row.lengths[row.count] = length;
        used += length;
    }
    rc = rows->take(rows->arg, &row, error);
    return rc ? rc : kt_buf_consume(&rows->buf, used);
}

int ktb_rows_put(struct ktb_rows *rows, const void *bytes, size_t n, struct kt_error *error)
{
    int rc = 0;

    if (kt_buf_put(&rows->buf, bytes, n) != 0)
        return malformed(error);
    if (!rows->has_header)
        rc = take_header(rows, error);
    while (rc == 0 && !rows->has_ended)
        rc = take_row(rows, error);
    if (rows->has_ended && kt_buf_left(&rows->buf) > 0)
        rc = malformed(error);
    return rc == KT_ERR_AGAIN ? 0 : rc;
}

int ktb_rows_end(struct ktb_rows *rows, struct kt_error *error)
{
    return rows->has_ended ? 0
                           : kt_error_set(error, KT_ERR_TRUNCATED, "use another backup",
                                          "a table in the backup ends too early");
}

void ktb_rows_free(struct ktb_rows *rows)
{
    kt_buf_free(&rows->buf);
}
