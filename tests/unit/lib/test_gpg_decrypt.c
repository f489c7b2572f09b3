// SPDX-License-Identifier: Apache-2.0
// Messages that must not decrypt, keys and passphrases that are missing or wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "lib/openpgp_file.h"
#include "tests/unit/lib/gpg_homes.h"

static void a_damaged_message_is_never_a_success(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_error error = {0};
    uint8_t *bytes = noise(40000), *copy;
    size_t n;

    (void)state;
    encrypt("admin@example.com", bytes, 40000, &cipher);
    n = kt_buf_left(&cipher);
    copy = malloc(n + 1000);
    memcpy(copy, kt_buf_ptr(&cipher), n);
    static const size_t CUTS[] = {1, 2, 22, 23, 100, 8192, 20000, 39900};
    for (size_t i = 0; i < sizeof CUTS / sizeof CUTS[0]; i++)
        assert_int_equal(decrypt(own, copy, n - CUTS[i], &plain, &error), KT_ERR_NOT_CIPHERTEXT);
    assert_int_equal(decrypt(own, copy, 0, &plain, &error), KT_ERR_NOT_CIPHERTEXT);
    memset(copy + n, 0, 1000);
    assert_int_equal(decrypt(own, copy, n + 1, &plain, &error), KT_ERR_NOT_CIPHERTEXT);
    memcpy(copy + n, copy, 1000);
    assert_int_equal(decrypt(own, copy, n + 1000, &plain, &error), KT_ERR_NOT_CIPHERTEXT);
    for (size_t at = n - 1; at > 200; at -= 3001) {
        int rc;
        copy[at] ^= 0x10;
        kt_buf_reset(&plain);
        rc = decrypt(own, copy, n, &plain, &error);
        // In the length of a part: it is no message any more.
        if (rc != KT_ERR_SIGNATURE && rc != KT_ERR_NOT_CIPHERTEXT)
            fail_msg("byte %zu: %d %s", at, rc, error.message);
        copy[at] ^= 0x10;
        if (at < 3001)
            break;
    }
    copy[60] ^= 0x10; // in the session key
    assert_true(decrypt(own, copy, n, &plain, &error) < 0);
    // An option with which gpg is content.
    temp_text("own/gpg.conf", "ignore-mdc-error\n");
    copy[60] ^= 0x10;
    copy[n - 1] ^= 1;
    assert_int_equal(decrypt(own, copy, n, &plain, &error), KT_ERR_SIGNATURE);
    unlink(temp_path("own/gpg.conf"));
    free(copy);
    free(bytes);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
}

static void what_is_no_encrypted_message_is_refused_before_gpg_sees_it(void **state)
{
    const struct {
        const char *const *args;
        const char *words;
    } CASES[] = {
        {ARGS("--sign", "--local-user", "sign@example.com"), "signed only"},
        {ARGS("--sign", "-z", "0", "--local-user", "sign@example.com"), "signed only"},
        {ARGS("--store"), "not an encrypted"},
        {ARGS("--symmetric", "--passphrase", "x"), "passphrase"},
        {ARGS("--encrypt", "--armor", "-r", "admin@example.com"), "armored"},
        {ARGS("--encrypt", "--hidden-recipient", "admin@example.com"), "hidden"},
        {ARGS("--export"), "public key"},
        // Version 3 of the old data packet: no modification detection code.
        {NULL, "no integrity protection"},
        {NULL, "plain text"},
    };
    struct kt_error error = {0};

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
        if (CASES[i].args) {
            assert_int_equal(gpg_in(home, CASES[i].args, "some text", 9, &out), 0);
        } else if (strcmp(CASES[i].words, "plain text") == 0) {
            assert_int_equal(kt_buf_put(&out, "just text", 9), 0);
        } else { // the data packet, tag 18, becomes tag 9 without its version
            uint8_t *bytes;
            size_t at;
            encrypt("admin@example.com", "some text", 9, &out);
            bytes = out.data + out.off;
            // Behind the session key, whose header gpg writes in the old form.
            at = bytes[0] == 0x84 ? 2u + bytes[1] : 3u + (size_t)(bytes[1] << 8 | bytes[2]);
            assert_true(at < kt_buf_left(&out));
            assert_int_equal(bytes[at], 0xd2);
            bytes[at] = 0xc9;
        }
        int rc = decrypt(own, kt_buf_ptr(&out), kt_buf_left(&out), &plain, &error);
        if (rc != KT_ERR_NOT_CIPHERTEXT || !strstr(error.message, CASES[i].words))
            fail_msg("%zu (%s): %d %s", i, CASES[i].words, rc, error.message);
        assert_int_equal(kt_buf_left(&plain), 0);
        kt_buf_free(&out);
        kt_buf_free(&plain);
    }
}

static void without_the_secret_key_the_key_ids_are_named(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_gpg *other = NULL;
    struct kt_gpg_recipient to;
    struct kt_error error = {0};
    char id[20];
    uint64_t wrong = 1;

    (void)state;
    encrypt("admin@example.com", "text", 4, &cipher);
    find("admin@example.com", &to);
    snprintf(id, sizeof id, "%016llX", (unsigned long long)to.key_ids[0]);
    must(kt_gpg_new_own(other_home, &other, &error), &error);
    assert_int_equal(decrypt(other, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error),
                     KT_ERR_NOT_FOUND);
    if (!strstr(error.message, id))
        fail_msg("%s", error.message);
    assert_int_equal(kt_gpg_has_secret(own, to.key_ids, 1), 1);
    assert_int_equal(kt_gpg_has_secret(other, to.key_ids, 1), 0);
    assert_int_equal(kt_gpg_has_secret(own, &wrong, 1), 0);
    kt_gpg_free(other);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
}

static void one_of_several_secret_keys_is_enough(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_buf key = KT_BUF_INIT(65536);
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(gpg_in(other_home, ARGS("--export", "stranger@example.com"), NULL, 0, &key),
                     0);
    assert_int_equal(gpg_in(home, ARGS("--import"), kt_buf_ptr(&key), kt_buf_left(&key), NULL), 0);
    assert_int_equal(gpg_in(home,
                            ARGS("--encrypt", "-r", "stranger@example.com", "-r",
                                 "admin@example.com", "-r", "escrow@example.com"),
                            "text", 4, &cipher),
                     0);
    must(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error), &error);
    assert_int_equal(kt_buf_left(&plain), 4);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
    kt_buf_free(&key);
}

static void an_agent_that_cannot_be_started_is_an_error(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_error error = {0};

    (void)state;
    encrypt("admin@example.com", "text", 4, &cipher);
    end_agent(home);
    temp_text("own/gpg.conf", "no-autostart\n");
    assert_true(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error) < 0);
    assert_int_equal(kt_buf_left(&plain), 0);
    unlink(temp_path("own/gpg.conf"));
    must(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error), &error);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
}

static void a_passphrase_is_given_and_a_wrong_one_refused(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_buf text = KT_BUF_INIT(65536);
    struct kt_secret *good = NULL, *bad = NULL;
    struct kt_error error = {0};

    (void)state;
    GPG("--passphrase", "open sesame", "--quick-gen-key", "Locked <locked@example.com>",
        "future-default", "default", "never");
    end_agent(home); // it has the passphrase
    encrypt("locked@example.com", "text", 4, &cipher);
    assert_int_equal(kt_secret_from_bytes("wrong", 5, &bad), 0);
    assert_int_equal(kt_secret_from_bytes("open sesame", 11, &good), 0);
    kt_gpg_set_passphrase(own, bad);
    assert_int_equal(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error),
                     KT_ERR_CRYPTO);
    assert_non_null(strstr(error.hint, "passphrase"));
    assert_int_equal(
        kt_gpg_sign_text(own, fingerprint_of(home, "locked@example.com"), "a\n", &text, &error),
        KT_ERR_CRYPTO);
    kt_gpg_set_passphrase(own, good);
    must(kt_gpg_sign_text(own, fingerprint_of(home, "locked@example.com"), "a\n", &text, &error),
         &error);
    end_agent(home);
    must(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error), &error);
    kt_gpg_set_passphrase(own, NULL);
    kt_secret_free(good);
    kt_secret_free(bad);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
    kt_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_message_is_never_a_success),
        cmocka_unit_test(what_is_no_encrypted_message_is_refused_before_gpg_sees_it),
        cmocka_unit_test(without_the_secret_key_the_key_ids_are_named),
        cmocka_unit_test(one_of_several_secret_keys_is_enough),
        cmocka_unit_test(an_agent_that_cannot_be_started_is_an_error),
        cmocka_unit_test(a_passphrase_is_given_and_a_wrong_one_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
