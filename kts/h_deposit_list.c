// SPDX-License-Identifier: Apache-2.0
// GET /v1/deposits: the handles that the client may browse, a page at a time.
#include <string.h>

#include "kts/handlers.h"
#include "kts/request.h"

static json_t *list_entry(const struct db_deposit *deposit)
{
    char client[KT_UUID_TEXT];
    json_t *object = kts_deposit_json(&deposit->receipt, deposit->handle);

    kt_uuid_format(&deposit->client_id, client);
    json_object_set_new(object, "client", json_string(client));
    json_object_set_new(object, "deleted", json_false());
    json_object_set_new(object, "policy", json_boolean(deposit->has_policy));
    kts_deposit_json_key_group(object, deposit);
    // The statement does not read these; the receipt call does.
    json_object_del(object, "incarnation");
    json_object_del(object, "epoch");
    return object;
}

static int answer_list(struct kts_request *request, const struct db_answer *answer)
{
    json_t *list = json_array();
    const char *next = NULL;

    for (size_t i = 0; list && i < answer->count; i++) {
        if (json_array_append_new(list, list_entry(&answer->deposits[i]))) {
            json_decref(list);
            list = NULL;
        }
    }
    // A full page: there may be more behind its last handle.
    if (answer->count > 0 && answer->count == request->list_limit)
        next = answer->deposits[answer->count - 1].handle;
    return kts_respond_json(request, 200, json_pack("{s:o, s:s?}", "deposits", list, "next", next));
}

// Empty, or of the characters of a handle.
static int take_text(struct kts_request *request, const char *name, char out[KT_HANDLE_MAX + 1])
{
    int rc = kts_request_query(request, name, out, KT_HANDLE_MAX + 1);

    if (rc == 0 && out[0] && kt_handle_check(out))
        rc = kts_fail(request, KT_ERR_HANDLE_INVALID, "%s has a character no handle has", name);
    return rc;
}

int kts_h_deposit_list(struct kts_request *request)
{
    char prefix[KT_HANDLE_MAX + 1], after[KT_HANDLE_MAX + 1];
    struct kts_query query = {.kind = KTS_READ_LIST, .prefix = prefix, .after = after};
    int rc = take_text(request, "prefix", prefix);

    if (rc == 0)
        rc = take_text(request, "after", after);
    if (rc == 0)
        rc = kts_request_limit(request, &query.limit);
    request->list_limit = query.limit;
    return rc ? rc : kts_read(request, &query, answer_list);
}
