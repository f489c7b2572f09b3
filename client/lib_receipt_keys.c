// SPDX-License-Identifier: Apache-2.0
// The keys that sign receipts and tree heads: certified by the CA, kept in the confdir, and what they
// have signed.
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <string.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"

#define RECEIPT_KEYS_MAX 64
#define KEY_ID_TEXT      (2 * KT_KEY_ID_LEN + 1)
// kt_pki_sign writes it into certificates of receipt keys and into no others: without this check a
// client's own certificate could certify receipts.
#define RECEIPT_UNIT "keytrustee receipt key"

// --- keys ---

// Signed by the CA, in its validity at `now_us`, of the receipt role, an Ed25519 key whose id is `id`.
static int check_receipt_cert(X509 *cert, X509 *ca, int64_t now_us, const char *id,
                              uint8_t pub[KT_ED25519_PUB_LEN], struct kt_error *error)
{
    uint8_t key_id[KT_KEY_ID_LEN];
    char text[KEY_ID_TEXT], unit[64] = "";
    size_t n = KT_ED25519_PUB_LEN;
    EVP_PKEY *key = X509_get0_pubkey(cert);
    int rc = kt_pki_cert_check(cert, ca, now_us);

    if (rc != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL, "certificate of receipt key %s: %s", id,
                            kt_err_text(rc));
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_organizationalUnitName, unit,
                              sizeof unit);
    if (strcmp(unit, RECEIPT_UNIT) != 0 || key == NULL || EVP_PKEY_id(key) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(key, pub, &n) != 1 || n != KT_ED25519_PUB_LEN)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                            "certificate %s is not one of a receipt key", id);
    rc = kt_ed25519_key_id(pub, key_id);
    if (rc != 0)
        return rc;
    kt_hex_encode(key_id, sizeof key_id, text);
    if (strcmp(text, id) != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL, "receipt key %s has the id %s", id,
                            text);
    return 0;
}

static int keep_key(const struct keytrustee *client, const json_t *entry, X509 *ca,
                    struct kt_error *error)
{
    const char *id = NULL, *pem = NULL;
    uint8_t raw[KT_KEY_ID_LEN], pub[KT_ED25519_PUB_LEN];
    char path[KT_PATH_MAX];
    X509 *cert = NULL;
    int64_t begin = 0, end = 0;
    int is_over, rc = kt_json_string(entry, "id", KEY_ID_TEXT - 1, KEY_ID_TEXT - 1, &id, error);

    if (rc == 0)
        rc = kt_json_string(entry, "certificate", 1, 8192, &pem, error);
    if (rc != 0)
        return rc;
    if (kt_hex_decode(id, raw, sizeof raw) != 0) // it becomes a file name
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "a receipt key's id is malformed");
    rc = kt_pki_cert_from_pem(pem, strlen(pem), &cert);
    if (rc == 0)
        rc = kt_pki_cert_validity(cert, &begin, &end);
    if (rc != 0) {
        X509_free(cert);
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "certificate %s cannot be read", id);
    }
    // Of a server that is behind, and for nothing: the key's other certificate comes from the active.
    is_over = kt_pki_is_of_ended(cert, ca);
    // Not as of now: what it signed while it was valid is still to be verified (find_key).
    if (!is_over)
        rc = check_receipt_cert(cert, ca, begin, id, pub, error);
    if (rc == 0 && !is_over)
        rc = ktc_path_in(client, "receipt-keys", id, ".pem", path);
    if (rc == 0 && !is_over)
        rc = kt_file_replace(path, pem, strlen(pem), 0600, error);
    X509_free(cert);
    return rc;
}

int ktc_receipt_keys_keep(const struct keytrustee *client, const json_t *keys, X509 *ca,
                          struct kt_error *error)
{
    size_t count = json_array_size(keys);
    int rc = 0;

    if (count == 0 || count > RECEIPT_KEYS_MAX)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "no receipt keys, or too many");
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = keep_key(client, json_array_get(keys, i), ca, error);
    return rc;
}

// --- what they have signed ---

// The kept key with this id, as it was certified at the time of signing: keys expire, what they have
// signed does not. KT_ERR_NOT_FOUND.
static int find_key(const struct keytrustee *client, const uint8_t key_id[KT_KEY_ID_LEN],
                    int64_t signed_us, uint8_t pub[KT_ED25519_PUB_LEN], struct kt_error *error)
{
    char id[KEY_ID_TEXT], path[KT_PATH_MAX];
    X509 *cert = NULL, *ca = NULL;
    int rc = 0;

    kt_hex_encode(key_id, KT_KEY_ID_LEN, id);
    rc = ktc_path_in(client, "receipt-keys", id, ".pem", path);
    if (rc != 0)
        return rc;
    if (!kt_file_exists(path))
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "receipt key %s is not known", id);
    rc = ktc_ca_load(client, &ca, error);
    if (rc == 0)
        rc = kt_pki_cert_load(path, &cert, error);
    // The cluster certifies its keys anew before a root ends: those are fetched.
    if (rc == 0 && kt_pki_is_of_ended(cert, ca))
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "receipt key %s is not known", id);
    if (rc == 0)
        rc = check_receipt_cert(cert, ca, signed_us, id, pub, error);
    X509_free(cert);
    X509_free(ca);
    return rc;
}

static int wrong_signature(const char *what, const uint8_t key_id[KT_KEY_ID_LEN],
                           struct kt_error *error)
{
    char id[KEY_ID_TEXT];

    kt_hex_encode(key_id, KT_KEY_ID_LEN, id);
    return kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                        "the %s's signature by key %s does not verify", what, id);
}

int ktc_receipt_verify(const struct keytrustee *client, const char *text,
                       struct kt_receipt *receipt, struct kt_error *error)
{
    struct kt_receipt parsed;
    uint8_t pub[KT_ED25519_PUB_LEN];
    int rc = kt_receipt_parse(text, strlen(text), &parsed);

    if (rc != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL, "the receipt cannot be read");
    rc = find_key(client, parsed.key_id, parsed.leaf.time_us, pub, error);
    if (rc == 0 && kt_receipt_verify(&parsed, pub) != 0)
        rc = wrong_signature("receipt", parsed.key_id, error);
    if (rc == 0)
        *receipt = parsed;
    return rc;
}

static int verify_head(const struct keytrustee *client, const char *text, struct kt_tree_head *head,
                       struct kt_error *error)
{
    struct kt_tree_head parsed;
    uint8_t pub[KT_ED25519_PUB_LEN];
    int rc = kt_tree_head_parse(text, strlen(text), &parsed);

    if (rc != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL, "the tree head cannot be read");
    rc = find_key(client, parsed.key_id, parsed.time_us, pub, error);
    if (rc == 0 && kt_tree_head_verify(&parsed, pub) != 0)
        rc = wrong_signature("tree head", parsed.key_id, error);
    if (rc == 0)
        *head = parsed;
    return rc;
}

// The cluster may have a new receipt key since we registered. Any node is asked first, and nothing
// follows from it when its keys are not good; `barrier`: the active, as one that is cut off from it does
// not have the key yet.
static int fetch_keys(struct keytrustee *client, int barrier, struct kt_error *error)
{
    struct ktc_call call = {
        .method = "GET", .path = "/v1/clients/self", .immutable = !barrier, .barrier = barrier};
    struct ktc_answer answer = {0};
    json_t *self = NULL;
    X509 *ca = NULL;
    int rc = ktc_call_json(client, &call, &answer, &self, error);

    if (rc == 0)
        rc = ktc_ca_learn(client, self, error); // a new key may be certified by a new CA
    if (rc == 0)
        rc = ktc_ca_load(client, &ca, error);
    if (rc == 0) {
        rc = ktc_receipt_keys_keep(client, json_object_get(self, "receipt_keys"), ca, error);
        rc = ktc_protocol(error, answer.server, rc);
    } else if (kt_err_info(rc)->exit == KEYTRUSTEE_NOT_FOUND) { // of us, not of a deposit
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "%s: does not know this client",
                          answer.server);
    }
    X509_free(ca);
    json_decref(self);
    ktc_answer_free(&answer);
    return !barrier && (rc == KT_ERR_SIGNATURE || rc == KT_ERR_PROTOCOL) ? 0 : rc;
}

static int not_certified(const char *what, struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                        "the %s is signed by a key that the cluster's CA has not certified to this "
                        "client",
                        what);
}

int ktc_receipt_accept(struct keytrustee *client, const char *text, struct kt_receipt *receipt,
                       struct kt_error *error)
{
    int rc = ktc_receipt_verify(client, text, receipt, error);

    for (int barrier = 0; barrier < 2 && rc == KT_ERR_NOT_FOUND; barrier++) {
        rc = fetch_keys(client, barrier, error);
        if (rc == 0)
            rc = ktc_receipt_verify(client, text, receipt, error);
    }
    return rc == KT_ERR_NOT_FOUND ? not_certified("receipt", error) : rc;
}

int ktc_tree_head_accept(struct keytrustee *client, const char *text, struct kt_tree_head *head,
                         struct kt_error *error)
{
    int rc = verify_head(client, text, head, error);

    for (int barrier = 0; barrier < 2 && rc == KT_ERR_NOT_FOUND; barrier++) {
        rc = fetch_keys(client, barrier, error);
        if (rc == 0)
            rc = verify_head(client, text, head, error);
    }
    return rc == KT_ERR_NOT_FOUND ? not_certified("tree head", error) : rc;
}
