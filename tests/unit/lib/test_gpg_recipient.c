// SPDX-License-Identifier: Apache-2.0
// Recipients by each kind of name, and those that are refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "lib/encode.h"
#include "tests/unit/lib/gpg_homes.h"

#define DAY_US INT64_C(86400000000)

static void not_found_as(int code, const char *text, const char *words)
{
    struct kt_gpg_recipient recipient;
    struct kt_error error = {0};
    int rc = kt_gpg_find_recipient(own, text, &recipient, &error);

    if (rc != code || strstr(error.message, words) == NULL)
        fail_msg("\"%s\": %d %s", text, rc, error.message);
}

static void a_recipient_is_found_by_each_kind_of_name(void **state)
{
    const char *fingerprint = fingerprint_of(home, "admin@example.com");
    struct kt_gpg_recipient recipient;
    char spaced[64] = "";

    (void)state;
    for (size_t i = 0; i < 40; i++)
        snprintf(spaced + strlen(spaced), sizeof spaced - strlen(spaced), "%s%c",
                 i > 0 && i % 4 == 0 ? " " : "", fingerprint[i] | (fingerprint[i] > '9' ? 32 : 0));
    const char *const names[] = {fingerprint,         spaced,
                                 "admin@example.com", "ADMIN@example.COM",
                                 "backup ad",         "Backup Admin <admin@example.com>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        find(names[i], &recipient);
        assert_string_equal(recipient.fingerprint, fingerprint);
        assert_string_equal(recipient.user_id, "Backup Admin <admin@example.com>");
        assert_int_equal(recipient.key_id_count, 1);
        assert_int_equal(recipient.expires_us, 0);
    }
}

static void an_address_that_another_contains_is_not_that_one(void **state)
{
    struct kt_gpg_recipient recipient;

    (void)state;
    find("john@example.com", &recipient);
    assert_string_equal(recipient.user_id, "John One <John@Example.com>");
    find("x-john@example.com", &recipient);
    assert_string_equal(recipient.user_id, "Other <x-john@example.com>");
    not_found_as(KT_ERR_NOT_FOUND, "hn@example.com", "no OpenPGP key");
}

static void names_that_fit_no_key_or_many_are_refused(void **state)
{
    struct kt_gpg_recipient recipient;

    (void)state;
    not_found_as(KT_ERR_NOT_FOUND, "nobody@example.com", "no OpenPGP key");
    not_found_as(KT_ERR_NOT_FOUND, "0123456789012345678901234567890123456789", "no OpenPGP key");
    not_found_as(KT_ERR_INVALID, "", "empty");
    not_found_as(KT_ERR_INVALID, "john", "2 keys fit");
    not_found_as(KT_ERR_INVALID, "john", fingerprint_of(home, "x-john@example.com"));
    not_found_as(KT_ERR_INVALID, "john", "John One");
    find("same@example.com", &recipient); // the other one has expired
    assert_string_equal(recipient.user_id, "New <same@example.com>");
    GPG("--quick-gen-key", "John Two <john@example.com>", "future-default", "default", "never");
    not_found_as(KT_ERR_INVALID, "john@example.com", "2 keys fit");
    GPG("--yes", "--delete-secret-and-public-key", fingerprint_of(home, "John Two"));
}

static void keys_that_cannot_be_used_are_refused_with_the_reason(void **state)
{
    (void)state;
    not_found_as(KT_ERR_INVALID, "old@example.com", "it has expired");
    not_found_as(KT_ERR_INVALID, fingerprint_of(home, "old@example.com"), "it has expired");
    not_found_as(KT_ERR_INVALID, "gone@example.com", "it is revoked");
    not_found_as(KT_ERR_INVALID, "sign@example.com", "it has no key for encryption");
    not_found_as(KT_ERR_INVALID, "half@example.com", "its keys for encryption have expired");
}

static void the_end_of_a_recipient_is_the_earlier_of_its_keys(void **state)
{
    struct kt_gpg_recipient recipient;

    (void)state;
    find("soon@example.com", &recipient);
    assert_true(recipient.expires_us > kt_time_now() + 29 * DAY_US);
    assert_true(recipient.expires_us < kt_time_now() + 31 * DAY_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recipient_is_found_by_each_kind_of_name),
        cmocka_unit_test(an_address_that_another_contains_is_not_that_one),
        cmocka_unit_test(names_that_fit_no_key_or_many_are_refused),
        cmocka_unit_test(keys_that_cannot_be_used_are_refused_with_the_reason),
        cmocka_unit_test(the_end_of_a_recipient_is_the_earlier_of_its_keys),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
