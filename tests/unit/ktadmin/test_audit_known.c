// SPDX-License-Identifier: Apache-2.0
// A log against the heads that others know of it, under this member id and earlier ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/audit_known.h"

static const uint8_t HASH[KT_SHA256_LEN] = {1};

// A log of three records that began at ten; one head of `seq`, made at `time`. The findings.
static size_t findings(int is_old, uint64_t seq, uint8_t hash, const char *time)
{
    static const char RECORD[] = "{\"time\":\"2026-11-22T10:00:00.000000Z\"}";
    struct kta_known known;
    size_t count;

    assert_int_equal(kta_known_init(&known), 0);
    known.heads = calloc(1, sizeof(*known.heads));
    assert_non_null(known.heads);
    known.count = known.room = 1;
    known.heads[0] = (struct kta_known_head){
        .seq = seq, .hash = {hash}, .source = "node kts-02", .is_old = is_old};
    snprintf(known.heads[0].time, sizeof(known.heads[0].time), "%s", time);
    for (uint64_t i = 1; i <= 3; i++)
        kta_known_compare(&known, i, HASH, RECORD, strlen(RECORD));
    kta_known_conclude(&known, 3);
    count = json_array_size(known.findings);
    kta_known_free(&known);
    return count;
}

static void a_head_of_now_must_be_in_the_log(void **state)
{
    (void)state;
    assert_int_equal(findings(0, 3, 1, "2026-11-22T11:00:00.000000Z"), 0);
    assert_int_equal(findings(0, 3, 2, "2026-11-22T11:00:00.000000Z"), 1);
    assert_int_equal(findings(0, 9, 1, "2026-11-22T11:00:00.000000Z"), 1);
    assert_int_equal(findings(0, 9, 1, "2026-11-22T09:00:00.000000Z"), 1);
    assert_int_equal(findings(0, 9, 1, ""), 1); // a noted one
}

static void so_must_a_head_of_an_earlier_member_id(void **state)
{
    (void)state;
    assert_int_equal(findings(1, 3, 1, "2026-11-22T11:00:00.000000Z"), 0);
    assert_int_equal(findings(1, 3, 2, "2026-11-22T11:00:00.000000Z"), 1);
    assert_int_equal(findings(1, 9, 1, "2026-11-22T11:00:00.000000Z"), 1);
}

static void the_log_of_a_machine_that_was_replaced_is_not_missed(void **state)
{
    (void)state;
    assert_int_equal(findings(1, 9, 1, "2026-11-22T09:59:59.999999Z"), 0);
    assert_int_equal(findings(1, 3, 2, "2026-11-22T09:59:59.999999Z"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_of_now_must_be_in_the_log),
        cmocka_unit_test(so_must_a_head_of_an_earlier_member_id),
        cmocka_unit_test(the_log_of_a_machine_that_was_replaced_is_not_missed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
