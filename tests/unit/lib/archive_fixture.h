// SPDX-License-Identifier: Apache-2.0
// Archives in memory: made, read to the end. Include behind cmocka.h.
#ifndef KT_TEST_ARCHIVE_FIXTURE_H
#define KT_TEST_ARCHIVE_FIXTURE_H

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/archive.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/proc.h"
#include "tests/unit/lib/temp_dir.h"

#define FOLDER "var/lib/keytrustee/.keytrustee"

static inline void must(int rc, const struct kt_error *error)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error->message);
}

// --- archives in memory ---

static inline int memory_file(const void *bytes, size_t n)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(kt_write_all(fd, bytes, n), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static inline struct kt_archive_member member(const char *path, uint64_t size)
{
    struct kt_archive_member made = {.size = size,
                                     .mode = 0640,
                                     .mtime_us = INT64_C(1763791903000000),
                                     .owner = "keytrustee",
                                     .group = "keytrustee"};

    snprintf(made.path, sizeof made.path, "%s", path);
    return made;
}

static inline void add_file(struct kt_archive_writer *writer, const char *path, const void *bytes,
                            size_t n)
{
    struct kt_archive_member file = member(path, n);
    struct kt_error error = {0};
    uint8_t hash[KT_SHA256_LEN], expected[KT_SHA256_LEN];

    must(kt_archive_begin(writer, &file, &error), &error);
    must(kt_archive_put(writer, bytes, n, &error), &error);
    must(kt_archive_end(writer, hash, &error), &error);
    assert_int_equal(kt_sha256(bytes, n, expected), 0);
    assert_memory_equal(hash, expected, sizeof hash);
}

static inline void add_folder(struct kt_archive_writer *writer, const char *path)
{
    struct kt_archive_member folder = member(path, 0);
    struct kt_error error = {0};

    folder.is_dir = 1;
    folder.mode = 0750;
    must(kt_archive_begin(writer, &folder, &error), &error);
    must(kt_archive_end(writer, NULL, &error), &error);
}

// Reads all of an archive: the code, and how many members were fine.
static inline int read_all(int fd, size_t *members, struct kt_error *error)
{
    struct kt_archive_reader *reader = NULL;
    struct kt_archive_member got;
    uint8_t bytes[700], hash[KT_SHA256_LEN];
    int rc;

    *members = 0;
    must(kt_archive_reader_new(fd, &reader, error), error);
    while ((rc = kt_archive_next(reader, &got, error)) == 1) {
        size_t n = 1;
        uint64_t sum = 0;
        while (n > 0 && (rc = kt_archive_read(reader, bytes, sizeof bytes, &n, hash, error)) == 0)
            sum += n;
        if (rc != 0)
            break;
        assert_int_equal(sum, got.size);
        ++*members;
    }
    if (rc < 0) { // it stays so
        assert_int_equal(kt_archive_next(reader, &got, NULL), rc);
    }
    kt_archive_reader_free(reader);
    return rc;
}

static inline int read_bytes(const void *bytes, size_t n, size_t *members, struct kt_error *error)
{
    int fd = memory_file(bytes, n), rc;

    rc = read_all(fd, members, error);
    close(fd);
    return rc;
}

// What a small archive of two files and a folder looks like; the caller frees.
static inline uint8_t *small_archive(size_t *n)
{
    struct kt_archive_writer *writer = NULL;
    struct kt_error error = {0};
    char name[600];
    int fd = memory_file("", 0);
    uint8_t *bytes;

    must(kt_archive_writer_new(fd, &writer, &error), &error);
    add_folder(writer, FOLDER);
    add_file(writer, FOLDER "/keytrustee.conf", "port = 11371\n", 13);
    memset(name, 'n', sizeof name); // too long for a plain header
    name[150] = name[300] = '/';
    name[450] = '\0';
    add_file(writer, name, name, 599);
    must(kt_archive_finish(writer, &error), &error);
    kt_archive_writer_free(writer);
    *n = (size_t)lseek(fd, 0, SEEK_END);
    bytes = malloc(*n);
    assert_int_equal(pread(fd, bytes, *n, 0), *n);
    close(fd);
    return bytes;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

#endif
