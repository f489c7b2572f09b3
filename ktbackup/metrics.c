// SPDX-License-Identifier: Apache-2.0
// Metrics of backups as a text file.
#include "ktbackup/metrics.h"

#include <inttypes.h>
#include <stddef.h>

#include "lib/buf.h"
#include "lib/file.h"

#define TEXT_MAX 8192

// All are gauges. To add one, a row here, in kts/metrics.c and in docs/protocol.md.
static const struct {
    const char *name, *help;
    size_t offset; // in the state
    int is_time;   // microseconds there, seconds here
} METRICS[] = {
    {"keytrustee_backup_last_success_timestamp_seconds",
     "When the last backup of this node was made, 0: never.",
     offsetof(struct kt_backup_state, made_us), 1},
    {"keytrustee_backup_last_bytes", "Size of the last backup.",
     offsetof(struct kt_backup_state, bytes), 0},
    {"keytrustee_backup_last_deposits", "Deposits in the last backup.",
     offsetof(struct kt_backup_state, deposits), 0},
    {"keytrustee_backup_last_verified_timestamp_seconds",
     "When a backup was last checked and found good, 0: never.",
     offsetof(struct kt_backup_state, verified_us), 1},
    {"keytrustee_backup_last_failure_timestamp_seconds",
     "When the last run of ktbackup failed, 0: never, or one has succeeded since.",
     offsetof(struct kt_backup_state, failed_us), 1},
    {"keytrustee_restore_last_proven_timestamp_seconds",
     "When a backup was last restored on trial and found whole, 0: never.",
     offsetof(struct kt_backup_state, proven_us), 1},
};

static int put_metric(size_t i, const struct kt_backup_state *state, struct kt_buf *out)
{
    const char *at = (const char *)state + METRICS[i].offset, *name = METRICS[i].name;
    int rc = kt_buf_putf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, METRICS[i].help, name);

    if (rc)
        return rc;
    if (METRICS[i].is_time) {
        int64_t us = *(const int64_t *)(const void *)at;
        return kt_buf_putf(out, "%s %" PRId64 ".%06d\n", name, us / 1000000, (int)(us % 1000000));
    }
    return kt_buf_putf(out, "%s %" PRIu64 "\n", name, *(const uint64_t *)(const void *)at);
}

int ktb_metrics_write(const char *path, const struct kt_backup_state *state, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(TEXT_MAX);
    int rc = 0;

    for (size_t i = 0; i < sizeof(METRICS) / sizeof(METRICS[0]) && rc == 0; i++)
        rc = put_metric(i, state, &text);
    if (rc)
        kt_error_set(error, rc, NULL, "cannot write the metrics: %s", kt_err_text(rc));
    else
        rc = kt_file_replace(path, kt_buf_ptr(&text), kt_buf_left(&text), 0644, error);
    kt_buf_free(&text);
    return rc;
}
