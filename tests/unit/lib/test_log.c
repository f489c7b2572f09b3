// SPDX-License-Identifier: Apache-2.0
// Lines of the log: form, levels, escapes, files, the journal.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <regex.h>

#include "lib/log.h"
#include "tests/unit/lib/temp_dir.h"

static int setup(void **state)
{
    unsetenv("JOURNAL_STREAM");
    return temp_dir_setup(state);
}

static int teardown(void **state)
{
    if (kt_log_open("test", KT_LOG_INFO, NULL) != 0)
        return -1;
    return temp_dir_teardown(state);
}

// What has been logged to `name` so far.
static const char *logged(const char *name)
{
    static char text[16384];
    int fd = open(temp_path(name), O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static void open_log(enum kt_log_level level)
{
    assert_int_equal(kt_log_open("kts", level, temp_path("log")), 0);
}

static void expect_match(const char *text, const char *pattern)
{
    regex_t regex;

    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int rc = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    if (rc != 0)
        fail_msg("'%s' does not match '%s'", text, pattern);
}

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z "

static void line_has_time_program_process_and_level(void **state)
{
    (void)state;
    open_log(KT_LOG_DEBUG);
    kt_log(KT_LOG_ERROR, "one %d", 1);
    kt_log(KT_LOG_WARNING, "two");
    kt_log(KT_LOG_NOTICE, "three");
    kt_log(KT_LOG_INFO, "four");
    kt_log(KT_LOG_DEBUG, "five");
    expect_match(logged("log"),
                 "^" TIME "kts\\[[0-9]+\\] error: one 1\n" TIME
                 "kts\\[[0-9]+\\] warning: two\n" TIME "kts\\[[0-9]+\\] notice: three\n" TIME
                 "kts\\[[0-9]+\\] info: four\n" TIME "kts\\[[0-9]+\\] debug: five\n$");
}

static void lines_above_the_level_are_left_out(void **state)
{
    (void)state;
    open_log(KT_LOG_WARNING);
    kt_log(KT_LOG_NOTICE, "hidden");
    kt_log_code(KT_LOG_INFO, KT_ERR_BUSY, "hidden");
    assert_string_equal(logged("log"), "");
    kt_log_set_level(KT_LOG_NOTICE);
    kt_log(KT_LOG_NOTICE, "shown");
    expect_match(logged("log"), "notice: shown\n$");
}

static void renamed_process_keeps_its_log(void **state)
{
    (void)state;
    open_log(KT_LOG_INFO);
    kt_log_rename("kts worker 2");
    kt_log(KT_LOG_INFO, "x");
    expect_match(logged("log"), "kts worker 2\\[[0-9]+\\] info: x\n$");
}

static void control_characters_are_escaped(void **state)
{
    (void)state;
    open_log(KT_LOG_INFO);
    kt_log(KT_LOG_INFO, "a%sb", "\n2026 fake\r\t\x1b[2J\x7f\xc3\xa9");
    assert_non_null(strstr(logged("log"), "info: a\\x0a2026 fake\\x0d\\x09\\x1b[2J\\x7f\xc3\xa9"
                                          "b\n"));
}

static void code_appends_its_text(void **state)
{
    (void)state;
    open_log(KT_LOG_INFO);
    kt_log_code(KT_LOG_WARNING, KT_ERR_NO_QUORUM, "write by '%s'", "c");
    assert_non_null(strstr(logged("log"), "warning: write by 'c': too few nodes are connected"));
}

static void error_appends_message_and_hint(void **state)
{
    struct kt_error error = {KT_ERR_BUSY, "locked", "wait"}, bare = {KT_ERR_BUSY, "", ""};

    (void)state;
    open_log(KT_LOG_ERROR);
    kt_log_error(&error, "start");
    assert_non_null(strstr(logged("log"), "error: start: locked; hint: wait\n"));
    kt_log_error(&bare, "again");
    assert_non_null(strstr(logged("log"), "error: again: in use by somebody else\n"));
}

static void long_line_is_cut_and_still_ends(void **state)
{
    char text[9000];

    (void)state;
    open_log(KT_LOG_INFO);
    memset(text, 1, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    kt_log(KT_LOG_INFO, "%s", text);
    kt_log(KT_LOG_INFO, "next");
    const char *all = logged("log");
    const char *end = strchr(all, '\n');
    assert_non_null(end);
    assert_true(end - all < 4096);
    assert_memory_equal(end - 3, "...", 3);
    assert_non_null(strstr(end, "info: next\n"));
}

static void long_message_leaves_its_tail_out_safely(void **state)
{
    struct kt_error error = {KT_ERR_BUSY, "locked", "wait"};
    char text[3000];

    (void)state;
    open_log(KT_LOG_INFO);
    for (size_t n = 2030; n < 2060; n++) {
        memset(text, 'a', n);
        text[n] = '\0';
        kt_log_error(&error, "%s", text);
    }
    assert_non_null(strstr(logged("log"), "aaa"));
}

static void reopening_follows_a_rotation_on_the_same_descriptor(void **state)
{
    (void)state;
    open_log(KT_LOG_INFO);
    int fd = kt_log_fd();
    kt_log(KT_LOG_INFO, "first");
    assert_int_equal(rename(temp_path("log"), temp_path("log.1")), 0);
    open_log(KT_LOG_INFO);
    kt_log(KT_LOG_INFO, "second");
    assert_int_equal(kt_log_fd(), fd);
    expect_match(logged("log.1"), "first\n$");
    expect_match(logged("log"), "second\n$");
    assert_null(strstr(logged("log"), "first"));
}

static void file_that_cannot_be_opened_keeps_the_old_log(void **state)
{
    (void)state;
    open_log(KT_LOG_INFO);
    assert_int_equal(kt_log_open("kts", KT_LOG_INFO, temp_path("none/log")), KT_ERR_SYSTEM);
    kt_log(KT_LOG_INFO, "still here");
    expect_match(logged("log"), "still here\n$");
}

static void without_a_file_lines_go_to_standard_error(void **state)
{
    (void)state;
    open_log(KT_LOG_INFO);
    assert_int_equal(kt_log_open("kts", KT_LOG_INFO, NULL), 0);
    assert_int_equal(kt_log_fd(), STDERR_FILENO);
    assert_int_equal(kt_log_open("kts", KT_LOG_INFO, ""), 0);
    assert_int_equal(kt_log_fd(), STDERR_FILENO);
}

// Logs one line with standard error going to a file that JOURNAL_STREAM names, off by `shift`.
static const char *log_to_journal(unsigned long long shift)
{
    char stream[64];
    struct stat st;
    int kept = dup(STDERR_FILENO),
        fd = open(temp_path("journal"), O_CREAT | O_TRUNC | O_WRONLY, 0600);

    assert_true(kept >= 0 && fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino + shift);
    setenv("JOURNAL_STREAM", stream, 1);
    dup2(fd, STDERR_FILENO);
    close(fd);
    int rc = kt_log_open("kts", KT_LOG_INFO, NULL);
    kt_log(KT_LOG_WARNING, "to the journal");
    dup2(kept, STDERR_FILENO);
    close(kept);
    assert_int_equal(rc, 0);
    return logged("journal");
}

static void journal_gets_a_priority_and_no_time(void **state)
{
    (void)state;
    expect_match(log_to_journal(0), "^<4>kts\\[[0-9]+\\] warning: to the journal\n$");
}

static void standard_error_that_is_not_the_journal_gets_the_time(void **state)
{
    (void)state;
    expect_match(log_to_journal(1), "^" TIME "kts");
}

static void logging_keeps_errno(void **state)
{
    (void)state;
    open_log(KT_LOG_INFO);
    errno = ENOSPC;
    kt_log(KT_LOG_INFO, "x");
    assert_int_equal(errno, ENOSPC);
}

static int open_as_nobody(void)
{
    return kt_log_open("kts", KT_LOG_INFO, temp_path("log"));
}

static void file_without_right_to_write_is_permission(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        temp_file("log", "", 0, 0400);
        assert_int_equal(open_as_nobody(), KT_ERR_PERMISSION);
        return;
    }
    assert_int_equal(chmod(temp_dir, 0755), 0);
    assert_int_equal(seteuid(65534), 0);
    int rc = open_as_nobody();
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(rc, KT_ERR_PERMISSION);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(line_has_time_program_process_and_level),
        CASE(lines_above_the_level_are_left_out),
        CASE(renamed_process_keeps_its_log),
        CASE(control_characters_are_escaped),
        CASE(code_appends_its_text),
        CASE(error_appends_message_and_hint),
        CASE(long_line_is_cut_and_still_ends),
        CASE(long_message_leaves_its_tail_out_safely),
        CASE(reopening_follows_a_rotation_on_the_same_descriptor),
        CASE(file_that_cannot_be_opened_keeps_the_old_log),
        CASE(without_a_file_lines_go_to_standard_error),
        CASE(journal_gets_a_priority_and_no_time),
        CASE(standard_error_that_is_not_the_journal_gets_the_time),
        CASE(logging_keeps_errno),
        CASE(file_without_right_to_write_is_permission),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
