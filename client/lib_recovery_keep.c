// SPDX-License-Identifier: Apache-2.0
// Which recovery keys this client's user accepted, in recovery.json: by fingerprints that a person
// compared.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"

#define FILE_NAME "recovery.json"
#define FILE_MAX  65536

// --- lists of fingerprints ---

int ktc_fingerprints_have(const struct ktc_fingerprints *list, const char *fingerprint)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->texts[i], fingerprint) == 0)
            return 1;
    return 0;
}

int ktc_fingerprints_add(struct ktc_fingerprints *list, const char *fingerprint)
{
    if (ktc_fingerprints_have(list, fingerprint))
        return 0;
    if (list->count == KTC_RECOVERY_MAX)
        return KT_ERR_TOO_LARGE;
    snprintf(list->texts[list->count++], KT_OPENPGP_FINGERPRINT_TEXT, "%s", fingerprint);
    return 0;
}

int ktc_fingerprint_read(const char *text, char out[KT_OPENPGP_FINGERPRINT_TEXT],
                         struct kt_error *error)
{
    uint8_t bytes[KT_OPENPGP_FINGERPRINT_LEN];
    size_t n = 0;

    for (const char *at = text; *at && n < KT_OPENPGP_FINGERPRINT_TEXT; at++)
        if (*at != ' ')
            out[n++] = *at >= 'a' && *at <= 'f' ? (char)(*at - 32) : *at;
    out[n < KT_OPENPGP_FINGERPRINT_TEXT ? n : KT_OPENPGP_FINGERPRINT_TEXT - 1] = '\0';
    if (n != KT_OPENPGP_FINGERPRINT_TEXT - 1 || kt_hex_decode(out, bytes, sizeof bytes) != 0)
        return kt_error_set(error, KT_ERR_USAGE, "it has 40 hex digits; gpg --fingerprint shows it",
                            "\"%.60s\" is not the fingerprint of an OpenPGP key", text);
    return 0;
}

// --- recovery.json ---

static int take_list(const json_t *object, const char *name, struct ktc_fingerprints *list)
{
    const json_t *array = json_object_get(object, name), *one;
    char text[KT_OPENPGP_FINGERPRINT_TEXT];
    size_t i;

    json_array_foreach(array, i, one)
    {
        const char *given = json_string_value(one);
        if (given == NULL || ktc_fingerprint_read(given, text, NULL) != 0 ||
            ktc_fingerprints_add(list, text) != 0)
            return KT_ERR_INVALID;
    }
    return 0;
}

int ktc_recovery_load(const struct keytrustee *client, struct ktc_recovery *recovery,
                      struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(FILE_MAX);
    json_t *object = NULL;
    int64_t version = 0;
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, FILE_NAME, path);

    memset(recovery, 0, sizeof *recovery);
    if (rc != 0 || !kt_file_exists(path))
        return rc;
    rc = kt_file_read(path, &text, error);
    if (rc == 0) {
        rc = kt_json_parse_object(kt_buf_ptr(&text), kt_buf_left(&text), &object, NULL);
        if (rc == 0)
            rc = kt_json_integer(object, "version", 1, 1, 1, &version, NULL);
        if (rc == 0)
            rc = take_list(object, "accepted", &recovery->accepted);
        if (rc == 0)
            rc = take_list(object, "in_force", &recovery->in_force);
        if (rc != 0) // an accepted key that was lost would be a body without it
            rc =
                kt_error_set(error, KT_ERR_INVALID, "remove it, and accept the recovery keys again",
                             "\"%s\" is damaged", path);
    }
    json_decref(object);
    kt_buf_free(&text);
    return rc;
}

static json_t *list_json(const struct ktc_fingerprints *list)
{
    json_t *array = json_array();

    for (size_t i = 0; array != NULL && i < list->count; i++)
        json_array_append_new(array, json_string(list->texts[i]));
    return array;
}

int ktc_recovery_save(const struct keytrustee *client, const struct ktc_recovery *recovery,
                      struct kt_error *error)
{
    char path[KT_PATH_MAX];
    json_t *object =
        json_pack("{s:i, s:o, s:o}", "version", 1, "accepted", list_json(&recovery->accepted),
                  "in_force", list_json(&recovery->in_force));
    char *text = object ? json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    int rc = text ? ktc_path(client, FILE_NAME, path) : KT_ERR_NO_MEMORY;

    if (rc == 0)
        rc = kt_file_replace(path, text, strlen(text), 0600, error);
    free(text);
    json_decref(object);
    return rc;
}

// --- accepting and forgetting ---

static int check_own(const struct keytrustee *client, const char *fingerprint,
                     struct kt_error *error)
{
    if (strcasecmp(fingerprint, client->state.cluster_fingerprint) != 0)
        return 0;
    return kt_error_set(error, KT_ERR_ENCRYPTED_TO_CLUSTER,
                        "a recovery key belongs to your organisation, not to the server",
                        "that is the key of the cluster itself");
}

static int edit(struct keytrustee *client, const char *text, int forget, struct kt_error *error)
{
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
    struct ktc_recovery recovery = {.in_force = {.count = 0}};
    size_t at = 0;
    int fd = -1;
    int rc = ktc_fingerprint_read(text, fingerprint, error);

    if (rc == 0)
        rc = ktc_need_registration(client, error);
    if (rc == 0 && !forget)
        rc = check_own(client, fingerprint, error);
    if (rc == 0)
        rc = ktc_lock(client, &fd, error);
    if (rc == 0)
        rc = ktc_recovery_load(client, &recovery, error);
    if (rc == 0 && !forget && ktc_fingerprints_add(&recovery.accepted, fingerprint) != 0)
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "more than %d recovery keys",
                          KTC_RECOVERY_MAX);
    while (rc == 0 && forget && at < recovery.accepted.count &&
           strcmp(recovery.accepted.texts[at], fingerprint) != 0)
        at++;
    if (rc == 0 && forget && at == recovery.accepted.count)
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "%s was not accepted", fingerprint);
    if (rc == 0 && forget)
        memcpy(recovery.accepted.texts[at], recovery.accepted.texts[--recovery.accepted.count],
               KT_OPENPGP_FINGERPRINT_TEXT);
    if (rc == 0)
        rc = ktc_recovery_save(client, &recovery, error);
    if (fd >= 0)
        close(fd);
    return rc;
}

int keytrustee_recovery_accept(struct keytrustee *client, const char *fingerprint,
                               struct keytrustee_error *error)
{
    struct kt_error why = {0};

    return ktc_end(NULL, edit(client, fingerprint, 0, &why), &why, error);
}

int keytrustee_recovery_forget(struct keytrustee *client, const char *fingerprint,
                               struct keytrustee_error *error)
{
    struct kt_error why = {0};

    return ktc_end(NULL, edit(client, fingerprint, 1, &why), &why, error);
}

int ktc_recovery_accept_all(struct keytrustee *client, const char *const *fingerprints,
                            struct kt_error *error)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && fingerprints != NULL && fingerprints[i] != NULL; i++)
        rc = edit(client, fingerprints[i], 0, error);
    return rc;
}

int ktc_recovery_check_all(const char *const *fingerprints, struct kt_error *error)
{
    char text[KT_OPENPGP_FINGERPRINT_TEXT];
    int rc = 0;

    for (size_t i = 0; rc == 0 && fingerprints != NULL && fingerprints[i] != NULL; i++)
        rc = ktc_fingerprint_read(fingerprints[i], text, error);
    return rc;
}
