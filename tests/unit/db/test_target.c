// SPDX-License-Identifier: Apache-2.0
// The secrets of the database roles, and the way in that they give.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/db/real_cluster.h"

static int setup(void **state)
{
    (void)state;
    return real_folders();
}

static int teardown(void **state)
{
    kt_settings_free(real.settings);
    return temp_dir_teardown(state);
}

static void every_role_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(db_role_name(DB_ROLE_READER), "kts_reader");
    assert_string_equal(db_role_name(DB_ROLE_WRITER), "kts_writer");
    assert_string_equal(db_role_name(DB_ROLE_AGENT), "kts_agent");
    assert_null(db_role_name(DB_ROLE_COUNT));
}

static void a_secret_is_made_once_and_for_the_owner_only(void **state)
{
    struct kt_secret *first = NULL, *second = NULL;
    struct db_target target;
    struct stat st;
    int done = 1;

    (void)state;
    assert_int_equal(db_secret_make(&real.paths, DB_ROLE_READER, &done, NULL), 0);
    assert_int_equal(done, 0);
    assert_int_equal(stat(temp_path(".keytrustee/secrets/kts_reader"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(
        db_target_load(&real.paths, real.settings, DB_ROLE_READER, &target, &first, NULL), 0);
    assert_int_equal(strlen(kt_secret_text(first)), 64);
    assert_int_equal(db_secret_make(&real.paths, DB_ROLE_READER, &done, NULL), 0);
    assert_int_equal(done, 1);
    assert_int_equal(
        db_target_load(&real.paths, real.settings, DB_ROLE_READER, &target, &second, NULL), 0);
    assert_string_equal(kt_secret_text(first), kt_secret_text(second));
    kt_secret_free(first);
    kt_secret_free(second);
}

static void the_target_names_socket_database_and_role(void **state)
{
    struct kt_secret *secret = NULL;
    struct db_target target;
    int done;

    (void)state;
    assert_int_equal(db_secret_make(&real.paths, DB_ROLE_WRITER, &done, NULL), 0);
    assert_int_equal(
        db_target_load(&real.paths, real.settings, DB_ROLE_WRITER, &target, &secret, NULL), 0);
    assert_string_equal(target.socket_dir, real.paths.run);
    assert_int_equal(target.port, kt_settings_number(real.settings, KT_SET_DATABASE_PORT));
    assert_string_equal(target.database, "keytrustee");
    assert_string_equal(target.user, "kts_writer");
    assert_ptr_equal(target.password, kt_secret_text(secret));
    kt_secret_free(secret);
}

static void a_missing_secret_says_that_init_is_needed(void **state)
{
    struct kt_secret *secret = NULL;
    struct kt_error error = {0};
    struct db_target target;

    (void)state;
    assert_int_equal(
        db_target_load(&real.paths, real.settings, DB_ROLE_AGENT, &target, &secret, &error),
        KT_ERR_NOT_INITIALISED);
    assert_non_null(strstr(error.hint, "init"));
}

static void a_secret_that_others_can_read_is_refused(void **state)
{
    struct kt_secret *secret = NULL;
    struct db_target target;
    int done;

    (void)state;
    assert_int_equal(db_secret_make(&real.paths, DB_ROLE_AGENT, &done, NULL), 0);
    assert_int_equal(chmod(temp_path(".keytrustee/secrets/kts_agent"), 0640), 0);
    assert_int_equal(
        db_target_load(&real.paths, real.settings, DB_ROLE_AGENT, &target, &secret, NULL),
        KT_ERR_PERMISSION);
}

static void a_secret_of_another_length_is_refused(void **state)
{
    struct kt_secret *secret = NULL;
    struct db_target target;

    (void)state;
    temp_text(".keytrustee/secrets/kts_agent", "short");
    assert_int_equal(
        db_target_load(&real.paths, real.settings, DB_ROLE_AGENT, &target, &secret, NULL),
        KT_ERR_INVALID);
}

static void a_role_that_does_not_exist_is_refused(void **state)
{
    int done;

    (void)state;
    assert_int_equal(db_secret_make(&real.paths, DB_ROLE_COUNT, &done, NULL), KT_ERR_INVALID);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(every_role_has_a_name),
        CASE(a_secret_is_made_once_and_for_the_owner_only),
        CASE(the_target_names_socket_database_and_role),
        CASE(a_missing_secret_says_that_init_is_needed),
        CASE(a_secret_that_others_can_read_is_refused),
        CASE(a_secret_of_another_length_is_refused),
        CASE(a_role_that_does_not_exist_is_refused),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
