// SPDX-License-Identifier: Apache-2.0
// gpg as a child that a stream of any length runs through: faster than through GPGME, which copies
// it twice, and its exit status is known, which GPGME does not look at.
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/gpg_inner.h"

#define BLOCK      ((size_t)1 << 20)
#define ARGS_MAX   96
#define STATUS_FD  3
#define SECRET_FD  4
#define FIRST_FREE 10 // our descriptors stay above the child's
#define PREFIX     "[GNUPG:] "
#define LINE_LEN   512
#define ENV_MAX    16

struct line {
    char text[LINE_LEN];
    size_t len;
};

// The parent's ends of the pipes (-1: none or closed), and the child's.
struct run {
    struct kt_gpg *gpg;
    struct kt_gpg_child *child;
    pid_t pid;
    int in, out, err, status;
    int child_in, child_out, child_err, child_status, child_secret;
    uint8_t *from_in, *from_out; // BLOCK bytes each
    size_t in_at, in_len;        // of from_in, not yet written
    int in_ended;
    struct line err_line, status_line;
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
    *reader = fcntl(ends[0], F_DUPFD_CLOEXEC, FIRST_FREE);
    *writer = fcntl(ends[1], F_DUPFD_CLOEXEC, FIRST_FREE);
    close(ends[0]);
    close(ends[1]);
    return *reader < 0 || *writer < 0 ? -1 : 0;
}

// The passphrase and a newline, all of which fits the pipe.
static int pass_secret(struct run *run)
{
    const struct kt_secret *secret = run->gpg->passphrase;
    int writer = -1, failed;
    size_t n;

    if (secret == NULL)
        return 0;
    n = kt_secret_len(secret);
    failed = make_pipe(&run->child_secret, &writer) != 0;
    if (!failed && n > 4000) {
        errno = EMSGSIZE;
        failed = 1;
    }
    if (!failed)
        failed =
            write(writer, kt_secret_text(secret), n) != (ssize_t)n || write(writer, "\n", 1) != 1;
    close_fd(&writer);
    return failed ? -1 : 0;
}

static int connect_child(struct run *run, struct kt_error *error)
{
    int failed = make_pipe(&run->out, &run->child_out) != 0 ||
                 make_pipe(&run->err, &run->child_err) != 0 ||
                 make_pipe(&run->status, &run->child_status) != 0 || pass_secret(run) != 0;

    if (!failed && run->child->look)
        failed =
            make_pipe(&run->child_in, &run->in) != 0 || fcntl(run->in, F_SETFL, O_NONBLOCK) != 0;
    else if (!failed)
        failed = (run->child_in = fcntl(run->child->in_fd, F_DUPFD_CLOEXEC, FIRST_FREE)) < 0;
    if (failed || fcntl(run->err, F_SETFL, O_NONBLOCK) != 0)
        return kt_error_errno(error, "cannot connect gpg");
    // Fewer changes between the two processes; what the system allows is as good.
    (void)fcntl(run->out, F_SETPIPE_SZ, BLOCK);
    if (run->in >= 0)
        (void)fcntl(run->in, F_SETPIPE_SZ, BLOCK);
    return 0;
}

static void build_args(const struct run *run, const char *argv[ARGS_MAX])
{
    static const char *const COMMON[] = {
        "--batch",     "--no-tty",    "--yes",
        "--quiet",     "--logger-fd", "2",
        "--status-fd", "3",           "--exit-on-status-write-error",
        "--output",    "-",           NULL};
    static const char *const SECRET[] = {"--pinentry-mode", "loopback", "--passphrase-fd", "4",
                                         NULL};
    const char *program = gpgme_get_dirinfo("gpg-name");
    size_t n = 0;

    argv[n++] = program ? program : "gpg";
    for (size_t i = 0; COMMON[i]; i++)
        argv[n++] = COMMON[i];
    argv[n++] = "--homedir";
    argv[n++] = run->gpg->home;
    for (size_t i = 0; run->gpg->passphrase && SECRET[i]; i++)
        argv[n++] = SECRET[i];
    for (size_t i = 0; run->child->args[i] && n + 1 < ARGS_MAX; i++)
        argv[n++] = run->child->args[i];
    argv[n] = NULL;
}

static int add_env(char *env[ENV_MAX], size_t *n, const char *name, const char *value)
{
    if (asprintf(&env[*n], "%s=%s", name, value) < 0) {
        env[*n] = NULL;
        return KT_ERR_NO_MEMORY;
    }
    ++*n;
    return 0;
}

// What gpg, its agent and a pinentry need of our environment; messages in English.
static int build_env(char *env[ENV_MAX])
{
    static const char *const KEPT[] = {"PATH",
                                       "HOME",
                                       "TZ",
                                       "GPG_TTY",
                                       "TERM",
                                       "DISPLAY",
                                       "TMPDIR",
                                       "XAUTHORITY",
                                       "XDG_RUNTIME_DIR",
                                       "WAYLAND_DISPLAY",
                                       "PINENTRY_USER_DATA",
                                       "DBUS_SESSION_BUS_ADDRESS"};
    size_t n = 0;
    char terminal[256];
    int rc = add_env(env, &n, "LC_ALL", "C.UTF-8");

    for (size_t i = 0; rc == 0 && i < sizeof KEPT / sizeof KEPT[0]; i++) {
        const char *value = getenv(KEPT[i]);
        if (value)
            rc = add_env(env, &n, KEPT[i], value);
    }
    if (rc == 0 && !getenv("GPG_TTY") && ttyname_r(STDERR_FILENO, terminal, sizeof terminal) == 0)
        rc = add_env(env, &n, "GPG_TTY", terminal);
    return rc;
}

static int spawn(struct run *run, const struct kt_gpg_guard *guard, struct kt_error *error)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    const char *argv[ARGS_MAX];
    char *env[ENV_MAX] = {NULL};
    sigset_t defaults;
    union { // exec takes no const and changes nothing
        const char **in;
        char *const *out;
    } plain = {.in = argv};
    int failed;

    build_args(run, argv);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory for gpg");
    posix_spawnattr_init(&attributes);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setsigmask(&attributes, &guard->old);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    failed = build_env(env) != 0 ? ENOMEM : 0;
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&actions, run->child_in, 0);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&actions, run->child_out, 1);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&actions, run->child_err, 2);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&actions, run->child_status, STATUS_FD);
    if (!failed && run->child_secret >= 0)
        failed = posix_spawn_file_actions_adddup2(&actions, run->child_secret, SECRET_FD);
    if (!failed)
        failed = posix_spawnp(&run->pid, argv[0], &actions, &attributes, plain.out, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    for (size_t i = 0; i < ENV_MAX; i++)
        free(env[i]);
    if (failed) {
        run->pid = -1;
        errno = failed;
        return kt_error_errno(error, "cannot run \"%s\"", argv[0]);
    }
    close_fd(&run->child_in);
    close_fd(&run->child_out);
    close_fd(&run->child_err);
    close_fd(&run->child_status);
    close_fd(&run->child_secret);
    return 0;
}

// --- what gpg says ---

static void take_status(struct run *run, const char *line)
{
    struct kt_gpg_status *status = &run->child->status;
    const struct {
        const char *word;
        unsigned *count;
    } words[] = {
        {"END_ENCRYPTION", &status->end_encryption},
        {"INV_RECP", &status->invalid_recipient},
        {"DECRYPTION_INFO", &status->decryption_info},
        {"DECRYPTION_OKAY", &status->decryption_okay},
        {"GOODMDC", &status->good_mdc},
        {"BADMDC", &status->bad_mdc},
    };
    size_t n;

    if (strncmp(line, PREFIX, strlen(PREFIX)) != 0)
        return;
    line += strlen(PREFIX);
    n = strcspn(line, " ");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i].word) == n && memcmp(line, words[i].word, n) == 0)
            ++*words[i].count;
}

static void take_message(struct run *run, const char *line)
{
    size_t n = 0;

    if (strncmp(line, "gpg: ", 5) == 0)
        line += 5;
    for (; line[n] && n + 1 < sizeof run->child->last_line; n++)
        run->child->last_line[n] = (char)(iscntrl((unsigned char)line[n]) ? '?' : line[n]);
    if (n > 0)
        run->child->last_line[n] = '\0';
}

// Reads once; gives 0 at the end or when there is nothing now.
static int read_lines(struct run *run, int *fd, struct line *line,
                      void (*take)(struct run *run, const char *line))
{
    char bytes[4096];
    ssize_t n = read(*fd, bytes, sizeof bytes);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0) {
        close_fd(fd);
        return 0;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] != '\n') {
            if (line->len + 1 < sizeof line->text) // the rest of a long line is dropped
                line->text[line->len++] = bytes[i];
            continue;
        }
        line->text[line->len] = '\0';
        line->len = 0;
        take(run, line->text);
    }
    return 1;
}

// --- the stream ---

// Reads more of the input when all was written, and writes; at the end closes gpg's stdin.
static int feed(struct run *run, int readable, int writable, struct kt_error *error)
{
    struct kt_gpg_child *child = run->child;
    ssize_t n;
    int rc;

    if (run->in_at == run->in_len && readable) {
        n = read(child->in_fd, run->from_in, BLOCK);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            return 0;
        if (n < 0)
            return kt_error_errno(error, "cannot read what gpg is to work on");
        rc = child->look(child->look_arg, run->from_in, (size_t)n, error);
        if (rc != 0)
            return rc;
        run->in_at = 0;
        run->in_len = (size_t)n;
        run->in_ended = n == 0;
    } else if (run->in_at < run->in_len && writable) {
        n = write(run->in, run->from_in + run->in_at, run->in_len - run->in_at);
        if (n > 0)
            run->in_at += (size_t)n;
        else if (n < 0 && errno != EINTR && errno != EAGAIN)
            close_fd(&run->in); // gpg is gone: its status says why
    }
    if (run->in_ended)
        close_fd(&run->in);
    return 0;
}

static int drain(struct run *run, struct kt_error *error)
{
    ssize_t n = read(run->out, run->from_out, BLOCK);

    if (n < 0 && errno == EINTR)
        return 0;
    if (n < 0)
        return kt_error_errno(error, "cannot read from gpg");
    if (n == 0) {
        close_fd(&run->out);
        return 0;
    }
    return run->child->sink(run->child->sink_arg, run->from_out, (size_t)n, error);
}

static int pump(struct run *run, struct kt_error *error)
{
    int rc = 0;

    while (rc == 0 && (run->out >= 0 || run->status >= 0)) {
        int pending = run->in_at < run->in_len;
        struct pollfd fds[] = {
            {.fd = run->out, .events = POLLIN},
            {.fd = run->status, .events = POLLIN},
            {.fd = run->err, .events = POLLIN},
            {.fd = run->in >= 0 && !pending ? run->child->in_fd : -1, .events = POLLIN},
            {.fd = run->in >= 0 && pending ? run->in : -1, .events = POLLOUT},
        };
        if (poll(fds, sizeof fds / sizeof fds[0], -1) < 0) {
            if (errno == EINTR)
                continue;
            return kt_error_errno(error, "cannot wait for gpg");
        }
        if (fds[0].revents != 0)
            rc = drain(run, error);
        if (fds[1].revents != 0)
            (void)read_lines(run, &run->status, &run->status_line, take_status);
        if (fds[2].revents != 0)
            (void)read_lines(run, &run->err, &run->err_line, take_message);
        if (rc == 0 && run->in >= 0)
            rc = feed(run, fds[3].revents != 0, fds[4].revents != 0, error);
    }
    return rc;
}

static int reap(struct run *run, int must_end, struct kt_error *error)
{
    pid_t got;

    if (run->pid <= 0)
        return 0;
    if (must_end)
        kill(run->pid, SIGKILL);
    do
        got = waitpid(run->pid, &run->child->exit_status, 0);
    while (got < 0 && errno == EINTR);
    while (run->err >= 0 && read_lines(run, &run->err, &run->err_line, take_message) > 0)
        ;
    if (got < 0) // somebody else took its status: nothing is known
        return kt_error_errno(error, "cannot learn how gpg ended");
    return 0;
}

int kt_gpg_child_run(struct kt_gpg *gpg, struct kt_gpg_child *child, struct kt_error *error)
{
    struct run run = {.gpg = gpg,
                      .child = child,
                      .pid = -1,
                      .in = -1,
                      .out = -1,
                      .err = -1,
                      .status = -1,
                      .child_in = -1,
                      .child_out = -1,
                      .child_err = -1,
                      .child_status = -1,
                      .child_secret = -1};
    struct kt_gpg_guard guard;
    int rc, rc_end;

    memset(&child->status, 0, sizeof child->status);
    child->exit_status = -1;
    child->last_line[0] = '\0';
    kt_gpg_guard_enter(&guard);
    run.from_out = malloc(BLOCK);
    run.from_in = child->look ? malloc(BLOCK) : NULL;
    if (run.from_out == NULL || (child->look && run.from_in == NULL))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory for gpg");
    else
        rc = connect_child(&run, error);
    if (rc == 0)
        rc = spawn(&run, &guard, error);
    if (rc == 0)
        rc = pump(&run, error);
    close_fd(&run.in);
    close_fd(&run.out);
    rc_end = reap(&run, rc != 0, rc == 0 ? error : NULL);
    close_fd(&run.err);
    close_fd(&run.status);
    close_fd(&run.child_in);
    close_fd(&run.child_out);
    close_fd(&run.child_err);
    close_fd(&run.child_status);
    close_fd(&run.child_secret);
    if (run.from_out)
        kt_wipe(run.from_out, BLOCK);
    free(run.from_out);
    free(run.from_in);
    kt_gpg_guard_leave(&guard);
    return rc != 0 ? rc : rc_end;
}
