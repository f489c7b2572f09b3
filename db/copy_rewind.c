// SPDX-License-Identifier: Apache-2.0
// pg_rewind of a data directory that went another way, with its answers doubted.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/copy_inner.h"
#include "lib/file.h"
#include "lib/proc.h"

#define OUTPUT_MAX   65536
#define LOOK_MS      30000
#define DRY_MS       600000
#define START_S      300
#define STOP_S       120
#define NO_NEED      "no rewind required"
#define DIVERGED_AT  "servers diverged at WAL location "
#define STATE_PREFIX "Database cluster state:"

// Runs a program of PostgreSQL; what it says is in `output` as text.
static int run_program(const struct db_cluster *cluster, const char *name, const char *const *rest,
                       int timeout_ms, struct kt_buf *output, struct kt_error *error)
{
    char program[KT_PATH_MAX];
    const char *argv[12] = {program};
    struct kt_buf errors = KT_BUF_INIT(OUTPUT_MAX - 1);
    struct kt_proc proc = {.argv = argv,
                           .output = output,
                           .errors = &errors,
                           .timeout_ms = timeout_ms,
                           .dies_with_us = 1};
    int n = 1, rc = kt_path_join(program, sizeof(program), cluster->bin, name);

    while (*rest)
        argv[n++] = *rest++;
    if (rc == 0)
        rc = kt_proc_run(&proc, NULL, error);
    // It reports what it does on its standard error.
    if (rc == 0)
        rc = kt_buf_put(output, kt_buf_ptr(&errors), kt_buf_left(&errors));
    if (rc == 0)
        rc = kt_buf_put_u8(output, '\0');
    kt_buf_free(&errors);
    return rc;
}

// Whether it was shut down cleanly, as active or as standby.
static int is_clean(const struct db_cluster *cluster, struct kt_error *error)
{
    struct kt_buf output = KT_BUF_INIT(OUTPUT_MAX);
    const char *const arguments[] = {"-D", cluster->dir, NULL};
    const char *state;
    int rc = run_program(cluster, "pg_controldata", arguments, LOOK_MS, &output, error);

    if (rc == 0) {
        state = strstr((const char *)kt_buf_ptr(&output), STATE_PREFIX);
        state = state ? state + sizeof(STATE_PREFIX) - 1 : "";
        state += strspn(state, " ");
        rc = strncmp(state, "shut down\n", 10) == 0 ||
             strncmp(state, "shut down in recovery\n", 22) == 0;
    }
    kt_buf_free(&output);
    return rc;
}

// A crashed one recovers as a sealed standby: nobody can reach it as anything else meanwhile.
static int make_clean(struct db_cluster *cluster, struct kt_error *error)
{
    struct db_replication sealed = {.mode = DB_MODE_SEALED}, before;
    int had, rc = is_clean(cluster, error);

    if (rc)
        return rc < 0 ? rc : 0;
    had = db_replication_load(cluster->paths, &before, NULL) == 0;
    rc = db_replication_save(cluster->paths, &sealed, error);
    if (rc == 0)
        rc = db_cluster_start(cluster, START_S, error);
    if (rc == 0)
        rc = db_cluster_stop(cluster, STOP_S, error);
    if (had && rc == 0)
        rc = db_replication_save(cluster->paths, &before, error);
    return rc;
}

static int run_rewind(const struct db_cluster *cluster, const struct db_source *source, int dry,
                      struct kt_buf *output, struct kt_error *error)
{
    const char *database = kt_settings_text(cluster->settings, KT_SET_DATABASE_NAME);
    struct kt_buf conninfo = KT_BUF_INIT(DB_REPLICATION_VALUE_MAX);
    int rc = db_copy_conninfo(cluster, source, database, &conninfo, error);

    if (rc == 0) {
        const char *const arguments[] = {"-D",
                                         cluster->dir,
                                         "--no-ensure-shutdown",
                                         "--source-server",
                                         (const char *)kt_buf_ptr(&conninfo),
                                         dry ? "--dry-run" : NULL,
                                         NULL};
        rc = run_program(cluster, "pg_rewind", arguments, dry ? DRY_MS : 0, output, error);
    }
    kt_buf_free(&conninfo);
    return rc;
}

// It compares timelines by number and place. Two nodes that were promoted at one
// place have the same by that, and it would keep what only one of them has: it must
// not see the fork later than it is.
static int check_plan(const char *said, uint64_t fork_lsn, struct kt_error *error)
{
    const char *at = strstr(said, DIVERGED_AT);
    char text[KT_LSN_TEXT] = "", fork[KT_LSN_TEXT];
    uint64_t diverged = 0;

    if (strstr(said, NO_NEED) || !at ||
        sscanf(at + sizeof(DIVERGED_AT) - 1, "%19[0-9A-Fa-f/]", text) != 1 ||
        kt_lsn_parse(text, &diverged) != 0)
        return kt_error_set(error, KT_ERR_CHILD, NULL,
                            "pg_rewind sees no difference of the two logs");
    kt_lsn_format(fork_lsn, fork);
    if (diverged > fork_lsn)
        return kt_error_set(error, KT_ERR_CHILD, NULL,
                            "pg_rewind sees the logs part at %s, they part at %s", text, fork);
    return 0;
}

// From here on it is neither the one nor the other, until pg_rewind has come to its end.
static int begin(const char *broken, struct kt_error *error)
{
    static const char TEXT[] = "pg_rewind is at work, or was broken off\n";

    return kt_file_replace(broken, TEXT, sizeof(TEXT) - 1, 0600, error);
}

static int finish(struct db_cluster *cluster, const struct db_mark *mark, const char *broken,
                  struct kt_error *error)
{
    char path[KT_PATH_MAX + 32];
    int rc;

    snprintf(path, sizeof(path), "%s/standby.signal", cluster->dir);
    rc = kt_file_replace(path, "", 0, 0600, error);
    if (rc == 0)
        rc = db_mark_save(cluster->dir, mark, error);
    if (rc == 0)
        rc = db_copy_render(cluster, error);
    if (rc == 0 && unlink(broken) != 0)
        rc = kt_error_errno(error, "cannot remove '%s'", broken);
    return rc ? rc : kt_dir_sync(cluster->paths->node, error);
}

static int check_before(struct db_cluster *cluster, uint64_t fork_lsn, const char *broken,
                        struct db_mark *mark, struct kt_error *error)
{
    int rc = db_copy_may(cluster, error);

    if (rc == 0)
        rc = db_cluster_check_ours(cluster, mark, error);
    // Its own log, by which pg_rewind finds what changed, may be overwritten in part.
    if (rc == 0 && kt_file_exists(broken))
        rc = kt_error_set(error, KT_ERR_CHILD, NULL, "an earlier rewind was broken off");
    if (rc == 0 && fork_lsn == 0)
        rc = kt_error_set(error, KT_ERR_CHILD, NULL, "it is not known where the logs part");
    return rc;
}

int db_copy_rewind(struct db_cluster *cluster, const struct db_source *source, uint64_t fork_lsn,
                   struct kt_error *error)
{
    struct kt_buf output = KT_BUF_INIT(2 * OUTPUT_MAX), plan = KT_BUF_INIT(2 * OUTPUT_MAX);
    char broken[KT_PATH_MAX];
    struct db_mark mark;
    int rc = db_copy_mark_path(cluster, broken, error);

    if (rc == 0)
        rc = check_before(cluster, fork_lsn, broken, &mark, error);
    if (rc == 0)
        rc = make_clean(cluster, error);
    if (rc == 0)
        rc = run_rewind(cluster, source, 1, &plan, error);
    if (rc == 0)
        rc = check_plan((const char *)kt_buf_ptr(&plan), fork_lsn, error);
    if (rc == 0)
        rc = db_copy_aside(cluster, fork_lsn, error);
    if (rc == 0)
        rc = begin(broken, error);
    if (rc == 0)
        rc = run_rewind(cluster, source, 0, &output, error);
    if (rc == 0)
        rc = finish(cluster, &mark, broken, error);
    kt_buf_free(&output);
    kt_buf_free(&plan);
    return rc;
}
