// SPDX-License-Identifier: Apache-2.0
// The form of messages in files and streams: the same answer as for the message in memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/file.h"
#include "lib/openpgp_file.h"

#define MESSAGE_MAX (1 << 20)

// --- made-up messages ---

// A session key to an RSA key of 1024 bits.
static void put_pkesk(struct kt_buf *out, uint64_t key_id)
{
    static const uint8_t MPI[128] = {0x80};

    assert_int_equal(kt_buf_put(out, "\xc1\x8c\x03", 3), 0); // tag 1, 140 bytes, version 3
    assert_int_equal(kt_buf_put_u64(out, key_id), 0);
    assert_int_equal(kt_buf_put_u8(out, 1), 0);
    assert_int_equal(kt_buf_put_u16(out, 1024), 0);
    assert_int_equal(kt_buf_put(out, MPI, sizeof MPI), 0);
}

// Bytes of a data packet's body; the first one is its version.
static void put_zeros(struct kt_buf *out, size_t n, int is_first)
{
    uint8_t *at;

    assert_int_equal(kt_buf_reserve(out, n, &at), 0);
    memset(at, 0, n);
    if (is_first && n > 0)
        at[0] = 1;
    kt_buf_commit(out, n);
}

static void put_data(struct kt_buf *out, size_t n)
{
    assert_int_equal(kt_buf_put(out, "\xd2\xff", 2), 0);
    assert_int_equal(kt_buf_put_u32(out, (uint32_t)n), 0);
    put_zeros(out, n, 1);
}

static void put_data_in_parts(struct kt_buf *out, unsigned power, size_t parts, size_t last)
{
    assert_int_equal(kt_buf_put_u8(out, 0xd2), 0);
    for (size_t i = 0; i < parts; i++) {
        assert_int_equal(kt_buf_put_u8(out, (uint8_t)(224 + power)), 0);
        put_zeros(out, (size_t)1 << power, i == 0);
    }
    if (last < 192) {
        assert_int_equal(kt_buf_put_u8(out, (uint8_t)last), 0);
    } else {
        assert_int_equal(kt_buf_put_u8(out, 255), 0);
        assert_int_equal(kt_buf_put_u32(out, (uint32_t)last), 0);
    }
    put_zeros(out, last, 0);
}

// --- both ways to look at bytes ---

static int memory_file(const void *bytes, size_t n)
{
    int fd = memfd_create("message", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(kt_write_all(fd, bytes, n), 0);
    return fd; // its offset is at the end
}

static int check_stream(const uint8_t *bytes, size_t n, size_t step, struct kt_error *error)
{
    struct kt_openpgp_stream *stream = NULL;
    int rc = 0;

    assert_int_equal(kt_openpgp_stream_new(&stream), 0);
    for (size_t at = 0; rc == 0 && at < n; at += step)
        rc = kt_openpgp_stream_put(stream, bytes + at, n - at < step ? n - at : step, error);
    if (rc == 0) {
        int whole = kt_openpgp_stream_is_whole(stream);
        rc = kt_openpgp_stream_end(stream, error);
        assert_int_equal(whole, rc == 0);
    }
    kt_openpgp_stream_free(stream);
    return rc;
}

// As kt_openpgp_check_message has it, in the code and the recipients.
static int same_everywhere(const uint8_t *bytes, size_t n)
{
    static struct kt_openpgp_message memory, file;
    struct kt_error error = {0}, expected = {0};
    int fd = memory_file(bytes, n);
    int rc = kt_openpgp_check_message(bytes, n, &memory, &expected);
    int got = kt_openpgp_check_file(fd, &file, &error);

    close(fd);
    if (got != rc)
        fail_msg("%zu bytes: %d (%s), but %d (%s) in memory", n, got, error.message, rc,
                 expected.message);
    if (rc == 0)
        assert_memory_equal(&memory, &file, sizeof file);
    assert_int_equal(check_stream(bytes, n, 65536, &error), rc);
    assert_int_equal(check_stream(bytes, n, n < 5000 ? 1 : 1000, &error), rc);
    return rc;
}

static void messages_of_all_shapes_are_accepted(void **state)
{
    static const size_t LENGTHS[] = {33, 191, 192, 511, 512, 513, 300000};

    (void)state;
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);
        put_pkesk(&out, 0x1122334455667788);
        put_pkesk(&out, 2);
        assert_int_equal(kt_buf_put(&out, "\xca\x03PGP", 5), 0); // a marker
        put_data(&out, LENGTHS[i]);
        assert_int_equal(same_everywhere(out.data, out.len), 0);
        kt_buf_free(&out);
        for (unsigned power = 9; power < 17; power += 7) {
            put_pkesk(&out, 1);
            put_data_in_parts(&out, power, 3, LENGTHS[i]);
            assert_int_equal(same_everywhere(out.data, out.len), 0);
            kt_buf_free(&out);
        }
        put_pkesk(&out, 1);
        put_data_in_parts(&out, 9, 2, 0); // the last part is empty
        assert_int_equal(same_everywhere(out.data, out.len), 0);
        kt_buf_free(&out);
    }
}

static void every_truncation_and_a_byte_more_is_refused(void **state)
{
    struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);

    (void)state;
    put_pkesk(&out, 1);
    put_data_in_parts(&out, 9, 3, 40);
    for (size_t n = 0; n < out.len; n++)
        assert_int_equal(same_everywhere(out.data, n), KT_ERR_NOT_CIPHERTEXT);
    for (size_t more = 1; more < 10; more++) {
        put_zeros(&out, 1, 0);
        assert_int_equal(same_everywhere(out.data, out.len), KT_ERR_NOT_CIPHERTEXT);
    }
    kt_buf_free(&out);
    put_pkesk(&out, 1);
    put_data(&out, 300000); // larger than what is read at once
    for (size_t n = out.len - 300; n < out.len; n += 13)
        assert_int_equal(same_everywhere(out.data, n), KT_ERR_NOT_CIPHERTEXT);
    put_zeros(&out, 1, 0);
    assert_int_equal(same_everywhere(out.data, out.len), KT_ERR_NOT_CIPHERTEXT);
    kt_buf_free(&out);
}

static void what_memory_refuses_is_refused_in_files(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } HEADS[] = {
        {"-----BEGIN PGP MESSAGE-----\n\n", 29},
        {"plain text", 10},
        {"\xc2\x05signs", 7},
        {"\xc8\x05press", 7},
        {"\xcb\x05"
         "clear",
         7},
        {"\xc6\x05keykk", 7},
        {"\xc5\x05keykk", 7},
        {"\xc9\x05nomdc", 7},
        {"\xcd\x05userx", 7},
        {"\xca\x03PGX", 5},
        {"\xc1\x02\x03\x01", 4},
        {"\xc1\xea\x03\x01", 4},
        {"\x87\x01\x02\x03", 4},
        {"\xc1\xff\xff\xff\xff\xff", 6},
        {"\xd2\x20", 2},
        {"\xd2\xe8", 2},
        {"\xd2\x00", 2},
        {"\xff\xff", 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof HEADS / sizeof HEADS[0]; i++) {
        for (int behind = 0; behind <= 1; behind++) { // alone, and behind a session key
            struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);
            if (behind)
                put_pkesk(&out, 1);
            assert_int_equal(kt_buf_put(&out, HEADS[i].bytes, HEADS[i].n), 0);
            assert_int_equal(same_everywhere(out.data, out.len), KT_ERR_NOT_CIPHERTEXT);
            put_data(&out, 300000);
            assert_int_equal(same_everywhere(out.data, out.len), KT_ERR_NOT_CIPHERTEXT);
            kt_buf_free(&out);
        }
    }
    struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);
    put_pkesk(&out, 0); // hidden
    put_data(&out, 300000);
    assert_int_equal(same_everywhere(out.data, out.len), KT_ERR_NOT_CIPHERTEXT);
    kt_buf_free(&out);
    put_pkesk(&out, 1);
    put_data_in_parts(&out, 8, 3, 40); // a first part of 256 bytes
    assert_int_equal(same_everywhere(out.data, out.len), KT_ERR_NOT_CIPHERTEXT);
    kt_buf_free(&out);
}

static void recipients_are_bounded(void **state)
{
    struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_error error = {0};

    (void)state;
    for (uint64_t i = 1; i <= KT_OPENPGP_RECIPIENTS_MAX; i++)
        put_pkesk(&out, i);
    size_t before = out.len;
    put_data(&out, 300000);
    assert_int_equal(same_everywhere(out.data, out.len), 0);
    out.len = before;
    put_pkesk(&out, 65);
    put_data(&out, 300000);
    assert_int_equal(same_everywhere(out.data, out.len), KT_ERR_TOO_LARGE);
    kt_buf_free(&out);
    for (size_t i = 0; i < 2500; i++) // markers without end
        assert_int_equal(kt_buf_put(&out, "\xca\x03PGP", 5), 0);
    assert_int_equal(check_stream(out.data, out.len, 4096, &error), KT_ERR_NOT_CIPHERTEXT);
    for (size_t i = 0; i < 60000; i++)
        assert_int_equal(kt_buf_put(&out, "\xca\x03PGP", 5), 0);
    assert_int_equal(check_stream(out.data, out.len, 4096, &error), KT_ERR_TOO_LARGE);
    kt_buf_free(&out);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
    struct kt_openpgp_message message;
    struct kt_error error = {0};
    int fd;

    (void)state;
    assert_int_equal(kt_openpgp_check_file(-1, &message, &error), KT_ERR_SYSTEM);
    fd = memory_file("", 0);
    assert_int_equal(kt_openpgp_check_file(fd, &message, &error), KT_ERR_NOT_CIPHERTEXT);
    close(fd);
    kt_openpgp_stream_free(NULL);
}

// Of a sparse file of 5 GiB only headers are read: a second would not be enough for the rest.
static void a_large_file_is_walked_over_by_its_headers(void **state)
{
    struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_openpgp_message message;
    struct kt_error error = {0};
    const off_t part = (off_t)1 << 30;
    off_t at;
    int fd;

    (void)state;
    put_pkesk(&out, 7);
    assert_int_equal(kt_buf_put(&out, "\xd2\xfe\x01", 3), 0); // parts of 1 GiB
    fd = memory_file(out.data, out.len);
    at = (off_t)out.len - 1 + part;
    for (int i = 0; i < 4; i++, at += 1 + part)
        assert_int_equal(pwrite(fd, "\xfe", 1, at), 1);
    assert_int_equal(pwrite(fd,
                            "\x05"
                            "abcde",
                            6, at),
                     6);
    assert_int_equal(kt_openpgp_check_file(fd, &message, &error), 0);
    assert_int_equal(message.recipients, 1);
    assert_true(message.key_ids[0] == 7);
    assert_int_equal(ftruncate(fd, at + 5), 0);
    assert_int_equal(kt_openpgp_check_file(fd, &message, &error), KT_ERR_NOT_CIPHERTEXT);
    assert_int_equal(ftruncate(fd, at + 7), 0);
    assert_int_equal(kt_openpgp_check_file(fd, &message, &error), KT_ERR_NOT_CIPHERTEXT);
    close(fd);
    kt_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_all_shapes_are_accepted),
        cmocka_unit_test(every_truncation_and_a_byte_more_is_refused),
        cmocka_unit_test(what_memory_refuses_is_refused_in_files),
        cmocka_unit_test(recipients_are_bounded),
        cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
        cmocka_unit_test(a_large_file_is_walked_over_by_its_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
