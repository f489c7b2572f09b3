// SPDX-License-Identifier: Apache-2.0
// What is known of a deposit: the server's description, and the receipt that proves it.
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"

static int take_time(const json_t *object, const char *name, int64_t *us, struct kt_error *error)
{
    const char *text = NULL;
    int rc = 0;

    if (json_is_null(json_object_get(object, name)))
        return 0;
    rc = kt_json_string(object, name, 0, KT_TIME_TEXT - 1, &text, error);
    return rc == 0 && text != NULL ? kt_time_parse(text, us) : rc;
}

// The lock and what is to become of it; a server of before tells nothing.
static int take_retention(const json_t *object, struct keytrustee_deposit *deposit,
                          struct kt_error *error)
{
    const json_t *told = json_object_get(object, "retention");
    const char *lock = json_string_value(json_object_get(told, "lock"));
    int rc = 0;

    if (told == NULL)
        return 0;
    if (!json_is_object(told))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member \"retention\" is malformed");
    deposit->lock = lock == NULL                      ? KEYTRUSTEE_LOCK_NONE
                    : strcmp(lock, "compliance") == 0 ? KEYTRUSTEE_LOCK_COMPLIANCE
                                                      : KEYTRUSTEE_LOCK_GOVERNANCE;
    deposit->lock_in_force = kt_json_boolean(told, "in_force", 0);
    deposit->legal_hold = kt_json_boolean(told, "hold", 0);
    rc = take_time(told, "until", &deposit->lock_until_us, error);
    if (rc == 0)
        rc = take_time(told, "purge_after", &deposit->purge_after_us, error);
    if (rc == 0)
        rc = take_time(told, "purged", &deposit->purged_us, error);
    return rc;
}

// Receipt and description must agree; the receipt wins.
static int check_info(struct keytrustee *client, const char *handle, uint32_t version,
                      const json_t *object, struct keytrustee_deposit *deposit,
                      struct kt_error *error)
{
    struct keytrustee_deposit told;
    struct kt_receipt receipt;
    uint8_t sha256[KT_SHA256_LEN];
    struct kt_uuid id;
    const char *text = NULL;
    int rc = ktc_deposit_from_json(json_object_get(object, "deposit"), &told, error);

    if (rc == 0)
        rc = kt_json_string(object, "receipt", 1, 2 * KT_RECEIPT_TEXT, &text, error);
    if (rc == 0)
        rc = kt_uuid_parse(told.id, &id);
    if (rc == 0)
        rc = kt_hex_decode(told.sha256, sha256, sizeof sha256);
    if (rc != 0)
        return rc;
    rc = ktc_receipt_accept(client, text, &receipt, error);
    if (rc == 0)
        rc = ktc_receipt_matches(&receipt, handle, version ? version : told.version, &id, sha256,
                                 told.size, error);
    if (rc == 0)
        rc = ktc_check_kept_receipt(client, sha256, &told, error);
    if (rc == 0) {
        ktc_deposit_from_receipt(&receipt, handle, deposit);
        deposit->deleted = kt_json_boolean(object, "deleted", 0);
        rc = take_retention(object, deposit, error);
    }
    return rc;
}

static int info(struct keytrustee *client, const char *handle, uint32_t version,
                struct keytrustee_deposit *deposit, struct keytrustee_release **release,
                struct kt_error *error)
{
    struct ktc_answer answer = {0};
    json_t *object = NULL;
    char *path = NULL;
    int rc = ktc_check_handle(handle, error);

    if (rc == 0)
        rc = ktc_need_registration(client, error);
    if (rc != 0)
        return rc;
    path = ktc_deposit_path(handle, "/receipt", version);
    if (path == NULL)
        return KT_ERR_NO_MEMORY;
    rc = ktc_fetch(client, handle, version, path, NULL, 1, &answer, error);
    if (rc == 0) {
        rc = kt_json_parse_object(kt_buf_ptr(&answer.http.body), kt_buf_left(&answer.http.body),
                                  &object, error);
        if (rc == 0)
            rc = check_info(client, handle, version, object, deposit, error);
        if (rc == 0)
            rc = ktc_release_from_json(object, release, error);
        if (rc == 0)
            deposit->policy = *release != NULL;
        rc = ktc_protocol(error, answer.server, rc);
    }
    json_decref(object);
    ktc_answer_free(&answer);
    free(path);
    return rc;
}

int keytrustee_info(struct keytrustee *client, const char *handle, uint32_t version,
                    struct keytrustee_deposit *deposit, struct keytrustee_error *error)
{
    struct keytrustee_release *release = NULL;
    int rc = keytrustee_info_release(client, handle, version, deposit, &release, error);

    if (rc == KEYTRUSTEE_OK)
        keytrustee_release_free(release);
    return rc;
}

int keytrustee_info_release(struct keytrustee *client, const char *handle, uint32_t version,
                            struct keytrustee_deposit *deposit, struct keytrustee_release **release,
                            struct keytrustee_error *error)
{
    struct keytrustee_release *told = NULL;
    struct keytrustee_deposit found;
    struct kt_error why = {0};

    ktc_begin(client);
    int rc = info(client, handle, version, &found, &told, &why);
    if (rc == 0) {
        *deposit = found;
        *release = told;
    }
    return ktc_end(client, rc, &why, error);
}
