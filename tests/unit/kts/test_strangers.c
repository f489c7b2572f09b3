// SPDX-License-Identifier: Apache-2.0
// The share of audit records for refusals to strangers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kts/strangers.h"

static int allowed_of(struct kts_strangers *strangers, int tries, int64_t now_us)
{
    int n = 0;

    for (int i = 0; i < tries; i++)
        n += kts_strangers_allow(strangers, now_us);
    return n;
}

static void a_burst_is_recorded_and_what_is_beyond_is_counted(void **state)
{
    struct kts_strangers s = {0};

    (void)state;
    assert_int_equal(allowed_of(&s, 1000, 5000000), KTS_STRANGERS_BURST);
    assert_int_equal(s.skipped, 1000 - KTS_STRANGERS_BURST);
}

static void the_share_comes_back_with_time_up_to_the_burst(void **state)
{
    struct kts_strangers s = {0};
    int64_t now = 5000000;

    (void)state;
    allowed_of(&s, 1000, now);
    now += 1000000;
    assert_int_equal(allowed_of(&s, 1000, now), KTS_STRANGERS_RATE);
    now += 1000000 / KTS_STRANGERS_RATE - 1;
    assert_int_equal(allowed_of(&s, 10, now), 0);
    now += 3600 * INT64_C(1000000);
    assert_int_equal(allowed_of(&s, 1000, now), KTS_STRANGERS_BURST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_recorded_and_what_is_beyond_is_counted),
        cmocka_unit_test(the_share_comes_back_with_time_up_to_the_burst),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
