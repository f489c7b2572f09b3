// SPDX-License-Identifier: Apache-2.0
// A strict, bounded reader of HTTP/1.1 request heads (RFC 9112): only what the API needs, anything
// else is an error. Pure functions on bytes: no sockets, no allocation.
#ifndef KTS_HTTP_H
#define KTS_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

enum kts_method {
    KTS_METHOD_OTHER = 0, // a well-formed method that no call has
    KTS_GET = 1,
    KTS_HEAD = 2,
    KTS_PUT = 4,
    KTS_POST = 8,
    KTS_DELETE = 16,
};
// "GET"; "OTHER" for anything unknown.
const char *kts_method_name(enum kts_method method);

// Bytes inside the input; no NUL behind them.
struct kts_span {
    const char *at;
    size_t len;
};

#define KTS_HTTP_FIELDS_MAX 64

struct kts_http_field {
    struct kts_span name;
    struct kts_span value; // without white space around it
};

struct kts_http_head {
    enum kts_method method;
    int minor;             // HTTP/1.<minor>: 0 or 1
    struct kts_span path;  // begins with '/', still percent-encoded
    struct kts_span query; // behind '?', still percent-encoded; empty when none
    int keep_alive;        // the client lets the connection stay open
    int expect_continue;
    int has_length;
    uint64_t content_length;
    size_t field_count;
    struct kts_http_field fields[KTS_HTTP_FIELDS_MAX];
};

// Reads one head of at most `max` bytes (its final empty line included). Everything in *head points
// into `bytes`. `*scanned` is 0 at first and kept by the caller between calls on the same, growing
// input, so that a slow sender costs no rescans. *used receives the length of the head.
// KT_ERR_AGAIN: more is needed. KT_ERR_BAD_REQUEST (with what is wrong in `error`),
// _HEADER_TOO_LARGE, _LENGTH_REQUIRED (a transfer coding), _VERSION_NOT_SUPPORTED: the connection
// cannot go on.
int kts_http_read_head(const void *bytes, size_t n, size_t max, size_t *scanned,
                       struct kts_http_head *head, size_t *used,
                       struct kt_error *error) KT_MUST_CHECK;

// The value of a field (name in any case), or a span with at == NULL.
struct kts_span kts_http_field(const struct kts_http_head *head, const char *name);
int kts_span_equal(struct kts_span span, const char *text);
// ASCII letters of either case are equal.
int kts_span_equal_nocase(struct kts_span span, const char *text);

// Percent-decodes exactly once into `out` (size bytes, NUL included); '+' stays '+'.
// KT_ERR_BAD_REQUEST for broken escapes and NUL, KT_ERR_TOO_LARGE when it does not fit.
int kts_percent_decode(struct kts_span text, char *out, size_t size) KT_MUST_CHECK;
// The decoded value of a query parameter. KT_ERR_NOT_FOUND when it is not there;
// KT_ERR_BAD_REQUEST (also when it stands there twice), KT_ERR_TOO_LARGE.
int kts_query_value(struct kts_span query, const char *name, char *out, size_t size) KT_MUST_CHECK;
// KT_ERR_BAD_REQUEST when the query has a parameter that is not one of the space-separated `names`,
// or is not of the form name=value&name=value.
int kts_query_only(struct kts_span query, const char *names) KT_MUST_CHECK;

#endif
