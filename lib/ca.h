// SPDX-License-Identifier: Apache-2.0
// Replacing the cluster's CA: the files of <confdir>/ca, from one root to two.
//
//   one     cert.pem: the root                        key.pem: its key
//   begun   cert.pem: the root, the next one, links   key.pem: as before; next-key.pem: the next one's
//   both    cert.pem: the next root, the old, links   key.pem: the next one's; the old key is gone
//   one     cert.pem: the root, a link to it from the older one, and one that tells of that one's end
//
// Begun: everybody trusts both, the old one signs. Links: kt_pki.h.
#ifndef KT_CA_H
#define KT_CA_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "lib/digest.h"
#include "lib/paths.h"

#define KT_CA_LIFETIME_S (INT64_C(20) * 365 * 86400)

enum kt_ca_phase { KT_CA_ONE, KT_CA_BEGUN, KT_CA_BOTH };

const char *kt_ca_phase_name(enum kt_ca_phase phase); // "one", "begun", "both"

// In which phase the files are. *since_us receives when the newest root was made, *until_us when the
// first of the roots ends.
int kt_ca_look(const struct kt_paths *paths, enum kt_ca_phase *phase, int64_t *since_us,
               int64_t *until_us, struct kt_error *error) KT_MUST_CHECK;
// SHA-256 of the newest root that there is the key of: in `begun` the next one, else the one that signs.
int kt_ca_newest(const struct kt_paths *paths, uint8_t sha256[KT_SHA256_LEN],
                 struct kt_error *error) KT_MUST_CHECK;
// one -> begun: makes key, root and links. In `begun` it goes on with what there is. KT_ERR_EXISTS
// while an older root still counts.
int kt_ca_begin(const struct kt_paths *paths, const char *cluster_id, int64_t lifetime_s,
                struct kt_error *error) KT_MUST_CHECK;
// The same with what another node has made: `key` is that of a root of `set`, which must be linked
// to this node's own root by a certificate in `set`: KT_ERR_SIGNATURE. May be repeated.
int kt_ca_take(const struct kt_paths *paths, EVP_PKEY *key, X509 *set,
               struct kt_error *error) KT_MUST_CHECK;
// begun -> both. May be repeated. KT_ERR_NOT_FOUND in `one`.
int kt_ca_use(const struct kt_paths *paths, struct kt_error *error) KT_MUST_CHECK;
// both -> one: the older root ends now, by a link that the newer one signs. May be repeated.
// KT_ERR_NOT_FOUND: there is no older one; KT_ERR_NOT_PROVEN in `begun`.
int kt_ca_end(const struct kt_paths *paths, struct kt_error *error) KT_MUST_CHECK;
// The same by what another node has: the links of `set` that this node's first root has signed, for
// roots that this node's set knows. One that says nothing new changes nothing. KT_ERR_NOT_PROVEN in
// `begun`: there the first root is the older one, and would end the next.
int kt_ca_hear_end(const struct kt_paths *paths, X509 *set, struct kt_error *error) KT_MUST_CHECK;
// Ends a kt_ca_use that was killed between its two files. For who is about to read them.
int kt_ca_mend(const struct kt_paths *paths, struct kt_error *error) KT_MUST_CHECK;

#endif
