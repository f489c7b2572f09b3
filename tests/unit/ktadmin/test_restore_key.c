// SPDX-License-Identifier: Apache-2.0
// Which of the cluster's keys a restored cluster signs with, and what its database is to list.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include <jansson.h>

#include "ktadmin/restore.h"
#include "lib/file.h"
#include "tests/unit/lib/key_lines.h"
#include "tests/unit/lib/temp_dir.h"

static struct kt_cli_run quiet;
static struct kta_restore *restore;
static struct lines lines;
static struct kt_error error;

static void must(int rc)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error.message);
}

// The confdir of a node with the newest key but `back`, and the statements up to it.
static void has_key(size_t back)
{
    const char *const both[] = {lines.statements[0], back ? NULL : lines.statements[1]};
    char *text = line_text(both, 2);

    memcpy(restore->init.info.openpgp_fingerprint, lines.keys[2 - back], 41);
    must(kt_cluster_info_save(restore->init.paths.cluster, &restore->init.info, &error));
    must(kt_key_line_save(&restore->init.paths, text, &error));
    free(text);
}

static int set_up(void **state)
{
    struct kta_init *init;

    if (temp_dir_setup(state) != 0)
        return -1;
    restore = calloc(1, sizeof(*restore));
    assert_non_null(restore);
    restore->init.run = &quiet;
    init = &restore->init;
    must(kt_paths_resolve(temp_path(".keytrustee"), &init->paths, &error));
    assert_int_equal(mkdir(init->paths.confdir, 0700), 0);
    must(kt_uuid_random(&init->info.cluster_id));
    memcpy(init->info.node, "kts-01", 7);
    must(lines_make(&lines, init->paths.gnupg, &init->info.cluster_id, &error));
    return 0;
}

static int tear_down(void **state)
{
    free(restore->key_rows);
    free(restore);
    lines_free(&lines);
    return temp_dir_teardown(state);
}

static void lists(const char *key)
{
    memcpy(restore->facts.cluster_key, key, strlen(key) + 1);
}

// "number:fingerprint" of all rows.
static void assert_rows(size_t count)
{
    json_t *rows = json_loads(restore->key_rows ? restore->key_rows : "[]", 0, NULL);

    assert_int_equal(json_array_size(rows), count);
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(rows, i);
        assert_int_equal(json_integer_value(json_object_get(row, "number")), i + 1);
        assert_string_equal(json_string_value(json_object_get(row, "fingerprint")),
                            lines.keys[i + 1]);
        assert_string_equal(json_string_value(json_object_get(row, "before")), lines.keys[i]);
        assert_string_equal(json_string_value(json_object_get(row, "statement")),
                            lines.statements[i]);
    }
    json_decref(rows);
}

static void a_database_of_before_a_rotation_lists_it_again(void **state)
{
    (void)state;
    has_key(0);
    lists(lines.keys[1]);
    must(kta_restore_key_choose(restore, &error));
    assert_string_equal(restore->init.info.openpgp_fingerprint, lines.keys[2]);
    assert_rows(2);
    must(kta_restore_key_use(restore, &error)); // it is in use
}

static void a_database_of_before_all_rotations_lists_them_again(void **state)
{
    (void)state;
    has_key(0);
    lists("");
    must(kta_restore_key_choose(restore, &error));
    assert_rows(2);
}

static void save_next(char *statement, const char *key)
{
    struct kt_cluster_key_next next = {.statement = statement};

    memcpy(next.fingerprint, key, sizeof(next.fingerprint));
    memcpy(next.keygrip, key, sizeof(next.keygrip));
    must(kt_cluster_key_next_save(&restore->init.paths, &next, &error));
}

static void a_newer_key_that_is_listed_is_used_when_it_is_here(void **state)
{
    struct kt_cluster_info there;

    (void)state;
    has_key(1);
    lists(lines.keys[2]);
    save_next(lines.statements[1], lines.keys[2]);
    must(kta_restore_key_choose(restore, &error));
    assert_string_equal(restore->init.info.openpgp_fingerprint, lines.keys[2]);
    must(kt_cluster_info_load(restore->init.paths.cluster, &there, &error));
    assert_string_equal(there.openpgp_fingerprint, lines.keys[1]); // not before the commit
    must(kta_restore_key_use(restore, &error));
    must(kt_cluster_info_load(restore->init.paths.cluster, &there, &error));
    assert_string_equal(there.openpgp_fingerprint, lines.keys[2]);
}

static void assert_refused(void)
{
    assert_int_equal(kta_restore_key_choose(restore, &error), KT_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, lines.keys[1]));
    assert_string_not_equal(error.hint, "");
    assert_string_equal(restore->init.info.openpgp_fingerprint, lines.keys[1]);
}

static void a_newer_key_that_is_not_here_refuses_the_restore(void **state)
{
    char *false_one;

    (void)state;
    has_key(1);
    lists(lines.keys[2]);
    assert_refused();
    save_next(NULL, lines.keys[2]); // nobody named it
    assert_refused();
    lists(lines.other);
    save_next(lines.statements[1], lines.other);
    assert_refused();
    false_one = line_statement(&lines, lines.statements[0], 2, lines.keys[0], lines.other);
    save_next(false_one, lines.other); // not the one in use
    assert_refused();
    free(false_one);
}

static void an_older_statement_is_believed_by_the_line_only(void **state)
{
    (void)state;
    has_key(0);
    must(kta_restore_had_key(restore, lines.keys[0], &error));
    assert_int_equal(kta_restore_had_key(restore, lines.other, &error), KT_ERR_SIGNATURE);
}

static void the_operators_older_key_leads_to_the_backups(void **state)
{
    const char *const both[] = {lines.statements[0], lines.statements[1]};
    struct kta_kept *kept = &restore->kept[KTA_KEPT_KEY_LINE];

    (void)state;
    has_key(0);
    assert_int_equal(kta_restore_key_leads(restore, lines.keys[0], &error), KT_ERR_SIGNATURE);
    kept->text = line_text(both, 2);
    kept->n = strlen(kept->text);
    must(kta_restore_key_leads(restore, lines.keys[0], &error));
    must(kta_restore_key_leads(restore, lines.keys[1], &error));
    assert_int_equal(kta_restore_key_leads(restore, lines.other, &error), KT_ERR_SIGNATURE);
    memcpy(restore->init.info.openpgp_fingerprint, lines.keys[1], 41); // there is no way back
    assert_int_equal(kta_restore_key_leads(restore, lines.keys[2], &error), KT_ERR_SIGNATURE);
    kta_restore_forget(restore);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(a_database_of_before_a_rotation_lists_it_again),
        CASE(a_database_of_before_all_rotations_lists_them_again),
        CASE(a_newer_key_that_is_listed_is_used_when_it_is_here),
        CASE(a_newer_key_that_is_not_here_refuses_the_restore),
        CASE(an_older_statement_is_believed_by_the_line_only),
        CASE(the_operators_older_key_leads_to_the_backups),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
