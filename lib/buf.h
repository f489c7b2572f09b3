// SPDX-License-Identifier: Apache-2.0
// A growable byte buffer with a bound, and big-endian put and get on it. Freeing wipes.
#ifndef KT_BUF_H
#define KT_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

// May live on the stack; initialise with KT_BUF_INIT(max). Readable bytes are data[off .. len).
struct kt_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t off; // consumed by kt_buf_get_*
    size_t max; // kt_buf_put_* beyond it give KT_ERR_TOO_LARGE
};

#define KT_BUF_INIT(limit)                                                                         \
    {                                                                                              \
        NULL, 0, 0, 0, (limit)                                                                     \
    }

// Wipes and frees the storage; the buffer can be used again. NULL is fine.
void kt_buf_free(struct kt_buf *buf);
// Forgets the content (wiping it) and keeps the storage.
void kt_buf_reset(struct kt_buf *buf);
// Bytes not yet consumed, and where they start (never NULL when the length is > 0).
size_t kt_buf_left(const struct kt_buf *buf);
const uint8_t *kt_buf_ptr(const struct kt_buf *buf);
// Consumes n bytes; KT_ERR_TRUNCATED if there are fewer. Storage
// is moved down when all is consumed.
int kt_buf_consume(struct kt_buf *buf, size_t n) KT_MUST_CHECK;
// The same, and they are wiped: for what may hold a key or a token.
int kt_buf_consume_wiped(struct kt_buf *buf, size_t n) KT_MUST_CHECK;
// Room for n more bytes at the end, to be written by the caller and then counted by kt_buf_commit.
int kt_buf_reserve(struct kt_buf *buf, size_t n, uint8_t **where) KT_MUST_CHECK;
void kt_buf_commit(struct kt_buf *buf, size_t n);

int kt_buf_put(struct kt_buf *buf, const void *bytes, size_t n) KT_MUST_CHECK;
int kt_buf_put_u8(struct kt_buf *buf, uint8_t v) KT_MUST_CHECK;
int kt_buf_put_u16(struct kt_buf *buf, uint16_t v) KT_MUST_CHECK;
int kt_buf_put_u32(struct kt_buf *buf, uint32_t v) KT_MUST_CHECK;
int kt_buf_put_u64(struct kt_buf *buf, uint64_t v) KT_MUST_CHECK;
// u32 length, then the bytes.
int kt_buf_put_block(struct kt_buf *buf, const void *bytes, size_t n) KT_MUST_CHECK;
// As a block, without the NUL. NULL is put as the empty string.
int kt_buf_put_cstr(struct kt_buf *buf, const char *s) KT_MUST_CHECK;
int kt_buf_putf(struct kt_buf *buf, const char *fmt, ...) KT_MUST_CHECK
    __attribute__((format(printf, 2, 3)));

int kt_buf_get(struct kt_buf *buf, void *bytes, size_t n) KT_MUST_CHECK;
int kt_buf_get_u8(struct kt_buf *buf, uint8_t *v) KT_MUST_CHECK;
int kt_buf_get_u16(struct kt_buf *buf, uint16_t *v) KT_MUST_CHECK;
int kt_buf_get_u32(struct kt_buf *buf, uint32_t *v) KT_MUST_CHECK;
int kt_buf_get_u64(struct kt_buf *buf, uint64_t *v) KT_MUST_CHECK;
// Points into the buffer; valid until the buffer is changed. KT_ERR_TOO_LARGE over `max`.
int kt_buf_get_block(struct kt_buf *buf, const uint8_t **bytes, size_t *n,
                     size_t max) KT_MUST_CHECK;
// Copies a block into `out` (size bytes, NUL included); refuses embedded NULs (KT_ERR_INVALID).
int kt_buf_get_cstr(struct kt_buf *buf, char *out, size_t size) KT_MUST_CHECK;

#endif
