// SPDX-License-Identifier: Apache-2.0
// Key groups as this client knows them: those that it has grants on.
#include <string.h>

#include "client/client.h"

int ktc_group_find(struct keytrustee *client, const char *text, char out[KT_UUID_TEXT],
                   struct kt_error *error)
{
    const struct ktc_call call = {.method = "GET", .path = "/v1/clients/self"};
    struct ktc_answer answer = {0};
    json_t *self = NULL, *grant;
    struct kt_uuid uuid;
    size_t i;
    int rc = kt_uuid_parse(text, &uuid);

    if (rc != 0) {
        rc = ktc_call_json(client, &call, &answer, &self, error);
        if (rc != 0)
            goto out;
        rc = kt_error_set(error, KT_ERR_KEY_GROUP_NOT_FOUND,
                          "ask the operator for a grant on it, or give its id",
                          "this client has no grant on a key group named \"%.63s\"", text);
        json_array_foreach(json_object_get(self, "grants"), i, grant)
        {
            const char *name = json_string_value(json_object_get(grant, "key_group_name"));
            const char *id = json_string_value(json_object_get(grant, "key_group"));
            if (name != NULL && id != NULL && strcmp(name, text) == 0 &&
                kt_uuid_parse(id, &uuid) == 0)
                rc = 0;
        }
    }
    if (rc == 0)
        kt_uuid_format(&uuid, out);
out:
    json_decref(self);
    ktc_answer_free(&answer);
    return rc;
}
