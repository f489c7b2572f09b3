// SPDX-License-Identifier: Apache-2.0
// Secret bytes: locked memory that is left out of cores and wiped when freed.
#ifndef KT_SECRET_H
#define KT_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

struct kt_secret;

// A zeroed secret of `len` bytes (1 .. 1 MiB). One byte behind the end is always 0, so that text
// secrets can be passed on as C strings. Locking beyond RLIMIT_MEMLOCK is not an error.
int kt_secret_new(size_t len, struct kt_secret **secret) KT_MUST_CHECK;
int kt_secret_from_bytes(const void *bytes, size_t len, struct kt_secret **secret) KT_MUST_CHECK;
// `len` bytes of the system's random generator.
int kt_secret_random(size_t len, struct kt_secret **secret) KT_MUST_CHECK;
// `bytes` random bytes as lower-case hex text (2 * bytes characters).
int kt_secret_random_hex(size_t bytes, struct kt_secret **secret) KT_MUST_CHECK;
// Reads a file (or "-" = stdin) of at most `max` bytes; one trailing newline is dropped when
// `as_text`. A file that others can read is refused with KT_ERR_PERMISSION (stdin is not checked).
int kt_secret_from_file(const char *path, size_t max, int as_text, struct kt_secret **secret,
                        struct kt_error *error) KT_MUST_CHECK;
// Asks on /dev/tty without echo; KT_ERR_USAGE when there is no terminal.
int kt_secret_prompt(const char *prompt, struct kt_secret **secret,
                     struct kt_error *error) KT_MUST_CHECK;
uint8_t *kt_secret_data(struct kt_secret *secret);
const char *kt_secret_text(const struct kt_secret *secret);
size_t kt_secret_len(const struct kt_secret *secret);
// Shortens to `len` (<= the present length), wiping the rest.
void kt_secret_truncate(struct kt_secret *secret, size_t len);
// Wipes and frees. NULL is fine.
void kt_secret_free(struct kt_secret *secret);

// Wipes memory in a way the compiler keeps.
void kt_wipe(void *p, size_t n);
// 1 when equal; time depends on n only.
int kt_equal_secret(const void *a, const void *b, size_t n);

#endif
