// SPDX-License-Identifier: Apache-2.0
// This node as a job works on it: promise, peers, PostgreSQL's start, stop and settings.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kts/agent_cluster.h"
#include "lib/file.h"
#include "lib/log.h"

#define AGAIN_FILE  "db.again"
#define SEALED_FILE "sealed"
#define LOCK_FILE   "db.lock"
#define BREATH_NS   2000000
#define SEAL_TRIES  3
#define HISTORY_MAX (1u << 20)
#define LOCK_LOOKS  25 // breaths between two looks whether somebody runs PostgreSQL

void kts_breath(void)
{
    const struct timespec step = {.tv_nsec = BREATH_NS};

    nanosleep(&step, NULL);
}

int kts_again_path(const struct kt_paths *paths, char out[KT_PATH_MAX])
{
    return kt_path_join(out, KT_PATH_MAX, paths->run, AGAIN_FILE);
}

int kts_database_lock_path(const struct kt_paths *paths, char out[KT_PATH_MAX])
{
    return kt_path_join(out, KT_PATH_MAX, paths->run, LOCK_FILE);
}

int kts_local_open(struct kts_job *job, struct kts_local *local, struct kt_error *error)
{
    const struct kts_start *start = job->start;
    int rc;

    *local = (struct kts_local){.job = job, .paths = start->paths, .node = start->info->node};
    rc = kt_promise_load(start->paths->promise, &local->promise, error);
    if (rc == KT_ERR_NOT_FOUND)
        return kt_error_set(error, KT_ERR_NOT_MEMBER,
                            "a node without one has no vote: remove it, and join it anew",
                            "this node has no promise file");
    if (rc == 0 && local->promise.retired_by[0])
        return kt_error_set(error, KT_ERR_RETIRED, NULL, "this node was retired by '%s'",
                            local->promise.retired_by);
    if (rc == 0)
        rc = kt_peers_load(start->paths->peers, &local->peers, error);
    if (rc == 0) {
        const struct kt_peer *own = kt_peers_by_member(&local->peers, local->promise.member);
        if (own && own->removed)
            return kt_error_set(error, KT_ERR_NOT_MEMBER,
                                "to make it a node again: wipe it, then ktadmin join",
                                "this node was removed from the cluster");
    }
    if (rc == 0)
        rc = db_cluster_open(start->paths, start->settings, &local->cluster, error);
    return rc;
}

void kts_local_close(struct kts_local *local)
{
    db_admin_close(local->admin);
    db_cluster_close(local->cluster);
    local->admin = NULL;
    local->cluster = NULL;
}

int kts_local_promise(struct kts_local *local, const struct kt_promise *promise,
                      struct kt_error *error)
{
    int rc = kt_promise_save(local->paths->promise, promise, error);

    if (rc == 0)
        local->promise = *promise;
    return rc;
}

int kts_local_has_promised(const struct kts_local *local, const struct kt_incarnation *incarnation,
                           uint64_t epoch, const char *node)
{
    const struct kt_promise *promise = &local->promise;

    return promise->incarnation.number == incarnation->number &&
           promise->incarnation.bits == incarnation->bits && promise->epoch == epoch &&
           strcmp(promise->active, node) == 0;
}

int kts_local_is_running(struct kts_local *local)
{
    enum db_run_state state;
    long pid;

    return db_cluster_state(local->cluster, &state, &pid, NULL) == 0 && state == DB_RUNNING;
}

int kts_local_connect(struct kts_local *local, struct kt_error *error)
{
    return local->admin ? 0 : db_admin_open(local->cluster, KTS_ADMIN_MS, &local->admin, error);
}

static void disconnect(struct kts_local *local)
{
    db_admin_close(local->admin);
    local->admin = NULL;
}

// `word`: what `ktadmin db --start` is to do meanwhile.
static int want_again(struct kts_local *local, const char *word, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = kts_again_path(local->paths, path);

    if (rc)
        return kt_error_set(error, rc, NULL, "the path of '%s' is too long", local->paths->run);
    return kt_file_replace(path, word, strlen(word), 0600, error);
}

static void have_again(struct kts_local *local)
{
    char path[KT_PATH_MAX];

    if (kts_again_path(local->paths, path) == 0)
        (void)unlink(path);
}

int kts_local_stop(struct kts_local *local, struct kt_error *error)
{
    int rc;

    // A stop writes a checkpoint, during which nobody is served: most of it beforehand.
    if (local->admin && db_admin_checkpoint(local->admin, KTS_APPLY_MS, NULL))
        kt_log(KT_LOG_NOTICE, "no checkpoint before the stop");
    rc = want_again(local, KTS_AGAIN_WAIT, error);
    disconnect(local);
    return rc ? rc : db_cluster_stop(local->cluster, KTS_STOP_S, error);
}

int kts_local_is_supervised(struct kts_local *local)
{
    char path[KT_PATH_MAX];
    int fd = -1;

    if (kts_database_lock_path(local->paths, path) || kt_file_lock(path, &fd, NULL) == KT_ERR_BUSY)
        return 1;
    if (fd >= 0)
        close(fd);
    return 0;
}

int kts_local_start(struct kts_local *local, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + KTS_START_MS * INT64_C(1000);
    struct kt_error why = {0};
    int rc = want_again(local, KTS_AGAIN_START, error);

    for (int look = 0; rc == 0 && !kts_local_is_running(local); look++) {
        if (look % LOCK_LOOKS == 0 && !kts_local_is_supervised(local))
            rc = db_cluster_start(local->cluster, KTS_START_MS / 1000, error);
        else if (kt_monotonic_now() > until)
            rc = kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE,
                              "look into the log folder beside the confdir",
                              "PostgreSQL was not started again");
        else
            kts_breath();
    }
    disconnect(local); // one that was open is from before
    while (rc == 0 && kts_local_connect(local, &why)) {
        if (kt_monotonic_now() > until)
            rc = kt_error_set(error, why.code, NULL, "%s", why.message);
        kts_breath();
    }
    if (rc == 0)
        have_again(local);
    return rc;
}

// The text of the history file of a timeline; KT_ERR_NOT_FOUND for the first, which has none.
static int load_history(struct kts_local *local, uint32_t timeline, char **text,
                        struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/pg_wal/%08X.history", db_cluster_dir(local->cluster),
                     (unsigned)timeline);

    if (n >= (int)sizeof(path))
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the data directory's path is too long");
    return kt_file_read_text(path, HISTORY_MAX, text, error);
}

int kts_local_end(struct kts_local *local, const struct kt_epoch_rows *rows,
                  struct db_position *position, struct kt_error *error)
{
    const struct kt_epoch_row *newest = kt_epoch_rows_newest(rows);
    char *history = NULL;
    int rc = db_admin_position(local->admin, position, error);

    if (rc)
        return rc;
    position->start_lsn = 0;
    rc = load_history(local, position->timeline, &history, error);
    if (rc == 0 && newest)
        rc = kt_timeline_left(history, newest->timeline, &position->start_lsn);
    free(history);
    if (rc == KT_ERR_NOT_FOUND) // it is still on it
        return 0;
    return rc == 0 ? 0
                   : kt_error_set(error, rc, NULL, "the history of timeline %u cannot be read",
                                  position->timeline);
}

// run/sealed, "pid lsn": PostgreSQL of this pid was seen with everything replayed up to there and
// without upstream. It stands until another mode is set; the log stands still as long. The pid
// alone would not do: a postmaster keeps it over a crash of a backend, and replays again. "0 0": it
// was stopped with SEALED saved before, and so is started without upstream, whoever does it.
static int sealed_path(const struct kts_local *local, char path[KT_PATH_MAX])
{
    return kt_path_join(path, KT_PATH_MAX, local->paths->run, SEALED_FILE);
}

static long postmaster(struct kts_local *local)
{
    enum db_run_state state;
    long pid = 0;

    return db_cluster_state(local->cluster, &state, &pid, NULL) == 0 && state == DB_RUNNING ? pid
                                                                                            : 0;
}

static void mark_sealed(const struct kts_local *local, long pid, uint64_t lsn)
{
    char path[KT_PATH_MAX], text[64];
    int n = snprintf(text, sizeof(text), "%ld %llu\n", pid, (unsigned long long)lsn);

    if (sealed_path(local, path) == 0 && kt_file_replace(path, text, (size_t)n, 0600, NULL))
        kt_log(KT_LOG_DEBUG, "the seal is not marked");
}

static int load_mark(const struct kts_local *local, long *pid, uint64_t *lsn)
{
    char path[KT_PATH_MAX], *text = NULL;
    unsigned long long at = 0;
    int found;

    if (sealed_path(local, path) || kt_file_read_text(path, 64, &text, NULL))
        return 0;
    found = sscanf(text, "%20ld %20llu", pid, &at) == 2;
    *lsn = at;
    free(text);
    return found;
}

static void forget_sealed(const struct kts_local *local)
{
    char path[KT_PATH_MAX];

    if (sealed_path(local, path) == 0)
        (void)unlink(path);
}

int kts_local_was_sealed(struct kts_local *local)
{
    struct db_position position = {.in_recovery = 0};
    struct db_receiver receiver = {.is_streaming = 1};
    long pid = postmaster(local), marked = 0;
    struct db_replication now;
    uint64_t lsn = 0;

    return pid != 0 && load_mark(local, &marked, &lsn) && marked == pid &&
           db_replication_load(local->paths, &now, NULL) == 0 && now.mode == DB_MODE_SEALED &&
           kts_local_connect(local, NULL) == 0 &&
           db_admin_position(local->admin, &position, NULL) == 0 && position.in_recovery &&
           position.lsn >= lsn && db_admin_receiver(local->admin, &receiver, NULL) == 0 &&
           !receiver.is_streaming;
}

// PostgreSQL was stopped with SEALED saved before, and nothing else was saved since.
static int is_started_sealed(const struct kts_local *local)
{
    struct db_replication now;
    uint64_t lsn = 0;
    long pid = 0;

    return load_mark(local, &pid, &lsn) && pid == 0 &&
           db_replication_load(local->paths, &now, NULL) == 0 && now.mode == DB_MODE_SEALED;
}

int kts_local_stop_sealed(struct kts_local *local, struct kt_error *error)
{
    const struct db_replication sealed = {.mode = DB_MODE_SEALED};
    int rc = kts_local_save_mode(local, &sealed, error);

    if (rc == 0)
        rc = kts_local_stop(local, error);
    // Nobody starts it as long as this job runs.
    if (rc == 0)
        mark_sealed(local, 0, 0);
    return rc;
}

int kts_local_apply(struct kts_local *local, const struct db_replication *replication,
                    struct kt_error *error)
{
    struct db_replication full = *replication;

    forget_sealed(local);
    memcpy(full.member, local->promise.member, sizeof(full.member));
    return db_replication_apply(local->cluster, &full, KTS_APPLY_MS, error);
}

int kts_local_save_mode(struct kts_local *local, const struct db_replication *replication,
                        struct kt_error *error)
{
    struct db_replication full = *replication;

    forget_sealed(local);
    memcpy(full.member, local->promise.member, sizeof(full.member));
    return db_replication_save(local->paths, &full, error);
}

int kts_local_seal(struct kts_local *local, struct kt_error *error)
{
    const struct db_replication sealed = {.mode = DB_MODE_SEALED};
    struct db_position position = {.in_recovery = 0};
    int had_upstream = 1, rc = 0;

    if (local->promise.floor_lsn == KT_FLOOR_UNFINISHED)
        return kt_error_set(error, KT_ERR_DIVERGED, "run ktadmin rejoin",
                            "the copy of this node's database was not finished");
    // Once is enough, unless somebody started it under the old mode meanwhile.
    for (int tries = 0; rc == 0 && !position.in_recovery && tries < SEAL_TRIES; tries++) {
        if (!kts_local_is_running(local)) {
            if (!is_started_sealed(local))
                rc = kts_local_save_mode(local, &sealed, error);
            rc = rc ? rc : kts_local_start(local, error);
        }
        rc = rc ? rc : kts_local_connect(local, error);
        rc = rc ? rc : db_admin_position(local->admin, &position, error);
        if (rc == 0 && !position.in_recovery)
            rc = kts_local_stop_sealed(local, error);
    }
    if (rc == 0 && !position.in_recovery)
        rc = kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                          "PostgreSQL does not become a standby");
    if (rc == 0) {
        had_upstream = !is_started_sealed(local);
        rc = kts_local_apply(local, &sealed, error);
    }
    if (rc == 0)
        rc = db_admin_wait_sealed(local->admin, had_upstream, KTS_SEAL_MS, error);
    if (rc == 0)
        rc = db_admin_position(local->admin, &position, error);
    if (rc == 0)
        mark_sealed(local, postmaster(local), position.lsn);
    return rc;
}

int kts_replication_active(const struct kts_local *local, const struct kt_epoch_row *row,
                           int read_only, struct db_replication *replication,
                           struct kt_error *error)
{
    int rc;

    *replication = (struct db_replication){.mode = DB_MODE_ACTIVE, .read_only = read_only};
    memcpy(replication->member, local->promise.member, sizeof(replication->member));
    rc = kt_standby_names(row, replication->standby_names);
    return rc ? kt_error_set(error, rc, NULL, "the names of the members are too long") : 0;
}
