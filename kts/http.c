// SPDX-License-Identifier: Apache-2.0
// The reader of HTTP/1.1 request heads.
#include "kts/http.h"

#include <string.h>

#define METHOD_MAX 16

// Fields that may stand in a head once: two that disagree must never be a matter of taste.
static const char *const SINGLE[] = {
    "host",
    "content-length",
    "content-type",
    "expect",
    "kt-deposit-id",
    "kt-sha256",
    "kt-freshness",
    "kt-not-before",
    "kt-not-after",
    "kt-max-retrievals",
    "kt-justification",
    "kt-trustees",
    "kt-votes",
    "kt-request-lifetime",
    "kt-retrieval-id",
    "kt-key-group",
    NULL,
};

const char *kts_method_name(enum kts_method method)
{
    switch (method) {
    case KTS_GET:
        return "GET";
    case KTS_HEAD:
        return "HEAD";
    case KTS_PUT:
        return "PUT";
    case KTS_POST:
        return "POST";
    case KTS_DELETE:
        return "DELETE";
    case KTS_METHOD_OTHER:
        break;
    }
    return "OTHER";
}

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// tchar of RFC 9110 section 5.6.2.
static int is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

int kts_span_equal(struct kts_span span, const char *text)
{
    size_t n = strlen(text);

    return span.len == n && (n == 0 || memcmp(span.at, text, n) == 0);
}

int kts_span_equal_nocase(struct kts_span span, const char *text)
{
    if (span.len != strlen(text))
        return 0;
    for (size_t i = 0; i < span.len; i++) {
        if (lower(span.at[i]) != lower(text[i]))
            return 0;
    }
    return 1;
}

static int bad(struct kt_error *error, const char *what)
{
    return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "malformed request: %s", what);
}

// Finds the empty line. A bare LF, a bare CR or a NUL is refused as soon as it is seen, so that
// such a sender isn't left waiting for the deadline.
static int find_end(const char *p, size_t n, size_t *scanned, size_t *end, struct kt_error *error)
{
    for (size_t i = *scanned; i < n; i++) {
        if (p[i] == '\0')
            return bad(error, "a NUL in the head");
        if (i > 0 && p[i - 1] == '\r' && p[i] != '\n')
            return bad(error, "a CR without LF");
        if (p[i] != '\n')
            continue;
        if (i == 0 || p[i - 1] != '\r')
            return bad(error, "a line end without CR");
        if (i >= 3 && p[i - 2] == '\n') {
            *end = i + 1;
            *scanned = i + 1;
            return 0;
        }
    }
    *scanned = n;
    return KT_ERR_AGAIN;
}

// The next line without its CRLF; the head is known to end in an empty line.
static struct kts_span next_line(const char **at)
{
    const char *end = strchr(*at, '\r');
    struct kts_span line = {*at, (size_t)(end - *at)};

    *at = end + 2;
    return line;
}

static enum kts_method method_of(struct kts_span name)
{
    static const enum kts_method ALL[] = {KTS_GET, KTS_HEAD, KTS_PUT, KTS_POST, KTS_DELETE};

    for (size_t i = 0; i < sizeof(ALL) / sizeof(ALL[0]); i++) {
        if (kts_span_equal(name, kts_method_name(ALL[i])))
            return ALL[i];
    }
    return KTS_METHOD_OTHER;
}

// Origin form only (RFC 9112 section 3.2.1): a proxy's absolute form would name a host of its own.
static int read_target(struct kts_span target, struct kts_http_head *head, struct kt_error *error)
{
    const char *mark;

    if (target.len == 0 || target.at[0] != '/')
        return bad(error, "the target is not a path");
    for (size_t i = 0; i < target.len; i++) {
        char c = target.at[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}#", c))
            return bad(error, "a character in the target that must be percent-encoded");
    }
    mark = memchr(target.at, '?', target.len);
    head->path = target;
    head->query = (struct kts_span){target.at + target.len, 0};
    if (mark) {
        head->path.len = (size_t)(mark - target.at);
        head->query = (struct kts_span){mark + 1, target.len - head->path.len - 1};
    }
    return 0;
}

static int read_version(struct kts_span version, struct kts_http_head *head, struct kt_error *error)
{
    if (version.len != 8 || memcmp(version.at, "HTTP/", 5) != 0 || !is_digit(version.at[5]) ||
        version.at[6] != '.' || !is_digit(version.at[7]))
        return bad(error, "the request line does not end in an HTTP version");
    if (version.at[5] != '1' || version.at[7] > '1')
        return kt_error_set(error, KT_ERR_VERSION_NOT_SUPPORTED, NULL,
                            "this HTTP version is not supported");
    head->minor = version.at[7] - '0';
    return 0;
}

static int read_request_line(struct kts_span line, struct kts_http_head *head,
                             struct kt_error *error)
{
    struct kts_span method, target, version;
    const char *end = line.at + line.len;
    const char *a = memchr(line.at, ' ', line.len);
    const char *b = a ? memchr(a + 1, ' ', (size_t)(end - a - 1)) : NULL;
    int rc;

    if (!a || !b)
        return bad(error, "the request line has not three parts");
    method = (struct kts_span){line.at, (size_t)(a - line.at)};
    target = (struct kts_span){a + 1, (size_t)(b - a - 1)};
    version = (struct kts_span){b + 1, (size_t)(end - b - 1)};
    if (method.len == 0 || method.len > METHOD_MAX)
        return bad(error, "the method");
    for (size_t i = 0; i < method.len; i++) {
        if (!is_token_char(method.at[i]))
            return bad(error, "the method");
    }
    head->method = method_of(method);
    rc = read_version(version, head, error);
    return rc ? rc : read_target(target, head, error);
}

static int read_field(struct kts_span line, struct kts_http_field *field, struct kt_error *error)
{
    size_t colon = 0;
    size_t from, to = line.len;

    if (line.at[0] == ' ' || line.at[0] == '\t')
        return bad(error, "a folded header field");
    while (colon < line.len && is_token_char(line.at[colon]))
        colon++;
    if (colon == 0 || colon == line.len || line.at[colon] != ':')
        return bad(error, "a header field without a proper name");
    from = colon + 1;
    while (from < to && (line.at[from] == ' ' || line.at[from] == '\t'))
        from++;
    while (to > from && (line.at[to - 1] == ' ' || line.at[to - 1] == '\t'))
        to--;
    for (size_t i = from; i < to; i++) {
        char c = line.at[i];
        if (c != '\t' && (c < ' ' || c >= 0x7f))
            return bad(error, "a header field with a control or non-ASCII character");
    }
    field->name = (struct kts_span){line.at, colon};
    field->value = (struct kts_span){line.at + from, to - from};
    return 0;
}

struct kts_span kts_http_field(const struct kts_http_head *head, const char *name)
{
    for (size_t i = 0; i < head->field_count; i++) {
        if (kts_span_equal_nocase(head->fields[i].name, name))
            return head->fields[i].value;
    }
    return (struct kts_span){NULL, 0};
}

static int check_single(const struct kts_http_head *head, struct kt_error *error)
{
    for (size_t s = 0; SINGLE[s]; s++) {
        int seen = 0;
        for (size_t i = 0; i < head->field_count; i++)
            seen += kts_span_equal_nocase(head->fields[i].name, SINGLE[s]);
        if (seen > 1)
            return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                                "malformed request: the header field %s stands there twice",
                                SINGLE[s]);
    }
    return 0;
}

static int read_length(struct kts_http_head *head, struct kt_error *error)
{
    struct kts_span value = kts_http_field(head, "content-length");

    if (!value.at)
        return 0;
    if (value.len == 0 || value.len > 18) // 18 digits cannot overflow
        return bad(error, "the content-length");
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.at[i]))
            return bad(error, "the content-length");
        head->content_length = head->content_length * 10 + (uint64_t)(value.at[i] - '0');
    }
    head->has_length = 1;
    return 0;
}

// Looks for `option` in all Connection fields (comma-separated lists).
static int connection_has(const struct kts_http_head *head, const char *option)
{
    for (size_t i = 0; i < head->field_count; i++) {
        struct kts_span rest = head->fields[i].value;
        if (!kts_span_equal_nocase(head->fields[i].name, "connection"))
            continue;
        while (rest.len > 0) {
            const char *comma = memchr(rest.at, ',', rest.len);
            size_t n = comma ? (size_t)(comma - rest.at) : rest.len;
            struct kts_span word = {rest.at, n};
            while (word.len > 0 && (word.at[0] == ' ' || word.at[0] == '\t'))
                word = (struct kts_span){word.at + 1, word.len - 1};
            while (word.len > 0 && strchr(" \t", word.at[word.len - 1]))
                word.len--;
            if (kts_span_equal_nocase(word, option))
                return 1;
            n += comma != NULL;
            rest = (struct kts_span){rest.at + n, rest.len - n};
        }
    }
    return 0;
}

// What follows from the fields together.
static int conclude(struct kts_http_head *head, struct kt_error *error)
{
    struct kts_span expect = kts_http_field(head, "expect");
    struct kts_span host = kts_http_field(head, "host");
    int rc = check_single(head, error);

    if (rc)
        return rc;
    if (head->minor == 1 && !host.at)
        return bad(error, "no host");
    if (kts_http_field(head, "transfer-encoding").at)
        return kt_error_set(error, KT_ERR_LENGTH_REQUIRED, NULL,
                            "transfer codings are not supported");
    rc = read_length(head, error);
    if (rc)
        return rc;
    if (expect.at && !kts_span_equal_nocase(expect, "100-continue"))
        return bad(error, "an expectation other than 100-continue");
    head->expect_continue = expect.at != NULL && head->minor == 1;
    head->keep_alive = head->minor == 1 && !connection_has(head, "close");
    return 0;
}

int kts_http_read_head(const void *bytes, size_t n, size_t max, size_t *scanned,
                       struct kts_http_head *head, size_t *used, struct kt_error *error)
{
    const char *at = bytes;
    size_t end = 0;
    size_t window = n < max ? n : max;
    int rc = find_end(at, window, scanned, &end, error);

    if (rc == KT_ERR_AGAIN && n >= max)
        return kt_error_set(error, KT_ERR_HEADER_TOO_LARGE, NULL,
                            "the request's head is over its bound of %zu bytes", max);
    if (rc)
        return rc;
    // Field by field, not a memset: the array is only read up to field_count.
    head->method = KTS_METHOD_OTHER;
    head->minor = head->keep_alive = head->expect_continue = head->has_length = 0;
    head->content_length = 0;
    head->field_count = 0;
    rc = read_request_line(next_line(&at), head, error);
    while (rc == 0) {
        struct kts_span line = next_line(&at);
        if (line.len == 0)
            break;
        if (head->field_count == KTS_HTTP_FIELDS_MAX)
            return kt_error_set(error, KT_ERR_HEADER_TOO_LARGE, NULL, "more than %d header fields",
                                KTS_HTTP_FIELDS_MAX);
        rc = read_field(line, &head->fields[head->field_count++], error);
    }
    if (rc == 0)
        rc = conclude(head, error);
    if (rc == 0)
        *used = end;
    return rc;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = (char)lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int kts_percent_decode(struct kts_span text, char *out, size_t size)
{
    size_t w = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_value(text.at[i + 1]) : -1;
            int low = high >= 0 ? hex_value(text.at[i + 2]) : -1;
            if (low < 0 || (high == 0 && low == 0))
                return KT_ERR_BAD_REQUEST;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0')
            return KT_ERR_BAD_REQUEST;
        if (w + 1 >= size)
            return KT_ERR_TOO_LARGE;
        out[w++] = c;
    }
    if (size == 0)
        return KT_ERR_TOO_LARGE;
    out[w] = '\0';
    return 0;
}

// Takes the next "name=value" off the query; 0 at its end.
static int next_parameter(struct kts_span *rest, struct kts_span *name, struct kts_span *value)
{
    const char *amp, *equal;
    size_t n;

    if (rest->len == 0)
        return 0;
    amp = memchr(rest->at, '&', rest->len);
    n = amp ? (size_t)(amp - rest->at) : rest->len;
    equal = memchr(rest->at, '=', n);
    *name = (struct kts_span){rest->at, equal ? (size_t)(equal - rest->at) : n};
    *value = (struct kts_span){NULL, 0};
    if (equal)
        *value = (struct kts_span){equal + 1, n - name->len - 1};
    n += amp != NULL;
    *rest = (struct kts_span){rest->at + n, rest->len - n};
    return 1;
}

int kts_query_value(struct kts_span query, const char *name, char *out, size_t size)
{
    struct kts_span found = {NULL, 0}, key, value;

    while (next_parameter(&query, &key, &value)) {
        if (!kts_span_equal(key, name))
            continue;
        if (found.at || !value.at)
            return KT_ERR_BAD_REQUEST;
        found = value;
    }
    return found.at ? kts_percent_decode(found, out, size) : KT_ERR_NOT_FOUND;
}

static int is_listed(struct kts_span name, const char *names)
{
    while (*names) {
        size_t n = strcspn(names, " ");
        if (name.len == n && memcmp(name.at, names, n) == 0)
            return 1;
        names += n + (names[n] == ' ');
    }
    return 0;
}

int kts_query_only(struct kts_span query, const char *names)
{
    struct kts_span key, value;

    while (next_parameter(&query, &key, &value)) {
        if (key.len == 0 || !value.at || !is_listed(key, names))
            return KT_ERR_BAD_REQUEST;
    }
    return 0;
}
