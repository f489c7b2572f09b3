// SPDX-License-Identifier: Apache-2.0
// Line reader of the text formats, shared by formats_*.c only: "name value" lines in fixed order.
#ifndef KT_FORMATS_TEXT_H
#define KT_FORMATS_TEXT_H

#include "lib/formats.h"

// Unread text. Readers move on only when they succeed; all errors are KT_ERR_INVALID. They need
// not be strict about spelling: each parser formats its result again and compares the bytes.
struct kt_text {
    const char *at;
    size_t left;
};

#define KT_TEXT_VALUE 128 // longest value and NUL

// Exactly these characters.
int kt_text_literal(struct kt_text *text, const char *literal) KT_MUST_CHECK;
// A line "name value\n"; the value without NUL inside.
int kt_text_line(struct kt_text *text, const char *name, char value[KT_TEXT_VALUE]) KT_MUST_CHECK;
int kt_text_u64(struct kt_text *text, const char *name, uint64_t min, uint64_t max,
                uint64_t *value) KT_MUST_CHECK;
int kt_text_u32(struct kt_text *text, const char *name, uint32_t min,
                uint32_t *value) KT_MUST_CHECK;
int kt_text_hex(struct kt_text *text, const char *name, uint8_t *value, size_t n) KT_MUST_CHECK;
int kt_text_uuid(struct kt_text *text, const char *name, struct kt_uuid *value) KT_MUST_CHECK;
int kt_text_incarnation(struct kt_text *text, const char *name,
                        struct kt_incarnation *value) KT_MUST_CHECK;
// The two lines "key" and "signature" at the end of what a receipt key has signed.
#define KT_TEXT_SIGNATURE 160 // both lines and NUL
int kt_text_signature(struct kt_text *text, uint8_t key_id[KT_KEY_ID_LEN],
                      uint8_t signature[KT_ED25519_SIG_LEN]) KT_MUST_CHECK;
void kt_text_format_signature(const uint8_t key_id[KT_KEY_ID_LEN],
                              const uint8_t signature[KT_ED25519_SIG_LEN],
                              char out[KT_TEXT_SIGNATURE]);
// Signs a text, and verifies it by the key that `key_id` names: KT_ERR_SIGNATURE.
int kt_text_sign(const char *text, struct evp_pkey_st *key, uint8_t key_id[KT_KEY_ID_LEN],
                 uint8_t signature[KT_ED25519_SIG_LEN]) KT_MUST_CHECK;
int kt_text_verify(const char *text, const uint8_t pub[KT_ED25519_PUB_LEN],
                   const uint8_t key_id[KT_KEY_ID_LEN],
                   const uint8_t signature[KT_ED25519_SIG_LEN]) KT_MUST_CHECK;
// Cuts `*part` of `len` characters ended by `separator` (or by the end when it is 0) off a text of
// one line, as auth codes and tokens are made of.
int kt_text_part(struct kt_text *text, size_t len, char separator, const char **part) KT_MUST_CHECK;

#endif
