// SPDX-License-Identifier: Apache-2.0
// Statements about incarnations: the vector of docs/formats.md, and signatures with a real gpg.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/gpg_stream.h"
#include "lib/statement.h"
#include "tests/unit/lib/temp_dir.h"

static char home[300], fingerprint[KT_OPENPGP_FINGERPRINT_TEXT],
    stranger[KT_OPENPGP_FINGERPRINT_TEXT];

static const struct kt_statement STATEMENT = {
    .cluster_id = {{0x0e, 0x37, 0xdf, 0x36, 0xf6, 0x98, 0x41, 0xe6, 0x88, 0xdd, 0x2c, 0x1f, 0x2e,
                    0x5c, 0x2f, 0x5b}},
    .incarnation = {2, UINT64_C(0xfedcba9876543210)},
    .epoch = 4,
    .previous = {1, UINT64_C(0x0123456789abcdef)},
    .previous_epoch = 3,
    .log_index = 1200345,
    .root = {0x4e, 0x05, 0x1c, 0x9a, 0x2a, 0x53, 0xc3, 0xf8, 0x0b, 0x54, 0xf3,
             0xc8, 0x91, 0x66, 0x11, 0x21, 0xc5, 0x71, 0x70, 0x9d, 0x64, 0x95,
             0x40, 0x8f, 0x5d, 0xf3, 0x5c, 0x9c, 0x5c, 0x43, 0x80, 0xaa},
    .number = 2,
    .before = {0xa3, 0xdd, 0x8b, 0x94, 0x54, 0xdf, 0xf3, 0x1a, 0xcf, 0xd4, 0xf2,
               0xe6, 0x13, 0xb2, 0x4f, 0x85, 0xdf, 0x77, 0x83, 0x1d, 0x5b, 0x86,
               0xcf, 0x7f, 0x00, 0x4a, 0xb5, 0xf5, 0x24, 0xbe, 0xa0, 0x99},
    .time_us = INT64_C(1795327903123456),
};

static void must(int rc, const struct kt_error *error)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error->message);
}

static int set_up(void **state)
{
    struct kt_gpg *gpg = NULL;
    struct kt_error error = {0};

    if (temp_dir_setup(state) != 0)
        return -1;
    snprintf(home, sizeof home, "%s/gnupg", temp_dir);
    assert_int_equal(mkdir(home, 0700), 0);
    must(kt_gpg_new(home, &gpg, &error), &error);
    must(kt_gpg_generate(gpg, KT_GPG_CLUSTER, "cluster", fingerprint, &error), &error);
    must(kt_gpg_generate(gpg, KT_GPG_CLIENT, "stranger", stranger, &error), &error);
    kt_gpg_free(gpg);
    return 0;
}

// The vector of the page; the caller frees.
static char *vector(void)
{
    static const char MARK[] = "<!-- vector: statement -->\n```text\n";
    struct kt_error error = {0};
    char *page = NULL, *from, *end, *text;

    must(kt_file_read_text(KT_SOURCE_DIR "/docs/formats.md", 1 << 20, &page, &error), &error);
    from = strstr(page, MARK);
    assert_non_null(from);
    from += strlen(MARK);
    end = strstr(from, "```");
    assert_non_null(end);
    text = strndup(from, (size_t)(end - from));
    free(page);
    return text;
}

static void the_text_is_that_of_the_page(void **state)
{
    struct kt_buf text = KT_BUF_INIT(4096), small = KT_BUF_INIT(10);
    struct kt_statement parsed;
    char *expected = vector();

    (void)state;
    assert_int_equal(kt_statement_format(&STATEMENT, &text), 0);
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
    assert_int_equal(kt_statement_parse(expected, strlen(expected), &parsed), 0);
    assert_memory_equal(&parsed, &STATEMENT, sizeof parsed);
    assert_int_equal(kt_statement_format(&STATEMENT, &small), KT_ERR_TOO_LARGE);
    free(expected);
    kt_buf_free(&text);
    kt_buf_free(&small);
}

static void any_other_spelling_is_refused(void **state)
{
    static const char *const CHANGES[][2] = {
        {"incarnation 1", "incarnation 2"},
        {"cluster 0e", "cluster 0E"},
        {"cluster 0e37df36-f698-41e6-88dd-2c1f2e5c2f5b",
         "cluster 00000000-0000-0000-0000-000000000000"},
        {"incarnation 2.", "incarnation 1."},
        {"incarnation 2.", "incarnation 0."},
        {"incarnation 2.", "incarnation 02."},
        {"epoch 4", "epoch 04"},
        {"epoch 4\n", "epoch 4\nepoch 4\n"},
        {"previous-epoch 3\n", ""},
        {"log-index 1200345", "log-index -1"},
        {"root 4e", "root 4E"},
        {"root 4e", "root "},
        {"statement 2", "statement 0"},
        {"statement 2", "statement 1"},
        {"statement 2", "statement 4294967296"},
        {"before a3dd8b9454dff31acfd4f2e613b24f85df77831d5b86cf7f004ab5f524bea099",
         "before 0000000000000000000000000000000000000000000000000000000000000000"},
        {"time 2026", "time 226"},
        {".123456Z\n", ".123456Z"},
        {".123456Z\n", ".123456Z\n\n"},
    };
    char *text = vector(), changed[1024];
    struct kt_statement parsed;

    (void)state;
    for (size_t i = 0; i < sizeof CHANGES / sizeof CHANGES[0]; i++) {
        char *at = strstr(text, CHANGES[i][0]);
        assert_non_null(at);
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, CHANGES[i][1],
                 at + strlen(CHANGES[i][0]));
        if (kt_statement_parse(changed, strlen(changed), &parsed) != KT_ERR_INVALID)
            fail_msg("accepted: \"%s\" for \"%s\"", CHANGES[i][1], CHANGES[i][0]);
    }
    for (size_t n = 0; n < strlen(text); n++)
        assert_int_equal(kt_statement_parse(text, n, &parsed), KT_ERR_INVALID);
    free(text);
}

static void a_signed_statement_is_believed_by_who_knows_the_key(void **state)
{
    struct kt_buf made = KT_BUF_INIT(KT_STATEMENT_MAX);
    struct kt_statement parsed;
    struct kt_error error = {0};

    (void)state;
    must(kt_statement_sign(home, fingerprint, &STATEMENT, &made, &error), &error);
    must(kt_statement_verify(fingerprint, made.data, made.len, &parsed, &error), &error);
    assert_memory_equal(&parsed, &STATEMENT, sizeof parsed);
    // By somebody else's key, which comes with it.
    kt_buf_reset(&made);
    must(kt_statement_sign(home, stranger, &STATEMENT, &made, &error), &error);
    assert_int_equal(kt_statement_verify(fingerprint, made.data, made.len, &parsed, &error),
                     KT_ERR_SIGNATURE);
    kt_buf_free(&made);
}

static void a_changed_statement_is_refused(void **state)
{
    struct kt_buf made = KT_BUF_INIT(KT_STATEMENT_MAX), other = KT_BUF_INIT(KT_STATEMENT_MAX);
    struct kt_buf mixed = KT_BUF_INIT(2 * KT_STATEMENT_MAX);
    struct kt_statement parsed;
    struct kt_error error = {0};
    const uint8_t *key;
    uint8_t *epoch;

    (void)state;
    must(kt_statement_sign(home, fingerprint, &STATEMENT, &made, &error), &error);
    must(kt_statement_sign(home, stranger, &STATEMENT, &other, &error), &error);
    epoch = memmem(made.data, made.len, "epoch 4", 7);
    epoch[6] = '5';
    assert_int_equal(kt_statement_verify(fingerprint, made.data, made.len, &parsed, &error),
                     KT_ERR_SIGNATURE);
    epoch[6] = '4';
    // The stranger's signature with the cluster's key behind it.
    key = memmem(other.data, other.len, "-----BEGIN PGP PUBLIC", 21);
    assert_int_equal(kt_buf_put(&mixed, other.data, (size_t)(key - other.data)), 0);
    key = memmem(made.data, made.len, "-----BEGIN PGP PUBLIC", 21);
    assert_int_equal(kt_buf_put(&mixed, key, made.len - (size_t)(key - made.data)), 0);
    assert_int_equal(kt_statement_verify(fingerprint, mixed.data, mixed.len, &parsed, &error),
                     KT_ERR_SIGNATURE);
    // Both keys.
    kt_buf_reset(&mixed);
    assert_int_equal(kt_buf_put(&mixed, made.data, made.len), 0);
    key = memmem(other.data, other.len, "-----BEGIN PGP PUBLIC", 21);
    assert_int_equal(kt_buf_put(&mixed, key, other.len - (size_t)(key - other.data)), 0);
    assert_true(kt_statement_verify(fingerprint, mixed.data, mixed.len, &parsed, &error) < 0);
    // No key; nothing; too much.
    assert_int_equal(kt_statement_verify(fingerprint, made.data, 400, &parsed, &error),
                     KT_ERR_PROTOCOL);
    assert_int_equal(kt_statement_verify(fingerprint, "", 0, &parsed, &error), KT_ERR_PROTOCOL);
    assert_int_equal(kt_statement_verify(fingerprint, made.data, made.len - 200, &parsed, &error),
                     KT_ERR_PROTOCOL);
    assert_int_equal(
        kt_statement_verify(fingerprint, mixed.data, KT_STATEMENT_MAX + 1, &parsed, &error),
        KT_ERR_PROTOCOL);
    kt_buf_free(&made);
    kt_buf_free(&other);
    kt_buf_free(&mixed);
}

static void another_text_by_the_cluster_is_no_statement(void **state)
{
    struct kt_buf made = KT_BUF_INIT(KT_STATEMENT_MAX);
    struct kt_statement parsed;
    struct kt_error error = {0};
    struct kt_gpg *gpg = NULL;

    (void)state;
    must(kt_gpg_new(home, &gpg, &error), &error);
    must(kt_gpg_sign_text(gpg, fingerprint, "keytrustee-backup 1\n", &made, &error), &error);
    must(kt_gpg_export_text(gpg, fingerprint, &made, &error), &error);
    kt_gpg_free(gpg);
    assert_int_equal(kt_statement_verify(fingerprint, made.data, made.len, &parsed, &error),
                     KT_ERR_PROTOCOL);
    kt_buf_free(&made);
}

static void what_cannot_be_signed_is_refused(void **state)
{
    struct kt_statement bad = STATEMENT;
    struct kt_buf made = KT_BUF_INIT(KT_STATEMENT_MAX);
    struct kt_error error = {0};

    (void)state;
    bad.incarnation.number = bad.previous.number;
    assert_int_equal(kt_statement_sign(home, fingerprint, &bad, &made, &error), KT_ERR_INVALID);
    assert_int_equal(kt_statement_sign(home, "0000000000000000000000000000000000000000", &STATEMENT,
                                       &made, &error),
                     KT_ERR_NOT_FOUND);
    assert_int_equal(made.len, 0);
    kt_buf_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_that_of_the_page),
        cmocka_unit_test(any_other_spelling_is_refused),
        cmocka_unit_test(a_signed_statement_is_believed_by_who_knows_the_key),
        cmocka_unit_test(a_changed_statement_is_refused),
        cmocka_unit_test(another_text_by_the_cluster_is_no_statement),
        cmocka_unit_test(what_cannot_be_signed_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, temp_dir_teardown);
}
