// SPDX-License-Identifier: Apache-2.0
// The walker of failover against scripted nodes.
#include "fake_nodes.h"

struct fixture {
    struct fakes fakes;
    struct kta_nodes nodes;
    struct kta_failover failover;
    struct kt_error error;
    int said[KTA_ESTABLISHED + 1];
};

static void say(void *arg, enum kta_place to, const char *proved, int64_t us)
{
    struct fixture *f = arg;

    assert_true(us >= 0);
    assert_true(proved[0] != '\0'); // each step says what it proved
    f->said[to]++;
}

static void make(struct fixture *f, size_t count, uint32_t w)
{
    fakes_make(&f->fakes, &f->nodes, count, w);
    f->failover.nodes = &f->nodes;
    f->failover.until = KTA_ESTABLISHED;
    f->failover.say = say;
    f->failover.say_arg = f;
}

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state ? 0 : -1;
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

static void three_nodes_without_their_active_are_established_by_the_rest(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1);
    f->fakes.list[0].is_down = 1;
    f->failover.to = "kts-03";
    assert_int_equal(walk(f), 0);
    assert_true(f->failover.is_established && f->failover.is_open);
    assert_int_equal(f->failover.epoch, 2);
    assert_string_equal(f->fakes.established.active, fake_id(2));
    assert_int_equal(f->fakes.established.count, 2);
    assert_true(kt_epoch_row_has_member(&f->fakes.established, fake_id(0)));
    assert_true(kt_epoch_row_has_member(&f->fakes.established, fake_id(1)));
    assert_int_equal(f->fakes.established.w, 1);
    assert_false(f->fakes.established.ends);
    for (int place = KTA_SEEN; place <= KTA_ESTABLISHED; place++)
        assert_int_equal(f->said[place], 1);
    assert_non_null(strstr(f->failover.notes, "kts-01 was not sealed"));
}

static void of_two_nodes_the_passive_alone_is_promoted_and_waits(void **state)
{
    struct fixture *f = *state;

    make(f, 2, 1);
    f->fakes.list[0].is_down = 1;
    f->fakes.no_quorum = 1;
    assert_int_equal(walk(f), 0); // without --to: it is the only one
    assert_false(f->failover.is_established);
    assert_int_equal(f->failover.at, KTA_FOLLOWED);
    assert_int_equal(f->fakes.is_promoted, 1);
    assert_int_equal(f->failover.unestablished.code, KT_ERR_NO_QUORUM);
}

static void what_cannot_be_proven_promotes_nothing_and_names_who_would_settle_it(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1); // R = 2: one of the two members is not enough
    f->fakes.list[0].is_down = f->fakes.list[1].is_down = 1;
    f->failover.to = "kts-03";
    assert_int_equal(walk(f), KT_ERR_NOT_PROVEN);
    assert_int_equal(f->fakes.is_promoted, 0);
    assert_int_equal(f->failover.at, KTA_CAUGHT_UP);
    assert_non_null(strstr(f->error.hint, "kts-02"));
}

static void an_accepted_loss_is_recorded_in_the_row(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1);
    f->fakes.list[0].is_down = f->fakes.list[1].is_down = 1;
    f->fakes.no_quorum = 1;
    f->failover.to = "kts-03";
    f->failover.accept_loss = 1;
    f->failover.by = "alice";
    assert_int_equal(walk(f), 0);
    assert_int_equal(f->fakes.is_promoted, 1);
    assert_true(f->fakes.promoted.ends);
    assert_non_null(strstr(f->fakes.promoted.note, "accept-loss by alice"));
}

static void accept_loss_leaves_no_mark_on_what_was_proven(void **state)
{
    struct fixture *f = *state;

    make(f, 2, 1);
    f->failover.to = "kts-02";
    f->failover.accept_loss = 1;
    assert_int_equal(walk(f), 0);
    assert_false(f->fakes.promoted.ends);
    assert_string_equal(f->fakes.promoted.note, "");
}

static void the_target_copies_what_another_sealed_node_has_more(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1);
    f->fakes.list[0].is_down = 1;
    f->fakes.list[1].lsn += 0x100;
    f->failover.to = "kts-03";
    assert_int_equal(walk(f), 0);
    assert_non_null(strstr(f->fakes.log, "kts-03:node.catch_up"));
    assert_null(strstr(f->fakes.log, "kts-02:node.catch_up"));
    assert_int_equal(f->fakes.list[2].lsn, f->fakes.list[1].lsn);
}

static void a_node_below_its_floor_copies_when_the_proof_wants_its_vote(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1);
    f->fakes.list[0].is_down = 1;
    f->fakes.list[2].lsn += 0x200;
    f->fakes.list[1].promise.floor_lsn = f->fakes.list[2].lsn;
    f->failover.to = "kts-03";
    assert_int_equal(walk(f), 0);
    assert_non_null(strstr(f->fakes.log, "kts-02:node.catch_up"));
}

static void the_epoch_is_above_every_promise_and_every_row(void **state)
{
    struct fixture *f = *state;

    make(f, 2, 1);
    f->fakes.list[0].promise.epoch = 7; // a killed attempt
    snprintf(f->fakes.list[0].promise.active, KT_MEMBER_TEXT, "kts-01");
    f->failover.to = "kts-02";
    assert_int_equal(walk(f), 0);
    assert_int_equal(f->failover.epoch, 8);
}

static void a_diverged_node_is_named_and_is_no_failure(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1);
    f->fakes.list[0].fails = "node.follow";
    f->fakes.list[0].fails_with = KT_ERR_DIVERGED;
    f->failover.to = "kts-02";
    assert_int_equal(walk(f), 0);
    assert_true(f->failover.is_established);
    assert_non_null(strstr(f->failover.notes, "ktadmin rejoin kts-01"));
    assert_null(strstr(f->fakes.log, "node.rejoin"));
}

static void with_rejoin_a_diverged_node_is_made_to(void **state)
{
    struct fixture *f = *state;

    make(f, 2, 1);
    f->fakes.list[0].fails = "node.follow";
    f->fakes.list[0].fails_with = KT_ERR_DIVERGED;
    f->failover.to = "kts-02";
    f->failover.rejoin = 1;
    assert_int_equal(walk(f), 0);
    assert_true(f->failover.is_established);
    assert_non_null(strstr(f->fakes.log, "kts-01:node.rejoin"));
    assert_string_equal(f->failover.notes, "");
}

static void another_list_is_taken_when_the_rules_allow_it(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1);
    f->fakes.list[0].is_down = 1;
    f->failover.to = "kts-02";
    f->failover.members = "kts-03,kts-01";
    f->failover.w = 2;
    assert_int_equal(walk(f), 0);
    assert_int_equal(f->fakes.promoted.count, 2);
    assert_string_equal(f->fakes.promoted.members[0], fake_id(2));
    assert_int_equal(f->fakes.promoted.w, 2);
}

static void another_list_is_refused_when_it_could_miss_a_proof(void **state)
{
    struct fixture *f = *state;

    make(f, 2, 1); // the active to itself, with a stranger: the passive could prove alone
    f->failover.to = "kts-01";
    f->failover.members = "kts-09.0a0b0c0d";
    assert_int_equal(walk(f), KT_ERR_NOT_PROVEN);
    assert_int_equal(f->fakes.is_promoted, 0);
}

static void a_newcomer_takes_the_place_of_the_active_that_was_lost(void **state)
{
    struct fixture *f = *state;

    make(f, 2, 1);
    f->fakes.list[0].is_down = 1;
    f->fakes.no_quorum = 1;
    f->failover.to = "kts-02";
    f->failover.newcomer = "kts-09.0a0b0c0d";
    assert_int_equal(walk(f), 0);
    assert_int_equal(f->fakes.promoted.count, 1);
    assert_string_equal(f->fakes.promoted.members[0], "kts-09.0a0b0c0d");
}

static void a_report_under_another_member_id_is_no_vote(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1);
    f->fakes.list[0].is_down = 1;
    f->fakes.list[1].reports_as = fake_id(0); // a replaced disk, or a wrong address
    f->failover.to = "kts-03";
    assert_int_equal(walk(f), KT_ERR_NOT_PROVEN);
    assert_int_equal(f->failover.report_count, 1);
    assert_int_equal(f->fakes.is_promoted, 0);
}

static void nodes_of_two_restored_clusters_are_not_mixed(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1);
    f->failover.to = "kts-03";
    f->fakes.list[1].promise.incarnation.bits++;
    assert_int_equal(walk(f), KT_ERR_PROTOCOL);
    assert_string_equal(f->fakes.log, "");
}

static void a_retired_node_is_not_promoted(void **state)
{
    struct fixture *f = *state;

    make(f, 2, 1);
    snprintf(f->fakes.list[1].promise.retired_by, sizeof(f->fakes.list[1].promise.retired_by),
             "1 kts-01");
    f->failover.to = "kts-02";
    assert_int_equal(walk(f), KT_ERR_RETIRED);
}

static void the_active_whose_only_member_retired_goes_on_alone(void **state)
{
    struct fixture *f = *state;

    make(f, 2, 1);
    snprintf(f->fakes.list[1].promise.retired_by, sizeof(f->fakes.list[1].promise.retired_by),
             "1 kts-01");
    f->failover.to = "kts-01";
    assert_int_equal(walk(f), 0);
    assert_int_equal(f->fakes.promoted.count, 0);
    assert_int_equal(f->fakes.promoted.w, 0);
    assert_true(f->fakes.promoted.ends);
}

static void without_a_target_several_members_are_a_question(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1);
    assert_int_equal(walk(f), KT_ERR_USAGE);
    assert_non_null(strstr(f->error.message, "kts-02, kts-03"));
    assert_string_equal(f->fakes.log, ""); // nothing was asked to change
}

static void a_target_that_does_not_answer_is_said_before_anything_is_sealed(void **state)
{
    struct fixture *f = *state;

    make(f, 2, 1);
    f->fakes.list[1].is_down = 1;
    f->failover.to = "kts-02";
    assert_int_equal(walk(f), KT_ERR_NETWORK);
    assert_string_equal(f->fakes.log, "");
}

static void nobody_answering_is_an_error_of_the_network(void **state)
{
    struct fixture *f = *state;

    make(f, 2, 1);
    f->fakes.list[0].is_down = f->fakes.list[1].is_down = 1;
    assert_int_equal(walk(f), KT_ERR_NETWORK);
}

static void a_killed_walk_begins_again_with_a_higher_epoch(void **state)
{
    struct fixture *f = *state;

    make(f, 3, 1);
    f->fakes.list[0].is_down = 1;
    f->failover.to = "kts-02";
    for (int stop = KTA_SEEN; stop < KTA_ESTABLISHED; stop++) {
        f->failover.until = (enum kta_place)stop;
        assert_int_equal(kta_failover_walk(&f->failover, &f->error), 0);
        assert_int_equal(f->failover.at, stop);
        kta_failover_free(&f->failover);
        f->failover.at = KTA_START;
    }
    f->failover.until = KTA_ESTABLISHED;
    assert_int_equal(walk(f), 0);
    assert_true(f->failover.is_established);
    // Each run that sealed took an epoch of its own.
    assert_int_equal(f->failover.epoch, 1 + (KTA_ESTABLISHED - KTA_SEALED) + 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest cases[] = {
        CASE(three_nodes_without_their_active_are_established_by_the_rest),
        CASE(of_two_nodes_the_passive_alone_is_promoted_and_waits),
        CASE(what_cannot_be_proven_promotes_nothing_and_names_who_would_settle_it),
        CASE(an_accepted_loss_is_recorded_in_the_row),
        CASE(accept_loss_leaves_no_mark_on_what_was_proven),
        CASE(the_target_copies_what_another_sealed_node_has_more),
        CASE(a_node_below_its_floor_copies_when_the_proof_wants_its_vote),
        CASE(the_epoch_is_above_every_promise_and_every_row),
        CASE(a_diverged_node_is_named_and_is_no_failure),
        CASE(with_rejoin_a_diverged_node_is_made_to),
        CASE(another_list_is_taken_when_the_rules_allow_it),
        CASE(another_list_is_refused_when_it_could_miss_a_proof),
        CASE(a_newcomer_takes_the_place_of_the_active_that_was_lost),
        CASE(a_report_under_another_member_id_is_no_vote),
        CASE(nodes_of_two_restored_clusters_are_not_mixed),
        CASE(a_retired_node_is_not_promoted),
        CASE(the_active_whose_only_member_retired_goes_on_alone),
        CASE(without_a_target_several_members_are_a_question),
        CASE(a_target_that_does_not_answer_is_said_before_anything_is_sealed),
        CASE(nobody_answering_is_an_error_of_the_network),
        CASE(a_killed_walk_begins_again_with_a_higher_epoch),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
