// SPDX-License-Identifier: Apache-2.0
// Sealing to a public key: the RFC's vector, and what must not open.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/core_names.h>
#include <stdlib.h>
#include <string.h>

#include "lib/encode.h"
#include "lib/pki.h"
#include "lib/seal.h"

#define PURPOSE "keytrustee test"

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *key = NULL;

    assert_int_equal(kt_pki_new_p256(&key), 0);
    return key;
}

// RFC 9180, A.3.1: the receiver's key, and the first encryption.
static const char PRIVATE[] = "f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2";
static const char PUBLIC[] =
    "04fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a826a779b4cf969b8a0e539c7f62fb3"
    "d30ad6aa8f80e30f1d128aafd68a2ce72ea0";

static EVP_PKEY *vector_key(void)
{
    char group[] = "prime256v1";
    uint8_t secret[32], point[65];
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;

    assert_int_equal(kt_hex_decode(PRIVATE, secret, sizeof(secret)), 0);
    assert_int_equal(kt_hex_decode(PUBLIC, point, sizeof(point)), 0);
    for (size_t i = 0; i < sizeof(secret) / 2; i++) { // a number, in the machine's order
        uint8_t byte = secret[i];
        secret[i] = secret[sizeof(secret) - 1 - i];
        secret[sizeof(secret) - 1 - i] = byte;
    }
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, secret, sizeof(secret)),
        OSSL_PARAM_construct_end(),
    };
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params), 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void what_the_rfc_sealed_is_opened(void **state)
{
    static const char SEALED[] =
        "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f95"
        "1c0900be863c403ce65c9bfcb9382657222d18c4"
        "5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f3951343"
        "4";
    uint8_t sealed[(sizeof(SEALED) - 1) / 2];
    struct kt_secret *text = NULL;
    EVP_PKEY *key = vector_key();

    (void)state;
    assert_int_equal(kt_hex_decode(SEALED, sealed, sizeof(sealed)), 0);
    assert_int_equal(
        kt_unseal(key, "Ode on a Grecian Urn", "Count-0", sealed, sizeof(sealed), &text), 0);
    assert_string_equal(kt_secret_text(text), "Beauty is truth, truth beauty");
    kt_secret_free(text);
    EVP_PKEY_free(key);
}

static void what_was_sealed_is_opened_by_the_key_that_was_meant(void **state)
{
    static const size_t SIZES[] = {1, 16, 4096, 65536};
    static uint8_t text[65536];
    EVP_PKEY *key = new_key(), *other = new_key();

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
        struct kt_buf sealed = KT_BUF_INIT(sizeof(text) + KT_SEAL_EXTRA);
        struct kt_secret *opened = NULL;
        assert_int_equal(kt_seal(key, PURPOSE, "kts-02", text, SIZES[i], &sealed), 0);
        assert_int_equal(kt_buf_left(&sealed), SIZES[i] + KT_SEAL_EXTRA);
        assert_int_equal(
            kt_unseal(other, PURPOSE, "kts-02", kt_buf_ptr(&sealed), kt_buf_left(&sealed), &opened),
            KT_ERR_SIGNATURE);
        assert_null(opened);
        assert_int_equal(
            kt_unseal(key, PURPOSE, "kts-02", kt_buf_ptr(&sealed), kt_buf_left(&sealed), &opened),
            0);
        assert_int_equal(kt_secret_len(opened), SIZES[i]);
        assert_memory_equal(kt_secret_data(opened), text, SIZES[i]);
        kt_secret_free(opened);
        kt_buf_free(&sealed);
    }
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

static void other_words_and_changed_bytes_open_nothing(void **state)
{
    struct kt_buf sealed = KT_BUF_INIT(1024);
    struct kt_secret *opened = NULL;
    EVP_PKEY *key = new_key();
    uint8_t *bytes;
    size_t n;

    (void)state;
    assert_int_equal(kt_seal(key, PURPOSE, "kts-02", "secret", 6, &sealed), 0);
    n = kt_buf_left(&sealed);
    bytes = malloc(n);
    assert_non_null(bytes);
    memcpy(bytes, kt_buf_ptr(&sealed), n);
    assert_int_equal(kt_unseal(key, "another", "kts-02", bytes, n, &opened), KT_ERR_SIGNATURE);
    assert_int_equal(kt_unseal(key, PURPOSE, "kts-03", bytes, n, &opened), KT_ERR_SIGNATURE);
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= 1;
        assert_int_equal(kt_unseal(key, PURPOSE, "kts-02", bytes, n, &opened), KT_ERR_SIGNATURE);
        bytes[i] ^= 1;
        assert_int_equal(kt_unseal(key, PURPOSE, "kts-02", bytes, i, &opened), KT_ERR_SIGNATURE);
    }
    assert_int_equal(kt_unseal(key, PURPOSE, "kts-02", bytes, n, &opened), 0);
    kt_secret_free(opened);
    free(bytes);
    kt_buf_free(&sealed);
    EVP_PKEY_free(key);
}

static void the_same_text_is_never_sealed_alike(void **state)
{
    struct kt_buf one = KT_BUF_INIT(1024), two = KT_BUF_INIT(1024);
    EVP_PKEY *key = new_key();

    (void)state;
    assert_int_equal(kt_seal(key, PURPOSE, "", "secret", 6, &one), 0);
    assert_int_equal(kt_seal(key, PURPOSE, "", "secret", 6, &two), 0);
    assert_memory_not_equal(kt_buf_ptr(&one), kt_buf_ptr(&two), 65);
    assert_memory_not_equal(kt_buf_ptr(&one) + 65, kt_buf_ptr(&two) + 65, 6);
    kt_buf_free(&one);
    kt_buf_free(&two);
    EVP_PKEY_free(key);
}

static void keys_of_another_kind_are_refused(void **state)
{
    EVP_PKEY *ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EVP_PKEY *p384 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    struct kt_buf sealed = KT_BUF_INIT(1024);
    const uint8_t nothing[KT_SEAL_EXTRA + 1] = {4};
    struct kt_secret *opened = NULL;

    (void)state;
    assert_int_equal(kt_seal(ed25519, PURPOSE, "", "x", 1, &sealed), KT_ERR_INVALID);
    assert_int_equal(kt_seal(p384, PURPOSE, "", "x", 1, &sealed), KT_ERR_INVALID);
    assert_int_equal(kt_unseal(p384, PURPOSE, "", nothing, sizeof(nothing), &opened),
                     KT_ERR_INVALID);
    assert_int_equal(kt_buf_left(&sealed), 0);
    kt_buf_free(&sealed);
    EVP_PKEY_free(ed25519);
    EVP_PKEY_free(p384);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_rfc_sealed_is_opened),
        cmocka_unit_test(what_was_sealed_is_opened_by_the_key_that_was_meant),
        cmocka_unit_test(other_words_and_changed_bytes_open_nothing),
        cmocka_unit_test(the_same_text_is_never_sealed_alike),
        cmocka_unit_test(keys_of_another_kind_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
