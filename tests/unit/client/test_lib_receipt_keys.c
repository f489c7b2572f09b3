// SPDX-License-Identifier: Apache-2.0
// Receipt keys whose certificates have ended, with the root that signed them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_cluster.h"

#define HOUR_S  3600
#define HOUR_US (HOUR_S * INT64_C(1000000))

// The CA before fake.ca, and the receipt key of its time: both have ended an hour ago.
static struct {
    EVP_PKEY *key, *receipt_key;
    X509 *root, *link, *receipt_cert;
    char id[2 * KT_KEY_ID_LEN + 1];
} older;

static struct keytrustee_error error;

static void set_times(X509 *cert, EVP_PKEY *signed_by)
{
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -24 * HOUR_S));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), -HOUR_S));
    assert_true(X509_sign(cert, signed_by, EVP_sha256()) > 0);
}

static int setup(void **state)
{
    const struct kt_pki_subject subject = {
        .role = KT_PKI_RECEIPT, .common_name = "receipts", .lifetime_s = 86400};
    uint8_t pub[KT_ED25519_PUB_LEN], id[KT_KEY_ID_LEN];

    fake_setup(state);
    assert_int_equal(kt_pki_new_p256(&older.key), 0);
    assert_int_equal(kt_pki_make_ca(older.key, "fake", 86400, &older.root), 0);
    assert_int_equal(
        kt_pki_make_link(KT_PKI_LINK_BACK, fake.ca_key, fake.ca, older.root, &older.link), 0);
    assert_int_equal(kt_pki_new_ed25519(&older.receipt_key), 0);
    assert_int_equal(
        kt_pki_sign(older.key, older.root, older.receipt_key, &subject, &older.receipt_cert), 0);
    assert_int_equal(kt_ed25519_public(older.receipt_key, pub), 0);
    assert_int_equal(kt_ed25519_key_id(pub, id), 0);
    kt_hex_encode(id, sizeof id, older.id);
    set_times(older.root, older.key);
    set_times(older.link, fake.ca_key);
    set_times(older.receipt_cert, older.key);
    return 0;
}

static int teardown(void **state)
{
    EVP_PKEY_free(older.key);
    EVP_PKEY_free(older.receipt_key);
    X509_free(older.root);
    X509_free(older.link);
    X509_free(older.receipt_cert);
    return fake_teardown(state);
}

// What the server says of keys and roots once the older CA has ended.
static json_t *all_keys(void)
{
    json_t *keys = fake_receipt_keys();
    char pem[8192];

    fake_pem(older.receipt_cert, pem, sizeof pem);
    json_array_append_new(keys, json_pack("{s:s, s:s}", "id", older.id, "certificate", pem));
    return keys;
}

static json_t *all_roots(void)
{
    X509 *const list[] = {fake.ca, older.root, older.link};
    struct kt_buf pem = KT_BUF_INIT(32768);
    json_t *text;

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(kt_pki_cert_to_pem(list[i], &pem), 0);
    text = json_stringn((const char *)kt_buf_ptr(&pem), kt_buf_left(&pem));
    kt_buf_free(&pem);
    return text;
}

static void tell_of_both(const char *server, const struct kt_http_request *request,
                         struct kt_http_answer *answer)
{
    json_t *object = NULL;

    (void)server;
    if (strncmp(request->path, "/v1/clients", strlen("/v1/clients")) != 0)
        return;
    assert_int_equal(
        kt_json_parse_object(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), &object, NULL),
        0);
    json_object_set_new(object, "ca", all_roots());
    json_object_set_new(object, "receipt_keys", all_keys());
    fake_json(answer, answer->status, object);
}

static int enrol(void)
{
    static const char *const servers[] = {"one", NULL};
    struct keytrustee_registration wanted = {
        .size = sizeof wanted, .servers = servers, .auth_code = fake.auth_code, .name = "host-1"};

    return keytrustee_register(client, &wanted, &error);
}

static int verifies(int64_t signed_us)
{
    struct kt_receipt receipt = {.leaf = {.epoch = 1, .version = 1, .log_index = 1}}, out;
    char text[KT_RECEIPT_TEXT];
    struct kt_error why = {0};

    assert_int_equal(kt_incarnation_parse(fake.incarnation, &receipt.leaf.incarnation), 0);
    receipt.leaf.time_us = signed_us;
    assert_int_equal(kt_receipt_sign(&receipt, 0, older.receipt_key), 0);
    kt_receipt_format(&receipt, text);
    return ktc_receipt_verify(client, text, &out, &why);
}

static void check_older_key(void)
{
    int64_t now_us = kt_time_now();

    assert_int_equal(verifies(now_us - 2 * HOUR_US), 0);
    assert_int_equal(verifies(now_us), KT_ERR_SIGNATURE);
    assert_int_equal(verifies(now_us - 25 * HOUR_US), KT_ERR_SIGNATURE);
}

static void a_client_registers_when_the_root_of_an_older_receipt_key_has_ended(void **state)
{
    (void)state;
    fake.meddle = tell_of_both;
    must_work(enrol(), &error);
    check_older_key();
}

static void a_new_key_is_learnt_beside_one_that_has_ended(void **state)
{
    struct keytrustee_deposit deposit = {.size = sizeof deposit};

    (void)state;
    must_work(enrol(), &error);
    assert_int_equal(verifies(kt_time_now() - 2 * HOUR_US), KT_ERR_NOT_FOUND);
    fake.meddle = tell_of_both;
    fake_make_receipt_key();
    must_work(keytrustee_put(client, "h", "s", 1, NULL, &deposit, &error), &error);
    assert_int_equal(deposit.receipt, 1);
    check_older_key();
}

// Its validity is all that is left for later.
static void a_key_that_has_ended_and_is_of_no_known_root_is_refused(void **state)
{
    (void)state;
    X509_free(older.root);
    EVP_PKEY_free(older.key);
    assert_int_equal(kt_pki_new_p256(&older.key), 0);
    assert_int_equal(kt_pki_make_ca(older.key, "fake", 86400, &older.root), 0);
    X509_free(older.link);
    assert_int_equal(
        kt_pki_make_link(KT_PKI_LINK_BACK, fake.ca_key, fake.ca, older.root, &older.link), 0);
    fake.meddle = tell_of_both;
    assert_int_equal(enrol(), KEYTRUSTEE_INTEGRITY);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_client_registers_when_the_root_of_an_older_receipt_key_has_ended),
        CASE(a_new_key_is_learnt_beside_one_that_has_ended),
        CASE(a_key_that_has_ended_and_is_of_no_known_root_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
