// SPDX-License-Identifier: Apache-2.0
// Rejoining (rule 13): onto a promoted active whose epoch is not below the own promise. A log that
// is a prefix only follows; else it is rewound, or copied anew, under a floor.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kts/agent_cluster.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"

#define STREAM_MS     30000
#define STEADY_MS     15000
#define SLOT_US       20000000
#define SLOT_PAUSE_NS 500000000

// --- which active ---

// Of all that can be reached: the promoted one of the highest
// promise, which must not be below ours.
static int find_active(struct kts_local *local, struct kts_upstream *best, struct kt_error *error)
{
    struct kt_error why = {0};
    int found = 0, order = 0;

    for (size_t i = 0; i < local->peers.count; i++) {
        const struct kt_peer *peer = &local->peers.peers[i];
        struct kts_upstream one;
        if (peer->removed || strcmp(peer->member, local->promise.member) == 0 ||
            kts_upstream_ask(local, peer->member, &one, &why))
            continue;
        if (!kts_upstream_is_promoted(&one) ||
            (found &&
             (kt_rule_promise_compare(&one.promise, &best->promise, &order) || order <= 0))) {
            kts_upstream_free(&one);
            continue;
        }
        if (found)
            kts_upstream_free(best);
        *best = one;
        found = 1;
    }
    if (found)
        return 0;
    return kt_error_set(error, KT_ERR_NOT_PROVEN, "promote one first: ktadmin failover",
                        "no promoted active can be reached%s%.200s", why.code ? ": " : "",
                        why.code ? why.message : "");
}

static int take_active(struct kts_local *local, const json_t *args, struct kts_upstream *upstream,
                       struct kt_error *error)
{
    const json_t *given = json_object_get(args, "active");
    const char *member = NULL;
    int rc = 0;

    if (given && !json_is_null(given))
        rc = kts_args_member(args, "active", 1, &member, error);
    if (rc)
        return rc;
    rc = member ? kts_upstream_ask(local, member, upstream, error)
                : find_active(local, upstream, error);
    if (rc == 0 && !kts_upstream_is_promoted(upstream))
        rc = kt_error_set(error, KT_ERR_NOT_PROVEN, "promote it first: ktadmin failover",
                          "'%s' is not a promoted active", upstream->peer.member);
    return rc ? rc
              : kt_rule_may_promise(&local->promise, &upstream->promise.incarnation,
                                    upstream->promise.epoch, upstream->promise.active, error);
}

// --- the copy ---

static int same_row(const struct kt_epoch_row *a, const struct kt_epoch_row *b)
{
    return kt_epoch_row_compare(a, b) == 0 && a->timeline == b->timeline &&
           a->start_lsn == b->start_lsn;
}

// Not above the place where the two logs part: what is behind it is kept aside.
static uint64_t fork_of(const struct kt_epoch_rows *own, const struct kts_upstream *upstream)
{
    const struct kt_epoch_rows *theirs = &upstream->rows;
    uint64_t fork = upstream->position.start_lsn;
    size_t i = 0;

    while (i < own->count && i < theirs->count && same_row(&own->rows[i], &theirs->rows[i]))
        i++;
    if (i < theirs->count && (fork == 0 || theirs->rows[i].start_lsn < fork))
        fork = theirs->rows[i].start_lsn;
    return fork;
}

// The rows, as far as PostgreSQL still starts; none are needed for a base backup.
static int read_own(struct kts_local *local, struct kt_epoch_rows *rows)
{
    int exists = 0;

    return local->promise.floor_lsn != KT_FLOOR_UNFINISHED &&
           db_cluster_look(local->cluster, &exists, NULL) == 0 && exists &&
           kts_local_seal(local, NULL) == 0 && db_admin_rows(local->admin, rows, NULL) == 0;
}

static int begin_copy(struct kts_local *local, const struct kt_promise *theirs,
                      struct kt_error *error)
{
    const struct db_replication sealed = {.mode = DB_MODE_SEALED};
    struct kt_promise promise = local->promise;
    int rc;

    promise.incarnation = theirs->incarnation;
    promise.epoch = theirs->epoch;
    memcpy(promise.active, theirs->active, sizeof(promise.active));
    promise.active_since = 0;
    promise.floor_lsn = KT_FLOOR_UNFINISHED;
    rc = kts_local_promise(local, &promise, error);
    // The copy is rendered by it: never as an active.
    return rc ? rc : kts_local_save_mode(local, &sealed, error);
}

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
    kts_job_progress(arg, "copying the database", done, total);
}

// The slot of a copy that was killed a moment ago: its server's side ends when it notices.
static int is_slot_busy(int code, const struct kt_error *error)
{
    return code == KT_ERR_CHILD && strstr(error->message, "is active for PID");
}

static int copy_base(struct kts_local *local, const struct db_source *source,
                     struct kt_error *error)
{
    const struct timespec pause = {.tv_nsec = SLOT_PAUSE_NS};
    int64_t until = kt_monotonic_now() + SLOT_US;
    struct kt_error why = {0};
    int rc = db_copy_base(local->cluster, source, show_progress, local->job, &why);

    while (is_slot_busy(rc, &why) && kt_monotonic_now() < until) {
        nanosleep(&pause, NULL);
        rc = db_copy_base(local->cluster, source, show_progress, local->job, &why);
    }
    if (rc)
        *error = why;
    return rc;
}

static int copy(struct kts_local *local, const struct kts_upstream *upstream, int can_rewind,
                uint64_t fork, const char **how, struct kt_error *error)
{
    struct db_source source = {.port = upstream->peer.database_port};
    struct kt_error why = {0};
    int rc = KT_ERR_CHILD;

    memcpy(source.host, upstream->peer.address, sizeof(source.host));
    memcpy(source.member, local->promise.member, sizeof(source.member));
    if (can_rewind) {
        kts_job_progress(local->job, "rewinding the database", 0, 0);
        rc = db_copy_rewind(local->cluster, &source, fork, &why);
        if (rc)
            kt_log_error(&why, "the database cannot be rewound, it is copied");
    }
    *how = rc ? "copied" : "rewound";
    return rc ? copy_base(local, &source, error) : 0;
}

// The floor of what was copied: that active's end of log, which no reading before the copy's end
// may give.
static int end_copy(struct kts_local *local, struct kts_upstream *upstream, struct kt_error *error)
{
    struct kt_promise promise = local->promise;
    struct kts_upstream now;
    int rc = kts_upstream_ask(local, upstream->peer.member, &now, error);

    if (rc)
        return rc;
    if (!kts_upstream_is_promoted(&now) || now.promise.epoch != promise.epoch ||
        now.promise.incarnation.bits != promise.incarnation.bits)
        rc = kt_error_set(error, KT_ERR_NOT_PROVEN, "run ktadmin rejoin again",
                          "'%s' is not the active of epoch %llu any more", now.peer.member,
                          (unsigned long long)promise.epoch);
    promise.floor_lsn = now.position.lsn;
    kts_upstream_free(&now);
    return rc ? rc : kts_local_promise(local, &promise, error);
}

static int rewind_or_copy(struct kts_local *local, struct kts_upstream *upstream, int can_rewind,
                          const char **how, struct kt_error *error)
{
    struct kt_epoch_rows own = {.count = 0};
    uint64_t fork = 0;
    int rc = 0;

    can_rewind = can_rewind && read_own(local, &own);
    if (can_rewind)
        fork = fork_of(&own, upstream);

    if (kts_local_is_running(local) || local->admin)
        rc = kts_local_stop(local, error);
    if (rc == 0)
        rc = begin_copy(local, &upstream->promise, error);
    if (rc == 0)
        rc = kts_pending_row_remove(local->paths, error);
    if (rc == 0)
        rc = copy(local, upstream, can_rewind, fork, how, error);
    if (rc == 0)
        rc = end_copy(local, upstream, error);
    if (rc == 0)
        rc = kts_follow_attach(local, upstream, error);
    kt_epoch_rows_free(&own);
    return rc;
}

// --- afterwards ---

// A node that is in no list asks to be counted, as a newcomer does.
static int ask_later(struct kts_local *local, const struct kts_upstream *upstream,
                     struct kt_error *error)
{
    const json_t *one;
    size_t i;

    json_array_foreach(upstream->members, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), local->promise.member) == 0)
            return 0;
    }
    return kt_file_replace(local->paths->joining, "1\n", 2, 0600, error);
}

// The logs went apart, or PostgreSQL is not there or does not start.
static int needs_copy(int code)
{
    return code == KT_ERR_DIVERGED || code == KT_ERR_DATABASE_UNAVAILABLE ||
           code == KT_ERR_NOT_FOUND || code == KT_ERR_NOT_INITIALISED;
}

int kts_job_node_rejoin(struct kts_job *job, const json_t *args, json_t **result,
                        struct kt_error *error)
{
    struct kts_upstream upstream = {.members = NULL};
    const char *how = "followed";
    struct kts_local local;
    int can_rewind = 1, rc = kts_local_open(job, &local, error);

    if (rc == 0)
        rc = take_active(&local, args, &upstream, error);
    if (rc)
        goto out;
    rc = local.promise.floor_lsn == KT_FLOOR_UNFINISHED ? KT_ERR_DIVERGED
                                                        : kts_follow(&local, &upstream, error);
    // A log that the active's only continues, and that the active has no more: nothing comes.
    if (rc == 0 && kts_wait_steady(&local, STEADY_MS, NULL) != 0) {
        kt_log(KT_LOG_WARNING, "nothing comes from '%s', the database is copied",
               upstream.peer.member);
        can_rewind = 0;
        rc = KT_ERR_DIVERGED;
    }
    if (needs_copy(rc))
        rc = rewind_or_copy(&local, &upstream, can_rewind, &how, error);
    if (rc == 0)
        rc = ask_later(&local, &upstream, error);
    if (rc == 0)
        rc = kts_wait_streaming(&local, STREAM_MS, error);
    if (rc == 0)
        *result = json_pack("{s:s, s:s, s:I}", "how", how, "active", upstream.peer.member, "epoch",
                            (json_int_t)local.promise.epoch);
out:
    kts_upstream_free(&upstream);
    kts_local_close(&local);
    return rc;
}
