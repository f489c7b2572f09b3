// SPDX-License-Identifier: Apache-2.0
// A folder of its own for each test case, and small files in it. Include behind cmocka.h.
#ifndef KT_TEST_TEMP_DIR_H
#define KT_TEST_TEMP_DIR_H

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char temp_dir[256];

static inline int temp_remove_one(const char *path, const struct stat *st, int type,
                                  struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

// cmocka set-up and tear-down of a case.
static inline int temp_dir_setup(void **state)
{
    const char *above = getenv("TMPDIR");

    (void)state;
    snprintf(temp_dir, sizeof(temp_dir), "%s/kt-test-XXXXXX", above ? above : "/tmp");
    return mkdtemp(temp_dir) ? 0 : -1;
}

static inline int temp_dir_teardown(void **state)
{
    (void)state;
    return nftw(temp_dir, temp_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// The path of `name` in the folder; good until four more were asked for.
static inline const char *temp_path(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", temp_dir, name);
    return path;
}

// Writes a file of exactly that mode; gives its path.
static inline const char *temp_file(const char *name, const void *bytes, size_t n, mode_t mode)
{
    const char *path = temp_path(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static inline const char *temp_text(const char *name, const char *text)
{
    return temp_file(name, text, strlen(text), 0600);
}

#endif
