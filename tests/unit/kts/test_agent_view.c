// SPDX-License-Identifier: Apache-2.0
// Tests of kts/agent_view.c: who counts among those that stream from this node.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kts/agent_view.h"

#define OWN   "kts-01.aaaaaaaa"
#define OTHER "kts-02.bbbbbbbb"
#define THIRD "kts-03.cccccccc"

#define ROW                                                                                        \
    "{'incarnation': '1.0000000000000007', 'epoch': 2, 'sequence': 1, 'active': '" OWN             \
    "', 'members': ['" OTHER "', '" THIRD "'], 'w': 1, 'start_lsn': '0/3000060', 'timeline': 2}"

static struct kts_view *new_view(void)
{
    struct kts_view *view = calloc(1, sizeof(*view));

    assert_non_null(view);
    view->has_promise = 1;
    view->promise =
        (struct kt_promise){.member = OWN, .incarnation = {1, 7}, .epoch = 2, .active = "kts-01"};
    return view;
}

// Text with ' for ".
static int take(struct kts_view *view, const char *streaming, const char *rows)
{
    static const char FORM[] =
        "{'in_recovery': false, 'restored': false, 'log_index': 5, 'prepared': 3, 'timeline': 2, "
        "'lsn': "
        "'0/4000000', 'replayed': null, 'lag_us': 0, 'receiver': null, 'streaming': [%s], "
        "'rows': [%s]}";
    char text[4096];
    json_t *look;
    int rc;

    snprintf(text, sizeof(text), FORM, streaming, rows);
    for (char *at = text; *at; at++) {
        if (*at == '\'')
            *at = '"';
    }
    look = json_loads(text, 0, NULL);
    assert_non_null(look);
    rc = kts_view_take(view, look, NULL);
    json_decref(look);
    return rc;
}

#define STREAM(member, name, state, replied)                                                       \
    "{'member': '" member "', 'name': '" name "', 'streaming': " state                             \
    ", 'flush_lsn': '0/4000000', 'lag_bytes': 0, 'lag_us': 0, 'replied': '" replied "'}"

static void members_under_this_epochs_names_count(void **state)
{
    struct kts_view *view = new_view();

    (void)state;
    assert_int_equal(take(view,
                          STREAM(OTHER, OTHER "_e2_kts-01", "true",
                                 "1") "," STREAM(THIRD, THIRD "_e2_kts-01", "true", "1"),
                          ROW),
                     0);
    assert_int_equal(kts_view_count(view), 2);
    assert_true(kts_view_streams(view, OTHER));
    assert_int_equal(view->lsn, 0x4000000);
    assert_int_equal(view->log_index, 5);
    assert_int_equal(view->prepared, 3);
    kts_view_free(view);
}

static void names_of_other_epochs_and_actives_do_not_count(void **state)
{
    struct kts_view *view = new_view();

    (void)state;
    assert_int_equal(take(view,
                          STREAM(OTHER, OTHER "_e1_kts-01", "true",
                                 "1") "," STREAM(THIRD, THIRD "_e2_kts-02", "true", "1"),
                          ROW),
                     0);
    assert_int_equal(kts_view_count(view), 0);
    kts_view_free(view);
}

static void copies_and_strangers_do_not_count(void **state)
{
    struct kts_view *view = new_view();

    (void)state;
    assert_int_equal(take(view,
                          STREAM(OTHER, OTHER "_copy", "true", "1") "," STREAM(
                              "kts-09.dddddddd", "kts-09.dddddddd_e2_kts-01", "true", "1"),
                          ROW),
                     0);
    assert_int_equal(kts_view_count(view), 0);
    assert_true(kts_view_streams(view, "kts-09.dddddddd")); // a newcomer may be added
    kts_view_free(view);
}

static void one_that_catches_up_does_not_count(void **state)
{
    struct kts_view *view = new_view();

    (void)state;
    assert_int_equal(take(view, STREAM(OTHER, OTHER "_e2_kts-01", "false", "1"), ROW), 0);
    assert_int_equal(kts_view_count(view), 0);
    kts_view_free(view);
}

static void silent_member_stops_counting(void **state)
{
    struct kts_view *view = new_view();

    (void)state;
    assert_int_equal(take(view, STREAM(OTHER, OTHER "_e2_kts-01", "true", "1"), ROW), 0);
    assert_int_equal(kts_view_count(view), 1);
    view->streams[0].replied_us -= KTS_SILENT_US + 1;
    assert_int_equal(take(view, STREAM(OTHER, OTHER "_e2_kts-01", "true", "1"), ROW), 0);
    assert_int_equal(kts_view_count(view), 0);
    // its clock may say what it likes: that it has changed is a sign of life
    assert_int_equal(take(view, STREAM(OTHER, OTHER "_e2_kts-01", "true", "0"), ROW), 0);
    assert_int_equal(kts_view_count(view), 1);
    kts_view_free(view);
}

static void row_that_waits_is_counted_for(void **state)
{
    struct kts_view *view = new_view();

    (void)state;
    assert_null(kts_view_row(view));
    view->has_pending = 1;
    view->pending = (struct kt_epoch_row){.epoch = 2, .count = 1, .w = 1, .members = {OTHER}};
    assert_int_equal(take(view, STREAM(OTHER, OTHER "_e2_kts-01", "true", "1"), ""), 0);
    assert_ptr_equal(kts_view_row(view), &view->pending);
    assert_int_equal(kts_view_count(view), 1);
    assert_int_equal(take(view, STREAM(OTHER, OTHER "_e2_kts-01", "true", "1"), ROW), 0);
    assert_ptr_not_equal(kts_view_row(view), &view->pending);
    kts_view_free(view);
}

static void rows_that_cannot_be_read_change_nothing(void **state)
{
    struct kts_view *view = new_view();

    (void)state;
    assert_int_equal(take(view, "", ROW), 0);
    assert_int_not_equal(take(view, "", "{'epoch': 3}"), 0);
    assert_int_equal(view->rows.count, 1);
    kts_view_free(view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_under_this_epochs_names_count),
        cmocka_unit_test(names_of_other_epochs_and_actives_do_not_count),
        cmocka_unit_test(copies_and_strangers_do_not_count),
        cmocka_unit_test(one_that_catches_up_does_not_count),
        cmocka_unit_test(silent_member_stops_counting),
        cmocka_unit_test(row_that_waits_is_counted_for),
        cmocka_unit_test(rows_that_cannot_be_read_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
