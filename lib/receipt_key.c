// SPDX-License-Identifier: Apache-2.0
// The receipt keys of a node on disk, and what belongs to one.
#include "lib/receipt_key.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <openssl/objects.h>

#include "lib/encode.h"
#include "lib/file.h"
#include "lib/pki.h"

#define FOLDER "receipt"
#define UNIT   "keytrustee receipt key" // of every certificate of the role

void kt_receipt_pair_free(struct kt_receipt_pair *pair)
{
    EVP_PKEY_free(pair->key);
    X509_free(pair->cert);
    *pair = (struct kt_receipt_pair){.key = NULL};
}

// --- what belongs to a key ---

static int key_id(EVP_PKEY *key, char id[KT_KEY_ID_TEXT])
{
    uint8_t public_key[KT_ED25519_PUB_LEN], raw[KT_KEY_ID_LEN];
    int rc =
        EVP_PKEY_id(key) == EVP_PKEY_ED25519 ? kt_ed25519_public(key, public_key) : KT_ERR_INVALID;

    if (rc == 0)
        rc = kt_ed25519_key_id(public_key, raw);
    if (rc == 0)
        kt_hex_encode(raw, sizeof(raw), id);
    return rc;
}

int kt_receipt_cert_check(X509 *cert, X509 *ca_cert, char id[KT_KEY_ID_TEXT])
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    char unit[64] = "";
    int rc = kt_pki_cert_check(cert, ca_cert, kt_time_now());

    if (rc)
        return rc;
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_organizationalUnitName, unit,
                              sizeof(unit));
    return key && strcmp(unit, UNIT) == 0 ? key_id(key, id) : KT_ERR_INVALID;
}

// Key and certificate are in `pair`: they belong together, and have an id.
static int complete(struct kt_receipt_pair *pair, const char *where, struct kt_error *error)
{
    if (X509_check_private_key(pair->cert, pair->key) == 1 && key_id(pair->key, pair->id) == 0)
        return 0;
    kt_receipt_pair_free(pair);
    return kt_error_set(error, KT_ERR_CRYPTO, NULL,
                        "%s: no Ed25519 key and its certificate belong together there", where);
}

int kt_receipt_pair_parse(const char *text, size_t n, struct kt_receipt_pair *pair,
                          struct kt_error *error)
{
    struct kt_receipt_pair fresh = {.key = NULL};
    int rc = n <= KT_RECEIPT_PEM_MAX ? kt_pki_key_from_pem(text, n, &fresh.key) : KT_ERR_TOO_LARGE;

    if (rc == 0)
        rc = kt_pki_cert_from_pem(text, n, &fresh.cert);
    if (rc == 0)
        rc = complete(&fresh, "a receipt key", error);
    else
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "a receipt key cannot be read");
    if (rc)
        kt_receipt_pair_free(&fresh);
    else
        *pair = fresh;
    return rc;
}

int kt_receipt_pair_text(const struct kt_receipt_pair *pair, struct kt_secret **text)
{
    struct kt_buf buf = KT_BUF_INIT(KT_RECEIPT_PEM_MAX);
    int rc = kt_pki_key_to_pem(pair->key, &buf);

    if (rc == 0)
        rc = kt_pki_cert_to_pem(pair->cert, &buf);
    if (rc == 0)
        rc = kt_secret_from_bytes(kt_buf_ptr(&buf), kt_buf_left(&buf), text);
    kt_buf_free(&buf); // wipes
    return rc;
}

int kt_receipt_pair_make(EVP_PKEY *ca_key, X509 *ca_cert, int64_t lifetime_s,
                         struct kt_receipt_pair *pair, struct kt_error *error)
{
    const struct kt_pki_subject subject = {
        .role = KT_PKI_RECEIPT, .common_name = "receipt key", .lifetime_s = lifetime_s};
    struct kt_receipt_pair fresh = {.key = NULL};
    int rc = kt_pki_new_ed25519(&fresh.key);

    if (rc == 0)
        rc = kt_pki_sign(ca_key, ca_cert, fresh.key, &subject, &fresh.cert);
    if (rc)
        rc = kt_error_set(error, rc, NULL, "a receipt key cannot be made: %s", kt_err_text(rc));
    else
        rc = complete(&fresh, "a new receipt key", error);
    if (rc)
        kt_receipt_pair_free(&fresh);
    else
        *pair = fresh;
    return rc;
}

// --- reading ---

static int load_next(const struct kt_paths *paths, struct kt_receipt_pair *pair,
                     struct kt_error *error)
{
    struct kt_secret *text = NULL;
    int rc = kt_file_exists(paths->receipt_next)
                 ? kt_secret_from_file(paths->receipt_next, KT_RECEIPT_PEM_MAX, 0, &text, error)
                 : KT_ERR_NOT_FOUND;

    if (rc == KT_ERR_NOT_FOUND)
        return kt_error_set(error, rc, NULL, "there is no '%s'", paths->receipt_next);
    if (rc == 0)
        rc = kt_receipt_pair_parse(kt_secret_text(text), kt_secret_len(text), pair, error);
    kt_secret_free(text);
    return rc;
}

int kt_receipt_pair_load(const struct kt_paths *paths, int is_next, struct kt_receipt_pair *pair,
                         struct kt_error *error)
{
    struct kt_receipt_pair fresh = {.key = NULL};
    int rc;

    if (is_next)
        return load_next(paths, pair, error);
    rc = kt_pki_key_load(paths->receipt_key, &fresh.key, error);
    if (rc == 0)
        rc = kt_pki_cert_load(paths->receipt_cert, &fresh.cert, error);
    if (rc == 0)
        rc = complete(&fresh, paths->receipt_key, error);
    if (rc)
        kt_receipt_pair_free(&fresh);
    else
        *pair = fresh;
    return rc;
}

void kt_receipt_key_id_of(const struct kt_paths *paths, int is_next, char id[KT_KEY_ID_TEXT])
{
    const char *path = is_next ? paths->receipt_next : paths->receipt_key;
    EVP_PKEY *key = NULL;

    id[0] = '\0';
    if (kt_file_exists(path) && kt_pki_key_load(path, &key, NULL) == 0 && key_id(key, id) != 0)
        id[0] = '\0';
    EVP_PKEY_free(key);
}

// --- writing ---

static int path_of(const struct kt_paths *paths, const char *name, char out[KT_PATH_MAX],
                   struct kt_error *error)
{
    char folder[KT_PATH_MAX];

    return kt_path_join(folder, sizeof(folder), paths->confdir, FOLDER) != 0 ||
                   (name[0] ? kt_path_join(out, KT_PATH_MAX, folder, name)
                            : (memcpy(out, folder, sizeof(folder)), 0)) != 0
               ? kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in the confdir is too long")
               : 0;
}

static int is_left_over(const char *name)
{
    size_t n = strlen(name);

    return strcmp(name, "old.pem") == 0 ||
           (name[0] == '.' && n > 4 && strcmp(name + n - 4, ".tmp") == 0);
}

// What killed runs have left of private keys.
static int erase_rest(const struct kt_paths *paths, struct kt_error *error)
{
    char folder[KT_PATH_MAX], path[KT_PATH_MAX];
    int rc = path_of(paths, "", folder, error);
    DIR *dir = rc == 0 ? opendir(folder) : NULL;

    if (rc == 0 && !dir)
        rc = kt_error_errno(error, "cannot open the folder '%s'", folder);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; rc == 0 && entry; entry = readdir(dir)) {
        if (is_left_over(entry->d_name) && (rc = path_of(paths, entry->d_name, path, error)) == 0)
            rc = kt_file_erase(path, error);
    }
    if (dir)
        closedir(dir);
    return rc ? rc : kt_dir_sync(folder, error);
}

int kt_receipt_next_save(const struct kt_paths *paths, const struct kt_receipt_pair *pair,
                         struct kt_error *error)
{
    struct kt_secret *text = NULL;
    int rc = kt_receipt_pair_text(pair, &text);

    if (rc)
        rc = kt_error_set(error, rc, NULL, "a receipt key cannot be encoded");
    if (rc == 0) // one that is there may be a retired one
        rc = kt_receipt_next_drop(paths, error);
    if (rc == 0)
        rc = kt_file_replace(paths->receipt_next, kt_secret_text(text), kt_secret_len(text), 0600,
                             error);
    kt_secret_free(text);
    return rc;
}

// The name next.pem goes before its content, so that a kill leaves no half one under it.
int kt_receipt_next_drop(const struct kt_paths *paths, struct kt_error *error)
{
    char old[KT_PATH_MAX];
    int rc = erase_rest(paths, error);

    if (rc == 0)
        rc = path_of(paths, "old.pem", old, error);
    if (rc == 0 && rename(paths->receipt_next, old) != 0 && errno != ENOENT)
        rc = kt_error_errno(error, "cannot rename '%s'", paths->receipt_next);
    return rc ? rc : erase_rest(paths, error);
}

int kt_receipt_next_use(const struct kt_paths *paths, struct kt_error *error)
{
    struct kt_receipt_pair next = {.key = NULL};
    char old[KT_PATH_MAX];
    int rc = kt_receipt_pair_load(paths, 1, &next, error);

    if (rc == 0)
        rc = erase_rest(paths, error);
    if (rc == 0)
        rc = path_of(paths, "old.pem", old, error);
    if (rc == 0)
        rc = kt_pki_cert_save(paths->receipt_cert, next.cert, NULL, error);
    // A second name keeps what is replaced in reach until it is overwritten.
    if (rc == 0 && link(paths->receipt_key, old) != 0 && errno != ENOENT)
        rc = kt_error_errno(error, "cannot link '%s'", old);
    if (rc == 0)
        rc = kt_pki_key_save(paths->receipt_key, next.key, error);
    if (rc == 0)
        rc = kt_receipt_next_drop(paths, error);
    kt_receipt_pair_free(&next);
    return rc;
}
