// SPDX-License-Identifier: Apache-2.0
// Fuzz target: three readers of OpenPGP messages - in memory, in a file, as a stream in pieces of any
// size - say the same of the same bytes. The first two bytes choose the pieces.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/openpgp_file.h"
#include "tests/fuzz/fuzz.h"

static int read_stream(const uint8_t *bytes, size_t n, size_t first, size_t step,
                       struct kt_openpgp_message *message)
{
    struct kt_openpgp_stream *stream = NULL;
    struct kt_error error = {0};
    size_t at = 0, piece = first;
    int rc = 0;

    fuzz_must(kt_openpgp_stream_new(&stream) == 0);
    while (rc == 0 && at < n) {
        if (piece > n - at)
            piece = n - at;
        rc = kt_openpgp_stream_put(stream, bytes + at, piece, &error);
        at += piece;
        piece = step;
    }
    if (rc == 0 && !kt_openpgp_stream_is_whole(stream))
        fuzz_must(kt_openpgp_stream_end(stream, &error) != 0);
    if (rc == 0)
        rc = kt_openpgp_stream_end(stream, &error);
    fuzz_must(rc == 0 || error.message[0] != '\0');
    *message = *kt_openpgp_stream_message(stream);
    kt_openpgp_stream_free(stream);
    return rc;
}

static void same_message(const struct kt_openpgp_message *a, const struct kt_openpgp_message *b)
{
    fuzz_must(a->recipients == b->recipients && a->passphrases == b->passphrases);
    fuzz_must(memcmp(a->key_ids, b->key_ids, a->recipients * sizeof(a->key_ids[0])) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    size_t first = fuzz_byte(&input), step = 1 + fuzz_byte(&input) % 64;
    struct kt_openpgp_message whole = {0}, file = {0}, stream = {0};
    struct kt_error error = {0};
    int fd = fuzz_fd(input.at, input.left);
    int whole_rc = kt_openpgp_check_message(input.at, input.left, &whole, &error);
    int file_rc = kt_openpgp_check_file(fd, &file, &error);
    int stream_rc = read_stream(input.at, input.left, first, step, &stream);

    close(fd);
    fuzz_must((whole_rc == 0) == (file_rc == 0) && (whole_rc == 0) == (stream_rc == 0));
    if (whole_rc == 0) {
        same_message(&whole, &file);
        same_message(&whole, &stream);
    }
    return 0;
}
