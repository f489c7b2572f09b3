// SPDX-License-Identifier: Apache-2.0
// Release policies and counted retrievals, as the writer decides on a real PostgreSQL.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/db/release_fixture.h"

static void policy_is_kept_with_the_deposit_and_a_repeat_with_the_same_one_is_the_same(void **state)
{
    struct kt_release_policy policy = two_of_three();
    int repeated = 0;

    (void)state;
    policy.not_before_us = kt_time_now() - 1000000;
    policy.not_after_us = kt_time_now() + INT64_C(3600000000);
    policy.max_retrievals = 3;
    policy.justification = 1;
    assert_int_equal(put(&policy, &repeated), 0);
    assert_int_equal(repeated, 0);
    assert_int_equal(put(&policy, &repeated), 0);
    assert_int_equal(repeated, 1);
    assert_int_equal(count_as_owner("SELECT count(*) FROM deposits d JOIN release_policies p"
                                    " USING (organisation_id, deposit_id) WHERE d.has_policy"
                                    " AND cardinality(p.trustees) = 3 AND p.max_retrievals = 3"),
                     1);
}

static void repeat_with_another_policy_is_a_conflict(void **state)
{
    struct kt_release_policy none = {0}, policy = two_of_three(), other;

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    assert_int_equal(put(&none, NULL), KT_ERR_DEPOSIT_ID_CONFLICT);
    other = policy;
    other.votes = 1;
    assert_int_equal(put(&other, NULL), KT_ERR_DEPOSIT_ID_CONFLICT);
    other = policy;
    other.trustees[1] = client_id(STRANGER);
    assert_int_equal(put(&other, NULL), KT_ERR_DEPOSIT_ID_CONFLICT);
    other = policy;
    other.not_after_us = kt_time_now() + 3600000000;
    assert_int_equal(put(&other, NULL), KT_ERR_DEPOSIT_ID_CONFLICT);
    other = policy;
    other.request_lifetime_s = 7200;
    assert_int_equal(put(&other, NULL), KT_ERR_DEPOSIT_ID_CONFLICT);
    assert_int_equal(put(&policy, NULL), 0);
}

static void deposit_without_a_policy_is_no_repeat_of_one_with(void **state)
{
    struct kt_release_policy none = {0}, policy = {.max_retrievals = 1};

    (void)state;
    assert_int_equal(put(&none, NULL), 0);
    assert_int_equal(put(&policy, NULL), KT_ERR_DEPOSIT_ID_CONFLICT);
    assert_int_equal(get(OWNER), KT_ERR_PROTOCOL); // nothing to decide
}

static void trustees_who_are_no_active_clients_of_the_organisation_are_refused(void **state)
{
    struct kt_release_policy policy = two_of_three();

    (void)state;
    policy.trustees[2] = client_id(OTHER);
    assert_int_equal(put(&policy, NULL), KT_ERR_CLIENT_NOT_FOUND);
    policy.trustees[2] = client_id(99);
    assert_int_equal(put(&policy, NULL), KT_ERR_CLIENT_NOT_FOUND);
    policy.trustees[2] = client_id(CAROL);
    revoke_client(CAROL);
    assert_int_equal(put(&policy, NULL), KT_ERR_CLIENT_NOT_FOUND);
}

static void policy_that_no_worker_would_send_is_refused(void **state)
{
    struct kt_release_policy policy = two_of_three();

    (void)state;
    policy.votes = 4;
    assert_int_equal(put(&policy, NULL), KT_ERR_BAD_REQUEST);
    policy = (struct kt_release_policy){.not_after_us = kt_time_now() - 1};
    assert_int_equal(put(&policy, NULL), KT_ERR_BAD_REQUEST);
}

static void no_more_retrievals_are_let_through_than_the_policy_allows(void **state)
{
    struct kt_release_policy policy = {.max_retrievals = 3};

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    assert_int_equal(get(OWNER), 0);
    assert_int_equal(get(READER), 0);
    assert_int_equal(get(OWNER), 0);
    assert_int_equal(get(OWNER), KT_ERR_RELEASE_USED_UP);
    assert_int_equal(get(READER), KT_ERR_RELEASE_USED_UP);
    assert_int_equal(releases(), 3);
}

// Both are checked against the database as it was before either.
static void retrievals_of_one_deposit_are_never_decided_in_one_group(void **state)
{
    struct kt_release_policy policy = {.max_retrievals = 1};
    struct kt_change changes[2] = {0};
    struct db_member members[2] = {{.change = &changes[0]}, {.change = &changes[1]}};
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    changes[0] = retrieval(OWNER, "");
    changes[1] = retrieval(READER, "");
    assert_int_equal(db_group_check(writer, members, 2, &error), 0);
    assert_int_equal(members[0].wait, 0);
    assert_int_equal(members[1].wait, 1);
    db_member_free(&members[0]);
    db_member_free(&members[1]);
    // a worker that was taken over names another handle
    strcpy(changes[1].handle, "other");
    memset(members, 0, sizeof(members));
    members[0].change = &changes[0];
    members[1].change = &changes[1];
    assert_int_equal(db_group_check(writer, members, 2, &error), 0);
    assert_int_equal(members[1].outcome.code, KT_ERR_DEPOSIT_NOT_FOUND);
    db_member_free(&members[0]);
    db_member_free(&members[1]);
}

static void repeat_with_the_same_retrieval_id_is_the_same_retrieval_for_a_while(void **state)
{
    struct kt_release_policy policy = {.max_retrievals = 1};
    struct kt_change change;
    struct kt_outcome outcome = {0};

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    change = retrieval(OWNER, "");
    assert_int_equal(make(&change, NULL, NULL), 0);
    assert_int_equal(make(&change, &outcome, NULL), 0);
    assert_int_equal(outcome.repeated, 1);
    kt_outcome_free(&outcome);
    assert_int_equal(releases(), 1);
    by(&change, READER); // a stolen id is another retrieval
    assert_int_equal(make(&change, NULL, NULL), KT_ERR_RELEASE_USED_UP);
    run_as_owner("UPDATE releases SET released_at = released_at - interval '6 minutes'");
    by(&change, OWNER);
    assert_int_equal(make(&change, NULL, NULL), KT_ERR_RELEASE_USED_UP);
    assert_int_equal(releases(), 1);
}

static void times_and_justification_are_the_databases_to_judge(void **state)
{
    struct kt_release_policy policy = {.max_retrievals = 5,
                                       .justification = 1,
                                       .not_before_us = kt_time_now() + INT64_C(3600000000),
                                       .not_after_us = kt_time_now() + INT64_C(7200000000)};
    struct kt_change change;

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    change = retrieval(OWNER, "because");
    assert_int_equal(make(&change, NULL, NULL), KT_ERR_RELEASE_TOO_EARLY);
    run_as_owner("UPDATE release_policies SET not_before = now() - interval '1 second'"
                 " WHERE not_before > now()");
    assert_int_equal(get(OWNER), KT_ERR_JUSTIFICATION_REQUIRED);
    strcpy(change.justification, "tab\there");
    assert_int_equal(make(&change, NULL, NULL), KT_ERR_JUSTIFICATION_REQUIRED);
    strcpy(change.justification, "weil Größe zählt");
    assert_int_equal(make(&change, NULL, NULL), 0);
    run_as_owner("UPDATE release_policies SET not_before = NULL, not_after = now()"
                 " WHERE max_retrievals = 5");
    assert_int_equal(make(&change, NULL, NULL), KT_ERR_RELEASE_EXPIRED);
    assert_int_equal(releases(), 1);
}

static void who_may_not_retrieve_is_not_let_through_by_a_policy(void **state)
{
    struct kt_release_policy policy = {.max_retrievals = 5};

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    assert_int_equal(get(STRANGER), KT_ERR_DEPOSIT_NOT_FOUND);
    assert_int_equal(get(OTHER), KT_ERR_DEPOSIT_NOT_FOUND);
    revoke_client(READER);
    assert_int_equal(get(READER), KT_ERR_CLIENT_REVOKED);
    run_as_owner("UPDATE deposits SET deleted_at = now() WHERE deleted_at IS NULL");
    assert_int_equal(get(OWNER), KT_ERR_DEPOSIT_NOT_FOUND);
    assert_int_equal(releases(), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        CASE(policy_is_kept_with_the_deposit_and_a_repeat_with_the_same_one_is_the_same),
        CASE(repeat_with_another_policy_is_a_conflict),
        CASE(deposit_without_a_policy_is_no_repeat_of_one_with),
        CASE(trustees_who_are_no_active_clients_of_the_organisation_are_refused),
        CASE(policy_that_no_worker_would_send_is_refused),
        CASE(no_more_retrievals_are_let_through_than_the_policy_allows),
        CASE(retrievals_of_one_deposit_are_never_decided_in_one_group),
        CASE(repeat_with_the_same_retrieval_id_is_the_same_retrieval_for_a_while),
        CASE(times_and_justification_are_the_databases_to_judge),
        CASE(who_may_not_retrieve_is_not_let_through_by_a_policy),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
