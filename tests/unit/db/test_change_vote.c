// SPDX-License-Identifier: Apache-2.0
// Retrievals that trustees vote on, as the writer decides on a real PostgreSQL.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/db/release_fixture.h"

static void retrieval_waits_until_enough_trustees_have_approved_and_then_goes_once(void **state)
{
    struct kt_release_policy policy = two_of_three();
    struct kt_uuid request, again;

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    request = ask(READER);
    again = ask(READER);
    assert_memory_equal(&request, &again, sizeof(request));
    assert_int_equal(vote(ALICE, &request, 1), 0);
    assert_int_equal(vote(ALICE, &request, 1), 0); // a repeat, not a second vote
    again = ask(READER);
    assert_memory_equal(&request, &again, sizeof(request));
    assert_int_equal(vote(BOB, &request, 1), 0);
    assert_int_equal(vote(CAROL, &request, 0), KT_ERR_REQUEST_CLOSED);
    assert_int_equal(vote(BOB, &request, 0), KT_ERR_REQUEST_CLOSED);
    assert_int_equal(releases(), 0);
    again = ask(OWNER); // the approval is the reader's
    assert_memory_not_equal(&request, &again, sizeof(request));
    assert_int_equal(get_asked(READER), 0);
    assert_int_equal(releases(), 1);
    again = ask(READER); // the next retrieval needs votes of its own
    assert_memory_not_equal(&request, &again, sizeof(request));
    assert_int_equal(vote(CAROL, &request, 1), KT_ERR_REQUEST_CLOSED);
}

static void only_trustees_vote_and_nobody_for_itself(void **state)
{
    struct kt_release_policy policy = two_of_three();
    struct kt_uuid request, unknown;

    (void)state;
    policy.trustees[2] = client_id(READER);
    assert_int_equal(put(&policy, NULL), 0);
    request = ask(READER);
    assert_int_equal(vote(STRANGER, &request, 1), KT_ERR_REQUEST_NOT_FOUND);
    assert_int_equal(vote(OWNER, &request, 1), KT_ERR_REQUEST_NOT_FOUND);
    assert_int_equal(vote(OTHER, &request, 1), KT_ERR_REQUEST_NOT_FOUND);
    assert_int_equal(vote(READER, &request, 1), KT_ERR_NOT_GRANTED);
    assert_int_equal(kt_uuid_random(&unknown), 0);
    assert_int_equal(vote(ALICE, &unknown, 1), KT_ERR_REQUEST_NOT_FOUND);
    assert_int_equal(count_as_owner("SELECT count(*) FROM release_votes v JOIN release_requests q"
                                    " USING (request_id) WHERE v.client_id = q.client_id"),
                     0);
    assert_int_equal(vote(ALICE, &request, 1), 0);
    assert_int_equal(vote(BOB, &request, 1), 0);
    assert_int_equal(get_asked(READER), 0);
}

// Rows that got in by another way than the check.
static void votes_of_strangers_and_of_the_requester_are_not_counted(void **state)
{
    struct kt_release_policy policy = two_of_three();
    struct kt_uuid request, again;
    char sql[300], id[KT_UUID_TEXT];

    (void)state;
    policy.trustees[2] = client_id(READER);
    assert_int_equal(put(&policy, NULL), 0);
    request = ask(READER);
    kt_uuid_format(&request, id);
    snprintf(sql, sizeof(sql),
             "INSERT INTO release_votes SELECT '%s', client_id, true, NULL, now() FROM clients"
             " WHERE name IN ('client-%d', 'client-%d', 'client-%d')",
             id, STRANGER, READER, OTHER);
    run_as_owner(sql);
    assert_int_equal(vote(ALICE, &request, 1), 0);
    again = ask(READER);
    assert_memory_equal(&request, &again, sizeof(request));
    assert_int_equal(releases(), 0);
}

static void request_is_denied_as_soon_as_the_votes_cannot_be_reached(void **state)
{
    struct kt_release_policy policy = two_of_three();
    struct kt_uuid request, again;

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    request = ask(READER);
    assert_int_equal(vote(ALICE, &request, 0), 0);
    again = ask(READER);
    assert_memory_equal(&request, &again, sizeof(request));
    assert_int_equal(vote(BOB, &request, 0), 0);
    assert_int_equal(get(READER), KT_ERR_RELEASE_DENIED);
    assert_int_equal(vote(CAROL, &request, 1), KT_ERR_REQUEST_CLOSED);
    assert_int_equal(vote(BOB, &request, 1), KT_ERR_REQUEST_CLOSED);
    revoke_client(ALICE); // what was denied stays denied
    assert_int_equal(get(READER), KT_ERR_RELEASE_DENIED);
    run_as_owner("UPDATE release_requests SET created_at = now() - interval '2 hours',"
                 " expires_at = now() - interval '1 second'");
    run_as_owner("UPDATE clients SET state = 'active'");
    again = ask(READER); // it has ended: a new one can be made
    assert_memory_not_equal(&request, &again, sizeof(request));
}

static void mind_may_change_until_the_request_is_closed(void **state)
{
    struct kt_release_policy policy = two_of_three();
    struct kt_uuid request;

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    request = ask(READER);
    assert_int_equal(vote(ALICE, &request, 0), 0);
    assert_int_equal(vote(ALICE, &request, 1), 0);
    assert_int_equal(vote(BOB, &request, 1), 0);
    assert_int_equal(get_asked(READER), 0);
}

static void approval_that_has_expired_releases_nothing(void **state)
{
    struct kt_release_policy policy = two_of_three();
    struct kt_uuid request, again;

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    request = ask(READER);
    assert_int_equal(vote(ALICE, &request, 1), 0);
    assert_int_equal(vote(BOB, &request, 1), 0);
    run_as_owner("UPDATE release_requests SET created_at = now() - interval '2 hours',"
                 " expires_at = now() - interval '1 second'");
    assert_int_equal(vote(CAROL, &request, 1), KT_ERR_REQUEST_CLOSED);
    again = ask(READER);
    assert_memory_not_equal(&request, &again, sizeof(request));
    assert_int_equal(releases(), 0);
}

static void vote_of_a_client_that_is_revoked_counts_no_more(void **state)
{
    struct kt_release_policy policy = two_of_three();
    struct kt_uuid request, again;

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    request = ask(READER);
    assert_int_equal(vote(ALICE, &request, 1), 0);
    assert_int_equal(vote(BOB, &request, 1), 0);
    revoke_client(BOB);
    again = ask(READER); // one approval is left
    assert_memory_equal(&request, &again, sizeof(request));
    assert_int_equal(vote(BOB, &request, 1), KT_ERR_CLIENT_REVOKED);
    assert_int_equal(vote(CAROL, &request, 1), 0);
    assert_int_equal(get_asked(READER), 0);
    assert_int_equal(releases(), 1);
}

static void votes_and_a_count_hold_both(void **state)
{
    struct kt_release_policy policy = two_of_three();
    struct kt_uuid request;

    (void)state;
    policy.votes = 1;
    policy.max_retrievals = 1;
    assert_int_equal(put(&policy, NULL), 0);
    request = ask(READER);
    assert_int_equal(vote(ALICE, &request, 1), 0);
    assert_int_equal(get_asked(READER), 0);
    assert_int_equal(get_asked(READER), KT_ERR_RELEASE_USED_UP);
}

static void approval_is_for_the_justification_that_trustees_were_shown(void **state)
{
    static const char *const others[] = {"", "the disk died ", "The disk died", "audit"};
    struct kt_release_policy policy = two_of_three();
    struct kt_change change;
    struct kt_uuid request, again;

    (void)state;
    assert_int_equal(put(&policy, NULL), 0);
    request = ask(READER);
    for (int approved = 0; approved < 2; approved++) {
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
            change = retrieval(READER, others[i]);
            assert_int_equal(make(&change, NULL, NULL), KT_ERR_JUSTIFICATION_DIFFERS);
        }
        strcpy(change.justification, "\xff\xfe"); // no worker sends it
        assert_int_equal(make(&change, NULL, NULL), KT_ERR_JUSTIFICATION_REQUIRED);
        if (approved)
            break;
        again = ask(READER);
        assert_memory_equal(&request, &again, sizeof(request));
        assert_int_equal(vote(ALICE, &request, 1), 0);
        assert_int_equal(vote(BOB, &request, 1), 0);
    }
    assert_int_equal(releases(), 0);
    change = retrieval(READER, "the disk died");
    assert_int_equal(make(&change, NULL, NULL), 0);
    assert_int_equal(releases(), 1);
    assert_int_equal(make(&change, NULL, NULL), 0); // a repeat
    strcpy(change.justification, "audit");          // ... is none with other words
    assert_int_equal(make(&change, NULL, NULL), KT_ERR_JUSTIFICATION_DIFFERS);
    assert_int_equal(releases(), 1);
}

static void approval_without_a_justification_is_for_a_retrieval_without_one(void **state)
{
    struct kt_release_policy policy = two_of_three();
    struct kt_change change;
    struct kt_outcome outcome = {0};
    struct kt_uuid request;

    (void)state;
    policy.votes = 1;
    assert_int_equal(put(&policy, NULL), 0);
    change = retrieval(READER, "");
    assert_int_equal(make(&change, &outcome, NULL), 0);
    assert_int_equal(kt_uuid_parse(outcome.text, &request), 0);
    kt_outcome_free(&outcome);
    assert_int_equal(vote(ALICE, &request, 1), 0);
    assert_int_equal(get_asked(READER), KT_ERR_JUSTIFICATION_DIFFERS);
    assert_int_equal(get(READER), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        CASE(retrieval_waits_until_enough_trustees_have_approved_and_then_goes_once),
        CASE(only_trustees_vote_and_nobody_for_itself),
        CASE(votes_of_strangers_and_of_the_requester_are_not_counted),
        CASE(request_is_denied_as_soon_as_the_votes_cannot_be_reached),
        CASE(mind_may_change_until_the_request_is_closed),
        CASE(approval_that_has_expired_releases_nothing),
        CASE(vote_of_a_client_that_is_revoked_counts_no_more),
        CASE(votes_and_a_count_hold_both),
        CASE(approval_is_for_the_justification_that_trustees_were_shown),
        CASE(approval_without_a_justification_is_for_a_retrieval_without_one),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
