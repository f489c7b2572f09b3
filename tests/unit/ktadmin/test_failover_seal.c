// SPDX-License-Identifier: Apache-2.0
// Two operators at once, busy nodes, and the order of sealing, against scripted nodes.
#include "fake_nodes.h"

struct fixture {
    struct fakes fakes;
    struct kta_nodes nodes;
    struct kta_failover failover;
    struct kt_error error;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    if (!f)
        return -1;
    fakes_make(&f->fakes, &f->nodes, 3, 1);
    f->failover.nodes = &f->nodes;
    f->failover.to = "kts-02";
    f->failover.until = KTA_ESTABLISHED;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    kta_failover_free(&f->failover);
    fakes_free(&f->fakes, &f->nodes);
    free(f);
    return 0;
}

static int walk(struct fixture *f)
{
    int rc = kta_failover_walk(&f->failover, &f->error);

    kta_failover_settle(&f->failover);
    return rc;
}

static void meets(struct fixture *f, int node, uint64_t epoch, const char *active)
{
    f->fakes.list[node].meets_epoch = epoch;
    f->fakes.list[node].meets_active = active;
}

static void a_target_that_promised_somebody_else_ends_the_attempt(void **state)
{
    struct fixture *f = *state;

    meets(f, 1, 2, "kts-03");
    assert_int_equal(walk(f), KT_ERR_FENCED);
    assert_non_null(strstr(f->error.message, "another failover is under way: "));
    assert_non_null(strstr(f->error.hint, "see ktadmin status"));
    assert_int_equal(f->fakes.is_promoted, 0);
}

static void another_node_with_a_higher_promise_ends_the_attempt(void **state)
{
    struct fixture *f = *state;

    meets(f, 2, 5, "kts-01");
    assert_int_equal(walk(f), KT_ERR_FENCED);
    assert_non_null(strstr(f->error.message, "kts-03 has promised epoch 5 to kts-01"));
    assert_int_equal(f->fakes.is_promoted, 0);
}

static void of_two_with_one_number_the_later_name_loses(void **state)
{
    struct fixture *f = *state;

    meets(f, 2, 2, "kts-01");
    assert_int_equal(walk(f), KT_ERR_FENCED);
    assert_int_equal(f->fakes.is_promoted, 0);
}

static void and_the_earlier_name_goes_on_with_a_higher_one(void **state)
{
    struct fixture *f = *state;

    meets(f, 2, 2, "kts-03");
    assert_int_equal(walk(f), 0);
    assert_true(f->failover.is_established);
    assert_int_equal(f->failover.epoch, 3);
}

static void a_busy_node_is_asked_again(void **state)
{
    struct fixture *f = *state;

    f->fakes.list[0].is_down = 1;
    f->fakes.list[2].fails = "node.seal";
    f->fakes.list[2].fails_with = KT_ERR_BUSY;
    f->fakes.list[2].fail_count = 3;
    assert_int_equal(walk(f), 0);
    assert_true(f->failover.is_established);
    assert_int_equal(f->failover.epoch, 2);
}

static void a_busy_target_that_another_attempt_has_taken_ends_this_one(void **state)
{
    struct fixture *f = *state;

    f->fakes.list[1].fails = "node.seal";
    f->fakes.list[1].fails_with = KT_ERR_BUSY;
    f->fakes.list[1].fail_count = 2;
    meets(f, 1, 2, "kts-02"); // the same numbers: T belongs to whoever sealed it first
    assert_int_equal(walk(f), KT_ERR_FENCED);
    assert_int_equal(f->fakes.is_promoted, 0);
}

static void a_node_that_cannot_be_sealed_is_left_out_and_named(void **state)
{
    struct fixture *f = *state;

    f->fakes.list[0].fails = "node.seal";
    f->fakes.list[0].fails_with = KT_ERR_TIMEOUT;
    assert_int_equal(walk(f), 0);
    assert_int_equal(f->failover.report_count, 2);
    assert_null(strstr(f->fakes.log, "kts-01:node.follow"));
    assert_non_null(strstr(f->failover.notes, "kts-01 was not sealed"));
}

static void a_target_that_cannot_be_sealed_ends_the_attempt(void **state)
{
    struct fixture *f = *state;

    f->fakes.list[1].fails = "node.seal";
    f->fakes.list[1].fails_with = KT_ERR_DATABASE_UNAVAILABLE;
    assert_int_equal(walk(f), KT_ERR_DATABASE_UNAVAILABLE);
    assert_non_null(strstr(f->error.message, "kts-02 is not sealed"));
    assert_int_equal(f->fakes.is_promoted, 0);
}

static void the_active_has_stopped_before_the_others_are_sealed_when_asked_for(void **state)
{
    struct fixture *f = *state;
    const char *next;

    f->failover.first = fake_id(0);
    assert_int_equal(walk(f), 0);
    assert_int_equal(strncmp(f->fakes.log, "kts-01:node.seal ", 17), 0);
    next = strstr(f->fakes.log + 17, "kts-01:node.seal"); // for its report
    assert_non_null(next);
    assert_null(strstr(next + 1, "kts-01:node.seal"));
    assert_false(f->fakes.list[0].is_stopped);
}

static void an_active_that_does_not_stop_first_is_asked_again_with_the_others(void **state)
{
    struct fixture *f = *state;

    f->failover.first = fake_id(0);
    f->fakes.list[0].fails = "node.seal";
    f->fakes.list[0].fails_with = KT_ERR_BUSY;
    f->fakes.list[0].fail_count = 1;
    assert_int_equal(walk(f), 0);
    assert_int_equal(f->failover.report_count, f->fakes.count);
}

static void a_target_busy_with_its_own_work_is_promoted_a_moment_later(void **state)
{
    struct fixture *f = *state;

    f->fakes.list[1].fails = "node.promote";
    f->fakes.list[1].fails_with = KT_ERR_BUSY;
    f->fakes.list[1].fail_count = 2;
    assert_int_equal(walk(f), 0);
    assert_true(f->failover.is_established);
}

static void an_active_that_works_is_not_sealed_for_a_proof_that_cannot_be_had(void **state)
{
    struct fixture *f = *state;

    f->fakes.list[2].is_down = 1;
    f->fakes.list[0].promise.active_since = 0; // rewound once: it cannot vouch for its epoch
    assert_int_equal(walk(f), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(f->error.message, "nothing was changed"));
    assert_null(strstr(f->fakes.log, "node.seal"));
    f->fakes.list[0].is_down = 1; // with nothing to lose it is tried, and the proof says the same
    f->failover.at = KTA_START;
    assert_int_equal(walk(f), KT_ERR_NOT_PROVEN);
    assert_non_null(strstr(f->fakes.log, "node.seal"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest cases[] = {
        CASE(a_target_that_promised_somebody_else_ends_the_attempt),
        CASE(another_node_with_a_higher_promise_ends_the_attempt),
        CASE(of_two_with_one_number_the_later_name_loses),
        CASE(and_the_earlier_name_goes_on_with_a_higher_one),
        CASE(an_active_that_works_is_not_sealed_for_a_proof_that_cannot_be_had),
        CASE(a_busy_node_is_asked_again),
        CASE(a_busy_target_that_another_attempt_has_taken_ends_this_one),
        CASE(a_node_that_cannot_be_sealed_is_left_out_and_named),
        CASE(a_target_that_cannot_be_sealed_ends_the_attempt),
        CASE(the_active_has_stopped_before_the_others_are_sealed_when_asked_for),
        CASE(an_active_that_does_not_stop_first_is_asked_again_with_the_others),
        CASE(a_target_busy_with_its_own_work_is_promoted_a_moment_later),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
