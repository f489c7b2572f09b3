// SPDX-License-Identifier: Apache-2.0
// The growable, bounded byte buffer.
#include "lib/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/secret.h"

#define FIRST_SIZE 256

void kt_buf_free(struct kt_buf *buf)
{
    if (!buf)
        return;
    if (buf->data) {
        kt_wipe(buf->data, buf->cap + 1);
        free(buf->data);
    }
    buf->data = NULL;
    buf->len = buf->cap = buf->off = 0;
}

void kt_buf_reset(struct kt_buf *buf)
{
    // Commit may have been called for less than was reserved and written: wipe all of it.
    if (buf->data)
        kt_wipe(buf->data, buf->cap + 1);
    buf->len = buf->off = 0;
}

size_t kt_buf_left(const struct kt_buf *buf)
{
    return buf->len - buf->off;
}

const uint8_t *kt_buf_ptr(const struct kt_buf *buf)
{
    return buf->data ? buf->data + buf->off : NULL;
}

int kt_buf_consume(struct kt_buf *buf, size_t n)
{
    if (n > kt_buf_left(buf))
        return KT_ERR_TRUNCATED;
    buf->off += n;
    if (buf->off == buf->len)
        buf->off = buf->len = 0;
    return 0;
}

int kt_buf_consume_wiped(struct kt_buf *buf, size_t n)
{
    if (n > kt_buf_left(buf))
        return KT_ERR_TRUNCATED;
    if (n > 0)
        kt_wipe(buf->data + buf->off, n);
    return kt_buf_consume(buf, n);
}

// Not realloc: it may leave a copy of the old bytes behind.
static int grow(struct kt_buf *buf, size_t need)
{
    size_t cap = buf->cap ? buf->cap : FIRST_SIZE;
    uint8_t *fresh;

    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > buf->max)
        cap = buf->max;
    fresh = malloc(cap + 1); // one more: kt_buf_putf's NUL, never counted
    if (!fresh)
        return KT_ERR_NO_MEMORY;
    if (buf->data) {
        memcpy(fresh, buf->data, buf->len);
        kt_wipe(buf->data, buf->cap + 1);
        free(buf->data);
    }
    buf->data = fresh;
    buf->cap = cap;
    return 0;
}

int kt_buf_reserve(struct kt_buf *buf, size_t n, uint8_t **where)
{
    // Consumed bytes do not count against the bound, else a long-lived buffer would fill up.
    if (n > buf->max || kt_buf_left(buf) > buf->max - n)
        return KT_ERR_TOO_LARGE;
    if (n > buf->cap - buf->len && buf->off > 0) {
        memmove(buf->data, buf->data + buf->off, buf->len - buf->off);
        buf->len -= buf->off;
        kt_wipe(buf->data + buf->len, buf->off); // the second copy of what was moved
        buf->off = 0;
    }
    if (n > buf->cap - buf->len || !buf->data) {
        int rc = grow(buf, buf->len + n > 0 ? buf->len + n : 1);
        if (rc)
            return rc;
    }
    *where = buf->data + buf->len;
    return 0;
}

void kt_buf_commit(struct kt_buf *buf, size_t n)
{
    if (n > buf->cap - buf->len) // the caller wrote past its reservation: nothing is safe any more
        abort();
    buf->len += n;
}

int kt_buf_put(struct kt_buf *buf, const void *bytes, size_t n)
{
    uint8_t *where;
    int rc;

    if (n == 0)
        return 0;
    rc = kt_buf_reserve(buf, n, &where);
    if (rc)
        return rc;
    memcpy(where, bytes, n);
    kt_buf_commit(buf, n);
    return 0;
}

static int put_number(struct kt_buf *buf, uint64_t v, size_t n)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
    return kt_buf_put(buf, bytes, n);
}

int kt_buf_put_u8(struct kt_buf *buf, uint8_t v)
{
    return put_number(buf, v, 1);
}

int kt_buf_put_u16(struct kt_buf *buf, uint16_t v)
{
    return put_number(buf, v, 2);
}

int kt_buf_put_u32(struct kt_buf *buf, uint32_t v)
{
    return put_number(buf, v, 4);
}

int kt_buf_put_u64(struct kt_buf *buf, uint64_t v)
{
    return put_number(buf, v, 8);
}

int kt_buf_put_block(struct kt_buf *buf, const void *bytes, size_t n)
{
    uint8_t *where;
    int rc;

    if (n > UINT32_MAX - 4)
        return KT_ERR_TOO_LARGE;
    // Room for both first: a length without its bytes must never stay behind.
    rc = kt_buf_reserve(buf, n + 4, &where);
    if (rc)
        return rc;
    rc = kt_buf_put_u32(buf, (uint32_t)n);
    return rc ? rc : kt_buf_put(buf, bytes, n);
}

int kt_buf_put_cstr(struct kt_buf *buf, const char *s)
{
    return kt_buf_put_block(buf, s, s ? strlen(s) : 0);
}

int kt_buf_putf(struct kt_buf *buf, const char *fmt, ...)
{
    va_list args;
    uint8_t *where;
    int n, rc;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        return KT_ERR_INTERNAL;
    rc = kt_buf_reserve(buf, (size_t)n, &where);
    if (rc)
        return rc;
    va_start(args, fmt);
    vsnprintf((char *)where, (size_t)n + 1, fmt, args);
    va_end(args);
    kt_buf_commit(buf, (size_t)n);
    return 0;
}

int kt_buf_get(struct kt_buf *buf, void *bytes, size_t n)
{
    if (n > kt_buf_left(buf))
        return KT_ERR_TRUNCATED;
    if (n == 0)
        return 0;
    memcpy(bytes, buf->data + buf->off, n);
    buf->off += n;
    return 0;
}

static int get_number(struct kt_buf *buf, uint64_t *v, size_t n)
{
    uint8_t bytes[8];
    uint64_t value = 0;
    int rc = kt_buf_get(buf, bytes, n);

    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | bytes[i];
    *v = value;
    return 0;
}

int kt_buf_get_u8(struct kt_buf *buf, uint8_t *v)
{
    return kt_buf_get(buf, v, 1);
}

int kt_buf_get_u16(struct kt_buf *buf, uint16_t *v)
{
    uint64_t value;
    int rc = get_number(buf, &value, 2);

    if (rc == 0)
        *v = (uint16_t)value;
    return rc;
}

int kt_buf_get_u32(struct kt_buf *buf, uint32_t *v)
{
    uint64_t value;
    int rc = get_number(buf, &value, 4);

    if (rc == 0)
        *v = (uint32_t)value;
    return rc;
}

int kt_buf_get_u64(struct kt_buf *buf, uint64_t *v)
{
    return get_number(buf, v, 8);
}

int kt_buf_get_block(struct kt_buf *buf, const uint8_t **bytes, size_t *n, size_t max)
{
    size_t start = buf->off;
    uint32_t len = 0;
    int rc = kt_buf_get_u32(buf, &len);

    if (rc)
        return rc;
    if (len > max)
        rc = KT_ERR_TOO_LARGE;
    else if (len > kt_buf_left(buf))
        rc = KT_ERR_TRUNCATED;
    if (rc) {
        buf->off = start; // the block can be asked for again when more has arrived
        return rc;
    }
    *bytes = buf->data + buf->off;
    *n = len;
    buf->off += len;
    return 0;
}

int kt_buf_get_cstr(struct kt_buf *buf, char *out, size_t size)
{
    size_t start = buf->off;
    const uint8_t *bytes;
    size_t n;
    int rc;

    if (size == 0)
        return KT_ERR_TOO_LARGE;
    rc = kt_buf_get_block(buf, &bytes, &n, size - 1);
    if (rc)
        return rc;
    if (memchr(bytes, 0, n)) {
        buf->off = start;
        return KT_ERR_INVALID;
    }
    memcpy(out, bytes, n);
    out[n] = '\0';
    return 0;
}
