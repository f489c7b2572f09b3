// SPDX-License-Identifier: Apache-2.0
// Rows of COPY's binary format, as a stream (PostgreSQL's documentation, COPY, Binary Format).
#ifndef KTB_COPY_ROWS_H
#define KTB_COPY_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

#define KTB_COLUMNS_MAX 64

struct ktb_row {
    size_t count;
    const uint8_t *values[KTB_COLUMNS_MAX]; // NULL: SQL NULL
    uint32_t lengths[KTB_COLUMNS_MAX];
};

// Takes each row; other than 0 ends with that code.
typedef int (*ktb_row_taker)(void *arg, const struct ktb_row *row, struct kt_error *error);

struct ktb_rows {
    ktb_row_taker take;
    void *arg;
    struct kt_buf buf; // what is not yet a whole row
    int has_header, has_ended;
};

void ktb_rows_begin(struct ktb_rows *rows, ktb_row_taker take, void *arg);
// KT_ERR_INVALID when it is not the format; rows over 64 MiB are refused.
int ktb_rows_put(struct ktb_rows *rows, const void *bytes, size_t n,
                 struct kt_error *error) KT_MUST_CHECK;
// KT_ERR_TRUNCATED without the format's end.
int ktb_rows_end(struct ktb_rows *rows, struct kt_error *error) KT_MUST_CHECK;
void ktb_rows_free(struct ktb_rows *rows);

#endif
