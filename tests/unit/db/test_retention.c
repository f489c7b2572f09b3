// SPDX-License-Identifier: Apache-2.0
// What the database itself enforces of locks and purges, on a real PostgreSQL: the role of the
// server's writer tries by direct SQL what a writer that was taken over would try.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/db/real_cluster.h"

#define MS     20000
#define ORG    "00000000-0000-4000-8000-000000000001"
#define HOST   "00000000-0000-4000-8000-000000000011"
#define KEEPER "00000000-0000-4000-8000-000000000012" // has bypass
#define ME     "handle = 'h'"

static struct db_target writer;
static struct kt_secret *secret;

// One statement of a role; the text of the first column of the first row, or the SQLSTATE behind the
// message when it failed.
static const char *as(const struct db_target *target, const char *sql)
{
    static char text[1024];
    struct kt_error error = {0};
    PGresult *result = NULL;
    PGconn *conn = NULL;

    assert_int_equal(db_pg_connect(target, MS, &conn, NULL), 0);
    if (db_pg_query(conn, MS, sql, 0, NULL, &result, &error) != 0)
        snprintf(text, sizeof(text), "refused: %s", error.message);
    else
        snprintf(text, sizeof(text), "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(conn);
    return text;
}

static const char *as_owner(const char *sql)
{
    struct db_target owner = {0};

    db_target_owner(&real.paths, real.settings, "keytrustee", &owner);
    return as(&owner, sql);
}

static void owner_runs(const char *sql)
{
    const char *answer = as_owner(sql);

    if (strncmp(answer, "refused", 7) == 0)
        fail_msg("%s: %s", sql, answer);
}

static void refused(const char *sql, const char *why)
{
    const char *answer = as(&writer, sql);

    if (strncmp(answer, "refused", 7) != 0 || !strstr(answer, why))
        fail_msg("not refused with '%s', but '%s': %s", why, answer, sql);
}

static void allowed(const char *sql)
{
    const char *answer = as(&writer, sql);

    if (strncmp(answer, "refused", 7) == 0)
        fail_msg("%s: %s", answer, sql);
}

static void is(const char *sql, const char *value)
{
    assert_string_equal(as_owner(sql), value);
}

#define PURGE                                                                                      \
    "SELECT count(*) FROM deposits_purge((SELECT array_agg(organisation_id) FROM deposits),"       \
    " (SELECT array_agg(deposit_id) FROM deposits))"
#define HAS_BODY "SELECT body IS NOT NULL FROM deposits WHERE " ME

// Without the guard, as the owner of the database can: time that has gone by, a fresh row.
static void owner_sets(const char *columns)
{
    char sql[512];

    owner_runs("ALTER TABLE deposits DISABLE TRIGGER USER");
    snprintf(sql, sizeof(sql), "UPDATE deposits SET %s WHERE " ME, columns);
    owner_runs(sql);
    owner_runs("ALTER TABLE deposits ENABLE TRIGGER USER");
}

static int set_up_all(void **state)
{
    if (real_setup(state) != 0 ||
        db_target_load(&real.paths, real.settings, DB_ROLE_WRITER, &writer, &secret, NULL))
        return -1;
    owner_runs("INSERT INTO organisations (organisation_id, name, created_at, created_by)"
               " VALUES ('" ORG "', 'acme', now(), 'test')");
    owner_runs("INSERT INTO clients (client_id, organisation_id, name, state, created_at)"
               " VALUES ('" HOST "', '" ORG "', 'host', 'active', now()),"
               " ('" KEEPER "', '" ORG "', 'keeper', 'active', now())");
    owner_runs("INSERT INTO grants (grant_id, organisation_id, client_id, object, prefix, access,"
               " created_at, created_by) VALUES (gen_random_uuid(), '" ORG "', '" KEEPER
               "', 'prefix', 'h', 'bypass', now(), 'test')");
    return 0;
}

static int tear_down_all(void **state)
{
    kt_secret_free(secret);
    return real_teardown(state);
}

// One deposit, not locked and not deleted, and a clock that is right.
static int set_up(void **state)
{
    (void)state;
    owner_runs("ALTER TABLE deposits DISABLE TRIGGER USER");
    owner_runs("DELETE FROM deposits");
    owner_runs("ALTER TABLE deposits ENABLE TRIGGER USER");
    owner_runs("INSERT INTO deposits (deposit_id, organisation_id, client_id, handle, version,"
               " content_type, body, sha256, size, log_index, incarnation, epoch, deposited_at, w,"
               " receipt_key_id, receipt_signature) SELECT gen_random_uuid(), '" ORG "', '" HOST
               "', 'h', 1, 'x', 'body', sha256('body'), 4, 1, 1, 1, now(), 0, key_id,"
               " decode(repeat('00', 64), 'hex') FROM receipt_keys LIMIT 1");
    owner_runs("DELETE FROM clock");
    owner_runs("SELECT clock_see()");
    return 0;
}

static void the_writer_changes_nothing_that_was_deposited(void **state)
{
    (void)state;
    refused("UPDATE deposits SET body = 'other' WHERE " ME, "permission denied");
    refused("UPDATE deposits SET body = NULL WHERE " ME, "permission denied");
    refused("UPDATE deposits SET sha256 = sha256('other') WHERE " ME, "permission denied");
    refused("UPDATE deposits SET handle = 'other' WHERE " ME, "permission denied");
    refused("UPDATE deposits SET purged_at = now() WHERE " ME, "permission denied");
    refused("UPDATE deposits SET deposited_at = now() WHERE " ME, "permission denied");
    refused("DELETE FROM deposits", "permission denied");
    refused("TRUNCATE deposits", "permission denied");
    refused("ALTER TABLE deposits DISABLE TRIGGER deposits_guard", "must be owner");
    refused("DROP TRIGGER deposits_guard ON deposits", "must be owner");
    refused("CREATE OR REPLACE FUNCTION kt_now() RETURNS timestamptz LANGUAGE sql AS"
            " $$ SELECT 'infinity'::timestamptz $$",
            "permission denied");
    refused("SET session_replication_role = replica", "permission denied");
    is(HAS_BODY, "t");
}

// The guard does not rest on the grants of columns.
static void nobody_changes_it_as_long_as_the_guard_is_there(void **state)
{
    static const char *const SETS[] = {"sha256 = sha256('other')", "handle = 'other'",
                                       "version = 2", "client_id = '" KEEPER "'",
                                       "receipt_signature ="
                                       " decode(repeat('11', 64),"
                                       " 'hex')"};
    char sql[256];

    (void)state;
    for (size_t i = 0; i < sizeof(SETS) / sizeof(SETS[0]); i++) {
        snprintf(sql, sizeof(sql), "UPDATE deposits SET %s", SETS[i]);
        assert_non_null(strstr(as_owner(sql), "KT002"));
    }
    assert_non_null(strstr(as_owner("UPDATE deposits SET body = 'other'"), "KT002"));
    assert_non_null(
        strstr(as_owner("UPDATE deposits SET body = NULL, purged_at = now()"), "KT002"));
    assert_non_null(strstr(as_owner("DELETE FROM deposits"), "KT002"));
    assert_non_null(strstr(as_owner("TRUNCATE deposits CASCADE"), "KT002"));
}

static void a_compliance_lock_only_grows(void **state)
{
    (void)state;
    allowed("UPDATE deposits SET lock_mode = 'compliance', lock_until = now() + interval '9 days',"
            " lock_by = '" HOST "' WHERE " ME);
    refused("UPDATE deposits SET lock_until = now() + interval '8 days', lock_by = '" KEEPER
            "' WHERE " ME,
            "KT001");
    refused("UPDATE deposits SET lock_mode = NULL, lock_until = NULL, lock_by = '" KEEPER
            "' WHERE " ME,
            "KT001");
    refused("UPDATE deposits SET lock_mode = 'governance', lock_by = '" KEEPER "' WHERE " ME,
            "KT001");
    refused("UPDATE deposits SET lock_mode = 'governance', lock_until = 'infinity' WHERE " ME,
            "KT001");
    refused("UPDATE deposits SET lock_until = '-infinity' WHERE " ME, "KT001");
    refused("UPDATE deposits SET deleted_at = now() WHERE " ME, "KT001");
    refused("UPDATE deposits SET deleted_at = now(), lock_mode = NULL, lock_until = NULL WHERE " ME,
            "KT001");
    allowed("UPDATE deposits SET lock_until = now() + interval '10 days' WHERE " ME);
}

static void a_governance_lock_gives_way_to_bypass_only(void **state)
{
    (void)state;
    allowed("UPDATE deposits SET lock_mode = 'governance', lock_until = now() + interval '9 days',"
            " lock_by = '" HOST "' WHERE " ME);
    refused("UPDATE deposits SET lock_mode = NULL, lock_until = NULL WHERE " ME, "KT001");
    refused("UPDATE deposits SET lock_until = now() WHERE " ME, "KT001");
    refused("UPDATE deposits SET lock_until = now(), lock_by = NULL WHERE " ME, "KT001");
    refused("UPDATE deposits SET deleted_at = now() WHERE " ME, "KT001");
    allowed("UPDATE deposits SET lock_until = now() + interval '9 days' WHERE " ME);
    allowed("UPDATE deposits SET lock_until = now() + interval '1 day', lock_by = '" KEEPER
            "' WHERE " ME);
    allowed("UPDATE deposits SET lock_mode = NULL, lock_until = NULL, lock_by = '" KEEPER
            "' WHERE " ME);
    allowed("UPDATE deposits SET deleted_at = now() WHERE " ME);
}

static void a_legal_hold_gives_way_to_bypass_only(void **state)
{
    (void)state;
    allowed("UPDATE deposits SET legal_hold = true, lock_by = '" HOST "' WHERE " ME);
    refused("UPDATE deposits SET legal_hold = false WHERE " ME, "KT001");
    refused("UPDATE deposits SET deleted_at = now() WHERE " ME, "KT001");
    refused("UPDATE deposits SET deleted_at = now(), legal_hold = false WHERE " ME, "KT001");
    allowed("UPDATE deposits SET legal_hold = false, lock_by = '" KEEPER "' WHERE " ME);
}

static void a_purge_has_its_delay_whatever_is_written(void **state)
{
    (void)state;
    refused("UPDATE deposits SET purge_after = now() WHERE " ME, "KT002"); // not deleted, too early
    refused("UPDATE deposits SET purge_after = now() + interval '8 days' WHERE " ME, "check");
    allowed("UPDATE deposits SET deleted_at = now() WHERE " ME);
    refused("UPDATE deposits SET purge_after = '-infinity' WHERE " ME, "KT002");
    refused("UPDATE deposits SET purge_after = now() WHERE " ME, "KT002");
    refused("UPDATE deposits SET purge_after = now() + interval '6 days' WHERE " ME, "KT002");
    allowed("UPDATE deposits SET purge_after = now() + interval '7 days' WHERE " ME);
    refused("UPDATE deposits SET purge_after = now() - interval '1 day' WHERE " ME, "KT002");
    assert_string_equal(as(&writer, PURGE), "0");
    is(HAS_BODY, "t");
    // taken back and deleted again, it has all of its delay before it again
    allowed("UPDATE deposits SET deleted_at = NULL, purge_after = NULL WHERE " ME);
    allowed("UPDATE deposits SET deleted_at = now() WHERE " ME);
    refused("UPDATE deposits SET purge_after = now() WHERE " ME, "KT002");
}

static void a_shorter_delay_brings_no_purge_forward(void **state)
{
    (void)state;
    allowed("UPDATE deposits SET deleted_at = now() WHERE " ME);
    allowed("UPDATE deposits SET purge_after = now() + interval '7 days' WHERE " ME);
    allowed("UPDATE organisations SET purge_delay = '0' WHERE organisation_id = '" ORG "'");
    refused("UPDATE deposits SET purge_after = now() + interval '1 hour' WHERE " ME, "KT002");
    refused("UPDATE deposits SET purge_after = NULL WHERE " ME, "KT002");
    allowed("UPDATE organisations SET purge_delay = '7 days' WHERE organisation_id = '" ORG "'");
}

static void a_clock_that_is_set_back_shortens_no_delay(void **state)
{
    (void)state;
    owner_runs(
        "UPDATE clock SET highest = now() + interval '30 days'"); // the clock is 30 days back
    allowed("UPDATE deposits SET deleted_at = now() WHERE " ME);
    refused("UPDATE deposits SET purge_after = now() + interval '7 days' WHERE " ME, "KT002");
    allowed("UPDATE deposits SET purge_after = now() + interval '37 days' WHERE " ME);
}

static void what_is_due_is_erased_once_and_its_hash_stays(void **state)
{
    (void)state;
    owner_sets("deleted_at = now(), purge_after = now() - interval '1 second'");
    is("SELECT count(*) FROM deposits_purge('{" ORG "}', '{" HOST "}')", "0"); // another one
    is(HAS_BODY, "t");
    assert_string_equal(as(&writer, PURGE), "1");
    is("SELECT body IS NULL AND sha256 = sha256('body') AND purged_at <= now() FROM deposits", "t");
    assert_string_equal(as(&writer, PURGE), "0");
    refused("UPDATE deposits SET deleted_at = NULL, purge_after = NULL WHERE " ME, "KT002");
    refused("UPDATE deposits SET legal_hold = true WHERE " ME, "KT002");
}

static void what_is_locked_is_not_erased_though_it_is_due(void **state)
{
    static const char *const LOCKS[] = {
        "lock_mode = 'governance', lock_until = now() + interval '1 hour'",
        "lock_mode = 'compliance', lock_until = now() + interval '1 hour'",
        "lock_mode = NULL, lock_until = NULL, legal_hold = true"};

    (void)state;
    owner_sets("deleted_at = now(), purge_after = now() - interval '1 second'");
    for (size_t i = 0; i < sizeof(LOCKS) / sizeof(LOCKS[0]); i++) {
        owner_sets(LOCKS[i]);
        assert_string_equal(as(&writer, PURGE), "0");
        is(HAS_BODY, "t");
        // also by whoever writes the columns
        assert_non_null(
            strstr(as_owner("UPDATE deposits SET body = NULL, purged_at = now()"), "KT001"));
    }
    owner_sets("legal_hold = false");
    assert_string_equal(as(&writer, PURGE), "1");
}

static void a_clock_that_is_set_forward_ends_nothing(void **state)
{
    (void)state;
    // the clock shows 20 days more than the time that was seen last
    owner_runs("UPDATE clock SET highest = highest - interval '20 days'");
    owner_sets("deleted_at = now(), purge_after = now() - interval '10 days'");
    assert_string_equal(as(&writer, PURGE), "0");
    is("SELECT jumped_to IS NOT NULL FROM clock", "t");
    is(HAS_BODY, "t");
    owner_sets("deleted_at = NULL, purge_after = NULL, lock_mode = 'compliance',"
               " lock_until = now() - interval '10 days'");
    refused("UPDATE deposits SET deleted_at = now() WHERE " ME, "KT001");
    refused("UPDATE deposits SET lock_mode = NULL, lock_until = NULL WHERE " ME, "KT001");
    refused("UPDATE clock SET highest = now()", "permission denied");
    refused("DELETE FROM clock", "permission denied");
    refused("INSERT INTO clock (highest) VALUES (now())", "permission denied");
    refused("TRUNCATE clock", "permission denied");
}

static void after_a_step_purges_wait_until_the_time_is_confirmed(void **state)
{
    (void)state;
    owner_sets("deleted_at = now(), purge_after = now() - interval '1 day'");
    owner_runs("UPDATE clock SET highest = highest - interval '61 minutes'");
    for (int i = 0; i < 3; i++)
        assert_string_equal(as(&writer, PURGE), "0");
    assert_string_equal(as(&writer, "SELECT clock_see()"), "f");
    is(HAS_BODY, "t");
    // the mark alone holds them, also when the clock itself is near again
    owner_runs("UPDATE clock SET highest = clock_timestamp()");
    assert_non_null(
        strstr(as_owner("UPDATE deposits SET body = NULL, purged_at = now()"), "KT002"));
    owner_runs("UPDATE clock SET highest = highest - interval '61 minutes'");
    allowed("SELECT clock_confirm('root')");
    is("SELECT jumped_to IS NULL AND confirmed_by = 'root' FROM clock", "t");
    assert_string_equal(as(&writer, PURGE), "1");
}

static void a_step_below_an_hour_and_one_that_was_taken_back_stop_nothing(void **state)
{
    (void)state;
    owner_runs("UPDATE clock SET highest = highest - interval '59 minutes'");
    assert_string_equal(as(&writer, "SELECT clock_see()"), "t");
    owner_runs("UPDATE clock SET highest = highest - interval '2 hours'");
    assert_string_equal(as(&writer, "SELECT clock_see()"), "f");
    owner_runs("UPDATE clock SET highest = clock_timestamp()"); // the clock was put right
    assert_string_equal(as(&writer, "SELECT clock_see()"), "t");
    is("SELECT jumped_to IS NULL FROM clock", "t");
}

static void a_clock_that_was_never_seen_ends_nothing(void **state)
{
    (void)state;
    owner_runs("DELETE FROM clock");
    owner_sets("lock_mode = 'governance', lock_until = now() - interval '1 day'");
    refused("UPDATE deposits SET deleted_at = now() WHERE " ME, "KT001");
    assert_string_equal(as(&writer, PURGE), "0");
    is("SELECT count(*) FROM clock", "1");
    allowed("UPDATE deposits SET deleted_at = now() WHERE " ME);
}

static void the_other_roles_may_neither_purge_nor_confirm(void **state)
{
    static const enum db_role ROLES[] = {DB_ROLE_READER, DB_ROLE_AGENT};
    struct kt_secret *own = NULL;
    struct db_target target;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(db_target_load(&real.paths, real.settings, ROLES[i], &target, &own, NULL),
                         0);
        assert_non_null(strstr(as(&target, "SELECT clock_confirm('x')"), "permission denied"));
        assert_non_null(strstr(as(&target, "SELECT clock_see()"), "permission denied"));
        assert_non_null(
            strstr(as(&target, "SELECT deposits_purge('{}', '{}')"), "permission denied"));
        kt_secret_free(own);
    }
}

#define CASE(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_writer_changes_nothing_that_was_deposited),
        CASE(nobody_changes_it_as_long_as_the_guard_is_there),
        CASE(a_compliance_lock_only_grows),
        CASE(a_governance_lock_gives_way_to_bypass_only),
        CASE(a_legal_hold_gives_way_to_bypass_only),
        CASE(a_purge_has_its_delay_whatever_is_written),
        CASE(a_shorter_delay_brings_no_purge_forward),
        CASE(a_clock_that_is_set_back_shortens_no_delay),
        CASE(what_is_due_is_erased_once_and_its_hash_stays),
        CASE(what_is_locked_is_not_erased_though_it_is_due),
        CASE(a_clock_that_is_set_forward_ends_nothing),
        CASE(after_a_step_purges_wait_until_the_time_is_confirmed),
        CASE(a_step_below_an_hour_and_one_that_was_taken_back_stop_nothing),
        CASE(a_clock_that_was_never_seen_ends_nothing),
        CASE(the_other_roles_may_neither_purge_nor_confirm),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
