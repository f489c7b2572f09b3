// SPDX-License-Identifier: Apache-2.0
// The verdict on a row that authorises.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kts/dispatch.h"

static int check(enum kts_caller caller, const char *right, int one_deposit,
                 const struct db_answer *answer)
{
    const struct kts_route route = {.caller = caller, .right = right};
    int reason = -1, code = kts_access_check(&route, one_deposit, answer, 1000, &reason);

    assert_true(code == 0 ? reason == 0 : reason != 0);
    return code;
}

static struct db_answer of_a_client(void)
{
    return (struct db_answer){.known = 1, .who = {.not_after_us = 2000}};
}

static void what_is_for_anybody_needs_nobody(void **state)
{
    const struct db_answer answer = {0};

    (void)state;
    assert_int_equal(check(KTS_ANYONE, NULL, 0, &answer), 0);
}

static void a_right_is_not_anybodys(void **state)
{
    const struct db_answer answer = {0};

    (void)state;
    assert_int_equal(check(KTS_ANYONE, "browse", 0, &answer), KT_ERR_NOT_GRANTED);
}

static void what_was_purged_is_gone_for_who_may_see_it_and_not_there_for_others(void **state)
{
    struct db_deposit deposit = {.handle = "h"};
    struct db_answer answer = of_a_client();

    (void)state;
    answer.count = 1;
    answer.deposits = &deposit;
    answer.version_found = answer.gone = 1;
    assert_int_equal(check(KTS_CLIENT, "retrieve", 1, &answer), KT_ERR_DEPOSIT_NOT_FOUND);
    answer.browsable = 1;
    assert_int_equal(check(KTS_CLIENT, "retrieve", 1, &answer), KT_ERR_NOT_GRANTED);
    answer.granted = 1;
    assert_int_equal(check(KTS_CLIENT, "retrieve", 1, &answer), KT_ERR_DEPOSIT_PURGED);
    answer.version_found = 0;
    assert_int_equal(check(KTS_CLIENT, "retrieve", 1, &answer), KT_ERR_VERSION_NOT_FOUND);
}

static void an_unknown_certificate_is_refused(void **state)
{
    const struct db_answer answer = {0};

    (void)state;
    assert_int_equal(check(KTS_CLIENT, NULL, 0, &answer), KT_ERR_CERTIFICATE_UNKNOWN);
    assert_int_equal(check(KTS_OPERATOR, NULL, 0, &answer), KT_ERR_NOT_GRANTED);
}

static void who_is_not_in_good_standing_is_refused(void **state)
{
    struct db_answer answer = of_a_client();

    (void)state;
    assert_int_equal(check(KTS_CLIENT, NULL, 0, &answer), 0);
    answer.who.pending = 1;
    assert_int_equal(check(KTS_CLIENT, NULL, 0, &answer), KT_ERR_CLIENT_PENDING);
    assert_int_equal(check(KTS_CLIENT_PENDING_OK, NULL, 0, &answer), 0);
    answer.who.organisation_disabled = 1;
    assert_int_equal(check(KTS_CLIENT, NULL, 0, &answer), KT_ERR_ORGANISATION_DISABLED);
    answer.who.revoked = 1;
    assert_int_equal(check(KTS_CLIENT, NULL, 0, &answer), KT_ERR_CLIENT_REVOKED);
    answer.who.not_after_us = 999;
    assert_int_equal(check(KTS_CLIENT, NULL, 0, &answer), KT_ERR_CERTIFICATE_EXPIRED);
    answer.who.certificate_revoked = 1;
    assert_int_equal(check(KTS_CLIENT, NULL, 0, &answer), KT_ERR_CERTIFICATE_REVOKED);
}

static void what_may_not_be_browsed_is_not_found(void **state)
{
    struct db_answer answer = of_a_client();

    (void)state;
    assert_int_equal(check(KTS_CLIENT, "retrieve", 1, &answer), KT_ERR_DEPOSIT_NOT_FOUND);
    answer.count = 1;
    answer.version_found = 1;
    assert_int_equal(check(KTS_CLIENT, "retrieve", 1, &answer), KT_ERR_DEPOSIT_NOT_FOUND);
    answer.browsable = 1;
    assert_int_equal(check(KTS_CLIENT, "retrieve", 1, &answer), KT_ERR_NOT_GRANTED);
    answer.granted = 1;
    assert_int_equal(check(KTS_CLIENT, "retrieve", 1, &answer), 0);
    answer.version_found = 0;
    assert_int_equal(check(KTS_CLIENT, "retrieve", 1, &answer), KT_ERR_VERSION_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_for_anybody_needs_nobody),
        cmocka_unit_test(a_right_is_not_anybodys),
        cmocka_unit_test(what_was_purged_is_gone_for_who_may_see_it_and_not_there_for_others),
        cmocka_unit_test(an_unknown_certificate_is_refused),
        cmocka_unit_test(who_is_not_in_good_standing_is_refused),
        cmocka_unit_test(what_may_not_be_browsed_is_not_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
