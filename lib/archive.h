// SPDX-License-Identifier: Apache-2.0
// Tar archives (pax, as GNU tar reads them) as streams through libarchive: regular files and
// folders only. Memory does not grow with the archive.
#ifndef KT_ARCHIVE_H
#define KT_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/digest.h"
#include "lib/err.h"
#include "lib/paths.h"

#define KT_ARCHIVE_MEMBERS_MAX 100000

struct kt_archive_member {
    char path[KT_PATH_MAX]; // relative, without "." and "..", a folder's without its last slash
    int is_dir;
    uint64_t size;             // bytes of a file
    mode_t mode;               // permission bits
    int64_t mtime_us;          // written as whole seconds
    char owner[33], group[33]; // names; "" when not known
};

// --- writing ---
struct kt_archive_writer;
// Writes to `fd`, which stays the caller's. Blocks; EPIPE is an error and not a signal when SIGPIPE
// is ignored.
int kt_archive_writer_new(int fd, struct kt_archive_writer **writer,
                          struct kt_error *error) KT_MUST_CHECK;
// Drops what was not finished. NULL is fine.
void kt_archive_writer_free(struct kt_archive_writer *writer);
// Begins a member. A file's data follows in kt_archive_put, exactly `size` bytes.
int kt_archive_begin(struct kt_archive_writer *writer, const struct kt_archive_member *member,
                     struct kt_error *error) KT_MUST_CHECK;
// KT_ERR_TOO_LARGE: more than was announced; nothing of it is written.
int kt_archive_put(struct kt_archive_writer *writer, const void *bytes, size_t n,
                   struct kt_error *error) KT_MUST_CHECK;
// Ends a member; `sha256` (may be NULL) receives the hash of its data. KT_ERR_TRUNCATED: less than
// was announced (libarchive would fill it with zeros).
int kt_archive_end(struct kt_archive_writer *writer, uint8_t sha256[KT_SHA256_LEN],
                   struct kt_error *error) KT_MUST_CHECK;
// The end of the archive; all of it is in `fd` then. KT_ERR_TRUNCATED inside of a member.
int kt_archive_finish(struct kt_archive_writer *writer, struct kt_error *error) KT_MUST_CHECK;

// --- reading ---
struct kt_archive_reader;
int kt_archive_reader_new(int fd, struct kt_archive_reader **reader,
                          struct kt_error *error) KT_MUST_CHECK;
void kt_archive_reader_free(struct kt_archive_reader *reader);
// The next member; what was not read of the one before is skipped. 1: there is one; 0: the archive
// has ended, with its end marker and nothing but zeros behind it; negative: KT_ERR_INVALID for
// anything but files and folders (links, devices, sparse files), a path that is absolute, has "..",
// control characters or is too long, a size over 2^46, or more than KT_ARCHIVE_MEMBERS_MAX members;
// KT_ERR_TRUNCATED.
int kt_archive_next(struct kt_archive_reader *reader, struct kt_archive_member *member,
                    struct kt_error *error) KT_MUST_CHECK;
// Up to `size` bytes (not 0) of the member's data; *n 0 at its end, where `sha256` receives the hash
// of all its data. It is given in every call for a member, or NULL in every one.
int kt_archive_read(struct kt_archive_reader *reader, void *bytes, size_t size, size_t *n,
                    uint8_t sha256[KT_SHA256_LEN], struct kt_error *error) KT_MUST_CHECK;

// 0, or KT_ERR_INVALID: what kt_archive_next refuses of a path, and what is not UTF-8.
int kt_archive_path_check(const char *path) KT_MUST_CHECK;

#endif
