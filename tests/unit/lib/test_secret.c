// SPDX-License-Identifier: Apache-2.0
// Locked, wiped secrets: from memory, random, files, standard input and the terminal.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>

#include "lib/secret.h"
#include "tests/unit/lib/temp_dir.h"

static void new_secret_is_zeroed_terminated_and_bounded(void **state)
{
    struct kt_secret *s = NULL;

    (void)state;
    assert_int_equal(kt_secret_new(32, &s), 0);
    assert_int_equal(kt_secret_len(s), 32);
    for (size_t i = 0; i <= 32; i++)
        assert_int_equal(kt_secret_data(s)[i], 0);
    kt_secret_free(s);
    s = NULL;
    assert_int_equal(kt_secret_new(0, &s), KT_ERR_INVALID);
    assert_int_equal(kt_secret_new(1024 * 1024 + 1, &s), KT_ERR_TOO_LARGE);
    assert_null(s);
    assert_int_equal(kt_secret_new(1024 * 1024, &s), 0);
    assert_int_equal(kt_secret_data(s)[1024 * 1024], 0);
    kt_secret_free(s);
    kt_secret_free(NULL);
}

static void bytes_are_copied_and_readable_as_text(void **state)
{
    struct kt_secret *s;

    (void)state;
    assert_int_equal(kt_secret_from_bytes("hush", 4, &s), 0);
    assert_string_equal(kt_secret_text(s), "hush");
    kt_secret_free(s);
    assert_int_equal(kt_secret_from_bytes("", 0, &s), KT_ERR_INVALID);
}

static void secret_is_left_out_of_cores(void **state)
{
    struct kt_secret *s;
    char line[512];
    int inside = 0, found = 0;

    (void)state;
    assert_int_equal(kt_secret_from_bytes("hush", 4, &s), 0);
    uintptr_t at = (uintptr_t)kt_secret_data(s);
    FILE *maps = fopen("/proc/self/smaps", "r");
    if (!maps)
        skip();
    while (fgets(line, sizeof(line), maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = at >= from && at < to;
        if (inside && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, " dd") != NULL;
    }
    fclose(maps);
    assert_true(found);
    kt_secret_free(s);
}

static void secret_beyond_the_lock_limit_still_works(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        struct kt_secret *s;
        if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 ||
            (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0))
            _exit(1);
        _exit(kt_secret_new(100000, &s) == 0 && kt_secret_data(s)[5] == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void random_secrets_differ(void **state)
{
    struct kt_secret *a, *b;

    (void)state;
    assert_int_equal(kt_secret_random(1000, &a), 0);
    assert_int_equal(kt_secret_random(1000, &b), 0);
    assert_false(kt_equal_secret(kt_secret_data(a), kt_secret_data(b), 1000));
    kt_secret_free(a);
    kt_secret_free(b);
    assert_int_equal(kt_secret_random(0, &a), KT_ERR_INVALID);
    assert_int_equal(kt_secret_random(1024 * 1024 + 1, &a), KT_ERR_TOO_LARGE);
}

static void random_hex_has_two_digits_a_byte(void **state)
{
    struct kt_secret *s;

    (void)state;
    assert_int_equal(kt_secret_random_hex(24, &s), 0);
    assert_int_equal(kt_secret_len(s), 48);
    assert_int_equal(strspn(kt_secret_text(s), "0123456789abcdef"), 48);
    kt_secret_free(s);
    assert_int_equal(kt_secret_random_hex(0, &s), KT_ERR_INVALID);
    assert_int_equal(kt_secret_random_hex(1024 * 1024, &s), KT_ERR_TOO_LARGE);
}

static void truncated_secret_is_wiped_behind_its_end(void **state)
{
    struct kt_secret *s;

    (void)state;
    assert_int_equal(kt_secret_from_bytes("abcdef", 6, &s), 0);
    kt_secret_truncate(s, 9);
    assert_int_equal(kt_secret_len(s), 6);
    kt_secret_truncate(s, 2);
    assert_int_equal(kt_secret_len(s), 2);
    assert_memory_equal(kt_secret_data(s), "ab\0\0\0\0", 6);
    kt_secret_free(s);
}

static void wipe_and_compare_work_on_plain_memory(void **state)
{
    char a[] = "hush", zero[5] = {0};

    (void)state;
    assert_true(kt_equal_secret(a, "hush", 4));
    assert_false(kt_equal_secret(a, "husH", 4));
    assert_false(kt_equal_secret(a, "Hush", 4));
    assert_true(kt_equal_secret(a, "xxxx", 0));
    kt_wipe(a, sizeof(a));
    assert_memory_equal(a, zero, sizeof(a));
    kt_wipe(NULL, 0);
}

static void file_is_read_exactly_and_as_text_without_its_newline(void **state)
{
    struct kt_secret *s;

    (void)state;
    temp_text("f", "hush\n\n");
    assert_int_equal(kt_secret_from_file(temp_path("f"), 100, 0, &s, NULL), 0);
    assert_int_equal(kt_secret_len(s), 6);
    kt_secret_free(s);
    assert_int_equal(kt_secret_from_file(temp_path("f"), 100, 1, &s, NULL), 0);
    assert_string_equal(kt_secret_text(s), "hush\n");
    kt_secret_free(s);
}

static void file_at_the_bound_is_read_and_one_byte_more_is_too_large(void **state)
{
    struct kt_secret *s = NULL;
    struct kt_error error;

    (void)state;
    assert_int_equal(kt_secret_from_file(temp_text("f", "1234"), 4, 0, &s, &error), 0);
    kt_secret_free(s);
    assert_int_equal(kt_secret_from_file(temp_text("f", "1234\n"), 4, 1, &s, &error), 0);
    kt_secret_free(s);
    s = NULL;
    assert_int_equal(kt_secret_from_file(temp_text("f", "1234\n"), 4, 0, &s, &error),
                     KT_ERR_TOO_LARGE);
    assert_int_equal(kt_secret_from_file(temp_text("f", "12345\n"), 4, 1, &s, &error),
                     KT_ERR_TOO_LARGE);
    assert_null(s);
}

static void empty_binary_or_missing_file_is_refused(void **state)
{
    struct kt_secret *s = NULL;
    struct kt_error error;

    (void)state;
    assert_int_equal(kt_secret_from_file(temp_text("f", ""), 4, 0, &s, &error), KT_ERR_INVALID);
    assert_int_equal(kt_secret_from_file(temp_text("f", "\n"), 4, 1, &s, &error), KT_ERR_INVALID);
    assert_int_equal(kt_secret_from_file(temp_file("f", "a\0b", 3, 0600), 4, 1, &s, &error),
                     KT_ERR_INVALID);
    assert_int_equal(kt_secret_from_file(temp_path("none"), 4, 1, &s, &error), KT_ERR_NOT_FOUND);
    assert_int_equal(kt_secret_from_file(temp_dir, 4, 1, &s, &error), KT_ERR_INVALID);
    assert_int_equal(kt_secret_from_file(temp_path("f/below"), 4, 1, &s, &error), KT_ERR_SYSTEM);
    assert_null(s);
    assert_int_equal(kt_secret_from_file(temp_file("f", "a\0b", 3, 0600), 4, 0, &s, &error), 0);
    kt_secret_free(s);
}

static void file_that_others_can_read_is_refused(void **state)
{
    static const mode_t MODES[] = {0640, 0604, 0610, 0602};
    struct kt_secret *s = NULL;
    struct kt_error error;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(kt_secret_from_file(temp_file("f", "x", 1, MODES[i]), 4, 0, &s, &error),
                         KT_ERR_PERMISSION);
        assert_non_null(strstr(error.hint, "chmod"));
    }
}

static void dash_reads_standard_input(void **state)
{
    struct kt_secret *s;
    int ends[2], kept = dup(STDIN_FILENO);

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "from a pipe\n", 12), 12);
    close(ends[1]);
    assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
    close(ends[0]);
    int rc = kt_secret_from_file("-", 100, 1, &s, NULL);
    if (kept >= 0) {
        dup2(kept, STDIN_FILENO);
        close(kept);
    }
    assert_int_equal(rc, 0);
    assert_string_equal(kt_secret_text(s), "from a pipe");
    kt_secret_free(s);
}

// --- the prompt, in a child that has a terminal of its own ---

// Waits on the terminal until `want` was printed; what came goes into `seen`.
static void wait_for(int fd, const char *want, char *seen, size_t size)
{
    size_t n = strlen(seen);

    while (!strstr(seen, want)) {
        ssize_t got = read(fd, seen + n, size - n - 1);
        assert_true(got > 0);
        n += (size_t)got;
        seen[n] = '\0';
    }
}

// Types `keys` at the prompt. 0 when the child's prompt returned `rc` with `answer`, left the
// terminal as it was, and nothing of the keys was echoed.
static void type_at_prompt(const char *keys, int rc, const char *answer)
{
    char seen[4096] = "";
    int fd, status;
    pid_t pid = forkpty(&fd, NULL, NULL, NULL);

    assert_true(pid >= 0);
    if (pid == 0) {
        struct kt_secret *s = NULL;
        struct kt_error error;
        struct termios before, after;
        if (tcgetattr(0, &before) != 0)
            _exit(10);
        if (kt_secret_prompt("Passphrase: ", &s, &error) != rc)
            _exit(11);
        if (tcgetattr(0, &after) != 0 || before.c_lflag != after.c_lflag ||
            memcmp(before.c_cc, after.c_cc, sizeof(before.c_cc)) != 0)
            _exit(12);
        if (rc == 0 && strcmp(kt_secret_text(s), answer) != 0)
            _exit(13);
        if (rc != 0 && s)
            _exit(14);
        kt_secret_free(s);
        _exit(0);
    }
    wait_for(fd, "Passphrase: ", seen, sizeof(seen));
    assert_int_equal(write(fd, keys, strlen(keys)), strlen(keys));
    wait_for(fd, "\n", seen, sizeof(seen));
    assert_string_equal(seen, "Passphrase: \r\n");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(fd);
    assert_int_equal(status, 0);
}

static void prompt_reads_a_line_without_echo(void **state)
{
    (void)state;
    type_at_prompt("hush hush\r", 0, "hush hush");
}

static void prompt_edits_with_backspace_and_kill(void **state)
{
    (void)state;
    type_at_prompt("wrong\x15huxx\x7f\x08sh\n", 0, "hush");
}

static void prompt_interrupted_or_left_empty_is_refused_by_user(void **state)
{
    (void)state;
    type_at_prompt("hu\x03", KT_ERR_REFUSED_BY_USER, NULL);
    type_at_prompt("\r", KT_ERR_REFUSED_BY_USER, NULL);
    type_at_prompt("\x04", KT_ERR_REFUSED_BY_USER, NULL);
}

static void prompt_with_too_long_an_answer_is_too_large(void **state)
{
    char keys[1100];

    (void)state;
    memset(keys, 'a', sizeof(keys) - 1);
    keys[sizeof(keys) - 1] = '\0';
    type_at_prompt(keys, KT_ERR_TOO_LARGE, NULL);
}

static void prompt_ended_by_a_signal_restores_the_terminal(void **state)
{
    char seen[256] = "";
    struct termios before, after;
    int fd, status;
    pid_t pid = forkpty(&fd, NULL, NULL, NULL);

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        struct kt_secret *s;
        _exit(kt_secret_prompt("Passphrase: ", &s, NULL) == 0 ? 1 : 2);
    }
    assert_int_equal(tcgetattr(fd, &before), 0);
    wait_for(fd, "Passphrase: ", seen, sizeof(seen));
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_int_equal(tcgetattr(fd, &after), 0);
    assert_true(after.c_lflag & ECHO);
    close(fd);
}

static void prompt_without_a_terminal_is_usage(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        struct kt_secret *s;
        (void)setsid();
        _exit(kt_secret_prompt("Passphrase: ", &s, NULL) == KT_ERR_USAGE ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(new_secret_is_zeroed_terminated_and_bounded),
        CASE(bytes_are_copied_and_readable_as_text),
        CASE(secret_is_left_out_of_cores),
        CASE(secret_beyond_the_lock_limit_still_works),
        CASE(random_secrets_differ),
        CASE(random_hex_has_two_digits_a_byte),
        CASE(truncated_secret_is_wiped_behind_its_end),
        CASE(wipe_and_compare_work_on_plain_memory),
        CASE(file_is_read_exactly_and_as_text_without_its_newline),
        CASE(file_at_the_bound_is_read_and_one_byte_more_is_too_large),
        CASE(empty_binary_or_missing_file_is_refused),
        CASE(file_that_others_can_read_is_refused),
        CASE(dash_reads_standard_input),
        CASE(prompt_reads_a_line_without_echo),
        CASE(prompt_edits_with_backspace_and_kill),
        CASE(prompt_interrupted_or_left_empty_is_refused_by_user),
        CASE(prompt_with_too_long_an_answer_is_too_large),
        CASE(prompt_ended_by_a_signal_restores_the_terminal),
        CASE(prompt_without_a_terminal_is_usage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
