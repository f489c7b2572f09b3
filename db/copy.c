// SPDX-License-Identifier: Apache-2.0
// A base backup of another node's PostgreSQL in the place of this node's data directory.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "db/copy_inner.h"
#include "lib/file.h"
#include "lib/proc.h"

#define LINE_MAX_BYTES 1024

void db_copy_stamp(char out[DB_COPY_STAMP])
{
    time_t now = (time_t)(kt_time_now() / 1000000);
    struct tm utc;

    gmtime_r(&now, &utc);
    (void)strftime(out, DB_COPY_STAMP, "%Y%m%dT%H%M%SZ", &utc);
}

int db_copy_mark_path(const struct db_cluster *cluster, char out[KT_PATH_MAX],
                      struct kt_error *error)
{
    int rc = kt_path_join(out, KT_PATH_MAX, cluster->paths->node, "rewinding");

    return rc ? kt_error_set(error, rc, NULL, "the path of the node folder is too long") : 0;
}

int db_copy_check(const struct db_cluster *cluster, struct kt_error *error)
{
    char mark[KT_PATH_MAX];
    int rc = db_copy_mark_path(cluster, mark, error);

    if (rc == 0 && kt_file_exists(mark))
        rc = kt_error_set(error, KT_ERR_DIVERGED, "run ktadmin rejoin on this node",
                          "a rewind of '%s' was broken off: it cannot be started", cluster->dir);
    return rc;
}

int db_copy_may(struct db_cluster *cluster, struct kt_error *error)
{
    enum db_run_state state;
    struct db_mark mark;
    struct kt_error why = {0};
    long pid;
    int rc = db_cluster_state(cluster, &state, &pid, error);

    if (rc == 0 && state != DB_STOPPED)
        rc = kt_error_set(error, KT_ERR_BUSY, "stop it first: ktadmin db --stop",
                          "PostgreSQL runs (pid %ld)", pid);
    if (rc == 0 && geteuid() == 0)
        rc = kt_error_set(error, KT_ERR_PERMISSION, "run it as the service account",
                          "PostgreSQL refuses to be run by root");
    if (rc)
        return rc;
    rc = db_cluster_check_ours(cluster, &mark, &why);
    return rc && rc != KT_ERR_NOT_FOUND ? kt_error_set(error, rc, why.hint, "%s", why.message) : 0;
}

int db_copy_conninfo(const struct db_cluster *cluster, const struct db_source *source,
                     const char *database, struct kt_buf *out, struct kt_error *error)
{
    char name[KT_MEMBER_TEXT + 8], addresses[DB_ADDRESSES_TEXT];
    int rc = db_host_resolve(source->host, addresses, error);

    if (rc)
        return rc;
    snprintf(name, sizeof(name), "%s_base", source->member);
    rc = db_replication_conninfo(cluster->paths, source, addresses, name, database, out);
    if (rc == 0)
        rc = kt_buf_put_u8(out, '\0');
    return rc ? kt_error_set(error, rc, NULL,
                             "host or paths cannot stand in a connection string of PostgreSQL")
              : 0;
}

// --- pg_basebackup, watched ---

struct watch {
    db_progress progress;
    void *arg;
    char line[LINE_MAX_BYTES];
    size_t n;
    char reason[256]; // the first line that says an error, else the last that is no progress
    int has_error;
};

// "12345/67890 kB (18%), 0/1 tablespace"
static void take_line(struct watch *watch)
{
    unsigned long long done, total;

    watch->line[watch->n] = '\0';
    if (sscanf(watch->line, "%llu/%llu kB", &done, &total) == 2) {
        if (watch->progress)
            watch->progress(watch->arg, done * 1024, total * 1024);
    } else if (watch->n > 0 && !watch->has_error) {
        watch->has_error = strstr(watch->line, "error:") != NULL;
        snprintf(watch->reason, sizeof(watch->reason), "%.250s", watch->line);
    }
    watch->n = 0;
}

static void take_bytes(struct watch *watch, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n' || bytes[i] == '\r')
            take_line(watch);
        else if (watch->n < sizeof(watch->line) - 1)
            watch->line[watch->n++] = bytes[i];
    }
}

// The program runs below a child of ours, which waits for it while we read what it says.
static int run_watched(const char *const *argv, struct watch *watch, struct kt_error *error)
{
    char bytes[4096];
    int ends[2], status = 0;
    pid_t child, parent = getpid();
    ssize_t n;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return kt_error_errno(error, "cannot make a pipe");
    child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return kt_error_errno(error, "cannot make a process for '%s'", argv[0]);
    }
    if (child == 0) {
        struct kt_proc proc = {.argv = argv, .log_fd = ends[1], .dies_with_us = 1};
        close(ends[0]);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
            _exit(1);
        _exit(kt_proc_run(&proc, NULL, NULL) == 0 ? 0 : 1);
    }
    close(ends[1]);
    while ((n = read(ends[0], bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR))
        take_bytes(watch, bytes, n > 0 ? (size_t)n : 0);
    close(ends[0]);
    take_line(watch);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return kt_error_set(error, KT_ERR_CHILD, NULL, "'%s' failed: %s", argv[0],
                        watch->reason[0] ? watch->reason : "it could not be run");
}

static int run_basebackup(const struct db_cluster *cluster, const struct db_source *source,
                          const char *data, struct watch *watch, struct kt_error *error)
{
    struct kt_buf conninfo = KT_BUF_INIT(DB_REPLICATION_VALUE_MAX);
    char program[KT_PATH_MAX], slot[KT_MEMBER_TEXT];
    int rc = db_copy_conninfo(cluster, source, "replication", &conninfo, error);

    if (rc == 0 && kt_path_join(program, sizeof(program), cluster->bin, "pg_basebackup") != 0)
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the path of pg_basebackup is too long");
    if (rc == 0) {
        const char *argv[] = {program,
                              "-D",
                              data,
                              "-d",
                              (const char *)kt_buf_ptr(&conninfo),
                              "-X",
                              "stream",
                              "--checkpoint=fast",
                              "-S",
                              slot,
                              "--status-interval=1",
                              "--no-password",
                              "--progress",
                              NULL};
        kt_slot_name(source->member, slot);
        rc = run_watched(argv, watch, error);
    }
    kt_buf_free(&conninfo);
    return rc;
}

// Until it is rendered for this node, a start by hand makes it nothing but a standby.
static int mark_copy(const char *data, const struct db_mark *mark, struct kt_error *error)
{
    char path[KT_PATH_MAX + 96];
    int rc;

    snprintf(path, sizeof(path), "%s/standby.signal", data);
    rc = kt_file_replace(path, "", 0, 0600, error);
    return rc ? rc : db_mark_save(data, mark, error);
}

// What was there is kept beside it, for a person to look at and remove.
static int keep_old(const struct db_cluster *cluster, struct kt_error *error)
{
    char kept[KT_PATH_MAX + DB_COPY_STAMP + 16], stamp[DB_COPY_STAMP];
    struct stat st;
    int empty;

    if (lstat(cluster->dir, &st) != 0)
        return errno == ENOENT ? 0 : kt_error_errno(error, "cannot look at '%s'", cluster->dir);
    empty = kt_dir_is_empty(cluster->dir, error);
    if (empty != 0)
        return empty < 0 ? empty : 0;
    db_copy_stamp(stamp);
    snprintf(kept, sizeof(kept), "%s.%s", cluster->dir, stamp);
    for (int i = 2; i < 100 && lstat(kept, &st) == 0; i++)
        snprintf(kept, sizeof(kept), "%s.%s-%d", cluster->dir, stamp, i);
    if (rename(cluster->dir, kept) != 0)
        return kt_error_errno(error, "cannot rename '%s' to '%s'", cluster->dir, kept);
    return 0;
}

int db_copy_render(struct db_cluster *cluster, struct kt_error *error)
{
    struct db_replication replication;

    // Before join has written the node's files there is nothing to render yet; each start does it.
    if (db_replication_of_node(cluster->paths, &replication, NULL) != 0)
        return 0;
    return db_replication_render(cluster, error);
}

int db_copy_base(struct db_cluster *cluster, const struct db_source *source, db_progress progress,
                 void *arg, struct kt_error *error)
{
    char partial[KT_PATH_MAX + 16], data[KT_PATH_MAX + 64], broken[KT_PATH_MAX];
    struct watch watch = {.progress = progress, .arg = arg};
    struct db_mark mark;
    int rc = db_copy_may(cluster, error);

    snprintf(partial, sizeof(partial), "%s.new", cluster->dir);
    if (rc == 0)
        rc = db_copy_mark_path(cluster, broken, error);
    if (rc == 0)
        rc = db_partial_begin(cluster, partial, &mark, data, sizeof(data), error);
    if (rc == 0)
        rc = run_basebackup(cluster, source, data, &watch, error);
    mark.populated = 1;
    if (rc == 0)
        rc = mark_copy(data, &mark, error);
    if (rc == 0)
        rc = keep_old(cluster, error);
    if (rc == 0)
        rc = db_partial_finish(cluster, partial, data, error);
    if (rc == 0 && unlink(broken) != 0 && errno != ENOENT)
        rc = kt_error_errno(error, "cannot remove '%s'", broken);
    return rc ? rc : db_copy_render(cluster, error);
}
