// SPDX-License-Identifier: Apache-2.0
// Keys, certificate requests and certificates of the cluster's internal CA.
#ifndef KT_PKI_H
#define KT_PKI_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/err.h"

// The DNS name in every server certificate of a cluster: clients check it (and the pinned CA)
// instead of a host name, so that a node may have any address.
#define KT_PKI_SERVICE_NAME "keytrustee"
// The one in every node's, and in no other: who speaks to a node checks it (or the
// member id, which is there too), so that a server's key, which the processes that
// face the network hold, makes no node.
#define KT_PKI_NODE_SERVICE_NAME "keytrustee-node"

int kt_pki_new_p256(EVP_PKEY **key) KT_MUST_CHECK;
int kt_pki_new_ed25519(EVP_PKEY **key) KT_MUST_CHECK;
// PEM (PKCS#8, no passphrase) file of mode 0600. Loading refuses files that others can read.
int kt_pki_key_save(const char *path, EVP_PKEY *key, struct kt_error *error) KT_MUST_CHECK;
int kt_pki_key_load(const char *path, EVP_PKEY **key, struct kt_error *error) KT_MUST_CHECK;
// The same from memory: the first key in `pem`, whatever stands around it. KT_ERR_CRYPTO.
int kt_pki_key_from_pem(const void *pem, size_t n, EVP_PKEY **key) KT_MUST_CHECK;
// Appends PKCS#8 without passphrase.
int kt_pki_key_to_pem(EVP_PKEY *key, struct kt_buf *buf) KT_MUST_CHECK;
// One certificate; for a file with several the first. Saving
// writes `chain` (may be NULL; a CA, with all of its set) behind it.
int kt_pki_cert_save(const char *path, X509 *cert, X509 *chain,
                     struct kt_error *error) KT_MUST_CHECK;
int kt_pki_cert_load(const char *path, X509 **cert, struct kt_error *error) KT_MUST_CHECK;
int kt_pki_cert_from_pem(const void *pem, size_t n, X509 **cert) KT_MUST_CHECK;
int kt_pki_cert_from_der(const void *der, size_t n, X509 **cert) KT_MUST_CHECK;
// Appends to `buf`.
int kt_pki_cert_to_pem(X509 *cert, struct kt_buf *buf) KT_MUST_CHECK;
int kt_pki_cert_to_der(X509 *cert, struct kt_buf *buf) KT_MUST_CHECK;
// SHA-256 of the DER.
int kt_pki_cert_sha256(const X509 *cert, uint8_t out[KT_SHA256_LEN]) KT_MUST_CHECK;
// Times in microseconds since 1970.
int kt_pki_cert_validity(const X509 *cert, int64_t *not_before_us,
                         int64_t *not_after_us) KT_MUST_CHECK;

enum kt_pki_role {
    KT_PKI_CA,     // self-signed, CA:TRUE, pathlen 0, keyCertSign
    KT_PKI_SERVER, // serverAuth; SAN KT_PKI_SERVICE_NAME, localhost, 127.0.0.1, ::1 and `names`
    // serverAuth, clientAuth; CN = member id, OU = "keytrustee node"; SAN as a server,
    // KT_PKI_NODE_SERVICE_NAME and the member id
    KT_PKI_NODE,
    KT_PKI_CLIENT,  // clientAuth; CN = client UUID, O = organisation name, OU = "keytrustee client"
    KT_PKI_RECEIPT, // digitalSignature only; OU = "keytrustee receipt key"
    KT_PKI_WITNESS, // a link that signs nothing; as KT_PKI_CA, but CA:FALSE, digitalSignature
};

struct kt_pki_subject {
    enum kt_pki_role role;
    const char *common_name;
    const char *organisation; // or NULL
    const char *const *names; // further SANs, host names or addresses, NULL-terminated, or NULL
    int64_t lifetime_s;
};

// CA certificate for `key`, signed by itself. Serial numbers are 127 random bits; validity begins
// one hour before now, so that a client's clock may be slow.
int kt_pki_make_ca(EVP_PKEY *key, const char *cluster_id, int64_t lifetime_s,
                   X509 **cert) KT_MUST_CHECK;
// Certificate for `public_key`, signed by the CA. Never outlives the CA's certificate.
// KT_ERR_INVALID when a server's `names` has one that only nodes have.
int kt_pki_sign(EVP_PKEY *ca_key, X509 *ca_cert, EVP_PKEY *public_key,
                const struct kt_pki_subject *subject, X509 **cert) KT_MUST_CHECK;
// `cert`, of a root that is replaced, once more: the same name, key and beginning, signed by the CA
// that signs now, as long as that lasts. For receipt keys, whose receipts name them by their key.
int kt_pki_sign_again(EVP_PKEY *ca_key, X509 *ca_cert, X509 *cert, X509 **again) KT_MUST_CHECK;
// The names that a certificate has beside those of its role, for another one like it:
// NULL-terminated, the caller's (kt_pki_names_free). What is neither a host name nor an address is
// left out.
int kt_pki_cert_names(const X509 *cert, char ***names) KT_MUST_CHECK;
void kt_pki_names_free(char **names);
// A request (PEM) for `key`; names in it are ignored by kt_pki_sign's callers.
int kt_pki_csr_make(EVP_PKEY *key, struct kt_buf *pem) KT_MUST_CHECK;
// Parses a PEM request, checks its self-signature and that the key is P-256, P-384 or Ed25519
// (RSA is refused: it costs the server four times as much a handshake). KT_ERR_CSR_INVALID.
int kt_pki_csr_key(const void *pem, size_t n, EVP_PKEY **public_key,
                   struct kt_error *error) KT_MUST_CHECK;
// SHA-256 of the SubjectPublicKeyInfo DER.
int kt_pki_key_sha256(EVP_PKEY *key, uint8_t out[KT_SHA256_LEN]) KT_MUST_CHECK;
// Organisation and common name of the subject, "" where there is none or it is longer.
#define KT_PKI_NAME_TEXT 97
void kt_pki_who(const X509 *cert, char organisation[KT_PKI_NAME_TEXT], char name[KT_PKI_NAME_TEXT]);
// Whether a certificate is a node's (that member's, unless it is NULL), or the
// operator's of that name. What the CA signs for the writer, a client's certificate,
// always has an organisation and is neither.
int kt_pki_is_node(const X509 *cert, const char *member);
int kt_pki_is_operator(const X509 *cert, const char *name);
// Signed by the CA, and in its validity at `now_us`. KT_ERR_CERTIFICATE_UNKNOWN_CA, _EXPIRED. A CA
// that was loaded as a set (kt_pki_ca_load) has several roots: any one of them will do.
int kt_pki_cert_check(X509 *cert, X509 *ca_cert, int64_t now_us) KT_MUST_CHECK;

// --- pki_ca.c: the CA's file ---
// The root that signs comes first. While the CA is being replaced the other root stands behind it,
// and links: certificates with one root's name and key, signed by the other (RFC 4210, 4.4). All
// further certificates of the file go along with the first, wherever that is handed.
#define KT_PKI_CA_CERTS_MAX 24
// Links of a set that tell of an end: the newest are kept, and room is left for roots. Certificates of
// the oldest have long been over.
#define KT_PKI_ENDS_MAX 12
// KT_ERR_INVALID: malformed, or none. KT_ERR_TOO_LARGE.
int kt_pki_ca_from_pem(const void *pem, size_t n, X509 **ca) KT_MUST_CHECK;
int kt_pki_ca_load(const char *path, X509 **ca, struct kt_error *error) KT_MUST_CHECK;
// A set of these, in this order; they stay the caller's.
int kt_pki_ca_make(X509 *const *list, size_t n, X509 **ca) KT_MUST_CHECK;
// The set's certificates; the one at 0 is `ca` itself. NULL behind the last.
size_t kt_pki_ca_count(const X509 *ca);
X509 *kt_pki_ca_at(X509 *ca, size_t i);
// 1 when its own key has signed it.
int kt_pki_is_root(X509 *cert);
// Appends the whole set to `buf`, as its file has it; or as a chain behind what a root has signed:
// links come first, so that a path is found to whichever root the reader trusts.
int kt_pki_ca_to_pem(X509 *ca, struct kt_buf *buf) KT_MUST_CHECK;
int kt_pki_chain_to_pem(X509 *ca, struct kt_buf *buf) KT_MUST_CHECK;
int kt_pki_ca_save(const char *path, X509 *ca, struct kt_error *error) KT_MUST_CHECK;
// Tells the text of one set from that of another: the first half of its SHA-256 in hex. It proves
// nothing: a set is believed by its links.
#define KT_PKI_CA_MARK_TEXT (KT_SHA256_LEN + 1)
int kt_pki_ca_mark(const void *pem, size_t n, char out[KT_PKI_CA_MARK_TEXT]) KT_MUST_CHECK;

// --- links: a root's name and key, signed by another root of the same cluster ---
enum kt_pki_link {
    // The root is newer. A CA itself: who trusts the older one only verifies what the newer signs.
    KT_PKI_LINK_FORTH,
    // The root is older, and trusted too. No CA: what that root signs is verified by the root alone,
    // so that it ends when that is taken away.
    KT_PKI_LINK_BACK,
    // The root is older, and nothing that it has signed counts any more. No CA, and valid for no
    // time, since it was made: notBefore and notAfter are the same.
    KT_PKI_LINK_END,
};
enum kt_pki_link kt_pki_link_kind(X509 *link);
// As long as the root that ends first. KT_ERR_INVALID: the names differ.
int kt_pki_make_link(enum kt_pki_link kind, EVP_PKEY *by_key, X509 *by, X509 *root,
                     X509 **link) KT_MUST_CHECK;
// Whether `link` is of that kind, for `root`, and signed by `by`: 0, or KT_ERR_SIGNATURE. Says
// nothing of times. `root` NULL: for whatever root but `by`, which KT_PKI_LINK_END tells of.
int kt_pki_link_check(enum kt_pki_link kind, X509 *link, X509 *by, X509 *root) KT_MUST_CHECK;
// 1 when a KT_PKI_LINK_END of the set is for this root's name and key.
int kt_pki_has_ended(X509 *ca, X509 *root);
// 1 when the set knows the CA of that name and key: it has a certificate of it, or a KT_PKI_LINK_FORTH
// that it has signed. Anybody can make up others.
int kt_pki_is_known(X509 *ca, X509 *root);
// 1 when a root that has ended, as the set says, has signed it. For what was believed before.
int kt_pki_is_of_ended(X509 *cert, X509 *ca);
// What to trust after an offer (pki_trust.c). The first of `known` is the newest root that is
// trusted. It and the newer ones that it leads to, link by link, vouch for others and say which have
// ended, but for themselves and those that are newer; a root that is older says nothing. The set
// has the roots, the newest first, and the links that tell of an end. `is_node`: the roots in the
// order of `offered`, whose first signs, and all links between them.
// KT_ERR_SIGNATURE: `offered` has a root that is neither trusted, vouched for nor ended, or the
// first of `known` has ended.
int kt_pki_ca_choose(X509 *known, X509 *offered, int is_node, X509 **set) KT_MUST_CHECK;

#endif
