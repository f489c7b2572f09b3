// SPDX-License-Identifier: Apache-2.0
// Tests of kts/agent_role.c: what a node is, and whether its writer may write.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "kts/agent_role.h"

#define OWN "kts-01.aaaaaaaa"

static struct kt_promise promise_of(uint64_t epoch, const char *active)
{
    struct kt_promise promise = {.member = OWN, .incarnation = {1, 7}, .epoch = epoch};

    snprintf(promise.active, sizeof(promise.active), "%s", active);
    return promise;
}

static struct kt_epoch_row row_of(uint64_t epoch, const char *active, uint32_t count)
{
    struct kt_epoch_row row = {.incarnation = {1, 7}, .epoch = epoch, .count = count, .w = count};

    snprintf(row.active, sizeof(row.active), "%s", active);
    return row;
}

static void check(const struct kt_promise *promise, const struct kt_epoch_row *newest,
                  int in_recovery, enum kts_role wanted)
{
    const struct kts_role_facts facts = {
        .promise = promise, .newest = newest, .in_recovery = in_recovery};

    assert_int_equal(kts_role_of(&facts), wanted);
}

static void own_row_makes_an_active(void **state)
{
    struct kt_promise promise = promise_of(2, "kts-01");
    struct kt_epoch_row with = row_of(2, OWN, 1), alone = row_of(2, OWN, 0);

    (void)state;
    check(&promise, &with, 0, KTS_ROLE_ACTIVE);
    check(&promise, &alone, 0, KTS_ROLE_STANDALONE);
}

static void check_pending(const struct kt_promise *promise, const struct kt_epoch_row *newest,
                          const struct kt_epoch_row *pending, enum kts_role wanted)
{
    const struct kts_role_facts facts = {.promise = promise, .newest = newest, .pending = pending};

    assert_int_equal(kts_role_of(&facts), wanted);
}

static void promoted_without_its_row_is_unestablished(void **state)
{
    struct kt_promise promise = promise_of(3, "kts-01");
    struct kt_epoch_row older = row_of(2, OWN, 1), other = row_of(2, "kts-02.bbbbbbbb", 1);
    struct kt_epoch_row pending = row_of(3, OWN, 1);

    (void)state;
    check_pending(&promise, &older, &pending, KTS_ROLE_UNESTABLISHED);
    check_pending(&promise, &other, &pending, KTS_ROLE_UNESTABLISHED);
    check_pending(&promise, NULL, &pending, KTS_ROLE_UNESTABLISHED);
}

// Asked to seal for itself and killed before it stopped: else others would rejoin onto its old log.
static void primary_that_only_promised_to_itself_is_fenced(void **state)
{
    struct kt_promise promise = promise_of(3, "kts-01");
    struct kt_epoch_row older = row_of(2, OWN, 1), stale = row_of(2, OWN, 1);

    (void)state;
    check_pending(&promise, &older, NULL, KTS_ROLE_FENCED);
    check_pending(&promise, &older, &stale, KTS_ROLE_FENCED);
    check_pending(&promise, NULL, NULL, KTS_ROLE_FENCED);
}

static void row_of_a_former_life_is_not_its_own(void **state)
{
    struct kt_promise promise = promise_of(2, "kts-01");
    struct kt_epoch_row former = row_of(2, "kts-01.cccccccc", 1);

    (void)state;
    check(&promise, &former, 0, KTS_ROLE_FENCED);
}

static void standby_is_passive(void **state)
{
    struct kt_promise followed = promise_of(2, "kts-02"), sealed = promise_of(3, "kts-01");
    struct kt_epoch_row row = row_of(2, "kts-02.bbbbbbbb", 1);

    (void)state;
    check(&followed, &row, 1, KTS_ROLE_PASSIVE);
    check(&sealed, &row, 1, KTS_ROLE_PASSIVE);
}

static void active_whose_promise_names_another_is_fenced(void **state)
{
    struct kt_promise promise = promise_of(3, "kts-02");
    struct kt_epoch_row row = row_of(2, OWN, 1);

    (void)state;
    check(&promise, &row, 0, KTS_ROLE_FENCED);
}

static void row_above_the_promise_fences(void **state)
{
    struct kt_promise promise = promise_of(2, "kts-01");
    struct kt_epoch_row row = row_of(3, "kts-02.bbbbbbbb", 1);

    (void)state;
    check(&promise, &row, 0, KTS_ROLE_FENCED);
}

static void no_promise_and_retired_are_fenced(void **state)
{
    struct kt_promise retired = promise_of(2, "kts-01");
    struct kt_epoch_row row = row_of(2, OWN, 1);

    (void)state;
    snprintf(retired.retired_by, sizeof(retired.retired_by), "3 kts-02");
    check(NULL, &row, 0, KTS_ROLE_FENCED);
    check(&retired, &row, 0, KTS_ROLE_FENCED);
    check(&retired, &row, 1, KTS_ROLE_FENCED);
}

static void check_other(const struct kt_promise *other, int in_recovery, enum kts_role wanted)
{
    struct kt_promise promise = promise_of(2, "kts-01");
    struct kt_epoch_row row = row_of(2, OWN, 1);
    const struct kts_role_facts facts = {.promise = &promise,
                                         .others = other,
                                         .other_count = 1,
                                         .newest = &row,
                                         .in_recovery = in_recovery};

    assert_int_equal(kts_role_of(&facts), wanted);
}

static void higher_promise_of_a_peer_fences_the_active(void **state)
{
    struct kt_promise higher = promise_of(3, "kts-02"), same = promise_of(2, "kts-01"),
                      lower = promise_of(1, "kts-02"), apart = promise_of(2, "kts-01");

    (void)state;
    apart.incarnation.bits = 8;
    check_other(&higher, 0, KTS_ROLE_FENCED);
    check_other(&higher, 1, KTS_ROLE_FENCED);
    check_other(&same, 0, KTS_ROLE_ACTIVE);
    check_other(&lower, 0, KTS_ROLE_ACTIVE);
    check_other(&apart, 0, KTS_ROLE_FENCED);
}

static void higher_incarnation_comes_before_a_higher_epoch(void **state)
{
    struct kt_promise later = promise_of(1, "kts-02");

    (void)state;
    later.incarnation.number = 2;
    check_other(&later, 0, KTS_ROLE_FENCED);
}

static void passive_is_not_fenced_by_a_higher_promise(void **state)
{
    struct kt_promise promise = promise_of(2, "kts-02"), higher = promise_of(3, "kts-03");
    const struct kts_role_facts facts = {
        .promise = &promise, .others = &higher, .other_count = 1, .in_recovery = 1};

    (void)state;
    assert_int_equal(kts_role_of(&facts), KTS_ROLE_PASSIVE);
}

static int is_removed(struct kt_promise promise, struct kt_epoch_row row)
{
    return kts_role_is_removed(&promise, &row);
}

static void later_row_without_this_node_says_that_it_was_removed(void **state)
{
    struct kt_epoch_row row = row_of(3, "kts-02.bbbbbbbb", 0);

    (void)state;
    assert_true(is_removed(promise_of(2, "kts-02"), row));
    assert_true(is_removed(promise_of(2, "kts-01"), row)); // an old active too
    assert_true(is_removed(promise_of(3, "kts-02"), row)); // of the active that it follows
    row.incarnation.number = 2;
    assert_true(is_removed(promise_of(9, "kts-02"), row));
}

static void row_that_may_have_lost_removes_nobody(void **state)
{
    struct kt_epoch_row row = row_of(3, "kts-02.bbbbbbbb", 0), own = row_of(3, OWN, 0);

    (void)state;
    assert_false(is_removed(promise_of(4, "kts-02"), row));
    assert_false(is_removed(promise_of(3, "kts-03"), row)); // promised to another
    assert_false(is_removed(promise_of(3, "kts-01"), row)); // or to itself
    assert_false(is_removed(promise_of(3, "kts-01"), own));
    row.incarnation.bits = 8;
    assert_false(is_removed(promise_of(2, "kts-02"), row)); // restored apart
}

static void row_that_has_this_node_does_not_remove_it(void **state)
{
    struct kt_epoch_row row = row_of(3, "kts-02.bbbbbbbb", 1);

    (void)state;
    snprintf(row.members[0], sizeof(row.members[0]), OWN);
    assert_false(is_removed(promise_of(2, "kts-02"), row));
}

static void removed_node_is_nothing_else(void **state)
{
    struct kt_promise promise = promise_of(2, "kts-01");
    struct kt_epoch_row row = row_of(2, OWN, 1);
    struct kts_role_facts facts = {.promise = &promise, .newest = &row, .removed = 1};

    (void)state;
    assert_int_equal(kts_role_of(&facts), KTS_ROLE_REMOVED);
    facts.in_recovery = 1;
    assert_int_equal(kts_role_of(&facts), KTS_ROLE_REMOVED);
}

static void restored_database_only_reads(void **state)
{
    struct kt_promise promise = promise_of(2, "kts-01");
    struct kt_epoch_row row = row_of(2, OWN, 0);
    const struct kts_role_facts facts = {.promise = &promise, .newest = &row, .restored = 1};

    (void)state;
    assert_int_equal(kts_role_of(&facts), KTS_ROLE_UNESTABLISHED);
}

static void highest_promise_names_the_active(void **state)
{
    struct kt_promise own = promise_of(2, "kts-01"),
                      others[] = {promise_of(1, "kts-02"), promise_of(5, "kts-03")};

    (void)state;
    assert_string_equal(kts_role_highest(&own, others, 2)->active, "kts-03");
    assert_string_equal(kts_role_highest(&own, others, 1)->active, "kts-01");
    assert_string_equal(kts_role_highest(NULL, others, 1)->active, "kts-02");
    assert_null(kts_role_highest(NULL, NULL, 0));
}

// --- the permission ---

static struct kts_ticket_facts granted(void)
{
    return (struct kts_ticket_facts){.role = KTS_ROLE_ACTIVE,
                                     .members = 1,
                                     .w = 1,
                                     .had_enough = 1,
                                     .writer_is_open = 1,
                                     .ticket = 5,
                                     .fresh = 9};
}

static void active_with_enough_members_may_write(void **state)
{
    struct kts_ticket_facts facts = granted();

    (void)state;
    assert_int_equal(kts_ticket_of(&facts), 5);
    facts.ticket = 0;
    assert_int_equal(kts_ticket_of(&facts), 9);
    facts.role = KTS_ROLE_STANDALONE;
    facts.members = facts.w = 0;
    assert_int_equal(kts_ticket_of(&facts), 9);
}

static void no_other_role_may_write(void **state)
{
    static const enum kts_role NOT[] = {KTS_ROLE_UNKNOWN, KTS_ROLE_PASSIVE, KTS_ROLE_UNESTABLISHED,
                                        KTS_ROLE_FENCED, KTS_ROLE_REMOVED};
    struct kts_ticket_facts facts = granted();

    (void)state;
    for (size_t i = 0; i < sizeof(NOT) / sizeof(NOT[0]); i++) {
        facts.role = NOT[i];
        assert_int_equal(kts_ticket_of(&facts), 0);
    }
}

static void held_writer_has_no_permission(void **state)
{
    struct kts_ticket_facts facts = granted();

    (void)state;
    facts.held = 1;
    assert_int_equal(kts_ticket_of(&facts), 0);
}

static void permission_stays_when_members_go(void **state)
{
    struct kts_ticket_facts facts = granted();

    (void)state;
    facts.members = 0;
    assert_int_equal(kts_ticket_of(&facts), 5);
    facts.ticket = 0; // but none is given without them
    assert_int_equal(kts_ticket_of(&facts), 0);
}

static void writer_that_gave_up_gets_a_fresh_permission(void **state)
{
    struct kts_ticket_facts facts = granted();

    (void)state;
    facts.had_enough = 0;
    assert_int_equal(kts_ticket_of(&facts), 5);
    facts.writer_is_open = 0;
    assert_int_equal(kts_ticket_of(&facts), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_row_makes_an_active),
        cmocka_unit_test(promoted_without_its_row_is_unestablished),
        cmocka_unit_test(primary_that_only_promised_to_itself_is_fenced),
        cmocka_unit_test(row_of_a_former_life_is_not_its_own),
        cmocka_unit_test(standby_is_passive),
        cmocka_unit_test(active_whose_promise_names_another_is_fenced),
        cmocka_unit_test(row_above_the_promise_fences),
        cmocka_unit_test(no_promise_and_retired_are_fenced),
        cmocka_unit_test(higher_promise_of_a_peer_fences_the_active),
        cmocka_unit_test(higher_incarnation_comes_before_a_higher_epoch),
        cmocka_unit_test(passive_is_not_fenced_by_a_higher_promise),
        cmocka_unit_test(later_row_without_this_node_says_that_it_was_removed),
        cmocka_unit_test(row_that_may_have_lost_removes_nobody),
        cmocka_unit_test(row_that_has_this_node_does_not_remove_it),
        cmocka_unit_test(removed_node_is_nothing_else),
        cmocka_unit_test(restored_database_only_reads),
        cmocka_unit_test(highest_promise_names_the_active),
        cmocka_unit_test(active_with_enough_members_may_write),
        cmocka_unit_test(no_other_role_may_write),
        cmocka_unit_test(held_writer_has_no_permission),
        cmocka_unit_test(permission_stays_when_members_go),
        cmocka_unit_test(writer_that_gave_up_gets_a_fresh_permission),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
