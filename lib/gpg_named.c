// SPDX-License-Identifier: Apache-2.0
// All keys of one name, and under which names their secret halves lie.
#include <string.h>

#include "lib/gpg_inner.h"

static int is_usable(gpgme_key_t key, const char *user_id)
{
    if (key->revoked || key->expired || key->disabled)
        return 0;
    for (gpgme_user_id_t uid = key->uids; uid != NULL; uid = uid->next)
        if (!uid->revoked && uid->uid != NULL && strcmp(uid->uid, user_id) == 0)
            return 1;
    return 0;
}

static int take(gpgme_key_t key, struct kt_gpg_named *named, struct kt_error *error)
{
    int rc = kt_gpg_take_fingerprint(key->fpr, named->fingerprint, error);

    if (rc == 0)
        rc = kt_gpg_take_fingerprint(key->subkeys ? key->subkeys->keygrip : NULL, named->keygrip,
                                     error);
    return rc;
}

int kt_gpg_list_named(struct kt_gpg *gpg, const char *user_id, int secret,
                      struct kt_gpg_named *list, size_t max, size_t *count, struct kt_error *error)
{
    gpgme_keylist_mode_t mode = gpgme_get_keylist_mode(gpg->ctx);
    struct kt_gpg_guard guard;
    gpgme_key_t key = NULL;
    size_t n = 0;
    int rc = 0;

    kt_gpg_guard_enter(&guard);
    gpgme_error_t err = gpgme_set_keylist_mode(
        gpg->ctx, mode | (gpgme_keylist_mode_t)GPGME_KEYLIST_MODE_WITH_KEYGRIP);
    if (err == 0)
        err = gpgme_op_keylist_start(gpg->ctx, NULL, secret);
    while (err == 0 && rc == 0 && (err = gpgme_op_keylist_next(gpg->ctx, &key)) == 0) {
        if (is_usable(key, user_id) && n == max)
            rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "more than %zu keys of \"%s\"", max,
                              user_id);
        else if (is_usable(key, user_id))
            rc = take(key, &list[n++], error);
        gpgme_key_unref(key);
    }
    gpgme_op_keylist_end(gpg->ctx);
    (void)gpgme_set_keylist_mode(gpg->ctx, mode);
    if (rc == 0 && err != 0 && gpgme_err_code(err) != GPG_ERR_EOF)
        rc = kt_gpg_fail(error, err, "cannot list OpenPGP keys");
    if (rc == 0)
        *count = n;
    kt_gpg_guard_leave(&guard);
    return rc;
}
