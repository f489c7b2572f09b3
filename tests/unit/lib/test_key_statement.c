// SPDX-License-Identifier: Apache-2.0
// Statements about cluster keys: the vector of docs/formats.md, and signatures with a real gpg.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/key_statement.h"
#include "lib/signed_text.h"
#include "tests/unit/lib/temp_dir.h"

static char home[300];
static struct kt_key_statement statement = {
    .cluster_id = {{0x0e, 0x37, 0xdf, 0x36, 0xf6, 0x98, 0x41, 0xe6, 0x88, 0xdd, 0x2c, 0x1f, 0x2e,
                    0x5c, 0x2f, 0x5b}},
    .number = 2,
    .before = {0xa3, 0xdd, 0x8b, 0x94, 0x54, 0xdf, 0xf3, 0x1a, 0xcf, 0xd4, 0xf2,
               0xe6, 0x13, 0xb2, 0x4f, 0x85, 0xdf, 0x77, 0x83, 0x1d, 0x5b, 0x86,
               0xcf, 0x7f, 0x00, 0x4a, 0xb5, 0xf5, 0x24, 0xbe, 0xa0, 0x99},
    .key = "0123456789ABCDEF0123456789ABCDEF01234567",
    .next = "89ABCDEF0123456789ABCDEF0123456789ABCDEF",
    .incarnation = {2, UINT64_C(0xfedcba9876543210)},
    .restored = {0x4e, 0x05, 0x1c, 0x9a, 0x2a, 0x53, 0xc3, 0xf8, 0x0b, 0x54, 0xf3,
                 0xc8, 0x91, 0x66, 0x11, 0x21, 0xc5, 0x71, 0x70, 0x9d, 0x64, 0x95,
                 0x40, 0x8f, 0x5d, 0xf3, 0x5c, 0x9c, 0x5c, 0x43, 0x80, 0xaa},
    .time_us = INT64_C(1795327903123456),
};
static struct kt_gpg *gpg;
static struct kt_error error;

static void must(int rc)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error.message);
}

static int set_up(void **state)
{
    if (temp_dir_setup(state) != 0)
        return -1;
    snprintf(home, sizeof home, "%s/gnupg", temp_dir);
    assert_int_equal(mkdir(home, 0700), 0);
    must(kt_gpg_new(home, &gpg, &error));
    return 0;
}

static int tear_down(void **state)
{
    kt_gpg_free(gpg);
    return temp_dir_teardown(state);
}

// The vector of the page; the caller frees.
static char *vector(void)
{
    static const char MARK[] = "<!-- vector: cluster-key -->\n```text\n";
    char *page = NULL, *from, *end, *text;

    must(kt_file_read_text(KT_SOURCE_DIR "/docs/formats.md", 1 << 20, &page, &error));
    from = strstr(page, MARK);
    assert_non_null(from);
    from += strlen(MARK);
    end = strstr(from, "```");
    assert_non_null(end);
    text = strndup(from, (size_t)(end - from));
    free(page);
    return text;
}

static void is_same(const struct kt_key_statement *a, const struct kt_key_statement *b)
{
    struct kt_buf one = KT_BUF_INIT(4096), other = KT_BUF_INIT(4096);

    assert_int_equal(kt_key_statement_format(a, &one), 0);
    assert_int_equal(kt_key_statement_format(b, &other), 0);
    assert_int_equal(one.len, other.len);
    assert_memory_equal(one.data, other.data, one.len);
    kt_buf_free(&one);
    kt_buf_free(&other);
}

static void the_text_is_that_of_the_page(void **state)
{
    struct kt_buf text = KT_BUF_INIT(4096), small = KT_BUF_INIT(10);
    struct kt_key_statement parsed;
    char *expected = vector();

    (void)state;
    must(kt_key_statement_format(&statement, &text));
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
    must(kt_key_statement_parse(expected, strlen(expected), &parsed));
    is_same(&parsed, &statement);
    assert_int_equal(kt_key_statement_format(&statement, &small), KT_ERR_TOO_LARGE);
    free(expected);
    kt_buf_free(&text);
    kt_buf_free(&small);
}

static void any_other_spelling_is_refused(void **state)
{
    static const char *const CHANGES[][2] = {
        {"cluster-key 1", "cluster-key 2"},
        {"cluster 0e", "cluster 0E"},
        {"cluster 0e37df36-f698-41e6-88dd-2c1f2e5c2f5b",
         "cluster 00000000-0000-0000-0000-000000000000"},
        {"statement 2", "statement 0"},
        {"statement 2", "statement 1"},
        {"statement 2", "statement 02"},
        {"statement 2", "statement 4294967296"},
        {"before a3dd8b9454dff31acfd4f2e613b24f85df77831d5b86cf7f004ab5f524bea099",
         "before 0000000000000000000000000000000000000000000000000000000000000000"},
        {"key 0123456789ABCDEF", "key 0123456789abcdef"},
        {"key 0123456789ABCDEF", "key 0123456789ABCDE"},
        {"next 89ABCDEF0123456789ABCDEF0123456789ABCDEF",
         "next 0123456789ABCDEF0123456789ABCDEF01234567"},
        {"next 89ABCDEF0123456789ABCDEF0123456789ABCDEF\n", ""},
        {"incarnation 2.", "incarnation 0."},
        {"restored 4e", "restored 4E"},
        {"time 2026", "time 226"},
        {".123456Z\n", ".123456Z"},
        {".123456Z\n", ".123456Z\n\n"},
    };
    char *text = vector(), changed[1024];
    struct kt_key_statement parsed;

    (void)state;
    for (size_t i = 0; i < sizeof CHANGES / sizeof CHANGES[0]; i++) {
        char *at = strstr(text, CHANGES[i][0]);
        assert_non_null(at);
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, CHANGES[i][1],
                 at + strlen(CHANGES[i][0]));
        if (kt_key_statement_parse(changed, strlen(changed), &parsed) != KT_ERR_INVALID)
            fail_msg("accepted: \"%s\" for \"%s\"", CHANGES[i][1], CHANGES[i][0]);
    }
    for (size_t n = 0; n < strlen(text); n++)
        assert_int_equal(kt_key_statement_parse(text, n, &parsed), KT_ERR_INVALID);
    free(text);
}

static void sign(const char *key, const char *next, struct kt_buf *out)
{
    struct kt_key_statement made = statement;

    memcpy(made.key, key, sizeof made.key);
    memcpy(made.next, next, sizeof made.next);
    must(kt_key_statement_sign(gpg, &made, out, &error));
}

// Both signatures are checked, each by the key that the text names.
static void a_statement_needs_the_signatures_of_both_keys(void **state)
{
    struct kt_buf made = KT_BUF_INIT(KT_KEY_STATEMENT_MAX), half = KT_BUF_INIT(65536),
                  text = KT_BUF_INIT(4096);
    char first[41], second[41], thief[41];
    struct kt_key_statement parsed;
    uint8_t *at;

    (void)state;
    must(kt_gpg_generate(gpg, KT_GPG_CLIENT, "cluster", first, &error));
    must(kt_gpg_generate(gpg, KT_GPG_CLIENT, "cluster", second, &error));
    must(kt_gpg_generate(gpg, KT_GPG_CLIENT, "thief", thief, &error));
    sign(first, second, &made);
    must(kt_key_statement_verify(made.data, made.len, &parsed, &error));
    assert_string_equal(parsed.key, first);
    assert_string_equal(parsed.next, second);
    must(kt_key_statement_read(made.data, made.len, &parsed));
    assert_string_equal(parsed.next, second);

    // One half is none, be it the first or the second; nor is one half twice.
    at = memmem(made.data + 1, made.len - 1, "-----BEGIN PGP SIGNED", 21);
    size_t n = (size_t)(at - made.data);
    assert_int_equal(kt_key_statement_verify(made.data, n, &parsed, &error), KT_ERR_PROTOCOL);
    assert_int_equal(kt_key_statement_verify(at, made.len - n, &parsed, &error), KT_ERR_PROTOCOL);
    assert_int_equal(kt_buf_put(&half, made.data, n), 0);
    assert_int_equal(kt_buf_put(&half, made.data, n), 0);
    assert_int_equal(kt_key_statement_verify(half.data, half.len, &parsed, &error),
                     KT_ERR_SIGNATURE);
    // A thief's signature in the place of the older key's, and in that of the next.
    must(kt_key_statement_read(made.data, made.len, &parsed));
    must(kt_key_statement_format(&parsed, &text));
    assert_int_equal(kt_buf_put_u8(&text, 0), 0);
    kt_buf_reset(&half);
    must(kt_signed_text_make(gpg, thief, (const char *)text.data, &half, &error));
    assert_int_equal(kt_buf_put(&half, at, made.len - n), 0);
    assert_int_equal(kt_key_statement_verify(half.data, half.len, &parsed, &error),
                     KT_ERR_SIGNATURE);
    kt_buf_reset(&half);
    assert_int_equal(kt_buf_put(&half, made.data, n), 0);
    must(kt_signed_text_make(gpg, thief, (const char *)text.data, &half, &error));
    assert_int_equal(kt_key_statement_verify(half.data, half.len, &parsed, &error),
                     KT_ERR_SIGNATURE);
    // Two texts, each well signed.
    kt_buf_reset(&half);
    statement.number++;
    sign(first, second, &half);
    statement.number--;
    n = (size_t)((uint8_t *)memmem(half.data + 1, half.len - 1, "-----BEGIN PGP SIGNED", 21) -
                 half.data);
    half.len = n;
    assert_int_equal(kt_buf_put(&half, at, made.len - (size_t)(at - made.data)), 0);
    assert_int_equal(kt_key_statement_verify(half.data, half.len, &parsed, &error),
                     KT_ERR_SIGNATURE);
    // A changed one.
    at = memmem(made.data, made.len, "statement 2", 11);
    at[10] = '3';
    assert_int_equal(kt_key_statement_verify(made.data, made.len, &parsed, &error),
                     KT_ERR_SIGNATURE);
    kt_buf_free(&made);
    kt_buf_free(&half);
    kt_buf_free(&text);
}

static void what_cannot_be_signed_is_refused(void **state)
{
    struct kt_buf made = KT_BUF_INIT(KT_KEY_STATEMENT_MAX);
    struct kt_key_statement bad = statement;

    (void)state;
    memcpy(bad.next, bad.key, sizeof bad.next);
    assert_int_equal(kt_key_statement_sign(gpg, &bad, &made, &error), KT_ERR_INVALID);
    assert_int_equal(kt_key_statement_sign(gpg, &statement, &made, &error), KT_ERR_NOT_FOUND);
    assert_int_equal(made.len, 0);
    kt_buf_free(&made);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_text_is_that_of_the_page),
        CASE(any_other_spelling_is_refused),
        CASE(a_statement_needs_the_signatures_of_both_keys),
        CASE(what_cannot_be_signed_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
