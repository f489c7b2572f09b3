// SPDX-License-Identifier: Apache-2.0
// Fuzz target: tar archives. What is read is written again, and read again as the same.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/archive.h"
#include "lib/buf.h"
#include "tests/fuzz/fuzz.h"

#define TOTAL_MAX (1u << 20)

struct seen {
    struct kt_buf bytes; // member by member: the struct, then its data
    int rc;              // how it ended
};

static void read_data(struct kt_archive_reader *reader, const struct kt_archive_member *member,
                      struct seen *seen)
{
    uint8_t piece[777], sha256[KT_SHA256_LEN], expected[KT_SHA256_LEN];
    size_t n = 1, start = seen->bytes.len;
    struct kt_error error = {0};

    while (seen->rc == 1 && n > 0) {
        int rc = kt_archive_read(reader, piece, sizeof(piece), &n, sha256, &error);
        if (rc == 0)
            rc = kt_buf_put(&seen->bytes, piece, n);
        if (rc != 0)
            seen->rc = rc;
    }
    if (seen->rc != 1)
        return;
    fuzz_must(seen->bytes.len - start == member->size);
    fuzz_must(kt_sha256(seen->bytes.data + start, member->size, expected) == 0);
    fuzz_same(sha256, sizeof(sha256), expected, sizeof(expected));
}

static void check_member(const struct kt_archive_member *member)
{
    fuzz_must(kt_archive_path_check(member->path) == 0 && !(member->is_dir && member->size > 0));
    fuzz_must((member->mode & ~(mode_t)07777) == 0);
    fuzz_must(strlen(member->owner) < sizeof(member->owner));
}

// Reads all of it; a copy goes to `writer` unless that is NULL.
static void read_all(int fd, struct kt_archive_writer **writer, struct seen *seen)
{
    struct kt_archive_reader *reader = NULL;
    struct kt_archive_member member;
    struct kt_error error = {0};

    fuzz_must(kt_archive_reader_new(fd, &reader, &error) == 0);
    seen->rc = 1;
    while (seen->rc == 1) {
        int rc = kt_archive_next(reader, &member, &error);
        if (rc != 1) {
            seen->rc = rc;
            break;
        }
        check_member(&member);
        member.mtime_us -= member.mtime_us % 1000000; // whole seconds are written
        if (kt_buf_put(&seen->bytes, &member, sizeof(member)) != 0) {
            seen->rc = KT_ERR_TOO_LARGE;
            break;
        }
        size_t start = seen->bytes.len;
        read_data(reader, &member, seen);
        if (seen->rc == 1 && writer != NULL) {
            rc = kt_archive_begin(*writer, &member, &error);
            if (rc == 0 && member.size > 0)
                rc = kt_archive_put(*writer, seen->bytes.data + start, member.size, &error);
            if (rc == 0)
                rc = kt_archive_end(*writer, NULL, &error);
            if (rc != 0) { // not every name that tar can hold is one that we write
                kt_archive_writer_free(*writer);
                *writer = NULL;
                writer = NULL;
            }
        }
    }
    kt_archive_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen first = {.bytes = KT_BUF_INIT(TOTAL_MAX)},
                again = {.bytes = KT_BUF_INIT(TOTAL_MAX)};
    struct kt_archive_writer *writer = NULL;
    struct kt_error error = {0};
    int in = fuzz_fd(data, size), out = fuzz_fd("", 0);

    fuzz_must(kt_archive_writer_new(out, &writer, &error) == 0);
    read_all(in, &writer, &first);
    if (first.rc == 0 && writer != NULL) {
        fuzz_must(kt_archive_finish(writer, &error) == 0);
        fuzz_must(lseek(out, 0, SEEK_SET) == 0);
        read_all(out, NULL, &again);
        fuzz_must(again.rc == 0);
        fuzz_same(first.bytes.data, first.bytes.len, again.bytes.data, again.bytes.len);
    }
    kt_archive_writer_free(writer);
    kt_buf_free(&first.bytes);
    kt_buf_free(&again.bytes);
    close(in);
    close(out);
    return 0;
}
