// SPDX-License-Identifier: Apache-2.0
// Archives that are read: damaged ones, those of others, and what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/lib/archive_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
