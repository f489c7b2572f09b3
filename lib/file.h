// SPDX-License-Identifier: Apache-2.0
// Files and folders: bounded reads, durable replacement, ownership checks, locks.
#ifndef KT_FILE_H
#define KT_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/err.h"

// Appends the whole file to `buf` (bounded by its max). KT_ERR_NOT_FOUND, KT_ERR_TOO_LARGE.
int kt_file_read(const char *path, struct kt_buf *buf, struct kt_error *error) KT_MUST_CHECK;
// Reads as text: NUL-terminated, no NUL inside; the caller frees (kt_wipe first if secret).
int kt_file_read_text(const char *path, size_t max, char **text,
                      struct kt_error *error) KT_MUST_CHECK;
// Temp file in the same folder, mode, fsync, rename, fsync of the folder.
int kt_file_replace(const char *path, const void *bytes, size_t n, mode_t mode,
                    struct kt_error *error) KT_MUST_CHECK;
// As kt_file_replace but KT_ERR_EXISTS if the file is there (link(2), no race).
int kt_file_create(const char *path, const void *bytes, size_t n, mode_t mode,
                   struct kt_error *error) KT_MUST_CHECK;
int kt_dir_sync(const char *path, struct kt_error *error) KT_MUST_CHECK;
// Makes the folder (parents must exist) with `mode`; when it exists already it must be a folder of
// this user that others cannot write (KT_ERR_NOT_OURS).
int kt_dir_make(const char *path, mode_t mode, struct kt_error *error) KT_MUST_CHECK;
// 1 empty or missing, 0 not empty, negative on error.
int kt_dir_is_empty(const char *path, struct kt_error *error) KT_MUST_CHECK;
int kt_file_exists(const char *path);
// KT_ERR_PERMISSION when somebody but the owner can read (secret = 1) or write it.
int kt_file_check_private(const char *path, int secret, struct kt_error *error) KT_MUST_CHECK;
// Takes an exclusive lock on `path` (made when missing), held until the descriptor is closed.
// KT_ERR_BUSY when somebody has it.
int kt_file_lock(const char *path, int *fd, struct kt_error *error) KT_MUST_CHECK;
// Overwrites a file with a secret (at most 64 KiB, as larger ones are none) and removes its name; none
// there is fine. What has another name still is not overwritten: it may be in use under that.
int kt_file_erase(const char *path, struct kt_error *error) KT_MUST_CHECK;
// Writes all of it, retrying on EINTR and short writes.
int kt_write_all(int fd, const void *bytes, size_t n) KT_MUST_CHECK;
// snprintf into a path buffer that must fit.
int kt_path_join(char *out, size_t size, const char *dir, const char *name) KT_MUST_CHECK;

#endif
