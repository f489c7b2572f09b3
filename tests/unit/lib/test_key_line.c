// SPDX-License-Identifier: Apache-2.0
// Which keys a line of statements vouches for, and that nothing else in a keyring counts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>

#include <jansson.h>

#include "lib/backup_file.h"
#include "lib/file.h"
#include "tests/unit/lib/key_lines.h"
#include "tests/unit/lib/temp_dir.h"

static struct kt_paths paths;
static struct lines lines;
static struct kt_key_line line;
static struct kt_error error;

static void must(int rc)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error.message);
}

static int set_up(void **state)
{
    struct kt_uuid cluster_id;

    if (temp_dir_setup(state) != 0)
        return -1;
    must(kt_paths_resolve(temp_path(".keytrustee"), &paths, &error));
    assert_int_equal(mkdir(paths.confdir, 0700), 0);
    must(kt_uuid_random(&cluster_id));
    must(lines_make(&lines, paths.gnupg, &cluster_id, &error));
    return 0;
}

static int tear_down(void **state)
{
    lines_free(&lines);
    return temp_dir_teardown(state);
}

static int parse(const char *const *statements, size_t count, const char *key)
{
    char *text = line_text(statements, count);
    int rc = kt_key_line_parse(text, strlen(text), &lines.cluster_id, key, &line, &error);

    free(text);
    return rc;
}

static void a_line_is_read_back_from_the_key_that_is_trusted(void **state)
{
    const char *const shuffled[] = {lines.statements[1], "rubbish", lines.statements[0]};

    (void)state;
    must(parse(shuffled, 3, lines.keys[2]));
    assert_int_equal(line.count, 2);
    assert_string_equal(line.links[0].text, lines.statements[0]);
    assert_true(kt_key_line_has(&line, lines.keys[0]));
    assert_true(kt_key_line_has(&line, lines.keys[1]));
    assert_false(kt_key_line_has(&line, lines.keys[2])); // it is trusted by itself
    assert_false(kt_key_line_has(&line, lines.other));
    kt_key_line_free(&line);
    must(parse(shuffled, 3, lines.keys[1])); // what came after it says nothing
    assert_int_equal(line.count, 1);
    assert_false(kt_key_line_has(&line, lines.keys[2]));
    kt_key_line_free(&line);
    must(parse(shuffled, 3, lines.keys[0])); // the first
    assert_int_equal(line.count, 0);
}

static void a_line_with_a_gap_is_refused(void **state)
{
    const char *const last[] = {lines.statements[1]};

    (void)state;
    assert_int_equal(parse(last, 1, lines.keys[2]), KT_ERR_SIGNATURE);
    assert_int_equal(line.count, 0);
}

// Who writes the file, but has not the newest key, puts no key in.
static void a_key_that_the_trusted_one_did_not_accept_is_none_of_the_line(void **state)
{
    char *false_one = line_statement(&lines, NULL, 1, lines.other, lines.keys[1]), *changed, *at;
    const char *const instead[] = {false_one, lines.statements[1]};
    const char *const beside[] = {false_one, lines.statements[0], lines.statements[1]};

    (void)state;
    assert_non_null(false_one);
    assert_int_equal(parse(instead, 2, lines.keys[2]), KT_ERR_SIGNATURE);
    must(parse(beside, 3, lines.keys[2]));
    assert_false(kt_key_line_has(&line, lines.other));
    kt_key_line_free(&line);
    changed = strdup(lines.statements[0]);
    for (at = changed; (at = strstr(at, lines.keys[0])); at++)
        memcpy(at, lines.other, 40);
    const char *const forged[] = {changed};
    assert_int_equal(parse(forged, 1, lines.keys[1]), KT_ERR_SIGNATURE);
    free(false_one);
    free(changed);
}

static void who_trusts_an_older_key_follows_it_to_the_newest(void **state)
{
    const char *const both[] = {lines.statements[0], lines.statements[1]};
    char *good;

    (void)state;
    must(parse(both, 2, lines.keys[2]));
    must(kt_key_line_follow(&line, lines.keys[0], &error));
    must(kt_key_line_follow(&line, lines.keys[1], &error));
    assert_int_equal(kt_key_line_follow(&line, lines.other, &error), KT_ERR_NOT_FOUND);
    good = line.links[0].text; // each signature is looked at
    line.links[0].text = line.links[1].text;
    *strstr(line.links[0].text, "\ntime ") = ' ';
    assert_int_not_equal(kt_key_line_follow(&line, lines.keys[0], &error), 0);
    line.links[1].text = good;
    kt_key_line_free(&line);
}

static void a_line_of_another_cluster_says_nothing(void **state)
{
    const char *const both[] = {lines.statements[0], lines.statements[1]};
    struct kt_uuid own = lines.cluster_id;

    (void)state;
    must(kt_uuid_random(&lines.cluster_id));
    must(parse(both, 2, lines.keys[2]));
    assert_int_equal(line.count, 0);
    lines.cluster_id = own;
}

static void the_file_is_read_as_it_was_saved(void **state)
{
    const char *const both[] = {lines.statements[0], lines.statements[1]};
    char *text = line_text(both, 2), path[KT_PATH_MAX];

    (void)state;
    must(kt_key_line_load(&paths, &lines.cluster_id, lines.keys[2], &line, &error));
    assert_int_equal(line.count, 0); // no file
    must(kt_key_line_save(&paths, text, &error));
    must(kt_key_line_save(&paths, text, &error));
    must(kt_key_line_load(&paths, &lines.cluster_id, lines.keys[2], &line, &error));
    assert_int_equal(line.count, 2);
    kt_key_line_free(&line);
    must(kt_path_join(path, sizeof path, paths.confdir, KT_KEY_LINE_FILE));
    must(kt_file_replace(path, "{\"version\":2,\"statements\":[]}", 29, 0600, &error));
    assert_int_equal(kt_key_line_load(&paths, &lines.cluster_id, lines.keys[2], &line, &error),
                     KT_ERR_INVALID);
    assert_non_null(strstr(error.message, path));
    must(kt_file_replace(path, "{\"version\":1,\"statements\":1}", 28, 0600, &error));
    assert_int_equal(kt_key_line_load(&paths, &lines.cluster_id, lines.keys[2], &line, &error),
                     KT_ERR_INVALID);
    must(kt_file_replace(path, "x", 1, 0600, &error));
    assert_int_equal(kt_key_line_load(&paths, &lines.cluster_id, lines.keys[2], &line, &error),
                     KT_ERR_INVALID);
    free(text);
}

// Of one name they are all, and all in the keyring.
static void a_backup_is_believed_by_keys_of_the_line_only(void **state)
{
    const char *const both[] = {lines.statements[0], lines.statements[1]};
    char *text = line_text(both, 2);
    struct kt_backup_trust trust = {.gpg = lines.gpg};

    (void)state;
    memcpy(trust.signer, lines.keys[2], sizeof(trust.signer));
    must(kt_backup_trust_older(&paths, &lines.cluster_id, &trust, &error));
    assert_false(kt_backup_trusts(&trust, lines.keys[0]));
    must(kt_key_line_save(&paths, text, &error));
    must(kt_backup_trust_older(&paths, &lines.cluster_id, &trust, &error));
    for (size_t i = 0; i < 3; i++)
        assert_true(kt_backup_trusts(&trust, lines.keys[i]));
    assert_false(kt_backup_trusts(&trust, lines.other));
    must(kt_key_line_save(&paths, "{}", &error));
    assert_int_equal(kt_backup_trust_older(&paths, &lines.cluster_id, &trust, &error),
                     KT_ERR_INVALID);
    assert_false(kt_backup_trusts(&trust, lines.keys[0]));
    assert_true(kt_backup_trusts(&trust, lines.keys[2]));
    free(text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_line_is_read_back_from_the_key_that_is_trusted),
        CASE(a_line_with_a_gap_is_refused),
        CASE(a_key_that_the_trusted_one_did_not_accept_is_none_of_the_line),
        CASE(who_trusts_an_older_key_follows_it_to_the_newest),
        CASE(a_line_of_another_cluster_says_nothing),
        CASE(the_file_is_read_as_it_was_saved),
        CASE(a_backup_is_believed_by_keys_of_the_line_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
