// SPDX-License-Identifier: Apache-2.0
// OpenPGP through GPGME, always in a home directory of ours.
#ifndef KT_GPG_H
#define KT_GPG_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/openpgp.h"
#include "lib/secret.h"

struct kt_gpg;

// Opens `home` (a 0700 folder that exists). A gpg-agent that was not running before is ended by
// kt_gpg_free, once no other process has the home open. KT_ERR_TOO_LARGE when the agent's socket
// path would not fit. Decrypted content is bounded by 1 MiB (kt_secret's bound).
int kt_gpg_new(const char *home, struct kt_gpg **gpg, struct kt_error *error) KT_MUST_CHECK;
void kt_gpg_free(struct kt_gpg *gpg);

enum kt_gpg_kind {
    KT_GPG_CLUSTER, // RSA-4096, signs only, no passphrase, never expires
    KT_GPG_CLIENT,  // ed25519 signing primary with a cv25519 encryption subkey, no passphrase
};
// Makes a key; `fingerprint` receives 40 upper-case hex digits and NUL.
int kt_gpg_generate(struct kt_gpg *gpg, enum kt_gpg_kind kind, const char *user_id,
                    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT],
                    struct kt_error *error) KT_MUST_CHECK;
// The fingerprint of the only (or first) secret key whose user id is exactly `user_id`;
// KT_ERR_NOT_FOUND. Used by steps that must be repeatable.
int kt_gpg_find_secret(struct kt_gpg *gpg, const char *user_id,
                       char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT],
                       struct kt_error *error) KT_MUST_CHECK;
struct kt_gpg_named {
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
    char keygrip[KT_OPENPGP_FINGERPRINT_TEXT]; // the secret half is private-keys-v1.d/<keygrip>.key
};
// All keys with exactly that user id, secret = 1: those whose secret half is here. KT_ERR_TOO_LARGE
// when there are more than `max`.
int kt_gpg_list_named(struct kt_gpg *gpg, const char *user_id, int secret,
                      struct kt_gpg_named *list, size_t max, size_t *count,
                      struct kt_error *error) KT_MUST_CHECK;
// The binary public key, appended to `out`.
int kt_gpg_export(struct kt_gpg *gpg, const char *fingerprint, struct kt_buf *out,
                  struct kt_error *error) KT_MUST_CHECK;
int kt_gpg_import(struct kt_gpg *gpg, const void *bytes, size_t n,
                  char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT],
                  struct kt_error *error) KT_MUST_CHECK;
// Binary, signed by `signer` and encrypted to all of `recipients` (NULL-terminated fingerprints),
// not compressed, always-trust.
int kt_gpg_encrypt(struct kt_gpg *gpg, const char *signer, const char *const *recipients,
                   const void *bytes, size_t n, struct kt_buf *out,
                   struct kt_error *error) KT_MUST_CHECK;
// Decrypts and verifies. KT_ERR_SIGNATURE unless there is a good signature by `signer` (NULL: any
// key of the home). `*plain` is set only on full success.
int kt_gpg_decrypt(struct kt_gpg *gpg, const char *signer, const void *bytes, size_t n,
                   struct kt_secret **plain, struct kt_error *error) KT_MUST_CHECK;

// As the two above, with a name inside the encryption (the literal packet's file name, at most 255
// bytes): whoever stores the message cannot change it. `name` receives "" when there is none or it
// does not fit `name_size`.
int kt_gpg_encrypt_named(struct kt_gpg *gpg, const char *signer, const char *const *recipients,
                         const char *name, const void *bytes, size_t n, struct kt_buf *out,
                         struct kt_error *error) KT_MUST_CHECK;
int kt_gpg_decrypt_named(struct kt_gpg *gpg, const char *signer, const void *bytes, size_t n,
                         char *name, size_t name_size, struct kt_secret **plain,
                         struct kt_error *error) KT_MUST_CHECK;

#endif
