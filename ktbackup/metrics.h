// SPDX-License-Identifier: Apache-2.0
// The state of backups for monitoring, as a file that Prometheus' node_exporter collects: for hosts
// whose server is not asked itself, and for clients' hosts, which have none.
#ifndef KTB_METRICS_H
#define KTB_METRICS_H

#include "lib/backup_state.h"

// Writes the metrics of backups to `path` in Prometheus' text format, in one step and with mode 0644:
// the collector is another account, and reads whole files only. The names, types and texts are those
// of GET /v1/metrics (docs/protocol.md). The collector takes files that end in ".prom".
// KT_ERR_SYSTEM, KT_ERR_PERMISSION, KT_ERR_NOT_FOUND: the file cannot be written.
int ktb_metrics_write(const char *path, const struct kt_backup_state *state,
                      struct kt_error *error) KT_MUST_CHECK;

#endif
