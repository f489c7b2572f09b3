// SPDX-License-Identifier: Apache-2.0
// OpenPGP keys of a home: make, find, export, import.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/gpg_inner.h"

int kt_gpg_take_fingerprint(const char *from, char out[KT_OPENPGP_FINGERPRINT_TEXT],
                            struct kt_error *error)
{
    if (from == NULL || strlen(from) != KT_OPENPGP_FINGERPRINT_TEXT - 1)
        return kt_error_set(error, KT_ERR_CRYPTO, NULL, "not a version 4 OpenPGP key");
    for (size_t i = 0; i < KT_OPENPGP_FINGERPRINT_TEXT; i++)
        out[i] = (char)toupper((unsigned char)from[i]);
    return 0;
}

int kt_gpg_get_key(struct kt_gpg *gpg, const char *fingerprint, int secret, gpgme_key_t *key,
                   struct kt_error *error)
{
    gpgme_error_t err = gpgme_get_key(gpg->ctx, fingerprint, key, secret);

    if (err == 0)
        return 0;
    if (gpgme_err_code(err) == GPG_ERR_EOF)
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no %s key %s in \"%s\"",
                            secret ? "secret" : "public", fingerprint, gpg->home);
    return kt_gpg_fail(error, err, "cannot read an OpenPGP key");
}

int kt_gpg_generate(struct kt_gpg *gpg, enum kt_gpg_kind kind, const char *user_id,
                    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT], struct kt_error *error)
{
    unsigned int flags = GPGME_CREATE_NOPASSWD | GPGME_CREATE_NOEXPIRE | GPGME_CREATE_FORCE;
    // What GnuPG 2.1.17 and later make of this: ed25519 with a cv25519 subkey. Any other name makes
    // a key without a subkey, and adding one would leave half a key when killed in between.
    const char *algorithm = "future-default";
    struct kt_gpg_guard guard;
    int rc = 0;

    if (kind == KT_GPG_CLUSTER) {
        algorithm = "rsa4096";
        flags |= GPGME_CREATE_SIGN | GPGME_CREATE_CERT;
    }
    kt_gpg_guard_enter(&guard);
    gpgme_error_t err = gpgme_op_createkey(gpg->ctx, user_id, algorithm, 0, 0, NULL, flags);
    if (err != 0) {
        rc = kt_gpg_fail(error, err, "cannot make an OpenPGP key");
    } else {
        gpgme_genkey_result_t result = gpgme_op_genkey_result(gpg->ctx);
        rc = kt_gpg_take_fingerprint(result ? result->fpr : NULL, fingerprint, error);
    }
    kt_gpg_guard_leave(&guard);
    return rc;
}

static int has_user_id(gpgme_key_t key, const char *user_id)
{
    for (gpgme_user_id_t uid = key->uids; uid != NULL; uid = uid->next)
        if (!uid->revoked && uid->uid != NULL && strcmp(uid->uid, user_id) == 0)
            return 1;
    return 0;
}

int kt_gpg_find_secret(struct kt_gpg *gpg, const char *user_id,
                       char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT], struct kt_error *error)
{
    gpgme_key_t key = NULL;
    struct kt_gpg_guard guard;
    int rc = KT_ERR_NOT_FOUND;

    kt_gpg_guard_enter(&guard);
    gpgme_error_t err = gpgme_op_keylist_start(gpg->ctx, NULL, 1);
    while (err == 0 && rc == KT_ERR_NOT_FOUND &&
           (err = gpgme_op_keylist_next(gpg->ctx, &key)) == 0) {
        if (!key->revoked && !key->expired && !key->disabled && has_user_id(key, user_id))
            rc = kt_gpg_take_fingerprint(key->fpr, fingerprint, error);
        gpgme_key_unref(key);
    }
    gpgme_op_keylist_end(gpg->ctx);
    if (err != 0 && gpgme_err_code(err) != GPG_ERR_EOF)
        rc = kt_gpg_fail(error, err, "cannot list OpenPGP keys");
    else if (rc == KT_ERR_NOT_FOUND)
        rc = kt_error_set(error, rc, NULL, "no secret key of \"%s\" in \"%s\"", user_id, gpg->home);
    kt_gpg_guard_leave(&guard);
    return rc;
}

int kt_gpg_export(struct kt_gpg *gpg, const char *fingerprint, struct kt_buf *out,
                  struct kt_error *error)
{
    gpgme_data_t data = NULL;
    gpgme_key_t key = NULL;
    struct kt_gpg_guard guard;
    size_t before = out->len;
    int rc = 0;

    kt_gpg_guard_enter(&guard);
    // Exporting an unknown key gives no error, only nothing.
    rc = kt_gpg_get_key(gpg, fingerprint, 0, &key, error);
    if (rc == 0)
        rc = kt_gpg_data_to_buf(out, &data);
    if (rc == 0) {
        gpgme_error_t err = gpgme_op_export(gpg->ctx, fingerprint, 0, data);
        if (err != 0)
            rc = kt_gpg_fail(error, err, "cannot export an OpenPGP key");
        else if (out->len == before)
            rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "GnuPG exported nothing");
    }
    if (key != NULL)
        gpgme_key_unref(key);
    gpgme_data_release(data);
    kt_gpg_guard_leave(&guard);
    return rc;
}

int kt_gpg_import(struct kt_gpg *gpg, const void *bytes, size_t n,
                  char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT], struct kt_error *error)
{
    gpgme_data_t data = NULL;
    struct kt_gpg_guard guard;
    int rc = 0;

    kt_gpg_guard_enter(&guard);
    gpgme_error_t err = gpgme_data_new_from_mem(&data, bytes, n, 0);
    if (err == 0)
        err = gpgme_op_import(gpg->ctx, data);
    if (err != 0) {
        rc = kt_gpg_fail(error, err, "cannot import an OpenPGP key");
    } else {
        gpgme_import_result_t result = gpgme_op_import_result(gpg->ctx);
        gpgme_import_status_t first = result ? result->imports : NULL;
        if (first == NULL || first->result != 0)
            rc = kt_error_set(error, KT_ERR_OPENPGP_KEY_INVALID, NULL,
                              "the bytes hold no OpenPGP key");
        else
            rc = kt_gpg_take_fingerprint(first->fpr, fingerprint, error);
    }
    gpgme_data_release(data);
    kt_gpg_guard_leave(&guard);
    return rc;
}
