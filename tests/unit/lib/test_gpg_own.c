// SPDX-License-Identifier: Apache-2.0
// Homes that a program brings with it, and keyrings for one key.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/lib/gpg_homes.h"

static void homes_that_are_none_are_refused(void **state)
{
    struct kt_gpg *gpg = NULL;
    struct kt_error error = {0};
    char before[300];

    (void)state;
    assert_int_equal(kt_gpg_new_own(temp_path("missing"), &gpg, &error), KT_ERR_SYSTEM);
    assert_int_equal(kt_gpg_new_own(temp_text("file", ""), &gpg, &error), KT_ERR_INVALID);
    snprintf(before, sizeof before, "%s", getenv("HOME"));
    unsetenv("GNUPGHOME");
    setenv("HOME", temp_dir, 1);
    must(kt_gpg_new_own(NULL, &gpg, &error), &error); // ~/.gnupg is made
    assert_int_equal(access(temp_path(".gnupg"), R_OK | W_OK | X_OK), 0);
    kt_gpg_free(gpg);
    setenv("GNUPGHOME", home, 1);
    must(kt_gpg_new_own(NULL, &gpg, &error), &error);
    assert_int_equal(kt_gpg_has_secret(gpg, NULL, 0), 0);
    kt_gpg_free(gpg);
    unsetenv("GNUPGHOME");
    setenv("HOME", "", 1);
    setenv("HOME", before, 1);
}

static void a_temporary_keyring_holds_one_key_and_leaves_nothing(void **state)
{
    struct kt_buf key = KT_BUF_INIT(65536), two = KT_BUF_INIT(65536), text = KT_BUF_INIT(65536);
    struct kt_gpg *gpg = NULL;
    struct kt_error error = {0};
    char found[KT_OPENPGP_FINGERPRINT_TEXT], folder[300];
    const char *fingerprint = fingerprint_of(home, "admin@example.com");

    (void)state;
    snprintf(folder, sizeof folder, "%s/temporary", temp_dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    setenv("TMPDIR", folder, 1);
    must(kt_gpg_export(own, fingerprint, &key, &error), &error);
    must(kt_gpg_new_temporary(kt_buf_ptr(&key), kt_buf_left(&key), &gpg, found, &error), &error);
    assert_string_equal(found, fingerprint);
    kt_gpg_free_temporary(gpg);
    must(kt_gpg_export_text(own, fingerprint, &text, &error), &error);
    assert_memory_equal(kt_buf_ptr(&text), "-----BEGIN PGP PUBLIC KEY BLOCK-----\n", 37);
    must(kt_gpg_new_temporary(kt_buf_ptr(&text), kt_buf_left(&text), &gpg, found, &error), &error);
    kt_gpg_free_temporary(gpg);
    must(kt_gpg_export(own, fingerprint, &two, &error), &error);
    must(kt_gpg_export(own, fingerprint_of(home, "escrow@example.com"), &two, &error), &error);
    assert_int_equal(kt_gpg_new_temporary(kt_buf_ptr(&two), kt_buf_left(&two), &gpg, found, &error),
                     KT_ERR_OPENPGP_KEY_INVALID);
    assert_int_equal(kt_gpg_new_temporary("no key", 6, &gpg, found, &error),
                     KT_ERR_OPENPGP_KEY_INVALID);
    kt_buf_reset(&two);
    assert_int_equal(gpg_in(home, ARGS("--export-secret-keys", "sign@example.com"), NULL, 0, &two),
                     0);
    assert_int_equal(kt_gpg_new_temporary(kt_buf_ptr(&two), kt_buf_left(&two), &gpg, found, &error),
                     KT_ERR_OPENPGP_KEY_INVALID);
    assert_int_equal(
        kt_gpg_export_text(own, "0000000000000000000000000000000000000000", &text, &error),
        KT_ERR_NOT_FOUND);
    assert_int_equal(kt_dir_is_empty(folder, &error), 1);
    unsetenv("TMPDIR");
    kt_gpg_free_temporary(NULL);
    kt_buf_free(&key);
    kt_buf_free(&two);
    kt_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(homes_that_are_none_are_refused),
        cmocka_unit_test(a_temporary_keyring_holds_one_key_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
