// SPDX-License-Identifier: Apache-2.0
// Hex, base64, base32, UUIDs, numbers, times and names as text.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "lib/encode.h"

// RFC 4648 section 10.
static const struct {
    const char *plain, *hex, *base64, *base32;
} VECTORS[] = {
    {"", "", "", ""},
    {"f", "66", "Zg==", "my"},
    {"fo", "666f", "Zm8=", "mzxq"},
    {"foo", "666f6f", "Zm9v", "mzxw6"},
    {"foob", "666f6f62", "Zm9vYg==", "mzxw6yq"},
    {"fooba", "666f6f6261", "Zm9vYmE=", "mzxw6ytb"},
    {"foobar", "666f6f626172", "Zm9vYmFy", "mzxw6ytboi"},
};
#define VECTOR_COUNT (sizeof(VECTORS) / sizeof(VECTORS[0]))

static void vectors_of_rfc_4648_encode_and_decode(void **state)
{
    char text[64];
    uint8_t bytes[64];

    (void)state;
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        size_t n = strlen(VECTORS[i].plain), room = sizeof(bytes);
        kt_hex_encode(VECTORS[i].plain, n, text);
        assert_string_equal(text, VECTORS[i].hex);
        assert_int_equal(kt_hex_decode(text, bytes, n), 0);
        assert_memory_equal(bytes, VECTORS[i].plain, n);
        kt_base64_encode(VECTORS[i].plain, n, text);
        assert_string_equal(text, VECTORS[i].base64);
        assert_int_equal(kt_base64_decode(text, strlen(text), bytes, &room), 0);
        assert_int_equal(room, n);
        assert_memory_equal(bytes, VECTORS[i].plain, n);
        kt_base32_encode(VECTORS[i].plain, n, text);
        assert_string_equal(text, VECTORS[i].base32);
        assert_int_equal(kt_base32_decode(text, strlen(text), bytes, n), 0);
        assert_memory_equal(bytes, VECTORS[i].plain, n);
    }
}

static void all_byte_values_survive_base64_and_base32(void **state)
{
    uint8_t in[256], back[256];
    char text[512];
    size_t room = sizeof(back);

    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(255 - i);
    kt_base64_encode(in, sizeof(in), text);
    assert_int_equal(kt_base64_decode(text, strlen(text), back, &room), 0);
    assert_memory_equal(in, back, sizeof(in));
    kt_base32_encode(in, sizeof(in), text);
    assert_int_equal(strlen(text), (8 * sizeof(in) + 4) / 5);
    assert_int_equal(kt_base32_decode(text, strlen(text), back, sizeof(back)), 0);
    assert_memory_equal(in, back, sizeof(in));
}

static void hex_of_wrong_length_or_digits_is_refused(void **state)
{
    static const char *const WRONG[] = {"",     "0",    "00",   "000", "00000",
                                        "000g", "00 0", "0x00", "-000"};
    uint8_t out[2] = {7, 7};

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(kt_hex_decode(WRONG[i], out, 2), KT_ERR_INVALID);
    assert_int_equal(out[0], 7);
    assert_int_equal(kt_hex_decode("aBcD", out, 2), 0);
    assert_int_equal(out[0], 0xab);
    assert_int_equal(out[1], 0xcd);
}

static void base64_that_is_not_canonical_is_refused(void **state)
{
    static const char *const WRONG[] = {"Zg",   "Zg=",  "Zh==", "Zm9=",     "Zm 9v",
                                        "Z===", "====", "=Zm9", "Zg==Zg==", "Zm9v\n",
                                        "Zm9-", "Zm9_", "Z"};
    uint8_t out[16];

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        size_t n = sizeof(out);
        assert_int_equal(kt_base64_decode(WRONG[i], strlen(WRONG[i]), out, &n), KT_ERR_INVALID);
    }
}

static void base64_over_the_room_is_too_large(void **state)
{
    uint8_t out[2];
    size_t n = sizeof(out);

    (void)state;
    assert_int_equal(kt_base64_decode("Zm9v", 4, out, &n), KT_ERR_TOO_LARGE);
}

static void base32_that_is_not_canonical_is_refused(void **state)
{
    uint8_t out[16];

    (void)state;
    assert_int_equal(kt_base32_decode("my", 2, out, 2), KT_ERR_INVALID);
    assert_int_equal(kt_base32_decode("mz", 2, out, 1), KT_ERR_INVALID);
    assert_int_equal(kt_base32_decode("MY", 2, out, 1), KT_ERR_INVALID);
    assert_int_equal(kt_base32_decode("m1", 2, out, 1), KT_ERR_INVALID);
    assert_int_equal(kt_base32_decode("m\0", 2, out, 1), KT_ERR_INVALID);
    assert_int_equal(kt_base32_decode("my", 2, out, SIZE_MAX), KT_ERR_INVALID);
}

static void random_uuids_are_version_4_and_differ(void **state)
{
    struct kt_uuid a = {{0}}, b, back;
    char text[KT_UUID_TEXT];

    (void)state;
    assert_true(kt_uuid_is_nil(&a));
    assert_int_equal(kt_uuid_random(&a), 0);
    assert_int_equal(kt_uuid_random(&b), 0);
    assert_false(kt_uuid_is_nil(&a));
    assert_memory_not_equal(&a, &b, sizeof(a));
    kt_uuid_format(&a, text);
    assert_int_equal(text[14], '4');
    assert_non_null(strchr("89ab", text[19]));
    assert_int_equal(kt_uuid_parse(text, &back), 0);
    assert_memory_equal(&a, &back, sizeof(a));
}

static void uuid_of_wrong_form_is_refused(void **state)
{
    static const char *const WRONG[] = {"",
                                        "123e4567-e89b-12d3-a456-42661417400",
                                        "123e4567-e89b-12d3-a456-4266141740000",
                                        "123e4567e89b-12d3-a456-4266141740000",
                                        "123e4567-e89b-12d3-a456-42661417400g",
                                        "{23e4567-e89b-12d3-a456-42661417400}",
                                        "123e45678e89b-12d3-a456-42661417400"};
    struct kt_uuid uuid;

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(kt_uuid_parse(WRONG[i], &uuid), KT_ERR_INVALID);
    assert_int_equal(kt_uuid_parse("123E4567-e89b-12D3-a456-426614174000", &uuid), 0);
    assert_int_equal(uuid.bytes[0], 0x12);
    assert_int_equal(uuid.bytes[1], 0x3e);
}

static void numbers_are_plain_decimal_within_their_bounds(void **state)
{
    static const char *const WRONG[] = {"",   "00", "01",  "+1",  "-1",
                                        " 1", "1 ", "1.0", "0x1", "1e3"};
    uint64_t v = 99;

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(kt_u64_parse(WRONG[i], 0, UINT64_MAX, &v), KT_ERR_INVALID);
    assert_int_equal(kt_u64_parse("4", 5, 10, &v), KT_ERR_INVALID);
    assert_int_equal(kt_u64_parse("11", 5, 10, &v), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_u64_parse("18446744073709551616", 0, UINT64_MAX, &v), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_u64_parse("99999999999999999999999", 0, UINT64_MAX, &v), KT_ERR_TOO_LARGE);
    assert_true(v == 99);
    assert_int_equal(kt_u64_parse("18446744073709551615", 0, UINT64_MAX, &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(kt_u64_parse("0", 0, 10, &v), 0);
    assert_true(v == 0);
}

static void times_format_and_parse(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } WANT[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {INT64_C(951782400123456), "2000-02-29T00:00:00.123456Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
        {INT64_C(-62135596800000000), "0001-01-01T00:00:00.000000Z"},
    };
    char text[KT_TIME_TEXT];
    int64_t us;

    (void)state;
    for (size_t i = 0; i < sizeof(WANT) / sizeof(WANT[0]); i++) {
        kt_time_format(WANT[i].us, text);
        assert_string_equal(text, WANT[i].text);
        assert_int_equal(kt_time_parse(text, &us), 0);
        assert_true(us == WANT[i].us);
    }
}

static void times_beyond_four_digit_years_are_clamped(void **state)
{
    char text[KT_TIME_TEXT];

    (void)state;
    kt_time_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
    kt_time_format(INT64_MIN, text);
    assert_string_equal(text, "0001-01-01T00:00:00.000000Z");
}

static void time_of_wrong_form_is_refused(void **state)
{
    static const char *const WRONG[] = {"",
                                        "2026-11-22",
                                        "2026-11-22T06:11:43Z",
                                        "2026-11-22T06:11:43.123Z",
                                        "2026-11-22 06:11:43.123456Z",
                                        "2026-11-22T06:11:43.123456z",
                                        "2026-11-22T06:11:43.123456+00:00",
                                        "2026-02-29T00:00:00.000000Z",
                                        "2026-13-01T00:00:00.000000Z",
                                        "2026-00-01T00:00:00.000000Z",
                                        "2026-01-00T00:00:00.000000Z",
                                        "2026-01-01T24:00:00.000000Z",
                                        "2026-01-01T00:60:00.000000Z",
                                        "2026-12-31T23:59:60.000000Z",
                                        "0000-01-01T00:00:00.000000Z",
                                        "2026-11-22T06:11:43.12345aZ",
                                        "-026-11-22T06:11:43.123456Z"};
    int64_t us = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(kt_time_parse(WRONG[i], &us), KT_ERR_INVALID);
    assert_true(us == 7);
}

static void clocks_run_forwards(void **state)
{
    int64_t before = kt_monotonic_now();

    (void)state;
    assert_true(kt_monotonic_now() >= before);
    assert_true(kt_time_now() > INT64_C(1577836800000000)); // 2020
}

static void handles_of_the_alphabet_pass_and_others_are_refused(void **state)
{
    static const char *const WRONG[] = {"",    " ",   "a b",  "a\n", "\xc3\xa9",
                                        "a%b", "a?b", "a\\b", "a*"};
    char text[KT_HANDLE_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(kt_handle_check(WRONG[i]), KT_ERR_HANDLE_INVALID);
    assert_int_equal(kt_handle_check("Az09._/@:+-"), 0);
    memset(text, 'a', sizeof(text));
    text[KT_HANDLE_MAX + 1] = '\0';
    assert_int_equal(kt_handle_check(text), KT_ERR_HANDLE_INVALID);
    text[KT_HANDLE_MAX] = '\0';
    assert_int_equal(kt_handle_check(text), 0);
}

static void names_begin_with_a_letter_and_are_bounded(void **state)
{
    static const char *const WRONG[] = {
        "", "1a", "-a", "A", "aB", "a_b", "a.b", "a b", "abcdefghijklmnopq"};

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(kt_name_check(WRONG[i], KT_NODE_NAME_MAX), KT_ERR_INVALID);
    assert_int_equal(kt_name_check("a", KT_NODE_NAME_MAX), 0);
    assert_int_equal(kt_name_check("node-1", KT_NODE_NAME_MAX), 0);
    assert_int_equal(kt_name_check("abcdefghijklmnop", KT_NODE_NAME_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_rfc_4648_encode_and_decode),
        cmocka_unit_test(all_byte_values_survive_base64_and_base32),
        cmocka_unit_test(hex_of_wrong_length_or_digits_is_refused),
        cmocka_unit_test(base64_that_is_not_canonical_is_refused),
        cmocka_unit_test(base64_over_the_room_is_too_large),
        cmocka_unit_test(base32_that_is_not_canonical_is_refused),
        cmocka_unit_test(random_uuids_are_version_4_and_differ),
        cmocka_unit_test(uuid_of_wrong_form_is_refused),
        cmocka_unit_test(numbers_are_plain_decimal_within_their_bounds),
        cmocka_unit_test(times_format_and_parse),
        cmocka_unit_test(times_beyond_four_digit_years_are_clamped),
        cmocka_unit_test(time_of_wrong_form_is_refused),
        cmocka_unit_test(clocks_run_forwards),
        cmocka_unit_test(handles_of_the_alphabet_pass_and_others_are_refused),
        cmocka_unit_test(names_begin_with_a_letter_and_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
