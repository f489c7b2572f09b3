// SPDX-License-Identifier: Apache-2.0
// What status makes of the nodes' backups.
#include "fake_nodes.h"

#include <stdio.h>
#include <unistd.h>

#include "ktadmin/status.h"

struct fixture {
    struct fakes fakes;
    struct kta_nodes nodes;
    struct kt_error error;
};

// Two nodes that answer, without a backup.
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    if (!f)
        return -1;
    fakes_make(&f->fakes, &f->nodes, 2, 1);
    return kta_nodes_look(&f->nodes, &f->error);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fakes_free(&f->fakes, &f->nodes);
    free(f);
    return 0;
}

static json_t *backup(json_t *age_s)
{
    return json_pack("{s:o, s:n, s:n, s:n}", "age_s", age_s, "failed", "failure", "drill_passed");
}

static void tell(struct fixture *f, size_t i, json_t *object)
{
    json_object_set_new(f->nodes.list[i].state, "backup", object);
}

static int has(json_t *list, const char *text)
{
    size_t i;
    json_t *one;
    int found = 0;

    json_array_foreach(list, i, one) found |= strstr(json_string_value(one), text) != NULL;
    json_decref(list);
    return found;
}

static json_t *notes(struct fixture *f)
{
    return kta_status_notes(&f->nodes);
}

static json_t *attention(struct fixture *f, int *code)
{
    return kta_status_attention(&f->nodes, NULL, code);
}

static json_t *of_backups(struct fixture *f)
{
    json_t *list = json_array();

    for (size_t i = 0; i < f->nodes.count; i++)
        kta_status_look_at_backup(&f->nodes.list[i], list);
    kta_status_look_at_backups(&f->nodes, list);
    return list;
}

static void nodes_that_say_nothing_of_backups_are_left_out(void **state)
{
    struct fixture *f = *state;
    json_t *list = of_backups(f);

    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
    list = notes(f);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

static void a_cluster_without_a_backup_is_a_note_and_not_degraded(void **state)
{
    struct fixture *f = *state;
    int before = -1, code = -1;
    json_t *list;

    json_decref(attention(f, &before));
    tell(f, 0, backup(json_null()));
    tell(f, 1, backup(json_null()));
    assert_true(has(notes(f), "no backup yet"));
    list = of_backups(f);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
    assert_false(has(attention(f, &code), "backup"));
    assert_int_equal(code, before);
}

static void one_node_with_a_backup_is_enough(void **state)
{
    struct fixture *f = *state;

    tell(f, 0, backup(json_null()));
    tell(f, 1, backup(json_integer(3600)));
    assert_false(has(notes(f), "no backup yet"));
    assert_false(has(of_backups(f), "backup"));
}

static void an_old_backup_wants_attention(void **state)
{
    struct fixture *f = *state;
    int code = -1;

    tell(f, 0, backup(json_integer(9 * 86400)));
    tell(f, 1, backup(json_integer(3 * 86400 + 7)));
    assert_true(has(attention(f, &code), "the last backup is 3 days old (kts-02 made it)"));
    assert_int_not_equal(code, KT_EXIT_OK);
    tell(f, 0, backup(json_integer(2 * 86400 - 1))); // the newest counts
    assert_false(has(of_backups(f), "old"));
}

static void a_removed_node_does_not_count(void **state)
{
    struct fixture *f = *state;

    tell(f, 0, backup(json_null()));
    tell(f, 1, backup(json_integer(1)));
    json_object_set_new(f->nodes.list[1].state, "role", json_string("removed"));
    assert_true(has(notes(f), "no backup yet"));
}

static void a_failed_run_wants_attention_with_its_reason(void **state)
{
    struct fixture *f = *state;
    json_t *failed = backup(json_integer(60));
    int code = -1;

    json_object_set_new(failed, "failed", json_string("2026-11-22T03:00:00.000000Z"));
    json_object_set_new(failed, "failure", json_string("the disk\x1b is full"));
    tell(f, 1, failed);
    assert_true(
        has(attention(f, &code), "kts-02: the last run of ktbackup failed: the disk? is full"));
    assert_int_not_equal(code, KT_EXIT_OK);
}

static void a_failed_drill_and_an_unreadable_file_want_attention(void **state)
{
    struct fixture *f = *state;
    json_t *object = backup(json_integer(60));

    json_object_set_new(object, "drill_passed", json_true());
    tell(f, 0, object);
    assert_false(has(of_backups(f), "drill"));
    json_object_set_new(object, "drill_passed", json_false());
    assert_true(has(of_backups(f), "kts-01: the last drill failed"));
    json_object_set_new(object, "error", json_string("damaged"));
    assert_true(has(of_backups(f), "kts-01: it is not known what became of its backups: damaged"));
}

// --- the lines of this node ---

static char printed[4096];

static const char *print(json_t *object)
{
    FILE *file = tmpfile();
    size_t n;
    int out;

    assert_non_null(file);
    fflush(stdout);
    out = dup(STDOUT_FILENO);
    assert_true(out >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
    kta_status_print_backup(object);
    fflush(stdout);
    assert_true(dup2(out, STDOUT_FILENO) >= 0);
    close(out);
    rewind(file);
    n = fread(printed, 1, sizeof(printed) - 1, file);
    printed[n] = '\0';
    fclose(file);
    json_decref(object);
    return printed;
}

static void lines_say_that_there_is_none(void **state)
{
    (void)state;
    print(backup(json_null()));
    assert_non_null(strstr(printed, "backup                   none yet\n"));
    assert_non_null(strstr(printed, "backup verified          never\n"));
    assert_non_null(strstr(printed, "last proven restore      never\n"));
    assert_string_equal(print(NULL), "");
}

static void lines_say_how_the_last_one_is(void **state)
{
    static const char TIME[] = "2026-11-22T03:00:00.000000Z";

    (void)state;
    print(json_pack("{s:i, s:I, s:i, s:b, s:s, s:s, s:s, s:s, s:s}", "age_s", 4 * 3600 + 5, "bytes",
                    (json_int_t)3 << 29, "deposits", 45, "proven", 1, "verified", TIME,
                    "verified_how", "keyless", "last_proven_restore", TIME, "failed", TIME,
                    "failure", "no"));
    assert_non_null(
        strstr(printed, "backup                   4 h ago, proven, 1.5 GiB, 45 deposits\n"));
    assert_non_null(strstr(printed, "backup failed            2026-11-22T03:00:00.000000Z, no\n"));
    assert_non_null(
        strstr(printed, "backup verified          2026-11-22T03:00:00.000000Z, keyless\n"));
    assert_non_null(strstr(printed, "last proven restore      2026-11-22T03:00:00.000000Z\n"));
    print(json_pack("{s:i, s:i, s:i, s:b}", "age_s", 3 * 86400, "bytes", 500, "deposits", 0,
                    "proven", 0));
    assert_non_null(
        strstr(printed, "backup                   3 days ago, unproven, 500 B, 0 deposits\n"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nodes_that_say_nothing_of_backups_are_left_out),
        CASE(a_cluster_without_a_backup_is_a_note_and_not_degraded),
        CASE(one_node_with_a_backup_is_enough),
        CASE(an_old_backup_wants_attention),
        CASE(a_removed_node_does_not_count),
        CASE(a_failed_run_wants_attention_with_its_reason),
        CASE(a_failed_drill_and_an_unreadable_file_want_attention),
        CASE(lines_say_that_there_is_none),
        CASE(lines_say_how_the_last_one_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
