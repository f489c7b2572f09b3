// SPDX-License-Identifier: Apache-2.0
// Recovery keys: those of the organisation that this client's user accepted are recipients too. Only
// a fingerprint that was compared by a person counts: a server may name any key.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/change.h"
#include "lib/file.h"
#include "lib/json.h"

#define FILE_NAME "recovery.json"
#define FILE_MAX  65536
#define HINT_ACCEPT                                                                                \
    "compare each with the organisation's administrator, then: keytrustee recovery accept "        \
    "FINGERPRINT"

// --- lists of fingerprints ---

static int has(const struct ktc_fingerprints *list, const char *fingerprint)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->texts[i], fingerprint) == 0)
            return 1;
    return 0;
}

static int add(struct ktc_fingerprints *list, const char *fingerprint)
{
    if (has(list, fingerprint))
        return 0;
    if (list->count == KTC_RECOVERY_MAX)
        return KT_ERR_TOO_LARGE;
    snprintf(list->texts[list->count++], KT_OPENPGP_FINGERPRINT_TEXT, "%s", fingerprint);
    return 0;
}

// 40 hex digits in either case, with spaces between them as people write them.
static int read_fingerprint(const char *text, char out[KT_OPENPGP_FINGERPRINT_TEXT],
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
        if (given == NULL || read_fingerprint(given, text, NULL) != 0 || add(list, text) != 0)
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

static int save(const struct keytrustee *client, const struct ktc_recovery *recovery,
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

// --- what the server says ---

// Takes a key into our keyring: one that the user accepted, and that has that very fingerprint. Its
// parts for encryption are bound to it by signatures, which GnuPG checks.
static int import(struct keytrustee *client, const char *fingerprint, const char *base64,
                  struct kt_error *error)
{
    char is[KT_OPENPGP_FINGERPRINT_TEXT];
    struct kt_openpgp_key key;
    size_t n = strlen(base64);
    uint8_t *bytes = malloc(n + 1);
    int rc = bytes ? kt_base64_decode(base64, strlen(base64), bytes, &n) : KT_ERR_NO_MEMORY;

    if (rc == 0)
        rc = kt_openpgp_read_key(bytes, n, &key, error);
    if (rc == 0) {
        kt_hex_encode(key.fingerprint, sizeof key.fingerprint, is);
        rc = strcasecmp(is, fingerprint) == 0 ? 0 : KT_ERR_SIGNATURE;
    }
    if (rc == 0)
        rc = ktc_need_gpg(client, error);
    if (rc == 0)
        rc = kt_gpg_import(client->gpg, bytes, n, is, error);
    if (rc == 0 && strcmp(is, fingerprint) != 0)
        rc = KT_ERR_SIGNATURE;
    free(bytes);
    if (rc != 0 && rc != KT_ERR_NO_MEMORY && rc != KT_ERR_SYSTEM)
        return kt_error_set(error, KT_ERR_SIGNATURE, "tell the organisation's administrator",
                            "what the server gives as recovery key %s is not that key",
                            fingerprint);
    return rc;
}

static int take_keys(struct keytrustee *client, const json_t *self, struct ktc_recovery *recovery,
                     struct kt_error *error)
{
    const json_t *list = json_object_get(self, "recovery"), *one;
    size_t i;
    int rc = 0;

    recovery->in_force.count = 0;
    json_array_foreach(list, i, one)
    {
        const char *text = NULL, *base64 = NULL;
        char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
        rc = kt_json_string(one, "fingerprint", 1, 60, &text, error);
        if (rc == 0)
            rc = kt_json_string(one, "openpgp", 1, KTC_JSON_MAX, &base64, error);
        if (rc == 0 && read_fingerprint(text, fingerprint, NULL) != 0)
            rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "a malformed fingerprint");
        if (rc == 0)
            rc = add(&recovery->in_force, fingerprint);
        if (rc == 0 && has(&recovery->accepted, fingerprint))
            rc = import(client, fingerprint, base64, error);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int ktc_recovery_refresh(struct keytrustee *client, int barrier, struct ktc_recovery *recovery,
                         struct kt_error *error)
{
    const struct ktc_call call = {.method = "GET", .path = "/v1/clients/self", .barrier = barrier};
    struct ktc_recovery fresh = *recovery;
    struct ktc_answer answer = {0};
    json_t *self = NULL;
    int rc = ktc_call_json(client, &call, &answer, &self, error);

    if (rc == 0)
        rc = ktc_protocol(error, answer.server, take_keys(client, self, &fresh, error));
    if (rc == 0 && (fresh.accepted.count > 0 || recovery->in_force.count > 0))
        rc = save(client, &fresh, error);
    if (rc == 0)
        *recovery = fresh;
    json_decref(self);
    ktc_answer_free(&answer);
    return rc;
}

int ktc_recovery_check(const struct keytrustee *client, const struct ktc_recovery *recovery,
                       struct kt_error *error)
{
    char names[400] = "";
    size_t n = 0;

    for (size_t i = 0; i < recovery->in_force.count; i++)
        if (!has(&recovery->accepted, recovery->in_force.texts[i]) && n < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "",
                                  recovery->in_force.texts[i]);
    if (n == 0)
        return 0;
    return kt_error_set(error, KT_ERR_RECOVERY_MISSING, HINT_ACCEPT,
                        "organisation \"%s\" wants deposits encrypted to recovery keys that this "
                        "client has not accepted: %s",
                        client->state.organisation, names);
}

void ktc_recovery_recipients(const struct ktc_recovery *recovery,
                             const char *recipients[KTC_RECOVERY_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < recovery->in_force.count; i++)
        if (has(&recovery->accepted, recovery->in_force.texts[i]))
            recipients[n++] = recovery->in_force.texts[i];
    if (n < KTC_RECOVERY_MAX)
        recipients[n] = NULL;
}

int ktc_recovery_find(struct keytrustee *client, struct ktc_recovery *recovery,
                      struct kt_error *error)
{
    struct kt_error why = {0};
    int rc = ktc_recovery_load(client, recovery, error);

    if (rc != 0 || recovery->accepted.count == 0)
        return rc;
    rc = ktc_recovery_refresh(client, 0, recovery, &why);
    if (rc != 0 && kt_err_info(rc)->exit != KEYTRUSTEE_UNAVAILABLE) {
        *error = why;
        return rc;
    }
    return ktc_recovery_check(client, recovery, error); // as last heard
}

// --- the public calls ---

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
    struct ktc_recovery recovery;
    size_t at = 0;
    int fd = -1;
    int rc = read_fingerprint(text, fingerprint, error);

    if (rc == 0)
        rc = ktc_need_registration(client, error);
    if (rc == 0 && !forget)
        rc = check_own(client, fingerprint, error);
    if (rc == 0)
        rc = ktc_lock(client, &fd, error);
    if (rc == 0)
        rc = ktc_recovery_load(client, &recovery, error);
    if (rc == 0 && !forget && add(&recovery.accepted, fingerprint) != 0)
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
        rc = save(client, &recovery, error);
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

int keytrustee_recovery_list(struct keytrustee *client, keytrustee_recovery_fn each, void *arg,
                             struct keytrustee_error *error)
{
    struct ktc_recovery recovery;
    struct kt_error why = {0};
    int ends = 0, rc;

    ktc_begin(client);
    rc = ktc_need_registration(client, &why);
    if (rc == 0)
        rc = ktc_recovery_load(client, &recovery, &why);
    if (rc == 0)
        rc = ktc_recovery_refresh(client, 0, &recovery, &why);
    for (size_t i = 0; rc == 0 && !ends && i < recovery.in_force.count; i++) {
        const char *text = recovery.in_force.texts[i];
        ends = each(arg, text, 1, has(&recovery.accepted, text));
    }
    for (size_t i = 0; rc == 0 && !ends && i < recovery.accepted.count; i++) {
        const char *text = recovery.accepted.texts[i];
        if (!has(&recovery.in_force, text))
            ends = each(arg, text, 0, 1);
    }
    return ktc_end(client, rc, &why, error);
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
        rc = read_fingerprint(fingerprints[i], text, error);
    return rc;
}
