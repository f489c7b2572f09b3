// SPDX-License-Identifier: Apache-2.0
// SHA-256, random bytes and Ed25519.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "lib/digest.h"
#include "lib/encode.h"

static EVP_PKEY *key_of(const char *hex)
{
    uint8_t raw[32];

    assert_int_equal(kt_hex_decode(hex, raw, sizeof(raw)), 0);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw, sizeof(raw));
    assert_non_null(key);
    return key;
}

static void sha256_of_known_texts_is_right(void **state)
{
    uint8_t hash[KT_SHA256_LEN];
    char text[KT_SHA256_TEXT];

    (void)state;
    assert_int_equal(kt_sha256("abc", 3, hash), 0);
    kt_hex_encode(hash, sizeof(hash), text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(kt_sha256(NULL, 0, hash), 0);
    kt_hex_encode(hash, sizeof(hash), text);
    assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void random_bytes_fill_large_requests_and_differ(void **state)
{
    static uint8_t a[200000], b[200000];

    (void)state;
    assert_int_equal(kt_random(a, sizeof(a)), 0);
    assert_int_equal(kt_random(b, sizeof(b)), 0);
    assert_memory_not_equal(a, b, 32);
    assert_memory_not_equal(a + sizeof(a) - 32, b + sizeof(b) - 32, 32);
    assert_int_equal(kt_random(NULL, 0), 0);
}

// RFC 8032 section 7.1, test 2.
static void ed25519_gives_the_signature_of_rfc_8032(void **state)
{
    EVP_PKEY *key = key_of("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    uint8_t pub[KT_ED25519_PUB_LEN], sig[KT_ED25519_SIG_LEN], id[KT_KEY_ID_LEN],
        hash[KT_SHA256_LEN];
    char text[129];

    (void)state;
    assert_int_equal(kt_ed25519_public(key, pub), 0);
    kt_hex_encode(pub, sizeof(pub), text);
    assert_string_equal(text, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    assert_int_equal(kt_ed25519_sign(key, "\x72", 1, sig), 0);
    kt_hex_encode(sig, sizeof(sig), text);
    assert_string_equal(text, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                              "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    assert_int_equal(kt_ed25519_verify(pub, "\x72", 1, sig), 0);
    assert_int_equal(kt_ed25519_key_id(pub, id), 0);
    assert_int_equal(kt_sha256(pub, sizeof(pub), hash), 0);
    assert_memory_equal(id, hash, sizeof(id));
    EVP_PKEY_free(key);
}

static void altered_message_signature_or_key_does_not_verify(void **state)
{
    EVP_PKEY *key = key_of("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    uint8_t pub[KT_ED25519_PUB_LEN], sig[KT_ED25519_SIG_LEN];

    (void)state;
    assert_int_equal(kt_ed25519_public(key, pub), 0);
    assert_int_equal(kt_ed25519_sign(key, "message", 7, sig), 0);
    assert_int_equal(kt_ed25519_verify(pub, "massage", 7, sig), KT_ERR_SIGNATURE);
    assert_int_equal(kt_ed25519_verify(pub, "message", 6, sig), KT_ERR_SIGNATURE);
    sig[5] ^= 1;
    assert_int_equal(kt_ed25519_verify(pub, "message", 7, sig), KT_ERR_SIGNATURE);
    sig[5] ^= 1;
    pub[3] ^= 1;
    assert_int_not_equal(kt_ed25519_verify(pub, "message", 7, sig), 0);
    // a leftover would be taken for an error of the next TLS connection
    assert_int_equal(ERR_peek_error(), 0);
    EVP_PKEY_free(key);
}

static void key_of_another_kind_is_invalid(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    uint8_t pub[KT_ED25519_PUB_LEN], sig[KT_ED25519_SIG_LEN];

    (void)state;
    assert_non_null(key);
    assert_int_equal(kt_ed25519_sign(key, "m", 1, sig), KT_ERR_INVALID);
    assert_int_equal(kt_ed25519_public(key, pub), KT_ERR_INVALID);
    assert_int_equal(kt_ed25519_sign(NULL, "m", 1, sig), KT_ERR_INVALID);
    assert_int_equal(kt_ed25519_public(NULL, pub), KT_ERR_INVALID);
    EVP_PKEY_free(key);
}

static void key_without_its_private_half_cannot_sign(void **state)
{
    uint8_t raw[32] = {1}, sig[KT_ED25519_SIG_LEN];
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw, sizeof(raw));

    (void)state;
    assert_non_null(key);
    assert_int_equal(kt_ed25519_sign(key, "m", 1, sig), KT_ERR_CRYPTO);
    assert_int_equal(ERR_peek_error(), 0);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_of_known_texts_is_right),
        cmocka_unit_test(random_bytes_fill_large_requests_and_differ),
        cmocka_unit_test(ed25519_gives_the_signature_of_rfc_8032),
        cmocka_unit_test(altered_message_signature_or_key_does_not_verify),
        cmocka_unit_test(key_of_another_kind_is_invalid),
        cmocka_unit_test(key_without_its_private_half_cannot_sign),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
