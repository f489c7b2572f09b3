// SPDX-License-Identifier: Apache-2.0
// Hex, base64, base32 and UUIDs; numbers and times as text, with bounds.
#ifndef KT_ENCODE_H
#define KT_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define KT_UUID_TEXT 37 // 36 characters and NUL
#define KT_TIME_TEXT 32 // "2026-11-22T06:11:43.123456Z" and NUL

struct kt_uuid {
    uint8_t bytes[16];
};

// Lower-case hex; `out` holds 2 * n + 1 bytes.
void kt_hex_encode(const void *bytes, size_t n, char *out);
// Exactly 2 * n hex digits of either case, then NUL; else KT_ERR_INVALID.
int kt_hex_decode(const char *text, uint8_t *out, size_t n) KT_MUST_CHECK;

// Standard base64 with padding (RFC 4648 section 4). `out` holds 4 * ((n + 2) / 3) + 1 bytes.
void kt_base64_encode(const void *bytes, size_t n, char *out);
// Strict: padding required, no white space, no bits left over. `*n` in: room, out: length.
int kt_base64_decode(const char *text, size_t len, uint8_t *out, size_t *n) KT_MUST_CHECK;

// RFC 4648 section 6 in lower case, without padding. `out` holds (8 * n + 4) / 5 + 1 bytes.
void kt_base32_encode(const void *bytes, size_t n, char *out);
// Exactly the text of n bytes (`len` characters); bits left over must be 0.
int kt_base32_decode(const char *text, size_t len, uint8_t *out, size_t n) KT_MUST_CHECK;

// Version 4, random.
int kt_uuid_random(struct kt_uuid *uuid) KT_MUST_CHECK;
// Lower case, 8-4-4-4-12.
void kt_uuid_format(const struct kt_uuid *uuid, char out[KT_UUID_TEXT]);
// Either case, exactly 36 characters then NUL.
int kt_uuid_parse(const char *text, struct kt_uuid *uuid) KT_MUST_CHECK;
int kt_uuid_is_nil(const struct kt_uuid *uuid);

// Decimal, no sign, no leading zero (except "0"), within [min, max].
int kt_u64_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out) KT_MUST_CHECK;

// Microseconds since 1970 as "YYYY-MM-DDTHH:MM:SS.ffffffZ", and back (exactly that form).
void kt_time_format(int64_t us, char out[KT_TIME_TEXT]);
int kt_time_parse(const char *text, int64_t *us) KT_MUST_CHECK;
// The clocks, in microseconds.
int64_t kt_time_now(void);
int64_t kt_monotonic_now(void);

// A handle: 1-255 bytes of [A-Za-z0-9._/@:+-]. KT_ERR_HANDLE_INVALID otherwise.
#define KT_HANDLE_MAX 255
int kt_handle_check(const char *handle) KT_MUST_CHECK;
// An organisation's or node's name: [a-z][a-z0-9-]{0,max-1}.
int kt_name_check(const char *name, size_t max) KT_MUST_CHECK;
#define KT_NODE_NAME_MAX 16
#define KT_ORG_NAME_MAX  63

#endif
