// SPDX-License-Identifier: Apache-2.0
// Rules 5, 6 and 7: which rows count, from whom the target copies, and what is proof. F1 to F26 are
// the findings of docs/failover.md: a case says what is lost without the rule.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/lib/rules_fixture.h"

static size_t rows_that_count(void)
{
    struct kt_rows_that_count rows;

    assert_int_equal(kt_rule_rows_that_count(&attempt, &rows, &error), 0);
    return rows.count;
}

// A active, B and C members, W = 1: R = 2.
static void three_nodes(char target)
{
    begin(target);
    history[0] = make_row(1, 1, 'A', "BC", 1);
}

static void two_nodes(char target)
{
    begin(target);
    history[0] = make_row(1, 1, 'A', "B", 1);
}

static void r_sealed_members_prove(void **state)
{
    struct kt_proof proof;

    (void)state;
    three_nodes('B');
    seal('B', 50, 1);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(error.message, "1 of its 2 members"));
    assert_non_null(strstr(error.hint, "c, a"));
    seal('C', 50, 1);
    assert_int_equal(kt_rule_prove(&attempt, &proof, &error), 0);
    assert_string_equal(proof.text, "epoch 1 row 1 (members 2, W 1): proven by b, c\n");
}

static void a_passive_of_two_proves_alone(void **state)
{
    (void)state;
    two_nodes('B');
    seal('B', 50, 1);
    assert_int_equal(prove(), 0);
    assert_int_equal(default_list_allowed(), 0);
}

static void a_standalone_node_proves_itself(void **state)
{
    (void)state;
    begin('A');
    history[0] = make_row(1, 1, 'A', "", 0);
    seal('A', 50, 1)->active_since = 1;
    assert_int_equal(prove(), 0);
    assert_int_equal(default_list_allowed(), 0);
    reports[0].active_since = 0; // a copy of it
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
}

static void target_without_a_report_proves_nothing(void **state)
{
    (void)state;
    three_nodes('A');
    seal('B', 50, 1);
    seal('C', 50, 1);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(error.message, "'a' itself is not sealed"));
}

static void nodes_without_any_row_prove_nothing(void **state)
{
    (void)state;
    three_nodes('B');
    seal('B', 50, 0);
    seal('C', 50, 0);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
}

static void f1_votes_for_two_targets_of_one_number_give_two_actives(void **state)
{
    (void)state;
    three_nodes('B');
    seal('B', 50, 1);
    snprintf(seal('C', 50, 1)->active, KT_MEMBER_TEXT, "c"); // sealed for (9, C)
    assert_int_equal(prove(), KT_ERR_PROTOCOL);
    snprintf(reports[1].active, KT_MEMBER_TEXT, "b");
    reports[1].epoch = 8; // of an earlier attempt
    assert_int_equal(prove(), KT_ERR_PROTOCOL);
    reports[1].epoch = 9;
    reports[1].incarnation.number = 2;
    assert_int_equal(prove(), KT_ERR_PROTOCOL);
}

static void a_report_counted_twice_would_be_two_votes(void **state)
{
    (void)state;
    three_nodes('B');
    seal('B', 50, 1);
    seal('B', 50, 1);
    assert_int_equal(prove(), KT_ERR_PROTOCOL);
}

// A wrote row 2 {C} and stopped; d is on B. C knows row 2 only through A's report.
static void f2_target_that_lacks_the_newest_row_loses_what_b_acknowledged(void **state)
{
    (void)state;
    three_nodes('C');
    history[1] = make_row(1, 2, 'A', "C", 1);
    seal('A', 60, 2)->active_since = 1;
    seal('C', 40, 1);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(error.message, "does not hold the newest row"));
    assert_ptr_equal(kt_rule_donor(&attempt), &reports[0]);
}

// {B}, then row 2 {B, C} only in A's log and, by copying, in C's.
static void f3_grow_row_that_no_old_member_holds_makes_two_lines(void **state)
{
    (void)state;
    two_nodes('C');
    history[1] = make_row(1, 2, 'A', "BC", 1);
    seal('C', 60, 2);
    seal('B', 40, 1);
    assert_int_equal(rows_that_count(), 2);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN); // C is not of row 1
    assert_int_equal(default_list_allowed(), KT_ERR_NOT_PROVEN);
}

static void f3_row_that_old_members_hold_ends_the_one_before(void **state)
{
    (void)state;
    two_nodes('C');
    history[1] = make_row(1, 2, 'A', "BC", 1);
    seal('C', 60, 2);
    seal('B', 55, 2);
    assert_int_equal(rows_that_count(), 1);
    assert_int_equal(prove(), 0);
}

static void f3_a_holder_below_its_floor_does_not_end_the_row_before(void **state)
{
    (void)state;
    two_nodes('C');
    history[1] = make_row(1, 2, 'A', "BC", 1);
    seal('C', 60, 2);
    seal('B', 55, 2)->floor = 58;
    assert_int_equal(rows_that_count(), 2);
}

// 4 nodes, W = 2, R = 2: d on A, B, C; C was rewound below d.
static void f5_votes_below_the_floor_lose_what_was_rewound(void **state)
{
    (void)state;
    begin('D');
    history[0] = make_row(1, 1, 'A', "BCD", 2);
    seal('D', 40, 1);
    seal('C', 40, 1)->floor = 60;
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    reports[1].floor = 40; // reached
    assert_int_equal(prove(), 0);
    reports[0].floor = 41;
    seal('B', 40, 1);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(error.message, "'d' is below its floor"));
}

static void f8_old_active_alone_is_no_proof_while_others_acknowledge_elsewhere(void **state)
{
    (void)state;
    three_nodes('A');
    seal('A', 50, 1)->active_since = 1;
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    seal('C', 45, 1);
    assert_int_equal(prove(), 0); // and W of its members
}

static void f8_old_active_that_was_rewound_proves_nothing(void **state)
{
    (void)state;
    three_nodes('A');
    seal('A', 50, 1);
    seal('C', 45, 1);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    reports[0].active_since = 1;
    assert_int_equal(prove(), 0);
    reports[0].floor = 51;
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
}

static void f9_target_outside_the_list_misses_old_proofs(void **state)
{
    (void)state;
    three_nodes('D');
    seal('B', 50, 1);
    seal('C', 50, 1);
    seal('D', 50, 1);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(error.message, "'d' is not a member"));
}

static void f12_replaced_under_the_same_name_it_votes_for_what_it_lost(void **state)
{
    (void)state;
    three_nodes('C');
    seal('C', 50, 1);
    snprintf(seal('B', 50, 1)->member, KT_MEMBER_TEXT, "b.ffffffff");
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
}

// The witness D, no member of row 1, alone holds row 2.
static void f14_row_known_to_a_stranger_only_is_copied_and_counted(void **state)
{
    (void)state;
    two_nodes('B');
    history[1] = make_row(1, 2, 'A', "BCD", 1);
    seal('B', 40, 1);
    seal('D', 60, 2);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_ptr_equal(kt_rule_donor(&attempt), &reports[1]);
    forget_attempt(NULL);
    two_nodes('B');
    history[1] = make_row(1, 2, 'A', "BCD", 1);
    seal('B', 60, 2); // caught up
    seal('D', 60, 2);
    assert_null(kt_rule_donor(&attempt));
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN); // R is 3 now
}

static void f15_log_of_the_epoch_itself_leaves_no_way_back(void **state)
{
    (void)state;
    two_nodes('B');
    history[1] = make_row(9, 1, 'A', "B", 1);
    seal('B', 60, 2);
    assert_int_equal(prove(), KT_ERR_PROTOCOL);
}

static void f16_sealed_below_its_floor_a_node_is_brought_past_it(void **state)
{
    (void)state;
    two_nodes('B');
    seal('B', 40, 1)->floor = 60;
    assert_null(kt_rule_donor(&attempt));
    seal('C', 55, 1); // has not enough
    assert_null(kt_rule_donor(&attempt));
    seal('A', 70, 1);
    assert_ptr_equal(kt_rule_donor(&attempt), &reports[2]);
    assert_null(kt_rule_floor_donor(&attempt, member_of('A')));
    reports[2].floor = 80; // is below its own
    assert_null(kt_rule_donor(&attempt));
}

// B was promoted in epoch 2, A followed, B died. No member of {B} can be sealed.
static void f19_without_the_successors_own_vote_two_nodes_fail_over_only_once(void **state)
{
    (void)state;
    two_nodes('A');
    history[1] = make_row(2, 1, 'B', "A", 1);
    seal('A', 150, 2);
    assert_int_equal(rows_that_count(), 1);
    assert_int_equal(prove(), 0);
    assert_int_equal(default_list_allowed(), 0);
}

static void f19_only_a_member_of_the_older_row_counts_so(void **state)
{
    (void)state;
    begin('C');
    history[0] = make_row(1, 1, 'A', "BC", 2);
    history[1] = make_row(2, 1, 'B', "AC", 2);
    seal('C', 150, 2); // holds row 2, as B does: W of row 1
    assert_int_equal(rows_that_count(), 1);
    forget_attempt(NULL);
    begin('C');
    history[0] = make_row(1, 1, 'A', "BC", 2);
    history[1] = make_row(2, 1, 'A', "BC", 1); // A again, no member of its own row
    seal('C', 150, 2);
    assert_int_equal(rows_that_count(), 2);
}

static void f20_active_and_w_members_miss_a_proof_of_the_others(void **state)
{
    (void)state;
    begin('A');
    history[0] = make_row(1, 1, 'A', "BCD", 1); // R = 3
    seal('A', 50, 1)->active_since = 1;
    seal('B', 50, 1);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN); // op 2 could seal A and D
    seal('C', 50, 1);
    assert_int_equal(prove(), 0);
}

static void f20_active_and_fewer_than_w_miss_what_w_acknowledged(void **state)
{
    (void)state;
    begin('A');
    history[0] = make_row(1, 1, 'A', "BCD", 3); // R = 1
    seal('A', 50, 1)->active_since = 1;
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    seal('B', 40, 1);
    assert_int_equal(prove(), 0);
}

// B wrote row 2 {A} in epoch 2 and was promoted again in epoch 3, before its row there.
static void f22_active_promoted_again_keeps_its_proof_of_its_first_row(void **state)
{
    (void)state;
    begin('B');
    history[0] = make_row(1, 1, 'A', "BC", 1);
    history[1] = make_row(2, 1, 'B', "AC", 1);
    seal('B', 150, 2)->active_since = 2;
    seal('C', 120, 2);
    assert_int_equal(prove(), 0);
    reports[0].active_since = 3; // since a later epoch than the row's
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
}

// B retired for A; A goes on with C: B can never hold row 2.
static void f23_without_the_end_mark_the_next_passive_can_never_be_promoted(void **state)
{
    (void)state;
    two_nodes('C');
    history[1] = make_row(1, 2, 'A', "C", 1);
    history[1].ends = 1;
    seal('C', 60, 2);
    assert_int_equal(rows_that_count(), 1);
    assert_int_equal(prove(), 0);
    forget_attempt(NULL);
    two_nodes('C');
    history[1] = make_row(1, 2, 'A', "C", 1);
    seal('C', 60, 2);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
}

static void retire(char letter, const char *by)
{
    snprintf(seal(letter, 50, 0)->retired_by, sizeof(reports[0].retired_by), "%s", by);
}

static void f24_retired_for_another_active_does_not_free_this_one(void **state)
{
    (void)state;
    two_nodes('A');
    history[0].epoch = 2;
    seal('A', 150, 1)->active_since = 2;
    retire('B', "3 c");
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    snprintf(reports[1].retired_by, sizeof(reports[1].retired_by), "1 a"); // of an older epoch
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    snprintf(reports[1].retired_by, sizeof(reports[1].retired_by), "2 a");
    assert_int_equal(prove(), 0);
}

static void f25_active_whose_only_member_retired_proves_alone(void **state)
{
    struct kt_epoch_row list;

    (void)state;
    two_nodes('A');
    seal('A', 50, 1)->active_since = 1;
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    retire('B', "1 a");
    assert_int_equal(prove(), 0);
    assert_int_equal(kt_rule_default_list(&attempt, &list, &error), 0);
    assert_int_equal(list.count, 0);
    assert_true(list.ends);
    assert_int_equal(kt_rule_list_allowed(&attempt, &list, &error), 0);
    assert_int_equal(list_allowed("C", 1), 0);
    assert_int_equal(list_allowed("B", 1), KT_ERR_NOT_PROVEN);
    reports[0].active_since = 0; // a copy, not the active that went on
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
}

static void f25_nobody_else_goes_on_for_a_retired_pair(void **state)
{
    (void)state;
    begin('C');
    history[0] = make_row(1, 1, 'A', "B", 1);
    seal('C', 60, 1);
    seal('A', 50, 1)->active_since = 1;
    retire('B', "1 a");
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
}

// B knows only the cluster from before the restore, and proves alone there.
static void f26_nodes_from_before_a_restore_would_undo_what_followed_it(void **state)
{
    (void)state;
    two_nodes('B');
    seal('B', 50, 1)->incarnation = (struct kt_incarnation){2, 5};
    reports[0].epoch = 1;
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(error.message, "incarnation 1"));
    reports[0].incarnation = FIRST;
    reports[0].epoch = 9;
    assert_int_equal(prove(), 0);
}

static void retired_nodes_have_no_vote_and_their_rows_do_not_count(void **state)
{
    (void)state;
    three_nodes('C');
    history[1] = make_row(2, 1, 'B', "C", 1);
    seal('C', 50, 1);
    snprintf(seal('B', 150, 2)->retired_by, sizeof(reports[1].retired_by), "1 a");
    assert_int_equal(rows_that_count(), 1);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_null(kt_rule_donor(&attempt));
    assert_false(kt_rule_has_vote(&reports[1]));
}

static void target_behind_a_voter_would_lose_what_it_acknowledged(void **state)
{
    (void)state;
    three_nodes('B');
    seal('B', 40, 1);
    seal('C', 50, 1);
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(error.message, "'b' lacks a part"));
    assert_ptr_equal(kt_rule_donor(&attempt), &reports[1]);
}

static void target_behind_the_active_that_proves_would_lose_the_same(void **state)
{
    (void)state;
    three_nodes('B');
    seal('B', 40, 1);
    seal('A', 50, 1)->active_since = 1;
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_ptr_equal(kt_rule_donor(&attempt), &reports[1]);
    seal('C', 40, 1); // the members prove without it: it may have gone another way
    assert_int_equal(prove(), 0);
    assert_ptr_equal(kt_rule_donor(&attempt), &reports[1]);
}

// C followed B's epoch 2 to position 110; A's log of epoch 1 is longer, 400.
static void the_epoch_of_a_log_comes_before_its_length(void **state)
{
    (void)state;
    three_nodes('C');
    history[1] = make_row(2, 1, 'B', "AC", 1);
    seal('C', 110, 2);
    seal('A', 400, 1);
    assert_int_equal(prove(), 0);
    assert_null(kt_rule_donor(&attempt));
}

static void donor_is_the_one_that_holds_most(void **state)
{
    (void)state;
    three_nodes('B');
    history[1] = make_row(2, 1, 'B', "AC", 1);
    seal('B', 40, 1);
    seal('A', 400, 1);
    seal('C', 110, 2);
    assert_ptr_equal(kt_rule_donor(&attempt), &reports[2]);
}

static void more_rows_than_can_be_looked_at_prove_nothing(void **state)
{
    (void)state;
    begin('C');
    history[0] = make_row(1, 1, 'A', "B", 1);
    seal('C', 100, 1);
    for (uint32_t i = 2; i <= KT_ROWS_THAT_COUNT_MAX + 1; i++) {
        struct kt_epoch_row row = make_row(1, i, 'A', "B", 1);
        assert_int_equal(kt_epoch_rows_add(&reports[0].rows, &row), 0);
    }
    assert_int_equal(prove(), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(error.message, "more than 32 rows"));
}

#define CASE(name) cmocka_unit_test_teardown(name, forget_attempt)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(r_sealed_members_prove),
        CASE(a_passive_of_two_proves_alone),
        CASE(a_standalone_node_proves_itself),
        CASE(target_without_a_report_proves_nothing),
        CASE(nodes_without_any_row_prove_nothing),
        CASE(f1_votes_for_two_targets_of_one_number_give_two_actives),
        CASE(a_report_counted_twice_would_be_two_votes),
        CASE(f2_target_that_lacks_the_newest_row_loses_what_b_acknowledged),
        CASE(f3_grow_row_that_no_old_member_holds_makes_two_lines),
        CASE(f3_row_that_old_members_hold_ends_the_one_before),
        CASE(f3_a_holder_below_its_floor_does_not_end_the_row_before),
        CASE(f5_votes_below_the_floor_lose_what_was_rewound),
        CASE(f8_old_active_alone_is_no_proof_while_others_acknowledge_elsewhere),
        CASE(f8_old_active_that_was_rewound_proves_nothing),
        CASE(f9_target_outside_the_list_misses_old_proofs),
        CASE(f12_replaced_under_the_same_name_it_votes_for_what_it_lost),
        CASE(f14_row_known_to_a_stranger_only_is_copied_and_counted),
        CASE(f15_log_of_the_epoch_itself_leaves_no_way_back),
        CASE(f16_sealed_below_its_floor_a_node_is_brought_past_it),
        CASE(f19_without_the_successors_own_vote_two_nodes_fail_over_only_once),
        CASE(f19_only_a_member_of_the_older_row_counts_so),
        CASE(f20_active_and_w_members_miss_a_proof_of_the_others),
        CASE(f20_active_and_fewer_than_w_miss_what_w_acknowledged),
        CASE(f22_active_promoted_again_keeps_its_proof_of_its_first_row),
        CASE(f23_without_the_end_mark_the_next_passive_can_never_be_promoted),
        CASE(f24_retired_for_another_active_does_not_free_this_one),
        CASE(f25_active_whose_only_member_retired_proves_alone),
        CASE(f25_nobody_else_goes_on_for_a_retired_pair),
        CASE(f26_nodes_from_before_a_restore_would_undo_what_followed_it),
        CASE(retired_nodes_have_no_vote_and_their_rows_do_not_count),
        CASE(target_behind_a_voter_would_lose_what_it_acknowledged),
        CASE(target_behind_the_active_that_proves_would_lose_the_same),
        CASE(the_epoch_of_a_log_comes_before_its_length),
        CASE(donor_is_the_one_that_holds_most),
        CASE(more_rows_than_can_be_looked_at_prove_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
