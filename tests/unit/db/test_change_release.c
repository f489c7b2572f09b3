// SPDX-License-Identifier: Apache-2.0
// Release policies and votes, as the writer decides on a real PostgreSQL.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/writer.h"
#include "lib/digest.h"
#include "lib/pki.h"
#include "lib/release.h"
#include "tests/unit/db/real_cluster.h"

#define MS  20000
#define ORG "00000000-0000-4000-8000-0000000000aa"

// Clients by number; their ids and certificates are made of it. OTHER is of another organisation.
enum { OWNER = 1, READER, ALICE, BOB, CAROL, STRANGER, OTHER };

static EVP_PKEY *receipt_key;
static struct db_target target;
static struct kt_secret *secret;
static struct db_writer *writer;
static struct kt_uuid deposit;
static char handle[32];

static void run_as_owner(const char *sql)
{
    struct db_target owner = {0};
    struct kt_error error = {0};
    PGconn *conn = NULL;
    int rc;

    db_target_owner(&real.paths, real.settings, "keytrustee", &owner);
    rc = db_pg_connect(&owner, MS, &conn, &error);
    if (rc == 0)
        rc = db_pg_run(conn, MS, sql, &error);
    PQfinish(conn);
    if (rc)
        fail_msg("%s: %s", sql, error.message);
}

static int count_as_owner(const char *sql)
{
    struct db_target owner = {0};
    PGresult *result = NULL;
    PGconn *conn = NULL;
    int n;

    db_target_owner(&real.paths, real.settings, "keytrustee", &owner);
    assert_int_equal(db_pg_connect(&owner, MS, &conn, NULL), 0);
    assert_int_equal(db_pg_query(conn, MS, sql, 0, NULL, &result, NULL), 0);
    n = atoi(PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(conn);
    return n;
}

static struct kt_uuid client_id(int number)
{
    struct kt_uuid id = {.bytes = {[15] = (uint8_t)number}};

    return id;
}

static void make_client(int number, const char *organisation)
{
    char sql[1024], id[KT_UUID_TEXT];
    struct kt_uuid uuid = client_id(number);

    kt_uuid_format(&uuid, id);
    snprintf(sql, sizeof(sql),
             "INSERT INTO clients (client_id, organisation_id, name, state, created_at)"
             " VALUES ('%s', '%s', 'client-%d', 'active', now());"
             "INSERT INTO client_certificates (sha256, client_id, key_sha256, certificate,"
             " not_after, created_at) SELECT decode(repeat('%02x', 32), 'hex'), '%s',"
             " decode(repeat('%02x', 32), 'hex'), 'x', now() + interval '1 day', now();"
             "INSERT INTO grants (grant_id, organisation_id, client_id, object, prefix, access,"
             " created_at, created_by) SELECT gen_random_uuid(), '%s', '%s', 'prefix', '', x,"
             " now(), 'test' FROM unnest('{deposit,browse,retrieve,delete}'::text[]) x"
             " WHERE %d IN (%d, %d, %d)",
             id, organisation, number, number, id, number, organisation, id, number, OWNER, READER,
             OTHER);
    run_as_owner(sql);
}

static int open_writer(void)
{
    struct db_writer_settings settings = {
        .receipt_key = receipt_key,
        .ca_cert_pem = "",
        .info = &real.info,
        .incarnation = {1, 0x0123456789abcdefULL},
        .epoch = 1,
        .timeout_ms = 5000,
    };
    struct kt_error error = {0};
    int rc = db_writer_open(&target, &settings, &writer, &error);

    if (rc)
        fprintf(stderr, "%s\n", error.message);
    return rc;
}

static int set_up_all(void **state)
{
    uint8_t public_key[KT_ED25519_PUB_LEN], id[KT_KEY_ID_LEN];
    char hex[2 * KT_KEY_ID_LEN + 1], sql[256];
    int rc = real_setup(state);

    if (rc || kt_pki_new_ed25519(&receipt_key) || kt_ed25519_public(receipt_key, public_key) ||
        kt_ed25519_key_id(public_key, id) ||
        db_target_load(&real.paths, real.settings, DB_ROLE_WRITER, &target, &secret, NULL))
        return -1;
    kt_hex_encode(id, KT_KEY_ID_LEN, hex);
    snprintf(sql, sizeof(sql),
             "INSERT INTO receipt_keys (key_id, certificate, created_at)"
             " VALUES (decode('%s', 'hex'), 'x', now())",
             hex);
    run_as_owner(sql);
    run_as_owner("INSERT INTO organisations (organisation_id, name, created_at, created_by)"
                 " VALUES ('" ORG "', 'acme', now(), 'test'),"
                 " ('00000000-0000-4000-8000-0000000000bb', 'other', now(), 'test')");
    for (int i = OWNER; i < OTHER; i++)
        make_client(i, ORG);
    make_client(OTHER, "00000000-0000-4000-8000-0000000000bb");
    return open_writer();
}

static int tear_down_all(void **state)
{
    db_writer_close(writer);
    kt_secret_free(secret);
    EVP_PKEY_free(receipt_key);
    return real_teardown(state);
}

// A deposit of its own for each case; nobody is revoked.
static int set_up(void **state)
{
    static int cases;

    (void)state;
    snprintf(handle, sizeof(handle), "case-%d", ++cases);
    run_as_owner("UPDATE clients SET state = 'active'");
    return kt_uuid_random(&deposit);
}

static int make(struct kt_change *change, struct kt_outcome *outcome, int *held)
{
    struct db_member member = {.change = change};
    struct kt_error error = {0};
    int rc = db_group_check(writer, &member, 1, &error);

    if (rc == 0)
        rc = db_group_plan(writer, &member, 1);
    if (rc == 0)
        rc = db_group_write(writer, &member, 1, &error);
    if (rc)
        fail_msg("%d %s", rc, error.message);
    rc = member.outcome.code;
    if (held)
        *held = member.held;
    if (outcome)
        *outcome = member.outcome;
    else
        kt_outcome_free(&member.outcome);
    free(member.certificate);
    return rc;
}

static void by(struct kt_change *change, int number)
{
    memset(change->certificate_sha256, number, KT_SHA256_LEN);
}

static int put(const struct kt_release_policy *policy, int *repeated)
{
    static uint8_t body[] = "ciphertext";
    struct kt_change change = {.kind = KT_CHANGE_DEPOSIT,
                               .deposit_id = deposit,
                               .body = body,
                               .body_len = sizeof(body),
                               .policy = *policy};
    struct kt_outcome outcome = {0};
    int rc;

    by(&change, OWNER);
    strcpy(change.handle, handle);
    strcpy(change.content_type, "application/pgp-encrypted");
    rc = make(&change, &outcome, NULL);
    if (repeated)
        *repeated = outcome.repeated;
    kt_outcome_free(&outcome);
    return rc;
}

static struct kt_change retrieval(int number, const char *why)
{
    struct kt_change change = {.kind = KT_CHANGE_RETRIEVE, .deposit_id = deposit};

    by(&change, number);
    strcpy(change.handle, handle);
    strcpy(change.justification, why);
    assert_int_equal(kt_uuid_random(&change.retrieval_id), 0);
    return change;
}

static int get(int number)
{
    struct kt_change change = retrieval(number, "");

    return make(&change, NULL, NULL);
}

// With the justification that ask() gives.
static int get_asked(int number)
{
    struct kt_change change = retrieval(number, "the disk died");

    return make(&change, NULL, NULL);
}

// A retrieval that waits: the request's id.
static struct kt_uuid ask(int number)
{
    struct kt_change change = retrieval(number, "the disk died");
    struct kt_outcome outcome = {0};
    struct kt_uuid id;
    int held = 0;

    assert_int_equal(make(&change, &outcome, &held), 0);
    assert_int_equal(held, 1);
    assert_non_null(outcome.text);
    assert_int_equal(kt_uuid_parse(outcome.text, &id), 0);
    kt_outcome_free(&outcome);
    return id;
}

static int vote(int number, const struct kt_uuid *request, int approve)
{
    struct kt_change change = {
        .kind = KT_CHANGE_VOTE, .vote_id = *request, .approve = (uint8_t)approve};

    by(&change, number);
    return make(&change, NULL, NULL);
}

static struct kt_release_policy two_of_three(void)
{
    struct kt_release_policy policy = {
        .votes = 2,
        .request_lifetime_s = 3600,
        .trustee_count = 3,
        .trustees = {client_id(ALICE), client_id(BOB), client_id(CAROL)}};

    return policy;
}

static void revoke_client(int number)
{
    char sql[128];

    snprintf(sql, sizeof(sql), "UPDATE clients SET state = 'revoked' WHERE name = 'client-%d'",
             number);
    run_as_owner(sql);
}

static int releases(void)
{
    char sql[160], id[KT_UUID_TEXT];

    kt_uuid_format(&deposit, id);
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM releases WHERE deposit_id = '%s'", id);
    return count_as_owner(sql);
}

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
