// SPDX-License-Identifier: Apache-2.0
// A bounded walk over OpenPGP packet headers (RFC 4880, RFC 9580): no decryption, no signatures.
#ifndef KT_OPENPGP_H
#define KT_OPENPGP_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define KT_OPENPGP_FINGERPRINT_LEN  20 // version 4 keys
#define KT_OPENPGP_FINGERPRINT_TEXT 41
#define KT_OPENPGP_RECIPIENTS_MAX   64

struct kt_openpgp_message {
    size_t recipients;                           // session-key packets to a public key
    uint64_t key_ids[KT_OPENPGP_RECIPIENTS_MAX]; // their key ids
    size_t passphrases;                          // session-key packets to a passphrase
};

// Checks that `bytes` is exactly one encrypted OpenPGP message in form: one or more session-key
// packets, at least one of them to a public key, then one integrity-protected data packet (tag 18,
// or tag 20 of GnuPG 2.3) that ends with the input; marker packets are skipped.
// KT_ERR_NOT_CIPHERTEXT with what was found (plain text, armor, signed only, no integrity
// protection, truncated, bytes behind the end, hidden recipient) in `error`, or KT_ERR_TOO_LARGE.
int kt_openpgp_check_message(const void *bytes, size_t n, struct kt_openpgp_message *message,
                             struct kt_error *error) KT_MUST_CHECK;

struct kt_openpgp_key {
    uint8_t fingerprint[KT_OPENPGP_FINGERPRINT_LEN];
    size_t key_id_count; // of the primary key and the subkeys
    uint64_t key_ids[16];
    // Those of them that messages can be encrypted to: by algorithm, and by the flags of their
    // signatures where those say. A part with a revocation is none. Signatures are not verified.
    size_t encryption_count;
    uint64_t encryption_ids[16];
};

// Checks that `bytes` is one binary transferable public key (version 4: primary key, user ids,
// subkeys, signatures; no secret key packets: KT_ERR_OPENPGP_KEY_INVALID says so) and computes the
// fingerprint (RFC 4880 section 12.2) and key ids.
int kt_openpgp_read_key(const void *bytes, size_t n, struct kt_openpgp_key *key,
                        struct kt_error *error) KT_MUST_CHECK;

#endif
