// SPDX-License-Identifier: Apache-2.0
// GET /v1/clients/self: the client's own state, rights, the receipt keys, the CA, and what this
// node is.
#include "kts/handlers.h"
#include "kts/request.h"
#include "kts/worker.h"
#include "lib/pki.h"

#define CA_MAX 32768

static json_t *node(const struct kts_worker *worker)
{
    const struct kts_status *s = worker->status;

    return json_pack("{s:s, s:s, s:I, s:I}", "name", worker->start->info->node, "role",
                     kts_role_name((enum kts_role)atomic_load(&s->role)), "members",
                     (json_int_t)atomic_load(&s->members), "w", (json_int_t)atomic_load(&s->w));
}

// By its links a client that knows one root can tell that another is of the same cluster.
static json_t *ca(const struct kts_worker *worker)
{
    struct kt_buf pem = KT_BUF_INIT(CA_MAX);
    json_t *text = worker->ca && kt_pki_ca_to_pem(worker->ca, &pem) == 0
                       ? json_stringn((const char *)kt_buf_ptr(&pem), kt_buf_left(&pem))
                       : NULL;

    kt_buf_free(&pem);
    return text;
}

static int answer_self(struct kts_request *request, const struct db_answer *answer)
{
    json_t *object = answer->text ? json_loadb(answer->text, answer->text_len, 0, NULL) : NULL;

    if (object) {
        json_object_set_new(object, "node", node(request->worker));
        json_object_set_new(object, "ca", ca(request->worker));
    }
    return kts_respond_json(request, 200, object);
}

int kts_h_client_self(struct kts_request *request)
{
    struct kts_query query = {.kind = KTS_READ_SELF};

    return kts_read(request, &query, answer_self);
}
