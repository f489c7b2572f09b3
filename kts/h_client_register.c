// SPDX-License-Identifier: Apache-2.0
// POST /v1/clients: a new client, by auth code.
#include <stdlib.h>
#include <string.h>

#include "kts/handlers.h"
#include "kts/limits.h"
#include "kts/request.h"
#include "kts/worker.h"
#include "lib/json.h"
#include "lib/openpgp.h"
#include "lib/pki.h"

// Any root that counts: a code that was made before the CA was replaced is as good as before.
static int is_of_this_cluster(const struct kts_request *request, const struct kt_authcode *code)
{
    X509 *ca = request->worker->ca;
    uint8_t sha256[KT_SHA256_LEN];

    for (size_t i = 0; i < kt_pki_ca_count(ca); i++) {
        if (kt_pki_cert_sha256(kt_pki_ca_at(ca, i), sha256) == 0 &&
            memcmp(code->ca_sha256, sha256, KT_SHA256_LEN) == 0)
            return 1;
    }
    return 0;
}

static int take_code(struct kts_request *request, const json_t *object, struct kt_change *change)
{
    struct kt_authcode code = {0};
    const char *text = NULL;
    struct kt_error *error = &request->error;
    int rc = kt_json_string(object, "auth_code", 1, 4 * KT_AUTHCODE_TEXT, &text, error);

    if (rc == 0 && kt_authcode_parse(text, &code))
        rc = kt_error_set(error, KT_ERR_AUTH_CODE_INVALID, NULL, "the auth code is malformed");
    if (rc == 0 && !is_of_this_cluster(request, &code))
        rc = kt_error_set(error, KT_ERR_AUTH_CODE_INVALID,
                          "the auth code belongs to another cluster: check the server's address",
                          "the auth code was made by another cluster");
    if (rc == 0)
        rc = kts_limits_check_code(request, code.id);
    if (rc == 0)
        rc = kt_authcode_hash(&code, change->code_hash);
    memcpy(change->code_id, code.id, sizeof(change->code_id));
    kt_wipe(&code, sizeof(code));
    return rc;
}

static int take_name(struct kts_request *request, const json_t *object, struct kt_change *change)
{
    const char *name = NULL;
    int rc = kt_json_string(object, "name", 1, KT_CLIENT_NAME_MAX, &name, &request->error);

    if (rc)
        return rc;
    for (const char *p = name; *p; p++) {
        if (*p <= ' ' || *p >= 0x7f)
            return kts_fail(request, KT_ERR_BAD_REQUEST,
                            "the name has a character that is not printable ASCII");
    }
    memcpy(change->name, name, strlen(name) + 1);
    return 0;
}

static int take_openpgp(struct kts_request *request, const json_t *object, struct kt_change *change)
{
    struct kt_openpgp_key key;
    const char *text = NULL;
    size_t room = KT_OPENPGP_KEY_MAX;
    char hex[KT_OPENPGP_FINGERPRINT_TEXT];
    int rc = kt_json_string(object, "openpgp", 1, KT_OPENPGP_KEY_MAX * 4 / 3 + 4, &text,
                            &request->error);

    if (rc)
        return rc;
    change->openpgp = malloc(room);
    if (!change->openpgp)
        return KT_ERR_NO_MEMORY;
    if (kt_base64_decode(text, strlen(text), change->openpgp, &room))
        return kts_fail(request, KT_ERR_BAD_REQUEST, "openpgp is not base64");
    change->openpgp_len = room;
    rc = kt_openpgp_read_key(change->openpgp, room, &key, &request->error);
    if (rc)
        return rc == KT_ERR_OPENPGP_KEY_INVALID ? rc
                                                : kts_fail(request, KT_ERR_OPENPGP_KEY_INVALID,
                                                           "not a valid OpenPGP public key");
    kt_hex_encode(key.fingerprint, sizeof(key.fingerprint), hex);
    for (size_t i = 0; i < sizeof(hex); i++)
        change->fingerprint[i] = hex[i] >= 'a' && hex[i] <= 'f' ? (char)(hex[i] - 32) : hex[i];
    return 0;
}

int kts_take_csr(struct kts_request *request, const json_t *object, struct kt_change *change)
{
    const char *text = NULL;
    EVP_PKEY *key = NULL;
    int rc = kt_json_string(object, "csr", 1, KT_CSR_MAX, &text, &request->error);

    if (rc)
        return rc;
    rc = kt_pki_csr_key(text, strlen(text), &key, &request->error);
    if (rc == 0)
        rc = kt_pki_key_sha256(key, change->key_sha256);
    EVP_PKEY_free(key);
    if (rc)
        return rc;
    change->csr_len = strlen(text);
    change->csr = malloc(change->csr_len);
    if (!change->csr)
        return KT_ERR_NO_MEMORY;
    memcpy(change->csr, text, change->csr_len);
    return 0;
}

int kts_answer_text(struct kts_request *request, const struct kt_outcome *outcome, int status)
{
    if (!outcome->text)
        return KT_ERR_INTERNAL;
    return kts_respond(request, status, "application/json", NULL, outcome->text,
                       strlen(outcome->text));
}

static int registered(struct kts_request *request, const struct kt_outcome *outcome)
{
    return kts_answer_text(request, outcome, outcome->repeated ? 200 : 201);
}

// The code is also in the parsed JSON; jansson's strings are ours to wipe.
static void wipe_code(json_t *object)
{
    const char *text = json_string_value(json_object_get(object, "auth_code"));
    union {
        const char *in;
        char *out;
    } pointer = {.in = text};

    if (text)
        kt_wipe(pointer.out, strlen(text));
}

int kts_h_client_register(struct kts_request *request)
{
    static const char *const NAMES[] = {"auth_code", "name", "csr", "openpgp", NULL};
    struct kt_change change = {.kind = KT_CHANGE_REGISTER};
    json_t *object = NULL;
    int rc = kt_json_parse_object(request->body, request->body_len, &object, &request->error);

    if (rc == 0)
        rc = kt_json_only(object, NAMES, &request->error);
    if (rc == 0)
        rc = take_code(request, object, &change);
    if (rc == 0)
        rc = take_name(request, object, &change);
    if (rc == 0)
        rc = kts_take_csr(request, object, &change);
    if (rc == 0)
        rc = take_openpgp(request, object, &change);
    if (rc == 0)
        rc = kts_change(request, &change, registered);
    wipe_code(object);
    json_decref(object);
    kt_change_free(&change);
    return rc;
}
