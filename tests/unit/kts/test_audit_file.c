// SPDX-License-Identifier: Apache-2.0
// The audit files: chained, durable or refused, and honest about what was done to them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kts/audit_file.h"
#include "lib/file.h"
#include "lib/log.h"

#define CLUSTER "6f1e8f50-7d0c-4d0e-9c1c-0123456789ab"

struct fixture {
    char dir[64];
    struct kts_audit_settings settings;
    struct kts_audit_file *file;
};

static void must_open(struct fixture *f)
{
    struct kt_error error = {0};
    int rc = kts_audit_file_open(&f->settings, &f->file, &error);

    if (rc)
        fail_msg("%s", error.message);
}

static void reopen(struct fixture *f)
{
    kts_audit_file_free(f->file);
    f->file = NULL;
    must_open(f);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/kts-audit-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->settings = (struct kts_audit_settings){f->dir, CLUSTER, "kts-01", 1 << 20, {{0, {0}}, 0}};
    must_open(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    DIR *d = opendir(f->dir);
    char path[512];

    kts_audit_file_free(f->file);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        snprintf(path, sizeof(path), "%s/%s", f->dir, e->d_name);
        unlink(path);
    }
    closedir(d);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static const char *path_of(const struct fixture *f, unsigned number)
{
    static char path[128];
    char name[32];

    kts_audit_file_name(number, name);
    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    return path;
}

static int add(struct fixture *f, const char *json)
{
    return kts_audit_file_add(f->file, json, strlen(json));
}

static void write_one(struct fixture *f, const char *json)
{
    assert_int_equal(add(f, json), 0);
    assert_int_equal(kts_audit_file_commit(f->file, NULL), 0);
}

// The n-th line's record (from 0); the caller frees it.
static json_t *record(const struct fixture *f, unsigned number, int n)
{
    char *text = NULL, *line, *rest;
    uint8_t hash[KT_SHA256_LEN];
    const char *json;
    size_t len;
    uint64_t seq;
    json_t *object;

    assert_int_equal(kt_file_read_text(path_of(f, number), 1 << 20, &text, NULL), 0);
    rest = text;
    do
        line = strsep(&rest, "\n");
    while (n-- > 0 && line);
    assert_non_null(line);
    assert_int_equal(kt_audit_line_parse(line, strlen(line), &seq, hash, &json, &len), 0);
    object = json_loadb(json, len, 0, NULL);
    assert_non_null(object);
    json_object_set_new(object, "seq", json_integer((json_int_t)seq));
    free(text);
    return object;
}

static void assert_member(json_t *object, const char *name, const char *value)
{
    assert_string_equal(json_string_value(json_object_get(object, name)), value);
}

static struct kts_audit_check check(const struct fixture *f, unsigned number)
{
    struct kts_audit_check result;

    assert_int_equal(kts_audit_check_file(path_of(f, number), NULL, &result, NULL), 0);
    return result;
}

static void assert_last_number(const struct fixture *f, unsigned expected)
{
    unsigned number = 0;

    assert_int_equal(kts_audit_last_number(f->dir, &number, NULL), 0);
    assert_int_equal(number, expected);
}

// --- writing ---

static void first_record_names_the_cluster(void **state)
{
    struct fixture *f = *state;
    json_t *first = record(f, 1, 0);
    struct stat st;
    char zeros[65];

    memset(zeros, '0', 64);
    zeros[64] = '\0';
    assert_member(first, "event", "audit.open");
    assert_member(first, "cluster", CLUSTER);
    assert_member(first, "node", "kts-01");
    assert_member(first, "previous", zeros);
    assert_int_equal(strlen(json_string_value(json_object_get(first, "time"))), 27);
    assert_null(json_object_get(first, "broken"));
    json_decref(first);
    assert_int_equal(stat(path_of(f, 1), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(kts_audit_file_seq(f->file) == 1);
}

static void batch_is_chained_and_complete(void **state)
{
    struct fixture *f = *state;
    struct kts_audit_check result;
    json_t *last;

    assert_int_equal(add(f, "{\"event\":\"deposit.get\",\"handle\":\"a\"}"), 0);
    assert_int_equal(add(f, "{\"event\":\"deposit.get\",\"handle\":\"b\"}"), 0);
    assert_true(kts_audit_file_seq(f->file) == 1); // not before the commit
    assert_int_equal(kts_audit_file_commit(f->file, NULL), 0);
    assert_true(kts_audit_file_seq(f->file) == 3);
    result = check(f, 1);
    assert_string_equal(result.problem, "");
    assert_false(result.torn);
    assert_true(result.head.seq == 3);
    assert_true(result.good == result.size);
    last = record(f, 1, 2);
    assert_member(last, "handle", "b");
    assert_member(last, "node", "kts-01");
    json_decref(last);
}

static void time_and_node_cannot_be_forged(void **state)
{
    struct fixture *f = *state;
    json_t *object;

    write_one(f, "{\"node\":\"evil\",\"time\":\"1999\"}");
    object = record(f, 1, 1);
    assert_member(object, "node", "kts-01");
    assert_string_not_equal(json_string_value(json_object_get(object, "time")), "1999");
    json_decref(object);
}

static void unusable_record_is_refused_and_leaves_no_gap(void **state)
{
    struct fixture *f = *state;
    char *huge = malloc(KT_AUDIT_JSON_MAX + 64);

    assert_int_equal(add(f, "[1]"), KT_ERR_PROTOCOL);
    assert_int_equal(add(f, "{\"a\":1"), KT_ERR_PROTOCOL);
    assert_int_equal(add(f, ""), KT_ERR_PROTOCOL);
    // Short enough as it comes, too long with what is added.
    sprintf(huge, "{\"a\":\"%0*d\"}", KT_AUDIT_JSON_MAX - 20, 0);
    assert_int_equal(add(f, huge), KT_ERR_PROTOCOL);
    sprintf(huge, "{\"a\":\"%0*d\"}", KT_AUDIT_JSON_MAX, 0);
    assert_int_equal(add(f, huge), KT_ERR_PROTOCOL);
    free(huge);
    write_one(f, "{\"event\":\"x\"}");
    assert_true(kts_audit_file_seq(f->file) == 2);
    assert_string_equal(check(f, 1).problem, "");
}

static void empty_batch_is_fine_and_a_full_one_says_so(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(kts_audit_file_commit(f->file, NULL), 0);
    for (int i = 0; i < KTS_AUDIT_BATCH_MAX; i++)
        assert_int_equal(add(f, "{}"), 0);
    assert_int_equal(add(f, "{}"), KT_ERR_BUSY);
    assert_int_equal(kts_audit_file_commit(f->file, NULL), 0);
    assert_true(check(f, 1).head.seq == 1 + KTS_AUDIT_BATCH_MAX);
}

static void new_file_goes_on_with_the_chain(void **state)
{
    struct fixture *f = *state;
    char hex[KT_SHA256_TEXT];
    json_t *first;

    kts_audit_file_set_size(f->file, 1);
    write_one(f, "{\"event\":\"x\"}");
    assert_last_number(f, 2);
    kt_hex_encode(check(f, 1).head.hash, KT_SHA256_LEN, hex);
    first = record(f, 2, 0);
    assert_member(first, "event", "audit.open");
    assert_member(first, "previous", hex);
    assert_int_equal(json_integer_value(json_object_get(first, "seq")), 3);
    json_decref(first);
    kts_audit_file_set_size(f->file, 1 << 20);
    write_one(f, "{\"event\":\"y\"}");
    assert_string_equal(check(f, 2).problem, "");
    assert_true(check(f, 2).head.seq == 4);
}

// --- starting again ---

static void restart_goes_on_in_the_same_file(void **state)
{
    struct fixture *f = *state;

    write_one(f, "{\"event\":\"x\"}");
    reopen(f);
    assert_last_number(f, 1);
    write_one(f, "{\"event\":\"y\"}");
    assert_string_equal(check(f, 1).problem, "");
    assert_true(check(f, 1).head.seq == 3);
}

static void append_raw(const struct fixture *f, const char *bytes)
{
    int fd = open(path_of(f, 1), O_WRONLY | O_APPEND);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
    close(fd);
}

static void torn_last_line_is_cut_off(void **state)
{
    struct fixture *f = *state;

    write_one(f, "{\"event\":\"x\"}");
    append_raw(f, "kta1 3 0123");
    assert_true(check(f, 1).torn);
    reopen(f);
    assert_last_number(f, 1);
    write_one(f, "{\"event\":\"y\"}");
    assert_string_equal(check(f, 1).problem, "");
    assert_false(check(f, 1).torn);
    assert_true(check(f, 1).head.seq == 3);
}

static void assert_new_file_names(struct fixture *f, unsigned number, const char *broken)
{
    json_t *first = record(f, number, 0);

    assert_member(first, "event", "audit.open");
    assert_member(first, "broken", broken);
    assert_non_null(json_object_get(first, "problem"));
    json_decref(first);
    write_one(f, "{\"event\":\"after\"}");
    assert_string_equal(check(f, number).problem, "");
}

static void change_byte(const struct fixture *f, long from_end, char value)
{
    int fd = open(path_of(f, 1), O_RDWR);
    off_t size = lseek(fd, 0, SEEK_END);

    assert_int_equal(pwrite(fd, &value, 1, size - from_end), 1);
    close(fd);
}

static void changed_record_makes_a_new_file_that_says_so(void **state)
{
    struct fixture *f = *state;
    struct stat before, after;

    write_one(f, "{\"event\":\"xyz\"}");
    write_one(f, "{\"event\":\"abc\"}");
    change_byte(f, 60, '!');
    assert_int_equal(stat(path_of(f, 1), &before), 0);
    assert_string_not_equal(check(f, 1).problem, "");
    reopen(f);
    assert_last_number(f, 2);
    assert_new_file_names(f, 2, "audit-000001.log");
    assert_int_equal(stat(path_of(f, 1), &after), 0);
    assert_true(before.st_size == after.st_size); // kept as it was found
}

static void removed_record_is_noticed(void **state)
{
    struct fixture *f = *state;
    char *text = NULL, *second, *third;

    write_one(f, "{\"event\":\"xyz\"}");
    write_one(f, "{\"event\":\"abc\"}");
    assert_int_equal(kt_file_read_text(path_of(f, 1), 1 << 20, &text, NULL), 0);
    second = strchr(text, '\n') + 1;
    third = strchr(second, '\n') + 1;
    memmove(second, third, strlen(third) + 1);
    assert_int_equal(kt_file_replace(path_of(f, 1), text, strlen(text), 0600, NULL), 0);
    free(text);
    assert_string_equal(check(f, 1).problem, "a record is missing");
    reopen(f);
    assert_new_file_names(f, 2, "audit-000001.log");
}

static void nonsense_and_emptiness_are_noticed(void **state)
{
    struct fixture *f = *state;

    append_raw(f, "nonsense\n");
    reopen(f);
    assert_new_file_names(f, 2, "audit-000001.log");
    assert_int_equal(truncate(path_of(f, 2), 0), 0);
    reopen(f);
    assert_new_file_names(f, 3, "audit-000002.log");
}

static void endless_line_is_noticed(void **state)
{
    struct fixture *f = *state;
    size_t size = 2u << 20;
    char *line = malloc(size);

    memset(line, 'x', size - 1);
    line[size - 1] = '\0';
    append_raw(f, line);
    free(line);
    reopen(f);
    assert_new_file_names(f, 2, "audit-000001.log");
}

static void records_known_to_be_written_are_missed(void **state)
{
    struct fixture *f = *state;
    json_t *first;

    write_one(f, "{\"event\":\"x\"}");
    assert_int_equal(unlink(path_of(f, 1)), 0);
    f->settings.known.head.seq = 2;
    reopen(f);
    first = record(f, 1, 0);
    assert_member(first, "problem", "records at its end are gone");
    assert_int_equal(json_integer_value(json_object_get(first, "seq")), 3);
    json_decref(first);
}

// --- while it is in use ---

static void assert_lost_until_restart(struct fixture *f, unsigned next)
{
    struct kt_error error = {0};

    assert_int_equal(add(f, "{\"event\":\"z\"}"), 0);
    assert_int_equal(kts_audit_file_commit(f->file, &error), KT_ERR_AUDIT_UNAVAILABLE);
    assert_true(error.message[0]);
    assert_true(kts_audit_file_is_lost(f->file));
    assert_int_equal(add(f, "{\"event\":\"z\"}"), 0);
    assert_int_equal(kts_audit_file_commit(f->file, NULL), KT_ERR_AUDIT_UNAVAILABLE);
    assert_true(kts_audit_file_seq(f->file) == 2);
    reopen(f);
    assert_false(kts_audit_file_is_lost(f->file));
    assert_new_file_names(f, next, "audit-000001.log");
    // The number shows that nothing was left out: 3 is the new file's first.
    assert_true(kts_audit_file_seq(f->file) == 4);
    reopen(f); // the mark is gone
    assert_last_number(f, next);
}

static void removed_file_is_noticed(void **state)
{
    struct fixture *f = *state;

    write_one(f, "{\"event\":\"x\"}");
    assert_int_equal(unlink(path_of(f, 1)), 0);
    assert_lost_until_restart(f, 2);
}

static void moved_file_is_noticed(void **state)
{
    struct fixture *f = *state;
    char elsewhere[128];

    write_one(f, "{\"event\":\"x\"}");
    snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", f->dir);
    assert_int_equal(rename(path_of(f, 1), elsewhere), 0);
    assert_lost_until_restart(f, 2);
}

static void cut_file_is_noticed(void **state)
{
    struct fixture *f = *state;
    off_t whole = check(f, 1).size;

    write_one(f, "{\"event\":\"x\"}");
    assert_int_equal(truncate(path_of(f, 1), whole), 0); // at the end of a record: a valid chain
    assert_string_equal(check(f, 1).problem, "");
    assert_lost_until_restart(f, 2);
}

static void extended_file_is_noticed(void **state)
{
    struct fixture *f = *state;

    write_one(f, "{\"event\":\"x\"}");
    append_raw(f, "{}\n");
    assert_lost_until_restart(f, 2);
}

static void record_overwritten_in_place_is_noticed(void **state)
{
    struct fixture *f = *state;
    char json[1100];

    snprintf(json, sizeof(json), "{\"event\":\"%01000d\"}", 0);
    write_one(f, json);
    change_byte(f, 900, '!'); // far from the file's end
    assert_lost_until_restart(f, 2);
}

static void an_idle_look_finds_what_the_next_record_would(void **state)
{
    struct fixture *f = *state;
    struct kt_error error = {0};

    write_one(f, "{\"event\":\"x\"}");
    assert_int_equal(kts_audit_file_look(f->file, &error), 0);
    assert_int_equal(unlink(path_of(f, 1)), 0);
    assert_int_equal(kts_audit_file_look(f->file, &error), KT_ERR_AUDIT_UNAVAILABLE);
    assert_non_null(strstr(error.message, "was removed by somebody else"));
    assert_true(kts_audit_file_is_lost(f->file));
}

static void a_touch_that_changes_no_record_is_no_loss(void **state)
{
    struct fixture *f = *state;

    write_one(f, "{\"event\":\"x\"}");
    assert_int_equal(chmod(path_of(f, 1), 0400), 0);
    assert_int_equal(kts_audit_file_look(f->file, NULL), 0);
    write_one(f, "{\"event\":\"y\"}");
    assert_true(check(f, 1).head.seq == 3);
}

static void loss_is_marked_in_a_folder_that_was_moved_away(void **state)
{
    struct fixture *f = *state;
    char away[128];

    write_one(f, "{\"event\":\"x\"}");
    snprintf(away, sizeof(away), "%s.away", f->dir);
    assert_int_equal(rename(f->dir, away), 0);
    assert_int_equal(kts_audit_file_look(f->file, NULL), KT_ERR_AUDIT_UNAVAILABLE);
    assert_int_equal(rename(away, f->dir), 0);
    reopen(f);
    assert_new_file_names(f, 2, "audit-000001.log");
}

static void record_that_was_signed_otherwise_is_noticed(void **state)
{
    struct fixture *f = *state;
    json_t *first;

    write_one(f, "{\"event\":\"x\"}");
    write_one(f, "{\"event\":\"y\"}");
    f->settings.known = (struct kts_audit_known){.head = {.seq = 2, .hash = {1, 2, 3}}, .file = 1};
    reopen(f);
    first = record(f, 2, 0);
    assert_member(first, "problem", "a record is another than the one that was signed");
    assert_int_equal(json_integer_value(json_object_get(first, "seq")), 4);
    json_decref(first);
}

static void numbers_go_on_behind_what_was_signed(void **state)
{
    struct fixture *f = *state;
    json_t *first;

    write_one(f, "{\"event\":\"x\"}");
    f->settings.known = (struct kts_audit_known){.head = {.seq = 140}, .file = 3};
    reopen(f);
    first = record(f, 4, 0);
    assert_member(first, "broken", "audit-000003.log");
    assert_int_equal(json_integer_value(json_object_get(first, "seq")), 141);
    json_decref(first);
}

static void what_a_record_says_is_ascii_on_disk(void **state)
{
    struct fixture *f = *state;
    char *text = NULL;

    write_one(f, "{\"event\":\"x\",\"justification\":\"a\\u001b[2J\\n\xc2\x9b\\u007f\"}");
    assert_int_equal(kt_file_read_text(path_of(f, 1), 1 << 20, &text, NULL), 0);
    for (const char *at = text; *at; at++)
        assert_true(*at == '\n' || ((unsigned char)*at >= 0x20 && (unsigned char)*at <= 0x7f));
    free(text);
}

// --- no room ---

static rlim_t set_limit(int which, rlim_t now)
{
    struct rlimit limit;
    rlim_t before;

    assert_int_equal(getrlimit(which, &limit), 0);
    before = limit.rlim_cur;
    limit.rlim_cur = now;
    assert_int_equal(setrlimit(which, &limit), 0);
    return before;
}

static void failed_write_is_undone_and_tried_again(void **state)
{
    struct fixture *f = *state;
    off_t before;

    signal(SIGXFSZ, SIG_IGN);
    write_one(f, "{\"event\":\"x\"}");
    before = check(f, 1).size;
    set_limit(RLIMIT_FSIZE, (rlim_t)before + 20); // part of the next line fits
    for (int i = 0; i < 2; i++) {
        struct kt_error error = {0};
        assert_int_equal(add(f, "{\"event\":\"y\"}"), 0);
        assert_int_equal(kts_audit_file_commit(f->file, &error), KT_ERR_AUDIT_UNAVAILABLE);
        assert_true(error.message[0]);
        assert_false(kts_audit_file_is_lost(f->file));
        assert_true(check(f, 1).size == before);
        assert_true(kts_audit_file_seq(f->file) == 2);
    }
    set_limit(RLIMIT_FSIZE, RLIM_INFINITY);
    write_one(f, "{\"event\":\"z\"}");
    assert_string_equal(check(f, 1).problem, "");
    assert_true(check(f, 1).head.seq == 3);
}

static void failed_rotation_keeps_the_old_file(void **state)
{
    struct fixture *f = *state;
    rlim_t before;

    kts_audit_file_set_size(f->file, 1);
    before = set_limit(RLIMIT_NOFILE, 3); // what is open stays open, nothing new can be opened
    write_one(f, "{\"event\":\"x\"}");
    set_limit(RLIMIT_NOFILE, before);
    assert_last_number(f, 1);
    write_one(f, "{\"event\":\"y\"}");
    assert_last_number(f, 2);
    assert_true(check(f, 1).head.seq == 3);
    assert_true(check(f, 2).head.seq == 4);
}

static void missing_folder_is_an_error(void **state)
{
    struct kts_audit_settings settings = {
        "/nonexistent", CLUSTER, "kts-01", 1 << 20, {{0, {0}}, 0}};
    struct kts_audit_file *file = NULL;
    struct kt_error error = {0};

    (void)state;
    assert_int_not_equal(kts_audit_file_open(&settings, &file, &error), 0);
    assert_null(file);
    assert_non_null(strstr(error.message, "/nonexistent"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(first_record_names_the_cluster),
        CASE(batch_is_chained_and_complete),
        CASE(time_and_node_cannot_be_forged),
        CASE(unusable_record_is_refused_and_leaves_no_gap),
        CASE(empty_batch_is_fine_and_a_full_one_says_so),
        CASE(new_file_goes_on_with_the_chain),
        CASE(restart_goes_on_in_the_same_file),
        CASE(torn_last_line_is_cut_off),
        CASE(changed_record_makes_a_new_file_that_says_so),
        CASE(removed_record_is_noticed),
        CASE(nonsense_and_emptiness_are_noticed),
        CASE(endless_line_is_noticed),
        CASE(records_known_to_be_written_are_missed),
        CASE(removed_file_is_noticed),
        CASE(moved_file_is_noticed),
        CASE(cut_file_is_noticed),
        CASE(extended_file_is_noticed),
        CASE(record_overwritten_in_place_is_noticed),
        CASE(an_idle_look_finds_what_the_next_record_would),
        CASE(a_touch_that_changes_no_record_is_no_loss),
        CASE(loss_is_marked_in_a_folder_that_was_moved_away),
        CASE(record_that_was_signed_otherwise_is_noticed),
        CASE(numbers_go_on_behind_what_was_signed),
        CASE(what_a_record_says_is_ascii_on_disk),
        CASE(failed_write_is_undone_and_tried_again),
        CASE(failed_rotation_keeps_the_old_file),
        cmocka_unit_test(missing_folder_is_an_error),
    };

    // The cases provoke errors that are logged: keep them out of the test's output.
    (void)!kt_log_open("test", KT_LOG_ERROR, "/dev/null");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
