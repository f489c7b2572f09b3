// SPDX-License-Identifier: Apache-2.0
// Finding PostgreSQL, its release, and whose a data directory is.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>

#include "tests/unit/db/real_cluster.h"

static int setup(void **state)
{
    (void)state;
    return real_folders();
}

static int teardown(void **state)
{
    db_cluster_close(real.cluster);
    kt_settings_free(real.settings);
    return temp_dir_teardown(state);
}

// A folder with programs that only know --version.
static const char *fake_programs(const char *line)
{
    static char folder[300];
    char script[200], name[32];
    static const char *const NAMES[] = {"initdb",        "pg_ctl",    "postgres",
                                        "pg_basebackup", "pg_rewind", "pg_controldata"};

    snprintf(folder, sizeof(folder), "%s/bin", temp_dir);
    if (mkdir(folder, 0700) != 0)
        assert_true(kt_file_exists(folder));
    snprintf(script, sizeof(script), "#!/bin/sh\necho '%s'\n", line);
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        snprintf(name, sizeof(name), "bin/%s", NAMES[i]);
        temp_file(name, script, strlen(script), 0700);
    }
    return folder;
}

static int open_with(const char *folder, struct kt_error *error)
{
    assert_int_equal(kt_settings_set(real.settings, KT_SET_DATABASE_BIN_DIRECTORY, folder, NULL),
                     0);
    return db_cluster_open(&real.paths, real.settings, &real.cluster, error);
}

static void a_text_begins_with_a_number_or_it_is_none(void **state)
{
    static const char *const NONE[] = {"",  "x15", " 15",        "-15",
                                       "0", "015", "2147483648", "99999999999999999999"};

    (void)state;
    assert_int_equal(db_leading_number("15\n"), 15);
    assert_int_equal(db_leading_number("9.6/bin"), 9);
    assert_int_equal(db_leading_number("2147483647"), INT_MAX);
    for (size_t i = 0; i < sizeof(NONE) / sizeof(NONE[0]); i++)
        assert_int_equal(db_leading_number(NONE[i]), 0);
}

static void releases_without_the_start_up_race_are_taken(void **state)
{
    static const char *const GOOD[] = {"postgres (PostgreSQL) 15.13", "postgres (PostgreSQL) 16.9",
                                       "postgres (PostgreSQL) 17.5", "postgres (PostgreSQL) 18.0",
                                       "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"};
    int major, minor;

    (void)state;
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++)
        assert_int_equal(db_version_check(GOOD[i], &major, &minor, NULL), 0);
    assert_int_equal(major, 15);
    assert_int_equal(minor, 18);
}

static void older_releases_are_refused_with_the_release_that_is_needed(void **state)
{
    static const char *const OLD[] = {"postgres (PostgreSQL) 15.12", "postgres (PostgreSQL) 16.8",
                                      "postgres (PostgreSQL) 17.4", "postgres (PostgreSQL) 14.22",
                                      "postgres (PostgreSQL) 9.6"};
    int major, minor;

    (void)state;
    for (size_t i = 0; i < sizeof(OLD) / sizeof(OLD[0]); i++) {
        struct kt_error error = {0};
        assert_int_equal(db_version_check(OLD[i], &major, &minor, &error), KT_ERR_UNSAFE_SETTINGS);
        assert_non_null(strstr(error.hint, "15.13"));
    }
}

static void what_is_no_release_is_refused(void **state)
{
    static const char *const BAD[] = {"",
                                      "postgres (PostgreSQL) ",
                                      "postgres (PostgreSQL) 18beta1",
                                      "postgres (PostgreSQL) 15",
                                      "postgres 15.18",
                                      "hello"};
    int major, minor;

    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
        assert_int_equal(db_version_check(BAD[i], &major, &minor, NULL), KT_ERR_INVALID);
}

static void the_folder_of_the_settings_is_used(void **state)
{
    const char *folder = fake_programs("postgres (PostgreSQL) 16.9");

    (void)state;
    assert_int_equal(open_with(folder, NULL), 0);
    assert_string_equal(db_cluster_bin(real.cluster), folder);
    assert_string_equal(db_cluster_dir(real.cluster), real.paths.db);
}

static void an_old_release_in_the_folder_of_the_settings_is_refused(void **state)
{
    (void)state;
    assert_int_equal(open_with(fake_programs("postgres (PostgreSQL) 16.8"), NULL),
                     KT_ERR_UNSAFE_SETTINGS);
}

static void a_folder_without_the_programs_is_refused(void **state)
{
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(open_with(temp_dir, &error), KT_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "initdb"));
}

static void the_release_must_be_that_of_the_data_directory(void **state)
{
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(mkdir(real.paths.db, 0700), 0);
    temp_text("db/PG_VERSION", "15\n");
    assert_int_equal(open_with(fake_programs("postgres (PostgreSQL) 16.9"), &error),
                     KT_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "PostgreSQL 15"));
}

static void a_program_that_hangs_up_or_fails_is_an_error(void **state)
{
    const char *folder = fake_programs("x");

    (void)state;
    temp_file("bin/postgres", "#!/bin/sh\nexit 3\n", 17, 0700);
    assert_int_equal(open_with(folder, NULL), KT_ERR_CHILD);
    temp_file("bin/postgres", "#!/bin/sh\nexit 0\n", 17, 0700);
    assert_int_equal(open_with(folder, NULL), KT_ERR_INVALID);
}

static void the_first_good_folder_of_the_path_is_found(void **state)
{
    const char *folder = fake_programs("postgres (PostgreSQL) 17.5");
    char path[700], *before = strdup(getenv("PATH"));

    (void)state;
    snprintf(path, sizeof(path), "relative:%s:/usr/bin:/bin", folder);
    setenv("PATH", path, 1);
    assert_int_equal(db_cluster_open(&real.paths, real.settings, &real.cluster, NULL), 0);
    assert_string_equal(db_cluster_bin(real.cluster), folder);
    setenv("PATH", before, 1);
    free(before);
}

static void missing_and_empty_data_directories_are_free(void **state)
{
    int exists = 1;

    (void)state;
    assert_int_equal(open_with(fake_programs("postgres (PostgreSQL) 17.5"), NULL), 0);
    assert_int_equal(db_cluster_look(real.cluster, &exists, NULL), 0);
    assert_int_equal(exists, 0);
    assert_int_equal(mkdir(real.paths.db, 0700), 0);
    exists = 1;
    assert_int_equal(db_cluster_look(real.cluster, &exists, NULL), 0);
    assert_int_equal(exists, 0);
}

static void a_postgresql_of_somebody_else_is_refused_and_said(void **state)
{
    struct kt_error error = {0};
    int exists, done;

    (void)state;
    assert_int_equal(mkdir(real.paths.db, 0700), 0);
    temp_text("db/PG_VERSION", "17\n");
    assert_int_equal(open_with(fake_programs("postgres (PostgreSQL) 17.5"), NULL), 0);
    assert_int_equal(db_cluster_look(real.cluster, &exists, &error), KT_ERR_NOT_OURS);
    assert_non_null(strstr(error.message, "PostgreSQL 17"));
    assert_int_equal(db_cluster_initdb(real.cluster, &done, NULL), KT_ERR_NOT_OURS);
    assert_int_equal(db_cluster_start(real.cluster, 1, NULL), KT_ERR_NOT_OURS);
    assert_int_equal(db_cluster_exec(real.cluster, NULL), KT_ERR_NOT_OURS);
    assert_int_equal(db_cluster_configure(real.cluster, &done, NULL), KT_ERR_NOT_OURS);
    assert_true(kt_file_exists(temp_path("db/PG_VERSION")));
}

static void a_folder_with_other_things_is_refused(void **state)
{
    int exists;

    (void)state;
    assert_int_equal(mkdir(real.paths.db, 0700), 0);
    temp_text("db/lost+found", "");
    assert_int_equal(open_with(fake_programs("postgres (PostgreSQL) 17.5"), NULL), 0);
    assert_int_equal(db_cluster_look(real.cluster, &exists, NULL), KT_ERR_NOT_OURS);
}

static void a_file_in_the_place_of_the_data_directory_is_refused(void **state)
{
    int exists;

    (void)state;
    temp_text("db", "");
    assert_int_equal(open_with(fake_programs("postgres (PostgreSQL) 17.5"), NULL), 0);
    assert_int_equal(db_cluster_look(real.cluster, &exists, NULL), KT_ERR_NOT_OURS);
}

static void a_data_directory_of_another_cluster_is_refused(void **state)
{
    struct db_mark mark = {.populated = 1};
    int exists;

    (void)state;
    assert_int_equal(mkdir(real.paths.db, 0700), 0);
    assert_int_equal(kt_uuid_random(&mark.cluster_id), 0);
    assert_int_equal(db_mark_save(real.paths.db, &mark, NULL), 0);
    assert_int_equal(open_with(fake_programs("postgres (PostgreSQL) 17.5"), NULL), 0);
    assert_int_equal(db_cluster_look(real.cluster, &exists, NULL), KT_ERR_NOT_OURS);
    assert_int_equal(db_cluster_is_populated(real.cluster), 0);
    mark.cluster_id = real.info.cluster_id;
    assert_int_equal(db_mark_save(real.paths.db, &mark, NULL), 0);
    assert_int_equal(db_cluster_look(real.cluster, &exists, NULL), 0);
    assert_int_equal(exists, 1);
    assert_int_equal(db_cluster_is_populated(real.cluster), 1);
    assert_int_equal(unlink(real.paths.cluster), 0); // a confdir without identity owns nothing
    assert_int_equal(db_cluster_look(real.cluster, &exists, NULL), KT_ERR_NOT_OURS);
}

static void a_mark_that_cannot_be_read_is_not_ours(void **state)
{
    struct db_mark mark;

    (void)state;
    assert_int_equal(db_mark_load(temp_dir, &mark, NULL), KT_ERR_NOT_FOUND);
    temp_text("keytrustee.json", "{\"format\": 2, \"cluster_id\": \"x\"}");
    assert_int_equal(db_mark_load(temp_dir, &mark, NULL), KT_ERR_NOT_OURS);
    temp_text("keytrustee.json", "");
    assert_int_equal(db_mark_load(temp_dir, &mark, NULL), KT_ERR_NOT_OURS);
}

static void a_partial_folder_that_init_did_not_make_stays(void **state)
{
    int done;

    (void)state;
    assert_int_equal(mkdir(temp_path("db.partial"), 0700), 0);
    temp_text("db.partial/mine", "");
    assert_int_equal(open_with(fake_programs("postgres (PostgreSQL) 17.5"), NULL), 0);
    assert_int_equal(db_cluster_initdb(real.cluster, &done, NULL), KT_ERR_NOT_OURS);
    assert_true(kt_file_exists(temp_path("db.partial/mine")));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(a_text_begins_with_a_number_or_it_is_none),
        CASE(releases_without_the_start_up_race_are_taken),
        CASE(older_releases_are_refused_with_the_release_that_is_needed),
        CASE(what_is_no_release_is_refused),
        CASE(the_folder_of_the_settings_is_used),
        CASE(an_old_release_in_the_folder_of_the_settings_is_refused),
        CASE(a_folder_without_the_programs_is_refused),
        CASE(the_release_must_be_that_of_the_data_directory),
        CASE(a_program_that_hangs_up_or_fails_is_an_error),
        CASE(the_first_good_folder_of_the_path_is_found),
        CASE(missing_and_empty_data_directories_are_free),
        CASE(a_postgresql_of_somebody_else_is_refused_and_said),
        CASE(a_folder_with_other_things_is_refused),
        CASE(a_file_in_the_place_of_the_data_directory_is_refused),
        CASE(a_data_directory_of_another_cluster_is_refused),
        CASE(a_mark_that_cannot_be_read_is_not_ours),
        CASE(a_partial_folder_that_init_did_not_make_stays),
    };

    if (become_ordinary() != 0)
        return 1;
    return cmocka_run_group_tests(cases, NULL, NULL);
}
