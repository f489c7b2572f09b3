// SPDX-License-Identifier: Apache-2.0
// Promotion (rule 9): only while the promise is exactly (e, this node), from a sealed standby past
// its floor. Each step can be repeated after a kill.
#include <string.h>

#include "kts/agent_cluster.h"
#include "lib/json.h"

#define PROMOTE_MS 30000

// The row to be, from the caller: its numbers are this attempt's, its active is this node.
static int take_row(struct kts_local *local, const json_t *args, struct kt_epoch_row *row,
                    struct kt_error *error)
{
    struct kt_incarnation incarnation;
    uint64_t epoch = 0;
    int rc = kts_args_epoch(args, &incarnation, &epoch, error);

    if (rc == 0)
        rc = kt_epoch_row_from_json(json_object_get(args, "row"), row, error);
    if (rc)
        return rc;
    if (!kts_local_has_promised(local, &incarnation, epoch, local->node))
        return kt_error_set(error, KT_ERR_FENCED, "run ktadmin failover again",
                            "this node's promise is not epoch %llu of itself",
                            (unsigned long long)epoch);
    if (strcmp(row->active, local->promise.member) != 0 ||
        kt_epoch_row_has_member(row, row->active))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                            "the row's active must be '%s', and no member beside itself",
                            local->promise.member);
    if (row->w > row->count || (row->w == 0 && row->count > 0))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "W %u does not fit %u members", row->w,
                            row->count);
    row->incarnation = incarnation;
    row->epoch = epoch;
    row->sequence = 1;
    return 0;
}

// In the log or on its way there: this node is promoted in the epoch of its promise, which is the
// row's.
static int is_promoted(struct kts_local *local)
{
    struct kt_epoch_rows rows = {.count = 0};
    int is;

    if (db_admin_rows(local->admin, &rows, NULL))
        rows.count = 0; // the row that waits may still say it
    is = kts_local_is_promoted(local, &rows, 0);
    kt_epoch_rows_free(&rows);
    return is;
}

// A node whose row of this epoch is written was its active and has been stopped since: to go on it
// needs an epoch of its own.
static int check_log(struct kts_local *local, const struct kt_epoch_row *row,
                     struct kt_error *error)
{
    const struct kt_promise before = {.incarnation = row->incarnation, .epoch = row->epoch - 1};
    struct kt_epoch_rows rows = {.count = 0};
    int rc = db_admin_rows(local->admin, &rows, error);

    if (rc == 0)
        rc = kt_rule_may_seal(&before, kt_epoch_rows_newest(&rows), &row->incarnation, row->epoch,
                              error);
    kt_epoch_rows_free(&rows);
    return rc;
}

static int check_standby(struct kts_local *local, const struct kt_epoch_row *row,
                         const struct db_position *position, struct kt_error *error)
{
    struct db_replication now;
    int rc = check_log(local, row, error);

    if (rc == 0)
        rc = db_replication_load(local->paths, &now, error);
    if (rc)
        return rc;
    // ACTIVE: a run that was killed just before pg_promote.
    if (now.mode == DB_MODE_FOLLOW)
        return kt_error_set(error, KT_ERR_FENCED, "run ktadmin failover again",
                            "this node is not sealed, it streams");
    if (local->promise.floor_lsn > position->lsn)
        return kt_error_set(error, KT_ERR_NOT_PROVEN, NULL, "this node is below its floor");
    return 0;
}

// A node that is promoted again and was never rewound keeps since when it is an active.
static int note_active_since(struct kts_local *local, uint64_t epoch, struct kt_error *error)
{
    struct kt_promise promise = local->promise;

    if (promise.active_since != 0)
        return 0;
    promise.active_since = epoch;
    return kts_local_promise(local, &promise, error);
}

static int promote(struct kts_local *local, const struct kt_epoch_row *row,
                   struct db_position *position, struct kt_error *error)
{
    struct db_replication active;
    int rc = kts_replication_active(local, row, 1, &active, error);

    if (rc == 0)
        rc = kts_pending_row_save(local->paths, row, error);
    if (rc == 0)
        rc = note_active_since(local, row->epoch, error);
    return rc ? rc
              : db_admin_promote(local->cluster, local->admin, &active, PROMOTE_MS, position,
                                 error);
}

// Promoted before: what a kill may have left undone is its mode on disk.
static int finish(struct kts_local *local, const struct kt_epoch_row *row,
                  struct db_position *position, struct kt_error *error)
{
    struct db_replication now, active;
    int rc = kts_replication_active(local, row, 1, &active, error);

    if (rc == 0)
        rc = db_replication_load(local->paths, &now, error);
    if (rc == 0 && now.mode != DB_MODE_ACTIVE)
        rc = db_admin_promote(local->cluster, local->admin, &active, PROMOTE_MS, position, error);
    return rc;
}

int kts_job_node_promote(struct kts_job *job, const json_t *args, json_t **result,
                         struct kt_error *error)
{
    struct db_position position;
    struct kt_epoch_row row;
    struct kts_local local;
    int rc = kts_local_open(job, &local, error);

    if (rc == 0)
        rc = take_row(&local, args, &row, error);
    if (rc == 0 && !kts_local_is_running(&local))
        rc = kts_local_seal(&local, error);
    if (rc == 0)
        rc = kts_local_connect(&local, error);
    if (rc == 0)
        rc = db_admin_position(local.admin, &position, error);
    if (rc == 0 && position.in_recovery) {
        rc = check_standby(&local, &row, &position, error);
        rc = rc ? rc : promote(&local, &row, &position, error);
    } else if (rc == 0 && is_promoted(&local)) {
        rc = finish(&local, &row, &position, error);
    } else if (rc == 0) {
        rc = kt_error_set(error, KT_ERR_FENCED, "run ktadmin failover again: it seals first",
                          "this node runs as the active of an older epoch");
    }
    if (rc == 0)
        rc = db_admin_slots(local.admin, &row, error);
    if (rc == 0) {
        *result = json_pack("{s:i}", "timeline", (int)position.timeline);
        kts_json_set_lsn(*result, "start_lsn", position.start_lsn);
        kts_json_set_lsn(*result, "lsn", position.lsn);
    }
    kts_local_close(&local);
    return rc;
}
