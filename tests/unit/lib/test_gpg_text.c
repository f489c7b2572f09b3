// SPDX-License-Identifier: Apache-2.0
// Signed text: what the signature covers is what comes back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/lib/gpg_homes.h"

// --- signed text ---

#define TEXT "keytrustee-backup 1\nkind files\n\nowner kts01\n"

static void sign(const char *who, const char *text, struct kt_buf *out)
{
    struct kt_error error = {0};

    must(kt_gpg_sign_text(own, fingerprint_of(home, who), text, out, &error), &error);
}

static int verify(const char *who, const void *bytes, size_t n, struct kt_buf *text)
{
    struct kt_error error = {0};
    size_t before = text->len;
    int rc = kt_gpg_verify_text(own, fingerprint_of(home, who), bytes, n, text, &error);

    if (rc != 0)
        assert_int_equal(text->len, before);
    return rc;
}

static void signed_text_comes_back_and_gpg_reads_it(void **state)
{
    struct kt_buf out = KT_BUF_INIT(65536), text = KT_BUF_INIT(65536);

    (void)state;
    sign("admin@example.com", TEXT, &out);
    assert_int_equal(verify("admin@example.com", kt_buf_ptr(&out), kt_buf_left(&out), &text), 0);
    assert_int_equal(kt_buf_left(&text), strlen(TEXT));
    assert_memory_equal(kt_buf_ptr(&text), TEXT, strlen(TEXT));
    assert_int_equal(gpg_in(home, ARGS("--verify"), kt_buf_ptr(&out), kt_buf_left(&out), NULL), 0);
    assert_int_equal(verify("escrow@example.com", kt_buf_ptr(&out), kt_buf_left(&out), &text),
                     KT_ERR_SIGNATURE);
    kt_buf_free(&out);
    kt_buf_free(&text);
}

static void text_that_a_signature_would_not_cover_is_not_signed(void **state)
{
    static const char *const TEXTS[] = {"",         "no end",     "-dash\n", "a\n-----BEGIN\n",
                                        "space \n", "tab\t\nb\n", "crlf\r\n"};
    struct kt_buf out = KT_BUF_INIT(65536);
    struct kt_error error = {0};

    (void)state;
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++)
        assert_int_equal(kt_gpg_sign_text(own, fingerprint_of(home, "admin@example.com"), TEXTS[i],
                                          &out, &error),
                         KT_ERR_INVALID);
    assert_int_equal(
        kt_gpg_sign_text(own, "0000000000000000000000000000000000000000", "a\n", &out, &error),
        KT_ERR_NOT_FOUND);
    assert_int_equal(kt_buf_left(&out), 0);
    kt_buf_free(&out);
}

// What stands for a piece of the signed text in its place.
static int verify_changed(const struct kt_buf *from, const char *piece, const char *with)
{
    struct kt_buf changed = KT_BUF_INIT(131072), text = KT_BUF_INIT(65536);
    const char *bytes = (const char *)kt_buf_ptr(from);
    size_t n = kt_buf_left(from);
    const char *at = memmem(bytes, n, piece, strlen(piece));
    int rc;

    assert_non_null(at);
    assert_int_equal(kt_buf_put(&changed, bytes, (size_t)(at - bytes)), 0);
    assert_int_equal(kt_buf_put(&changed, with, strlen(with)), 0);
    at += strlen(piece);
    assert_int_equal(kt_buf_put(&changed, at, n - (size_t)(at - bytes)), 0);
    rc = verify("admin@example.com", kt_buf_ptr(&changed), kt_buf_left(&changed), &text);
    kt_buf_free(&changed);
    kt_buf_free(&text);
    return rc;
}

static void nothing_around_or_in_the_text_can_be_changed(void **state)
{
    static const char *const CHANGES[][2] = {
        {"kind files", "kind filez"},
        {"kind files", "kind files "},
        {"kind files", "kind files\t"},
        {"kind files\n", "kind files\r\n"},
        {"kind files", "- kind files"},
        {"kind files\n", "kind files\n- -----BEGIN PGP SIGNATURE-----\n"},
        {"kind files\n\n", "kind files\n"},
        {"kts01\n", "kts01\n\n"},
        {"kts01\n", "kts01\nextra\n"},
        {"-----BEGIN PGP SIGNED", "\n-----BEGIN PGP SIGNED"},
        {"-----BEGIN PGP SIGNED", "hello\n-----BEGIN PGP SIGNED"},
        {"-----BEGIN PGP SIGNED", " -----BEGIN PGP SIGNED"},
        {"-----END PGP SIGNATURE-----\n", "-----END PGP SIGNATURE-----\nmore\n"},
        {"-----END PGP SIGNATURE-----\n", "-----END PGP SIGNATURE-----\n\n"},
        {"-----END PGP SIGNATURE-----\n", "-----END PGP SIGNATURE-----"},
        {"-----END PGP SIGNATURE-----\n", ""},
        {"Hash: ", "Evil: keytrustee-backup 1\nHash: "},
        {"Hash: ", "\nHash: "},
        {"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP SIGNATURE----- "},
        {"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----"},
    };
    struct kt_buf out = KT_BUF_INIT(65536), text = KT_BUF_INIT(65536);
    uint8_t *bytes;
    size_t n;

    (void)state;
    sign("admin@example.com", TEXT, &out);
    assert_int_equal(verify_changed(&out, "kind files", "kind files"), 0);
    for (size_t i = 0; i < sizeof CHANGES / sizeof CHANGES[0]; i++)
        if (verify_changed(&out, CHANGES[i][0], CHANGES[i][1]) != KT_ERR_SIGNATURE)
            fail_msg("accepted: \"%s\" for \"%s\"", CHANGES[i][1], CHANGES[i][0]);
    n = kt_buf_left(&out);
    bytes = malloc(2 * n);
    memcpy(bytes, kt_buf_ptr(&out), n);
    memcpy(bytes + n, kt_buf_ptr(&out), n); // a second block
    assert_int_equal(verify("admin@example.com", bytes, 2 * n, &text), KT_ERR_SIGNATURE);
    for (size_t i = 0; i < n; i += 1 + n / 60) { // whatever is changed, never another text
        bytes[i] ^= 1;
        kt_buf_reset(&text);
        if (verify("admin@example.com", bytes, n, &text) == 0) {
            assert_int_equal(kt_buf_left(&text), strlen(TEXT));
            assert_memory_equal(kt_buf_ptr(&text), TEXT, strlen(TEXT));
        }
        bytes[i] ^= 1;
    }
    assert_int_equal(verify("admin@example.com", bytes, 0, &text), KT_ERR_SIGNATURE);
    assert_int_equal(verify("admin@example.com", TEXT, strlen(TEXT), &text), KT_ERR_SIGNATURE);
    free(bytes);
    kt_buf_free(&out);
    kt_buf_free(&text);
}

static void a_signature_of_two_keys_or_of_a_revoked_one_is_refused(void **state)
{
    struct kt_buf out = KT_BUF_INIT(65536), text = KT_BUF_INIT(65536);

    (void)state;
    assert_int_equal(gpg_in(home,
                            ARGS("--clear-sign", "--local-user", "admin@example.com",
                                 "--local-user", "sign@example.com"),
                            TEXT, strlen(TEXT), &out),
                     0);
    assert_int_equal(verify("admin@example.com", kt_buf_ptr(&out), kt_buf_left(&out), &text),
                     KT_ERR_SIGNATURE);
    kt_buf_reset(&out);
    GPG("--quick-gen-key", "Lost <lost@example.com>", "ed25519", "sign", "never");
    sign("lost@example.com", TEXT, &out);
    assert_int_equal(verify("lost@example.com", kt_buf_ptr(&out), kt_buf_left(&out), &text), 0);
    kt_buf_reset(&text);
    revoke_key("lost@example.com");
    assert_int_equal(verify("lost@example.com", kt_buf_ptr(&out), kt_buf_left(&out), &text),
                     KT_ERR_SIGNATURE);
    kt_buf_free(&out);
    kt_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signed_text_comes_back_and_gpg_reads_it),
        cmocka_unit_test(text_that_a_signature_would_not_cover_is_not_signed),
        cmocka_unit_test(nothing_around_or_in_the_text_can_be_changed),
        cmocka_unit_test(a_signature_of_two_keys_or_of_a_revoked_one_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
