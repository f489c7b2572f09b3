// SPDX-License-Identifier: Apache-2.0
// Reading, checking and locking files and folders; file_write.c replaces them durably.
#include "lib/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP 16384

static int open_to_read(const char *path, int *fd, struct kt_error *error)
{
    struct stat st;

    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (*fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no file '%s'", path);
    if (*fd < 0)
        return kt_error_errno(error, "cannot open '%s'", path);
    if (fstat(*fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        close(*fd);
        *fd = -1;
        return kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is a folder", path);
    }
    return 0;
}

// Room for the next read; at the bound one byte in `spare`, to see whether the file goes on.
static int next_room(struct kt_buf *buf, uint8_t *spare, uint8_t **where, size_t *room)
{
    size_t left = buf->max - kt_buf_left(buf);

    *room = left < READ_STEP ? left : READ_STEP;
    if (*room > 0)
        return kt_buf_reserve(buf, *room, where);
    *where = spare;
    *room = 1;
    return 0;
}

int kt_file_read(const char *path, struct kt_buf *buf, struct kt_error *error)
{
    uint8_t spare, *where;
    size_t room;
    int fd, rc;

    rc = open_to_read(path, &fd, error);
    if (rc)
        return rc;
    for (;;) {
        rc = next_room(buf, &spare, &where, &room);
        if (rc) {
            kt_error_set(error, rc, NULL, "no memory to read '%s'", path);
            break;
        }
        ssize_t n = read(fd, where, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = kt_error_errno(error, "cannot read '%s'", path);
        else if (n > 0 && where == &spare)
            rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "'%s' is larger than %zu bytes", path,
                              buf->max);
        if (rc || n == 0)
            break;
        kt_buf_commit(buf, (size_t)n);
    }
    close(fd);
    return rc;
}

int kt_file_read_text(const char *path, size_t max, char **text, struct kt_error *error)
{
    struct kt_buf buf = KT_BUF_INIT(max);
    char *copy = NULL;
    int rc = kt_file_read(path, &buf, error);

    if (rc)
        goto out;
    if (buf.len > 0 && memchr(buf.data, 0, buf.len)) {
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is not text: it has a NUL byte", path);
        goto out;
    }
    copy = malloc(buf.len + 1);
    if (!copy) {
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "no memory to read '%s'", path);
        goto out;
    }
    if (buf.len > 0)
        memcpy(copy, buf.data, buf.len);
    copy[buf.len] = '\0';
    *text = copy;
out:
    kt_buf_free(&buf);
    return rc;
}

int kt_file_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

int kt_file_check_private(const char *path, int secret, struct kt_error *error)
{
    mode_t forbidden = secret ? 077 : 022;
    struct stat st;

    if (stat(path, &st) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no file '%s'", path);
        return kt_error_errno(error, "cannot look at '%s'", path);
    }
    if ((st.st_mode & forbidden) == 0)
        return 0;
    return kt_error_set(error, KT_ERR_PERMISSION,
                        secret ? "make it private: chmod go= FILE"
                               : "take the right to write from others: chmod go-w FILE",
                        "'%s' can be %s by others (mode %04o)", path,
                        secret ? "read or changed" : "changed", (unsigned)(st.st_mode & 07777));
}

int kt_dir_make(const char *path, mode_t mode, struct kt_error *error)
{
    struct stat st;

    if (mkdir(path, mode) == 0) {
        // the umask may have taken bits away
        return chmod(path, mode) == 0 ? 0
                                      : kt_error_errno(error, "cannot set the mode of '%s'", path);
    }
    if (errno != EEXIST)
        return kt_error_errno(error, "cannot make the folder '%s'", path);
    if (stat(path, &st) != 0)
        return kt_error_errno(error, "cannot look at '%s'", path);
    if (!S_ISDIR(st.st_mode))
        return kt_error_set(error, KT_ERR_NOT_OURS, NULL, "'%s' is not a folder", path);
    if (st.st_uid != geteuid())
        return kt_error_set(error, KT_ERR_NOT_OURS, "give it to the account that runs this: chown",
                            "the folder '%s' belongs to somebody else (uid %u)", path,
                            (unsigned)st.st_uid);
    if (st.st_mode & 022)
        return kt_error_set(error, KT_ERR_NOT_OURS,
                            "take the right to write from others: chmod go-w FOLDER",
                            "others may write into the folder '%s' (mode %04o)", path,
                            (unsigned)(st.st_mode & 07777));
    return 0;
}

int kt_dir_is_empty(const char *path, struct kt_error *error)
{
    struct dirent *entry;
    int empty = 1;
    DIR *dir = opendir(path);

    if (!dir)
        return errno == ENOENT ? 1 : kt_error_errno(error, "cannot open the folder '%s'", path);
    errno = 0;
    while (empty && (entry = readdir(dir)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (empty && errno)
        empty = kt_error_errno(error, "cannot read the folder '%s'", path);
    closedir(dir);
    return empty;
}

int kt_file_lock(const char *path, int *fd, struct kt_error *error)
{
    for (;;) {
        struct stat held, named;
        int got = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
        if (got < 0)
            return kt_error_errno(error, "cannot open the lock file '%s'", path);
        if (flock(got, LOCK_EX | LOCK_NB) != 0) {
            int rc = errno == EWOULDBLOCK ? kt_error_set(error, KT_ERR_BUSY, NULL,
                                                         "'%s' is locked by another process", path)
                                          : kt_error_errno(error, "cannot lock '%s'", path);
            close(got);
            return rc;
        }
        // Somebody may have removed the file between our open and our lock: a lock on a file
        // without a name keeps nobody out.
        if (fstat(got, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
            held.st_dev == named.st_dev) {
            *fd = got;
            return 0;
        }
        close(got);
    }
}

int kt_path_join(char *out, size_t size, const char *dir, const char *name)
{
    size_t len = strlen(dir);
    const char *slash = len > 0 && dir[len - 1] == '/' ? "" : "/";
    int n = snprintf(out, size, "%s%s%s", dir, slash, name);

    return n < 0 || (size_t)n >= size ? KT_ERR_TOO_LARGE : 0;
}
