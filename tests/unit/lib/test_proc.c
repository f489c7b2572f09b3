// SPDX-License-Identifier: Apache-2.0
// Children: status, pipes, environment, deadline, descriptors; and giving up root.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "lib/encode.h"
#include "lib/proc.h"
#include "tests/unit/lib/temp_dir.h"

static struct kt_buf out = KT_BUF_INIT(1 << 20), err = KT_BUF_INIT(4096);
static struct kt_error error;

static int setup(void **state)
{
    kt_buf_reset(&out);
    kt_buf_reset(&err);
    memset(&error, 0, sizeof(error));
    return temp_dir_setup(state);
}

static int teardown(void **state)
{
    kt_buf_free(&out);
    kt_buf_free(&err);
    return temp_dir_teardown(state);
}

// Runs a line of shell with both outputs collected.
static int run_shell(const char *line, int timeout_ms)
{
    const char *const argv[] = {"sh", "-c", line, NULL};
    const struct kt_proc proc = {
        .argv = argv, .output = &out, .errors = &err, .timeout_ms = timeout_ms};

    return kt_proc_run(&proc, NULL, &error);
}

static void expect_output(const char *want)
{
    assert_int_equal(kt_buf_left(&out), strlen(want));
    assert_memory_equal(kt_buf_ptr(&out), want, strlen(want));
}

static void child_that_exits_0_gives_its_output(void **state)
{
    (void)state;
    assert_int_equal(run_shell("echo hello; echo trouble >&2", 10000), 0);
    expect_output("hello\n");
    assert_int_equal(kt_buf_left(&err), 8);
    assert_memory_equal(kt_buf_ptr(&err), "trouble\n", 8);
}

static void failed_child_names_program_status_and_last_line(void **state)
{
    const char *const argv[] = {"/bin/sh", "-c", "echo first >&2; echo 'last words' >&2; exit 3",
                                NULL};
    const struct kt_proc proc = {.argv = argv, .errors = &err};
    int status = 0;

    (void)state;
    assert_int_equal(kt_proc_run(&proc, &status, &error), KT_ERR_CHILD);
    assert_string_equal(error.message, "'/bin/sh' failed with status 3: last words");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void child_ended_by_a_signal_is_named(void **state)
{
    (void)state;
    assert_int_equal(run_shell("kill -KILL $$", 10000), KT_ERR_CHILD);
    assert_non_null(strstr(error.message, "signal 9"));
}

static void missing_program_is_a_system_error(void **state)
{
    const char *const argv[] = {"/none/such/program", NULL};
    const struct kt_proc proc = {.argv = argv};

    (void)state;
    assert_int_equal(kt_proc_run(&proc, NULL, &error), KT_ERR_SYSTEM);
    assert_non_null(strstr(error.message, "/none/such/program"));
    assert_non_null(strstr(error.message, strerror(ENOENT)));
}

static void large_input_comes_back_through_both_pipes(void **state)
{
    static char input[500000];
    const char *const argv[] = {"cat", NULL};
    const struct kt_proc proc = {.argv = argv,
                                 .input = input,
                                 .input_len = sizeof(input),
                                 .output = &out,
                                 .timeout_ms = 30000};

    (void)state;
    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (char)(i % 251);
    assert_int_equal(kt_proc_run(&proc, NULL, &error), 0);
    assert_int_equal(kt_buf_left(&out), sizeof(input));
    assert_memory_equal(kt_buf_ptr(&out), input, sizeof(input));
}

static void child_that_reads_no_input_does_not_end_us(void **state)
{
    static char input[500000];
    const char *const argv[] = {"true", NULL};
    const struct kt_proc proc = {
        .argv = argv, .input = input, .input_len = sizeof(input), .timeout_ms = 10000};

    (void)state;
    assert_int_equal(kt_proc_run(&proc, NULL, &error), 0);
}

static void without_input_stdin_is_empty(void **state)
{
    (void)state;
    assert_int_equal(run_shell("cat; echo end", 10000), 0);
    expect_output("end\n");
}

static void output_over_its_bound_is_too_large(void **state)
{
    struct kt_buf small = KT_BUF_INIT(10);
    const char *const argv[] = {"sh", "-c", "printf 0123456789abc", NULL};
    const struct kt_proc proc = {.argv = argv, .output = &small, .timeout_ms = 10000};

    (void)state;
    assert_int_equal(kt_proc_run(&proc, NULL, &error), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_buf_left(&small), 10);
    kt_buf_free(&small);
}

static void errors_over_their_bound_are_dropped(void **state)
{
    struct kt_buf small = KT_BUF_INIT(10);
    const char *const argv[] = {"sh", "-c", "printf 0123456789abc >&2", NULL};
    const struct kt_proc proc = {.argv = argv, .errors = &small, .timeout_ms = 10000};

    (void)state;
    assert_int_equal(kt_proc_run(&proc, NULL, &error), 0);
    assert_memory_equal(kt_buf_ptr(&small), "0123456789", 10);
    kt_buf_free(&small);
}

static void child_over_its_deadline_is_killed_with_its_group(void **state)
{
    char number[32];
    int64_t before = kt_monotonic_now();

    (void)state;
    assert_int_equal(run_shell("sleep 300 & echo $!; wait", 200), KT_ERR_TIMEOUT);
    assert_true(kt_monotonic_now() - before < 60000000);
    assert_non_null(strstr(error.message, "200 ms"));
    size_t n = kt_buf_left(&out);
    assert_true(n > 1 && n < sizeof(number));
    memcpy(number, kt_buf_ptr(&out), n);
    number[n] = '\0';
    // the grandchild is a zombie of init at most, and soon nothing
    pid_t pid = (pid_t)strtol(number, NULL, 10);
    char path[64], text[256];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    for (;;) {
        FILE *stat_file = fopen(path, "r");
        if (!stat_file || !fgets(text, sizeof(text), stat_file) || strstr(text, ") Z ")) {
            if (stat_file)
                fclose(stat_file);
            break;
        }
        fclose(stat_file);
        assert_true(kt_monotonic_now() - before < 60000000);
    }
}

static void daemon_that_keeps_the_pipe_open_does_not_hold_us(void **state)
{
    int64_t before = kt_monotonic_now();
    char number[32];

    (void)state;
    assert_int_equal(run_shell("sleep 300 & echo $!", 60000), 0);
    assert_true(kt_monotonic_now() - before < 30000000);
    size_t n = kt_buf_left(&out);
    assert_true(n > 1 && n < sizeof(number));
    memcpy(number, kt_buf_ptr(&out), n);
    number[n] = '\0';
    assert_int_equal(kill((pid_t)strtol(number, NULL, 10), SIGKILL), 0);
}

static void environment_is_clean(void **state)
{
    const char *const argv[] = {"env", NULL};
    const char *const env[] = {"EXTRA=1", "HOME=/elsewhere", NULL};
    const struct kt_proc proc = {.argv = argv, .env = env, .output = &out, .timeout_ms = 10000};

    (void)state;
    setenv("KT_TEST_LEAK", "leak", 1);
    setenv("LANG", "de_DE.UTF-8", 1);
    setenv("TZ", "UTC", 1);
    assert_int_equal(kt_proc_run(&proc, NULL, &error), 0);
    unsetenv("KT_TEST_LEAK");
    assert_int_equal(kt_buf_put_u8(&out, 0), 0);
    const char *text = (const char *)kt_buf_ptr(&out);
    assert_null(strstr(text, "KT_TEST_LEAK"));
    assert_non_null(strstr(text, "EXTRA=1\n"));
    assert_non_null(strstr(text, "HOME=/elsewhere\n"));
    assert_non_null(strstr(text, "LANG=C.UTF-8\n"));
    assert_non_null(strstr(text, "TZ=UTC\n"));
    assert_non_null(strstr(text, "PATH="));
    size_t lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 5);
}

static void environment_without_path_gets_a_usual_one(void **state)
{
    char kept[4096];

    (void)state;
    snprintf(kept, sizeof(kept), "%s", getenv("PATH"));
    unsetenv("PATH");
    int rc = run_shell("echo $PATH", 10000);
    setenv("PATH", kept, 1);
    assert_int_equal(rc, 0);
    assert_int_equal(kt_buf_put_u8(&out, 0), 0);
    assert_non_null(strstr((const char *)kt_buf_ptr(&out), "/usr/bin"));
}

static void too_many_environment_entries_are_too_large(void **state)
{
    const char *const argv[] = {"true", NULL};
    const char *env[80];
    const struct kt_proc proc = {.argv = argv, .env = env};

    (void)state;
    for (size_t i = 0; i < 79; i++)
        env[i] = "A=1";
    env[79] = NULL;
    assert_int_equal(kt_proc_run(&proc, NULL, &error), KT_ERR_TOO_LARGE);
}

static void child_inherits_no_descriptors(void **state)
{
    int leak = open("/dev/null", O_RDONLY); // without O_CLOEXEC on purpose

    (void)state;
    assert_true(leak >= 3);
    assert_true(dup2(leak, 57) == 57);
    // ls itself opens one to read the folder
    int rc = run_shell("ls /proc/$$/fd | tr '\\n' ' '", 10000);
    close(57);
    close(leak);
    assert_int_equal(rc, 0);
    assert_int_equal(kt_buf_put_u8(&out, 0), 0);
    assert_null(strstr((const char *)kt_buf_ptr(&out), "57"));
    assert_null(strstr((const char *)kt_buf_ptr(&out), "4"));
}

static void signals_are_as_a_fresh_process_has_them(void **state)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
    sigset_t block, before;

    (void)state;
    sigaction(SIGTERM, &ignore, &old);
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, &before);
    int rc = run_shell("kill -TERM $$; echo alive", 10000);
    sigprocmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGTERM, &old, NULL);
    assert_int_equal(rc, KT_ERR_CHILD);
    assert_non_null(strstr(error.message, "signal 15"));
}

static volatile sig_atomic_t caught;

static void catch_pipe(int number)
{
    (void)number;
    caught = 1;
}

static void sigpipe_handling_of_the_program_is_left_alone(void **state)
{
    static char input[500000];
    const char *const argv[] = {"sh", "-c", "exec <&-; sleep 0.1", NULL};
    const struct kt_proc proc = {
        .argv = argv, .input = input, .input_len = sizeof(input), .timeout_ms = 10000};
    struct sigaction ours = {.sa_handler = catch_pipe}, old, now;
    sigset_t mask, pending;

    (void)state;
    caught = 0;
    sigaction(SIGPIPE, &ours, &old);
    assert_int_equal(kt_proc_run(&proc, NULL, &error), 0);
    sigaction(SIGPIPE, &old, &now);
    assert_true(now.sa_handler == catch_pipe);
    assert_int_equal(caught, 0);
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGPIPE), 0);
}

static void log_fd_receives_both_outputs(void **state)
{
    const char *const argv[] = {"sh", "-c", "echo one; echo two >&2", NULL};
    char text[64] = "";
    int fd = open(temp_path("log"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    const struct kt_proc proc = {.argv = argv, .log_fd = fd, .timeout_ms = 10000};

    (void)state;
    assert_true(fd > 0);
    assert_int_equal(kt_proc_run(&proc, NULL, &error), 0);
    assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), 8);
    assert_string_equal(text, "one\ntwo\n");
    close(fd);
}

static void no_descriptor_is_left_behind(void **state)
{
    int first = dup(0);

    (void)state;
    close(first);
    for (int i = 0; i < 20; i++)
        assert_int_equal(run_shell("true", 10000), 0);
    int again = dup(0);
    close(again);
    assert_int_equal(again, first);
}

static void without_descriptors_it_is_a_system_error(void **state)
{
    struct rlimit before, few;
    int last = dup(0);

    (void)state;
    close(last);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)last + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int rc = run_shell("true", 10000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rc, KT_ERR_SYSTEM);
}

// --- privileges, each in a child ---

static int in_child(int (*check)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(check());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int became_nobody(void)
{
    const struct passwd *nobody = getpwnam("nobody");
    gid_t groups[8];

    if (!nobody || geteuid() != nobody->pw_uid || getuid() != nobody->pw_uid ||
        getegid() != nobody->pw_gid || setuid(0) == 0)
        return 2;
    int n = getgroups(8, groups);
    for (int i = 0; i < n; i++) {
        if (groups[i] == 0)
            return 3;
    }
    return strcmp(getenv("HOME"), nobody->pw_dir) == 0 ? 0 : 4;
}

static int drop_to_owner(void)
{
    return kt_proc_drop_to_owner(temp_dir, NULL) == 0 ? became_nobody() : 1;
}

static int drop_to_user(void)
{
    return kt_proc_drop_to_user("nobody", NULL) == 0 ? became_nobody() : 1;
}

static void root_becomes_the_owner_and_never_returns(void **state)
{
    const struct passwd *nobody = getpwnam("nobody");

    (void)state;
    if (geteuid() != 0 || !nobody)
        skip();
    assert_int_equal(chown(temp_dir, nobody->pw_uid, nobody->pw_gid), 0);
    assert_int_equal(in_child(drop_to_owner), 0);
    assert_int_equal(in_child(drop_to_user), 0);
}

static void root_stays_nothing_but_root_for_what_root_owns(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(kt_proc_drop_to_owner(temp_dir, &error), KT_ERR_PERMISSION);
    assert_int_equal(kt_proc_drop_to_user("root", &error), KT_ERR_PERMISSION);
    assert_int_equal(kt_proc_drop_to_user("no-such-account", &error), KT_ERR_NOT_FOUND);
    assert_int_equal(kt_proc_drop_to_owner(temp_path("none"), &error), KT_ERR_SYSTEM);
    assert_int_equal(chown(temp_dir, 4012345, 4012345), 0);
    assert_int_equal(kt_proc_drop_to_owner(temp_dir, &error), KT_ERR_PERMISSION);
    assert_int_equal(chown(temp_dir, 0, 0), 0);
}

static int not_root(void)
{
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
        return 1;
    return kt_proc_drop_to_owner("/", NULL) == 0 && kt_proc_drop_to_user("root", NULL) == 0 ? 0 : 2;
}

static void drop_without_root_does_nothing(void **state)
{
    (void)state;
    assert_int_equal(in_child(not_root), 0);
}

static int hardened(void)
{
    struct rlimit core;

    if (kt_proc_harden() != 0 || prctl(PR_GET_DUMPABLE) != 0)
        return 1;
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0 || core.rlim_max != 0)
        return 2;
    return umask(0) == 077 ? 0 : 3;
}

static void hardened_process_leaves_no_core(void **state)
{
    (void)state;
    assert_int_equal(in_child(hardened), 0);
}

static int unknown_user(void)
{
    char name[64];

    if (setresuid(4012345, 4012345, 4012345) != 0)
        return 1;
    kt_proc_user_name(name, sizeof(name));
    return strcmp(name, "uid 4012345") == 0 ? 0 : 2;
}

static void user_is_named_or_numbered(void **state)
{
    const struct passwd *account = getpwuid(geteuid());
    char name[64];

    (void)state;
    kt_proc_user_name(name, sizeof(name));
    if (account)
        assert_string_equal(name, account->pw_name);
    if (geteuid() == 0)
        assert_int_equal(in_child(unknown_user), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(child_that_exits_0_gives_its_output),
        CASE(failed_child_names_program_status_and_last_line),
        CASE(child_ended_by_a_signal_is_named),
        CASE(missing_program_is_a_system_error),
        CASE(large_input_comes_back_through_both_pipes),
        CASE(child_that_reads_no_input_does_not_end_us),
        CASE(without_input_stdin_is_empty),
        CASE(output_over_its_bound_is_too_large),
        CASE(errors_over_their_bound_are_dropped),
        CASE(child_over_its_deadline_is_killed_with_its_group),
        CASE(daemon_that_keeps_the_pipe_open_does_not_hold_us),
        CASE(environment_is_clean),
        CASE(environment_without_path_gets_a_usual_one),
        CASE(too_many_environment_entries_are_too_large),
        CASE(child_inherits_no_descriptors),
        CASE(signals_are_as_a_fresh_process_has_them),
        CASE(sigpipe_handling_of_the_program_is_left_alone),
        CASE(log_fd_receives_both_outputs),
        CASE(no_descriptor_is_left_behind),
        CASE(without_descriptors_it_is_a_system_error),
        CASE(root_becomes_the_owner_and_never_returns),
        CASE(root_stays_nothing_but_root_for_what_root_owns),
        CASE(drop_without_root_does_nothing),
        CASE(hardened_process_leaves_no_core),
        CASE(user_is_named_or_numbered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
