// SPDX-License-Identifier: Apache-2.0
// Rules 2, 3 and 4: promises, logs that continue each other, choosing and sealing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/lib/rules_fixture.h"

static struct kt_promise promise;

static struct kt_promise promise_of(uint64_t epoch, const char *active)
{
    struct kt_promise made = {.incarnation = FIRST, .epoch = epoch};

    snprintf(made.member, sizeof(made.member), "b.0000000b");
    snprintf(made.active, sizeof(made.active), "%s", active);
    return made;
}

static int follow(uint64_t epoch, const char *active)
{
    return kt_rule_may_promise(&promise, &FIRST, epoch, active, &error);
}

static void promises_compare_by_incarnation_and_epoch(void **state)
{
    struct kt_promise a = promise_of(3, "kts-01"), b = promise_of(4, "kts-02");
    int order = 0;

    (void)state;
    assert_int_equal(kt_rule_promise_compare(&a, &b, &order), 0);
    assert_true(order < 0);
    a.incarnation = (struct kt_incarnation){2, 7};
    assert_int_equal(kt_rule_promise_compare(&a, &b, &order), 0);
    assert_true(order > 0);
    b = a;
    assert_int_equal(kt_rule_promise_compare(&a, &b, &order), 0);
    assert_int_equal(order, 0);
}

static void promises_that_contradict_each_other_do_not_compare(void **state)
{
    struct kt_promise a = promise_of(3, "kts-01"), b = promise_of(3, "kts-02");
    int order = 7;

    (void)state;
    assert_int_equal(kt_rule_promise_compare(&a, &b, &order), KT_ERR_PROTOCOL);
    b = a;
    b.incarnation.bits++;
    assert_int_equal(kt_rule_promise_compare(&a, &b, &order), KT_ERR_PROTOCOL);
    assert_int_equal(order, 7);
}

static void a_lower_promise_and_the_same_pair_may_follow(void **state)
{
    (void)state;
    promise = promise_of(3, "kts-01");
    assert_int_equal(follow(4, "kts-02"), 0);
    assert_int_equal(follow(3, "kts-01"), 0);
    assert_int_equal(follow(2, "kts-01"), KT_ERR_FENCED);
    assert_non_null(strstr(error.message, "epoch 3 to 'kts-01'"));
}

static void f1_epoch_number_without_its_active_makes_b_follow_two(void **state)
{
    (void)state;
    promise = promise_of(2, "kts-01");
    assert_int_equal(follow(2, "kts-03"), KT_ERR_FENCED);
    assert_int_equal(kt_rule_may_seal(&promise, NULL, &FIRST, 2, &error), KT_ERR_FENCED);
}

static void a_cluster_restored_apart_is_not_followed(void **state)
{
    struct kt_incarnation other = {FIRST.number, FIRST.bits + 1}, next = {2, 5};

    (void)state;
    promise = promise_of(2, "kts-01");
    assert_int_equal(kt_rule_may_promise(&promise, &other, 9, "kts-01", &error), KT_ERR_FENCED);
    assert_int_equal(kt_rule_may_seal(&promise, NULL, &other, 9, &error), KT_ERR_FENCED);
    assert_int_equal(kt_rule_may_promise(&promise, &next, 1, "kts-01", &error), 0);
    promise.incarnation = next;
    assert_int_equal(kt_rule_may_promise(&promise, &FIRST, 9, "kts-01", &error), KT_ERR_FENCED);
}

static void a_retired_node_follows_and_seals_for_nobody(void **state)
{
    (void)state;
    promise = promise_of(2, "kts-01");
    snprintf(promise.retired_by, sizeof(promise.retired_by), "2 kts-01");
    assert_int_equal(follow(9, "kts-01"), KT_ERR_RETIRED);
    assert_int_equal(kt_rule_may_seal(&promise, NULL, &FIRST, 9, &error), KT_ERR_RETIRED);
}

static void a_promised_epoch_sealed_again_would_be_two_votes(void **state)
{
    (void)state;
    promise = promise_of(5, "kts-01");
    assert_int_equal(kt_rule_may_seal(&promise, NULL, &FIRST, 6, &error), 0);
    assert_int_equal(kt_rule_may_seal(&promise, NULL, &FIRST, 5, &error), KT_ERR_FENCED);
    assert_int_equal(kt_rule_may_seal(&promise, NULL, &FIRST, 4, &error), KT_ERR_FENCED);
}

static void f15_epoch_at_or_below_the_log_leaves_no_retry_that_makes_sense(void **state)
{
    struct kt_epoch_row newest = make_row(3, 1, 'C', "B", 1);

    (void)state;
    promise = promise_of(1, "kts-01");
    assert_int_equal(kt_rule_may_seal(&promise, &newest, &FIRST, 2, &error), KT_ERR_FENCED);
    assert_non_null(strstr(error.message, "already holds epoch 3"));
    assert_int_equal(kt_rule_may_seal(&promise, &newest, &FIRST, 3, &error), KT_ERR_FENCED);
    assert_int_equal(kt_rule_may_seal(&promise, &newest, &FIRST, 4, &error), 0);
}

static void chosen_epoch_is_above_all_that_was_seen(void **state)
{
    const uint64_t seen[] = {3, 7, 5}, last[] = {INT64_MAX};

    (void)state;
    assert_int_equal(kt_rule_choose(seen, 3), 8);
    assert_int_equal(kt_rule_choose(NULL, 0), 1);
    assert_int_equal(kt_rule_choose(last, 1), 0);
}

// --- rule 2: the logs ---

static struct kt_epoch_rows own, active;

static int free_logs(void **state)
{
    kt_epoch_rows_free(&own);
    kt_epoch_rows_free(&active);
    return forget_attempt(state);
}

static void put(struct kt_epoch_rows *rows, struct kt_epoch_row row)
{
    assert_int_equal(kt_epoch_rows_add(rows, &row), 0);
}

static int prefix(uint64_t own_lsn, uint64_t own_start, uint64_t start)
{
    return kt_rule_is_prefix(&own, own_lsn, own_start, &active, start, &error);
}

static void a_log_that_ends_before_the_next_epoch_may_follow(void **state)
{
    (void)state;
    put(&own, make_row(1, 1, 'A', "BC", 1));
    put(&active, make_row(1, 1, 'A', "BC", 1));
    put(&active, make_row(2, 1, 'B', "AC", 1)); // begins at 100
    assert_int_equal(prefix(100, 0, 100), 0);
    assert_int_equal(prefix(101, 0, 100), KT_ERR_DIVERGED);
    assert_non_null(strstr(error.message, "0/64"));
    assert_int_equal(prefix(0, 0, 100), 0); // an empty one
}

static void a_log_of_the_same_epoch_may_follow(void **state)
{
    (void)state;
    put(&own, make_row(1, 1, 'A', "B", 1));
    put(&active, make_row(1, 1, 'A', "B", 1));
    put(&active, make_row(1, 2, 'A', "BC", 1));
    assert_int_equal(prefix(90, 0, 0), 0);
    put(&own, make_row(1, 2, 'A', "BC", 1));
    assert_int_equal(prefix(95, 0, 0), 0);
}

static void a_log_that_holds_a_row_more_must_rejoin(void **state)
{
    (void)state;
    put(&own, make_row(1, 1, 'A', "BC", 1));
    put(&own, make_row(1, 2, 'A', "C", 1));
    put(&active, make_row(1, 1, 'A', "BC", 1));
    assert_int_equal(prefix(50, 0, 80), KT_ERR_DIVERGED);
}

static void before_the_row_is_written_the_start_of_the_timeline_decides(void **state)
{
    (void)state;
    put(&own, make_row(1, 1, 'A', "BC", 1));
    put(&active, make_row(1, 1, 'A', "BC", 1));
    assert_int_equal(prefix(100, 0, 100), 0);
    assert_int_equal(prefix(101, 0, 100), KT_ERR_DIVERGED);
}

// A was promoted in epoch 2 (timeline 2) and crashed; B was promoted in epoch 3, timeline 2 too.
static void f13_by_timeline_numbers_alone_a_vote_counts_that_holds_another_row(void **state)
{
    struct kt_epoch_row a = make_row(2, 1, 'A', "BC", 1), b = make_row(3, 1, 'B', "AC", 1);

    (void)state;
    b.timeline = 2;
    put(&own, make_row(1, 1, 'A', "BC", 1));
    put(&own, a);
    put(&active, make_row(1, 1, 'A', "BC", 1));
    put(&active, b);
    assert_int_equal(prefix(90, 0, 0), KT_ERR_DIVERGED);
}

static void f13_same_epoch_from_another_position_is_another_log(void **state)
{
    struct kt_epoch_row there = make_row(2, 1, 'B', "AC", 1);

    (void)state;
    put(&own, make_row(2, 1, 'B', "AC", 1));
    there.start_lsn = 90;
    put(&active, there);
    assert_int_equal(prefix(150, 0, 0), KT_ERR_DIVERGED);
    active.rows[0] = own.rows[0];
    assert_int_equal(prefix(150, 0, 0), 0);
    active.rows[0].timeline = 9;
    assert_int_equal(prefix(150, 0, 0), KT_ERR_DIVERGED);
}

// B was promoted in epoch 2 at position 60 and never got its row; A was promoted again at 100, with
// the same number of timeline: B's end of log, 80, says nothing.
static void f13_a_log_that_ends_in_an_epoch_without_a_row_must_rejoin(void **state)
{
    (void)state;
    put(&own, make_row(1, 1, 'A', "BC", 1));
    put(&active, make_row(1, 1, 'A', "BC", 1));
    assert_int_equal(prefix(80, 60, 100), KT_ERR_DIVERGED);
    assert_non_null(strstr(error.message, "never established"));
    assert_int_equal(prefix(80, 0, 100), 0);
}

#define CASE(name) cmocka_unit_test_teardown(name, free_logs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(promises_compare_by_incarnation_and_epoch),
        CASE(promises_that_contradict_each_other_do_not_compare),
        CASE(a_lower_promise_and_the_same_pair_may_follow),
        CASE(f1_epoch_number_without_its_active_makes_b_follow_two),
        CASE(a_cluster_restored_apart_is_not_followed),
        CASE(a_retired_node_follows_and_seals_for_nobody),
        CASE(a_promised_epoch_sealed_again_would_be_two_votes),
        CASE(f15_epoch_at_or_below_the_log_leaves_no_retry_that_makes_sense),
        CASE(chosen_epoch_is_above_all_that_was_seen),
        CASE(a_log_that_ends_before_the_next_epoch_may_follow),
        CASE(a_log_of_the_same_epoch_may_follow),
        CASE(a_log_that_holds_a_row_more_must_rejoin),
        CASE(before_the_row_is_written_the_start_of_the_timeline_decides),
        CASE(f13_by_timeline_numbers_alone_a_vote_counts_that_holds_another_row),
        CASE(f13_same_epoch_from_another_position_is_another_log),
        CASE(f13_a_log_that_ends_in_an_epoch_without_a_row_must_rejoin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
