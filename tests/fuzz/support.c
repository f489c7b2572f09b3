// SPDX-License-Identifier: Apache-2.0
// Help for the fuzz targets; a failure here is the machine's and ends the process.
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[256];

void fuzz_must(int holds)
{
    if (!holds)
        abort();
}

void fuzz_same(const void *a, size_t a_len, const void *b, size_t b_len)
{
    fuzz_must(a_len == b_len);
    fuzz_must(a_len == 0 || memcmp(a, b, a_len) == 0);
}

unsigned fuzz_byte(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

static char *take(struct fuzz_input *input, size_t n)
{
    char *text = malloc(n + 1);

    fuzz_must(text != NULL);
    if (n > 0)
        memcpy(text, input->at, n);
    text[n] = '\0';
    input->at += n;
    input->left -= n;
    return text;
}

char *fuzz_line(struct fuzz_input *input)
{
    const uint8_t *end = input->left ? memchr(input->at, '\n', input->left) : NULL;
    char *text = take(input, end ? (size_t)(end - input->at) : input->left);

    (void)fuzz_byte(input);
    return text;
}

char *fuzz_rest(struct fuzz_input *input)
{
    return take(input, input->left);
}

// --- files ---

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_folder(void)
{
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
    const char *above = getenv("TMPDIR");

    if (folder[0])
        return folder;
    if (access("/dev/shm", W_OK) == 0) // the code under test syncs what it writes
        above = "/dev/shm";
    snprintf(folder, sizeof(folder), "%s/kt-fuzz-XXXXXX", above ? above : "/tmp");
    fuzz_must(mkdtemp(folder) != NULL);
    fuzz_must(atexit(remove_folder) == 0);
    return folder;
}

const char *fuzz_path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", fuzz_folder(), name);
    return path;
}

static void put(int fd, const void *bytes, size_t n)
{
    fuzz_must(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
}

const char *fuzz_file(const char *name, const void *bytes, size_t n)
{
    const char *path = fuzz_path(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    put(fd, bytes, n);
    close(fd);
    return path;
}

int fuzz_fd(const void *bytes, size_t n)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    put(fd, bytes, n);
    fuzz_must(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}
