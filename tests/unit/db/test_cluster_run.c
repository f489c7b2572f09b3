// SPDX-License-Identifier: Apache-2.0
// A real private PostgreSQL: made, populated, started, killed, stopped.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>

#include "tests/unit/db/real_cluster.h"

#define MS 20000

// Runs `sql` as a role (or, for DB_ROLE_COUNT, as the owner); the code.
static int run_as(enum db_role role, const char *sql, struct kt_error *error)
{
    struct db_target target = {0};
    struct kt_secret *secret = NULL;
    PGconn *conn = NULL;
    int rc = 0;

    if (role == DB_ROLE_COUNT)
        db_target_owner(&real.paths, real.settings, "keytrustee", &target);
    else
        rc = db_target_load(&real.paths, real.settings, role, &target, &secret, error);
    if (rc == 0)
        rc = db_pg_connect(&target, MS, &conn, error);
    if (rc == 0)
        rc = db_pg_query(conn, MS, sql, 0, NULL, NULL, error);
    PQfinish(conn);
    kt_secret_free(secret);
    return rc;
}

// The first column of the first row, as the owner.
static const char *ask(enum db_role role, const char *sql)
{
    static char text[256];
    struct db_target target = {0};
    struct kt_secret *secret = NULL;
    PGresult *result = NULL;
    PGconn *conn = NULL;

    if (role == DB_ROLE_COUNT)
        db_target_owner(&real.paths, real.settings, "keytrustee", &target);
    else
        assert_int_equal(db_target_load(&real.paths, real.settings, role, &target, &secret, NULL),
                         0);
    assert_int_equal(db_pg_connect(&target, MS, &conn, NULL), 0);
    assert_int_equal(db_pg_query(conn, MS, sql, 0, NULL, &result, NULL), 0);
    assert_true(PQntuples(result) > 0);
    snprintf(text, sizeof(text), "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(conn);
    kt_secret_free(secret);
    return text;
}

static void every_step_of_making_it_can_be_repeated(void **state)
{
    struct db_first_rows rows;
    int done = 0;

    (void)state;
    real_rows(&rows);
    assert_int_equal(db_cluster_initdb(real.cluster, &done, NULL), 0);
    assert_int_equal(done, 1);
    assert_int_equal(db_cluster_configure(real.cluster, &done, NULL), 0);
    assert_int_equal(done, 1);
    assert_int_equal(db_cluster_populate(real.cluster, &rows, &done, NULL), 0);
    assert_int_equal(done, 1);
    assert_int_equal(db_cluster_is_populated(real.cluster), 1);
    assert_false(kt_file_exists(temp_path("db.partial")));
}

static void the_first_rows_are_those_of_init(void **state)
{
    (void)state;
    assert_string_equal(ask(DB_ROLE_COUNT,
                            "SELECT active FROM epochs WHERE incarnation = 1 AND "
                            "epoch = 1 AND sequence = 1 AND members = '{}' AND w = 0"),
                        "kts-01.0a1b2c3d");
    assert_string_equal(ask(DB_ROLE_COUNT, "SELECT encode(bits, 'hex') FROM incarnations"),
                        "0123456789abcdef");
    assert_string_equal(ask(DB_ROLE_COUNT, "SELECT encode(key_id, 'hex') FROM receipt_keys"),
                        "0707070707070707");
    assert_string_equal(ask(DB_ROLE_COUNT, "SELECT kind || ' ' || name FROM node_certificates"),
                        "node kts-01");
    assert_string_equal(ask(DB_ROLE_COUNT, "SELECT string_agg(file, ' ' ORDER BY version) FROM "
                                           "schema_version"),
                        "001_initial.sql 002_nodes.sql 003_retention.sql 004_release.sql"
                        " 005_log.sql 006_recovery.sql 007_endings.sql"
                        " 008_cluster_keys.sql");
    assert_string_equal(ask(DB_ROLE_COUNT, "SELECT member || ' ' || address FROM nodes"),
                        "kts-01.0a1b2c3d 127.0.0.1");
}

static void another_clusters_database_is_not_populated(void **state)
{
    struct kt_cluster_info other = real.info;
    struct db_first_rows rows;
    int done;

    (void)state;
    real_rows(&rows);
    other.cluster_id.bytes[0] ^= 1;
    rows.info = &other;
    assert_int_equal(db_cluster_populate(real.cluster, &rows, &done, NULL), KT_ERR_NOT_OURS);
}

static void the_reader_can_only_read(void **state)
{
    (void)state;
    assert_int_equal(run_as(DB_ROLE_READER, "SELECT count(*) FROM deposits", NULL), 0);
    assert_int_equal(run_as(DB_ROLE_READER, "DELETE FROM deposits", NULL), KT_ERR_DATABASE);
    assert_int_equal(run_as(DB_ROLE_READER, "SELECT 1 FROM auth_codes", NULL), KT_ERR_DATABASE);
    assert_int_equal(run_as(DB_ROLE_READER, "CREATE TEMPORARY TABLE t (x int)", NULL),
                     KT_ERR_DATABASE);
    assert_string_equal(ask(DB_ROLE_READER, "SHOW default_transaction_read_only"), "on");
    assert_string_equal(ask(DB_ROLE_READER, "SHOW statement_timeout"), "5s");
}

static void every_role_waits_for_locks_no_longer_than_200_ms(void **state)
{
    (void)state;
    for (int role = 0; role < DB_ROLE_COUNT; role++)
        assert_string_equal(ask((enum db_role)role, "SHOW lock_timeout"), "200ms");
}

static void the_writer_sees_the_statistics_of_standbys(void **state)
{
    (void)state;
    assert_string_equal(ask(DB_ROLE_WRITER, "SELECT pg_has_role('pg_read_all_stats', 'USAGE')"),
                        "t");
    assert_string_equal(ask(DB_ROLE_AGENT, "SELECT pg_has_role('pg_monitor', 'USAGE')"), "t");
    assert_int_equal(run_as(DB_ROLE_WRITER, "DELETE FROM deposits", NULL), KT_ERR_DATABASE);
}

static void a_role_without_its_secret_is_refused(void **state)
{
    struct db_target target;
    PGconn *conn = NULL;

    (void)state;
    db_target_owner(&real.paths, real.settings, "keytrustee", &target);
    target.user = "kts_reader";
    assert_int_equal(db_pg_connect(&target, MS, &conn, NULL), KT_ERR_DATABASE_UNAVAILABLE);
    target.password = "wrong";
    assert_int_equal(db_pg_connect(&target, MS, &conn, NULL), KT_ERR_DATABASE_UNAVAILABLE);
}

static void roles_come_into_their_own_database_only(void **state)
{
    struct db_target target;
    struct kt_secret *secret = NULL;
    PGconn *conn = NULL;

    (void)state;
    assert_int_equal(
        db_target_load(&real.paths, real.settings, DB_ROLE_AGENT, &target, &secret, NULL), 0);
    target.database = "postgres";
    assert_int_equal(db_pg_connect(&target, MS, &conn, NULL), KT_ERR_DATABASE_UNAVAILABLE);
    kt_secret_free(secret);
}

static void secrets_are_stored_as_verifiers_and_stay_out_of_the_log(void **state)
{
    struct kt_secret *secret = NULL;
    struct db_target target;
    char *log = NULL, command[700];

    (void)state;
    assert_string_equal(ask(DB_ROLE_COUNT, "SELECT bool_and(rolpassword LIKE 'SCRAM-SHA-256$%') "
                                           "FROM pg_authid WHERE rolname LIKE 'kts%'"),
                        "t");
    assert_int_equal(
        db_target_load(&real.paths, real.settings, DB_ROLE_READER, &target, &secret, NULL), 0);
    snprintf(command, sizeof(command), "cat %s/logs/postgresql-*.log > %s/all.log", temp_dir,
             temp_dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(kt_file_read_text(temp_path("all.log"), 1 << 20, &log, NULL), 0);
    assert_null(strstr(log, kt_secret_text(secret)));
    assert_null(strstr(log, "SCRAM-SHA-256$"));
    free(log);
    kt_secret_free(secret);
}

static void values_of_a_failing_statement_stay_out_of_log_and_error(void **state)
{
    struct kt_error error = {0};
    struct db_target target;
    const char *const parameters[] = {"canary-4711"};
    char *log = NULL, command[700];
    PGconn *conn = NULL;

    (void)state;
    db_target_owner(&real.paths, real.settings, "keytrustee", &target);
    assert_int_equal(db_pg_connect(&target, MS, &conn, NULL), 0);
    assert_int_equal(db_pg_run(conn, MS, "CREATE TEMPORARY TABLE t (x text PRIMARY KEY)", NULL), 0);
    for (int i = 0; i < 2; i++)
        (void)!db_pg_query(conn, MS, "INSERT INTO t VALUES ($1)", 1, parameters, NULL, &error);
    PQfinish(conn);
    assert_int_equal(error.code, KT_ERR_DATABASE);
    assert_null(strstr(error.message, "canary"));
    snprintf(command, sizeof(command), "cat %s/logs/postgresql-*.log > %s/all.log", temp_dir,
             temp_dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(kt_file_read_text(temp_path("all.log"), 1 << 20, &log, NULL), 0);
    assert_null(strstr(log, "canary"));
    free(log);
}

static void a_statement_over_its_time_is_cancelled(void **state)
{
    struct db_target target;
    PGconn *conn = NULL;

    (void)state;
    db_target_owner(&real.paths, real.settings, "keytrustee", &target);
    assert_int_equal(db_pg_connect(&target, MS, &conn, NULL), 0);
    assert_int_equal(db_pg_query(conn, 100, "SELECT pg_sleep(60)", 0, NULL, NULL, NULL),
                     KT_ERR_DATABASE_TIMEOUT);
    assert_int_equal(db_pg_query(conn, MS, "SELECT 1", 0, NULL, NULL, NULL), 0);
    PQfinish(conn);
}

static void the_settings_in_use_are_the_managed_ones(void **state)
{
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(db_cluster_live_check(real.cluster, &error), 0);
    assert_int_equal(db_cluster_config_check(real.cluster, &error), 0);
}

static void a_weakened_setting_is_found(void **state)
{
    struct kt_error error = {0};
    struct db_target target;
    PGconn *conn = NULL;

    (void)state;
    db_target_owner(&real.paths, real.settings, "keytrustee", &target);
    assert_int_equal(db_pg_connect(&target, MS, &conn, NULL), 0);
    assert_int_equal(db_pg_run(conn, MS, "ALTER SYSTEM SET synchronous_commit = off", NULL), 0);
    assert_int_equal(db_pg_run(conn, MS, "SELECT pg_reload_conf()", NULL), 0);
    // A reload takes effect a moment later, in new sessions.
    for (int64_t until = kt_monotonic_now() + 10000000;
         strcmp(ask(DB_ROLE_AGENT, "SHOW synchronous_commit"), "off") != 0;)
        assert_true(kt_monotonic_now() < until);
    assert_int_equal(db_cluster_live_check(real.cluster, &error), KT_ERR_UNSAFE_SETTINGS);
    assert_non_null(strstr(error.message, "synchronous_commit"));
    assert_int_equal(db_pg_run(conn, MS, "ALTER SYSTEM RESET synchronous_commit", NULL), 0);
    assert_int_equal(db_pg_run(conn, MS, "SELECT pg_reload_conf()", NULL), 0);
    for (int64_t until = kt_monotonic_now() + 10000000;
         strcmp(ask(DB_ROLE_AGENT, "SHOW synchronous_commit"), "on") != 0;)
        assert_true(kt_monotonic_now() < until);
    PQfinish(conn);
}

static void starting_a_running_one_is_success_and_running_it_twice_is_refused(void **state)
{
    enum db_run_state run_state;
    long pid = 0, again = 0;

    (void)state;
    assert_int_equal(db_cluster_state(real.cluster, &run_state, &pid, NULL), 0);
    assert_int_equal(run_state, DB_RUNNING);
    assert_int_equal(db_cluster_start(real.cluster, 60, NULL), 0);
    assert_int_equal(db_cluster_state(real.cluster, &run_state, &again, NULL), 0);
    assert_int_equal(pid, again);
    assert_int_equal(db_cluster_exec(real.cluster, NULL), KT_ERR_BUSY);
}

static void after_a_kill_a_start_is_all_it_needs(void **state)
{
    enum db_run_state run_state;
    struct kt_error error = {0};
    long pid = 0, again = 0;

    (void)state;
    assert_int_equal(db_cluster_state(real.cluster, &run_state, &pid, NULL), 0);
    assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
    for (int64_t until = kt_monotonic_now() + 10000000; run_state == DB_RUNNING;) {
        assert_int_equal(db_cluster_state(real.cluster, &run_state, &again, NULL), 0);
        assert_true(kt_monotonic_now() < until);
    }
    if (db_cluster_start(real.cluster, 60, &error) != 0)
        fail_msg("%s", error.message);
    assert_int_equal(db_cluster_state(real.cluster, &run_state, &again, NULL), 0);
    assert_int_equal(run_state, DB_RUNNING);
    assert_int_not_equal(pid, again);
}

static void stopping_is_repeatable_and_a_stale_pid_file_is_nobody(void **state)
{
    enum db_run_state run_state;
    char text[KT_PATH_MAX + 32];
    long pid = 1;

    (void)state;
    assert_int_equal(db_cluster_stop(real.cluster, 60, NULL), 0);
    assert_int_equal(db_cluster_stop(real.cluster, 60, NULL), 0);
    assert_int_equal(db_cluster_state(real.cluster, &run_state, &pid, NULL), 0);
    assert_int_equal(run_state, DB_STOPPED);
    assert_int_equal(pid, 0);
    // the number of a living process that is no PostgreSQL: ours
    snprintf(text, sizeof(text), "%ld\n%s\n", (long)getpid(), real.paths.db);
    temp_text("db/postmaster.pid", text);
    assert_int_equal(db_cluster_state(real.cluster, &run_state, &pid, NULL), 0);
    assert_int_equal(run_state, DB_STOPPED);
    assert_int_equal(unlink(temp_path("db/postmaster.pid")), 0);
    assert_int_equal(db_cluster_start(real.cluster, 60, NULL), 0);
}

// What an operator's ktadmin and the unit's PostgreSQL are to each other under PrivateUsers=: in
// different user namespaces, where /proc/PID/cwd cannot be read. Runs `work` so in a process of its
// own; its result, or -1 when the system allows no namespaces.
static int from_another_user_namespace(int (*work)(long pid), long pid)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        char link[64];
        struct stat st;
        snprintf(link, sizeof(link), "/proc/%ld/cwd", pid);
        if (unshare(CLONE_NEWUSER) != 0 || stat(link, &st) == 0 || errno != EACCES)
            _exit(255);
        _exit(work(pid));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) == 255 ? -1 : WEXITSTATUS(status);
}

static int stop_it(long wanted)
{
    enum db_run_state run_state;
    long pid = 0;

    if (db_cluster_state(real.cluster, &run_state, &pid, NULL) != 0)
        return 1;
    if (run_state != DB_RUNNING || pid != wanted)
        return 2;
    return db_cluster_stop(real.cluster, 60, NULL) == 0 ? 0 : 3;
}

static int say_it_is_stopped(long named)
{
    enum db_run_state run_state;
    long pid = 0;

    (void)named;
    return db_cluster_state(real.cluster, &run_state, &pid, NULL) == 0 && run_state == DB_STOPPED
               ? 0
               : 1;
}

static void one_that_cannot_be_looked_at_is_running_and_is_stopped(void **state)
{
    enum db_run_state run_state;
    char text[KT_PATH_MAX + 32];
    long pid = 0, again = 0;
    int rc;

    (void)state;
    assert_int_equal(db_cluster_state(real.cluster, &run_state, &pid, NULL), 0);
    rc = from_another_user_namespace(stop_it, pid);
    if (rc == -1)
        skip();
    assert_int_equal(rc, 0);
    assert_int_equal(db_cluster_state(real.cluster, &run_state, &again, NULL), 0);
    assert_int_equal(run_state, DB_STOPPED);
    assert_false(kt_file_exists(temp_path("db/postmaster.pid")));
    // A living process of the same account, out of sight, that is no PostgreSQL: this one.
    snprintf(text, sizeof(text), "%ld\n%s\n", (long)getpid(), real.paths.db);
    temp_text("db/postmaster.pid", text);
    assert_int_equal(from_another_user_namespace(say_it_is_stopped, getpid()), 0);
    assert_int_equal(unlink(temp_path("db/postmaster.pid")), 0);
    assert_int_equal(db_cluster_start(real.cluster, 60, NULL), 0);
}

static void a_start_that_fails_says_why(void **state)
{
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(db_cluster_stop(real.cluster, 60, NULL), 0);
    temp_text("db/postgresql.auto.conf", "port = none\n");
    assert_int_equal(db_cluster_start(real.cluster, 60, &error), KT_ERR_DATABASE_UNAVAILABLE);
    assert_non_null(strstr(error.message, "postgresql.auto.conf"));
    temp_text("db/postgresql.auto.conf", "");
    assert_int_equal(db_cluster_start(real.cluster, 60, &error), 0);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(every_step_of_making_it_can_be_repeated),
        cmocka_unit_test(the_first_rows_are_those_of_init),
        cmocka_unit_test(another_clusters_database_is_not_populated),
        cmocka_unit_test(the_reader_can_only_read),
        cmocka_unit_test(every_role_waits_for_locks_no_longer_than_200_ms),
        cmocka_unit_test(the_writer_sees_the_statistics_of_standbys),
        cmocka_unit_test(a_role_without_its_secret_is_refused),
        cmocka_unit_test(roles_come_into_their_own_database_only),
        cmocka_unit_test(secrets_are_stored_as_verifiers_and_stay_out_of_the_log),
        cmocka_unit_test(values_of_a_failing_statement_stay_out_of_log_and_error),
        cmocka_unit_test(a_statement_over_its_time_is_cancelled),
        cmocka_unit_test(the_settings_in_use_are_the_managed_ones),
        cmocka_unit_test(a_weakened_setting_is_found),
        cmocka_unit_test(starting_a_running_one_is_success_and_running_it_twice_is_refused),
        cmocka_unit_test(after_a_kill_a_start_is_all_it_needs),
        cmocka_unit_test(stopping_is_repeatable_and_a_stale_pid_file_is_nobody),
        cmocka_unit_test(one_that_cannot_be_looked_at_is_running_and_is_stopped),
        cmocka_unit_test(a_start_that_fails_says_why),
    };

    return cmocka_run_group_tests(cases, real_setup, real_teardown);
}
