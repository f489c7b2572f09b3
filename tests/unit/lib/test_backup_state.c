// SPDX-License-Identifier: Apache-2.0
// The state of backups: what was saved comes back, and damaged files are refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/backup_state.h"
#include "lib/file.h"
#include "tests/unit/lib/temp_dir.h"

static void must(int rc, const struct kt_error *error)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error->message);
}

static void fill(struct kt_backup_state *state)
{
    *state = (struct kt_backup_state){.made_us = 1795327903123456,
                                      .path = "/backup/kts_bak_a_2026-11-22_03-00-07.tar.gpg",
                                      .bytes = 2147614720,
                                      .deposits = 1200345,
                                      .sequence = 42,
                                      .log_index = INT64_MAX,
                                      .manifest_sha256 = {1, 2, 255},
                                      .is_proven = 1,
                                      .failed_us = 7,
                                      .failure = "the disk is full \"x\" \xc3\xa4",
                                      .verified_us = 8,
                                      .verified = "v",
                                      .verified_how = "keyless",
                                      .drilled_us = 9,
                                      .drilled = "d",
                                      .drill_passed = 1,
                                      .drill_log_index = 10,
                                      .proven_us = 11};
}

static void what_was_saved_comes_back(void **state)
{
    static struct kt_backup_state saved, loaded;
    struct kt_error error = {0};
    struct stat st;
    const char *path = temp_path("backup.json");

    (void)state;
    fill(&saved);
    must(kt_backup_state_save(path, &saved, &error), &error);
    must(kt_backup_state_load(path, &loaded, &error), &error);
    assert_memory_equal(&saved, &loaded, sizeof saved);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    memset(&saved, 0, sizeof saved); // nothing happened yet
    must(kt_backup_state_save(path, &saved, &error), &error);
    must(kt_backup_state_load(path, &loaded, &error), &error);
    assert_memory_equal(&saved, &loaded, sizeof saved);
}

static void a_missing_file_is_nothing_yet(void **state)
{
    static struct kt_backup_state loaded;
    static const struct kt_backup_state ZERO;
    struct kt_error error = {0};

    (void)state;
    memset(&loaded, 1, sizeof loaded);
    must(kt_backup_state_load(temp_path("none.json"), &loaded, &error), &error);
    assert_memory_equal(&loaded, &ZERO, sizeof loaded);
}

static void texts_that_are_no_utf8_are_kept_as_far_as_possible(void **state)
{
    static struct kt_backup_state saved, loaded;
    struct kt_error error = {0};
    const char *path = temp_path("backup.json");

    (void)state;
    fill(&saved);
    strcpy(saved.path, "/b/\xff\xfe.tar");
    memset(saved.failure, 'f', sizeof saved.failure); // without its end
    must(kt_backup_state_save(path, &saved, &error), &error);
    must(kt_backup_state_load(path, &loaded, &error), &error);
    assert_string_equal(loaded.path, "/b/?\?.tar");
    assert_int_equal(strlen(loaded.failure), sizeof loaded.failure - 1);
}

static void what_could_not_be_loaded_is_not_saved(void **state)
{
    static struct kt_backup_state saved;
    struct kt_error error = {0};

    (void)state;
    fill(&saved);
    saved.bytes = UINT64_MAX;
    assert_int_equal(kt_backup_state_save(temp_path("backup.json"), &saved, &error),
                     KT_ERR_INVALID);
    fill(&saved);
    saved.made_us = -1;
    assert_int_equal(kt_backup_state_save(temp_path("backup.json"), &saved, &error),
                     KT_ERR_INVALID);
    assert_false(kt_file_exists(temp_path("backup.json")));
    fill(&saved);
    assert_int_equal(kt_backup_state_save(temp_path("none/backup.json"), &saved, &error),
                     KT_ERR_SYSTEM);
}

static void damaged_files_are_refused(void **state)
{
    static const char *const CHANGES[][2] = {
        {"\"version\": 1", "\"version\": 2"},
        {"\"made_us\"", "\"other\""},
        {"\"bytes\": 2147614720", "\"bytes\": -1"},
        {"\"bytes\": 2147614720", "\"bytes\": \"2147614720\""},
        {"\"is_proven\": true", "\"is_proven\": 1"},
        {"\"verified_how\": \"keyless\"", "\"verified_how\": \"sixteen and more\""},
        {"\"verified_how\": \"keyless\"", "\"verified_how\": null"},
        {"\"manifest_sha256\": \"0102", "\"manifest_sha256\": \"01xx"},
        {"\"manifest_sha256\": \"0102", "\"manifest_sha256\": \"01"},
        {"{", "[{"},
        {"{", "{\"made_us\": 1, "},
        {"}", ""},
    };
    static struct kt_backup_state saved, loaded;
    struct kt_error error = {0};
    char *text = NULL, changed[8192];

    (void)state;
    fill(&saved);
    must(kt_backup_state_save(temp_path("backup.json"), &saved, &error), &error);
    must(kt_file_read_text(temp_path("backup.json"), 8192, &text, &error), &error);
    for (size_t i = 0; i < sizeof CHANGES / sizeof CHANGES[0]; i++) {
        char *at = strstr(text, CHANGES[i][0]);
        assert_non_null(at);
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, CHANGES[i][1],
                 at + strlen(CHANGES[i][0]));
        if (kt_backup_state_load(temp_text("bad.json", changed), &loaded, &error) != KT_ERR_INVALID)
            fail_msg("accepted: %s", CHANGES[i][1]);
    }
    assert_int_equal(kt_backup_state_load(temp_text("bad.json", ""), &loaded, &error),
                     KT_ERR_INVALID);
    assert_int_equal(loaded.made_us, 0);
    free(text);
}

static void its_place_is_the_nodes_folder(void **state)
{
    struct kt_paths paths;
    struct kt_error error = {0};
    char path[KT_PATH_MAX];

    (void)state;
    must(kt_paths_resolve("/srv/kt/.keytrustee", &paths, &error), &error);
    assert_int_equal(kt_backup_state_path(&paths, path), 0);
    assert_string_equal(path, "/srv/kt/node/backup.json");
    memset(paths.node, 'n', sizeof paths.node - 1);
    assert_int_equal(kt_backup_state_path(&paths, path), KT_ERR_TOO_LARGE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_was_saved_comes_back),
        CASE(a_missing_file_is_nothing_yet),
        CASE(texts_that_are_no_utf8_are_kept_as_far_as_possible),
        CASE(what_could_not_be_loaded_is_not_saved),
        CASE(damaged_files_are_refused),
        CASE(its_place_is_the_nodes_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
