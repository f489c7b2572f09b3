// SPDX-License-Identifier: Apache-2.0
// Removes files with secrets, so that their blocks do not keep them.
#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MAX 65536

int kt_file_erase(const char *path, struct kt_error *error)
{
    static const char zeros[SECRET_MAX];
    struct stat st;
    int rc = 0, fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? 0 : kt_error_errno(error, "cannot overwrite '%s'", path);
    if (fstat(fd, &st) != 0)
        rc = kt_error_errno(error, "cannot look at '%s'", path);
    else if (st.st_nlink == 1 && st.st_size <= (off_t)sizeof(zeros) &&
             (kt_write_all(fd, zeros, (size_t)st.st_size) != 0 || fsync(fd) != 0))
        rc = kt_error_errno(error, "cannot overwrite '%s'", path);
    close(fd);
    if (rc == 0 && unlink(path) != 0)
        rc = kt_error_errno(error, "cannot remove '%s'", path);
    return rc;
}
