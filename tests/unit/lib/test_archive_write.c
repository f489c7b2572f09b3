// SPDX-License-Identifier: Apache-2.0
// Archives that are written: read back by us and by stock tar; the writer's errors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/lib/archive_fixture.h"

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
    };

    setlocale(LC_ALL, "C"); // names must not depend on it
    return cmocka_run_group_tests(tests, NULL, NULL);
}
