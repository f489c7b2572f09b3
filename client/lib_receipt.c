// SPDX-License-Identifier: Apache-2.0
// Receipts and the keys that sign them: verified, kept in the confdir, compared.
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"
#include "lib/secret.h"

#define RECEIPT_KEYS_MAX 64
#define KEY_ID_TEXT      (2 * KT_KEY_ID_LEN + 1)
// kt_pki_sign writes it into certificates of receipt keys and into no others: without this check a
// client's own certificate could certify receipts.
#define RECEIPT_UNIT "keytrustee receipt key"

// --- keys ---

// Signed by the CA at `now_us`, of the receipt role, an Ed25519 key whose id is `id`.
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
    int rc = kt_json_string(entry, "id", KEY_ID_TEXT - 1, KEY_ID_TEXT - 1, &id, error);

    if (rc == 0)
        rc = kt_json_string(entry, "certificate", 1, 8192, &pem, error);
    if (rc != 0)
        return rc;
    if (kt_hex_decode(id, raw, sizeof raw) != 0) // it becomes a file name
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "a receipt key's id is malformed");
    rc = kt_pki_cert_from_pem(pem, strlen(pem), &cert);
    if (rc != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "certificate %s cannot be read", id);
    rc = check_receipt_cert(cert, ca, kt_time_now(), id, pub, error);
    if (rc == 0)
        rc = ktc_path_in(client, "receipt-keys", id, ".pem", path);
    if (rc == 0)
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

// --- verifying ---

int ktc_receipt_verify(const struct keytrustee *client, const char *text,
                       struct kt_receipt *receipt, struct kt_error *error)
{
    struct kt_receipt parsed;
    uint8_t pub[KT_ED25519_PUB_LEN];
    char id[KEY_ID_TEXT], path[KT_PATH_MAX];
    X509 *cert = NULL, *ca = NULL;
    int rc = kt_receipt_parse(text, strlen(text), &parsed);

    if (rc != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE, NULL, "the receipt cannot be read");
    kt_hex_encode(parsed.key_id, sizeof parsed.key_id, id);
    rc = ktc_path_in(client, "receipt-keys", id, ".pem", path);
    if (rc != 0)
        return rc;
    if (!kt_file_exists(path))
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "receipt key %s is not known", id);
    rc = ktc_ca_load(client, &ca, error);
    if (rc == 0)
        rc = kt_pki_cert_load(path, &cert, error);
    if (rc == 0) // at the time it was signed: keys expire, receipts do not
        rc = check_receipt_cert(cert, ca, parsed.leaf.time_us, id, pub, error);
    if (rc == 0 && kt_receipt_verify(&parsed, pub) != 0)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                          "the receipt's signature by key %s does not verify", id);
    if (rc == 0)
        *receipt = parsed;
    X509_free(cert);
    X509_free(ca);
    return rc;
}

int ktc_receipt_accept(struct keytrustee *client, const char *text, struct kt_receipt *receipt,
                       struct kt_error *error)
{
    struct ktc_call call = {.method = "GET", .path = "/v1/clients/self", .immutable = 1};
    struct ktc_answer answer = {0};
    json_t *self = NULL;
    X509 *ca = NULL;
    int rc = ktc_receipt_verify(client, text, receipt, error);

    if (rc != KT_ERR_NOT_FOUND)
        return rc;
    // The cluster has a new receipt key since we registered.
    rc = ktc_call_json(client, &call, &answer, &self, error);
    if (rc == 0)
        rc = ktc_ca_load(client, &ca, error);
    if (rc == 0) {
        rc = ktc_receipt_keys_keep(client, json_object_get(self, "receipt_keys"), ca, error);
        rc = ktc_protocol(error, answer.server, rc);
    } else if (kt_err_info(rc)->exit == KEYTRUSTEE_NOT_FOUND) { // of us, not of a deposit
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "%s: does not know this client",
                          answer.server);
    }
    if (rc == 0)
        rc = ktc_receipt_verify(client, text, receipt, error);
    if (rc == KT_ERR_NOT_FOUND)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                          "the receipt is signed by a key that the cluster's CA has not certified "
                          "to this client");
    X509_free(ca);
    json_decref(self);
    ktc_answer_free(&answer);
    return rc;
}

int ktc_receipt_matches(const struct kt_receipt *receipt, const char *handle, uint32_t version,
                        const struct kt_uuid *id, const uint8_t sha256[KT_SHA256_LEN],
                        uint64_t size, struct kt_error *error)
{
    const struct kt_leaf *leaf = &receipt->leaf;
    uint8_t hash[KT_SHA256_LEN];
    const char *wrong = NULL;
    int rc = kt_sha256(handle, strlen(handle), hash);

    if (rc != 0)
        return rc;
    if (memcmp(leaf->handle_hash, hash, sizeof hash) != 0)
        wrong = "another handle";
    else if (id != NULL && memcmp(&leaf->deposit_id, id, sizeof *id) != 0)
        wrong = "another deposit id";
    else if (version != 0 && leaf->version != version)
        wrong = "another version";
    else if (memcmp(leaf->sha256, sha256, KT_SHA256_LEN) != 0)
        wrong = "other content";
    else if (leaf->size != size)
        wrong = "another size";
    if (wrong == NULL)
        return 0;
    return kt_error_set(error, KT_ERR_SIGNATURE, "report this to the operator of the key trustee",
                        "the receipt for \"%s\" names %s", handle, wrong);
}

// --- keeping ---

// "receipts/latest/<SHA-256 of the handle>" holds the highest version that was acknowledged here.
static int latest_path(const struct keytrustee *client, const char *handle, char out[KT_PATH_MAX])
{
    uint8_t hash[KT_SHA256_LEN];
    char name[KT_SHA256_TEXT];
    int rc = kt_sha256(handle, strlen(handle), hash);

    if (rc != 0)
        return rc;
    kt_hex_encode(hash, sizeof hash, name);
    return ktc_path_in(client, "receipts/latest", name, "", out);
}

// Two lines: the version, and the number of the incarnation that acknowledged it (0: not told).
static void read_latest(const struct keytrustee *client, const char *handle, uint64_t *version,
                        uint64_t *incarnation)
{
    char path[KT_PATH_MAX];
    char *text = NULL, *rest = NULL;

    *version = *incarnation = 0;
    if (latest_path(client, handle, path) != 0 || !kt_file_exists(path) ||
        kt_file_read_text(path, 64, &text, NULL) != 0)
        return;
    rest = text;
    if (kt_u64_parse(strsep(&rest, "\n"), 1, UINT32_MAX, version) != 0)
        *version = 0;
    if (rest != NULL && kt_u64_parse(strsep(&rest, "\n"), 1, UINT32_MAX, incarnation) != 0)
        *incarnation = 0;
    free(text);
}

uint32_t ktc_receipt_latest(const struct keytrustee *client, const char *handle)
{
    uint64_t version = 0, incarnation = 0;

    read_latest(client, handle, &version, &incarnation);
    return (uint32_t)version;
}

int ktc_receipt_keep(const struct keytrustee *client, const char *handle,
                     const struct kt_receipt *receipt, const char *text, struct kt_error *error)
{
    char path[KT_PATH_MAX], id[KT_UUID_TEXT], number[32];
    uint64_t version = 0, incarnation = 0;
    int fd = -1;
    int rc = 0;

    kt_uuid_format(&receipt->leaf.deposit_id, id);
    rc = ktc_path_in(client, "receipts", id, ".receipt", path);
    if (rc == 0)
        rc = kt_file_replace(path, text, strlen(text), 0600, error);
    if (rc == 0)
        rc = latest_path(client, handle, path);
    if (rc == 0)
        rc = ktc_lock(client, &fd, error);
    if (rc == 0)
        read_latest(client, handle, &version, &incarnation);
    // A cluster restored from a backup counts on from an older version.
    if (rc == 0 && (receipt->leaf.version > version ||
                    (incarnation > 0 && receipt->leaf.incarnation.number > incarnation))) {
        snprintf(number, sizeof number, "%u\n%u\n", (unsigned)receipt->leaf.version,
                 (unsigned)receipt->leaf.incarnation.number);
        rc = kt_file_replace(path, number, strlen(number), 0600, error);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

// "receipts/<id>.check" is a line: version, salt, SHA-256 of salt and SHA-256 of the plaintext.
#define CHECK_PREFIX "keytrustee-check 1 "
#define CHECK_SALT   16

static int check_path(const struct keytrustee *client, const struct kt_uuid *id,
                      char out[KT_PATH_MAX])
{
    char name[KT_UUID_TEXT];

    kt_uuid_format(id, name);
    return ktc_path_in(client, "receipts", name, ".check", out);
}

static int hash_salted(const uint8_t salt[CHECK_SALT], const void *secret, size_t len,
                       uint8_t out[KT_SHA256_LEN])
{
    uint8_t both[CHECK_SALT + KT_SHA256_LEN];
    int rc = kt_sha256(secret, len, both + CHECK_SALT);

    memcpy(both, salt, CHECK_SALT);
    if (rc == 0)
        rc = kt_sha256(both, sizeof both, out);
    kt_wipe(both, sizeof both); // the hash without salt tells more of the secret
    return rc;
}

int ktc_check_keep(const struct keytrustee *client, const struct kt_uuid *id, const void *secret,
                   size_t len, struct kt_error *error)
{
    uint8_t salt[CHECK_SALT], hash[KT_SHA256_LEN];
    char path[KT_PATH_MAX], salt_hex[2 * CHECK_SALT + 1], hex[KT_SHA256_TEXT], line[160];
    int rc = check_path(client, id, path);

    if (rc == 0)
        rc = kt_random(salt, sizeof salt);
    if (rc == 0)
        rc = hash_salted(salt, secret, len, hash);
    if (rc != 0)
        return rc;
    kt_hex_encode(salt, sizeof salt, salt_hex);
    kt_hex_encode(hash, sizeof hash, hex);
    snprintf(line, sizeof line, CHECK_PREFIX "%s %s\n", salt_hex, hex);
    return kt_file_replace(path, line, strlen(line), 0600, error);
}

int ktc_check_compare(const struct keytrustee *client, const struct kt_uuid *id, const void *secret,
                      size_t len, struct kt_error *error)
{
    const size_t salt_at = strlen(CHECK_PREFIX), hash_at = salt_at + 2 * CHECK_SALT + 1;
    uint8_t salt[CHECK_SALT], kept[KT_SHA256_LEN], hash[KT_SHA256_LEN];
    char path[KT_PATH_MAX], name[KT_UUID_TEXT];
    char *text = NULL;
    int rc = check_path(client, id, path);

    if (rc != 0 || !kt_file_exists(path))
        return rc;
    rc = kt_file_read_text(path, 160, &text, error);
    if (rc != 0)
        return rc;
    text[strcspn(text, "\n")] = '\0';
    if (strlen(text) != hash_at + KT_SHA256_TEXT - 1 || text[hash_at - 1] != ' ')
        rc = KT_ERR_INVALID;
    else
        text[hash_at - 1] = '\0';
    if (rc != 0 || strncmp(text, CHECK_PREFIX, salt_at) != 0 ||
        kt_hex_decode(text + salt_at, salt, sizeof salt) != 0 ||
        kt_hex_decode(text + hash_at, kept, sizeof kept) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, "remove it", "\"%s\" is damaged", path);
    else
        rc = hash_salted(salt, secret, len, hash);
    kt_uuid_format(id, name);
    if (rc == 0 && !kt_equal_secret(hash, kept, sizeof hash))
        rc = kt_error_set(error, KT_ERR_DEPOSIT_ID_CONFLICT, NULL,
                          "deposit %s was made with another secret", name);
    free(text);
    return rc;
}

void ktc_check_remove(const struct keytrustee *client, const struct kt_uuid *id)
{
    char path[KT_PATH_MAX];

    if (check_path(client, id, path) == 0)
        (void)unlink(path);
}

int ktc_receipt_load(const struct keytrustee *client, const struct kt_uuid *id,
                     struct kt_receipt *receipt, struct kt_error *error)
{
    char path[KT_PATH_MAX], name[KT_UUID_TEXT];
    char *text = NULL;
    int rc = 0;

    kt_uuid_format(id, name);
    rc = ktc_path_in(client, "receipts", name, ".receipt", path);
    if (rc != 0)
        return rc;
    if (!kt_file_exists(path))
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no receipt for deposit %s", name);
    rc = kt_file_read_text(path, 2 * KT_RECEIPT_TEXT, &text, error);
    if (rc != 0)
        return rc;
    rc = kt_receipt_parse(text, strlen(text), receipt);
    if (rc != 0)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL, "receipt \"%s\" is damaged", path);
    free(text);
    return rc;
}
