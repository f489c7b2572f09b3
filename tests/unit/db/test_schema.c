// SPDX-License-Identifier: Apache-2.0
// Schema files: where they are, applied once, never edited.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/version.h"
#include "tests/unit/db/real_cluster.h"

#define MS     20000
#define SCHEMA KT_SOURCE_DIR "/db/schema"

// A database of its own for a case, with the roles of the shared cluster.
static struct db_target scratch(const char *name)
{
    struct db_target target;
    char sql[128];
    PGconn *conn = NULL;

    db_target_owner(&real.paths, real.settings, "postgres", &target);
    assert_int_equal(db_pg_connect(&target, MS, &conn, NULL), 0);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    assert_int_equal(db_pg_run(conn, MS, sql, NULL), 0);
    PQfinish(conn);
    target.database = name;
    return target;
}

static void run(const struct db_target *target, const char *sql)
{
    PGconn *conn = NULL;

    assert_int_equal(db_pg_connect(target, MS, &conn, NULL), 0);
    assert_int_equal(db_pg_run(conn, MS, sql, NULL), 0);
    PQfinish(conn);
}

// A copy of the schema folder with one file of the given text.
static const char *folder_with(const char *name, const char *file, const char *text)
{
    static char folder[300];
    char path[100];

    snprintf(folder, sizeof(folder), "%s/%s", temp_dir, name);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/%s", name, file);
    temp_text(path, text);
    return folder;
}

static void the_folder_is_taken_from_the_variable_when_it_is_right(void **state)
{
    char dir[KT_PATH_MAX];

    (void)state;
    assert_int_equal(db_schema_dir(dir, sizeof(dir), NULL), 0);
    assert_string_equal(dir, SCHEMA);
    setenv("KEYTRUSTEE_SCHEMA_DIR", temp_dir, 1);
    assert_int_equal(db_schema_dir(dir, sizeof(dir), NULL), KT_ERR_NOT_FOUND);
    setenv("KEYTRUSTEE_SCHEMA_DIR", "db/schema", 1);
    assert_int_equal(db_schema_dir(dir, sizeof(dir), NULL), KT_ERR_NOT_FOUND);
    setenv("KEYTRUSTEE_SCHEMA_DIR", SCHEMA, 1);
}

static void all_files_are_applied_once(void **state)
{
    struct db_target target = scratch("once");
    int applied = 0;

    (void)state;
    assert_int_equal(db_schema_apply(&target, SCHEMA, &applied, NULL), 0);
    assert_int_equal(applied, KT_SCHEMA_VERSION);
    assert_int_equal(db_schema_apply(&target, SCHEMA, &applied, NULL), 0);
    assert_int_equal(applied, 0);
}

static void an_applied_file_that_was_edited_is_refused(void **state)
{
    struct db_target target = scratch("edited");
    struct kt_error error = {0};
    int applied;

    (void)state;
    assert_int_equal(db_schema_apply(&target, SCHEMA, &applied, NULL), 0);
    assert_int_equal(db_schema_apply(&target, folder_with("edited", "001_initial.sql", "SELECT 1;"),
                                     &applied, &error),
                     KT_ERR_INVALID);
    assert_non_null(strstr(error.message, "001_initial.sql"));
}

static void a_newer_schema_is_refused(void **state)
{
    struct db_target target = scratch("newer");
    struct kt_error error = {0};
    int applied;

    (void)state;
    assert_int_equal(db_schema_apply(&target, SCHEMA, &applied, NULL), 0);
    run(&target, "INSERT INTO schema_version (version, file, sha256) VALUES (999, 'x', '')");
    assert_int_equal(db_schema_apply(&target, SCHEMA, &applied, &error), KT_ERR_INVALID);
    assert_non_null(strstr(error.message, "999"));
}

static void a_file_that_fails_leaves_nothing_behind(void **state)
{
    struct db_target target = scratch("fails");
    struct kt_error error = {0};
    int applied = 0;

    (void)state;
    assert_int_equal(
        db_schema_apply(&target,
                        folder_with("fails", "001_initial.sql",
                                    "CREATE TABLE schema_version (version int); SELECT 1/0;"),
                        &applied, &error),
        KT_ERR_DATABASE);
    assert_non_null(strstr(error.message, "001_initial.sql"));
    assert_int_equal(db_schema_apply(&target, SCHEMA, &applied, NULL), 0);
    assert_int_equal(applied, KT_SCHEMA_VERSION);
}

static void a_file_that_ends_the_transaction_is_refused(void **state)
{
    struct db_target target = scratch("commits");
    struct kt_error error = {0};
    int applied;

    (void)state;
    assert_int_equal(db_schema_apply(&target, folder_with("commits", "001_initial.sql", "COMMIT;"),
                                     &applied, &error),
                     KT_ERR_INVALID);
}

static void missing_and_double_files_are_refused(void **state)
{
    struct db_target target = scratch("files");
    const char *folder;
    int applied;

    (void)state;
    folder = folder_with("files", "002_later.sql", "SELECT 1;");
    assert_int_equal(db_schema_apply(&target, folder, &applied, NULL), KT_ERR_NOT_FOUND);
    temp_text("files/001_a.sql", "SELECT 1;");
    temp_text("files/001_b.sql", "SELECT 1;");
    assert_int_equal(db_schema_apply(&target, folder, &applied, NULL), KT_ERR_INVALID);
    assert_int_equal(db_schema_apply(&target, "/nonexistent", &applied, NULL), KT_ERR_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(the_folder_is_taken_from_the_variable_when_it_is_right),
        cmocka_unit_test(all_files_are_applied_once),
        cmocka_unit_test(an_applied_file_that_was_edited_is_refused),
        cmocka_unit_test(a_newer_schema_is_refused),
        cmocka_unit_test(a_file_that_fails_leaves_nothing_behind),
        cmocka_unit_test(a_file_that_ends_the_transaction_is_refused),
        cmocka_unit_test(missing_and_double_files_are_refused),
    };

    return cmocka_run_group_tests(cases, real_setup, real_teardown);
}
