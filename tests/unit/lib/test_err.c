// SPDX-License-Identifier: Apache-2.0
// The table of error codes and the words of one failure.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/err.h"

static void every_code_of_the_header_has_a_row(void **state)
{
    char line[512];
    size_t count, seen = 0;
    FILE *header = fopen(KT_SOURCE_DIR "/lib/err.h", "r");

    (void)state;
    assert_non_null(header);
    (void)kt_err_all(&count);
    while (fgets(line, sizeof(line), header)) {
        char name[64];
        int code;
        if (sscanf(line, " KT_%63[A-Z_] = %d,", name, &code) != 2)
            continue;
        const struct kt_err_info *info = kt_err_info(code);
        assert_int_equal(info->code, code);
        const char *word = strncmp(name, "ERR_", 4) == 0 ? name + 4 : name;
        assert_int_equal(strcasecmp(info->name, word), 0);
        seen++;
    }
    fclose(header);
    assert_int_equal(seen, count);
}

static void codes_and_names_are_unique(void **state)
{
    size_t count;
    const struct kt_err_info *all = kt_err_all(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            assert_int_not_equal(all[i].code, all[j].code);
            assert_string_not_equal(all[i].name, all[j].name);
        }
        assert_ptr_equal(kt_err_by_name(all[i].name), &all[i]);
    }
}

static void every_code_on_the_wire_has_a_hint_and_a_failing_exit(void **state)
{
    size_t count;
    const struct kt_err_info *all = kt_err_all(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        assert_true(all[i].exit >= KT_EXIT_OK && all[i].exit <= KT_EXIT_INTEGRITY);
        assert_true((all[i].code == KT_OK) == (all[i].exit == KT_EXIT_OK));
        if (all[i].http == 0)
            continue;
        assert_true(all[i].http >= 400 && all[i].http < 600);
        assert_non_null(all[i].hint);
    }
}

static void texts_are_one_lower_case_line_without_a_full_stop(void **state)
{
    size_t count;
    const struct kt_err_info *all = kt_err_all(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const char *text = all[i].text;
        assert_false(isupper((unsigned char)text[0]) && islower((unsigned char)text[1]));
        assert_null(strchr(text, '\n'));
        assert_int_not_equal(text[strlen(text) - 1], '.');
    }
}

static void statuses_and_exits_follow_the_protocol(void **state)
{
    static const struct {
        int code, http, exit;
    } WANT[] = {
        {KT_ERR_INTERNAL, 500, KT_EXIT_FAILURE},
        {KT_ERR_BAD_REQUEST, 400, KT_EXIT_FAILURE},
        {KT_ERR_HEADER_TOO_LARGE, 431, KT_EXIT_FAILURE},
        {KT_ERR_BODY_TOO_LARGE, 413, KT_EXIT_FAILURE},
        {KT_ERR_CERTIFICATE_MISSING, 401, KT_EXIT_REFUSED},
        {KT_ERR_AUTH_CODE_USED_UP, 403, KT_EXIT_REFUSED},
        {KT_ERR_DEPOSIT_NOT_FOUND, 404, KT_EXIT_NOT_FOUND},
        {KT_ERR_HANDLE_TAKEN, 409, KT_EXIT_REFUSED},
        {KT_ERR_HASH_MISMATCH, 422, KT_EXIT_INTEGRITY},
        {KT_ERR_DEPOSIT_LOCKED, 409, KT_EXIT_REFUSED},
        {KT_ERR_DATABASE, 500, KT_EXIT_FAILURE},
        {KT_ERR_IN_DOUBT, 503, KT_EXIT_IN_DOUBT},
        {KT_ERR_WRITE_TIMEOUT, 503, KT_EXIT_IN_DOUBT},
        {KT_ERR_NO_QUORUM, 503, KT_EXIT_UNAVAILABLE},
        {KT_ERR_STORAGE_FULL, 507, KT_EXIT_UNAVAILABLE},
        {KT_ERR_SIGNATURE, 0, KT_EXIT_INTEGRITY},
        {KT_ERR_SETTINGS, 0, KT_EXIT_USAGE},
        {KT_ERR_NETWORK, 0, KT_EXIT_UNAVAILABLE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(WANT) / sizeof(WANT[0]); i++) {
        assert_int_equal(kt_err_info(WANT[i].code)->http, WANT[i].http);
        assert_int_equal(kt_err_info(WANT[i].code)->exit, WANT[i].exit);
    }
}

static void unknown_code_gives_internal_and_unknown_name_nothing(void **state)
{
    (void)state;
    assert_int_equal(kt_err_info(-9999)->code, KT_ERR_INTERNAL);
    assert_int_equal(kt_err_info(17)->code, KT_ERR_INTERNAL);
    assert_string_equal(kt_err_text(-9999), kt_err_text(KT_ERR_INTERNAL));
    assert_null(kt_err_by_name("no_such_name"));
    assert_null(kt_err_by_name(NULL));
}

static void error_set_keeps_code_message_and_hint(void **state)
{
    struct kt_error error;

    (void)state;
    assert_int_equal(kt_error_set(&error, KT_ERR_BUSY, "wait", "lock '%s'", "a"), KT_ERR_BUSY);
    assert_int_equal(error.code, KT_ERR_BUSY);
    assert_string_equal(error.message, "lock 'a'");
    assert_string_equal(error.hint, "wait");
    assert_int_equal(kt_error_set(NULL, KT_ERR_BUSY, NULL, "x"), KT_ERR_BUSY);
}

static void error_set_without_hint_takes_that_of_the_table(void **state)
{
    struct kt_error error;

    (void)state;
    kt_error_set(&error, KT_ERR_NO_QUORUM, NULL, "x");
    assert_string_equal(error.hint, kt_err_info(KT_ERR_NO_QUORUM)->hint);
    kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "x");
    assert_string_equal(error.hint, "");
}

static void error_can_be_wrapped_in_itself(void **state)
{
    struct kt_error error;

    (void)state;
    kt_error_set(&error, KT_ERR_BUSY, "wait", "inner");
    kt_error_set(&error, error.code, error.hint, "outer: %s", error.message);
    assert_string_equal(error.message, "outer: inner");
    assert_string_equal(error.hint, "wait");
}

static void long_message_is_cut_between_utf8_characters(void **state)
{
    struct kt_error error;
    char text[1200];

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 3 < sizeof(text); i += 3)
            memcpy(text + i, "\xe2\x82\xac", 4);
        kt_error_set(&error, KT_ERR_INVALID, NULL, "%s", text);
        size_t len = strlen(error.message);
        assert_true(len >= sizeof(error.message) - 4);
        assert_int_equal((len - shift) % 3, 0);
    }
}

static void error_errno_maps_the_number_and_keeps_it(void **state)
{
    static const struct {
        int number, code;
    } WANT[] = {{EACCES, KT_ERR_PERMISSION},
                {EPERM, KT_ERR_PERMISSION},
                {ENOSPC, KT_ERR_STORAGE_FULL},
                {EDQUOT, KT_ERR_STORAGE_FULL},
                {EIO, KT_ERR_SYSTEM}};
    struct kt_error error;

    (void)state;
    for (size_t i = 0; i < sizeof(WANT) / sizeof(WANT[0]); i++) {
        errno = WANT[i].number;
        assert_int_equal(kt_error_errno(&error, "file '%s'", "f"), WANT[i].code);
        assert_int_equal(errno, WANT[i].number);
        assert_int_equal(error.code, WANT[i].code);
        assert_memory_equal(error.message, "file 'f': ", 10);
        assert_string_equal(error.message + 10, strerror(WANT[i].number));
    }
    errno = EIO;
    assert_int_equal(kt_error_errno(NULL, "x"), KT_ERR_SYSTEM);
}

static void error_errno_keeps_the_reason_when_the_message_is_long(void **state)
{
    struct kt_error error;
    char text[1200];

    (void)state;
    memset(text, 'p', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    errno = EIO;
    kt_error_errno(&error, "%s", text);
    size_t len = strlen(error.message), tail = strlen(strerror(EIO));
    assert_true(len < sizeof(error.message));
    assert_string_equal(error.message + len - tail, strerror(EIO));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_of_the_header_has_a_row),
        cmocka_unit_test(codes_and_names_are_unique),
        cmocka_unit_test(every_code_on_the_wire_has_a_hint_and_a_failing_exit),
        cmocka_unit_test(texts_are_one_lower_case_line_without_a_full_stop),
        cmocka_unit_test(statuses_and_exits_follow_the_protocol),
        cmocka_unit_test(unknown_code_gives_internal_and_unknown_name_nothing),
        cmocka_unit_test(error_set_keeps_code_message_and_hint),
        cmocka_unit_test(error_set_without_hint_takes_that_of_the_table),
        cmocka_unit_test(error_can_be_wrapped_in_itself),
        cmocka_unit_test(long_message_is_cut_between_utf8_characters),
        cmocka_unit_test(error_errno_maps_the_number_and_keeps_it),
        cmocka_unit_test(error_errno_keeps_the_reason_when_the_message_is_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
