// SPDX-License-Identifier: Apache-2.0
// Durable replacement of files: a temporary file, fsync, rename or link, fsync of the folder.
#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

int kt_write_all(int fd, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;

    while (n > 0) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno == ENOSPC || errno == EDQUOT ? KT_ERR_STORAGE_FULL : KT_ERR_SYSTEM;
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

int kt_dir_sync(const char *path, struct kt_error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0)
        return kt_error_errno(error, "cannot open the folder '%s'", path);
    if (fsync(fd) != 0)
        rc = kt_error_errno(error, "cannot make the folder '%s' durable", path);
    close(fd);
    return rc;
}

// The folder of `path`, and a name in it that nobody uses.
static int choose_names(const char *path, char dir[PATH_MAX], char temp[PATH_MAX],
                        struct kt_error *error)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t len = slash ? (size_t)(slash - path) : 0;
    uint32_t random;
    int n;

    if (*name == '\0' || len >= PATH_MAX)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "'%s' is not the path of a file", path);
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return kt_error_errno(error, "no random bytes");
    if (!slash)
        memcpy(dir, ".", 2);
    else if (len == 0)
        memcpy(dir, "/", 2);
    else
        snprintf(dir, PATH_MAX, "%.*s", (int)len, path);
    n = snprintf(temp, PATH_MAX, "%s/.%s.%08x.tmp", dir, name, (unsigned)random);
    if (n < 0 || n >= PATH_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the path '%s' is too long", path);
    return 0;
}

// Makes `temp` with the content on disk; nothing stays behind when that fails.
static int write_temp(const char *path, const char *temp, const void *bytes, size_t n, mode_t mode,
                      struct kt_error *error)
{
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int rc = 0;

    if (fd < 0)
        return kt_error_errno(error, "cannot write '%s'", path);
    // Not only open's mode: the umask must not decide who can read it.
    if (fchmod(fd, mode) != 0 || kt_write_all(fd, bytes, n) != 0 || fsync(fd) != 0)
        rc = kt_error_errno(error, "cannot write '%s'", path);
    if (close(fd) != 0 && rc == 0) // network file systems report late
        rc = kt_error_errno(error, "cannot write '%s'", path);
    if (rc)
        unlink(temp);
    return rc;
}

int kt_file_replace(const char *path, const void *bytes, size_t n, mode_t mode,
                    struct kt_error *error)
{
    char dir[PATH_MAX], temp[PATH_MAX];
    int rc = choose_names(path, dir, temp, error);

    if (rc == 0)
        rc = write_temp(path, temp, bytes, n, mode, error);
    if (rc)
        return rc;
    if (rename(temp, path) != 0) {
        rc = kt_error_errno(error, "cannot replace '%s'", path);
        unlink(temp);
        return rc;
    }
    return kt_dir_sync(dir, error);
}

int kt_file_create(const char *path, const void *bytes, size_t n, mode_t mode,
                   struct kt_error *error)
{
    char dir[PATH_MAX], temp[PATH_MAX];
    int rc = choose_names(path, dir, temp, error);

    if (rc == 0)
        rc = write_temp(path, temp, bytes, n, mode, error);
    if (rc)
        return rc;
    if (link(temp, path) != 0)
        rc = errno == EEXIST ? kt_error_set(error, KT_ERR_EXISTS, NULL, "'%s' exists already", path)
                             : kt_error_errno(error, "cannot make '%s'", path);
    unlink(temp);
    return rc ? rc : kt_dir_sync(dir, error);
}
