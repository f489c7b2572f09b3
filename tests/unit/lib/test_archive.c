// SPDX-License-Identifier: Apache-2.0
// Archives: what is written comes back, stock tar reads it, and bad input is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

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

static void must(int rc, const struct kt_error *error)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error->message);
}

// --- archives in memory ---

static int memory_file(const void *bytes, size_t n)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(kt_write_all(fd, bytes, n), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static struct kt_archive_member member(const char *path, uint64_t size)
{
    struct kt_archive_member made = {.size = size,
                                     .mode = 0640,
                                     .mtime_us = INT64_C(1763791903000000),
                                     .owner = "keytrustee",
                                     .group = "keytrustee"};

    snprintf(made.path, sizeof made.path, "%s", path);
    return made;
}

static void add_file(struct kt_archive_writer *writer, const char *path, const void *bytes,
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

static void add_folder(struct kt_archive_writer *writer, const char *path)
{
    struct kt_archive_member folder = member(path, 0);
    struct kt_error error = {0};

    folder.is_dir = 1;
    folder.mode = 0750;
    must(kt_archive_begin(writer, &folder, &error), &error);
    must(kt_archive_end(writer, NULL, &error), &error);
}

// Reads all of an archive: the code, and how many members were fine.
static int read_all(int fd, size_t *members, struct kt_error *error)
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

static int read_bytes(const void *bytes, size_t n, size_t *members, struct kt_error *error)
{
    int fd = memory_file(bytes, n), rc;

    rc = read_all(fd, members, error);
    close(fd);
    return rc;
}

// What a small archive of two files and a folder looks like; the caller frees.
static uint8_t *small_archive(size_t *n)
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

// --- the way there and back ---

static void what_was_written_comes_back(void **state)
{
    static const char *const NAMES[] = {"a", "etc/with space and 'quotes' \"too\"",
                                        "etc/\xc3\xbcml\xc3\xa4ut/\xe2\x82\xac",
                                        "etc/\xf0\x9f\x94\x91.key"};
    struct kt_archive_writer *writer = NULL;
    struct kt_archive_reader *reader = NULL;
    struct kt_archive_member got;
    struct kt_error error = {0};
    uint8_t hash[KT_SHA256_LEN], expected[KT_SHA256_LEN];
    char bytes[100];
    size_t n = 0;
    int fd = memory_file("", 0);

    (void)state;
    must(kt_archive_writer_new(fd, &writer, &error), &error);
    add_folder(writer, FOLDER);
    for (size_t i = 0; i < 4; i++)
        add_file(writer, NAMES[i], NAMES[i], strlen(NAMES[i]));
    add_file(writer, "empty", "", 0);
    must(kt_archive_finish(writer, &error), &error);
    assert_int_equal(kt_archive_finish(writer, &error), KT_ERR_INVALID);
    kt_archive_writer_free(writer);
    assert_int_equal(lseek(fd, 0, SEEK_END) % 10240, 0);
    lseek(fd, 0, SEEK_SET);

    must(kt_archive_reader_new(fd, &reader, &error), &error);
    assert_int_equal(kt_archive_next(reader, &got, &error), 1);
    assert_true(got.is_dir);
    assert_string_equal(got.path, FOLDER);
    assert_int_equal(got.mode, 0750);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(kt_archive_next(reader, &got, &error), 1);
        assert_string_equal(got.path, NAMES[i]);
        assert_int_equal(got.size, strlen(NAMES[i]));
        assert_int_equal(got.mode, 0640);
        assert_true(got.mtime_us == INT64_C(1763791903000000));
        assert_string_equal(got.owner, "keytrustee");
        assert_string_equal(got.group, "keytrustee");
        must(kt_archive_read(reader, bytes, sizeof bytes, &n, hash, &error), &error);
        assert_int_equal(n, strlen(NAMES[i]));
        assert_memory_equal(bytes, NAMES[i], n);
        must(kt_archive_read(reader, bytes, sizeof bytes, &n, hash, &error), &error);
        assert_int_equal(n, 0);
        assert_int_equal(kt_sha256(NAMES[i], strlen(NAMES[i]), expected), 0);
        assert_memory_equal(hash, expected, sizeof hash);
    }
    assert_int_equal(kt_archive_next(reader, &got, &error), 1);
    assert_string_equal(got.path, "empty");
    assert_int_equal(kt_archive_next(reader, &got, &error), 0);
    assert_int_equal(kt_archive_next(reader, &got, &error), 0);
    kt_archive_reader_free(reader);
    close(fd);
}

static void members_that_are_not_read_are_skipped(void **state)
{
    size_t n, members = 0;
    uint8_t *bytes = small_archive(&n);
    struct kt_archive_reader *reader = NULL;
    struct kt_archive_member got;
    struct kt_error error = {0};
    int fd = memory_file(bytes, n), rc;
    char one;

    (void)state;
    must(kt_archive_reader_new(fd, &reader, &error), &error);
    while ((rc = kt_archive_next(reader, &got, &error)) == 1) {
        if (got.size > 0) { // some of it
            size_t part = 0;
            must(kt_archive_read(reader, &one, 1, &part, NULL, &error), &error);
        }
        members++;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(members, 3);
    assert_int_equal(kt_archive_read(reader, &one, 1, &n, NULL, &error), KT_ERR_INVALID);
    kt_archive_reader_free(reader);
    close(fd);
    free(bytes);
}

static void stock_tar_reads_it_without_a_word(void **state)
{
    static const char NAME[] = "etc/\xc3\xbcml\xc3\xa4ut and space";
    struct kt_archive_writer *writer = NULL;
    struct kt_error error = {0};
    struct kt_buf out = KT_BUF_INIT(4096), err = KT_BUF_INIT(4096);
    int fd = open(temp_path("a.tar"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const char *argv[] = {"tar", "-tf", temp_path("a.tar"), "--quoting-style=literal", NULL};
    struct kt_proc proc = {.argv = argv, .output = &out, .errors = &err, .timeout_ms = 20000};

    (void)state;
    must(kt_archive_writer_new(fd, &writer, &error), &error);
    add_folder(writer, "etc");
    add_file(writer, NAME, "text", 4);
    must(kt_archive_finish(writer, &error), &error);
    kt_archive_writer_free(writer);
    close(fd);
    must(kt_proc_run(&proc, NULL, &error), &error);
    assert_int_equal(kt_buf_left(&err), 0);
    assert_int_equal(kt_buf_left(&out), 5 + strlen(NAME) + 1);
    assert_memory_equal(kt_buf_ptr(&out) + 5, NAME, strlen(NAME));
    kt_buf_free(&out);
    kt_buf_free(&err);
}

static void an_archive_without_members_is_one(void **state)
{
    struct kt_archive_writer *writer = NULL;
    struct kt_error error = {0};
    size_t members = 0;
    int fd = memory_file("", 0);

    (void)state;
    must(kt_archive_writer_new(fd, &writer, &error), &error);
    must(kt_archive_finish(writer, &error), &error);
    kt_archive_writer_free(writer);
    lseek(fd, 0, SEEK_SET);
    must(read_all(fd, &members, &error), &error);
    assert_int_equal(members, 0);
    close(fd);
}

static void a_file_over_eight_gibibytes_has_its_size(void **state)
{
    struct kt_archive_writer *writer = NULL;
    struct kt_archive_reader *reader = NULL;
    struct kt_archive_member file = member("large.bin", UINT64_C(20) << 30), got;
    struct kt_error error = {0};
    int fd = memory_file("", 0);

    (void)state;
    must(kt_archive_writer_new(fd, &writer, &error), &error);
    must(kt_archive_begin(writer, &file, &error), &error);
    for (int i = 0; i < 3; i++) { // so that the header is written
        char *zeros = calloc(1, 1 << 20);
        must(kt_archive_put(writer, zeros, 1 << 20, &error), &error);
        free(zeros);
    }
    kt_archive_writer_free(writer);
    lseek(fd, 0, SEEK_SET);
    must(kt_archive_reader_new(fd, &reader, &error), &error);
    assert_int_equal(kt_archive_next(reader, &got, &error), 1);
    assert_true(got.size == UINT64_C(20) << 30);
    assert_int_equal(kt_archive_next(reader, &got, &error), KT_ERR_TRUNCATED);
    kt_archive_reader_free(reader);
    close(fd);
}

// --- the writer's errors ---

static void a_member_is_exactly_as_long_as_announced(void **state)
{
    struct kt_archive_writer *writer = NULL;
    struct kt_archive_member file = member("file", 10);
    struct kt_error error = {0};
    int fd = memory_file("", 0);

    (void)state;
    must(kt_archive_writer_new(fd, &writer, &error), &error);
    assert_int_equal(kt_archive_put(writer, "x", 1, &error), KT_ERR_INVALID);
    assert_int_equal(kt_archive_end(writer, NULL, &error), KT_ERR_INVALID);
    must(kt_archive_begin(writer, &file, &error), &error);
    must(kt_archive_put(writer, "123456789", 9, &error), &error);
    assert_int_equal(kt_archive_put(writer, "01", 2, &error), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_archive_end(writer, NULL, &error), KT_ERR_TOO_LARGE); // it is lost
    assert_int_equal(kt_archive_finish(writer, &error), KT_ERR_TOO_LARGE);
    kt_archive_writer_free(writer);

    must(kt_archive_writer_new(fd, &writer, &error), &error);
    must(kt_archive_begin(writer, &file, &error), &error);
    must(kt_archive_put(writer, "123456789", 9, &error), &error);
    assert_int_equal(kt_archive_end(writer, NULL, &error), KT_ERR_TRUNCATED);
    kt_archive_writer_free(writer);

    must(kt_archive_writer_new(fd, &writer, &error), &error);
    must(kt_archive_begin(writer, &file, &error), &error);
    assert_int_equal(kt_archive_finish(writer, &error), KT_ERR_TRUNCATED);
    kt_archive_writer_free(writer);

    must(kt_archive_writer_new(fd, &writer, &error), &error);
    must(kt_archive_begin(writer, &file, &error), &error);
    assert_int_equal(kt_archive_begin(writer, &file, &error), KT_ERR_INVALID);
    kt_archive_writer_free(writer);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0); // all of it was dropped
    close(fd);
}

static void what_the_reader_would_refuse_is_not_written(void **state)
{
    static const char *const PATHS[] = {"/etc/passwd", "../x", "", "a/", "a\nb"};
    struct kt_error error = {0};
    struct kt_archive_member file = member("file", (UINT64_C(1) << 46) + 1);
    struct kt_archive_writer *writer = NULL;
    int fd = memory_file("", 0);

    (void)state;
    for (size_t i = 0; i < sizeof PATHS / sizeof PATHS[0]; i++) {
        struct kt_archive_member bad = member(PATHS[i], 0);
        must(kt_archive_writer_new(fd, &writer, &error), &error);
        assert_int_equal(kt_archive_begin(writer, &bad, &error), KT_ERR_INVALID);
        kt_archive_writer_free(writer);
    }
    must(kt_archive_writer_new(fd, &writer, &error), &error);
    assert_int_equal(kt_archive_begin(writer, &file, &error), KT_ERR_TOO_LARGE);
    kt_archive_writer_free(writer);
    close(fd);
}

static void a_writer_that_is_dropped_leaves_no_whole_archive(void **state)
{
    struct kt_archive_writer *writer = NULL;
    struct kt_error error = {0};
    size_t members = 0;
    int fd = memory_file("", 0);

    (void)state;
    must(kt_archive_writer_new(fd, &writer, &error), &error);
    add_file(writer, "file", "text", 4);
    kt_archive_writer_free(writer);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(read_all(fd, &members, &error), KT_ERR_TRUNCATED);
    close(fd);
    kt_archive_writer_free(NULL);
    kt_archive_reader_free(NULL);
}

static int fill_until_refused(int fd, struct kt_error *error)
{
    struct kt_archive_writer *writer = NULL;
    struct kt_archive_member file = member("file", 1 << 30);
    char *zeros = calloc(1, 1 << 20);
    int rc;

    must(kt_archive_writer_new(fd, &writer, error), error);
    rc = kt_archive_begin(writer, &file, error);
    for (int i = 0; rc == 0 && i < 16; i++)
        rc = kt_archive_put(writer, zeros, 1 << 20, error);
    assert_int_equal(kt_archive_finish(writer, NULL), rc);
    kt_archive_writer_free(writer);
    free(zeros);
    return rc;
}

static void errors_of_the_descriptor_are_errors(void **state)
{
    struct kt_error error = {0};
    size_t members = 0;
    int ends[2], full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(full >= 0);
    assert_int_equal(fill_until_refused(full, &error), KT_ERR_STORAGE_FULL);
    close(full);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(fill_until_refused(ends[1], &error), KT_ERR_SYSTEM);
    signal(SIGPIPE, SIG_DFL);
    close(ends[1]);
    assert_int_equal(read_all(ends[1], &members, &error), KT_ERR_SYSTEM);
}

// --- bad archives ---

static void every_truncation_is_refused(void **state)
{
    size_t n, members = 0, content;
    uint8_t *bytes = small_archive(&n);
    struct kt_error error = {0};

    (void)state;
    for (content = n; bytes[content - 1] == 0; content--)
        ;
    content = (content + 511) / 512 * 512; // then the end marker
    for (size_t len = 0; len < n; len += len % 512 == 511 ? 1 : 511) {
        int rc = read_bytes(bytes, len, &members, &error);
        if (len >= content + 1024 && len % 512 == 0)
            assert_int_equal(rc, 0); // only padding is missing
        else if (rc != KT_ERR_TRUNCATED)
            fail_msg("%zu of %zu bytes: %d %s", len, n, rc, error.message);
    }
    free(bytes);
}

static void bytes_behind_the_end_are_refused(void **state)
{
    size_t n, members = 0;
    uint8_t *bytes = small_archive(&n), *longer = calloc(1, n + 4 * 1048576);
    struct kt_error error = {0};

    (void)state;
    memcpy(longer, bytes, n);
    must(read_bytes(longer, n + 4 * 1048576, &members, &error), &error); // zeros
    assert_int_equal(members, 3);
    longer[n - 1] = 1;
    assert_int_equal(read_bytes(longer, n, &members, &error), KT_ERR_INVALID);
    longer[n - 1] = 0;
    longer[n + 3 * 1048576] = 1;
    assert_int_equal(read_bytes(longer, n + 4 * 1048576, &members, &error), KT_ERR_INVALID);
    memcpy(longer + n, bytes, n); // a second archive
    assert_int_equal(read_bytes(longer, 2 * n, &members, &error), KT_ERR_INVALID);
    free(longer);
    free(bytes);
}

static void a_flipped_bit_never_gives_another_member(void **state)
{
    size_t n, members = 0, refused = 0;
    uint8_t *bytes = small_archive(&n);
    struct kt_archive_member first, got;
    struct kt_error error = {0};

    (void)state;
    for (size_t bit = 0; bit < 512 * 8; bit++) { // the folder's header
        struct kt_archive_reader *reader = NULL;
        int fd, rc;
        if (bit > 0)
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        fd = memory_file(bytes, n);
        must(kt_archive_reader_new(fd, &reader, &error), &error);
        memset(&got, 0, sizeof got);
        rc = kt_archive_next(reader, &got, &error);
        if (bit == 0)
            first = got;
        else if (rc == 1)
            assert_memory_equal(&got, &first, sizeof got);
        else
            refused += rc == KT_ERR_INVALID || rc == KT_ERR_TRUNCATED;
        kt_archive_reader_free(reader);
        close(fd);
        if (bit > 0)
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(refused > 4000);
    for (size_t bit = 512 * 8; bit < 512 * 8 * 8; bit += 7) { // must not do anything worse
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        (void)read_bytes(bytes, n, &members, &error);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(bytes);
}

// Makes an archive of one member with Python, whose fields `code` sets.
static int python_archive(const char *code)
{
    char script[2048];
    const char *argv[] = {"python3", "-c", script, temp_path("bad.tar"), NULL};
    struct kt_proc proc = {.argv = argv, .timeout_ms = 60000};
    struct kt_error error = {0};
    int fd;

    snprintf(script, sizeof script,
             "import io, sys, tarfile\n"
             "t = tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT)\n"
             "m = tarfile.TarInfo('file')\n"
             "d = b''\n"
             "%s\n"
             "if d: m.size = len(d)\n"
             "t.addfile(m, io.BytesIO(d))\n"
             "t.close()\n",
             code);
    must(kt_proc_run(&proc, NULL, &error), &error);
    fd = open(temp_path("bad.tar"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void members_of_other_kinds_are_refused(void **state)
{
    static const struct {
        const char *code, *words;
    } CASES[] = {
        {"m.name = '/etc/passwd'", "path"},
        {"m.name = '../up'", "path"},
        {"m.name = 'a/../../up'", "path"},
        {"m.name = './a'", "path"},
        {"m.name = 'a\\nb'", "path"},
        {"m.name = 'a\\x1b[2Jb'", "path"},
        {"m.name = 'a' * 1024", "path"},
        {"m.name = '/'; m.type = tarfile.DIRTYPE", "path"},
        {"m.type = tarfile.SYMTYPE; m.linkname = '/etc/passwd'", "link"},
        {"m.type = tarfile.LNKTYPE; m.linkname = '/etc/passwd'", "link"},
        {"m.type = tarfile.CHRTYPE", "neither a file"},
        {"m.type = tarfile.BLKTYPE", "neither a file"},
        {"m.type = tarfile.FIFOTYPE", "neither a file"},
        {"d = b'0' * 512\n"
         "m.pax_headers = {'GNU.sparse.major': '0', 'GNU.sparse.minor': '1',\n"
         "  'GNU.sparse.name': 'file', 'GNU.sparse.size': '1048576',\n"
         "  'GNU.sparse.numblocks': '1', 'GNU.sparse.map': '1024,512'}",
         "sparse"},
        {"d = b'0' * 512\nm.pax_headers = {'size': str(2 ** 47)}", "size"},
    };
    struct kt_error error = {0};
    size_t members = 0;

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        int fd = python_archive(CASES[i].code);
        int rc = read_all(fd, &members, &error);
        if (rc != KT_ERR_INVALID || members != 0 || !strstr(error.message, CASES[i].words))
            fail_msg("%s: %d, %zu members, %s", CASES[i].code, rc, members, error.message);
        close(fd);
    }
}

static void archives_of_others_are_read_too(void **state)
{
    struct kt_error error = {0};
    size_t members = 0;
    int fd = python_archive("d = b'text'\n"
                            "t.addfile(m)\n"
                            "t.addfile(m)"); // the same path three times: the caller's to judge

    (void)state;
    must(read_all(fd, &members, &error), &error);
    assert_int_equal(members, 3);
    close(fd);
    assert_int_equal(read_bytes("plain text that is no archive at all", 36, &members, &error),
                     KT_ERR_TRUNCATED);
    char *noise = malloc(20480);
    memset(noise, 'x', 20480);
    assert_int_equal(read_bytes(noise, 20480, &members, &error), KT_ERR_INVALID);
    free(noise);
}

static void members_are_counted(void **state)
{
    struct kt_archive_writer *writer = NULL;
    struct kt_error error = {0};
    size_t members = 0;
    int fd = memory_file("", 0), copy;
    uint8_t *bytes, *many;
    const size_t n = KT_ARCHIVE_MEMBERS_MAX + 1;

    (void)state;
    must(kt_archive_writer_new(fd, &writer, &error), &error);
    add_file(writer, "a", "", 0);
    must(kt_archive_finish(writer, &error), &error);
    kt_archive_writer_free(writer);
    bytes = malloc(512);
    assert_int_equal(pread(fd, bytes, 512, 0), 512);
    many = calloc(n + 2, 512);
    for (size_t i = 0; i < n; i++)
        memcpy(many + i * 512, bytes, 512);
    copy = memory_file(many, (n + 2) * 512);
    assert_int_equal(read_all(copy, &members, &error), KT_ERR_INVALID);
    assert_int_equal(members, KT_ARCHIVE_MEMBERS_MAX);
    close(copy);
    close(fd);
    free(many);
    free(bytes);
}

static void paths_are_plain_relative_and_utf8(void **state)
{
    static const char *const GOOD[] = {
        "a",  "a/b c",    "...", "a/..b", "\xc3\xa4", ".keytrustee/x", "\xf0\x9f\x94\x91",
        "-x", "e\xcc\x81"};
    static const char *const BAD[] = {"",
                                      "/",
                                      "/a",
                                      "a/",
                                      "a//b",
                                      ".",
                                      "..",
                                      "a/.",
                                      "a/..",
                                      "./a",
                                      "../a",
                                      "a/../b",
                                      "a\nb",
                                      "a\tb",
                                      "\x7f",
                                      "\xc2\x85",
                                      "\x80",
                                      "\xc3",
                                      "\xc0\xaf",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xff",
                                      "a\xe2\x82"};
    char longest[KT_PATH_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++)
        assert_int_equal(kt_archive_path_check(GOOD[i]), 0);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        assert_int_equal(kt_archive_path_check(BAD[i]), KT_ERR_INVALID);
    memset(longest, 'a', sizeof longest);
    longest[KT_PATH_MAX] = '\0';
    assert_int_equal(kt_archive_path_check(longest), KT_ERR_INVALID);
    longest[KT_PATH_MAX - 1] = '\0';
    assert_int_equal(kt_archive_path_check(longest), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_was_written_comes_back),
        CASE(members_that_are_not_read_are_skipped),
        CASE(stock_tar_reads_it_without_a_word),
        CASE(an_archive_without_members_is_one),
        CASE(a_file_over_eight_gibibytes_has_its_size),
        CASE(a_member_is_exactly_as_long_as_announced),
        CASE(what_the_reader_would_refuse_is_not_written),
        CASE(a_writer_that_is_dropped_leaves_no_whole_archive),
        CASE(errors_of_the_descriptor_are_errors),
        CASE(every_truncation_is_refused),
        CASE(bytes_behind_the_end_are_refused),
        CASE(a_flipped_bit_never_gives_another_member),
        CASE(members_of_other_kinds_are_refused),
        CASE(archives_of_others_are_read_too),
        CASE(members_are_counted),
        CASE(paths_are_plain_relative_and_utf8),
    };

    setlocale(LC_ALL, "C"); // names must not depend on it
    return cmocka_run_group_tests(tests, NULL, NULL);
}
