// SPDX-License-Identifier: Apache-2.0
// What is known of a deposit: the server's description, and the receipt that proves it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"

// Receipt and description must agree; the receipt wins.
static int check_info(struct keytrustee *client, const char *handle, uint32_t version,
                      const json_t *object, struct keytrustee_deposit *deposit,
                      struct kt_error *error)
{
    struct keytrustee_deposit told;
    struct kt_receipt receipt;
    uint8_t sha256[KT_SHA256_LEN];
    struct kt_uuid id;
    char key_group[KEYTRUSTEE_UUID_SIZE];
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
    snprintf(key_group, sizeof key_group, "%s", told.key_group); // no receipt has it
    if (rc == 0)
        rc = ktc_check_kept_receipt(client, sha256, &told, error);
    if (rc == 0) {
        ktc_deposit_from_receipt(&receipt, handle, deposit);
        deposit->deleted = kt_json_boolean(object, "deleted", 0);
        snprintf(deposit->key_group, sizeof deposit->key_group, "%s", key_group);
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
