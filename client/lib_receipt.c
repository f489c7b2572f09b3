// SPDX-License-Identifier: Apache-2.0
// Receipts: compared with what they are for, and kept in the confdir.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/secret.h"

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
