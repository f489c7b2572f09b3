// SPDX-License-Identifier: Apache-2.0
// Signed audit heads: the page's vector, who may have signed, and files of them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/audit_heads.h"
#include "lib/file.h"
#include "lib/pki.h"
#include "tests/unit/lib/temp_dir.h"

#define MEMBER "kts-01.9f3a2b1c"

static EVP_PKEY *ca_key, *key;
static X509 *ca, *cert;
static struct kt_audit_head head;

static X509 *certificate(EVP_PKEY *of, enum kt_pki_role role, const char *name)
{
    struct kt_pki_subject subject = {.role = role, .common_name = name, .lifetime_s = 86400};
    X509 *fresh = NULL;

    assert_int_equal(kt_pki_sign(ca_key, ca, of, &subject, &fresh), 0);
    return fresh;
}

static int set_up(void **state)
{
    if (temp_dir_setup(state))
        return -1;
    assert_int_equal(kt_pki_new_p256(&ca_key), 0);
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_make_ca(ca_key, "test", 86400, &ca), 0);
    cert = certificate(key, KT_PKI_NODE, MEMBER);
    head = (struct kt_audit_head){
        .member = MEMBER, .file = 3, .seq = 140, .time_us = kt_time_now(), .hash = {1, 2, 3}};
    assert_int_equal(kt_audit_head_sign(&head, key, cert), 0);
    return 0;
}

static int tear_down(void **state)
{
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return temp_dir_teardown(state);
}

static void a_head_is_read_back_as_it_was_written(void **state)
{
    char text[KT_AUDIT_HEAD_TEXT], again[KT_AUDIT_HEAD_TEXT];
    struct kt_audit_head parsed;
    size_t used = 0;

    (void)state;
    assert_int_equal(kt_audit_head_format(&head, text), 0);
    assert_int_equal(kt_audit_head_parse(text, strlen(text), &parsed, &used), 0);
    assert_int_equal(used, strlen(text));
    assert_int_equal(kt_audit_head_format(&parsed, again), 0);
    assert_string_equal(text, again);
    assert_int_equal(kt_audit_head_verify(&parsed, ca), 0);
    for (size_t n = 1; n < strlen(text); n++)
        assert_int_equal(kt_audit_head_parse(text, n, &parsed, &used), KT_ERR_TRUNCATED);
    assert_int_equal(kt_audit_head_parse("nonsense", 8, &parsed, &used), KT_ERR_INVALID);
    assert_int_equal(kt_audit_head_parse(text, 0, &parsed, &used), KT_ERR_INVALID);
}

static void a_number_that_nothing_can_follow_is_no_head(void **state)
{
    struct kt_audit_head other = head, parsed;
    char text[KT_AUDIT_HEAD_TEXT];
    size_t used = 0;

    (void)state;
    other.seq = UINT64_MAX;
    assert_int_equal(kt_audit_head_sign(&other, key, cert), 0);
    assert_int_equal(kt_audit_head_format(&other, text), 0);
    assert_int_equal(kt_audit_head_parse(text, strlen(text), &parsed, &used), KT_ERR_INVALID);
    other.seq = KT_AUDIT_SEQ_MAX;
    assert_int_equal(kt_audit_head_sign(&other, key, cert), 0);
    assert_int_equal(kt_audit_head_format(&other, text), 0);
    assert_int_equal(kt_audit_head_parse(text, strlen(text), &parsed, &used), 0);
}

static void a_changed_head_does_not_verify(void **state)
{
    struct kt_audit_head other;

    (void)state;
    other = head;
    other.seq++;
    assert_int_equal(kt_audit_head_verify(&other, ca), KT_ERR_SIGNATURE);
    other = head;
    other.hash[0] ^= 1;
    assert_int_equal(kt_audit_head_verify(&other, ca), KT_ERR_SIGNATURE);
    other = head;
    memcpy(other.member, "kts-02.9f3a2b1c", sizeof("kts-02.9f3a2b1c"));
    assert_int_equal(kt_audit_head_verify(&other, ca), KT_ERR_SIGNATURE);
}

static void a_client_or_another_ca_signs_no_head(void **state)
{
    X509 *server = certificate(key, KT_PKI_SERVER, MEMBER), *foreign = NULL;
    EVP_PKEY *foreign_key = NULL;
    struct kt_audit_head other = head;

    (void)state;
    assert_int_equal(kt_audit_head_sign(&other, key, server), 0);
    assert_int_equal(kt_audit_head_verify(&other, ca), KT_ERR_SIGNATURE);
    assert_int_equal(kt_pki_new_p256(&foreign_key), 0);
    assert_int_equal(kt_pki_make_ca(foreign_key, "test", 86400, &foreign), 0);
    assert_int_equal(kt_audit_head_verify(&head, foreign), KT_ERR_CERTIFICATE_UNKNOWN_CA);
    assert_int_equal(kt_audit_head_sign(&other, foreign_key, cert), KT_ERR_INVALID);
    X509_free(server);
    X509_free(foreign);
    EVP_PKEY_free(foreign_key);
}

static void the_certificate_counts_at_the_time_of_the_head(void **state)
{
    struct kt_audit_head late = head;

    (void)state;
    late.time_us += 2 * 86400LL * 1000000;
    assert_int_equal(kt_audit_head_sign(&late, key, cert), 0);
    assert_int_equal(kt_audit_head_verify(&late, ca), KT_ERR_CERTIFICATE_EXPIRED);
}

static void a_file_holds_them_in_order_and_half_a_head_behind_them_is_torn(void **state)
{
    struct kt_audit_heads heads = {0}, loaded = {0};
    const char *path = temp_path("heads");
    char *text = NULL;

    (void)state;
    assert_int_equal(kt_audit_heads_load(path, &loaded, NULL), 0); // not there: none
    assert_int_equal(loaded.count, 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(kt_audit_heads_add(&heads, &head), 0);
    heads.heads[39].seq = 7;
    assert_int_equal(kt_audit_heads_save(path, &heads, NULL), 0);
    assert_int_equal(kt_audit_heads_load(path, &loaded, NULL), 0);
    assert_int_equal(loaded.count, 40);
    assert_true(loaded.heads[39].seq == 7 && !loaded.torn && !loaded.damaged);
    kt_audit_heads_free(&loaded);

    assert_int_equal(kt_file_read_text(path, 1 << 20, &text, NULL), 0);
    text[strlen(text) - 20] = '\0';
    temp_text("heads", text);
    assert_int_equal(kt_audit_heads_load(temp_path("heads"), &loaded, NULL), 0);
    assert_true(loaded.count == 39 && loaded.torn && !loaded.damaged);
    kt_audit_heads_free(&loaded);
    text[10] = '#';
    temp_text("heads", text);
    assert_int_equal(kt_audit_heads_load(temp_path("heads"), &loaded, NULL), 0);
    assert_true(loaded.count == 0 && loaded.damaged);
    kt_audit_heads_free(&loaded);
    kt_audit_heads_free(&heads);
    free(text);
}

static void a_file_that_is_too_long_is_read_from_its_end_and_is_not_damaged(void **state)
{
    struct kt_audit_heads loaded = {0};
    char text[KT_AUDIT_HEAD_TEXT];
    const char *path = temp_path("heads");
    uint64_t count = 0;
    FILE *file = fopen(path, "w");

    (void)state;
    assert_non_null(file);
    while (ftell(file) < (long)KT_AUDIT_HEADS_FILE_MAX + 100000) {
        head.seq = ++count;
        assert_int_equal(kt_audit_head_format(&head, text), 0);
        assert_true(fputs(text, file) >= 0);
    }
    fclose(file);
    assert_int_equal(kt_audit_heads_load(path, &loaded, NULL), 0);
    assert_true(loaded.cut && !loaded.damaged && !loaded.torn);
    assert_true(loaded.count > 1000 && loaded.count < count);
    for (size_t i = 0; i < loaded.count; i++)
        assert_true(loaded.heads[i].seq == count - loaded.count + 1 + i);
    kt_audit_heads_free(&loaded);
    // as long, and no heads
    file = fopen(path, "w");
    for (size_t i = 0; i < KT_AUDIT_HEADS_FILE_MAX / 8 + 1; i++)
        assert_true(fputs("rubbish\n", file) >= 0);
    fclose(file);
    assert_int_equal(kt_audit_heads_load(path, &loaded, NULL), 0);
    assert_true(loaded.count == 0 && loaded.damaged);
    kt_audit_heads_free(&loaded);
}

static void the_vector_of_the_page_is_one(void **state)
{
    static const char MARK[] = "<!-- vector: audit-head -->\n```text\n";
    struct kt_audit_head parsed;
    char *page = NULL, *at, *end, again[KT_AUDIT_HEAD_TEXT];
    size_t used = 0;

    (void)state;
    assert_int_equal(kt_file_read_text(KT_SOURCE_DIR "/docs/formats.md", 1 << 20, &page, NULL), 0);
    at = strstr(page, MARK);
    assert_non_null(at);
    at += strlen(MARK);
    end = strstr(at, "```\n");
    assert_non_null(end);
    assert_int_equal(kt_audit_head_parse(at, (size_t)(end - at), &parsed, &used), 0);
    assert_int_equal(used, end - at);
    assert_string_equal(parsed.member, MEMBER);
    assert_true(parsed.seq == 140 && parsed.file == 3);
    assert_int_equal(kt_audit_head_format(&parsed, again), 0);
    assert_memory_equal(again, at, used);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_head_is_read_back_as_it_was_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_number_that_nothing_can_follow_is_no_head, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_changed_head_does_not_verify, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_or_another_ca_signs_no_head, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_certificate_counts_at_the_time_of_the_head, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_file_holds_them_in_order_and_half_a_head_behind_them_is_torn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_file_that_is_too_long_is_read_from_its_end_and_is_not_damaged, set_up, tear_down),
        cmocka_unit_test(the_vector_of_the_page_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
