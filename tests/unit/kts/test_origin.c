// SPDX-License-Identifier: Apache-2.0
// Who has to go when there is no room: the longest waiting, of the address that has most that wait.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kts/origin.h"

#define MAX 64

static struct kts_origins *origins;
static struct kts_place places[MAX];

static int set_up(void **state)
{
    (void)state;
    memset(places, 0, sizeof(places));
    return kts_origins_new(MAX, &origins);
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < MAX; i++)
        kts_origins_leave(origins, &places[i]);
    kts_origins_free(origins);
    return 0;
}

static void fill_in(uint8_t host, uint8_t out[KTS_ADDRESS_LEN])
{
    memset(out, 0, KTS_ADDRESS_LEN);
    out[0] = 4;
    out[4] = host;
}

static void join(int place, uint8_t host)
{
    uint8_t address[KTS_ADDRESS_LEN];

    fill_in(host, address);
    assert_int_equal(kts_origins_join(origins, address, &places[place], &places[place]), 0);
}

static struct kts_origin *origin_of(uint8_t host)
{
    uint8_t address[KTS_ADDRESS_LEN];

    fill_in(host, address);
    return kts_origins_find(origins, address);
}

static void nobody_has_to_go_when_nobody_waits(void **state)
{
    (void)state;
    assert_null(kts_origins_longest(origins));
    join(0, 1);
    kts_origins_work(origins, &places[0]);
    assert_null(kts_origins_longest(origins));
    assert_null(kts_origin_longest(origin_of(1)));
    assert_int_equal(origin_of(1)->connections, 1);
}

static void the_longest_of_the_address_with_most_goes(void **state)
{
    (void)state;
    join(0, 1); // the oldest of all, but alone
    join(1, 2);
    join(2, 2);
    join(3, 2);
    assert_ptr_equal(kts_origins_longest(origins), &places[1]);
    kts_origins_wait(origins, &places[1]); // spoke meanwhile
    assert_ptr_equal(kts_origins_longest(origins), &places[2]);
    assert_ptr_equal(kts_origin_longest(origin_of(1)), &places[0]);
}

static void working_connections_count_for_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) { // a busy site
        join(i, 1);
        kts_origins_work(origins, &places[i]);
    }
    join(10, 2);
    join(11, 2);
    assert_ptr_equal(kts_origins_longest(origins), &places[10]);
    assert_int_equal(origin_of(1)->connections, 10);
    assert_int_equal(origin_of(1)->waiting, 0);
}

// As many new ones as there is room for, again and again: a single quiet client stays.
static void a_flood_from_one_address_displaces_only_itself(void **state)
{
    (void)state;
    join(0, 1);
    for (int i = 1; i < MAX; i++)
        join(i, 2);
    for (int round = 0; round < 1000; round++) {
        struct kts_place *gone = kts_origins_longest(origins);

        assert_non_null(gone);
        assert_ptr_not_equal(gone, &places[0]);
        kts_origins_leave(origins, gone);
        join((int)(gone - places), 2);
    }
    assert_int_equal(origin_of(1)->connections, 1);
}

static void an_address_is_forgotten_with_its_last_connection(void **state)
{
    (void)state;
    join(0, 1);
    join(1, 1);
    kts_origins_leave(origins, &places[0]);
    assert_non_null(origin_of(1));
    kts_origins_leave(origins, &places[1]);
    kts_origins_leave(origins, &places[1]); // twice does no harm
    assert_null(origin_of(1));
    assert_null(kts_origins_longest(origins));
}

static void no_more_join_than_there_is_room_for(void **state)
{
    uint8_t address[KTS_ADDRESS_LEN];
    struct kts_place one = {0};

    (void)state;
    for (int i = 0; i < MAX; i++)
        join(i, 1);
    fill_in(1, address);
    assert_int_equal(kts_origins_join(origins, address, &one, &one), KT_ERR_BUSY);
    kts_origins_leave(origins, &one);
    assert_int_equal(origin_of(1)->connections, MAX);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(nobody_has_to_go_when_nobody_waits),
        CASE(the_longest_of_the_address_with_most_goes),
        CASE(working_connections_count_for_nothing),
        CASE(a_flood_from_one_address_displaces_only_itself),
        CASE(an_address_is_forgotten_with_its_last_connection),
        CASE(no_more_join_than_there_is_room_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
