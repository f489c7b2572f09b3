// SPDX-License-Identifier: Apache-2.0
// Whose certificates end soon, on a real PostgreSQL.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/queries.h"
#include "tests/unit/db/real_cluster.h"

#define MS 20000

static struct db_session *session;
static struct kt_secret *secret;
static struct kt_error error;

static void run_as_owner(const char *sql)
{
    struct db_target owner = {0};
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

static int set_up_all(void **state)
{
    struct db_target target;

    return real_setup(state) ||
           db_target_load(&real.paths, real.settings, DB_ROLE_AGENT, &target, &secret, NULL) ||
           db_session_new(&target, &session);
}

static int tear_down_all(void **state)
{
    db_session_free(session);
    kt_secret_free(secret);
    return real_teardown(state);
}

static int set_up(void **state)
{
    (void)state;
    run_as_owner("DELETE FROM client_certificates; DELETE FROM clients; DELETE FROM organisations;"
                 " DELETE FROM node_certificates WHERE kind = 'operator';"
                 " INSERT INTO organisations (organisation_id, name, created_at, created_by)"
                 " SELECT gen_random_uuid(), n, now(), 'x' FROM unnest(array['acme', 'gone']) n");
    return 0;
}

// A client, or one more certificate of it, that ends in `days` and was good for `life` days.
static void client(const char *name, const char *organisation, const char *client_state,
                   const char *days, int life, int revoked)
{
    char sql[1200];

    snprintf(sql, sizeof(sql),
             "INSERT INTO clients (client_id, organisation_id, name, state, created_at)"
             " SELECT gen_random_uuid(), organisation_id, '%s', '%s', now() FROM organisations"
             " WHERE name = '%s' AND NOT EXISTS (SELECT 1 FROM clients WHERE name = '%s');"
             "INSERT INTO client_certificates (sha256, client_id, key_sha256, certificate,"
             " not_after, created_at, revoked_at) SELECT sha256(random()::text::bytea), client_id,"
             " sha256('x'), 'x', now() + interval '%s d', now() + interval '%s d'"
             "  - interval '%d d', %s FROM clients WHERE name = '%s'",
             name, client_state, organisation, name, days, days, life, revoked ? "now()" : "NULL",
             name);
    run_as_owner(sql);
}

static void operator_of(const char *name, int days, int life, int revoked)
{
    char sql[600];

    snprintf(sql, sizeof(sql),
             "INSERT INTO node_certificates (sha256, kind, name, not_after, created_at, revoked_at)"
             " VALUES (sha256(random()::text::bytea), 'operator', '%s', now() + interval '%d d',"
             " now() + interval '%d d' - interval '%d d', %s)",
             name, days, days, life, revoked ? "now()" : "NULL");
    run_as_owner(sql);
}

// The count of "clients" or "operators", whose first must be `first`.
static int ending(const char *whose, const char *first)
{
    json_t *all = NULL, *one;
    const char *name, *until;
    int n;

    if (db_query_endings(session, &all, &error) != 0)
        fail_msg("%s", error.message);
    one = json_object_get(all, whose);
    name = json_string_value(json_object_get(one, "first"));
    until = json_string_value(json_object_get(one, "not_after"));
    n = (int)json_integer_value(json_object_get(one, "count"));
    if (n > 0)
        assert_string_equal(name, first);
    assert_true((n > 0) == (name != NULL) && (n > 0) == (until != NULL));
    json_decref(all);
    return n;
}

static void nobody_is_near_the_end_of_an_empty_cluster(void **state)
{
    (void)state;
    assert_int_equal(ending("clients", ""), 0);
    assert_int_equal(ending("operators", ""), 0);
}

static void clients_that_end_within_thirty_days_are_counted_and_the_first_is_named(void **state)
{
    (void)state;
    client("late", "acme", "active", "29", 397, 0);
    client("first", "acme", "active", "3", 397, 0);
    client("fresh", "acme", "active", "31", 397, 0);
    assert_int_equal(ending("clients", "first"), 2);
    assert_int_equal(ending("operators", ""), 0);
}

static void a_client_that_has_a_longer_one_or_is_none_any_more_is_not_counted(void **state)
{
    (void)state;
    client("renewed", "acme", "active", "3", 397, 0);
    client("renewed", "acme", "active", "390", 397, 0);
    client("ended", "acme", "active", "-3", 397, 0);
    client("revoked", "acme", "revoked", "3", 397, 0);
    client("pending", "acme", "pending", "3", 397, 0);
    client("withdrawn", "acme", "active", "3", 397, 1);
    client("disabled", "gone", "active", "3", 397, 0);
    run_as_owner("UPDATE organisations SET disabled_at = now() WHERE name = 'gone'");
    assert_int_equal(ending("clients", ""), 0);
    // the longer one does not count when it was revoked
    client("half", "acme", "active", "3", 397, 0);
    client("half", "acme", "active", "390", 397, 1);
    assert_int_equal(ending("clients", "half"), 1);
}

static void a_short_certificate_is_near_its_end_in_its_last_sixth(void **state)
{
    (void)state;
    client("short", "acme", "active", "20", 90, 0);
    assert_int_equal(ending("clients", ""), 0);
    client("shorter", "acme", "active", "14", 90, 0);
    assert_int_equal(ending("clients", "shorter"), 1);
}

static void operators_are_counted_by_name_in_the_last_third(void **state)
{
    (void)state;
    operator_of("ada", 29, 90, 0);
    operator_of("ada", 20, 90, 0);
    operator_of("bob", 3, 90, 0);
    operator_of("bob", 80, 90, 0); // a new one was given
    operator_of("eve", 3, 90, 1);
    operator_of("job", 3, 4, 0); // made for days
    assert_int_equal(ending("operators", "ada"), 1);
    operator_of("job2", 1, 4, 0);
    assert_int_equal(ending("operators", "job2"), 2);
}

// So that it is not each time a look at all certificates with their text.
static void the_question_can_be_answered_from_the_index_alone(void **state)
{
    (void)state;
    run_as_owner(
        "INSERT INTO clients (client_id, organisation_id, name, state, created_at)"
        " SELECT gen_random_uuid(), organisation_id, 'c' || n, 'active', now()"
        " FROM organisations, generate_series(1, 3000) n WHERE name = 'acme';"
        "INSERT INTO client_certificates (sha256, client_id, key_sha256, certificate, not_after,"
        " created_at) SELECT sha256(random()::text::bytea), client_id, sha256('x'),"
        " repeat('x', 900), now() + interval '300 d' * (1 - 2 * (k > 0)::int), now() FROM clients, "
        "generate_series(0, 3) k;");
    run_as_owner("VACUUM ANALYZE client_certificates"); // as autovacuum does in time
    run_as_owner("DO $$ DECLARE line text; plan text := ''; found boolean := false; BEGIN"
                 " FOR line IN EXPLAIN SELECT k.client_id, max(k.not_after), max(k.created_at)"
                 "  FROM client_certificates k WHERE k.revoked_at IS NULL AND k.not_after > now()"
                 "  GROUP BY k.client_id"
                 " LOOP plan := plan || line || E'\\n'; found := found OR line LIKE '%Index Only "
                 "Scan using client_certificates_by_end%';"
                 " END LOOP; IF NOT found THEN RAISE '%', plan; END IF; END $$");
    client("first", "acme", "active", "3", 397, 0);
    assert_int_equal(ending("clients", "first"), 1);
}

#define CASE(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nobody_is_near_the_end_of_an_empty_cluster),
        CASE(clients_that_end_within_thirty_days_are_counted_and_the_first_is_named),
        CASE(a_client_that_has_a_longer_one_or_is_none_any_more_is_not_counted),
        CASE(a_short_certificate_is_near_its_end_in_its_last_sixth),
        CASE(operators_are_counted_by_name_in_the_last_third),
        CASE(the_question_can_be_answered_from_the_index_alone),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
