// SPDX-License-Identifier: Apache-2.0
// The accepted forms of ciphertext.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kts/ciphertext.h"
#include "lib/openpgp.h"

#define PGP "application/pgp-encrypted"

static const uint64_t own_id = UINT64_C(0x1122334455667788);
static const struct kts_own_keys OWN = {&own_id, 1};

// A session key to `key_id` (X25519 as RFC 6637 ECDH) and a protected data packet; in form only.
static size_t make_message(uint8_t *out, uint64_t key_id, unsigned data_tag)
{
    static const uint8_t POINT[] = {0x00, 0x09, 0x01, 0xff, 0x03, 1, 2, 3}; // MPI, length, wrapped
    uint8_t *p = out;

    *p++ = 0xc0 | 1;
    *p++ = (uint8_t)(1 + 8 + 1 + sizeof(POINT));
    *p++ = 3;
    for (int i = 7; i >= 0; i--)
        *p++ = (uint8_t)(key_id >> (8 * i));
    *p++ = 18; // ECDH
    memcpy(p, POINT, sizeof(POINT));
    p += sizeof(POINT);
    *p++ = (uint8_t)(0xc0 | data_tag);
    *p++ = 50;
    *p++ = 1;
    memset(p, 0x5a, 49);
    return (size_t)(p + 49 - out);
}

static int check(const char *type, const void *body, size_t n, const struct kts_own_keys *own)
{
    struct kts_recipients recipients = {0};
    struct kt_error error = {0};
    int rc = kts_ciphertext_check(type, body, n, own, &recipients, &error);

    if (rc)
        assert_true(error.message[0] != '\0');
    return rc;
}

static void an_encrypted_message_is_accepted(void **state)
{
    uint8_t body[256];
    size_t n = make_message(body, own_id + 1, 18);

    (void)state;
    assert_int_equal(check(PGP, body, n, &OWN), 0);
    assert_int_equal(check("Application/PGP-Encrypted", body, n, &OWN), 0);
}

static void a_message_to_the_clusters_own_key_is_refused(void **state)
{
    uint8_t body[512];
    uint8_t both[512];
    const uint64_t ids[] = {1, own_id};
    const struct kts_own_keys two = {ids, 2};
    size_t n = make_message(body, own_id, 18), first;

    (void)state;
    assert_int_equal(check(PGP, body, n, &OWN), KT_ERR_ENCRYPTED_TO_CLUSTER);
    assert_int_equal(check(PGP, body, n, &two), KT_ERR_ENCRYPTED_TO_CLUSTER);
    assert_int_equal(check(PGP, body, n, &(struct kts_own_keys){NULL, 0}), 0);
    // As one of several recipients too: a session key to another, then the whole message.
    first = make_message(both, own_id + 1, 18) - 52;
    memcpy(both + first, body, n);
    assert_int_equal(check(PGP, both, first + n, &OWN), KT_ERR_ENCRYPTED_TO_CLUSTER);
}

static void what_is_not_ciphertext_is_refused(void **state)
{
    uint8_t body[256];
    size_t n = make_message(body, 1, 18);

    (void)state;
    assert_int_equal(check(PGP, "secret", 6, &OWN), KT_ERR_NOT_CIPHERTEXT);
    assert_int_equal(check(PGP, "-----BEGIN PGP MESSAGE-----\n", 28, &OWN), KT_ERR_NOT_CIPHERTEXT);
    assert_int_equal(check(PGP, body, n - 1, &OWN), KT_ERR_NOT_CIPHERTEXT);
    body[n] = 0;
    assert_int_equal(check(PGP, body, n + 1, &OWN), KT_ERR_NOT_CIPHERTEXT);
    n = make_message(body, 1, 9); // without integrity protection
    assert_int_equal(check(PGP, body, n, &OWN), KT_ERR_NOT_CIPHERTEXT);
}

static void too_many_recipients_are_refused_in_form(void **state)
{
    static uint8_t body[65536];
    uint8_t one[256];
    size_t whole = make_message(one, 1, 18), n = 0;

    (void)state;
    for (int i = 0; i < KT_OPENPGP_RECIPIENTS_MAX; i++) {
        memcpy(body + n, one, whole - 52);
        n += whole - 52;
    }
    memcpy(body + n, one, whole);
    assert_int_equal(check(PGP, body, n + whole, &OWN), KT_ERR_NOT_CIPHERTEXT);
}

static void recipients_are_given_out(void **state)
{
    static uint8_t body[65536];
    struct kts_recipients recipients = {0};
    struct kt_error error = {0};
    uint8_t one[256];
    size_t n = 0, whole = 0;

    (void)state;
    for (uint64_t i = 1; i <= KT_RECIPIENTS_MAX; i++) {
        whole = make_message(one, i, 18);
        memcpy(body + n, one, whole - 52);
        n += whole - 52;
    }
    memcpy(body + n, one + whole - 52, 52);
    assert_int_equal(kts_ciphertext_check(PGP, body, n + 52, &OWN, &recipients, &error), 0);
    assert_int_equal(recipients.count, KT_RECIPIENTS_MAX);
    for (uint64_t i = 1; i <= KT_RECIPIENTS_MAX; i++)
        assert_true(recipients.key_ids[i - 1] == i);
    memcpy(body + n, one, whole); // one more
    assert_int_equal(check(PGP, body, n + whole, &OWN), KT_ERR_NOT_CIPHERTEXT);
}

static void other_content_types_are_refused(void **state)
{
    uint8_t body[256];
    size_t n = make_message(body, 1, 18);

    (void)state;
    assert_int_equal(check("application/octet-stream", body, n, &OWN), KT_ERR_CONTENT_TYPE);
    assert_int_equal(check("", body, n, &OWN), KT_ERR_CONTENT_TYPE);
    assert_null(kts_ciphertext_type("text/plain"));
    assert_null(kts_ciphertext_type(PGP "; x=y"));
    assert_string_equal(kts_ciphertext_type("APPLICATION/pgp-encrypted"), PGP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_encrypted_message_is_accepted),
        cmocka_unit_test(a_message_to_the_clusters_own_key_is_refused),
        cmocka_unit_test(what_is_not_ciphertext_is_refused),
        cmocka_unit_test(too_many_recipients_are_refused_in_form),
        cmocka_unit_test(recipients_are_given_out),
        cmocka_unit_test(other_content_types_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
