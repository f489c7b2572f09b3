// SPDX-License-Identifier: Apache-2.0
// The growable, bounded byte buffer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "lib/buf.h"

static void numbers_are_big_endian_and_come_back(void **state)
{
    static const uint8_t WANT[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct kt_buf buf = KT_BUF_INIT(64);
    uint8_t a;
    uint16_t b;
    uint32_t c;
    uint64_t d;

    (void)state;
    assert_int_equal(kt_buf_put_u8(&buf, 1), 0);
    assert_int_equal(kt_buf_put_u16(&buf, 0x0203), 0);
    assert_int_equal(kt_buf_put_u32(&buf, 0x04050607), 0);
    assert_int_equal(kt_buf_put_u64(&buf, 0x08090a0b0c0d0e0fu), 0);
    assert_int_equal(kt_buf_left(&buf), sizeof(WANT));
    assert_memory_equal(kt_buf_ptr(&buf), WANT, sizeof(WANT));
    assert_int_equal(kt_buf_get_u8(&buf, &a), 0);
    assert_int_equal(kt_buf_get_u16(&buf, &b), 0);
    assert_int_equal(kt_buf_get_u32(&buf, &c), 0);
    assert_int_equal(kt_buf_get_u64(&buf, &d), 0);
    assert_int_equal(a, 1);
    assert_int_equal(b, 0x0203);
    assert_int_equal(c, 0x04050607);
    assert_true(d == 0x08090a0b0c0d0e0fu);
    assert_int_equal(kt_buf_left(&buf), 0);
    kt_buf_free(&buf);
}

static void get_beyond_the_end_is_truncated_and_consumes_nothing(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(64);
    uint8_t bytes[4], a;
    uint16_t b;
    uint32_t c;
    uint64_t d;

    (void)state;
    assert_int_equal(kt_buf_get_u8(&buf, &a), KT_ERR_TRUNCATED);
    assert_int_equal(kt_buf_put(&buf, "x", 1), 0);
    assert_int_equal(kt_buf_get_u16(&buf, &b), KT_ERR_TRUNCATED);
    assert_int_equal(kt_buf_get_u32(&buf, &c), KT_ERR_TRUNCATED);
    assert_int_equal(kt_buf_get_u64(&buf, &d), KT_ERR_TRUNCATED);
    assert_int_equal(kt_buf_get(&buf, bytes, 2), KT_ERR_TRUNCATED);
    assert_int_equal(kt_buf_consume(&buf, 2), KT_ERR_TRUNCATED);
    assert_int_equal(kt_buf_left(&buf), 1);
    assert_int_equal(kt_buf_get(&buf, bytes, 0), 0);
    kt_buf_free(&buf);
}

static void put_up_to_the_bound_works_and_beyond_is_too_large(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(4);
    uint8_t *where;

    (void)state;
    assert_int_equal(kt_buf_put(&buf, "abc", 3), 0);
    assert_int_equal(kt_buf_put(&buf, "de", 2), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_buf_put_u16(&buf, 1), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_buf_reserve(&buf, SIZE_MAX, &where), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_buf_put(&buf, "d", 1), 0);
    assert_int_equal(kt_buf_put(&buf, NULL, 0), 0);
    assert_int_equal(kt_buf_left(&buf), 4);
    assert_memory_equal(kt_buf_ptr(&buf), "abcd", 4);
    kt_buf_free(&buf);
}

static void block_that_does_not_fit_leaves_nothing_behind(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(6);

    (void)state;
    assert_int_equal(kt_buf_put_block(&buf, "abc", 3), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_buf_left(&buf), 0);
    assert_int_equal(kt_buf_put_block(&buf, "ab", 2), 0);
    assert_memory_equal(kt_buf_ptr(&buf), "\0\0\0\2ab", 6);
    kt_buf_free(&buf);
}

static void consumed_bytes_make_room_again(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(8);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(kt_buf_put(&buf, "abcde", 5), 0);
        assert_int_equal(kt_buf_consume(&buf, 3), 0);
        assert_memory_equal(kt_buf_ptr(&buf), "de", 2);
        assert_int_equal(kt_buf_put(&buf, "fghijk", 6), 0);
        assert_memory_equal(kt_buf_ptr(&buf), "defghijk", 8);
        assert_int_equal(kt_buf_consume(&buf, 8), 0);
    }
    assert_true(buf.cap <= 8);
    kt_buf_free(&buf);
}

static void consumed_bytes_can_be_wiped(void **state)
{
    static const uint8_t ZERO[8] = {0};
    struct kt_buf buf = KT_BUF_INIT(64);

    (void)state;
    assert_int_equal(kt_buf_consume_wiped(&buf, 0), 0);
    assert_int_equal(kt_buf_consume_wiped(&buf, 1), KT_ERR_TRUNCATED);
    assert_int_equal(kt_buf_put(&buf, "keykeykey rest", 14), 0);
    assert_int_equal(kt_buf_consume_wiped(&buf, 8), 0);
    assert_memory_equal(buf.data, ZERO, 8);
    assert_memory_equal(kt_buf_ptr(&buf), "y rest", 6);
    assert_int_equal(kt_buf_consume_wiped(&buf, 6), 0);
    assert_memory_equal(buf.data + 8, ZERO, 6);
    assert_int_equal(kt_buf_left(&buf), 0);
    kt_buf_free(&buf);
}

static void what_is_moved_to_the_front_leaves_no_second_copy(void **state)
{
    static const uint8_t ZERO[3] = {0};
    struct kt_buf buf = KT_BUF_INIT(8);
    uint8_t *where;

    (void)state;
    assert_int_equal(kt_buf_put(&buf, "abcdefgh", 8), 0);
    assert_int_equal(kt_buf_consume(&buf, 3), 0);
    assert_int_equal(kt_buf_reserve(&buf, 3, &where), 0);
    assert_memory_equal(kt_buf_ptr(&buf), "defgh", 5);
    assert_memory_equal(where, ZERO, 3);
    kt_buf_free(&buf);
}

static void growth_keeps_the_content(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(1 << 20);
    uint32_t v;

    (void)state;
    for (uint32_t i = 0; i < 100000; i++)
        assert_int_equal(kt_buf_put_u32(&buf, i), 0);
    for (uint32_t i = 0; i < 100000; i++) {
        assert_int_equal(kt_buf_get_u32(&buf, &v), 0);
        assert_int_equal(v, i);
    }
    kt_buf_free(&buf);
}

static void reset_wipes_and_keeps_the_storage(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(64);

    (void)state;
    assert_int_equal(kt_buf_put(&buf, "secret", 6), 0);
    const uint8_t *data = buf.data;
    kt_buf_reset(&buf);
    assert_ptr_equal(buf.data, data);
    assert_int_equal(kt_buf_left(&buf), 0);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(data[i], 0);
    kt_buf_free(&buf);
    assert_null(buf.data);
    kt_buf_free(&buf);
    kt_buf_free(NULL);
}

static void blocks_come_back_and_their_bounds_hold(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(64);
    const uint8_t *bytes;
    size_t n;

    (void)state;
    assert_int_equal(kt_buf_put_block(&buf, "abc", 3), 0);
    assert_int_equal(kt_buf_put_block(&buf, NULL, 0), 0);
    assert_int_equal(kt_buf_get_block(&buf, &bytes, &n, 2), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_buf_get_block(&buf, &bytes, &n, 3), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(bytes, "abc", 3);
    assert_int_equal(kt_buf_get_block(&buf, &bytes, &n, 3), 0);
    assert_int_equal(n, 0);
    assert_int_equal(kt_buf_get_block(&buf, &bytes, &n, 3), KT_ERR_TRUNCATED);
    kt_buf_reset(&buf);
    assert_int_equal(kt_buf_put_u32(&buf, 10), 0);
    assert_int_equal(kt_buf_put(&buf, "short", 5), 0);
    assert_int_equal(kt_buf_get_block(&buf, &bytes, &n, 64), KT_ERR_TRUNCATED);
    assert_int_equal(kt_buf_left(&buf), 9);
    kt_buf_free(&buf);
}

static void strings_come_back_and_their_bounds_hold(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(64);
    char out[6];

    (void)state;
    assert_int_equal(kt_buf_put_cstr(&buf, "hello"), 0);
    assert_int_equal(kt_buf_get_cstr(&buf, out, 5), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_buf_get_cstr(&buf, out, 0), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_buf_get_cstr(&buf, out, 6), 0);
    assert_string_equal(out, "hello");
    assert_int_equal(kt_buf_put_cstr(&buf, NULL), 0);
    assert_int_equal(kt_buf_get_cstr(&buf, out, 1), 0);
    assert_string_equal(out, "");
    assert_int_equal(kt_buf_get_cstr(&buf, out, 6), KT_ERR_TRUNCATED);
    assert_int_equal(kt_buf_put_block(&buf, "a\0b", 3), 0);
    assert_int_equal(kt_buf_get_cstr(&buf, out, 6), KT_ERR_INVALID);
    assert_int_equal(kt_buf_left(&buf), 7);
    kt_buf_free(&buf);
}

static void formatted_text_may_fill_the_bound_exactly(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(8);

    (void)state;
    assert_int_equal(kt_buf_putf(&buf, "%s-%d", "abcd", 1234), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_buf_putf(&buf, "%s-%d", "abcd", 123), 0);
    assert_int_equal(kt_buf_left(&buf), 8);
    assert_memory_equal(kt_buf_ptr(&buf), "abcd-123", 8);
    kt_buf_free(&buf);
}

static void reserved_room_counts_only_when_committed(void **state)
{
    struct kt_buf buf = KT_BUF_INIT(16);
    uint8_t *where;

    (void)state;
    assert_int_equal(kt_buf_reserve(&buf, 16, &where), 0);
    memcpy(where, "abc", 3);
    assert_int_equal(kt_buf_left(&buf), 0);
    kt_buf_commit(&buf, 3);
    assert_int_equal(kt_buf_left(&buf), 3);
    assert_memory_equal(kt_buf_ptr(&buf), "abc", 3);
    kt_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_big_endian_and_come_back),
        cmocka_unit_test(get_beyond_the_end_is_truncated_and_consumes_nothing),
        cmocka_unit_test(put_up_to_the_bound_works_and_beyond_is_too_large),
        cmocka_unit_test(block_that_does_not_fit_leaves_nothing_behind),
        cmocka_unit_test(consumed_bytes_make_room_again),
        cmocka_unit_test(consumed_bytes_can_be_wiped),
        cmocka_unit_test(what_is_moved_to_the_front_leaves_no_second_copy),
        cmocka_unit_test(growth_keeps_the_content),
        cmocka_unit_test(reset_wipes_and_keeps_the_storage),
        cmocka_unit_test(blocks_come_back_and_their_bounds_hold),
        cmocka_unit_test(strings_come_back_and_their_bounds_hold),
        cmocka_unit_test(formatted_text_may_fill_the_bound_exactly),
        cmocka_unit_test(reserved_room_counts_only_when_committed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
