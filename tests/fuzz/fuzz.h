// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share: a promise that must hold, pieces of the input, files to read from.
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A promise of the code under test: ends the process when `holds` is 0, which is a finding.
void fuzz_must(int holds);
// The same bytes.
void fuzz_same(const void *a, size_t a_len, const void *b, size_t b_len);

// What is left of the input.
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};
// 0 at the end.
unsigned fuzz_byte(struct fuzz_input *input);
// A line without its newline, NUL-terminated, freed by the caller: an allocation of just the size,
// so that a step behind it is seen.
char *fuzz_line(struct fuzz_input *input);
// The rest, NUL-terminated. The caller frees.
char *fuzz_rest(struct fuzz_input *input);

// A folder of this process' own, in memory where that is possible; removed when it exits.
const char *fuzz_folder(void);
// Writes a file of mode 0600 in it and gives the path, good until the fourth call from now.
const char *fuzz_file(const char *name, const void *bytes, size_t n);
const char *fuzz_path(const char *name);
// The bytes as an open file without a name, at its beginning; the caller closes.
int fuzz_fd(const void *bytes, size_t n);

#endif
