// SPDX-License-Identifier: Apache-2.0
// A PostgreSQL that lives as long as a check: in a folder of its own, without network, for nobody
// else.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "db/cluster_inner.h"
#include "db/load_inner.h"
#include "lib/file.h"
#include "lib/proc.h"

#define PORT        5432 // the name of the socket; nothing listens on a port
#define INITDB_MS   180000
#define START_US    60000000
#define STOP_US     15000000
#define OPEN_FILES  16
#define PREFIX      "kts-scratch-"
#define SOCKET_NAME "/.s.PGSQL.5432.lock"

struct db_scratch {
    char folder[KT_PATH_MAX]; // "" when there is none yet
    char socket[KT_PATH_MAX]; // `folder`, or one in /tmp
    pid_t pid;                // of the server, 0 when it does not run
    int lock;                 // on folder/lock: it is in use
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

static void remove_folder(const char *path)
{
    (void)nftw(path, remove_one, OPEN_FILES, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

// A process that was killed leaves the folder, with the rows of a backup in it: whoever makes the
// next one removes it. One whose lock is not there yet is being made.
static void remove_left(const char *above)
{
    char path[KT_PATH_MAX], lock[KT_PATH_MAX];
    struct dirent *entry;
    struct stat st;
    DIR *folder = opendir(above);

    while (folder && (entry = readdir(folder))) {
        int fd = -1;

        if (strncmp(entry->d_name, PREFIX, sizeof(PREFIX) - 1) != 0 ||
            kt_path_join(path, sizeof(path), above, entry->d_name) != 0 ||
            kt_path_join(lock, sizeof(lock), path, "lock") != 0 || lstat(path, &st) != 0 ||
            !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || !kt_file_exists(lock))
            continue;
        if (kt_file_lock(lock, &fd, NULL) == 0) {
            remove_folder(path);
            close(fd);
        }
    }
    if (folder)
        closedir(folder);
}

void db_scratch_target(const struct db_scratch *scratch, const char *database,
                       struct db_target *target)
{
    memset(target, 0, sizeof(*target));
    target->socket_dir = scratch->socket;
    target->port = PORT;
    target->database = database;
    target->user = DB_OWNER;
    target->application_name = "scratch";
}

static int make_folder(const char *above, const char *name, char out[KT_PATH_MAX],
                       struct kt_error *error)
{
    char path[KT_PATH_MAX];

    if (kt_path_join(path, sizeof(path), above, name) != 0)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the path '%.100s...' is too long",
                            above);
    if (!mkdtemp(path)) // 0700
        return kt_error_errno(error, "cannot make a folder in '%s'", above);
    memcpy(out, path, strlen(path) + 1);
    return 0;
}

// A socket's path has 107 bytes at most, and PostgreSQL reads the setting as a list.
static int place_socket(struct db_scratch *scratch, struct kt_error *error)
{
    const size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

    if (strlen(scratch->folder) + strlen(SOCKET_NAME) <= most &&
        !strpbrk(scratch->folder, ",\" \t\n")) {
        memcpy(scratch->socket, scratch->folder, sizeof(scratch->socket));
        return 0;
    }
    return make_folder("/tmp", "kts-XXXXXX", scratch->socket, error);
}

static int run_initdb(const char *bin, const char *data, struct kt_error *error)
{
    struct kt_buf output = KT_BUF_INIT(65536), errors = KT_BUF_INIT(65536);
    char program[KT_PATH_MAX];
    // The words and their order are those of a node. Whoever reaches the socket is trusted: it is in
    // a folder that only this account can enter.
    const char *argv[] = {program,      "-D",
                          data,         "-U",
                          DB_OWNER,     "--encoding=UTF8",
                          "--locale=C", "--auth=trust",
                          "--no-sync",  "--no-instructions",
                          NULL};
    struct kt_proc proc = {.argv = argv,
                           .output = &output,
                           .errors = &errors,
                           .timeout_ms = INITDB_MS,
                           .dies_with_us = 1};
    int rc = kt_path_join(program, sizeof(program), bin, "initdb");

    if (rc == 0)
        rc = kt_proc_run(&proc, NULL, error);
    kt_buf_free(&output);
    kt_buf_free(&errors);
    return rc;
}

// In the child. SIGQUIT is PostgreSQL's immediate end: it does not outlive us.
static void become_postgres(const char *program, const char *data, const char *socket,
                            const char *log, pid_t parent)
{
    const char *const argv[] = {
        program, "-D", data, "-k", socket, "-c", "listen_addresses=", "-c", "port=5432",
        // nothing here has to survive a crash
        "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c",
        "wal_level=minimal", "-c", "max_wal_senders=0", "-c", "max_wal_size=4GB", "-c",
        "autovacuum=off", "-c", "shared_buffers=64MB", "-c", "max_connections=10", "-c", "jit=off",
        // the log: never statements or the values in an error's detail
        "-c", "log_min_error_statement=panic", "-c", "log_error_verbosity=terse", "-c",
        "logging_collector=off", NULL};
    static const char *const ENVIRONMENT[] = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "TZ=UTC", NULL};
    union { // exec takes non-const arrays and changes nothing
        const char *const *in;
        char *const *out;
    } arguments = {.in = argv}, environment = {.in = ENVIRONMENT};
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigset_t none;
    int null = open("/dev/null", O_RDONLY);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGQUIT) != 0 || getppid() != parent)
        _exit(127);
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &plain, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || close_range(3, ~0u, 0) != 0)
        _exit(127);
    execve(program, arguments.out, environment.out);
    _exit(127);
}

// The last line of its log says why it ended.
static int has_ended(const struct db_scratch *scratch, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(65536);
    char path[KT_PATH_MAX], line[257] = "";
    size_t n = 0;

    if (kt_path_join(path, sizeof(path), scratch->folder, "log") == 0)
        (void)!kt_file_read(path, &text, NULL);
    n = kt_buf_left(&text);
    while (n > 0 && kt_buf_ptr(&text)[n - 1] == '\n')
        n--;
    for (size_t from = n; n > 0; from--)
        if (from == 0 || kt_buf_ptr(&text)[from - 1] == '\n') {
            snprintf(line, sizeof(line), "%.*s", (int)(n - from > 256 ? 256 : n - from),
                     (const char *)kt_buf_ptr(&text) + from);
            break;
        }
    kt_buf_free(&text);
    return kt_error_set(error, KT_ERR_CHILD, NULL, "a PostgreSQL for the check does not start: %s",
                        line[0] ? line : "it says nothing");
}

// Until somebody is let in.
static int wait_ready(struct db_scratch *scratch, struct kt_error *error)
{
    const struct timespec step = {.tv_nsec = 20 * 1000000};
    int64_t until = kt_monotonic_now() + START_US;
    struct db_target target;
    struct kt_error why = {0};

    db_scratch_target(scratch, "postgres", &target);
    while (kt_monotonic_now() < until) {
        PGconn *conn = NULL;

        if (waitpid(scratch->pid, NULL, WNOHANG) == scratch->pid) {
            scratch->pid = 0;
            return has_ended(scratch, error);
        }
        if (db_pg_connect(&target, 5000, &conn, &why) == 0) {
            PQfinish(conn);
            return 0;
        }
        nanosleep(&step, NULL);
    }
    return kt_error_set(error, KT_ERR_TIMEOUT, NULL, "%s", why.message);
}

static int start(struct db_scratch *scratch, const char *bin, const char *data,
                 struct kt_error *error)
{
    char program[KT_PATH_MAX], log[KT_PATH_MAX];
    pid_t child, parent = getpid();

    if (kt_path_join(program, sizeof(program), bin, "postgres") != 0 ||
        kt_path_join(log, sizeof(log), scratch->folder, "log") != 0)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path is too long");
    child = fork();
    if (child < 0)
        return kt_error_errno(error, "cannot make a process for '%s'", program);
    if (child == 0)
        become_postgres(program, data, scratch->socket, log, parent);
    scratch->pid = child;
    return wait_ready(scratch, error);
}

int db_scratch_new(const char *above, const char *bin, struct db_scratch **out,
                   struct kt_error *error)
{
    char programs[KT_PATH_MAX], data[KT_PATH_MAX], lock[KT_PATH_MAX];
    struct db_scratch *scratch;
    int rc;

    if (geteuid() == 0)
        return kt_error_set(error, KT_ERR_PERMISSION, "run it as the service account",
                            "PostgreSQL refuses to be run by root");
    rc = db_find_programs(bin, programs, error);
    if (rc)
        return rc;
    scratch = calloc(1, sizeof(*scratch));
    if (!scratch)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    scratch->lock = -1;
    remove_left(above);
    rc = make_folder(above, PREFIX "XXXXXX", scratch->folder, error);
    if (rc == 0 && (kt_path_join(data, sizeof(data), scratch->folder, "data") != 0 ||
                    kt_path_join(lock, sizeof(lock), scratch->folder, "lock") != 0))
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the path '%.100s...' is too long", above);
    if (rc == 0)
        rc = kt_file_lock(lock, &scratch->lock, error);
    if (rc == 0)
        rc = place_socket(scratch, error);
    if (rc == 0)
        rc = run_initdb(programs, data, error);
    if (rc == 0)
        rc = start(scratch, programs, data, error);
    if (rc) {
        db_scratch_free(scratch);
        return rc;
    }
    *out = scratch;
    return 0;
}

static void stop(pid_t pid)
{
    const struct timespec step = {.tv_nsec = 5 * 1000000};
    int64_t until = kt_monotonic_now() + STOP_US;

    (void)kill(pid, SIGQUIT);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (kt_monotonic_now() > until) {
            (void)kill(-pid, SIGKILL);
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
            return;
        }
        nanosleep(&step, NULL);
    }
}

void db_scratch_free(struct db_scratch *scratch)
{
    if (!scratch)
        return;
    if (scratch->pid)
        stop(scratch->pid);
    if (scratch->folder[0])
        remove_folder(scratch->folder);
    if (scratch->socket[0] && strcmp(scratch->socket, scratch->folder) != 0)
        remove_folder(scratch->socket);
    if (scratch->lock >= 0)
        close(scratch->lock);
    free(scratch);
}
