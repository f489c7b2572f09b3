// SPDX-License-Identifier: Apache-2.0
// SHA-256, the random generator and Ed25519, as thin checked calls on OpenSSL.
#ifndef KT_DIGEST_H
#define KT_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define KT_SHA256_LEN      32
#define KT_SHA256_TEXT     65 // hex and NUL
#define KT_ED25519_SIG_LEN 64
#define KT_ED25519_PUB_LEN 32
#define KT_KEY_ID_LEN      8 // first bytes of SHA-256 of the raw Ed25519 public key

struct evp_pkey_st; // EVP_PKEY

int kt_sha256(const void *bytes, size_t n, uint8_t out[KT_SHA256_LEN]) KT_MUST_CHECK;
int kt_random(void *bytes, size_t n) KT_MUST_CHECK;

// `key` holds an Ed25519 private key.
int kt_ed25519_sign(struct evp_pkey_st *key, const void *msg, size_t n,
                    uint8_t sig[KT_ED25519_SIG_LEN]) KT_MUST_CHECK;
// KT_ERR_SIGNATURE when it does not verify.
int kt_ed25519_verify(const uint8_t pub[KT_ED25519_PUB_LEN], const void *msg, size_t n,
                      const uint8_t sig[KT_ED25519_SIG_LEN]) KT_MUST_CHECK;
int kt_ed25519_public(struct evp_pkey_st *key, uint8_t pub[KT_ED25519_PUB_LEN]) KT_MUST_CHECK;
int kt_ed25519_key_id(const uint8_t pub[KT_ED25519_PUB_LEN],
                      uint8_t id[KT_KEY_ID_LEN]) KT_MUST_CHECK;

#endif
