// SPDX-License-Identifier: Apache-2.0
// The node's pairs of key and certificate in <confdir>/tls, renewed all at once. After the first
// renewal the four names that everybody reads are links through one link, `current`, to a folder of
// four files: to move that link changes all, and a kill at any step leaves pairs that fit.
//
//   tls/node-key.pem -> current/node-key.pem     and so on
//   tls/current      -> pairs-1a2b3c4d           what is used
//   tls/next         -> pairs-5e6f7a8b           a renewal that has not ended
//
// A confdir that was restored with what its links lead to has files and folders in their places:
// they are made links again.
#ifndef KT_TLS_PAIRS_H
#define KT_TLS_PAIRS_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "lib/paths.h"

enum kt_pair { KT_PAIR_NODE, KT_PAIR_SERVER, KT_PAIRS };

// The pair's files: those in use, or those of the renewal that `tls/next` names.
int kt_pair_path(const struct kt_paths *paths, enum kt_pair pair, int is_next, int is_key,
                 char out[KT_PATH_MAX]) KT_MUST_CHECK;
// Writes a complete set into a folder of its own, then names it `next`. keys[i] NULL: that pair
// stays as it is. `ca` goes behind each new certificate. KT_ERR_EXISTS when there is a `next`.
int kt_pairs_stage(const struct kt_paths *paths, EVP_PKEY *const keys[KT_PAIRS],
                   X509 *const certs[KT_PAIRS], X509 *ca, struct kt_error *error) KT_MUST_CHECK;
// 1 when a renewal has begun and not ended; *is_used (may be NULL): its pairs are in use already.
int kt_pairs_is_begun(const struct kt_paths *paths, int *is_used);
// Gives up a renewal that is not in use.
int kt_pairs_drop(const struct kt_paths *paths, struct kt_error *error) KT_MUST_CHECK;
// Takes the pairs of `next` into use. May be repeated. KT_ERR_CRYPTO: a key is not its
// certificate's. KT_ERR_CERTIFICATE_EXPIRED: one that is new has ended meanwhile. KT_ERR_EXISTS:
// somebody has put a file of his own there since.
int kt_pairs_use(const struct kt_paths *paths, struct kt_error *error) KT_MUST_CHECK;
// Ends a renewal that is in use: removes what it has replaced, and what killed runs have left.
int kt_pairs_end(const struct kt_paths *paths, struct kt_error *error) KT_MUST_CHECK;

#endif
