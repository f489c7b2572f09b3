// SPDX-License-Identifier: Apache-2.0
// Starting, stopping and watching the private PostgreSQL.
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "db/cluster_inner.h"
#include "db/replication_inner.h"
#include "lib/file.h"
#include "lib/proc.h"

#define PID_FILE_MAX 4096
#define START_LOG    "postgresql-start.log"
#define LOG_TAIL     4096
#define LEFTOVER_US  5000000
#define EXTRA_MS     10000 // beyond pg_ctl's own limit, before it is killed

enum look { NOT_OURS, OURS, CANNOT_LOOK };

// Whether `pid` is a process of this data directory: it works in it. After a reboot the number
// in an old pid file may belong to anybody. What is in another user namespace cannot be looked at.
static enum look works_in(const struct db_cluster *cluster, long pid)
{
    char path[64];
    struct stat there, ours;

    if (pid <= 0 || stat(cluster->dir, &ours) != 0)
        return NOT_OURS;
    if (kill((pid_t)pid, 0) != 0) {
        if (errno == ESRCH)
            return NOT_OURS;
        // PostgreSQL is run by the owner of its data directory, whom we could send a signal.
        return ours.st_uid == geteuid() ? NOT_OURS : CANNOT_LOOK;
    }
    snprintf(path, sizeof(path), "/proc/%ld/cwd", pid);
    if (stat(path, &there) == 0)
        return there.st_dev == ours.st_dev && there.st_ino == ours.st_ino ? OURS : NOT_OURS;
    if (errno != ENOENT)
        return CANNOT_LOOK;
    // Listed without a folder: it is dead, and not yet buried. Not listed: gone, or hidden from us.
    snprintf(path, sizeof(path), "/proc/%ld", pid);
    return stat(path, &there) == 0 || kill((pid_t)pid, 0) != 0 ? NOT_OURS : CANNOT_LOOK;
}

// Whether the process may be PostgreSQL by its program's name, which everybody may read.
static int may_be_postgres(long pid)
{
    char path[64], name[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
    file = fopen(path, "re");
    if (!file)
        return 1;
    if (!fgets(name, sizeof(name), file))
        name[0] = '\0';
    fclose(file);
    return name[0] == '\0' || strcmp(name, "postgres\n") == 0;
}

// Whether the process that a pid file names is its postmaster. `memory` is the file's line 7, key
// and id of the shared memory, which a living postmaster is attached to. When nothing can be seen
// the answer is yes: "not running" must never be a guess.
static int is_postmaster(const struct db_cluster *cluster, long pid, const char *memory)
{
    enum look look = works_in(cluster, pid);
    struct shmid_ds shm;
    int id;

    if (look != CANNOT_LOOK)
        return look == OURS;
    if (sscanf(memory, "%*u %9d", &id) == 1 && shmctl(id, IPC_STAT, &shm) == 0)
        return shm.shm_nattch > 0;
    return may_be_postgres(pid);
}

// Line `number` (from 1) of `text`, copied without its end and the spaces before it.
static void line_of(const char *text, int number, char *out, size_t size)
{
    size_t n;

    while (--number > 0 && *text) {
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    n = strcspn(text, "\n");
    while (n > 0 && text[n - 1] == ' ')
        n--;
    snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), text);
}

// The process that a pid file's first line names, which is negative in single-user mode; 0: none.
static long pid_in(const char *line)
{
    return db_leading_number(line + (*line == '-'));
}

int db_cluster_state(struct db_cluster *cluster, enum db_run_state *state, long *pid,
                     struct kt_error *error)
{
    char path[KT_PATH_MAX], word[32], number[32], memory[64], *text = NULL;
    int rc = kt_path_join(path, sizeof(path), cluster->dir, "postmaster.pid");

    if (rc)
        return kt_error_set(error, rc, NULL, "the data directory's path is too long");
    rc = kt_file_read_text(path, PID_FILE_MAX, &text, error);
    if (rc && rc != KT_ERR_NOT_FOUND)
        return rc;
    *state = DB_STOPPED;
    *pid = 0;
    if (rc == KT_ERR_NOT_FOUND)
        return 0;
    line_of(text, 1, number, sizeof(number));
    line_of(text, 7, memory, sizeof(memory));
    line_of(text, 8, word, sizeof(word)); // "starting", "ready", "standby", "stopping"
    free(text);
    long found = pid_in(number);
    if (!is_postmaster(cluster, found, memory))
        return 0;
    *pid = found;
    if (strcmp(word, "ready") == 0 || strcmp(word, "standby") == 0)
        *state = DB_RUNNING;
    else
        *state = strcmp(word, "stopping") == 0 ? DB_STOPPING : DB_STARTING;
    return 0;
}

// Whether process `pid` is dead but still listed, or works in the data directory.
static int is_leftover(const struct db_cluster *cluster, long pid, int named)
{
    char path[64], stat_text[256];
    const char *state;
    FILE *file;
    size_t n;

    if (works_in(cluster, pid) == OURS)
        return 1;
    if (!named)
        return 0;
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    n = fread(stat_text, 1, sizeof(stat_text) - 1, file);
    fclose(file);
    stat_text[n] = '\0';
    state = strrchr(stat_text, ')'); // "24469 (postgres) Z ..."
    return state && state[1] == ' ' && (state[2] == 'Z' || state[2] == 'X');
}

static int count_leftovers(const struct db_cluster *cluster)
{
    char path[KT_PATH_MAX], *text = NULL;
    long named = 0;
    int count = 0;
    struct dirent *entry;
    DIR *proc = opendir("/proc");

    if (kt_path_join(path, sizeof(path), cluster->dir, "postmaster.pid") == 0 &&
        kt_file_read_text(path, PID_FILE_MAX, &text, NULL) == 0)
        named = pid_in(text);
    free(text);
    while (proc && (entry = readdir(proc))) {
        long pid = db_leading_number(entry->d_name);
        if (pid > 0 && pid != getpid())
            count += is_leftover(cluster, pid, pid == named);
    }
    if (proc)
        closedir(proc);
    return count;
}

// When the postmaster was killed its children need a moment to notice. Until they are gone, and
// until the system has buried it, a new postmaster refuses to start.
static void wait_for_leftovers(const struct db_cluster *cluster)
{
    const struct timespec step = {.tv_nsec = 20 * 1000000};
    int64_t until = kt_monotonic_now() + LEFTOVER_US;

    while (count_leftovers(cluster) > 0 && kt_monotonic_now() < until)
        nanosleep(&step, NULL);
}

// The last line of the start's log that says why, for the error message.
static void reason_of(const char *log, char *out, size_t size)
{
    char tail[LOG_TAIL + 1], *rest = tail, *line;
    FILE *file = fopen(log, "re");
    size_t n;

    out[0] = '\0';
    if (!file)
        return;
    if (fseek(file, -LOG_TAIL, SEEK_END) != 0)
        rewind(file);
    n = fread(tail, 1, LOG_TAIL, file);
    tail[n] = '\0';
    fclose(file);
    while ((line = strsep(&rest, "\n")) != NULL) {
        const char *at = strstr(line, "FATAL:");
        if (at)
            snprintf(out, size, ": %.200s", at + 6 + strspn(at + 6, " "));
    }
}

static int run_pg_ctl(const struct db_cluster *cluster, const char *const *arguments, int timeout_s,
                      struct kt_error *error)
{
    struct kt_buf output = KT_BUF_INIT(16384), errors = KT_BUF_INIT(16384);
    char program[KT_PATH_MAX], limit[16];
    const char *argv[16] = {program, "-D", cluster->dir, "-w", "-t", limit};
    struct kt_proc proc = {.argv = argv,
                           .output = &output,
                           .errors = &errors,
                           .timeout_ms = timeout_s * 1000 + EXTRA_MS};
    int n = 6, rc = kt_path_join(program, sizeof(program), cluster->bin, "pg_ctl");

    snprintf(limit, sizeof(limit), "%d", timeout_s);
    while (*arguments)
        argv[n++] = *arguments++;
    argv[n] = NULL;
    if (rc == 0)
        rc = kt_proc_run(&proc, NULL, error);
    kt_buf_free(&output);
    kt_buf_free(&errors);
    return rc;
}

// What every start needs: ours, not root, and no rewind that was broken off.
static int check_start(const struct db_cluster *cluster, struct kt_error *error)
{
    struct db_mark mark;
    int rc = db_copy_check(cluster, error);

    if (rc)
        return rc;
    rc = db_cluster_check_ours(cluster, &mark, error);

    if (rc == KT_ERR_NOT_FOUND)
        return kt_error_set(error, KT_ERR_NOT_INITIALISED, "run ktadmin init",
                            "no database in '%s'", cluster->dir);
    if (rc == 0 && geteuid() == 0)
        return kt_error_set(error, KT_ERR_PERMISSION, "run it as the service account",
                            "PostgreSQL refuses to be run by root");
    return rc;
}

int db_cluster_start(struct db_cluster *cluster, int timeout_s, struct kt_error *error)
{
    char log[KT_PATH_MAX], reason[256];
    enum db_run_state state;
    struct kt_error inner;
    long pid;
    int rc = check_start(cluster, error);

    if (rc)
        return rc;
    rc = db_cluster_state(cluster, &state, &pid, error);
    if (rc || state == DB_RUNNING)
        return rc;
    rc = kt_path_join(log, sizeof(log), cluster->paths->logs, START_LOG);
    if (rc)
        return kt_error_set(error, rc, NULL, "the path of the log is too long");
    if (state == DB_STOPPED) {
        wait_for_leftovers(cluster);
        rc = db_replication_render(cluster, error);
        if (rc)
            return rc;
    }
    // Anew for each start: what stands in it is about this one.
    if (state == DB_STOPPED && unlink(log) != 0 && errno != ENOENT)
        return kt_error_errno(error, "cannot remove the old '%s'", log);
    const char *arguments[] = {"-l", log, "start", NULL};
    rc = run_pg_ctl(cluster, arguments, timeout_s, &inner);
    if (rc == 0)
        return 0;
    if (db_cluster_state(cluster, &state, &pid, NULL) == 0 && state == DB_RUNNING)
        return 0; // somebody else was starting it
    reason_of(log, reason, sizeof(reason));
    return kt_error_set(error, rc == KT_ERR_CHILD ? KT_ERR_DATABASE_UNAVAILABLE : rc,
                        "look into the log folder beside the confdir",
                        "PostgreSQL in '%s' did not start%s (%.120s)", cluster->dir, reason,
                        inner.message);
}

// pg_ctl returns when the pid file is gone, a moment before the process is.
static int wait_for_end(const struct db_cluster *cluster, long pid, int timeout_s)
{
    const struct timespec step = {.tv_nsec = 20 * 1000000};
    int64_t until = kt_monotonic_now() + timeout_s * INT64_C(1000000);

    while (works_in(cluster, pid) != NOT_OURS) {
        if (kt_monotonic_now() >= until)
            return KT_ERR_TIMEOUT;
        nanosleep(&step, NULL);
    }
    return 0;
}

int db_cluster_stop(struct db_cluster *cluster, int timeout_s, struct kt_error *error)
{
    const char *arguments[] = {"-m", "fast", "stop", NULL};
    enum db_run_state state;
    struct kt_error inner;
    long pid, now;
    int rc = db_cluster_state(cluster, &state, &pid, error);

    if (rc || state == DB_STOPPED)
        return rc;
    rc = run_pg_ctl(cluster, arguments, timeout_s, &inner);
    if (rc == 0 || (db_cluster_state(cluster, &state, &now, NULL) == 0 && state == DB_STOPPED))
        rc = wait_for_end(cluster, pid, timeout_s);
    if (rc == 0)
        return 0;
    return kt_error_set(error, KT_ERR_TIMEOUT, "look into the log folder beside the confdir",
                        "PostgreSQL (pid %ld) did not stop within %d s", pid, timeout_s);
}

int db_cluster_exec(struct db_cluster *cluster, struct kt_error *error)
{
    char program[KT_PATH_MAX];
    char *const argv[] = {program, (char[]){"-D"}, cluster->dir, NULL};
    enum db_run_state state;
    long pid;
    int rc = check_start(cluster, error);

    if (rc == 0)
        rc = db_cluster_state(cluster, &state, &pid, error);
    if (rc)
        return rc;
    if (state != DB_STOPPED)
        return kt_error_set(error, KT_ERR_BUSY, "stop it first: ktadmin db --stop",
                            "PostgreSQL runs already (pid %ld)", pid);
    rc = kt_path_join(program, sizeof(program), cluster->bin, "postgres");
    if (rc)
        return kt_error_set(error, rc, NULL, "the path of postgres is too long");
    wait_for_leftovers(cluster);
    rc = db_replication_render(cluster, error);
    if (rc)
        return rc;
    db_pg_clean_environment(); // PGPORT and PGDATA would be obeyed
    execv(program, argv);
    return kt_error_errno(error, "cannot run '%s'", program);
}
