// SPDX-License-Identifier: Apache-2.0
// Rules 8 and 12: the list of a new active, and the order in which an active changes its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/lib/rules_fixture.h"

// Promoting `target` when A was active, alone sealed or with the others in step.
static void promoting(char target, const char *members, uint32_t w)
{
    begin(target);
    history[0] = make_row(1, 1, 'A', members, w);
    seal('A', 50, 1)->active_since = 1;
    for (const char *m = members; *m; m++)
        seal(*m, 50, 1);
}

static void default_list_swaps_the_old_active_for_the_new(void **state)
{
    struct kt_epoch_row list;

    (void)state;
    promoting('B', "BC", 1);
    assert_int_equal(kt_rule_default_list(&attempt, &list, &error), 0);
    assert_int_equal(list.count, 2);
    assert_true(kt_epoch_row_has_member(&list, member_of('A')));
    assert_true(kt_epoch_row_has_member(&list, member_of('C')));
    assert_int_equal(list.w, 1);
    assert_int_equal(list.epoch, 9);
    assert_string_equal(list.active, member_of('B'));
    assert_false(list.ends);
    assert_int_equal(kt_rule_list_allowed(&attempt, &list, &error), 0);
}

static void default_list_is_allowed_in_clusters_of_all_sizes(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 5; n++) {
        for (uint32_t w = 1; w <= n; w++) {
            char members[] = "BCDEF";
            members[n] = '\0';
            promoting('B', members, w);
            assert_int_equal(default_list_allowed(), 0);
            promoting('A', members, w);
            assert_int_equal(default_list_allowed(), 0);
        }
    }
}

static void f10_any_list_at_all_lets_the_others_prove_alone(void **state)
{
    (void)state;
    promoting('A', "B", 1); // A again, with the newcomer: B could prove alone
    assert_int_equal(list_allowed("C", 1), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(error.message, "epoch 1 row 1"));
    assert_int_equal(list_allowed("BC", 1), KT_ERR_NOT_PROVEN);
    assert_int_equal(list_allowed("BC", 2), 0);
    assert_int_equal(list_allowed("B", 1), 0);
}

static void f10_passive_of_two_may_take_any_newcomer(void **state)
{
    (void)state;
    promoting('B', "B", 1);
    assert_int_equal(list_allowed("A", 1), 0);
    assert_int_equal(list_allowed("C", 1), 0);
    assert_int_equal(list_allowed("CD", 1), 0);
}

// N = 2, W = 1, list {D}: A and C prove with the old active, B and D acknowledge.
static void f20_a_list_that_misses_the_old_actives_proof_makes_two_lines(void **state)
{
    (void)state;
    promoting('B', "BC", 1);
    assert_int_equal(list_allowed("D", 1), KT_ERR_NOT_PROVEN);
    assert_int_equal(list_allowed("A", 1), 0); // A's part of that proof is in the list
    assert_int_equal(list_allowed("AC", 1), 0);
}

static void list_must_suit_every_row_that_counts(void **state)
{
    (void)state;
    begin('B');
    history[0] = make_row(1, 1, 'A', "BCD", 3); // R = 1
    history[1] = make_row(1, 2, 'A', "BCD", 2); // R = 2
    seal('B', 60, 2);
    seal('C', 60, 2);
    assert_int_equal(prove(), 0);
    assert_int_equal(list_allowed("CD", 2), 0);
    assert_int_equal(list_allowed("CD", 1), KT_ERR_NOT_PROVEN); // D alone proves row 1
    forget_attempt(NULL);
    begin('B');
    history[0] = make_row(1, 2, 'A', "BCD", 2);
    seal('B', 60, 1);
    seal('C', 60, 1);
    assert_int_equal(list_allowed("CD", 1), 0);
}

static void f11_w_0_acknowledges_with_a_single_copy(void **state)
{
    (void)state;
    promoting('B', "BC", 1);
    assert_int_equal(list_allowed("AC", 0), KT_ERR_NOT_PROVEN);
    assert_int_equal(list_allowed("", 0), KT_ERR_NOT_PROVEN);
    assert_int_equal(list_allowed("AC", 3), KT_ERR_NOT_PROVEN);
}

static void malformed_lists_are_refused(void **state)
{
    struct kt_epoch_row list = make_row(9, 1, 'B', "A", 1);

    (void)state;
    promoting('B', "B", 1);
    assert_int_equal(list_allowed("B", 1), KT_ERR_NOT_PROVEN); // itself
    assert_int_equal(list_allowed("AA", 1), KT_ERR_NOT_PROVEN);
    snprintf(list.members[0], KT_MEMBER_TEXT, "nonsense");
    assert_int_equal(kt_rule_list_allowed(&attempt, &list, &error), KT_ERR_NOT_PROVEN);
}

static void standalone_node_may_stay_alone_or_take_any_list(void **state)
{
    (void)state;
    promoting('A', "", 0);
    assert_int_equal(default_list_allowed(), 0);
    assert_int_equal(list_allowed("", 0), 0);
    assert_int_equal(list_allowed("B", 1), 0);
}

// --- rule 12 ---

static enum kt_change_order order;

static int change(const char *now, uint32_t w, const char *next, uint32_t w_next, int ends)
{
    struct kt_epoch_row a = make_row(1, 1, 'A', now, w), b = make_row(1, 2, 'A', next, w_next);

    b.ends = ends;
    return kt_rule_change_order(&a, &b, &order, &error);
}

static void f4_harder_to_acknowledge_with_the_row_first_loses_the_last_names_copy(void **state)
{
    (void)state;
    assert_int_equal(change("BC", 1, "B", 1, 0), 0); // a name less
    assert_int_equal(order, KT_ORDER_SETTING_FIRST);
    assert_int_equal(change("BC", 1, "BC", 2, 0), 0); // W raised
    assert_int_equal(order, KT_ORDER_SETTING_FIRST);
}

static void f4_harder_to_prove_with_the_setting_first_loses_what_the_newcomer_has(void **state)
{
    (void)state;
    assert_int_equal(change("B", 1, "BC", 1, 0), 0); // a name more
    assert_int_equal(order, KT_ORDER_ROW_FIRST);
    assert_int_equal(change("BC", 2, "BC", 1, 0), 0); // W lowered
    assert_int_equal(order, KT_ORDER_ROW_FIRST);
}

static void f4_name_and_w_at_once_have_no_safe_order(void **state)
{
    (void)state;
    assert_int_equal(change("BC", 2, "B", 1, 0), KT_ERR_INVALID);
    assert_int_equal(change("B", 1, "BC", 2, 0), KT_ERR_INVALID);
    assert_int_equal(change("B", 1, "C", 1, 0), KT_ERR_INVALID); // two names
    assert_int_equal(change("BCD", 1, "B", 1, 0), KT_ERR_INVALID);
    assert_int_equal(change("BCD", 1, "BCD", 3, 0), KT_ERR_INVALID); // W by two
    assert_int_equal(change("BCD", 3, "BCD", 1, 0), KT_ERR_INVALID);
}

static void f11_no_change_leaves_the_active_alone_without_an_override(void **state)
{
    (void)state;
    assert_int_equal(change("B", 1, "", 0, 0), KT_ERR_INVALID);
    assert_int_equal(change("BC", 1, "BC", 0, 0), KT_ERR_INVALID);
    assert_int_equal(change("B", 1, "", 0, 1), 0);
    assert_int_equal(order, KT_ORDER_SETTING_FIRST);
    assert_int_equal(change("B", 1, "C", 1, 1), 0);
    assert_int_equal(order, KT_ORDER_SETTING_FIRST);
}

static void first_passive_of_a_standalone_node_acknowledges_before_the_row_is_written(void **state)
{
    (void)state;
    assert_int_equal(change("", 0, "B", 1, 0), 0);
    assert_int_equal(order, KT_ORDER_SETTING_FIRST);
    assert_int_equal(change("", 0, "BC", 1, 0), KT_ERR_INVALID);
}

static void what_is_so_already_is_no_change(void **state)
{
    (void)state;
    assert_int_equal(change("BC", 1, "CB", 1, 0), 0);
    assert_int_equal(order, KT_ORDER_NOTHING);
    assert_int_equal(change("", 0, "", 0, 0), 0);
    assert_int_equal(order, KT_ORDER_NOTHING);
}

static void impossible_lists_are_no_change(void **state)
{
    (void)state;
    assert_int_equal(change("BC", 2, "B", 2, 0), KT_ERR_INVALID); // W over N
    assert_non_null(strstr(error.hint, "lower W first"));
    assert_int_equal(change("B", 1, "BA", 1, 0), KT_ERR_INVALID); // the active itself
    struct kt_epoch_row a = make_row(1, 1, 'A', "B", 1), b = a;
    b.count = KT_MEMBERS_MAX + 1;
    assert_int_equal(kt_rule_change_order(&a, &b, &order, &error), KT_ERR_INVALID);
}

static void a_row_that_was_written_first_is_written_once_more(void **state)
{
    struct kt_epoch_row one = make_row(1, 1, 'A', "B", 1), two = make_row(1, 2, 'A', "BC", 1),
                        again = make_row(1, 3, 'A', "BC", 1), next = make_row(2, 1, 'B', "AC", 1);

    (void)state;
    assert_int_equal(kt_rule_must_repeat(&one, &two), 1);
    assert_int_equal(kt_rule_must_repeat(&two, &again), 0); // that is the second copy
    assert_int_equal(kt_rule_must_repeat(&two, &one), 0);   // fewer: written last
    assert_int_equal(kt_rule_must_repeat(NULL, &two), 0);
    assert_int_equal(kt_rule_must_repeat(&again, &next), 0); // another epoch
    two.w = 2;
    assert_int_equal(kt_rule_must_repeat(&two, &again), 1); // W lowered
}

#define CASE(name) cmocka_unit_test_teardown(name, forget_attempt)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(default_list_swaps_the_old_active_for_the_new),
        CASE(default_list_is_allowed_in_clusters_of_all_sizes),
        CASE(f10_any_list_at_all_lets_the_others_prove_alone),
        CASE(f10_passive_of_two_may_take_any_newcomer),
        CASE(f20_a_list_that_misses_the_old_actives_proof_makes_two_lines),
        CASE(list_must_suit_every_row_that_counts),
        CASE(f11_w_0_acknowledges_with_a_single_copy),
        CASE(malformed_lists_are_refused),
        CASE(standalone_node_may_stay_alone_or_take_any_list),
        CASE(f4_harder_to_acknowledge_with_the_row_first_loses_the_last_names_copy),
        CASE(f4_harder_to_prove_with_the_setting_first_loses_what_the_newcomer_has),
        CASE(f4_name_and_w_at_once_have_no_safe_order),
        CASE(f11_no_change_leaves_the_active_alone_without_an_override),
        CASE(first_passive_of_a_standalone_node_acknowledges_before_the_row_is_written),
        CASE(what_is_so_already_is_no_change),
        CASE(a_row_that_was_written_first_is_written_once_more),
        CASE(impossible_lists_are_no_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
