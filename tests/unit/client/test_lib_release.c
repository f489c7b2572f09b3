// SPDX-License-Identifier: Apache-2.0
// Release policies as the client asks for them, and as it is told of them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "client/client.h"

#define A "11111111-1111-4111-8111-111111111111"
#define B "22222222-2222-4222-8222-222222222222"

static void a_policy_becomes_header_fields(void **state)
{
    static const char *const trustees[] = {A, B, NULL};
    struct keytrustee_policy policy = {.size = sizeof policy,
                                       .not_before = "2027-01-31T08:00:00Z",
                                       .not_after = "2027-02-28T00:00:00.500000Z",
                                       .max_retrievals = 7,
                                       .justification = 1,
                                       .trustees = trustees,
                                       .votes = 2};
    char text[KTC_POLICY_TEXT];
    const char *lines[KTC_POLICY_HEADERS] = {NULL};

    (void)state;
    assert_int_equal(ktc_policy_text(&policy, text, NULL), 0);
    assert_int_equal(ktc_policy_lines(text, lines), 7);
    assert_string_equal(lines[0], "KT-Not-Before: 2027-01-31T08:00:00.000000Z");
    assert_string_equal(lines[1], "KT-Not-After: 2027-02-28T00:00:00.500000Z");
    assert_string_equal(lines[2], "KT-Max-Retrievals: 7");
    assert_string_equal(lines[3], "KT-Justification: required");
    assert_string_equal(lines[4], "KT-Votes: 2");
    assert_string_equal(lines[5], "KT-Request-Lifetime: 86400");
    assert_string_equal(lines[6], "KT-Trustees: " A "," B);
    assert_int_equal(ktc_policy_text(NULL, text, NULL), 0);
    assert_string_equal(text, "");
}

static void sixteen_trustees_fit(void **state)
{
    static const char *trustees[18];
    struct keytrustee_policy policy = {.size = sizeof policy, .trustees = trustees, .votes = 16};
    char ids[17][KT_UUID_TEXT], text[KTC_POLICY_TEXT];

    (void)state;
    for (int i = 0; i < 17; i++) {
        struct kt_uuid id = {.bytes = {[0] = (uint8_t)(i + 1)}};
        kt_uuid_format(&id, ids[i]);
        trustees[i] = ids[i];
    }
    trustees[16] = NULL;
    policy.not_before = "2027-01-31T08:00:00Z";
    policy.not_after = "2028-01-31T08:00:00Z";
    policy.max_retrievals = INT32_MAX;
    policy.justification = 1;
    assert_int_equal(ktc_policy_text(&policy, text, NULL), 0);
    assert_non_null(strstr(text, ids[15]));
    trustees[16] = ids[16];
    assert_int_equal(ktc_policy_text(&policy, text, NULL), KT_ERR_USAGE);
}

static void a_policy_that_is_wrong_is_refused_before_anything_is_sent(void **state)
{
    static const char *const twice[] = {A, A, NULL}, *const none[] = {"alice", NULL};
    struct keytrustee_policy bad[] = {
        {.not_before = "tomorrow"},
        {.not_after = "2027-02-30T00:00:00Z"},
        {.not_before = "2027-02-01T00:00:00Z", .not_after = "2027-02-01T00:00:00Z"},
        {.not_before = "2027-02-01T00:00:00Z\r\nX: y"},
        {.votes = 1},
        {.trustees = twice, .votes = 1},
        {.trustees = none, .votes = 1},
        {.request_lifetime = 3600},
    };
    char text[KTC_POLICY_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(ktc_policy_text(&bad[i], text, NULL), KT_ERR_USAGE);
}

static int told(const char *json, struct keytrustee_release **release)
{
    json_t *object = json_loads(json, 0, NULL);
    int rc = 0;

    assert_non_null(object);
    rc = ktc_release_from_json(object, release, NULL);
    json_decref(object);
    return rc;
}

static void what_the_server_tells_is_taken_when_it_has_the_right_form(void **state)
{
    struct keytrustee_release *release = NULL;

    (void)state;
    assert_int_equal(told("{}", &release), 0);
    assert_null(release);
    assert_int_equal(told("{\"policy\": null}", &release), 0);
    assert_null(release);
    assert_int_equal(
        told("{\"policy\": {\"not_before\": \"2027-01-31T08:00:00.000000Z\", \"not_after\": null,"
             " \"max_retrievals\": null, \"retrievals\": 0, \"justification\": true, \"votes\": 1,"
             " \"trustees\": [\"" A "\"], \"request_lifetime\": 60}}",
             &release),
        0);
    assert_string_equal(release->not_before, "2027-01-31T08:00:00.000000Z");
    assert_string_equal(release->not_after, "");
    assert_int_equal(release->max_retrievals, 0);
    assert_int_equal(release->justification, 1);
    assert_int_equal(release->votes, 1);
    assert_int_equal(release->trustee_count, 1);
    assert_string_equal(release->trustees[0], A);
    assert_int_equal(release->request_lifetime, 60);
    keytrustee_release_free(release);
    assert_int_not_equal(told("{\"policy\": {\"not_before\": \"soon\"}}", &release), 0);
    assert_int_not_equal(told("{\"policy\": {\"votes\": -1}}", &release), 0);
    assert_int_not_equal(told("{\"policy\": {\"trustees\": [1]}}", &release), 0);
    assert_null(release);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_policy_becomes_header_fields),
        cmocka_unit_test(sixteen_trustees_fit),
        cmocka_unit_test(a_policy_that_is_wrong_is_refused_before_anything_is_sent),
        cmocka_unit_test(what_the_server_tells_is_taken_when_it_has_the_right_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
