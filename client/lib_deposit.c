// SPDX-License-Identifier: Apache-2.0
// Deposits as the wire names and describes them: paths, JSON, and the public structure.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"

int ktc_protocol(struct kt_error *error, const char *server, int rc)
{
    if (rc == KT_ERR_BAD_REQUEST || rc == KT_ERR_INVALID || rc == KT_ERR_HANDLE_INVALID) {
        char words[256];
        snprintf(words, sizeof words, "%.255s",
                 error && error->code == rc ? error->message : kt_err_text(rc));
        ktc_printable(words);
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "%s: malformed answer: %s", server,
                            words);
    }
    return rc;
}

int ktc_in_doubt(struct kt_error *error, int rc)
{
    char words[401];

    snprintf(words, sizeof words, "%.400s",
             error && error->code == rc && error->message[0] ? error->message : kt_err_text(rc));
    return kt_error_set(error, KT_ERR_IN_DOUBT, NULL, "a server says that it is done, but: %s",
                        words);
}

int ktc_call_json(struct keytrustee *client, const struct ktc_call *call, struct ktc_answer *answer,
                  json_t **object, struct kt_error *error)
{
    int rc = ktc_call(client, call, answer, error);

    if (rc != 0)
        return rc;
    rc = kt_json_parse_object(kt_buf_ptr(&answer->http.body), kt_buf_left(&answer->http.body),
                              object, error);
    if (rc != 0) {
        answer->doubt = call->change;
        rc = ktc_protocol(error, answer->server, rc);
        if (call->change)
            rc = ktc_in_doubt(error, rc);
    }
    return rc;
}

char *ktc_deposit_path(const char *handle, const char *tail, uint32_t version)
{
    char *escaped = kt_http_escape(handle);
    char *path = NULL;
    int n = -1;

    if (escaped == NULL)
        return NULL;
    if (version > 0)
        n = asprintf(&path, "/v1/deposits/%s%s?version=%u", escaped, tail, (unsigned)version);
    else
        n = asprintf(&path, "/v1/deposits/%s%s", escaped, tail);
    free(escaped);
    return n < 0 ? NULL : path;
}

int ktc_check_handle(const char *handle, struct kt_error *error)
{
    if (handle != NULL && kt_handle_check(handle) == 0)
        return 0;
    return kt_error_set(error, KT_ERR_HANDLE_INVALID, NULL, "not a valid handle");
}

// A text member into a fixed field; missing leaves it empty.
static int take_text(const json_t *object, const char *name, char *out, size_t size,
                     struct kt_error *error)
{
    const char *text = NULL;
    int rc = kt_json_string(object, name, 0, size - 1, &text, error);

    if (rc == 0 && text != NULL) {
        snprintf(out, size, "%s", text);
        ktc_printable(out);
    }
    return rc;
}

static int malformed(const char *name, struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member \"%s\" is missing or malformed",
                        name);
}

static int take_texts(const json_t *object, struct keytrustee_deposit *deposit,
                      struct kt_error *error)
{
    int rc = take_text(object, "id", deposit->id, sizeof deposit->id, error);

    if (rc == 0)
        rc = take_text(object, "handle", deposit->handle, sizeof deposit->handle, error);
    if (rc == 0)
        rc = take_text(object, "sha256", deposit->sha256, sizeof deposit->sha256, error);
    if (rc == 0)
        rc = take_text(object, "incarnation", deposit->incarnation, sizeof deposit->incarnation,
                       error);
    if (rc == 0)
        rc = take_text(object, "time", deposit->time, sizeof deposit->time, error);
    if (rc == 0)
        rc = take_text(object, "client", deposit->client, sizeof deposit->client, error);
    if (rc == 0 && !json_is_null(json_object_get(object, "key_group")))
        rc = take_text(object, "key_group", deposit->key_group, sizeof deposit->key_group, error);
    return rc;
}

int ktc_deposit_from_json(const json_t *object, struct keytrustee_deposit *deposit,
                          struct kt_error *error)
{
    struct keytrustee_deposit made;
    struct kt_uuid id;
    uint8_t sha256[KT_SHA256_LEN];
    int64_t version = 0, size = 0, log_index = 0, epoch = 0, w = -1;
    int rc = 0;

    memset(&made, 0, sizeof made);
    rc = take_texts(object, &made, error);
    if (rc == 0)
        rc = kt_json_integer(object, "version", 1, UINT32_MAX, 1, &version, error);
    if (rc == 0)
        rc = kt_json_integer(object, "size", 0, INT64_MAX, 1, &size, error);
    if (rc == 0)
        rc = kt_json_integer(object, "index", 0, INT64_MAX, 0, &log_index, error);
    if (rc == 0)
        rc = kt_json_integer(object, "epoch", 0, INT64_MAX, 0, &epoch, error);
    if (rc == 0)
        rc = kt_json_integer(object, "w", 0, UINT32_MAX - 1, 0, &w, error);
    if (rc != 0)
        return rc;
    if (kt_uuid_parse(made.id, &id) != 0)
        return malformed("id", error);
    if (kt_handle_check(made.handle) != 0)
        return malformed("handle", error);
    if (kt_hex_decode(made.sha256, sha256, sizeof sha256) != 0)
        return malformed("sha256", error);
    made.version = (uint32_t)version;
    made.size = (uint64_t)size;
    made.log_index = (uint64_t)log_index;
    made.epoch = (uint64_t)epoch;
    made.copies = (uint32_t)(w + 1);
    made.deleted = kt_json_boolean(object, "deleted", 0);
    made.policy = kt_json_boolean(object, "policy", 0);
    *deposit = made;
    return 0;
}

void ktc_deposit_from_receipt(const struct kt_receipt *receipt, const char *handle,
                              struct keytrustee_deposit *deposit)
{
    const struct kt_leaf *leaf = &receipt->leaf;
    char kept[sizeof deposit->handle]; // `handle` may be the one in `deposit`

    snprintf(kept, sizeof kept, "%s", handle);
    memset(deposit, 0, sizeof *deposit);
    kt_uuid_format(&leaf->deposit_id, deposit->id);
    memcpy(deposit->handle, kept, sizeof kept);
    deposit->version = leaf->version;
    kt_hex_encode(leaf->sha256, sizeof leaf->sha256, deposit->sha256);
    deposit->size = leaf->size;
    deposit->log_index = leaf->log_index;
    kt_incarnation_format(&leaf->incarnation, deposit->incarnation);
    deposit->epoch = leaf->epoch;
    kt_time_format(leaf->time_us, deposit->time);
    kt_uuid_format(&leaf->client_id, deposit->client);
    deposit->copies = receipt->w + 1;
    deposit->receipt = 1;
}
