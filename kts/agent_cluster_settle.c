// SPDX-License-Identifier: Apache-2.0
// What the agent puts right by itself: a change of members that was killed in between (rule 12) is
// looked at again, and finished or undone; what strangers have prepared is rolled back.
#include <string.h>

#include "kts/agent_cluster.h"
#include "kts/agent_member.h"
#include "lib/json.h"

#define PROBE_MS  5000
#define INSERT_MS 10000

// The newest row, which must be this established active's, and the one before it in the same epoch
// (*before has sequence 0 when there is none).
static int read_rows(struct kts_local *local, struct kt_epoch_row *row, struct kt_epoch_row *before,
                     struct kt_error *error)
{
    struct kt_epoch_rows rows = {.count = 0};
    const struct kt_epoch_row *newest;
    int rc = db_admin_rows(local->admin, &rows, error);

    if (rc)
        return rc;
    newest = kt_epoch_rows_newest(&rows);
    if (kt_epoch_row_is_own(newest, &local->promise)) {
        *row = *newest;
        *before = (struct kt_epoch_row){.sequence = 0};
        if (rows.count > 1 && rows.rows[rows.count - 2].epoch == row->epoch)
            *before = rows.rows[rows.count - 2];
    } else {
        rc = kt_error_set(error, KT_ERR_NO_QUORUM, "see ktadmin status",
                          "this node is not the established active of epoch %llu",
                          (unsigned long long)local->promise.epoch);
    }
    kt_epoch_rows_free(&rows);
    return rc;
}

// 1 when the names in force are those of the row, and writes are open.
static int is_in_force(const struct db_replication *now, const struct kt_epoch_row *row)
{
    char names[KT_STANDBY_NAMES_TEXT];

    return kt_standby_names(row, names) == 0 && strcmp(names, now->standby_names) == 0;
}

// A row that was written first must be acknowledged under the setting before it, which is in force
// still, before that is changed.
static int acknowledge_row(struct kts_local *local, const struct db_replication *now,
                           const struct kt_epoch_row *before, const struct kt_epoch_row *row,
                           struct kt_error *error)
{
    enum kt_change_order order = KT_ORDER_NOTHING;

    if (before->sequence == 0 || !is_in_force(now, before) ||
        kt_rule_change_order(before, row, &order, NULL) || order != KT_ORDER_ROW_FIRST)
        return 0;
    return db_admin_probe(local->admin, before, PROBE_MS, error);
}

int kts_member_repeat(struct kts_local *local, struct kt_epoch_row *row, struct kt_error *error)
{
    struct kt_epoch_row before;
    int rc = read_rows(local, row, &before, error);

    if (rc || !kt_rule_must_repeat(before.sequence ? &before : NULL, row))
        return rc;
    row->sequence++;
    row->note[0] = '\0';
    return db_admin_row_insert(local->admin, row, INSERT_MS, error);
}

// The names of the newest row are in force, and it is acknowledged.
static int settle(struct kts_local *local, struct kt_epoch_row *row, struct kt_error *error)
{
    struct db_replication now, wanted;
    struct kt_epoch_row before;
    int rc = kts_local_connect(local, error);

    if (rc == 0)
        rc = db_replication_load(local->paths, &now, error);
    if (rc == 0)
        rc = read_rows(local, row, &before, error);
    if (rc)
        return rc;
    if (is_in_force(&now, row) && !now.read_only) {
        // The file says so; that PostgreSQL was told is not sure after a kill.
        rc = kts_replication_active(local, row, 0, &wanted, error);
        return rc ? rc : kts_local_apply(local, &wanted, error);
    }
    // A row that waits for its members is not seen before its session is gone.
    rc = db_admin_end_sessions(local->admin, KTS_ADMIN_MS, error);
    if (rc == 0)
        rc = read_rows(local, row, &before, error);
    if (rc == 0)
        rc = acknowledge_row(local, &now, &before, row, error);
    if (rc == 0)
        rc = kts_replication_active(local, row, 0, &wanted, error);
    if (rc == 0)
        rc = kts_local_apply(local, &wanted, error);
    return rc ? rc : db_admin_probe(local->admin, row, PROBE_MS, error);
}

int kts_member_settle(struct kts_local *local, struct kt_epoch_row *row, struct kt_error *error)
{
    int rc = settle(local, row, error);

    return rc ? rc : kts_member_repeat(local, row, error);
}

int kts_job_strangers(struct kts_job *job, const json_t *args, json_t **result,
                      struct kt_error *error)
{
    struct kts_local local;
    uint32_t count = 0;
    int rc = kts_local_open(job, &local, error);

    if (rc == 0)
        rc = kts_local_connect(&local, error);
    if (rc == 0)
        rc = db_admin_roll_back_strangers(local.admin, kt_json_boolean(args, "end_sessions", 0),
                                          &count, error);
    if (rc == 0)
        *result = json_pack("{s:I}", "count", (json_int_t)count);
    kts_local_close(&local);
    return rc;
}

int kts_job_member_settle(struct kts_job *job, const json_t *args, json_t **result,
                          struct kt_error *error)
{
    struct kt_epoch_row row;
    struct kts_local local;
    int rc = kts_local_open(job, &local, error);

    (void)args;
    if (rc == 0)
        rc = kts_member_settle(&local, &row, error);
    if (rc == 0)
        *result = json_pack("{s:o*}", "row", kt_epoch_row_to_json(&row));
    kts_local_close(&local);
    return rc;
}
