// SPDX-License-Identifier: Apache-2.0
// Preloaded into a server: a disk that fails as the file named by KT_DISK_FAULT says, "eio" (what is
// written cannot be synced) or "readonly". Without the file it is a good disk.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int is_fault(const char *wanted)
{
    const char *path = getenv("KT_DISK_FAULT");
    char text[16] = "";
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return 0;
    if (read(fd, text, sizeof(text) - 1) < 0)
        text[0] = '\0';
    close(fd);
    return strncmp(text, wanted, strlen(wanted)) == 0;
}

int fdatasync(int fd)
{
    int (*real)(int);

    *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    if (is_fault("eio")) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fstatvfs(int fd, struct statvfs *out)
{
    int (*real)(int, struct statvfs *);
    int rc;

    *(void **)&real = dlsym(RTLD_NEXT, "fstatvfs");
    rc = real(fd, out);
    if (rc == 0 && is_fault("readonly"))
        out->f_flag |= ST_RDONLY;
    return rc;
}
