// SPDX-License-Identifier: Apache-2.0
// GET /v1/health, /v1/health/ready and /v1/health/write: what this node is and can do now.
#include <stdlib.h>
#include <string.h>

#include "kts/handlers.h"
#include "kts/health.h"
#include "kts/request.h"
#include "kts/worker.h"
#include "lib/json.h"
#include "lib/version.h"

static struct kts_health look(const struct kts_worker *worker)
{
    return (struct kts_health){
        .reads = kts_database_is_open(worker->database),
        .writes = kts_writer_check(worker) == 0,
        .audits = atomic_load(&worker->status->audit_open) && kts_ask_is_open(worker->audit),
    };
}

static int answer(struct kts_request *request, int status)
{
    const struct kts_worker *worker = request->worker;
    struct kts_health health = look(worker);
    json_t *object = kts_health_json(worker->status, &health, kt_time_now());
    json_t *server =
        json_pack("{s:s, s:s, s:i, s:i}", "node", worker->start->info->node, "version", KT_VERSION,
                  "protocol", KT_PROTOCOL_VERSION, "schema", KT_SCHEMA_VERSION);
    char active[KTS_ACTIVE_FIELD], *text = NULL;
    int rc = KT_ERR_NO_MEMORY;

    if (object && server && json_object_update(object, server) == 0)
        text = kt_json_text(object);
    kts_active_field(worker->status, active);
    if (text)
        rc = kts_respond(request, status, "application/json", active, text, strlen(text));
    json_decref(object);
    json_decref(server);
    free(text);
    return rc;
}

int kts_h_health(struct kts_request *request)
{
    return answer(request, 200);
}

int kts_h_health_ready(struct kts_request *request)
{
    struct kts_health health = look(request->worker);

    return answer(request, kts_health_ready(request->worker->status, &health));
}

static int write_checked(struct kts_request *request, int code)
{
    if (code)
        return kt_err_info(code)->http == 503 ? code : KT_ERR_NO_QUORUM;
    request->fresh = 1;
    return answer(request, 200);
}

// A probe that only looks at settings would stay green while writes are wedged.
int kts_h_health_write(struct kts_request *request)
{
    return kts_barrier(request, write_checked);
}
