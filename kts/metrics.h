// SPDX-License-Identifier: Apache-2.0
// What a node tells its operators' monitoring: the shared status in Prometheus' text format.
#ifndef KTS_METRICS_H
#define KTS_METRICS_H

#include "kts/status.h"
#include "lib/buf.h"

#define KTS_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

// To add a metric: a row in metrics.c and a line in docs/protocol.md (a test compares).
struct kts_metric {
    const char *name; // counters end in _total; base units
    const char *type; // "counter", "gauge"
    const char *help;
    int what;    // which value (metrics.c)
    int is_time; // microseconds, shown as seconds
};
const struct kts_metric *kts_metrics_all(size_t *count);
// Appends all of them.
int kts_metrics_put(struct kts_status *status, struct kt_buf *out) KT_MUST_CHECK;

#endif
