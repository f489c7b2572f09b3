// SPDX-License-Identifier: Apache-2.0
// Signed texts with their key: made, and checked in a keyring that holds that key only.
#include "lib/signed_text.h"

#include <string.h>

#define BEGIN_KEY "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"

int kt_signed_text_make(struct kt_gpg *gpg, const char *signer, const char *text,
                        struct kt_buf *out, struct kt_error *error)
{
    int rc = kt_gpg_sign_text(gpg, signer, text, out, error);

    return rc ? rc : kt_gpg_export_text(gpg, signer, out, error);
}

// Where the key begins: at the beginning of a line. NULL when there is none.
static const uint8_t *find_key(const uint8_t *bytes, size_t n)
{
    const uint8_t *at = memmem(bytes, n, "\n" BEGIN_KEY, strlen(BEGIN_KEY) + 1);

    return at ? at + 1 : NULL;
}

int kt_signed_text_check(const void *bytes, size_t n, char signer[KT_OPENPGP_FINGERPRINT_TEXT],
                         struct kt_buf *text, struct kt_error *error)
{
    const uint8_t *from = bytes, *key = find_key(bytes, n);
    struct kt_gpg *gpg = NULL;
    int rc;

    if (key == NULL)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "not a signed statement with its key");
    rc = kt_gpg_new_temporary(key, n - (size_t)(key - from), &gpg, signer, error);
    if (rc == KT_ERR_OPENPGP_KEY_INVALID)
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "the statement has no key with it");
    if (rc == 0)
        rc = kt_gpg_verify_text(gpg, signer, bytes, (size_t)(key - from), text, error);
    kt_gpg_free_temporary(gpg);
    return rc;
}
