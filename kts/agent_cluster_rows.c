// SPDX-License-Identifier: Apache-2.0
// What other nodes ask of this one before they stream from it: its rows, its
// end of log, and the floor of a copy.
#include <string.h>

#include "kts/agent_cluster.h"
#include "lib/json.h"

#define PROBE_MS 3000

// Who counts beside the active: by the newest row, or by the one that is to be written.
static json_t *members_of(struct kts_local *local, const struct kt_epoch_rows *rows)
{
    const struct kt_epoch_row *newest = kt_epoch_rows_newest(rows);
    json_t *list = json_array();
    struct kt_epoch_row pending;

    if (kts_pending_row_load(local->paths, &pending, NULL) == 0 &&
        pending.epoch == local->promise.epoch)
        newest = &pending;
    for (uint32_t i = 0; newest && i < newest->count; i++)
        json_array_append_new(list, json_string(newest->members[i]));
    return list;
}

int kts_job_node_rows(struct kts_job *job, const json_t *args, json_t **result,
                      struct kt_error *error)
{
    struct kt_epoch_rows rows = {.count = 0};
    struct db_position position;
    struct kts_local local;
    int rc = kts_local_open(job, &local, error);

    (void)args;
    if (rc == 0)
        rc = kts_local_connect(&local, error);
    if (rc == 0)
        rc = db_admin_rows(local.admin, &rows, error);
    if (rc == 0)
        rc = kts_local_end(&local, &rows, &position, error);
    if (rc == 0) {
        *result = json_pack("{s:s, s:o*, s:o*, s:I, s:b, s:b, s:I, s:s}", "member",
                            local.promise.member, "rows", kt_epoch_rows_to_json(&rows), "members",
                            members_of(&local, &rows), "timeline", (json_int_t)position.timeline,
                            "in_recovery", position.in_recovery, "promoted",
                            kts_local_is_promoted(&local, &rows, position.in_recovery), "epoch",
                            (json_int_t)local.promise.epoch, "active", local.promise.active);
        kts_json_set_incarnation(*result, "incarnation", &local.promise.incarnation);
        kts_json_set_lsn(*result, "lsn", position.lsn);
        kts_json_set_lsn(*result, "start_lsn", position.start_lsn);
    }
    kt_epoch_rows_free(&rows);
    kts_local_close(&local);
    return rc;
}

// A barrier of now, when the members are there. It only adds that no newer epoch is established;
// the end of this log covers all that was acknowledged in this one.
static int make_barrier(struct kts_local *local, const struct kt_epoch_row *row, int *proven,
                        struct kt_error *error)
{
    const struct kts_status *status = local->job->status;
    int rc = KT_ERR_NO_QUORUM;

    if (atomic_load(&status->members) >= row->w)
        rc = db_admin_probe(local->admin, row, PROBE_MS, error);
    *proven = rc == 0;
    return rc == KT_ERR_NO_QUORUM || rc == KT_ERR_IN_DOUBT ? 0 : rc;
}

// Rule 14: an established active's floor is a barrier of now; of an unestablished
// one, and of one whose passives are gone (rule 15: a newcomer takes the place of one
// that was destroyed), its end of log.
int kts_job_member_floor(struct kts_job *job, const json_t *args, json_t **result,
                         struct kt_error *error)
{
    struct kt_epoch_rows rows = {.count = 0};
    struct db_position position;
    struct kts_local local;
    int proven = 0, rc = kts_local_open(job, &local, error);

    (void)args;
    if (rc == 0 && strcmp(local.promise.active, local.node) != 0)
        rc = kt_error_set(error, KT_ERR_PASSIVE, "ask the active", "this node follows '%s'",
                          local.promise.active);
    if (rc == 0)
        rc = kts_local_connect(&local, error);
    if (rc == 0)
        rc = db_admin_rows(local.admin, &rows, error);
    if (rc == 0 && kt_epoch_row_is_own(kt_epoch_rows_newest(&rows), &local.promise))
        rc = make_barrier(&local, kt_epoch_rows_newest(&rows), &proven, error);
    if (rc == 0)
        rc = db_admin_position(local.admin, &position, error);
    if (rc == 0 && position.in_recovery)
        rc = kt_error_set(error, KT_ERR_PASSIVE, NULL, "this node's database is a standby");
    if (rc == 0 && !kts_local_is_promoted(&local, &rows, 0))
        rc = kt_error_set(error, KT_ERR_FENCED, "promote it first: ktadmin failover",
                          "this node was not promoted in epoch %llu",
                          (unsigned long long)local.promise.epoch);
    if (rc == 0) {
        *result = json_pack("{s:I, s:s, s:b}", "epoch", (json_int_t)local.promise.epoch, "active",
                            local.promise.active, "barrier", proven);
        kts_json_set_incarnation(*result, "incarnation", &local.promise.incarnation);
        kts_json_set_lsn(*result, "floor", position.lsn);
    }
    kt_epoch_rows_free(&rows);
    kts_local_close(&local);
    return rc;
}
