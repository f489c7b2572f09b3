// SPDX-License-Identifier: Apache-2.0
// The statement by which a cluster's OpenPGP key says that a restored cluster is the right one: a
// new incarnation. docs/formats.md has the format.
#ifndef KT_STATEMENT_H
#define KT_STATEMENT_H

#include "lib/buf.h"
#include "lib/formats.h"
#include "lib/openpgp.h"

struct kt_statement {
    struct kt_uuid cluster_id;
    struct kt_incarnation incarnation; // that begins
    uint64_t epoch;                    // with this one
    struct kt_incarnation previous;    // of the backup that was restored
    uint64_t previous_epoch;
    uint64_t log_index;            // the last one of that backup: what came after it is lost
    uint8_t root[KT_SHA256_LEN];   // of the Merkle log over the deposits up to it: what survived
    uint32_t number;               // of the statements in this line of history, from 1
    uint8_t before[KT_SHA256_LEN]; // SHA-256 of the file of the one before; zeros: the first
    int64_t time_us;
};

// The text, appended: "keytrustee-incarnation 1" and a "name value" line each.
int kt_statement_format(const struct kt_statement *statement, struct kt_buf *out) KT_MUST_CHECK;
int kt_statement_parse(const char *text, size_t n, struct kt_statement *statement) KT_MUST_CHECK;

// As it is kept and sent: the text signed by the cluster's key (lib/gpg_stream.h), then that public
// key, armored. `home` is the confdir with the secret key.
#define KT_STATEMENT_MAX 32768
int kt_statement_sign(const char *home, const char *fingerprint,
                      const struct kt_statement *statement, struct kt_buf *out,
                      struct kt_error *error) KT_MUST_CHECK;
// Checks the signature by the key that comes with it, which must have this fingerprint.
// KT_ERR_SIGNATURE, KT_ERR_PROTOCOL.
int kt_statement_verify(const char *fingerprint, const void *bytes, size_t n,
                        struct kt_statement *statement, struct kt_error *error) KT_MUST_CHECK;
// The same by whatever key comes with it, for one whose file is known by its hash already: `signer`
// receives the fingerprint.
int kt_statement_verify_any(const void *bytes, size_t n, char signer[KT_OPENPGP_FINGERPRINT_TEXT],
                            struct kt_statement *statement, struct kt_error *error) KT_MUST_CHECK;

#endif
