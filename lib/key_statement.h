// SPDX-License-Identifier: Apache-2.0
// The statement by which a cluster's OpenPGP key names the one that follows it, and by which that one
// accepts: who trusts a key follows the line to the newest. docs/formats.md has the format.
#ifndef KT_KEY_STATEMENT_H
#define KT_KEY_STATEMENT_H

#include "lib/buf.h"
#include "lib/formats.h"
#include "lib/gpg.h"

struct kt_key_statement {
    struct kt_uuid cluster_id;
    uint32_t number;               // in the line of the cluster's keys, from 1
    uint8_t before[KT_SHA256_LEN]; // SHA-256 of the file of the one before; zeros: the first
    char key[KT_OPENPGP_FINGERPRINT_TEXT];  // counted until then; fingerprints in upper-case hex
    char next[KT_OPENPGP_FINGERPRINT_TEXT]; // counts from then on
    // What the older key may have said of restores ends here: the incarnation of then, and SHA-256 of
    // the file of its statement, zeros when it has none.
    struct kt_incarnation incarnation;
    uint8_t restored[KT_SHA256_LEN];
    int64_t time_us;
};

// The text, appended: "keytrustee-cluster-key 1" and a "name value" line each.
int kt_key_statement_format(const struct kt_key_statement *statement,
                            struct kt_buf *out) KT_MUST_CHECK;
int kt_key_statement_parse(const char *text, size_t n,
                           struct kt_key_statement *statement) KT_MUST_CHECK;

// As it is kept and sent: the text signed by the older key with that public key, then the same text
// signed by the next one with its public key (lib/signed_text.h).
#define KT_KEY_STATEMENT_MAX 32768
// `gpg` has both secret keys.
int kt_key_statement_sign(struct kt_gpg *gpg, const struct kt_key_statement *statement,
                          struct kt_buf *out, struct kt_error *error) KT_MUST_CHECK;
// What it says, with no signature checked: only to find the one to be checked.
int kt_key_statement_read(const void *bytes, size_t n,
                          struct kt_key_statement *statement) KT_MUST_CHECK;
// Checks both signatures, each by the key that the text names. KT_ERR_SIGNATURE, KT_ERR_PROTOCOL.
int kt_key_statement_verify(const void *bytes, size_t n, struct kt_key_statement *statement,
                            struct kt_error *error) KT_MUST_CHECK;

#endif
