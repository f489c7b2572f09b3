// SPDX-License-Identifier: Apache-2.0
// What options hold, and how values look to people.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ktadmin/common.h"

static void durations_are_written_as_in_the_settings(void **state)
{
    int64_t seconds = 0;

    (void)state;
    assert_int_equal(kta_duration("expires", "30min", &seconds, NULL), 0);
    assert_int_equal(seconds, 1800);
    assert_int_equal(kta_duration("expires", "7d", &seconds, NULL), 0);
    assert_int_equal(seconds, 604800);
}

static void other_durations_are_refused_with_the_form(void **state)
{
    static const char *const BAD[] = {"",    "24", "24 h",    "0s",   "366d",
                                      "-1h", "1y", "1h30min", "500ms"};
    int64_t seconds = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        struct kt_error error = {0};
        assert_int_equal(kta_duration("expires", BAD[i], &seconds, &error), KT_ERR_USAGE);
        assert_non_null(strstr(error.message, "--expires"));
        assert_non_null(strstr(error.hint, "24h"));
    }
    assert_int_equal(seconds, 7);
}

static void rights_are_checked_one_by_one(void **state)
{
    (void)state;
    assert_int_equal(kta_rights_check("deposit", NULL), 0);
    assert_int_equal(
        kta_rights_check("deposit,browse,retrieve,delete,undelete,purge,lock,bypass", NULL), 0);
    assert_int_equal(kta_rights_check("", NULL), KT_ERR_USAGE);
    assert_int_equal(kta_rights_check("deposit,", NULL), KT_ERR_USAGE);
    assert_int_equal(kta_rights_check("depositx", NULL), KT_ERR_USAGE);
    assert_int_equal(kta_rights_check("deposit retrieve", NULL), KT_ERR_USAGE);
    assert_int_equal(kta_rights_check("depos", NULL), KT_ERR_USAGE);
}

static void numbers_are_bounded(void **state)
{
    uint64_t number = 0;

    (void)state;
    assert_int_equal(kta_number("uses", "3", 1, 10, &number, NULL), 0);
    assert_int_equal(number, 3);
    assert_int_equal(kta_number("uses", "0", 1, 10, &number, NULL), KT_ERR_USAGE);
    assert_int_equal(kta_number("uses", "11", 1, 10, &number, NULL), KT_ERR_USAGE);
    assert_int_equal(kta_number("uses", "3x", 1, 10, &number, NULL), KT_ERR_USAGE);
}

static void values_become_text_for_people(void **state)
{
    json_t *object = json_pack("{s:s, s:i, s:b, s:b, s:n, s:[s,s], s:[], s:s, s:{s:i}}", "time",
                               "2026-11-22T06:11:43.123456Z", "number", 7, "on", 1, "off", 0,
                               "null", "list", "a", "b", "empty", "text", "x y", "inner", "a", 1);
    static const struct {
        const char *member, *text;
    } WANTED[] = {{"time", "2026-11-22T06:11:43Z"},
                  {"number", "7"},
                  {"on", "yes"},
                  {"off", "no"},
                  {"null", "-"},
                  {"missing", "-"},
                  {"list", "a,b"},
                  {"empty", "-"},
                  {"text", "x y"},
                  {"inner", "{\"a\":1}"}};
    char text[64];

    (void)state;
    assert_non_null(object);
    for (size_t i = 0; i < sizeof(WANTED) / sizeof(WANTED[0]); i++) {
        kta_text_of(object, WANTED[i].member, text, sizeof(text));
        assert_string_equal(text, WANTED[i].text);
    }
    json_decref(object);
}

static void long_lists_are_cut_at_the_room(void **state)
{
    json_t *list = json_array(), *object = json_object();
    char text[16];

    (void)state;
    for (int i = 0; i < 100; i++)
        json_array_append_new(list, json_string("abcdef"));
    json_object_set_new(object, "list", list);
    kta_text_of(object, "list", text, sizeof(text));
    assert_int_equal(strlen(text), sizeof(text) - 1);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(durations_are_written_as_in_the_settings),
        cmocka_unit_test(other_durations_are_refused_with_the_form),
        cmocka_unit_test(rights_are_checked_one_by_one),
        cmocka_unit_test(numbers_are_bounded),
        cmocka_unit_test(values_become_text_for_people),
        cmocka_unit_test(long_lists_are_cut_at_the_room),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
