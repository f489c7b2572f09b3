// SPDX-License-Identifier: Apache-2.0
// Rates by key: what is allowed at once, what comes back, and who shares a place.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "kts/meter.h"

#define NOW INT64_C(5000000000)

static struct kts_meter *meter;
static const struct kts_rate TEN_A_MINUTE = {10, 60000000};

static int set_up(void **state)
{
    (void)state;
    return kts_meter_new(&meter);
}

static int tear_down(void **state)
{
    (void)state;
    kts_meter_free(meter);
    return 0;
}

static uint64_t key(const char *who)
{
    return kts_meter_key(meter, KTS_METER_CODES, who, strlen(who));
}

static int taken_of(const char *who, int tries, int64_t now_us)
{
    int n = 0;

    for (int i = 0; i < tries; i++)
        n += kts_meter_take(meter, key(who), TEN_A_MINUTE, now_us) == 0;
    return n;
}

static void a_key_has_its_count_at_once_and_no_more(void **state)
{
    (void)state;
    assert_int_equal(taken_of("a", 100, NOW), 10);
    assert_int_equal(taken_of("b", 100, NOW), 10); // its own
}

static void the_allowance_comes_back_evenly_up_to_the_count(void **state)
{
    (void)state;
    taken_of("a", 100, NOW);
    assert_int_equal(taken_of("a", 100, NOW + 5999999), 0);
    assert_int_equal(taken_of("a", 100, NOW + 6000000), 1);
    assert_int_equal(taken_of("a", 100, NOW + 36000000), 5);
    assert_int_equal(taken_of("a", 100, NOW + INT64_C(3600000000)), 10);
}

static void the_wait_that_is_told_is_long_enough_and_not_longer(void **state)
{
    int64_t wait_us;

    (void)state;
    taken_of("a", 100, NOW);
    wait_us = kts_meter_wait(meter, key("a"), TEN_A_MINUTE, NOW);
    assert_true(wait_us > 0 && wait_us <= 6000000);
    assert_int_equal(kts_meter_wait(meter, key("a"), TEN_A_MINUTE, NOW + wait_us), 0);
    assert_true(kts_meter_wait(meter, key("a"), TEN_A_MINUTE, NOW + wait_us - 1) > 0);
    assert_int_equal(kts_meter_wait(meter, key("unheard"), TEN_A_MINUTE, NOW), 0);
}

static void charges_beyond_the_limit_do_not_punish_for_ever(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++)
        kts_meter_charge(meter, key("a"), TEN_A_MINUTE, NOW);
    assert_true(kts_meter_wait(meter, key("a"), TEN_A_MINUTE, NOW) > 0);
    assert_int_equal(kts_meter_wait(meter, key("a"), TEN_A_MINUTE, NOW + 6000000), 0);
}

static void other_processes_count_in_the_same_table(void **state)
{
    int status = 0;
    pid_t pid;

    (void)state;
    pid = fork();
    if (pid == 0)
        _exit(taken_of("a", 7, NOW) == 7 ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(taken_of("a", 100, NOW), 3);
}

static void kinds_and_keys_are_told_apart(void **state)
{
    (void)state;
    assert_true(kts_meter_key(meter, KTS_METER_CODES, "x", 1) !=
                kts_meter_key(meter, KTS_METER_CODE, "x", 1));
    assert_true(key("x") != key("y"));
    assert_true(key("x") == key("x"));
}

// Whoever fills the table must neither have newcomers refused nor be forgotten for it.
static void a_full_table_refuses_no_newcomer_and_forgets_who_owes_least(void **state)
{
    char name[32];

    (void)state;
    taken_of("worst", 100, NOW);
    for (int i = 0; i < 1000000; i++) {
        snprintf(name, sizeof(name), "host %d", i);
        assert_int_equal(kts_meter_take(meter, key(name), TEN_A_MINUTE, NOW), 0);
    }
    assert_int_equal(taken_of("worst", 1, NOW), 0);
}

static void address(const char *text, uint8_t out[KTS_ADDRESS_LEN])
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        kts_address_of((struct sockaddr *)&v4, out);
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        kts_address_of((struct sockaddr *)&v6, out);
    else
        fail();
}

static int same_address(const char *a, const char *b)
{
    uint8_t one[KTS_ADDRESS_LEN], two[KTS_ADDRESS_LEN];

    address(a, one);
    address(b, two);
    return memcmp(one, two, sizeof(one)) == 0;
}

static void one_host_is_one_address_whatever_it_calls_itself(void **state)
{
    (void)state;
    assert_true(same_address("192.0.2.1", "192.0.2.1"));
    assert_false(same_address("192.0.2.1", "192.0.2.2"));
    assert_true(same_address("192.0.2.1", "::ffff:192.0.2.1"));
    assert_true(same_address("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"));
    assert_false(same_address("2001:db8:0:1::1", "2001:db8:0:2::1"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_key_has_its_count_at_once_and_no_more),
        CASE(the_allowance_comes_back_evenly_up_to_the_count),
        CASE(the_wait_that_is_told_is_long_enough_and_not_longer),
        CASE(charges_beyond_the_limit_do_not_punish_for_ever),
        CASE(other_processes_count_in_the_same_table),
        CASE(kinds_and_keys_are_told_apart),
        CASE(a_full_table_refuses_no_newcomer_and_forgets_who_owes_least),
        CASE(one_host_is_one_address_whatever_it_calls_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
