// SPDX-License-Identifier: Apache-2.0
// Making the data directory: initdb in a temporary folder, marked, then renamed into its place.
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "db/cluster_inner.h"
#include "lib/file.h"
#include "lib/proc.h"

#define INITDB_TIMEOUT_MS 180000
#define OPEN_FILES        16
#define CLEAR_US          30000000

// All but the folder itself and its mark, which says until the end that the folder is ours. What
// vanishes or appears meanwhile is the initdb of the killed run, which may still be at work.
static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    if (where->level == 0 || (where->level == 1 && strcmp(path + where->base, DB_MARK_FILE) == 0))
        return 0;
    return remove(path) == 0 || errno == ENOENT || errno == ENOTEMPTY ? 0 : -1;
}

static int remove_partial(const char *partial)
{
    char mark[KT_PATH_MAX + 64];

    snprintf(mark, sizeof(mark), "%s/" DB_MARK_FILE, partial);
    if (nftw(partial, remove_one, OPEN_FILES, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
        return -1;
    if (rmdir(partial) == 0 || errno == ENOENT)
        return 0;
    if (errno != ENOTEMPTY || (unlink(mark) != 0 && errno != ENOENT))
        return -1;
    return rmdir(partial);
}

int db_partial_clear(const char *partial, struct kt_error *error)
{
    const struct timespec step = {.tv_nsec = 50 * 1000000};
    int64_t until = kt_monotonic_now() + CLEAR_US;
    struct db_mark mark;
    struct stat st;
    int empty, rc;

    if (lstat(partial, &st) != 0)
        return errno == ENOENT ? 0 : kt_error_errno(error, "cannot look at '%s'", partial);
    empty = S_ISDIR(st.st_mode) ? kt_dir_is_empty(partial, error) : 0;
    if (empty < 0)
        return empty;
    if (!S_ISDIR(st.st_mode) || (!empty && db_mark_load(partial, &mark, NULL) != 0))
        return kt_error_set(error, KT_ERR_NOT_OURS, "move it away", "'%s' was not made by ktadmin",
                            partial);
    while ((rc = remove_partial(partial)) != 0 && errno == ENOTEMPTY && kt_monotonic_now() < until)
        nanosleep(&step, NULL);
    return rc ? kt_error_errno(error, "cannot remove '%s', which a stopped run left behind",
                               partial)
              : 0;
}

static int run_initdb(const struct db_cluster *cluster, const char *data, struct kt_error *error)
{
    struct kt_buf output = KT_BUF_INIT(65536), errors = KT_BUF_INIT(65536);
    char program[KT_PATH_MAX];
    const char *argv[] = {
        program, "-D", data, "-U", DB_OWNER, "--data-checksums", "--encoding=UTF8",
        // the same order and words on every node and release of the system
        "--locale=C", "--auth-local=peer", "--auth-host=reject", "--no-instructions", NULL};
    struct kt_proc proc = {
        .argv = argv, .output = &output, .errors = &errors, .timeout_ms = INITDB_TIMEOUT_MS};
    int rc = kt_path_join(program, sizeof(program), cluster->bin, "initdb");

    if (rc == 0)
        rc = kt_proc_run(&proc, NULL, error);
    kt_buf_free(&output);
    kt_buf_free(&errors);
    return rc;
}

int db_partial_begin(const struct db_cluster *cluster, const char *partial, struct db_mark *mark,
                     char *data, size_t size, struct kt_error *error)
{
    struct kt_cluster_info info;
    uint32_t random = 0;
    int rc = kt_cluster_info_load(cluster->paths->cluster, &info, error);

    if (rc == 0)
        rc = db_partial_clear(partial, error);
    if (rc)
        return rc;
    rc = kt_random(&random, sizeof(random));
    if (rc)
        return kt_error_set(error, rc, NULL, "no random bytes");
    snprintf(data, size, "%s/data-%08x", partial, (unsigned)random);
    *mark = (struct db_mark){.cluster_id = info.cluster_id};
    rc = kt_dir_make(partial, 0700, error);
    return rc ? rc : db_mark_save(partial, mark, error);
}

static void folder_of(const char *path, char out[KT_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash && slash > path ? (size_t)(slash - path) : 1;

    memcpy(out, path, n);
    out[n] = '\0';
}

int db_partial_finish(const struct db_cluster *cluster, const char *partial, const char *data,
                      struct kt_error *error)
{
    char above[KT_PATH_MAX];
    int rc;

    // Over an empty folder rename replaces it.
    if (rename(data, cluster->dir) != 0) {
        if (errno == EBUSY || errno == EXDEV)
            return kt_error_set(error, KT_ERR_NOT_OURS,
                                "choose a folder below the mounted one with --pg-rootdir",
                                "'%s' is a mount point and cannot be replaced", cluster->dir);
        return kt_error_errno(error, "cannot rename '%s' to '%s'", data, cluster->dir);
    }
    folder_of(cluster->dir, above);
    rc = kt_dir_sync(above, error);
    return rc ? rc : db_partial_clear(partial, error);
}

int db_cluster_initdb(struct db_cluster *cluster, int *done, struct kt_error *error)
{
    char partial[KT_PATH_MAX + 16], data[KT_PATH_MAX + 64];
    struct db_mark mark;
    int rc = db_cluster_check_ours(cluster, &mark, error);

    snprintf(partial, sizeof(partial), "%s.partial", cluster->dir);
    if (rc == 0) {
        *done = 1;
        return db_partial_clear(partial, error);
    }
    if (rc != KT_ERR_NOT_FOUND)
        return rc;
    if (geteuid() == 0)
        return kt_error_set(error, KT_ERR_PERMISSION, "run it as the service account",
                            "PostgreSQL refuses to be run by root");
    rc = db_partial_begin(cluster, partial, &mark, data, sizeof(data), error);
    if (rc == 0)
        rc = run_initdb(cluster, data, error);
    if (rc == 0)
        rc = db_mark_save(data, &mark, error); // initdb has synced all else
    if (rc == 0)
        rc = db_partial_finish(cluster, partial, data, error);
    if (rc == 0)
        *done = 0;
    return rc;
}

int db_cluster_look(const struct db_cluster *cluster, int *exists, struct kt_error *error)
{
    struct db_mark mark;
    struct kt_error why = {0};
    int rc = db_cluster_check_ours(cluster, &mark, &why);

    *exists = rc == 0;
    if (rc == 0 || rc == KT_ERR_NOT_FOUND)
        return 0;
    return kt_error_set(error, rc, why.hint, "%s", why.message);
}

int db_cluster_is_populated(const struct db_cluster *cluster)
{
    struct db_mark mark;

    return db_cluster_check_ours(cluster, &mark, NULL) == 0 && mark.populated;
}
