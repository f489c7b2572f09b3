// SPDX-License-Identifier: Apache-2.0
// A writer on a real PostgreSQL with clients, deposits under release policies, retrievals and votes.
// Include behind cmocka.h.
#ifndef KT_TEST_RELEASE_FIXTURE_H
#define KT_TEST_RELEASE_FIXTURE_H

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

static inline void run_as_owner(const char *sql)
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

static inline int count_as_owner(const char *sql)
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

static inline struct kt_uuid client_id(int number)
{
    struct kt_uuid id = {.bytes = {[15] = (uint8_t)number}};

    return id;
}

static inline void make_client(int number, const char *organisation)
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

static inline int open_writer(void)
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

static inline int set_up_all(void **state)
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

static inline int tear_down_all(void **state)
{
    db_writer_close(writer);
    kt_secret_free(secret);
    EVP_PKEY_free(receipt_key);
    return real_teardown(state);
}

// A deposit of its own for each case; nobody is revoked.
static inline int set_up(void **state)
{
    static int cases;

    (void)state;
    snprintf(handle, sizeof(handle), "case-%d", ++cases);
    run_as_owner("UPDATE clients SET state = 'active'");
    return kt_uuid_random(&deposit);
}

static inline int make(struct kt_change *change, struct kt_outcome *outcome, int *held)
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

static inline void by(struct kt_change *change, int number)
{
    memset(change->certificate_sha256, number, KT_SHA256_LEN);
}

static inline int put(const struct kt_release_policy *policy, int *repeated)
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

static inline struct kt_change retrieval(int number, const char *why)
{
    struct kt_change change = {.kind = KT_CHANGE_RETRIEVE, .deposit_id = deposit};

    by(&change, number);
    strcpy(change.handle, handle);
    strcpy(change.justification, why);
    assert_int_equal(kt_uuid_random(&change.retrieval_id), 0);
    return change;
}

static inline int get(int number)
{
    struct kt_change change = retrieval(number, "");

    return make(&change, NULL, NULL);
}

// With the justification that ask() gives.
static inline int get_asked(int number)
{
    struct kt_change change = retrieval(number, "the disk died");

    return make(&change, NULL, NULL);
}

// A retrieval that waits: the request's id.
static inline struct kt_uuid ask(int number)
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

static inline int vote(int number, const struct kt_uuid *request, int approve)
{
    struct kt_change change = {
        .kind = KT_CHANGE_VOTE, .vote_id = *request, .approve = (uint8_t)approve};

    by(&change, number);
    return make(&change, NULL, NULL);
}

static inline struct kt_release_policy two_of_three(void)
{
    struct kt_release_policy policy = {
        .votes = 2,
        .request_lifetime_s = 3600,
        .trustee_count = 3,
        .trustees = {client_id(ALICE), client_id(BOB), client_id(CAROL)}};

    return policy;
}

static inline void revoke_client(int number)
{
    char sql[128];

    snprintf(sql, sizeof(sql), "UPDATE clients SET state = 'revoked' WHERE name = 'client-%d'",
             number);
    run_as_owner(sql);
}

static inline int releases(void)
{
    char sql[160], id[KT_UUID_TEXT];

    kt_uuid_format(&deposit, id);
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM releases WHERE deposit_id = '%s'", id);
    return count_as_owner(sql);
}

#endif
