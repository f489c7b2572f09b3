// SPDX-License-Identifier: Apache-2.0
// GET /v1/metrics: for operators' monitoring.
#include "kts/handlers.h"
#include "kts/metrics.h"
#include "kts/request.h"
#include "kts/worker.h"

#define METRICS_MAX 65536

static int found(struct kts_request *request, const struct db_answer *answer)
{
    struct kt_buf out = KT_BUF_INIT(METRICS_MAX);
    int rc = kts_metrics_put(request->worker->status, &out);

    (void)answer;
    if (rc == 0)
        rc = kts_respond(request, 200, KTS_METRICS_TYPE, NULL, kt_buf_ptr(&out), kt_buf_left(&out));
    kt_buf_free(&out);
    return rc;
}

// Behind the question whether the caller is an operator.
int kts_h_metrics(struct kts_request *request)
{
    const struct kts_query query = {.kind = KTS_READ_OPERATOR};

    return kts_read(request, &query, found);
}
