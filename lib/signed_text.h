// SPDX-License-Identifier: Apache-2.0
// A text signed by an OpenPGP key, with that public key behind it: who knows the key's fingerprint
// needs nothing else to check it.
#ifndef KT_SIGNED_TEXT_H
#define KT_SIGNED_TEXT_H

#include "lib/gpg_stream.h"

// Appends the text as kt_gpg_sign_text makes it, then the public key, armored.
int kt_signed_text_make(struct kt_gpg *gpg, const char *signer, const char *text,
                        struct kt_buf *out, struct kt_error *error) KT_MUST_CHECK;
// Checks the signature by the key that comes with it, whoever's that is: `signer` receives its
// fingerprint (upper-case hex). Appends the text inside. KT_ERR_SIGNATURE, KT_ERR_PROTOCOL.
int kt_signed_text_check(const void *bytes, size_t n, char signer[KT_OPENPGP_FINGERPRINT_TEXT],
                         struct kt_buf *text, struct kt_error *error) KT_MUST_CHECK;

#endif
