// SPDX-License-Identifier: Apache-2.0
// Between worker.c and worker_control.c; nobody else includes it.
#ifndef KTS_WORKER_INNER_H
#define KTS_WORKER_INNER_H

#include "kts/worker.h"

// Builds a new context, then swaps; on failure the present one stays.
int kts_worker_use_tls(struct kts_worker *worker, const struct kt_tls_pem *pem,
                       struct kt_error *error) KT_MUST_CHECK;
// Accepts no more, finishes what is in flight up to timeouts.stop, then ends with exit code 0.
void kts_worker_stop(struct kts_worker *worker);
void kts_worker_master_gone(struct kts_worker *worker);

#endif
