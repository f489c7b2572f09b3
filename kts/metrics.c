// SPDX-License-Identifier: Apache-2.0
// What a node tells its operators' monitoring: the shared status in Prometheus' text format.
#include "kts/metrics.h"

#include <inttypes.h>

#include "lib/version.h"

enum what {
    BUILD,
    ROLE,
    EPOCH,
    INCARNATION,
    MEMBERS,
    MEMBERS_REQUIRED,
    WRITER,
    AUDIT,
    DATABASE,
    IN_DOUBT,
    LOG_INDEX,
    LAST_COMMIT,
    CUT_OFF,
    LAG_BYTES,
    LAG_SECONDS,
    REQUESTS,
    RETRIEVALS,
    CONNECTIONS,
    LIMITED,
    REFUSED_EARLY,
    MADE_ROOM,
    CUT,
    AUDIT_RECORDS,
    CERTIFICATE,
    RECEIPT_CERTIFICATE,
    OPERATORS_ENDING,
    CLIENTS_ENDING,
    BACKUP_MADE,
    BACKUP_BYTES,
    BACKUP_DEPOSITS,
    BACKUP_VERIFIED,
    BACKUP_FAILED,
    RESTORE_PROVEN,
};

static const struct kts_metric METRICS[] = {
    {"keytrustee_build_info", "gauge", "Version of the server, always 1.", BUILD, 0},
    {"keytrustee_role", "gauge", "1 for the role that this node has now.", ROLE, 0},
    {"keytrustee_epoch", "gauge", "Epoch in which this node is.", EPOCH, 0},
    {"keytrustee_incarnation", "gauge", "Number of the incarnation in which this node is.",
     INCARNATION, 0},
    {"keytrustee_members_streaming", "gauge", "Members that stream from this node under its epoch.",
     MEMBERS, 0},
    {"keytrustee_members_required", "gauge",
     "W: members that must have a change before it is acknowledged.", MEMBERS_REQUIRED, 0},
    {"keytrustee_writer_open", "gauge", "1 when changes are taken.", WRITER, 0},
    {"keytrustee_audit_open", "gauge", "1 when audit records can be written.", AUDIT, 0},
    {"keytrustee_database_up", "gauge", "1 when the agent reaches the database.", DATABASE, 0},
    {"keytrustee_groups_in_doubt", "gauge", "Groups of changes that are not settled yet.", IN_DOUBT,
     0},
    {"keytrustee_deposit_log_index", "gauge", "Log index of the last deposit.", LOG_INDEX, 0},
    {"keytrustee_last_commit_timestamp_seconds", "gauge",
     "When a group or barrier was last acknowledged, 0: not since the start.", LAST_COMMIT, 1},
    {"keytrustee_cut_off", "gauge", "1 on a passive that hears nothing from its active.", CUT_OFF,
     0},
    {"keytrustee_replication_lag_bytes", "gauge",
     "Log that this passive has received and not replayed yet.", LAG_BYTES, 0},
    {"keytrustee_replication_lag_seconds", "gauge",
     "Age of the newest change that this passive shows while it lags.", LAG_SECONDS, 1},
    {"keytrustee_requests_total", "counter", "Requests since the start.", REQUESTS, 0},
    {"keytrustee_retrievals_total", "counter", "Deposits handed out since the start.", RETRIEVALS,
     0},
    {"keytrustee_connections", "gauge", "Connections that are open.", CONNECTIONS, 0},
    {"keytrustee_requests_limited_total", "counter",
     "Requests answered 429 because of failures before them.", LIMITED, 0},
    {"keytrustee_connections_refused_total", "counter",
     "Connections closed before the handshake: their address was over a limit.", REFUSED_EARLY, 0},
    {"keytrustee_connections_displaced_total", "counter",
     "Waiting connections closed to make room for new ones.", MADE_ROOM, 0},
    {"keytrustee_connections_cut_total", "counter",
     "Connections cut because a body came, or an answer was taken, too slowly.", CUT, 0},
    {"keytrustee_audit_records_total", "counter", "Sequence number of the last audit record.",
     AUDIT_RECORDS, 0},
    {"keytrustee_certificate_not_after_timestamp_seconds", "gauge",
     "End of the server certificate's validity, 0: not known.", CERTIFICATE, 1},
    {"keytrustee_receipt_key_not_after_timestamp_seconds", "gauge",
     "End of the receipt key's certificate, 0: not known.", RECEIPT_CERTIFICATE, 1},
    {"keytrustee_operator_certificates_ending", "gauge",
     "Operators whose certificates end within 30 days.", OPERATORS_ENDING, 0},
    {"keytrustee_client_certificates_ending", "gauge",
     "Clients whose certificates end within 30 days.", CLIENTS_ENDING, 0},
    {"keytrustee_backup_last_success_timestamp_seconds", "gauge",
     "When the last backup of this node was made, 0: never.", BACKUP_MADE, 1},
    {"keytrustee_backup_last_bytes", "gauge", "Size of the last backup.", BACKUP_BYTES, 0},
    {"keytrustee_backup_last_deposits", "gauge", "Deposits in the last backup.", BACKUP_DEPOSITS,
     0},
    {"keytrustee_backup_last_verified_timestamp_seconds", "gauge",
     "When a backup was last checked and found good, 0: never.", BACKUP_VERIFIED, 1},
    {"keytrustee_backup_last_failure_timestamp_seconds", "gauge",
     "When the last run of ktbackup failed, 0: never, or one has succeeded since.", BACKUP_FAILED,
     1},
    {"keytrustee_restore_last_proven_timestamp_seconds", "gauge",
     "When a backup was last restored on trial and found whole, 0: never.", RESTORE_PROVEN, 1},
};

#define COUNT (sizeof(METRICS) / sizeof(METRICS[0]))

const struct kts_metric *kts_metrics_all(size_t *count)
{
    *count = COUNT;
    return METRICS;
}

static int64_t value_of(enum what what, struct kts_status *s)
{
    switch (what) {
    case BUILD:
    case ROLE:
        return 1;
    case EPOCH:
        return (int64_t)atomic_load(&s->epoch);
    case INCARNATION:
        return atomic_load(&s->incarnation);
    case MEMBERS:
        return atomic_load(&s->members);
    case MEMBERS_REQUIRED:
        return atomic_load(&s->w);
    case WRITER:
        return atomic_load(&s->writer_open);
    case AUDIT:
        return atomic_load(&s->audit_open);
    case DATABASE:
        return atomic_load(&s->database_up);
    case IN_DOUBT:
        return kts_status_in_doubt(s);
    case LOG_INDEX:
        return (int64_t)atomic_load(&s->log_index);
    case LAST_COMMIT:
        return atomic_load(&s->last_commit_us);
    case CUT_OFF:
        return atomic_load(&s->is_cut_off);
    case LAG_BYTES:
        return (int64_t)atomic_load(&s->lag_bytes);
    case LAG_SECONDS:
        return atomic_load(&s->lag_us);
    case REQUESTS:
        return (int64_t)atomic_load(&s->requests);
    case RETRIEVALS:
        return (int64_t)atomic_load(&s->retrievals);
    case CONNECTIONS:
        return (int64_t)kts_status_connections(s);
    case LIMITED:
        return (int64_t)atomic_load(&s->limited);
    case REFUSED_EARLY:
        return (int64_t)atomic_load(&s->refused_early);
    case MADE_ROOM:
        return (int64_t)atomic_load(&s->made_room);
    case CUT:
        return (int64_t)atomic_load(&s->cut);
    case AUDIT_RECORDS:
        return (int64_t)atomic_load(&s->audit_seq);
    case CERTIFICATE:
        return atomic_load(&s->server_certificate_not_after_us);
    case RECEIPT_CERTIFICATE:
        return atomic_load(&s->receipt_not_after_us);
    case OPERATORS_ENDING:
        return atomic_load(&s->operators_ending);
    case CLIENTS_ENDING:
        return atomic_load(&s->clients_ending);
    case BACKUP_MADE:
        return atomic_load(&s->backup_made_us);
    case BACKUP_BYTES:
        return (int64_t)atomic_load(&s->backup_bytes);
    case BACKUP_DEPOSITS:
        return (int64_t)atomic_load(&s->backup_deposits);
    case BACKUP_VERIFIED:
        return atomic_load(&s->backup_verified_us);
    case BACKUP_FAILED:
        return atomic_load(&s->backup_failed_us);
    case RESTORE_PROVEN:
        return atomic_load(&s->restore_proven_us);
    }
    return 0;
}

// One line a role, so that a query can name the one it wants and a change is seen as two steps.
static int put_roles(const struct kts_metric *metric, struct kts_status *status, struct kt_buf *out)
{
    uint32_t now = atomic_load(&status->role);
    int rc = 0;

    for (uint32_t role = KTS_ROLE_UNKNOWN; role < KTS_ROLE_COUNT && rc == 0; role++)
        rc = kt_buf_putf(out, "%s{role=\"%s\"} %d\n", metric->name,
                         kts_role_name((enum kts_role)role), role == now);
    return rc;
}

static int put_value(const struct kts_metric *metric, struct kts_status *status, struct kt_buf *out)
{
    int64_t value = value_of((enum what)metric->what, status);

    if (metric->what == ROLE)
        return put_roles(metric, status, out);
    if (metric->what == BUILD)
        return kt_buf_putf(out, "%s{version=\"%s\"} 1\n", metric->name, KT_VERSION);
    if (!metric->is_time)
        return kt_buf_putf(out, "%s %" PRId64 "\n", metric->name, value);
    if (value < 0) // clocks of two nodes
        value = 0;
    return kt_buf_putf(out, "%s %" PRId64 ".%06d\n", metric->name, value / 1000000,
                       (int)(value % 1000000));
}

int kts_metrics_put(struct kts_status *status, struct kt_buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < COUNT && rc == 0; i++) {
        const struct kts_metric *metric = &METRICS[i];
        rc = kt_buf_putf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
                         metric->name, metric->type);
        if (rc == 0)
            rc = put_value(metric, status, out);
    }
    return rc;
}
