// SPDX-License-Identifier: Apache-2.0
// What a release policy and a justification may be.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/release.h"

static struct kt_release_policy good(void)
{
    struct kt_release_policy policy = {.not_before_us = 1000,
                                       .not_after_us = 2000,
                                       .max_retrievals = 7,
                                       .votes = 2,
                                       .request_lifetime_s = 3600,
                                       .justification = 1,
                                       .trustee_count = 2};

    policy.trustees[0].bytes[0] = 1;
    policy.trustees[1].bytes[0] = 2;
    return policy;
}

static void none_is_a_policy_that_demands_nothing(void **state)
{
    struct kt_release_policy none = {0}, each[7] = {{0}};

    (void)state;
    assert_int_equal(kt_release_policy_check(&none, NULL), 0);
    assert_int_equal(kt_release_policy_is_set(&none), 0);
    each[0].not_before_us = 1;
    each[1].not_after_us = 1;
    each[2].max_retrievals = 1;
    each[3].votes = 1;
    each[4].request_lifetime_s = 1;
    each[5].justification = 1;
    each[6].trustee_count = 1;
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(kt_release_policy_is_set(&each[i]), 1);
}

static int refused(const struct kt_release_policy *policy)
{
    struct kt_error error = {0};
    int rc = kt_release_policy_check(policy, &error);

    if (rc)
        assert_true(error.message[0] != '\0');
    return rc;
}

static void policy_that_contradicts_itself_is_refused(void **state)
{
    struct kt_release_policy p = good();

    (void)state;
    assert_int_equal(refused(&p), 0);
    p.not_after_us = p.not_before_us;
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    p = good();
    p.not_before_us = -1;
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    p = good();
    p.not_after_us = -1;
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    p = good();
    p.max_retrievals = UINT32_MAX;
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    p = good();
    p.votes = 3;
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    p.votes = 0;
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    p = good();
    p.trustees[1] = p.trustees[0];
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    memset(&p.trustees[1], 0, sizeof(p.trustees[1]));
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    p = good();
    p.trustee_count = KT_TRUSTEES_MAX + 1;
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    p = (struct kt_release_policy){.votes = 1, .request_lifetime_s = 3600};
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
}

static void lifetime_of_requests_is_bounded_and_goes_with_votes(void **state)
{
    struct kt_release_policy p = good();

    (void)state;
    p.request_lifetime_s = KT_REQUEST_LIFETIME_MIN_S;
    assert_int_equal(refused(&p), 0);
    p.request_lifetime_s--;
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    p.request_lifetime_s = KT_REQUEST_LIFETIME_MAX_S;
    assert_int_equal(refused(&p), 0);
    p.request_lifetime_s++;
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
    p = (struct kt_release_policy){.request_lifetime_s = 3600};
    assert_int_equal(refused(&p), KT_ERR_BAD_REQUEST);
}

static void policies_are_equal_member_by_member(void **state)
{
    struct kt_release_policy a = good(), b[8];

    (void)state;
    for (size_t i = 0; i < 8; i++)
        b[i] = good();
    assert_int_equal(kt_release_policy_equal(&a, &b[0]), 1);
    b[0].not_before_us++;
    b[1].not_after_us++;
    b[2].max_retrievals++;
    b[3].votes--;
    b[4].request_lifetime_s++;
    b[5].justification = 0;
    b[6].trustee_count--;
    b[7].trustees[1].bytes[15] = 1;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(kt_release_policy_equal(&a, &b[i]), 0);
    // without votes the lifetime stands for nothing
    a = (struct kt_release_policy){.max_retrievals = 1};
    b[0] = (struct kt_release_policy){.max_retrievals = 1, .request_lifetime_s = 86400};
    assert_int_equal(kt_release_policy_equal(&a, &b[0]), 1);
}

static void justification_is_plain_text_of_bounded_length(void **state)
{
    static const char *const GOOD[] = {"x",
                                       "the disk died",
                                       "Gr\xc3\xb6\xc3\x9f"
                                       "e",
                                       "\xe2\x82\xac 5",
                                       "\xf0\x9f\x94\x91",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const BAD[] = {"",
                                      "a\nb",
                                      "\t",
                                      "\x1b[2J",
                                      "\x7f",
                                      "\xc2\x80",
                                      "\xc2\x9f",
                                      "\xff",
                                      "\xc3",
                                      "\xc3(",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x80\xaf",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\xaf",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\x80",
                                      "\xe2\x82"};
    char text[KT_JUSTIFICATION_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++)
        assert_int_equal(kt_justification_check(GOOD[i]), 0);
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
        assert_int_equal(kt_justification_check(BAD[i]), KT_ERR_INVALID);
    memset(text, 'x', sizeof(text));
    text[KT_JUSTIFICATION_MAX] = '\0';
    assert_int_equal(kt_justification_check(text), 0);
    text[KT_JUSTIFICATION_MAX] = 'x';
    text[KT_JUSTIFICATION_MAX + 1] = '\0';
    assert_int_equal(kt_justification_check(text), KT_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_a_policy_that_demands_nothing),
        cmocka_unit_test(policy_that_contradicts_itself_is_refused),
        cmocka_unit_test(lifetime_of_requests_is_bounded_and_goes_with_votes),
        cmocka_unit_test(policies_are_equal_member_by_member),
        cmocka_unit_test(justification_is_plain_text_of_bounded_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
