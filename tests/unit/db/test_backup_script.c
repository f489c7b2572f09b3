// SPDX-License-Identifier: Apache-2.0
// A backup's script, run by the real psql in a new database.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/proc.h"
#include "tests/unit/db/real_cluster.h"

#include "tests/unit/db/backup_rows.h"

static struct real other; // an empty cluster of its own, where scripts are run
static PGconn *source;    // the owner's session on the first one

static const char *folder_of_rows(void)
{
    return temp_path("it's rows.d");
}

static void write_rows(struct db_backup *backup)
{
    const struct db_backup_facts *facts = db_backup_facts(backup);
    char name[128];

    (void)mkdir(folder_of_rows(), 0700);
    for (size_t i = 0; i < facts->table_count; i++) {
        struct kt_buf rows;
        read_table(backup, i, &rows);
        snprintf(name, sizeof(name), "it's rows.d/%s.bin", facts->tables[i].name);
        temp_file(name, kt_buf_ptr(&rows), kt_buf_left(&rows), 0600);
        kt_buf_free(&rows);
    }
}

// Writes the script to "script.sql"; the length that was said before is its length.
static void write_script(struct db_backup *backup, const char *folder)
{
    struct bytes bytes = {.buf = KT_BUF_INIT(1u << 30)};
    uint64_t before = 0, after = 0;

    OK(db_backup_script(backup, folder, "first line\nsecond \\q line\r\n", NULL, NULL, &before,
                        &error));
    OK(db_backup_script(backup, folder, "first line\nsecond \\q line\r\n", take, &bytes, &after,
                        &error));
    assert_int_equal(before, after);
    assert_int_equal(kt_buf_left(&bytes.buf), after);
    assert_memory_equal(kt_buf_ptr(&bytes.buf), "-- first line\n-- second \\q line\n--", 34);
    temp_file("script.sql", kt_buf_ptr(&bytes.buf), kt_buf_left(&bytes.buf), 0600);
    kt_buf_free(&bytes.buf);
}

// As an operator would: the raw status of psql, its words in `words`.
static int psql(const char *script, char words[4096])
{
    char program[KT_PATH_MAX], port[16];
    const char *argv[] = {program,  "-h", other.paths.run, "-p", port, "-U",
                          DB_OWNER, "-d", "keytrustee",    "-q", "-f", script,
                          NULL};
    struct kt_buf errors = KT_BUF_INIT(4000);
    struct kt_proc proc = {.argv = argv, .errors = &errors, .timeout_ms = MS};
    int status = -1;

    snprintf(port, sizeof(port), "%d",
             (int)kt_settings_number(other.settings, KT_SET_DATABASE_PORT));
    snprintf(program, sizeof(program), "%s/psql", db_cluster_bin(other.cluster));
    (void)!kt_proc_run(&proc, &status, &error);
    snprintf(words, 4096, "%.*s", (int)kt_buf_left(&errors), (const char *)kt_buf_ptr(&errors));
    kt_buf_free(&errors);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static PGconn *other_session(const char *database)
{
    struct db_target target;

    node_target(&other, database, &target);
    return owner_of(&target);
}

// A new, empty database in the other cluster.
static void empty_database(void)
{
    PGconn *conn = other_session("postgres");

    OK(db_pg_query(conn, MS, "DROP DATABASE IF EXISTS keytrustee WITH (FORCE)", 0, NULL, NULL,
                   &error));
    OK(db_pg_query(conn, MS, "CREATE DATABASE keytrustee TEMPLATE template0", 0, NULL, NULL,
                   &error));
    PQfinish(conn);
}

static void assert_restored(void)
{
    char before[16384], after[16384];
    PGconn *conn = other_session("keytrustee");

    fingerprint(source, before);
    fingerprint(conn, after);
    assert_string_equal(before, after);
    assert_string_equal(value(conn, "SELECT state FROM cluster"), "restored");
    assert_string_equal(value(conn, "SELECT has_database_privilege('public', current_database(),"
                                    " 'CONNECT')::text || has_database_privilege('kts_reader',"
                                    " current_database(), 'CONNECT')"),
                        "falsetrue");
    OK(db_pg_run(conn, MS,
                 "BEGIN; INSERT INTO change_log (changed_at, event, by_whom, detail)"
                 " VALUES (now(), 'e', 'x', '{}'); ROLLBACK;"
                 "SELECT setval('change_log_change_id_seq', max(change_id)) FROM change_log",
                 &error));
    PQfinish(conn);
}

static void assert_nothing_there(void)
{
    PGconn *conn = other_session("keytrustee");

    assert_string_equal(
        value(conn, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"),
        "0");
    PQfinish(conn);
}

static void a_folder_that_psql_cannot_name_is_refused(void **state)
{
    struct db_backup *backup = backup_of(&real);
    uint64_t n = 0;

    (void)state;
    assert_int_equal(db_backup_script(backup, "/a\nb", "", NULL, NULL, &n, &error), KT_ERR_INVALID);
    assert_int_equal(db_backup_script(backup, "a/b", "", NULL, NULL, &n, &error), KT_ERR_INVALID);
    db_backup_close(backup);
}

static void a_schema_file_that_was_edited_is_refused(void **state)
{
    struct db_backup *backup;
    uint64_t n = 0;

    (void)state;
    OK(db_pg_run(source, MS, "UPDATE schema_version SET sha256 = sha256('x') WHERE version = 2",
                 &error));
    backup = backup_of(&real);
    assert_int_equal(db_backup_script(backup, "/tmp", "", NULL, NULL, &n, &error), KT_ERR_INVALID);
    db_backup_close(backup);
    OK(db_pg_run(source, MS, "UPDATE schema_version SET version = 99 WHERE version = 2", &error));
    backup = backup_of(&real);
    assert_int_equal(db_backup_script(backup, "/tmp", "", NULL, NULL, &n, &error), KT_ERR_INVALID);
    db_backup_close(backup);
}

static void schema_rows_again(void)
{
    char text[256], *file = NULL, sha256[KT_SHA256_TEXT];

    OK(db_schema_text(KT_SOURCE_DIR "/db/schema", 2, &file, sha256, &error));
    free(file);
    snprintf(text, sizeof(text),
             "UPDATE schema_version SET version = 2, sha256 = '\\x%s' WHERE version = 99", sha256);
    OK(db_pg_run(source, MS, text, &error));
}

static void psql_restores_the_binary_form(void **state)
{
    struct db_backup *backup;
    char words[4096];

    (void)state;
    schema_rows_again();
    backup = backup_of(&real);
    write_rows(backup);
    write_script(backup, folder_of_rows());
    db_backup_close(backup);
    empty_database();
    if (psql(temp_path("script.sql"), words) != 0)
        fail_msg("%s", words);
    assert_string_equal(words, "");
    assert_restored();
}

static void the_servers_processes_come_in_with_the_old_secrets(void **state)
{
    PGconn *conn = other_session("postgres");
    char verifier[4096];

    (void)state;
    snprintf(verifier, sizeof(verifier), "%s",
             value(source, "SELECT string_agg(rolname || rolpassword, ' ' ORDER BY 1) FROM"
                           " pg_authid WHERE rolname LIKE 'kts\\_%' AND rolpassword IS NOT NULL"));
    assert_non_null(strstr(verifier, "kts_writerSCRAM-SHA-256$"));
    assert_string_equal(
        value(conn, "SELECT string_agg(rolname || rolpassword, ' ' ORDER BY 1) FROM"
                    " pg_authid WHERE rolname LIKE 'kts\\_%' AND rolpassword IS NOT NULL"),
        verifier);
    snprintf(verifier, sizeof(verifier), "%s",
             value(source, "SELECT string_agg(rolname || rolconnlimit || rolinherit ||"
                           " coalesce(rolconfig::text, ''), ' ' ORDER BY 1) FROM pg_roles WHERE"
                           " rolname LIKE 'kts\\_%'"));
    assert_string_equal(value(conn, "SELECT string_agg(rolname || rolconnlimit || rolinherit ||"
                                    " coalesce(rolconfig::text, ''), ' ' ORDER BY 1) FROM pg_roles"
                                    " WHERE rolname LIKE 'kts\\_%'"),
                        verifier);
    assert_string_equal(value(conn, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'kts-%'"),
                        "0");
    PQfinish(conn);
}

static void a_database_that_is_not_empty_is_refused(void **state)
{
    char words[4096];

    (void)state;
    assert_int_equal(psql(temp_path("script.sql"), words), 3);
    assert_non_null(strstr(words, "database \"keytrustee\" is not empty"));
    assert_non_null(strstr(words, "drop and create the database first"));
    assert_restored();
}

static void a_file_that_is_missing_stops_it_and_leaves_nothing(void **state)
{
    char words[4096];

    (void)state;
    empty_database();
    assert_int_equal(unlink(temp_path("it's rows.d/grants.bin")), 0);
    assert_int_equal(psql(temp_path("script.sql"), words), 3);
    assert_non_null(strstr(words, "grants.bin"));
    assert_nothing_there();
}

static void prepared_transactions_that_are_left_stop_it(void **state)
{
    PGconn *conn;
    char words[4096];

    (void)state;
    empty_database();
    conn = other_session("keytrustee");
    OK(db_pg_run(conn, MS,
                 "CREATE SCHEMA left_over; BEGIN; CREATE TABLE left_over.t ();"
                 " PREPARE TRANSACTION 'kt:left'",
                 &error));
    assert_int_equal(psql(temp_path("script.sql"), words), 3);
    assert_non_null(strstr(words, "prepared transactions are left in database \"keytrustee\""));
    assert_non_null(strstr(words, "ROLLBACK PREPARED"));
    assert_nothing_there();
    OK(db_pg_run(conn, MS, "ROLLBACK PREPARED 'kt:left'", &error));
    PQfinish(conn);
}

static void psql_restores_the_plain_form(void **state)
{
    struct db_backup *backup = backup_of(&real);
    char words[4096];

    (void)state;
    write_script(backup, NULL);
    db_backup_close(backup);
    empty_database();
    if (psql(temp_path("script.sql"), words) != 0)
        fail_msg("%s", words);
    assert_string_equal(words, "");
    assert_restored();
}

static int setup(void **state)
{
    char base[300];
    struct db_target target;
    int done;

    if (real_setup(state) != 0)
        return -1;
    node_target(&real, "keytrustee", &target);
    if (SAY(db_pg_connect(&target, MS, &source, &error)) != 0 ||
        SAY(db_pg_run(source, MS, ROWS, &error)) != 0)
        return -1;
    snprintf(base, sizeof(base), "%s/2", temp_dir);
    return mkdir(base, 0700) != 0 || real_folders_of(&other, base, "kts-02", NULL) != 0 ||
                   real_keys(&other, "kts-02.0a1b2c32", NULL) != 0 ||
                   real_promise(&other, 1, "kts-02", 0) != 0 ||
                   SAY(db_cluster_open(&other.paths, other.settings, &other.cluster, &error)) !=
                       0 ||
                   SAY(db_cluster_initdb(other.cluster, &done, &error)) != 0 ||
                   SAY(db_cluster_configure(other.cluster, &done, &error)) != 0
               ? -1
               : SAY(db_cluster_start(other.cluster, 60, &error));
}

static int teardown(void **state)
{
    PQfinish(source);
    if (other.cluster)
        (void)!db_cluster_stop(other.cluster, 60, &error);
    db_cluster_close(other.cluster);
    kt_settings_free(other.settings);
    return real_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_that_psql_cannot_name_is_refused),
        cmocka_unit_test(a_schema_file_that_was_edited_is_refused),
        cmocka_unit_test(psql_restores_the_binary_form),
        cmocka_unit_test(the_servers_processes_come_in_with_the_old_secrets),
        cmocka_unit_test(a_database_that_is_not_empty_is_refused),
        cmocka_unit_test(a_file_that_is_missing_stops_it_and_leaves_nothing),
        cmocka_unit_test(prepared_transactions_that_are_left_stop_it),
        cmocka_unit_test(psql_restores_the_plain_form),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
