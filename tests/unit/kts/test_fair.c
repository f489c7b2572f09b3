// SPDX-License-Identifier: Apache-2.0
// Turns: organisations one after the other, and in each its clients.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kts/fair.h"

#define MAX 64

struct thing {
    uint64_t organisation, client;
    int number;
    struct kts_tenant *tenant;
    struct kts_fair_item item;
};

static struct kts_fair *fair;
static struct thing things[MAX];
static int count;

static int set_up(void **state)
{
    (void)state;
    memset(things, 0, sizeof(things));
    count = 0;
    return kts_fair_new(&fair);
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < count; i++) {
        kts_fair_remove(&things[i].item);
        if (things[i].tenant)
            kts_fair_leave(fair, things[i].tenant);
    }
    kts_fair_free(fair);
    return 0;
}

static struct thing *push(unsigned queue, uint64_t organisation, uint64_t client)
{
    struct thing *thing = &things[count];

    thing->organisation = organisation;
    thing->client = client;
    thing->number = count++;
    thing->tenant = kts_fair_join(fair, organisation, client);
    assert_non_null(thing->tenant);
    kts_fair_push(fair, queue, thing->tenant, &thing->item, thing);
    return thing;
}

// The organisations (tens) and clients (units) in the order of their turns.
static void expect_turns(unsigned queue, const char *expected)
{
    char text[MAX * 3 + 1] = "";
    struct thing *thing;

    while ((thing = kts_fair_pop(fair, queue)) != NULL) {
        char one[4] = {(char)('0' + thing->organisation), (char)('0' + thing->client), ' ', '\0'};
        strncat(text, one, sizeof(text) - strlen(text) - 1);
    }
    assert_string_equal(text, expected);
}

static void organisations_take_turns_however_much_one_has_put_in(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        push(0, 1, 1);
    push(0, 2, 1);
    push(0, 3, 1);
    push(0, 3, 1);
    expect_turns(0, "11 21 31 11 31 11 11 11 ");
}

static void within_an_organisation_clients_take_turns(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        push(0, 1, 1);
    push(0, 1, 2);
    push(0, 2, 5);
    push(0, 2, 5);
    expect_turns(0, "11 25 12 25 11 11 11 ");
}

static void a_client_is_served_in_its_own_order(void **state)
{
    struct thing *thing;
    int last = -1;

    (void)state;
    for (int i = 0; i < 10; i++)
        push(0, (uint64_t)(i % 2), 1);
    while ((thing = kts_fair_pop(fair, 0)) != NULL) {
        if (thing->organisation == 1) {
            assert_true(thing->number > last);
            last = thing->number;
        }
    }
    assert_int_equal(last, 9);
}

static void queues_are_separate_and_clients_of_two_organisations_too(void **state)
{
    (void)state;
    push(0, 1, 1);
    push(1, 1, 1);
    push(0, 2, 1);
    assert_ptr_not_equal(things[0].tenant, things[2].tenant);
    assert_ptr_equal(things[0].tenant, things[1].tenant);
    assert_int_equal(things[0].tenant->under_way, 2);
    expect_turns(1, "11 ");
    expect_turns(0, "11 21 ");
}

static void what_is_taken_out_has_no_turn(void **state)
{
    struct thing *first;

    (void)state;
    first = push(0, 1, 1);
    push(0, 1, 1);
    push(0, 2, 1);
    kts_fair_remove(&first->item);
    kts_fair_remove(&first->item); // twice does no harm
    kts_fair_remove(&things[2].item);
    expect_turns(0, "11 ");
    assert_null(kts_fair_pop(fair, 0));
}

static void tenants_count_what_they_have_under_way(void **state)
{
    struct kts_tenant *one, *two;

    (void)state;
    one = kts_fair_join(fair, 1, 1);
    two = kts_fair_join(fair, 1, 2);
    assert_int_equal(one->under_way, 1);
    assert_int_equal(one->parent->under_way, 2);
    assert_ptr_equal(one->parent, two->parent);
    kts_fair_leave(fair, one);
    assert_int_equal(two->parent->under_way, 1);
    kts_fair_leave(fair, two);
    one = kts_fair_join(fair, 1, 1);
    assert_int_equal(one->parent->under_way, 1);
    kts_fair_leave(fair, one);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(organisations_take_turns_however_much_one_has_put_in),
        CASE(within_an_organisation_clients_take_turns),
        CASE(a_client_is_served_in_its_own_order),
        CASE(queues_are_separate_and_clients_of_two_organisations_too),
        CASE(what_is_taken_out_has_no_turn),
        CASE(tenants_count_what_they_have_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
