// SPDX-License-Identifier: Apache-2.0
// Sealing (rule 4) and catching up under a seal (rule 6).
#include <stdio.h>
#include <string.h>

#include "kts/agent_cluster.h"
#include "lib/json.h"

static int make_report(struct kts_local *local, json_t **result, struct kt_error *error)
{
    const struct kt_promise *promise = &local->promise;
    struct kt_report report = {
        .incarnation = promise->incarnation,
        .epoch = promise->epoch,
        .floor = promise->floor_lsn,
        .active_since = promise->active_since,
    };
    struct db_position position;
    int rc = db_admin_position(local->admin, &position, error);

    memcpy(report.member, promise->member, sizeof(report.member));
    memcpy(report.active, promise->active, sizeof(report.active));
    memcpy(report.retired_by, promise->retired_by, sizeof(report.retired_by));
    if (rc == 0)
        rc = db_admin_rows(local->admin, &report.rows, error);
    if (rc == 0) {
        report.lsn = position.lsn;
        *result = kt_report_to_json(&report);
        if (!*result)
            rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    kt_report_free(&report);
    return rc;
}

// The rows of the log, as far as they can be read now, decide with the promise.
static int check_log(struct kts_local *local, const struct kt_promise *promise,
                     const struct kt_incarnation *incarnation, uint64_t epoch,
                     struct kt_error *error)
{
    struct kt_epoch_rows rows = {.count = 0};
    int rc = db_admin_rows(local->admin, &rows, error);

    if (rc == 0)
        rc = kt_rule_may_seal(promise, kt_epoch_rows_newest(&rows), incarnation, epoch, error);
    kt_epoch_rows_free(&rows);
    return rc;
}

// Asked again for exactly what was promised: the report is given again, but a node that went on
// under that epoch, as its active or following it, is not stopped by a late question.
static int check_repeated(struct kts_local *local, const struct kt_incarnation *incarnation,
                          uint64_t epoch, const char *target, struct kt_error *error)
{
    struct db_replication now;
    struct kt_epoch_row row;
    char name[KT_REPLICATION_NAME_TEXT] = "";
    int goes_on = 0, rc = db_replication_load(local->paths, &now, error);

    if (rc)
        return rc == KT_ERR_NOT_FOUND ? 0 : rc;
    if (now.mode == DB_MODE_FOLLOW &&
        kt_replication_name(local->promise.member, epoch, target, name) == 0)
        goes_on = strcmp(name, now.application_name) == 0;
    if (now.mode == DB_MODE_ACTIVE && strcmp(target, local->node) == 0) {
        // Promoted in this epoch: its row waits to be written, or is in the log.
        rc = kts_pending_row_load(local->paths, &row, error);
        if (rc && rc != KT_ERR_NOT_FOUND)
            return rc;
        goes_on = rc == 0 && row.epoch == epoch;
        rc = 0;
        if (!goes_on && kts_local_is_running(local)) {
            const struct kt_promise before = {.incarnation = *incarnation, .epoch = epoch - 1};
            rc = kts_local_connect(local, error);
            if (rc == 0)
                goes_on = check_log(local, &before, incarnation, epoch, NULL) != 0;
        }
    }
    if (rc == 0 && goes_on)
        rc = kt_error_set(error, KT_ERR_FENCED, "run ktadmin failover again: it takes a new epoch",
                          "this node went on in epoch %llu of '%s' already",
                          (unsigned long long)epoch, target);
    return rc;
}

// Before the promise: nothing is changed by a refusal. *looked receives 1 when PostgreSQL ran, and
// the log was seen.
static int check_first(struct kts_local *local, const struct kt_incarnation *incarnation,
                       uint64_t epoch, int *looked, struct kt_error *error)
{
    int rc = kt_rule_may_seal(&local->promise, NULL, incarnation, epoch, error);

    if (rc || !kts_local_is_running(local))
        return rc;
    rc = kts_local_connect(local, error);
    if (rc == 0)
        rc = check_log(local, &local->promise, incarnation, epoch, error);
    *looked = rc == 0;
    return rc;
}

// In two calls: this one ends with PostgreSQL stopped, so that the others may be sealed, with all
// that this node wrote, while it is started again. 0: it does not run as an active, or nobody would
// start it should the second call never come.
static int stops_first(struct kts_local *local, const json_t *args)
{
    struct db_position position;

    return kt_json_boolean(args, "stop", 0) && kts_local_is_running(local) &&
           kts_local_is_supervised(local) && kts_local_connect(local, NULL) == 0 &&
           db_admin_position(local->admin, &position, NULL) == 0 && !position.in_recovery;
}

int kts_job_node_seal(struct kts_job *job, const json_t *args, json_t **result,
                      struct kt_error *error)
{
    struct kt_promise before, promise;
    struct kt_incarnation incarnation;
    const char *target = NULL;
    struct kts_local local;
    uint64_t epoch = 0;
    int repeated, looked = 0, rc = kts_local_open(job, &local, error);

    if (rc == 0)
        rc = kts_args_epoch(args, &incarnation, &epoch, error);
    if (rc == 0)
        rc = kts_args_node(args, "target", &target, error);
    if (rc)
        goto out;
    before = promise = local.promise;
    repeated = kts_local_has_promised(&local, &incarnation, epoch, target);
    // T belongs to the attempt that sealed it first: of two with the same numbers one goes on.
    if (repeated && strcmp(target, local.node) == 0)
        rc = kt_error_set(error, KT_ERR_FENCED, "see ktadmin status; if it fails run this again",
                          "another failover to this node is under way, in epoch %llu",
                          (unsigned long long)epoch);
    else
        rc = repeated ? check_repeated(&local, &incarnation, epoch, target, error)
                      : check_first(&local, &incarnation, epoch, &looked, error);
    if (rc == 0 && !repeated) {
        promise.incarnation = incarnation;
        promise.epoch = epoch;
        snprintf(promise.active, sizeof(promise.active), "%s", target);
        rc = kts_local_promise(&local, &promise, error);
        // Should this end here, the next start is that of a standby.
        if (rc == 0)
            rc = kts_local_save_mode(&local, &(struct db_replication){.mode = DB_MODE_SEALED},
                                     error);
    }
    // What it holds was looked at before it promised; its report is asked for by the second call.
    if (rc == 0 && looked && stops_first(&local, args)) {
        rc = kts_local_stop_sealed(&local, error);
        *result = json_pack("{s:b}", "stopped", 1);
        goto out;
    }
    if (rc == 0)
        rc = kts_local_seal(&local, error);
    // What PostgreSQL holds may only be known now: a log above e gives no report. The promise may
    // stay, it binds this node to nothing that was not promised to it.
    if (rc == 0 && !repeated)
        rc = check_log(&local, &before, &incarnation, epoch, error);
    if (rc == 0)
        rc = make_report(&local, result, error);
out:
    kts_local_close(&local);
    return rc;
}

// --- catching up ---

static int donor_holds(struct kts_local *local, const struct kts_upstream *donor,
                       struct kt_error *error)
{
    struct kt_epoch_rows rows = {.count = 0};
    struct db_position own;
    int rc;

    if (donor->promise.epoch != local->promise.epoch ||
        donor->promise.incarnation.bits != local->promise.incarnation.bits ||
        strcmp(donor->promise.active, local->promise.active) != 0 || !donor->position.in_recovery)
        return kt_error_set(error, KT_ERR_NOT_PROVEN, NULL, "'%s' is not sealed for this attempt",
                            donor->peer.member);
    rc = db_admin_rows(local->admin, &rows, error);
    if (rc == 0)
        rc = kts_local_end(local, &rows, &own, error);
    if (rc == 0)
        rc = kt_rule_is_prefix(&rows, own.lsn, own.start_lsn, &donor->rows,
                               donor->position.start_lsn, error);
    kt_epoch_rows_free(&rows);
    return rc;
}

static int copy_from(struct kts_local *local, const struct kts_upstream *donor,
                     struct kt_error *error)
{
    struct db_replication copy = {.mode = DB_MODE_FOLLOW, .port = donor->peer.database_port};
    int rc;

    memcpy(copy.host, donor->peer.address, sizeof(copy.host));
    rc = snprintf(copy.application_name, sizeof(copy.application_name), "%s_copy",
                  local->promise.member) < (int)sizeof(copy.application_name)
             ? 0
             : KT_ERR_TOO_LARGE;
    rc = rc ? rc : kts_local_apply(local, &copy, error);
    return rc ? rc : db_admin_wait_replayed(local->admin, donor->position.lsn, KTS_SEAL_MS, error);
}

int kts_job_node_catch_up(struct kts_job *job, const json_t *args, json_t **result,
                          struct kt_error *error)
{
    struct kts_upstream donor = {.members = NULL};
    struct kt_incarnation incarnation;
    const char *target = NULL, *member = NULL;
    struct kts_local local;
    uint64_t epoch = 0;
    int rc = kts_local_open(job, &local, error);

    if (rc == 0)
        rc = kts_args_epoch(args, &incarnation, &epoch, error);
    if (rc == 0)
        rc = kts_args_node(args, "target", &target, error);
    if (rc == 0)
        rc = kts_args_member(args, "donor", 1, &member, error);
    if (rc == 0 && !kts_local_has_promised(&local, &incarnation, epoch, target))
        rc = kt_error_set(error, KT_ERR_FENCED, NULL,
                          "this node is not sealed for epoch %llu of '%s'",
                          (unsigned long long)epoch, target);
    if (rc == 0)
        rc = check_repeated(&local, &incarnation, epoch, target, error);
    if (rc == 0)
        rc = kts_local_seal(&local, error);
    if (rc == 0)
        rc = kts_upstream_ask(&local, member, &donor, error);
    if (rc == 0)
        rc = donor_holds(&local, &donor, error);
    if (rc == 0) {
        rc = copy_from(&local, &donor, error);
        // Sealed again whatever came of it.
        int sealed = kts_local_seal(&local, rc ? NULL : error);
        rc = rc ? rc : sealed;
    }
    if (rc == 0)
        rc = make_report(&local, result, error);
    kts_upstream_free(&donor);
    kts_local_close(&local);
    return rc;
}
