// SPDX-License-Identifier: Apache-2.0
// The receipt keys of a node on disk: the one in use, and while it is rotated the one to follow it.
// Whichever is written at a kill, one of the two is whole:
//
//   receipt/key.pem, cert.pem   in use
//   receipt/next.pem            key and certificate in one file, so that they come at once
//   receipt/old.pem             what next.pem has replaced, until it is wiped
#ifndef KT_RECEIPT_KEY_H
#define KT_RECEIPT_KEY_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "lib/digest.h"
#include "lib/paths.h"
#include "lib/secret.h"

#define KT_KEY_ID_TEXT     (2 * KT_KEY_ID_LEN + 1)
#define KT_RECEIPT_PEM_MAX 16384 // of key and certificate together

struct kt_receipt_pair {
    EVP_PKEY *key;
    X509 *cert;
    char id[KT_KEY_ID_TEXT]; // as in receipts
};
void kt_receipt_pair_free(struct kt_receipt_pair *pair);

// The pair in use, or that of next.pem. KT_ERR_NOT_FOUND; KT_ERR_CRYPTO when they are not one pair.
int kt_receipt_pair_load(const struct kt_paths *paths, int is_next, struct kt_receipt_pair *pair,
                         struct kt_error *error) KT_MUST_CHECK;
// The id of the key alone, "" when it cannot be read.
void kt_receipt_key_id_of(const struct kt_paths *paths, int is_next, char id[KT_KEY_ID_TEXT]);
// A new one, certified by the CA for `lifetime_s`.
int kt_receipt_pair_make(EVP_PKEY *ca_key, X509 *ca_cert, int64_t lifetime_s,
                         struct kt_receipt_pair *pair, struct kt_error *error) KT_MUST_CHECK;
// From text and to text (a secret): the PEM of key and certificate. KT_ERR_CRYPTO.
int kt_receipt_pair_parse(const char *text, size_t n, struct kt_receipt_pair *pair,
                          struct kt_error *error) KT_MUST_CHECK;
int kt_receipt_pair_text(const struct kt_receipt_pair *pair, struct kt_secret **text) KT_MUST_CHECK;
// 0 when `cert` is the CA's, of now, of the receipt role, of an Ed25519 key; `id` receives its id.
// KT_ERR_CERTIFICATE_UNKNOWN_CA, _EXPIRED, KT_ERR_INVALID.
int kt_receipt_cert_check(X509 *cert, X509 *ca_cert, char id[KT_KEY_ID_TEXT]) KT_MUST_CHECK;

// Durable as next.pem, in place of one that is there.
int kt_receipt_next_save(const struct kt_paths *paths, const struct kt_receipt_pair *pair,
                         struct kt_error *error) KT_MUST_CHECK;
// The pair of next.pem takes the place of the one in use, whose key is overwritten on disk. May be
// repeated after a kill anywhere. KT_ERR_NOT_FOUND when there is no next.pem.
int kt_receipt_next_use(const struct kt_paths *paths, struct kt_error *error) KT_MUST_CHECK;
// Overwrites and removes next.pem, if it is there, and what a kill has left.
int kt_receipt_next_drop(const struct kt_paths *paths, struct kt_error *error) KT_MUST_CHECK;

#endif
