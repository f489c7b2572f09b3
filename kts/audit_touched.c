// SPDX-License-Identifier: Apache-2.0
// Whether somebody else touched the audit file or its folder, and whether its disk takes more.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "kts/audit_inner.h"
#include "lib/file.h"
#include "lib/log.h"

#define LEAST_FREE (64u << 10) // bytes; with less the disk counts as full

static int same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

int kts_audit_note_own(struct kts_audit_file *file)
{
    size_t n = file->size < KTS_AUDIT_TAIL ? (size_t)file->size : KTS_AUDIT_TAIL;
    struct stat st;

    if (fstat(file->fd, &st) ||
        pread(file->fd, file->tail, n, file->size - (int64_t)n) != (ssize_t)n)
        return KT_ERR_SYSTEM;
    file->tail_len = n;
    file->modified = st.st_mtim;
    file->changed = st.st_ctim;
    return 0;
}

// Through the folder's descriptor: the folder may have another name by now, and comes back with it.
static int write_marker(const struct kts_audit_file *file, const char *text)
{
    static const char FRESH[] = KTS_AUDIT_MARKER ".new";
    size_t n = strlen(text);
    int fd =
        openat(file->dir_fd, FRESH, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? KT_ERR_SYSTEM : kt_write_all(fd, text, n);

    if (rc == 0 && fsync(fd))
        rc = KT_ERR_SYSTEM;
    if (fd >= 0)
        close(fd);
    if (rc == 0 &&
        (renameat(file->dir_fd, FRESH, file->dir_fd, KTS_AUDIT_MARKER) || fsync(file->dir_fd)))
        rc = KT_ERR_SYSTEM;
    return rc;
}

static int mark_lost(struct kts_audit_file *file, const char *what, struct kt_error *error)
{
    char text[256], hex[KT_SHA256_TEXT], name[32];

    file->lost = 1;
    kt_hex_encode(file->head.hash, KT_SHA256_LEN, hex);
    kts_audit_file_name(file->number, name);
    snprintf(text, sizeof(text), "%s %" PRIu64 " %s %s\n", name, file->head.seq, hex, what);
    if (write_marker(file, text))
        kt_log(KT_LOG_ERROR, "the loss of '%s' cannot be marked: %s", file->path, strerror(errno));
    return kt_error_set(error, KT_ERR_AUDIT_UNAVAILABLE,
                        "find out who touched the audit folder, then restart kts",
                        "'%s' was %s by somebody else", file->path, what);
}

// Same file, same size, and somebody wrote to it, or changed its mode or its links. Only what it
// holds can tell: all of it is read again.
static int check_content(struct kts_audit_file *file, struct kt_error *error)
{
    struct kts_audit_check check = {.good = 0};
    int rc = kts_audit_check_file(file->path, NULL, &check, error);

    if (rc)
        return rc;
    if (check.problem[0] || check.good != file->size || check.head.seq != file->head.seq ||
        memcmp(check.head.hash, file->head.hash, KT_SHA256_LEN) != 0)
        return mark_lost(file, "changed", error);
    kt_log(KT_LOG_NOTICE, "'%s' was touched by somebody else, its records are as they were",
           file->path);
    return kts_audit_note_own(file) ? kt_error_errno(error, "cannot read '%s'", file->path) : 0;
}

static int check_tail(struct kts_audit_file *file, struct kt_error *error)
{
    uint8_t now[KTS_AUDIT_TAIL];
    ssize_t n = pread(file->fd, now, file->tail_len, file->size - (int64_t)file->tail_len);

    if (n < 0)
        return kt_error_errno(error, "cannot read '%s'", file->path);
    if ((size_t)n != file->tail_len || memcmp(now, file->tail, file->tail_len) != 0)
        return mark_lost(file, "changed", error);
    return 0;
}

// Before the write finds out: an idle node with a full disk says so.
static int check_room(const struct kts_audit_file *file, struct kt_error *error)
{
    struct statvfs disk;

    if (fstatvfs(file->fd, &disk))
        return kt_error_errno(error, "cannot look at the disk of '%s'", file->path);
    if (disk.f_flag & ST_RDONLY)
        return kt_error_set(error, KT_ERR_AUDIT_UNAVAILABLE,
                            "look for errors of the disk in the kernel's log, and mount it again",
                            "the disk of '%s' is read-only", file->path);
    if ((uint64_t)disk.f_bavail * disk.f_frsize < LEAST_FREE)
        return kt_error_set(error, KT_ERR_AUDIT_UNAVAILABLE, "make room on that disk",
                            "the disk of '%s' is full", file->path);
    return 0;
}

int kts_audit_check_untouched(struct kts_audit_file *file, struct kt_error *error)
{
    struct stat ours, named;
    int rc;

    if (file->lost)
        return kt_error_set(error, KT_ERR_AUDIT_UNAVAILABLE,
                            "find out who touched the audit folder, then restart kts",
                            "'%s' was lost", file->path);
    if (fstat(file->fd, &ours))
        return kt_error_errno(error, "cannot look at '%s'", file->path);
    if (stat(file->path, &named)) {
        if (errno != ENOENT && errno != ENOTDIR) // a disk that fails is nobody's hand
            return kt_error_errno(error, "cannot look at '%s'", file->path);
        return mark_lost(file, ours.st_nlink == 0 ? "removed" : "moved", error);
    }
    if (named.st_ino != ours.st_ino || named.st_dev != ours.st_dev)
        return mark_lost(file, "replaced", error);
    if (ours.st_size < file->size || (ours.st_size > file->size && !file->dirty))
        return mark_lost(file, ours.st_size < file->size ? "cut" : "extended", error);
    rc = check_tail(file, error);
    if (rc == 0 && !file->dirty &&
        !(same_time(&ours.st_mtim, &file->modified) && same_time(&ours.st_ctim, &file->changed)))
        rc = check_content(file, error);
    return rc ? rc : check_room(file, error);
}

int kts_audit_file_look(struct kts_audit_file *file, struct kt_error *error)
{
    return kts_audit_check_untouched(file, error) ? KT_ERR_AUDIT_UNAVAILABLE : 0;
}
