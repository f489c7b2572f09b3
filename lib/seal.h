// SPDX-License-Identifier: Apache-2.0
// Sealing to a public key: what passes through processes that must not read it. HPKE (RFC 9180) in
// its base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM; one message for each seal.
// Who has sealed is not proved by it.
#ifndef KT_SEAL_H
#define KT_SEAL_H

#include <openssl/evp.h>

#include "lib/buf.h"
#include "lib/secret.h"

// The purpose of what a newcomer is handed; about: the file's path in the confdir. The CA's certificate,
// which is no secret and is looked at first, and empty files are not sealed.
#define KT_SEAL_NEWCOMER "keytrustee newcomer"
int kt_seal_is_for_newcomer(const char *path, size_t len);

#define KT_SEAL_EXTRA 81 // bytes more than the text: the ephemeral key and the tag

// `to` is on P-256: KT_ERR_INVALID. `purpose` says what it is for, `about` for whom it is or what it
// is about; both are text that must be the same at opening, and are not sealed. Appends text_len +
// KT_SEAL_EXTRA bytes.
int kt_seal(EVP_PKEY *to, const char *purpose, const char *about, const void *text, size_t text_len,
            struct kt_buf *sealed) KT_MUST_CHECK;
// KT_ERR_SIGNATURE when it was not sealed to that key with these words, or was changed. The secret
// is the caller's.
int kt_unseal(EVP_PKEY *key, const char *purpose, const char *about, const void *sealed,
              size_t sealed_len, struct kt_secret **text) KT_MUST_CHECK;

#endif
