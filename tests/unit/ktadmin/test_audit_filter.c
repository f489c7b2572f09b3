// SPDX-License-Identifier: Apache-2.0
// Choosing audit records, and what strangers' values can do to a line: nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/audit_filter.h"

static json_t *sample(void)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", "deposit.get", "handle", "db/one",
                     "result", "allowed", "client", "1b4e28ba-2fa1-41d2-883f-0016d3cca427", "time",
                     "2026-11-22T06:11:43.123456Z");
}

static int fits(const struct kta_audit_filter *filter)
{
    json_t *record = sample();
    int yes = kta_audit_filter_fits(filter, record);

    json_decref(record);
    return yes;
}

static void each_filter_lets_through_what_it_names_and_nothing_else(void **state)
{
    (void)state;
    assert_true(fits(&(struct kta_audit_filter){.handle = NULL}));
    assert_true(fits(&(struct kta_audit_filter){.handle = "db/one"}));
    assert_true(fits(&(struct kta_audit_filter){.handle = "db/*"}));
    assert_true(fits(&(struct kta_audit_filter){.handle = "*"}));
    assert_false(fits(&(struct kta_audit_filter){.handle = "db/"}));
    assert_false(fits(&(struct kta_audit_filter){.handle = "db/one/*"}));
    assert_true(fits(&(struct kta_audit_filter){.event = "deposit.*"}));
    assert_false(fits(&(struct kta_audit_filter){.event = "deposit.put"}));
    assert_true(fits(&(struct kta_audit_filter){.result = "allowed"}));
    assert_false(fits(&(struct kta_audit_filter){.result = "denied"}));
    assert_true(fits(&(struct kta_audit_filter){.client = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"}));
    assert_false(
        fits(&(struct kta_audit_filter){.client = "2b4e28ba-2fa1-41d2-883f-0016d3cca427"}));
}

static void since_is_in_and_until_is_not(void **state)
{
    (void)state;
    assert_true(fits(&(struct kta_audit_filter){.since = "2026-11-22T06:11:43.123456Z"}));
    assert_false(fits(&(struct kta_audit_filter){.since = "2026-11-22T06:11:43.123457Z"}));
    assert_false(fits(&(struct kta_audit_filter){.until = "2026-11-22T06:11:43.123456Z"}));
    assert_true(fits(&(struct kta_audit_filter){.until = "2026-11-22T06:11:43.123457Z"}));
}

static void times_are_taken_short_and_long(void **state)
{
    static const char *const GOOD[][2] = {
        {"2026-11-22", "2026-11-22T00:00:00.000000Z"},
        {"2026-11-22T06:11", "2026-11-22T06:11:00.000000Z"},
        {"2026-11-22 06:11:43", "2026-11-22T06:11:43.000000Z"},
        {"2026-11-22T06:11:43Z", "2026-11-22T06:11:43.000000Z"},
        {"2026-11-22T06:11:43.123456Z", "2026-11-22T06:11:43.123456Z"},
    };
    static const char *const BAD[] = {"",           "yesterday", "2026-13-01", "2026-11-22T", "-1h",
                                      "2026-11-2Z", "20261122",  "Z",          "10 days"};
    char out[KT_TIME_TEXT], before[KT_TIME_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++) {
        assert_int_equal(kta_audit_time("since", GOOD[i][0], out, NULL), 0);
        assert_string_equal(out, GOOD[i][1]);
    }
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
        assert_int_equal(kta_audit_time("since", BAD[i], out, NULL), KT_ERR_USAGE);
    kt_time_format(kt_time_now() - 3600LL * 1000000, before);
    assert_int_equal(kta_audit_time("since", "1h", out, NULL), 0);
    assert_true(strcmp(out, before) >= 0);
}

static void no_value_begins_a_line_or_speaks_to_a_terminal(void **state)
{
    json_t *record = json_pack("{s:s}", "justification",
                               "x\",\"result\":\"allowed\n{\"event\":\"forged\"}\x1b[2J\x7f"
                               "\xc2\x9b\xe2\x80\xae");
    char *line = kta_audit_line(record);
    json_t *again;

    (void)state;
    assert_non_null(line);
    for (const char *at = line; *at; at++)
        assert_true(*at >= 0x20 && *at < 0x7f);
    again = json_loads(line, 0, NULL);
    assert_non_null(again);
    assert_true(json_equal(again, record)); // and nothing of it is lost
    json_decref(again);
    json_decref(record);
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_filter_lets_through_what_it_names_and_nothing_else),
        cmocka_unit_test(since_is_in_and_until_is_not),
        cmocka_unit_test(times_are_taken_short_and_long),
        cmocka_unit_test(no_value_begins_a_line_or_speaks_to_a_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
