// SPDX-License-Identifier: Apache-2.0
// The report of a sealed node as JSON, from friends and from strangers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/json.h"
#include "tests/unit/lib/rules_fixture.h"

#define REPORT(member, active, lsn, since, more)                                                   \
    "{\"member\":" member ",\"incarnation\":\"1.0123456789abcdef\",\"epoch\":9,\"active\":" active \
    ",\"lsn\":" lsn ",\"floor\":\"0/0\",\"active_since\":" since more "}"
#define B    "\"b.0000000b\""
#define ROWS ",\"rows\":[]"

static int read_report(const char *text)
{
    struct kt_report report = {.lsn = 0};
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    int rc = kt_report_from_json(value, &report, &error);

    json_decref(value);
    kt_report_free(&report);
    return rc;
}

static void a_report_survives_json(void **state)
{
    struct kt_report *report, back;
    json_t *object;

    (void)state;
    begin('B');
    history[0] = make_row(1, 1, 'A', "BC", 1);
    history[1] = make_row(2, 1, 'B', "AC", 1);
    report = seal('B', UINT64_C(0x16B374D848), 2);
    report->floor = 0x3000060;
    report->active_since = 2;
    snprintf(report->retired_by, sizeof(report->retired_by), "4 kts-02");
    object = kt_report_to_json(report);
    assert_int_equal(kt_report_from_json(object, &back, &error), 0);
    json_decref(object);
    assert_string_equal(back.member, report->member);
    assert_string_equal(back.active, "b");
    assert_string_equal(back.retired_by, "4 kts-02");
    assert_true(back.lsn == report->lsn && back.floor == report->floor);
    assert_true(back.epoch == 9 && back.active_since == 2);
    assert_true(back.incarnation.bits == FIRST.bits && back.incarnation.number == FIRST.number);
    assert_int_equal(back.rows.count, 2);
    assert_memory_equal(back.rows.rows, report->rows.rows, 2 * sizeof(history[0]));
    kt_report_free(&back);
    kt_report_free(NULL);
}

static void hostile_reports_are_refused(void **state)
{
    static const char *const WRONG[] = {
        "[]",
        "{}",
        REPORT(B, "\"b\"", "\"0/1\"", "0", ""), // without rows
        REPORT(B, "\"b\"", "\"0/1\"", "0", ",\"rows\":{}"),
        REPORT(B, "\"b\"", "\"0/1\"", "0", ",\"rows\":[7]"),
        REPORT(B, "\"b\"", "\"0/1\"", "0", ROWS ",\"vote\":true"),
        REPORT(B, "\"b\"", "\"0/1\"", "0", ROWS ",\"retired_by\":7"),
        REPORT(B, "\"b\"", "\"0/1\"", "-1", ROWS),
        REPORT(B, "\"b\"", "\"0/1\"", "\"0\"", ROWS),
        REPORT(B, "\"b\"", "\"0/1\"", "18446744073709551615", ROWS),
        REPORT(B, "\"b\"", "17", "0", ROWS),
        REPORT(B, "\"b\"", "\"one\"", "0", ROWS),
        REPORT(B, "\"B\"", "\"0/1\"", "0", ROWS),
        REPORT(B, "\"abcdefghijklmnopq\"", "\"0/1\"", "0", ROWS),
        REPORT("\"b\"", "\"b\"", "\"0/1\"", "0", ROWS),
        REPORT("\"b.0000000b\\u0000\"", "\"b\"", "\"0/1\"", "0", ROWS),
        REPORT("null", "\"b\"", "\"0/1\"", "0", ROWS),
    };

    (void)state;
    assert_int_equal(read_report(REPORT(B, "\"b\"", "\"0/1\"", "0", ROWS)), 0);
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        int rc = read_report(WRONG[i]);
        if (rc == 0)
            fail_msg("taken: %s", WRONG[i]);
    }
    assert_int_equal(read_report(WRONG[0]), KT_ERR_BAD_REQUEST);
    assert_int_equal(read_report(REPORT(B, "\"b\"", "\"0/1\"", "0",
                                        ROWS ",\"retired_by\":"
                                             "\"1234567890123456789012345678901234567890"
                                             "123456789012345678901234567890\"")),
                     KT_ERR_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_report_survives_json, forget_attempt),
        cmocka_unit_test_teardown(hostile_reports_are_refused, forget_attempt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
