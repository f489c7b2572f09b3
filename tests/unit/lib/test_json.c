// SPDX-License-Identifier: Apache-2.0
// Strict JSON from strangers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/json.h"

static struct kt_error error;

static json_t *object_of(const char *text)
{
    json_t *object = NULL;

    if (kt_json_parse_object(text, strlen(text), &object, &error) != 0)
        fail_msg("%s", error.message);
    return object;
}

static void object_is_parsed(void **state)
{
    json_t *object = object_of(" {\"a\": [1, {\"b\": null}]} \n");

    (void)state;
    assert_non_null(json_object_get(object, "a"));
    json_decref(object);
}

static void what_is_not_one_object_is_a_bad_request(void **state)
{
    static const char *const WRONG[] = {"",
                                        "null",
                                        "[]",
                                        "\"text\"",
                                        "1",
                                        "{",
                                        "{\"a\":1,}",
                                        "{a:1}",
                                        "{'a':1}",
                                        "{\"a\":1} {\"b\":2}",
                                        "{\"a\":1}x",
                                        "{\"a\":1,\"a\":2}",
                                        "{\"a\":\"\xff\"}",
                                        "{\"a\":01}",
                                        "{\"a\":\"\\u0000\"}",
                                        "{\"a\":99999999999999999999999}",
                                        "\xef\xbb\xbf{}"};
    json_t *object = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        int rc = kt_json_parse_object(WRONG[i], strlen(WRONG[i]), &object, &error);
        if (rc != KT_ERR_BAD_REQUEST)
            fail_msg("accepted: %s", WRONG[i]);
        assert_null(object);
    }
    assert_int_equal(kt_json_parse_object(NULL, 0, &object, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_json_parse_object("{}\0", 3, &object, &error), KT_ERR_BAD_REQUEST);
}

static void very_deep_input_is_refused_and_does_not_crash(void **state)
{
    static char deep[200000];
    json_t *object = NULL;

    (void)state;
    memcpy(deep, "{\"a\":", 5);
    memset(deep + 5, '[', sizeof(deep) - 5);
    assert_int_equal(kt_json_parse_object(deep, sizeof(deep), &object, &error), KT_ERR_BAD_REQUEST);
}

static void error_has_the_position_and_not_the_input(void **state)
{
    json_t *object;
    const char *text = "{\n  \"a\": hunter2\n}";

    (void)state;
    assert_int_equal(kt_json_parse_object(text, strlen(text), &object, &error), KT_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.message, "line 2"));
    assert_null(strstr(error.message, "hunter2"));
    text = "{\"hunter2\":1,\"hunter2\":1}";
    assert_int_equal(kt_json_parse_object(text, strlen(text), &object, &error), KT_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.message, "twice"));
    assert_null(strstr(error.message, "hunter2"));
}

static void string_member_is_checked_for_type_and_length(void **state)
{
    json_t *object = object_of("{\"s\": \"four\", \"n\": 4, \"e\": \"\", \"null\": null}");
    const char *out = "before";

    (void)state;
    assert_int_equal(kt_json_string(object, "s", 4, 4, &out, &error), 0);
    assert_string_equal(out, "four");
    assert_int_equal(kt_json_string(object, "s", 5, 9, &out, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_json_string(object, "s", 0, 3, &out, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_json_string(object, "n", 0, 9, &out, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_json_string(object, "null", 0, 9, &out, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_json_string(object, "none", 1, 9, &out, &error), KT_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.message, "'none' is missing"));
    assert_string_equal(out, "four");
    assert_int_equal(kt_json_string(object, "e", 0, 9, &out, &error), 0);
    assert_string_equal(out, "");
    assert_int_equal(kt_json_string(object, "none", 0, 9, &out, &error), 0);
    assert_null(out);
    json_decref(object);
}

static void string_member_with_nul_is_refused(void **state)
{
    json_t *object = json_object();
    const char *out;

    (void)state;
    assert_int_equal(json_object_set_new(object, "s", json_stringn("a\0b", 3)), 0);
    assert_int_equal(kt_json_string(object, "s", 1, 9, &out, &error), KT_ERR_BAD_REQUEST);
    json_decref(object);
}

static void integer_member_is_checked_for_type_and_range(void **state)
{
    json_t *object = object_of("{\"n\": 5, \"r\": 5.0, \"s\": \"5\"}");
    int64_t out = 77;

    (void)state;
    assert_int_equal(kt_json_integer(object, "n", 6, 9, 1, &out, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_json_integer(object, "n", 1, 4, 1, &out, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_json_integer(object, "r", 1, 9, 1, &out, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_json_integer(object, "s", 1, 9, 0, &out, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_json_integer(object, "none", 1, 9, 1, &out, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_json_integer(object, "none", 1, 9, 0, &out, &error), 0);
    assert_int_equal(out, 77);
    assert_int_equal(kt_json_integer(object, "n", 5, 5, 1, &out, &error), 0);
    assert_int_equal(out, 5);
    json_decref(object);
}

static void boolean_member_falls_back(void **state)
{
    json_t *object = object_of("{\"t\": true, \"f\": false, \"n\": 1}");

    (void)state;
    assert_int_equal(kt_json_boolean(object, "t", 0), 1);
    assert_int_equal(kt_json_boolean(object, "f", 1), 0);
    assert_int_equal(kt_json_boolean(object, "n", 0), 0);
    assert_int_equal(kt_json_boolean(object, "none", 1), 1);
    json_decref(object);
}

static void unknown_member_is_a_bad_request_and_named(void **state)
{
    static const char *const NAMES[] = {"a", "b", NULL};
    json_t *object = object_of("{\"b\": 1, \"a\": 1}");

    (void)state;
    assert_int_equal(kt_json_only(object, NAMES, &error), 0);
    json_decref(object);
    object = object_of("{\"a\": 1, \"evil\": 1}");
    assert_int_equal(kt_json_only(object, NAMES, &error), KT_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.message, "'evil'"));
    json_decref(object);
}

static void long_unknown_member_is_cut_between_characters(void **state)
{
    static const char *const NAMES[] = {NULL};
    json_t *object = json_object(), *text;
    char name[400] = "x";

    (void)state;
    for (int i = 0; i < 100; i++)
        strcat(name, "\xe2\x82\xac");
    assert_int_equal(json_object_set_new(object, name, json_true()), 0);
    assert_int_equal(kt_json_only(object, NAMES, &error), KT_ERR_BAD_REQUEST);
    assert_true(strlen(error.message) < 100);
    text = json_string(error.message); // NULL when it is not UTF-8
    assert_non_null(text);
    json_decref(text);
    json_decref(object);
}

static void text_is_compact_with_sorted_keys(void **state)
{
    json_t *object = object_of("{ \"b\": [1, 2], \"a\": \"x\" }");
    char *text = kt_json_text(object);

    (void)state;
    assert_string_equal(text, "{\"a\":\"x\",\"b\":[1,2]}");
    free(text);
    json_decref(object);
    assert_null(kt_json_text(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object_is_parsed),
        cmocka_unit_test(what_is_not_one_object_is_a_bad_request),
        cmocka_unit_test(very_deep_input_is_refused_and_does_not_crash),
        cmocka_unit_test(error_has_the_position_and_not_the_input),
        cmocka_unit_test(string_member_is_checked_for_type_and_length),
        cmocka_unit_test(string_member_with_nul_is_refused),
        cmocka_unit_test(integer_member_is_checked_for_type_and_range),
        cmocka_unit_test(boolean_member_falls_back),
        cmocka_unit_test(unknown_member_is_a_bad_request_and_named),
        cmocka_unit_test(long_unknown_member_is_cut_between_characters),
        cmocka_unit_test(text_is_compact_with_sorted_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
