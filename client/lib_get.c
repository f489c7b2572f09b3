// SPDX-License-Identifier: Apache-2.0
// Fetching: the bytes must have the hash, the receipt, the handle and the signature they should.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"
#include "lib/release.h"

#define BIND_PREFIX "keytrustee:"

int ktc_bind_name(const char *handle, const struct kt_uuid *id, char out[KTC_BIND_TEXT])
{
    uint8_t hash[KT_SHA256_LEN];
    char hex[KT_SHA256_TEXT], uuid[KT_UUID_TEXT];
    int rc = kt_sha256(handle, strlen(handle), hash);

    if (rc != 0)
        return rc;
    kt_hex_encode(hash, sizeof hash, hex);
    kt_uuid_format(id, uuid);
    snprintf(out, KTC_BIND_TEXT, BIND_PREFIX "%s:%s", hex, uuid);
    return 0;
}

const void *keytrustee_secret_bytes(const struct keytrustee_secret *secret)
{
    return kt_secret_text((const struct kt_secret *)secret);
}

size_t keytrustee_secret_length(const struct keytrustee_secret *secret)
{
    return kt_secret_len((const struct kt_secret *)secret);
}

void keytrustee_free(struct keytrustee_secret *secret)
{
    kt_secret_free((struct kt_secret *)secret);
}

// --- asking ---

static int is_absence(int rc)
{
    return rc == KT_ERR_DEPOSIT_NOT_FOUND || rc == KT_ERR_VERSION_NOT_FOUND ||
           rc == KT_ERR_DEPOSIT_PURGED;
}

// The receipt of version `known`, which was acknowledged here, with the word that it was deleted.
static int check_deleted(struct keytrustee *client, const char *handle, uint32_t known,
                         const json_t *object, struct kt_error *error)
{
    struct kt_receipt receipt, kept;
    const char *text = NULL;
    int rc = kt_json_string(object, "receipt", 1, 2 * KT_RECEIPT_TEXT, &text, error);

    if (rc == 0)
        rc = ktc_receipt_accept(client, text, &receipt, error);
    if (rc == 0)
        rc = ktc_receipt_load(client, &receipt.leaf.deposit_id, &kept, error);
    if (rc == 0)
        rc = ktc_receipt_matches(&receipt, handle, known, &kept.leaf.deposit_id, kept.leaf.sha256,
                                 kept.leaf.size, error);
    if (rc == 0 && !kt_json_boolean(object, "deleted", 0))
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL, "it is not deleted");
    return rc;
}

// A server that proves to be up to date does not have the newest version that was acknowledged
// here: it must have been deleted, and the server must know it. KT_ERR_SIGNATURE.
static int explain_absence(struct keytrustee *client, const char *handle, uint32_t known,
                           struct kt_error *error)
{
    char *path = ktc_deposit_path(handle, "/receipt", known);
    struct ktc_call call = {.method = "GET", .path = path, .barrier = 1};
    struct ktc_answer answer = {0};
    struct kt_error why = {0};
    json_t *object = NULL;
    int rc = path ? ktc_call_json(client, &call, &answer, &object, &why) : KT_ERR_NO_MEMORY;

    if (rc == 0)
        rc = check_deleted(client, handle, known, object, &why);
    int exit = kt_err_info(rc)->exit;
    if (rc == 0) {
        ktc_warn(client, NULL,
                 "version %u of \"%s\", which this host deposited, was deleted, the server says",
                 (unsigned)known, handle);
    } else if (exit == KEYTRUSTEE_UNAVAILABLE || exit == KEYTRUSTEE_REFUSED) {
        *error = why; // it could not be asked
    } else {
        rc = kt_error_set(error, KT_ERR_SIGNATURE,
                          "ask the operator whether the cluster was restored from a backup; a "
                          "version can be named with --version",
                          "version %u of \"%s\" was acknowledged to this host, and the server does "
                          "not show that it was deleted: %.200s",
                          (unsigned)known, handle,
                          why.code == rc && why.message[0] ? why.message : kt_err_text(rc));
    }
    json_decref(object);
    ktc_answer_free(&answer);
    free(path);
    return rc;
}

int ktc_fetch(struct keytrustee *client, const char *handle, uint32_t version, const char *path,
              const char *const *headers, int json, struct ktc_answer *answer,
              struct kt_error *error)
{
    uint32_t known = version == 0 ? ktc_receipt_latest(client, handle) : 0;
    const struct ktc_call call = {.method = "GET",
                                  .path = path,
                                  .headers = headers,
                                  .max_answer = KTC_BODY_MAX,
                                  .immutable = 1,
                                  .min_version = known,
                                  .version_in_json = json};
    int rc = ktc_call(client, &call, answer, error);
    int old = rc == 0 && ktc_answered_version(answer, json) < known;

    if (rc == 0 && answer->older && version == 0)
        ktc_warn(client, NULL, "\"%s\" may have a later version than this one", handle);
    if (old || (known > 0 && is_absence(rc))) {
        int why = explain_absence(client, handle, known, error);
        if (why != 0) {
            ktc_answer_free(answer);
            return why;
        }
    }
    return rc;
}

// --- checking ---

// Fills `deposit` from the headers and checks the body against them.
static int check_headers(const struct ktc_answer *answer, const char *handle, uint32_t version,
                         struct keytrustee_deposit *deposit, uint8_t sha256[KT_SHA256_LEN],
                         struct kt_error *error)
{
    const struct kt_http_answer *http = &answer->http;
    const char *etag = kt_http_answer_header(http, "ETag");
    const char *id = kt_http_answer_header(http, "KT-Deposit-Id");
    const char *number = kt_http_answer_header(http, "KT-Version");
    const char *position = kt_http_answer_header(http, "KT-Index");
    const char *text = kt_http_answer_header(http, "KT-Incarnation");
    char quoted[KT_SHA256_TEXT + 2];
    struct kt_incarnation incarnation;
    struct kt_uuid uuid;
    uint64_t got = 0;
    int rc = kt_sha256(kt_buf_ptr(&http->body), kt_buf_left(&http->body), sha256);

    if (rc != 0)
        return rc;
    if (etag == NULL || id == NULL || number == NULL || kt_uuid_parse(id, &uuid) != 0 ||
        kt_u64_parse(number, 1, UINT32_MAX, &got) != 0)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL,
                            "%s: ETag, KT-Deposit-Id or KT-Version is missing or malformed",
                            answer->server);
    memset(deposit, 0, sizeof *deposit);
    kt_uuid_format(&uuid, deposit->id);
    kt_hex_encode(sha256, KT_SHA256_LEN, deposit->sha256);
    snprintf(quoted, sizeof quoted, "\"%s\"", deposit->sha256);
    if (strcmp(quoted, etag) != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                            "%s: the content does not have the SHA-256 in its ETag",
                            answer->server);
    if (version != 0 && got != version)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                            "%s: asked for version %u, got version %llu", answer->server,
                            (unsigned)version, (unsigned long long)got);
    snprintf(deposit->handle, sizeof deposit->handle, "%s", handle);
    if (text != NULL && kt_incarnation_parse(text, &incarnation) == 0)
        kt_incarnation_format(&incarnation, deposit->incarnation);
    if (position != NULL && kt_u64_parse(position, 0, INT64_MAX, &deposit->log_index) != 0)
        deposit->log_index = 0;
    deposit->version = (uint32_t)got;
    deposit->size = kt_buf_left(&http->body);
    return 0;
}

int ktc_check_kept_receipt(struct keytrustee *client, const uint8_t sha256[KT_SHA256_LEN],
                           struct keytrustee_deposit *deposit, struct kt_error *error)
{
    struct kt_receipt receipt;
    struct kt_uuid id;
    int rc = kt_uuid_parse(deposit->id, &id);

    if (rc == 0)
        rc = ktc_receipt_load(client, &id, &receipt, error);
    if (rc == KT_ERR_NOT_FOUND)
        return 0;
    if (rc == 0)
        rc = ktc_receipt_matches(&receipt, deposit->handle, deposit->version, &id, sha256,
                                 deposit->size, error);
    if (rc == 0)
        ktc_deposit_from_receipt(&receipt, deposit->handle, deposit);
    return rc;
}

// The content must say itself that it is this handle's and this deposit's: a server that invents a
// deposit id, to show an old version as a new one, cannot write that inside the encryption.
static int decrypt(struct keytrustee *client, const char *handle,
                   const struct keytrustee_deposit *deposit, const struct kt_buf *body,
                   struct kt_secret **secret, struct kt_error *error)
{
    char expected[KTC_BIND_TEXT], name[KTC_BIND_TEXT] = "";
    struct kt_secret *plain = NULL;
    struct kt_uuid id;
    int rc = ktc_need_gpg(client, error);

    if (rc == 0)
        rc = kt_uuid_parse(deposit->id, &id);
    if (rc == 0)
        rc = ktc_bind_name(handle, &id, expected);
    if (rc == 0)
        rc = kt_gpg_decrypt_named(client->gpg, client->state.fingerprint, kt_buf_ptr(body),
                                  kt_buf_left(body), name, sizeof name, &plain, error);
    // Deposits made with other programs have no such name.
    if (rc == 0 && strncmp(name, BIND_PREFIX, strlen(BIND_PREFIX)) == 0 &&
        strcmp(name, expected) != 0)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, "report this to the operator of the key trustee",
                          "the server gave the content of another handle or deposit for \"%s\"",
                          handle);
    if (rc == 0)
        *secret = plain;
    else
        kt_secret_free(plain);
    return rc;
}

// What a retrieval says for itself: its id, so that one whose answer was lost is not counted twice,
// and what for.
struct wish {
    char retrieval[64];
    char justification[32 + 3 * KT_JUSTIFICATION_MAX];
    const char *headers[3];
};

static int make_wish(const struct keytrustee_get_options *options, struct wish *wish,
                     struct kt_error *error)
{
    char text[KT_UUID_TEXT], *escaped = NULL;
    struct kt_uuid id;
    int rc =
        options->retrieval_id ? kt_uuid_parse(options->retrieval_id, &id) : kt_uuid_random(&id);

    if (rc != 0 && options->retrieval_id)
        return kt_error_set(error, KT_ERR_USAGE, "a UUID has the form 8-4-4-4-12 hex digits",
                            "the retrieval id is not a UUID");
    if (rc != 0)
        return rc;
    kt_uuid_format(&id, text);
    snprintf(wish->retrieval, sizeof wish->retrieval, "KT-Retrieval-Id: %s", text);
    wish->headers[0] = wish->retrieval;
    if (options->justification == NULL)
        return 0;
    if (kt_justification_check(options->justification) != 0)
        return kt_error_set(error, KT_ERR_USAGE, NULL,
                            "a justification is one line of UTF-8, 1 to %d bytes",
                            KT_JUSTIFICATION_MAX);
    escaped = kt_http_escape(options->justification);
    if (escaped == NULL)
        return KT_ERR_NO_MEMORY;
    snprintf(wish->justification, sizeof wish->justification, "KT-Justification: %s", escaped);
    wish->headers[1] = wish->justification;
    free(escaped);
    return 0;
}

static int get(struct keytrustee *client, const char *handle, uint32_t version,
               const struct keytrustee_get_options *options, struct kt_secret **secret,
               struct keytrustee_deposit *deposit, struct kt_error *error)
{
    struct ktc_answer answer = {0};
    struct wish wish = {.headers = {NULL}};
    uint8_t sha256[KT_SHA256_LEN];
    char *path = NULL;
    int rc = ktc_check_handle(handle, error);

    if (rc == 0)
        rc = make_wish(options, &wish, error);
    if (rc == 0)
        rc = ktc_need_registration(client, error);
    if (rc != 0)
        return rc;
    path = ktc_deposit_path(handle, "", version);
    if (path == NULL)
        return KT_ERR_NO_MEMORY;
    rc = ktc_fetch(client, handle, version, path, wish.headers, 0, &answer, error);
    if (rc == 0)
        rc = check_headers(&answer, handle, version, deposit, sha256, error);
    if (rc == 0)
        rc = ktc_check_kept_receipt(client, sha256, deposit, error);
    if (rc == 0)
        rc = decrypt(client, handle, deposit, &answer.http.body, secret, error);
    ktc_answer_free(&answer);
    free(path);
    return rc;
}

int keytrustee_get(struct keytrustee *client, const char *handle, uint32_t version,
                   struct keytrustee_secret **secret, struct keytrustee_deposit *deposit,
                   struct keytrustee_error *error)
{
    return keytrustee_get_with(client, handle, version, NULL, secret, deposit, error);
}

int keytrustee_get_with(struct keytrustee *client, const char *handle, uint32_t version,
                        const struct keytrustee_get_options *options,
                        struct keytrustee_secret **secret, struct keytrustee_deposit *deposit,
                        struct keytrustee_error *error)
{
    static const struct keytrustee_get_options none = {.size = sizeof none};
    struct keytrustee_deposit found;
    struct kt_secret *plain = NULL;
    struct kt_error why = {0};

    memset(&found, 0, sizeof found);
    ktc_begin(client);
    int rc = get(client, handle, version, options ? options : &none, &plain, &found, &why);
    if (rc == 0) {
        *secret = (struct keytrustee_secret *)plain;
        if (deposit != NULL)
            *deposit = found;
    }
    return ktc_end(client, rc, &why, error);
}
