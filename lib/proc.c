// SPDX-License-Identifier: Apache-2.0
// Running a child to its end: argv, clean environment, pipes, deadline, process group.
#include "lib/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/encode.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define ENV_MAX      64
#define TICK_MS      20 // how often the child is looked at where there are no pidfds

// The parent's end of what connects it with the child; -1 = none.
struct run {
    const struct kt_proc *proc;
    pid_t pid, parent;
    int pidfd;
    int in, out, err;                                  // pipes
    int started;                                       // receives errno when exec fails
    int child_in, child_out, child_err, child_started; // the child's ends
    size_t written;                                    // of the input
    int too_large;                                     // output went over its bound
    int64_t deadline;                                  // 0 = none
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int make_pipe(int *reader, int *writer)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    *reader = ends[0];
    *writer = ends[1];
    return 0;
}

static int open_null(int *fd, int flags)
{
    *fd = open("/dev/null", flags | O_CLOEXEC);
    return *fd < 0 ? -1 : 0;
}

static int connect_child(struct run *run, struct kt_error *error)
{
    const struct kt_proc *proc = run->proc;
    int failed = make_pipe(&run->started, &run->child_started);

    if (!failed)
        failed =
            proc->input ? make_pipe(&run->child_in, &run->in) : open_null(&run->child_in, O_RDONLY);
    if (!failed && proc->log_fd <= 0) {
        failed = proc->output ? make_pipe(&run->out, &run->child_out)
                              : open_null(&run->child_out, O_WRONLY);
        if (!failed && proc->errors)
            failed = make_pipe(&run->err, &run->child_err);
    }
    if (failed)
        return kt_error_errno(error, "cannot connect a child process");
    const int ours[] = {run->in, run->out, run->err};
    for (size_t i = 0; i < 3; i++) {
        if (ours[i] >= 0 && fcntl(ours[i], F_SETFL, O_NONBLOCK) != 0)
            return kt_error_errno(error, "cannot connect a child process");
    }
    return 0;
}

static int has_name(const char *const *env, const char *entry)
{
    size_t n = strcspn(entry, "=") + 1;

    for (; env && *env; env++) {
        if (strncmp(*env, entry, n) == 0)
            return 1;
    }
    return 0;
}

// Fills `out` (NULL-terminated); what is built here goes into `own`, to be freed.
static int build_env(const struct kt_proc *proc, const char *out[ENV_MAX], char *own[3])
{
    static const char *const KEPT[] = {"PATH", "HOME", "TZ"};
    size_t n = 0;

    for (const char *const *entry = proc->env; entry && *entry; entry++) {
        if (n == ENV_MAX - 5)
            return KT_ERR_TOO_LARGE;
        out[n++] = *entry;
    }
    for (size_t i = 0; i < 3; i++) {
        const char *value = getenv(KEPT[i]);
        if (value && asprintf(&own[i], "%s=%s", KEPT[i], value) < 0) {
            own[i] = NULL;
            return KT_ERR_NO_MEMORY;
        }
        if (own[i] && !has_name(proc->env, own[i]))
            out[n++] = own[i];
    }
    if (!own[0] && !has_name(proc->env, DEFAULT_PATH))
        out[n++] = DEFAULT_PATH;
    if (!has_name(proc->env, "LANG="))
        out[n++] = "LANG=C.UTF-8";
    out[n] = NULL;
    return 0;
}

static void close_others(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) == 0)
        return;
#endif
    long limit = sysconf(_SC_OPEN_MAX);
    for (int fd = first; fd < (limit > 0 && limit < 65536 ? limit : 65536); fd++)
        close(fd);
}

// In the child; only async-signal-safe calls until exec.
__attribute__((noreturn)) static void become_child(const struct run *run, const char *const *env)
{
    const struct kt_proc *proc = run->proc;
    int out = proc->log_fd > 0 ? proc->log_fd : run->child_out;
    int err = proc->log_fd > 0 ? proc->log_fd : run->child_err;
    union { // exec takes non-const arrays and changes nothing
        const char *const *in;
        char *const *out;
    } argv = {.in = proc->argv}, envp = {.in = env};
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigset_t none;
    int fds[4];

    setpgid(0, 0);
    // Whose parent is gone already has missed the signal.
    if (proc->dies_with_us && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != run->parent))
        _exit(127);
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &plain, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    // Above the targets first, so that no dup2 overwrites what the next one needs.
    fds[0] = fcntl(run->child_in, F_DUPFD_CLOEXEC, 10);
    fds[1] = fcntl(out, F_DUPFD_CLOEXEC, 10);
    fds[2] = fcntl(err >= 0 ? err : STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    fds[3] = fcntl(run->child_started, F_DUPFD_CLOEXEC, 10);
    if (dup2(fds[0], 0) < 0 || dup2(fds[1], 1) < 0 || (fds[2] >= 0 && dup2(fds[2], 2) < 0))
        _exit(127);
    if (dup3(fds[3], 3, O_CLOEXEC) < 0)
        _exit(127);
    close_others(4);
    execvpe(argv.out[0], argv.out, envp.out);
    int number = errno;
    while (write(3, &number, sizeof(number)) < 0 && errno == EINTR)
        ;
    _exit(127);
}

// A child that reads no input must not end us by SIGPIPE, whose handling is the calling program's:
// it is held off in this thread only, and what the writing made is taken away.
static void hold_sigpipe(sigset_t *old, int *was_pending)
{
    sigset_t set;

    sigpending(&set);
    *was_pending = sigismember(&set, SIGPIPE) == 1;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, old);
}

static void release_sigpipe(const sigset_t *old, int was_pending)
{
    const struct timespec now = {0, 0};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    while (!was_pending && sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

static void feed(struct run *run)
{
    const uint8_t *input = run->proc->input;
    sigset_t old;
    int was_pending = 0;

    if (run->in < 0)
        return;
    hold_sigpipe(&old, &was_pending);
    while (run->in >= 0 && run->written < run->proc->input_len) {
        ssize_t n = write(run->in, input + run->written, run->proc->input_len - run->written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            goto out;
        if (n < 0) // EPIPE: it does not want more; its exit status tells whether that is bad
            break;
        run->written += (size_t)n;
    }
    close_fd(&run->in);
out:
    release_sigpipe(&old, was_pending);
}

// Empties a pipe into `buf`; what is over its bound is dropped and reported by 1.
static int drain(int *fd, struct kt_buf *buf)
{
    uint8_t part[4096];
    int dropped = 0;

    while (*fd >= 0) {
        ssize_t n = read(*fd, part, sizeof(part));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            close_fd(fd);
            break;
        }
        size_t room = buf->max - kt_buf_left(buf), got = (size_t)n;
        if (got > room) {
            dropped = 1;
            got = room;
        }
        if (kt_buf_put(buf, part, got) != 0)
            dropped = 1;
    }
    explicit_bzero(part, sizeof(part)); // output may be secret
    return dropped;
}

static int end_child(const struct run *run, int *status, int rc)
{
    int saved = errno;

    kill(-run->pid, SIGKILL);
    kill(run->pid, SIGKILL); // should the group not exist
    while (waitpid(run->pid, status, 0) < 0 && errno == EINTR)
        ;
    errno = saved;
    return rc;
}

// Waits for the end of the child (not of the pipes: a daemon that it leaves behind may hold them).
// Gives 0, KT_ERR_TIMEOUT or KT_ERR_SYSTEM; afterwards there is no child.
static int pump(struct run *run, int *status)
{
    for (;;) {
        struct pollfd fds[4] = {{run->in, POLLOUT, 0},
                                {run->out, POLLIN, 0},
                                {run->err, POLLIN, 0},
                                {run->pidfd, POLLIN, 0}};
        int wait_ms = run->pidfd >= 0 ? -1 : TICK_MS;
        pid_t ended;

        if (run->deadline) {
            int64_t left = (run->deadline - kt_monotonic_now() + 999) / 1000;
            if (left <= 0)
                return end_child(run, status, KT_ERR_TIMEOUT);
            if (wait_ms < 0 || left < wait_ms)
                wait_ms = left > 1000000 ? 1000000 : (int)left;
        }
        if (poll(fds, 4, wait_ms) < 0 && errno != EINTR)
            return end_child(run, status, KT_ERR_SYSTEM);
        // Looked at before the pipes are emptied: what it wrote before its end is in them then.
        ended = waitpid(run->pid, status, WNOHANG);
        feed(run);
        if (run->out >= 0)
            run->too_large |= drain(&run->out, run->proc->output);
        if (run->err >= 0)
            (void)drain(&run->err, run->proc->errors);
        if (ended == run->pid)
            return 0;
        if (ended < 0 && errno != EINTR)
            return KT_ERR_SYSTEM;
    }
}

// The last line of what the child wrote to stderr, for the message.
static void last_line(const struct kt_buf *errors, char *out, size_t size)
{
    const char *text = errors ? (const char *)kt_buf_ptr(errors) : NULL;
    size_t end = errors ? kt_buf_left(errors) : 0;
    size_t start;

    out[0] = '\0';
    while (end > 0 && strchr("\r\n \t", text[end - 1]))
        end--;
    for (start = end; start > 0 && text[start - 1] != '\n';)
        start--;
    if (end > start)
        snprintf(out, size, ": %.*s", (int)(end - start > 300 ? 300 : end - start), text + start);
}

static int judge(const struct run *run, int rc, int status, struct kt_error *error)
{
    const char *name = run->proc->argv[0];
    char why[320];

    if (rc == KT_ERR_TIMEOUT)
        return kt_error_set(error, rc, NULL, "'%s' did not end within %d ms", name,
                            run->proc->timeout_ms);
    if (rc)
        return kt_error_errno(error, "cannot wait for '%s'", name);
    last_line(run->proc->errors, why, sizeof(why));
    if (WIFSIGNALED(status))
        return kt_error_set(error, KT_ERR_CHILD, NULL, "'%s' was ended by signal %d (%s)%s", name,
                            WTERMSIG(status), strsignal(WTERMSIG(status)), why);
    if (WEXITSTATUS(status) != 0)
        return kt_error_set(error, KT_ERR_CHILD, NULL, "'%s' failed with status %d%s", name,
                            WEXITSTATUS(status), why);
    if (run->too_large)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "'%s' wrote more than %zu bytes", name,
                            run->proc->output->max);
    return 0;
}

// Waits until the child has exec'ed: 0, or KT_ERR_SYSTEM and the child is gone.
static int check_start(struct run *run, int *status, struct kt_error *error)
{
    int number = 0;
    ssize_t n;

    close_fd(&run->child_started);
    do {
        n = read(run->started, &number, sizeof(number));
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(number))
        return 0;
    while (waitpid(run->pid, status, 0) < 0 && errno == EINTR)
        ;
    return kt_error_set(error, KT_ERR_SYSTEM, "check that the program is installed",
                        "cannot run '%s': %s", run->proc->argv[0], strerror(number));
}

static int start_and_wait(struct run *run, const char *const *env, int *status,
                          struct kt_error *error)
{
    int rc;

    run->parent = getpid();
    run->pid = fork();
    if (run->pid < 0)
        return kt_error_errno(error, "cannot make a process for '%s'", run->proc->argv[0]);
    if (run->pid == 0)
        become_child(run, env);
    setpgid(run->pid, run->pid); // both sides do it: whoever comes second does no harm
    close_fd(&run->child_in);
    close_fd(&run->child_out);
    close_fd(&run->child_err);
    rc = check_start(run, status, error);
    if (rc)
        return rc;
    run->pidfd = (int)syscall(SYS_pidfd_open, run->pid, 0);
    rc = pump(run, status);
    return judge(run, rc, *status, error);
}

int kt_proc_run(const struct kt_proc *proc, int *status, struct kt_error *error)
{
    struct run run = {proc, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0};
    const char *env[ENV_MAX];
    char *own[3] = {NULL, NULL, NULL};
    int raw = 0, rc;

    if (proc->timeout_ms > 0)
        run.deadline = kt_monotonic_now() + (int64_t)proc->timeout_ms * 1000;
    rc = build_env(proc, env, own);
    if (rc)
        kt_error_set(error, rc, NULL, "cannot make the environment of '%s'", proc->argv[0]);
    else
        rc = connect_child(&run, error);
    if (rc == 0) {
        rc = start_and_wait(&run, env, &raw, error);
        if (status)
            *status = raw;
    }
    int *const fds[] = {&run.in,        &run.out,       &run.err,
                        &run.started,   &run.pidfd,     &run.child_in,
                        &run.child_out, &run.child_err, &run.child_started};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        close_fd(fds[i]);
    for (size_t i = 0; i < 3; i++)
        free(own[i]);
    return rc;
}
