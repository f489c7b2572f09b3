// SPDX-License-Identifier: Apache-2.0
// Establishing a promoted node (rule 10): its row, acknowledged by W members, then writes.
#include <string.h>

#include "kts/agent_cluster.h"
#include "lib/json.h"

#define WAIT_MS   10000 // for W members to stream, unless the caller says otherwise
#define INSERT_MS 10000
#define PROBE_MS  5000
#define WRITER_MS 5000

// The newest row of this epoch with this node as the active, if there is one: 1.
static int find_row(struct kts_local *local, struct kt_epoch_row *row, int *found,
                    struct kt_error *error)
{
    const struct kt_promise *promise = &local->promise;
    struct kt_epoch_rows rows = {.count = 0};
    const struct kt_epoch_row *newest;
    int rc = db_admin_rows(local->admin, &rows, error);

    *found = 0;
    newest = rc ? NULL : kt_epoch_rows_newest(&rows);
    if (newest && kt_epoch_row_is_own(newest, promise)) {
        *row = *newest;
        *found = 1;
    } else if (newest && newest->incarnation.number >= promise->incarnation.number &&
               newest->epoch >= promise->epoch) {
        rc = kt_error_set(error, KT_ERR_FENCED, "see ktadmin status",
                          "the log holds epoch %llu of '%s'", (unsigned long long)newest->epoch,
                          newest->active);
    }
    kt_epoch_rows_free(&rows);
    return rc;
}

static int insert(struct kts_local *local, const struct kt_epoch_row *wanted, int wait_ms,
                  struct kt_epoch_row *row, struct kt_error *error)
{
    struct kt_epoch_rows rows = {.count = 0};
    struct db_position position;
    int rc = 0;

    *row = *wanted;
    row->incarnation = local->promise.incarnation;
    row->epoch = local->promise.epoch;
    row->sequence = 1;
    memcpy(row->active, local->promise.member, sizeof(row->active));
    if (row->count > 0)
        rc = db_admin_wait_streaming(local->admin, row, wait_ms, error);
    if (rc == 0)
        rc = db_admin_rows(local->admin, &rows, error);
    if (rc == 0)
        rc = kts_local_end(local, &rows, &position, error);
    kt_epoch_rows_free(&rows);
    if (rc)
        return rc;
    row->start_lsn = position.start_lsn;
    row->timeline = position.timeline;
    return db_admin_row_insert(local->admin, row, INSERT_MS, error);
}

// Applied whatever the file says: a run may have been killed between the file and the reload.
static int set_names(struct kts_local *local, const struct kt_epoch_row *row, int read_only,
                     struct kt_error *error)
{
    struct db_replication wanted;
    int rc = kts_replication_active(local, row, read_only, &wanted, error);

    return rc ? rc : kts_local_apply(local, &wanted, error);
}

// A promotion that was killed behind pg_promote left the file saying sealed.
static int finish_promotion(struct kts_local *local, const struct kt_epoch_row *row,
                            struct kt_error *error)
{
    struct db_replication now, active;
    struct db_position position;
    int rc = db_replication_load(local->paths, &now, error);

    if (rc || now.mode == DB_MODE_ACTIVE)
        return rc;
    rc = kts_replication_active(local, row, 1, &active, error);
    return rc ? rc
              : db_admin_promote(local->cluster, local->admin, &active, KTS_SEAL_MS, &position,
                                 error);
}

// A row that is there already is proven under its names. Who writes under them is not disturbed.
static int finish(struct kts_local *local, const struct kt_epoch_row *row, struct kt_error *error)
{
    struct db_replication now;
    int rc = db_replication_load(local->paths, &now, error);

    if (rc == 0)
        rc = set_names(local, row, now.read_only, error);
    return rc ? rc : db_admin_probe(local->admin, row, PROBE_MS, error);
}

int kts_establish(struct kts_local *local, const struct kt_epoch_row *wanted, int wait_ms,
                  struct kt_epoch_row *row, struct kt_error *error)
{
    int found = 0, rc = kts_local_connect(local, error);

    if (rc == 0)
        rc = finish_promotion(local, wanted, error);
    if (rc == 0)
        rc = find_row(local, row, &found, error);
    if (rc == 0 && !found) {
        // A row that a killed run left waiting for its members shows when that session is gone.
        rc = db_admin_end_sessions(local->admin, KTS_ADMIN_MS, error);
        if (rc == 0)
            rc = find_row(local, row, &found, error);
    }
    if (rc == 0 && found) {
        rc = finish(local, row, error);
    } else if (rc == 0) {
        rc = set_names(local, wanted, 1, error);
        rc = rc ? rc : insert(local, wanted, wait_ms, row, error);
    }
    if (rc == 0)
        rc = set_names(local, row, 0, error);
    return rc ? rc : kts_pending_row_remove(local->paths, error);
}

const char *kts_wait_writer(struct kts_local *local)
{
    struct kts_status *status = local->job->status;
    int64_t until = kt_monotonic_now() + WRITER_MS * INT64_C(1000);

    while (!atomic_load(&status->writer_open) && kt_monotonic_now() < until)
        kts_breath();
    return atomic_load(&status->writer_open) ? "open" : "closed";
}

// The row to be: the caller's, or the one that the promotion left.
static int take_wanted(struct kts_local *local, const json_t *args, struct kt_epoch_row *wanted,
                       struct kt_error *error)
{
    const json_t *given = json_object_get(args, "row");
    int rc = given ? kt_epoch_row_from_json(given, wanted, error)
                   : kts_pending_row_load(local->paths, wanted, error);

    if (rc == KT_ERR_NOT_FOUND) {
        // Nothing waits: established before, which the log shows.
        *wanted = (struct kt_epoch_row){.epoch = local->promise.epoch};
        memcpy(wanted->active, local->promise.member, sizeof(wanted->active));
        rc = 0;
    }
    if (rc == 0 && (strcmp(wanted->active, local->promise.member) != 0 ||
                    wanted->epoch != local->promise.epoch))
        rc = kt_error_set(error, KT_ERR_FENCED, "run ktadmin failover again",
                          "the row is of epoch %llu of '%s', this node promised %llu to '%s'",
                          (unsigned long long)wanted->epoch, wanted->active,
                          (unsigned long long)local->promise.epoch, local->promise.active);
    return rc;
}

static int check_promoted(struct kts_local *local, struct kt_error *error)
{
    struct kt_epoch_rows rows = {.count = 0};
    struct db_position position;
    int rc = strcmp(local->promise.active, local->node) == 0 ? 0 : KT_ERR_FENCED;

    if (rc)
        return kt_error_set(error, rc, "see ktadmin status",
                            "this node promised epoch %llu to '%s'",
                            (unsigned long long)local->promise.epoch, local->promise.active);
    rc = kts_local_connect(local, error);
    if (rc == 0)
        rc = db_admin_position(local->admin, &position, error);
    if (rc == 0 && position.in_recovery)
        rc = kt_error_set(error, KT_ERR_PASSIVE, "promote it first: ktadmin failover",
                          "this node's database is a standby");
    if (rc == 0)
        rc = db_admin_rows(local->admin, &rows, error);
    if (rc == 0 && !kts_local_is_promoted(local, &rows, 0))
        rc = kt_error_set(error, KT_ERR_FENCED, "promote it first: ktadmin failover",
                          "this node was not promoted in epoch %llu",
                          (unsigned long long)local->promise.epoch);
    kt_epoch_rows_free(&rows);
    return rc;
}

int kts_job_node_establish(struct kts_job *job, const json_t *args, json_t **result,
                           struct kt_error *error)
{
    struct kt_epoch_row wanted, row;
    int64_t wait_ms = WAIT_MS;
    struct kts_local local;
    const char *writer;
    int rc = kts_local_open(job, &local, error);

    if (rc == 0)
        rc = kt_json_integer(args, "wait_ms", 0, 600000, 0, &wait_ms, error);
    if (rc == 0)
        rc = take_wanted(&local, args, &wanted, error);
    if (rc == 0)
        rc = check_promoted(&local, error);
    if (rc == 0)
        rc = kts_establish(&local, &wanted, (int)wait_ms, &row, error);
    if (rc == 0) {
        writer = kts_wait_writer(&local); // the agent's watch sees the row and permits it
        *result = json_pack("{s:o*, s:s}", "row", kt_epoch_row_to_json(&row), "writer", writer);
    }
    kts_local_close(&local);
    return rc;
}
