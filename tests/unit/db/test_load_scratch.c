// SPDX-License-Identifier: Apache-2.0
// A PostgreSQL that lives as long as a check: made, removed, and ended with its maker.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>

#include "db/load.h"
#include "tests/unit/db/real_cluster.h"

#include "tests/unit/db/backup_rows.h"

// How many folders of scratches have this in them ("": how many there are).
static size_t scratches(const char *above, const char *name)
{
    char pattern[600];
    glob_t found = {0};
    size_t count;

    snprintf(pattern, sizeof(pattern), "%s/kts-scratch-*%s", above, name);
    count = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return count;
}

static void a_scratch_leaves_nothing_behind(void **state)
{
    char above[400];
    struct db_scratch *one = NULL;
    struct db_load *load = NULL;

    (void)state;
    // longer than a socket's path may be, and with what a list would break at
    snprintf(above, sizeof(above), "%s/a, \"%0100d", temp_dir, 0);
    assert_int_equal(mkdir(above, 0700), 0);
    OK(db_scratch_new(above, NULL, &one, &error));
    OK(db_load_scratch(one, 1, &load, &error)); // that of an older program
    db_load_free(load);
    assert_int_equal(scratches(above, "/data/postmaster.pid"), 1);
    db_scratch_free(one);
    assert_int_equal(rmdir(above), 0);
    db_scratch_free(NULL);
    db_load_free(NULL);
}

static void a_scratch_ends_with_the_process_that_made_it(void **state)
{
    static const char RUNNING[] = "/data/postmaster.pid";
    struct db_scratch *next = NULL, *other = NULL;
    char above[300];
    int status = 0;
    pid_t child;

    (void)state;
    snprintf(above, sizeof(above), "%s/orphan", temp_dir);
    assert_int_equal(mkdir(above, 0700), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct db_scratch *one = NULL;
        _exit(db_scratch_new(above, NULL, &one, &error) == 0 && scratches(above, RUNNING) == 1 ? 0
                                                                                               : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (int64_t until = kt_monotonic_now() + 20000000; scratches(above, RUNNING) > 0;)
        assert_true(kt_monotonic_now() < until);
    assert_int_equal(scratches(above, ""), 1); // with the rows of a backup in it
    OK(db_scratch_new(above, NULL, &next, &error));
    assert_int_equal(scratches(above, ""), 1);
    OK(db_scratch_new(above, NULL, &other, &error)); // beside one in use
    assert_int_equal(scratches(above, RUNNING), 2);
    db_scratch_free(other);
    db_scratch_free(next);
    assert_int_equal(scratches(above, ""), 0);
}

static void a_scratch_that_cannot_be_made_says_why(void **state)
{
    struct db_scratch *one = NULL;

    (void)state;
    assert_int_equal(db_scratch_new(temp_path("missing"), NULL, &one, &error), KT_ERR_SYSTEM);
    assert_int_equal(db_scratch_new(temp_dir, temp_dir, &one, &error), KT_ERR_NOT_FOUND);
    assert_null(one);
}

static int setup(void **state)
{
    setenv("KEYTRUSTEE_SCHEMA_DIR", KT_SOURCE_DIR "/db/schema", 1);
    return become_ordinary() != 0 ? -1 : temp_dir_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scratch_leaves_nothing_behind),
        cmocka_unit_test(a_scratch_ends_with_the_process_that_made_it),
        cmocka_unit_test(a_scratch_that_cannot_be_made_says_why),
    };

    return cmocka_run_group_tests(tests, setup, temp_dir_teardown);
}
