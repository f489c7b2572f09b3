// SPDX-License-Identifier: Apache-2.0
// GET /v1/clients/self: the client's own state, rights, the receipt keys, and what this node is.
#include "kts/handlers.h"
#include "kts/request.h"
#include "kts/worker.h"

static json_t *node(const struct kts_worker *worker)
{
    const struct kts_status *s = worker->status;

    return json_pack("{s:s, s:s, s:I, s:I}", "name", worker->start->info->node, "role",
                     kts_role_name((enum kts_role)atomic_load(&s->role)), "members",
                     (json_int_t)atomic_load(&s->members), "w", (json_int_t)atomic_load(&s->w));
}

static int answer_self(struct kts_request *request, const struct db_answer *answer)
{
    json_t *object = answer->text ? json_loadb(answer->text, answer->text_len, 0, NULL) : NULL;

    if (object)
        json_object_set_new(object, "node", node(request->worker));
    return kts_respond_json(request, 200, object);
}

int kts_h_client_self(struct kts_request *request)
{
    struct kts_query query = {.kind = KTS_READ_SELF};

    return kts_read(request, &query, answer_self);
}
