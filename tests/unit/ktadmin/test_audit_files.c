// SPDX-License-Identifier: Apache-2.0
// audit verify, show and head on files that were written well, and on files that were not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ktadmin/audit_files.h"
#include "tests/unit/ktadmin/commands.h"

static uint64_t seq;
static uint8_t head[KT_SHA256_LEN];
static char line[KT_AUDIT_LINE_MAX];
static struct kta_audit_report report;

// Appends a record to a file of the audit folder.
static void put(const char *name, const char *json)
{
    uint8_t hash[KT_SHA256_LEN];
    char path[64];
    size_t n = 0;
    FILE *file;

    seq++;
    assert_int_equal(kt_audit_hash(head, seq, json, strlen(json), hash), 0);
    assert_int_equal(kt_audit_line_format(seq, hash, json, strlen(json), line, &n), 0);
    memcpy(head, hash, sizeof(head));
    snprintf(path, sizeof(path), "audit/%s", name);
    file = fopen(temp_path(path), "ae");
    assert_non_null(file);
    assert_int_equal(fwrite(line, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void begin(const char *name, const char *more)
{
    char json[512], hex[KT_SHA256_TEXT];

    kt_hex_encode(head, sizeof(head), hex);
    snprintf(json, sizeof(json), "{\"event\":\"audit.open\",\"previous\":\"%s\"%s}", hex, more);
    put(name, json);
}

// Two files: records 1 to 4 and 5 to 7.
static int setup(void **state)
{
    (void)state;
    if (temp_dir_setup(NULL) != 0 || mkdir(temp_path(".keytrustee"), 0700) != 0 ||
        mkdir(temp_path("audit"), 0700) != 0)
        return -1;
    temp_text(".keytrustee/keytrustee.conf", "");
    seq = 0;
    memset(head, 0, sizeof(head));
    begin("audit-000001.log", "");
    put("audit-000001.log", "{\"client\":\"11111111-1111-4111-8111-111111111111\",\"event\":"
                            "\"deposit.put\",\"handle\":\"db/key\"}");
    put("audit-000001.log", "{\"event\":\"deposit.get\",\"handle\":\"db/key\"}");
    put("audit-000001.log", "{\"event\":\"deposit.get\",\"handle\":\"other\"}");
    begin("audit-000002.log", "");
    put("audit-000002.log", "{\"event\":\"deposit.get\",\"handle\":\"db/key\"}");
    put("audit-000002.log", "{\"event\":\"deposit.list\"}");
    return 0;
}

static int walk(void)
{
    return kta_audit_walk(temp_path("audit"), NULL, NULL, &report, NULL);
}

static char *load(const char *name)
{
    char path[64], *text = NULL;

    snprintf(path, sizeof(path), "audit/%s", name);
    assert_int_equal(kt_file_read_text(temp_path(path), 1 << 20, &text, NULL), 0);
    return text;
}

static void store(const char *name, const char *text)
{
    char path[64];

    snprintf(path, sizeof(path), "audit/%s", name);
    temp_text(path, text);
}

static void a_whole_chain_over_two_files_is_good(void **state)
{
    (void)state;
    assert_int_equal(walk(), 0);
    assert_string_equal(report.problem, "");
    assert_int_equal(report.files, 2);
    assert_int_equal(report.records, 7);
    assert_int_equal(report.first_seq, 1);
    assert_int_equal(report.last_seq, 7);
    assert_memory_equal(report.last_hash, head, sizeof(head));
}

static void a_changed_record_is_named_by_file_and_line(void **state)
{
    char *text = load("audit-000001.log");

    (void)state;
    memcpy(strstr(text, "other"), "OTHER", 5);
    store("audit-000001.log", text);
    free(text);
    assert_int_equal(RUN(kta_cmd_audit_verify, "audit", "verify"), KT_EXIT_INTEGRITY);
    assert_non_null(strstr(out_text, "audit-000001.log:4: its hash does not fit"));
}

static void a_removed_record_is_found(void **state)
{
    char *text = load("audit-000001.log"), *second = strchr(text, '\n') + 1,
         *third = strchr(second, '\n') + 1;

    (void)state;
    memmove(second, third, strlen(third) + 1);
    store("audit-000001.log", text);
    free(text);
    assert_int_equal(RUN(kta_cmd_audit_verify, "audit", "verify"), KT_EXIT_INTEGRITY);
    assert_non_null(strstr(out_text, "audit-000001.log:2: "));
}

static void records_cut_off_at_the_end_of_an_earlier_file_are_found(void **state)
{
    char *text = load("audit-000001.log");

    (void)state;
    text[strlen(text) - 1] = '\0';
    *(strrchr(text, '\n') + 1) = '\0';
    store("audit-000001.log", text);
    free(text);
    assert_int_equal(walk(), 0);
    assert_string_equal(report.where, "audit-000002.log:1");
    assert_non_null(strstr(report.problem, "missing at the end"));
}

static void a_removed_file_is_found(void **state)
{
    (void)state;
    assert_int_equal(unlink(temp_path("audit/audit-000001.log")), 0);
    assert_int_equal(walk(), 0);
    assert_string_equal(report.where, "audit-000001.log");
    assert_string_equal(report.problem, "the file is missing");
    assert_int_equal(report.records, 3); // what is left is looked at all the same
}

static void an_emptied_file_is_found(void **state)
{
    (void)state;
    store("audit-000002.log", "");
    assert_int_equal(walk(), 0);
    assert_string_equal(report.where, "audit-000002.log");
}

static void a_line_that_is_no_record_is_found(void **state)
{
    char *text = load("audit-000002.log"), *more = malloc(strlen(text) + 100);

    (void)state;
    sprintf(more, "%shello\n", text);
    store("audit-000002.log", more);
    free(more);
    free(text);
    assert_int_equal(walk(), 0);
    assert_string_equal(report.where, "audit-000002.log:4");
    assert_string_equal(report.problem, "not an audit record");
}

static void append(const char *name, const void *bytes, size_t n)
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "audit/%s", name);
    file = fopen(temp_path(path), "ae");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void a_line_that_begins_with_a_zero_byte_is_no_record(void **state)
{
    (void)state;
    append("audit-000001.log", "\0\n", 2);
    assert_int_equal(walk(), 0);
    assert_string_equal(report.where, "audit-000001.log:5");
    assert_string_equal(report.problem, "not an audit record");
}

static void zeros_at_the_end_of_the_last_file_are_an_unfinished_line(void **state)
{
    (void)state;
    append("audit-000002.log", "\0\0\0\0", 4);
    assert_int_equal(walk(), 0);
    assert_string_equal(report.problem, "");
    assert_int_equal(report.unfinished, 4);
    append("audit-000002.log", "\n", 1);
    assert_int_equal(walk(), 0);
    assert_string_equal(report.where, "audit-000002.log:4");
}

static void an_unfinished_last_line_is_said_and_is_no_fault(void **state)
{
    char *text = load("audit-000002.log");

    (void)state;
    text[strlen(text) - 5] = '\0';
    store("audit-000002.log", text);
    free(text);
    assert_int_equal(RUN(kta_cmd_audit_verify, "audit", "verify"), KT_EXIT_OK);
    assert_non_null(strstr(out_text, "unfinished"));
    text = load("audit-000001.log"); // anywhere else it is one
    text[strlen(text) - 5] = '\0';
    store("audit-000001.log", text);
    free(text);
    assert_int_equal(RUN(kta_cmd_audit_verify, "audit", "verify"), KT_EXIT_INTEGRITY);
}

static void a_first_file_that_follows_another_is_found(void **state)
{
    (void)state;
    assert_int_equal(unlink(temp_path("audit/audit-000001.log")), 0);
    assert_int_equal(
        rename(temp_path("audit/audit-000002.log"), temp_path("audit/audit-000001.log")), 0);
    assert_int_equal(walk(), 0);
    assert_string_equal(report.where, "audit-000001.log:1");
}

static void a_break_that_the_server_found_stays_visible(void **state)
{
    (void)state;
    begin("audit-000003.log",
          ",\"broken\":\"audit-000002.log\",\"problem\":\"a record is missing\"");
    put("audit-000003.log", "{\"event\":\"deposit.get\"}");
    assert_int_equal(walk(), 0);
    assert_string_equal(report.where, "audit-000003.log:1");
    assert_non_null(strstr(report.problem, "a record is missing"));
    assert_int_equal(report.last_seq, 9);
}

static void the_mark_of_a_touched_file_is_reported(void **state)
{
    (void)state;
    store("lost", "audit-000002.log 7 x\n");
    assert_int_equal(walk(), 0);
    assert_non_null(strstr(report.problem, "while in use"));
}

static void a_noted_head_shows_whether_the_end_was_cut_off(void **state)
{
    char noted[128], *text;

    (void)state;
    assert_int_equal(RUN(kta_cmd_audit_head, "audit", "head"), KT_EXIT_OK);
    snprintf(noted, sizeof(noted), "%.*s", (int)strcspn(out_text, "\n"), out_text);
    assert_int_equal(strncmp(noted, "7:", 2), 0);
    assert_int_equal(RUN(kta_cmd_audit_verify, "audit", "verify", "--head", noted), KT_EXIT_OK);
    text = load("audit-000002.log");
    text[strlen(text) - 1] = '\0';
    *(strrchr(text, '\n') + 1) = '\0';
    store("audit-000002.log", text);
    free(text);
    assert_int_equal(RUN(kta_cmd_audit_verify, "audit", "verify"), KT_EXIT_OK);
    assert_int_equal(RUN(kta_cmd_audit_verify, "audit", "verify", "--head", noted),
                     KT_EXIT_INTEGRITY);
    noted[0] = '6';
    assert_int_equal(RUN(kta_cmd_audit_verify, "audit", "verify", "--head", noted),
                     KT_EXIT_INTEGRITY);
    assert_int_equal(RUN(kta_cmd_audit_verify, "audit", "verify", "--head", "7:xyz"),
                     KT_EXIT_USAGE);
}

static void show_filters_and_bounds(void **state)
{
    (void)state;
    assert_int_equal(RUN(kta_cmd_audit_show, "audit", "show", "--handle", "db/key"), KT_EXIT_OK);
    assert_non_null(strstr(out_text, "deposit.put"));
    assert_null(strstr(out_text, "other"));
    assert_int_equal(
        RUN(kta_cmd_audit_show, "audit", "show", "--event", "deposit.get", "--last", "1"),
        KT_EXIT_OK);
    assert_int_equal(strncmp(out_text, "6 ", 2), 0);
    assert_ptr_equal(strchr(out_text, '\n')[1] ? "more" : NULL, NULL);
    assert_int_equal(RUN(kta_cmd_audit_show, "audit", "show", "--client",
                         "11111111-1111-4111-8111-111111111111", "--json"),
                     KT_EXIT_OK);
    json_t *list = json_loads(out_text, 0, NULL);
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "seq")), 2);
    json_decref(list);
    assert_int_equal(RUN(kta_cmd_audit_show, "audit", "show", "--last", "0"), KT_EXIT_USAGE);
    // a name has to be looked up, and nobody answers
    assert_int_equal(RUN(kta_cmd_audit_show, "audit", "show", "--client", "web-1"),
                     KT_EXIT_UNAVAILABLE);
}

static void no_files_and_no_folder_are_said(void **state)
{
    (void)state;
    assert_int_equal(unlink(temp_path("audit/audit-000001.log")), 0);
    assert_int_equal(unlink(temp_path("audit/audit-000002.log")), 0);
    assert_int_equal(walk(), KT_ERR_NOT_FOUND);
    assert_int_equal(rmdir(temp_path("audit")), 0);
    assert_int_equal(walk(), KT_ERR_NOT_INITIALISED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(a_whole_chain_over_two_files_is_good),
        CASE(a_changed_record_is_named_by_file_and_line),
        CASE(a_removed_record_is_found),
        CASE(records_cut_off_at_the_end_of_an_earlier_file_are_found),
        CASE(a_removed_file_is_found),
        CASE(an_emptied_file_is_found),
        CASE(a_line_that_is_no_record_is_found),
        CASE(a_line_that_begins_with_a_zero_byte_is_no_record),
        CASE(zeros_at_the_end_of_the_last_file_are_an_unfinished_line),
        CASE(an_unfinished_last_line_is_said_and_is_no_fault),
        CASE(a_first_file_that_follows_another_is_found),
        CASE(a_break_that_the_server_found_stays_visible),
        CASE(the_mark_of_a_touched_file_is_reported),
        CASE(a_noted_head_shows_whether_the_end_was_cut_off),
        CASE(show_filters_and_bounds),
        CASE(no_files_and_no_folder_are_said),
    };

    if (become_ordinary() != 0)
        return 1;
    return cmocka_run_group_tests(cases, NULL, NULL);
}
