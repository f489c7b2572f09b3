// SPDX-License-Identifier: Apache-2.0
// The strict reader of request heads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kts/http.h"

#define MAX  8192
#define HOST "Host: x\r\n"

static struct kts_http_head head;
static struct kt_error error;
static size_t used;

// The bytes in a block of just their size, so that a sanitizer sees a read past the end.
static int read_bytes(const char *bytes, size_t n)
{
    static char *copy;
    size_t scanned = 0;

    free(copy);
    copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    memset(&head, 0, sizeof(head));
    memset(&error, 0, sizeof(error));
    used = 0;
    return kts_http_read_head(copy, n, MAX, &scanned, &head, &used, &error);
}

static int read_text(const char *text)
{
    return read_bytes(text, strlen(text));
}

static void a_whole_head_is_read(void **state)
{
    const char *text = "PUT /v1/deposits/a%2Fb?version=3&x=y HTTP/1.1\r\nHost: h:11371\r\n"
                       "content-LENGTH:  12 \t\r\nContent-Type: application/json\r\n\r\nbody";

    (void)state;
    assert_int_equal(read_text(text), 0);
    assert_int_equal(used, strlen(text) - 4);
    assert_int_equal(head.method, KTS_PUT);
    assert_int_equal(head.minor, 1);
    assert_true(kts_span_equal(head.path, "/v1/deposits/a%2Fb"));
    assert_true(kts_span_equal(head.query, "version=3&x=y"));
    assert_true(head.has_length);
    assert_int_equal(head.content_length, 12);
    assert_true(head.keep_alive);
    assert_false(head.expect_continue);
    assert_true(kts_span_equal(kts_http_field(&head, "CONTENT-type"), "application/json"));
    assert_null(kts_http_field(&head, "KT-SHA256").at);
}

static void every_beginning_asks_for_more(void **state)
{
    const char *text = "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
    size_t scanned = 0;

    (void)state;
    for (size_t n = 0; n < strlen(text); n++) {
        assert_int_equal(read_bytes(text, n), KT_ERR_AGAIN);
        assert_int_equal(kts_http_read_head(text, n, MAX, &scanned, &head, &used, &error),
                         KT_ERR_AGAIN);
        assert_int_equal(scanned, n);
    }
    assert_int_equal(kts_http_read_head(text, strlen(text), MAX, &scanned, &head, &used, &error),
                     0);
    assert_int_equal(used, strlen(text));
}

static void malformed_heads_are_refused(void **state)
{
    static const char *const BAD[] = {
        "GET / HTTP/1.1\nHost: x\n\n", // bare LF
        "GET / HTTP/1.1\r\nHost: x\n\r\n",
        "\nGET",
        "GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",      // bare CR
        "GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", // folded
        "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",    // space before the colon
        "GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n", // no name
        "GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n",     // control character
        "GET / HTTP/1.1\r\n" HOST "A: \xc3\xa9\r\n\r\n", // not ASCII
        "GET / HTTP/1.1\r\n\r\n",                        // no host
        "GET / HTTP/1.1\r\n" HOST HOST "\r\n",           // two
        "GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\ncontent-length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Content-Length: 0x10\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Content-Length: 1234567890123456789\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "KT-SHA256: a\r\nKT-SHA256: a\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "KT-Votes: 1\r\nKT-Votes: 2\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "KT-Retrieval-Id: a\r\nkt-retrieval-id: b\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\n\r\n",
        "GET http://x/ HTTP/1.1\r\n" HOST "\r\n", // absolute form
        "GET * HTTP/1.1\r\n" HOST "\r\n",
        "GET x HTTP/1.1\r\n" HOST "\r\n",
        "GET  / HTTP/1.1\r\n" HOST "\r\n", // two spaces
        "GET /  HTTP/1.1\r\n" HOST "\r\n",
        "GET / HTTP/1.1 \r\n" HOST "\r\n",
        "GET /\tHTTP/1.1\r\n" HOST "\r\n",
        "GET /\r\n" HOST "\r\n", // HTTP/0.9
        "GET /#a HTTP/1.1\r\n" HOST "\r\n",
        "GET /{a} HTTP/1.1\r\n" HOST "\r\n",
        "GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n",
        "GET / HTTP/1.1x\r\n" HOST "\r\n",
        "GET / http/1.1\r\n" HOST "\r\n",
        "G(T / HTTP/1.1\r\n" HOST "\r\n",
        " / HTTP/1.1\r\n" HOST "\r\n",
        "AVERYVERYLONGMETHOD / HTTP/1.1\r\n" HOST "\r\n",
        "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        if (read_text(BAD[i]) != KT_ERR_BAD_REQUEST)
            fail_msg("not refused: %s", BAD[i]);
        assert_true(error.message[0] != '\0');
    }
    assert_int_equal(read_bytes("GET /\0 HTTP/1.1", 16), KT_ERR_BAD_REQUEST);
}

static void transfer_codings_need_a_length_instead(void **state)
{
    (void)state;
    assert_int_equal(read_text("PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"),
                     KT_ERR_LENGTH_REQUIRED);
    assert_int_equal(read_text("PUT / HTTP/1.1\r\n" HOST
                               "Content-Length: 3\r\nTransfer-Encoding: identity\r\n\r\n"),
                     KT_ERR_LENGTH_REQUIRED);
}

static void only_http_1_is_spoken(void **state)
{
    (void)state;
    assert_int_equal(read_text("GET / HTTP/2.0\r\n" HOST "\r\n"), KT_ERR_VERSION_NOT_SUPPORTED);
    assert_int_equal(read_text("GET / HTTP/1.2\r\n" HOST "\r\n"), KT_ERR_VERSION_NOT_SUPPORTED);
    assert_int_equal(read_text("GET / HTTP/0.9\r\n" HOST "\r\n"), KT_ERR_VERSION_NOT_SUPPORTED);
    assert_int_equal(read_text("GET / HTTP/1.0\r\n\r\n"), 0);
    assert_false(head.keep_alive);
}

static void connection_close_is_heard_among_others(void **state)
{
    (void)state;
    assert_int_equal(read_text("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), 0);
    assert_false(head.keep_alive);
    assert_int_equal(read_text("GET / HTTP/1.1\r\n" HOST "Connection: TE , CLOSE\r\n\r\n"), 0);
    assert_false(head.keep_alive);
    assert_int_equal(read_text("GET / HTTP/1.1\r\n" HOST "Connection: ,,\r\n\r\n"), 0);
    assert_true(head.keep_alive);
    assert_int_equal(read_text("GET / HTTP/1.1\r\n" HOST
                               "Connection: keep-alive\r\nConnection: x,close\r\n\r\n"),
                     0);
    assert_false(head.keep_alive);
    assert_int_equal(read_text("GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n"), 0);
    assert_true(head.keep_alive);
}

static void continue_is_expected_in_1_1_only(void **state)
{
    (void)state;
    assert_int_equal(
        read_text("PUT / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n"),
        0);
    assert_true(head.expect_continue);
    assert_int_equal(
        read_text("PUT / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"), 0);
    assert_false(head.expect_continue);
}

static void bounds_are_kept(void **state)
{
    char text[MAX + 64];
    size_t n = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "A: ");

    (void)state;
    // Just fits, then one byte too many.
    memset(text + n, 'x', MAX - n - 4);
    memcpy(text + MAX - 4, "\r\n\r\n", 5);
    assert_int_equal(read_text(text), 0);
    assert_int_equal(used, MAX);
    memset(text + n, 'x', MAX - n - 3);
    memcpy(text + MAX - 3, "\r\n\r\n", 5);
    assert_int_equal(read_text(text), KT_ERR_HEADER_TOO_LARGE);
    assert_int_equal(read_bytes(text, MAX), KT_ERR_HEADER_TOO_LARGE);
    assert_int_equal(read_bytes(text, MAX - 1), KT_ERR_AGAIN);
    // 64 fields, then 65.
    n = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST);
    for (int i = 1; i < KTS_HTTP_FIELDS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "A: b\r\n");
    snprintf(text + n, sizeof(text) - n, "\r\n");
    assert_int_equal(read_text(text), 0);
    assert_int_equal(head.field_count, KTS_HTTP_FIELDS_MAX);
    snprintf(text + n, sizeof(text) - n, "A: b\r\n\r\n");
    assert_int_equal(read_text(text), KT_ERR_HEADER_TOO_LARGE);
}

static void other_methods_are_read_and_named(void **state)
{
    (void)state;
    assert_int_equal(read_text("PATCH / HTTP/1.1\r\n" HOST "\r\n"), 0);
    assert_int_equal(head.method, KTS_METHOD_OTHER);
    assert_int_equal(read_text("get / HTTP/1.1\r\n" HOST "\r\n"), 0);
    assert_int_equal(head.method, KTS_METHOD_OTHER);
    assert_string_equal(kts_method_name(KTS_DELETE), "DELETE");
    assert_string_equal(kts_method_name(KTS_METHOD_OTHER), "OTHER");
}

static int decode(const char *text, char *out, size_t size)
{
    return kts_percent_decode((struct kts_span){text, strlen(text)}, out, size);
}

static void percent_escapes_are_decoded_strictly(void **state)
{
    char out[8];

    (void)state;
    assert_int_equal(decode("a%2fB%2B", out, sizeof(out)), 0);
    assert_string_equal(out, "a/B+");
    assert_int_equal(decode("a+b", out, sizeof(out)), 0);
    assert_string_equal(out, "a+b");
    assert_int_equal(decode("%2541", out, sizeof(out)), 0);
    assert_string_equal(out, "%41");
    assert_int_equal(decode("", out, sizeof(out)), 0);
    assert_string_equal(out, "");
    assert_int_equal(decode("%", out, sizeof(out)), KT_ERR_BAD_REQUEST);
    assert_int_equal(decode("%2", out, sizeof(out)), KT_ERR_BAD_REQUEST);
    assert_int_equal(decode("%g1", out, sizeof(out)), KT_ERR_BAD_REQUEST);
    assert_int_equal(decode("%1g", out, sizeof(out)), KT_ERR_BAD_REQUEST);
    assert_int_equal(decode("a%00", out, sizeof(out)), KT_ERR_BAD_REQUEST);
    assert_int_equal(decode("1234567", out, sizeof(out)), 0);
    assert_int_equal(decode("12345678", out, sizeof(out)), KT_ERR_TOO_LARGE);
    assert_int_equal(decode("", out, 0), KT_ERR_TOO_LARGE);
}

static struct kts_span span(const char *text)
{
    return (struct kts_span){text, strlen(text)};
}

static void query_parameters_are_found(void **state)
{
    char out[16];

    (void)state;
    assert_int_equal(kts_query_value(span("a=1&b=%32&c="), "b", out, sizeof(out)), 0);
    assert_string_equal(out, "2");
    assert_int_equal(kts_query_value(span("a=1&b=2&c="), "c", out, sizeof(out)), 0);
    assert_string_equal(out, "");
    assert_int_equal(kts_query_value(span("a=b=c"), "a", out, sizeof(out)), 0);
    assert_string_equal(out, "b=c");
    assert_int_equal(kts_query_value(span("a=1"), "b", out, sizeof(out)), KT_ERR_NOT_FOUND);
    assert_int_equal(kts_query_value(span(""), "b", out, sizeof(out)), KT_ERR_NOT_FOUND);
    assert_int_equal(kts_query_value(span("a=1&a=1"), "a", out, sizeof(out)), KT_ERR_BAD_REQUEST);
    assert_int_equal(kts_query_value(span("a"), "a", out, sizeof(out)), KT_ERR_BAD_REQUEST);
    assert_int_equal(kts_query_value(span("a=%"), "a", out, sizeof(out)), KT_ERR_BAD_REQUEST);
    assert_int_equal(kts_query_value(span("a=12345678901234567"), "a", out, sizeof(out)),
                     KT_ERR_TOO_LARGE);
}

static void unknown_query_parameters_are_refused(void **state)
{
    (void)state;
    assert_int_equal(kts_query_only(span(""), ""), 0);
    assert_int_equal(kts_query_only(span("a=1&bc=2"), "a bc"), 0);
    assert_int_equal(kts_query_only(span("a=1&b=2"), "a bc"), KT_ERR_BAD_REQUEST);
    assert_int_equal(kts_query_only(span("a"), "a"), KT_ERR_BAD_REQUEST);
    assert_int_equal(kts_query_only(span("a=1&"), "a"), 0);
    assert_int_equal(kts_query_only(span("&a=1"), "a"), KT_ERR_BAD_REQUEST);
    assert_int_equal(kts_query_only(span("=1"), "a"), KT_ERR_BAD_REQUEST);
    assert_int_equal(kts_query_only(span("a=1"), ""), KT_ERR_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_head_is_read),
        cmocka_unit_test(every_beginning_asks_for_more),
        cmocka_unit_test(malformed_heads_are_refused),
        cmocka_unit_test(transfer_codings_need_a_length_instead),
        cmocka_unit_test(only_http_1_is_spoken),
        cmocka_unit_test(connection_close_is_heard_among_others),
        cmocka_unit_test(continue_is_expected_in_1_1_only),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(other_methods_are_read_and_named),
        cmocka_unit_test(percent_escapes_are_decoded_strictly),
        cmocka_unit_test(query_parameters_are_found),
        cmocka_unit_test(unknown_query_parameters_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
