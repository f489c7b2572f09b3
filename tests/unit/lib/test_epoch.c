// SPDX-License-Identifier: Apache-2.0
// Rows: their order, their JSON from strangers, positions, timelines and names.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/json.h"
#include "tests/unit/lib/rules_fixture.h"

static void rows_are_ordered_by_incarnation_epoch_and_sequence(void **state)
{
    struct kt_epoch_row a = make_row(2, 5, 'A', "B", 1), b = make_row(3, 1, 'B', "A", 1);

    (void)state;
    assert_true(kt_epoch_row_compare(&a, &b) < 0);
    a.incarnation.number = 2;
    assert_true(kt_epoch_row_compare(&a, &b) > 0);
    a = b;
    assert_int_equal(kt_epoch_row_compare(&a, &b), 0);
    b.sequence = 2;
    assert_true(kt_epoch_row_compare(&a, &b) < 0);
}

static void rows_of_other_bits_or_another_active_are_never_the_same(void **state)
{
    struct kt_epoch_row a = make_row(2, 1, 'A', "B", 1), b = a;

    (void)state;
    b.incarnation.bits++;
    assert_int_not_equal(kt_epoch_row_compare(&a, &b), 0);
    b = make_row(2, 1, 'C', "B", 1);
    assert_int_not_equal(kt_epoch_row_compare(&a, &b), 0);
}

static void a_row_is_own_only_when_member_epoch_and_incarnation_are_the_promised(void **state)
{
    const struct kt_epoch_row own = make_row(7, 2, 'A', "B", 1);
    struct kt_promise promise = {.incarnation = FIRST, .epoch = 7, .active = "a"};
    struct kt_epoch_row row = own;

    (void)state;
    snprintf(promise.member, sizeof(promise.member), "%s", member_of('A'));
    assert_true(kt_epoch_row_is_own(&own, &promise));
    assert_false(kt_epoch_row_is_own(NULL, &promise));
    row.epoch = 8;
    assert_false(kt_epoch_row_is_own(&row, &promise));
    row = own;
    row.incarnation.number++;
    assert_false(kt_epoch_row_is_own(&row, &promise));
    row = own;
    row.incarnation.bits++;
    assert_false(kt_epoch_row_is_own(&row, &promise));
    row = make_row(7, 2, 'B', "A", 1);
    assert_false(kt_epoch_row_is_own(&row, &promise));
    snprintf(row.active, sizeof(row.active), "a.0000000f"); // the same node, joined anew
    assert_false(kt_epoch_row_is_own(&row, &promise));
}

static void rows_are_added_in_order_only(void **state)
{
    struct kt_epoch_rows rows = {0};
    struct kt_epoch_row row = make_row(2, 1, 'A', "B", 1), older = make_row(1, 9, 'A', "B", 1);

    (void)state;
    assert_null(kt_epoch_rows_newest(&rows));
    assert_int_equal(kt_epoch_rows_add(&rows, &row), 0);
    assert_int_equal(kt_epoch_rows_add(&rows, &row), KT_ERR_INVALID);
    assert_int_equal(kt_epoch_rows_add(&rows, &older), KT_ERR_INVALID);
    row.sequence = 2;
    row.incarnation.bits++;
    assert_int_equal(kt_epoch_rows_add(&rows, &row), KT_ERR_INVALID);
    row.incarnation.bits--;
    assert_int_equal(kt_epoch_rows_add(&rows, &row), 0);
    assert_int_equal(kt_epoch_rows_newest(&rows)->sequence, 2);
    kt_epoch_rows_free(&rows);
    assert_int_equal(rows.count, 0);
    kt_epoch_rows_free(NULL);
}

static void a_log_has_only_so_many_rows(void **state)
{
    struct kt_epoch_rows rows = {0};
    struct kt_epoch_row row = make_row(1, 1, 'A', "B", 1);

    (void)state;
    for (; row.sequence <= KT_EPOCH_ROWS_MAX; row.sequence++)
        assert_int_equal(kt_epoch_rows_add(&rows, &row), 0);
    assert_int_equal(kt_epoch_rows_add(&rows, &row), KT_ERR_TOO_LARGE);
    kt_epoch_rows_free(&rows);
}

static void a_row_survives_json(void **state)
{
    struct kt_epoch_row row = make_row(7, 3, 'A', "BC", 2), back;
    json_t *object;

    (void)state;
    row.start_lsn = UINT64_C(0x16B374D848);
    row.ends = 1;
    snprintf(row.note, sizeof(row.note), "retired b.0000000b");
    object = kt_epoch_row_to_json(&row);
    char *text = kt_json_text(object);
    assert_string_equal(text, "{\"active\":\"a.0000000a\",\"ends\":true,\"epoch\":7,"
                              "\"incarnation\":\"1.0123456789abcdef\","
                              "\"members\":[\"b.0000000b\",\"c.0000000c\"],"
                              "\"note\":\"retired b.0000000b\",\"sequence\":3,"
                              "\"start_lsn\":\"16/B374D848\",\"timeline\":7,\"w\":2}");
    assert_int_equal(kt_epoch_row_from_json(object, &back, &error), 0);
    assert_memory_equal(&back, &row, sizeof(row));
    free(text);
    json_decref(object);
}

#define ROW(members, w, more)                                                                      \
    "{\"incarnation\":\"1.0123456789abcdef\",\"epoch\":7,\"sequence\":3,\"active\":\"a.0000000a\"" \
    ",\"members\":" members ",\"w\":" w ",\"start_lsn\":\"0/60\",\"timeline\":2" more "}"
#define B "\"b.0000000b\""

static int read_row(const char *text)
{
    struct kt_epoch_row row;
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    int rc = kt_epoch_row_from_json(value, &row, &error);

    json_decref(value);
    return rc;
}

static void rows_without_end_mark_and_note_are_read(void **state)
{
    (void)state;
    assert_int_equal(read_row(ROW("[" B "]", "1", "")), 0);
    assert_int_equal(read_row(ROW("[]", "0", "")), 0);
    assert_int_equal(read_row(ROW("[" B "]", "1", ",\"ends\":false,\"note\":\"\"")), 0);
}

static void hostile_rows_are_refused(void **state)
{
    static const char *const WRONG[] = {
        "[]",
        "7",
        "{}",
        ROW("{}", "1", ""),
        ROW("\"b.0000000b\"", "1", ""),
        ROW("[7]", "1", ""),
        ROW("[\"b\"]", "1", ""),
        ROW("[\"b.0000000b\\u0000\"]", "1", ""),
        ROW("[\"B.0000000b\"]", "1", ""),
        ROW("[" B "," B "]", "1", ""),
        ROW("[\"a.0000000a\"]", "1", ""), // the active itself
        ROW("[" B "]", "2", ""),
        ROW("[" B "]", "0", ""),
        ROW("[]", "1", ""),
        ROW("[" B "]", "-1", ""),
        ROW("[" B "]", "1.0", ""),
        ROW("[" B "]", "\"1\"", ""),
        ROW("[" B "]", "1", ",\"ends\":1"),
        ROW("[" B "]", "1", ",\"ends\":null"),
        ROW("[" B "]", "1", ",\"note\":7"),
        ROW("[" B "]", "1", ",\"more\":7"),
        "{\"incarnation\":\"1\",\"epoch\":7,\"sequence\":3,\"active\":\"a.0000000a\",\"members\":"
        "[],\"w\":0,\"start_lsn\":\"0/60\",\"timeline\":2}",
        "{\"incarnation\":\"1.0123456789abcdef\",\"epoch\":-7,\"sequence\":3,\"active\":"
        "\"a.0000000a\",\"members\":[],\"w\":0,\"start_lsn\":\"0/60\",\"timeline\":2}",
        "{\"incarnation\":\"1.0123456789abcdef\",\"epoch\":7,\"sequence\":4294967296,\"active\":"
        "\"a.0000000a\",\"members\":[],\"w\":0,\"start_lsn\":\"0/60\",\"timeline\":2}",
        "{\"incarnation\":\"1.0123456789abcdef\",\"epoch\":7,\"sequence\":3,\"active\":"
        "\"kts-01\",\"members\":[],\"w\":0,\"start_lsn\":\"0/60\",\"timeline\":2}",
        "{\"incarnation\":\"1.0123456789abcdef\",\"epoch\":7,\"sequence\":3,\"active\":"
        "\"a.0000000a\",\"members\":[],\"w\":0,\"start_lsn\":\"60\",\"timeline\":2}",
        "{\"incarnation\":\"1.0123456789abcdef\",\"epoch\":7,\"sequence\":3,\"active\":"
        "\"a.0000000a\",\"members\":[],\"w\":0,\"timeline\":2}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        if (read_row(WRONG[i]) != KT_ERR_BAD_REQUEST)
            fail_msg("taken: %s", WRONG[i]);
    }
    assert_int_equal(kt_epoch_row_from_json(NULL, NULL, &error), KT_ERR_BAD_REQUEST);
}

static void too_many_members_or_too_long_texts_are_refused(void **state)
{
    char members[1024] = "[", text[2048], note[300];

    (void)state;
    for (int i = 0; i <= KT_MEMBERS_MAX; i++)
        snprintf(members + strlen(members), sizeof(members) - strlen(members), "%s\"b.%08d\"",
                 i ? "," : "", i);
    strcat(members, "]");
    snprintf(text, sizeof(text),
             "{\"incarnation\":\"1.0123456789abcdef\",\"epoch\":7,\"sequence\":3,\"active\":"
             "\"a.0000000a\",\"members\":%s,\"w\":1,\"start_lsn\":\"0/60\",\"timeline\":2}",
             members);
    assert_int_equal(read_row(text), KT_ERR_TOO_LARGE);
    memset(note, 'x', sizeof(note) - 1);
    note[sizeof(note) - 1] = '\0';
    snprintf(text, sizeof(text),
             "{\"incarnation\":\"1.0123456789abcdef\",\"epoch\":7,\"sequence\":3,\"active\":"
             "\"a.0000000a\",\"members\":[],\"w\":0,\"start_lsn\":\"0/60\",\"timeline\":2,"
             "\"note\":\"%s\"}",
             note);
    assert_int_equal(read_row(text), KT_ERR_BAD_REQUEST);
}

static void rows_survive_json_and_must_be_in_order(void **state)
{
    struct kt_epoch_rows rows = {0}, back = {0};
    struct kt_epoch_row one = make_row(1, 1, 'A', "B", 1), two = make_row(2, 1, 'B', "A", 1);
    json_t *array;

    (void)state;
    assert_int_equal(kt_epoch_rows_add(&rows, &one), 0);
    assert_int_equal(kt_epoch_rows_add(&rows, &two), 0);
    array = kt_epoch_rows_to_json(&rows);
    assert_int_equal(kt_epoch_rows_from_json(array, &back, &error), 0);
    assert_int_equal(back.count, 2);
    assert_memory_equal(back.rows, rows.rows, 2 * sizeof(one));
    kt_epoch_rows_free(&back);
    json_array_append_new(array, kt_epoch_row_to_json(&one));
    assert_int_equal(kt_epoch_rows_from_json(array, &back, &error), KT_ERR_BAD_REQUEST);
    assert_null(back.rows);
    json_array_append_new(array, json_integer(7));
    json_array_remove(array, 2);
    assert_int_equal(kt_epoch_rows_from_json(array, &back, &error), KT_ERR_BAD_REQUEST);
    assert_int_equal(kt_epoch_rows_from_json(NULL, &back, &error), KT_ERR_BAD_REQUEST);
    for (size_t i = 0; i <= KT_EPOCH_ROWS_MAX; i++)
        json_array_append_new(array, json_null());
    assert_int_equal(kt_epoch_rows_from_json(array, &back, &error), KT_ERR_TOO_LARGE);
    json_decref(array);
    kt_epoch_rows_free(&rows);
}

static void positions_are_postgresqls_text(void **state)
{
    static const char *const WRONG[] = {
        "",     "/",     "0",           "0/",          "/0",  "0/0 ", " 0/0",
        "0/-1", "0x0/0", "123456789/0", "0/123456789", "g/0", "0/0/0"};
    char text[KT_LSN_TEXT];
    uint64_t lsn = 7;

    (void)state;
    kt_lsn_format(UINT64_C(0x16B374D848), text);
    assert_string_equal(text, "16/B374D848");
    kt_lsn_format(UINT64_C(0x3000060), text);
    assert_string_equal(text, "0/3000060");
    kt_lsn_format(UINT64_MAX, text);
    assert_int_equal(kt_lsn_parse(text, &lsn), 0);
    assert_true(lsn == UINT64_MAX);
    assert_int_equal(kt_lsn_parse("2/0a00bc18", &lsn), 0);
    assert_true(lsn == UINT64_C(0x20A00BC18));
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(kt_lsn_parse(WRONG[i], &lsn), KT_ERR_INVALID);
}

static void timeline_history_says_where_a_log_left_a_timeline(void **state)
{
    static const char HISTORY[] = "1\t0/3000060\tno recovery target specified\n\n"
                                  "# a comment of somebody\n"
                                  "2\t0/5000148\tno recovery target specified\n";
    uint64_t lsn = 7;

    (void)state;
    assert_int_equal(kt_timeline_left(HISTORY, 1, &lsn), 0);
    assert_true(lsn == 0x3000060);
    assert_int_equal(kt_timeline_left(HISTORY, 2, &lsn), 0);
    assert_true(lsn == 0x5000148);
    assert_int_equal(kt_timeline_left(HISTORY, 3, &lsn), KT_ERR_NOT_FOUND);
    assert_int_equal(kt_timeline_left("", 1, &lsn), KT_ERR_NOT_FOUND);
    assert_int_equal(kt_timeline_left("x\t0/1\n", 1, &lsn), KT_ERR_INVALID);
    assert_int_equal(kt_timeline_left("1\n", 1, &lsn), KT_ERR_INVALID);
    assert_int_equal(kt_timeline_left("1 3000060", 1, &lsn), KT_ERR_INVALID);
    assert_int_equal(kt_timeline_left("1 0/60", 1, &lsn), 0);
}

static void member_ids_are_a_node_and_random_bits(void **state)
{
    static const char *const WRONG[] = {"",
                                        "kts-01",
                                        "kts-01.",
                                        ".9f3a2b1c",
                                        "kts-01.9F3A2B1C",
                                        "kts-01.9f3a2b1",
                                        "Kts.9f3a2b1c",
                                        "kts-01.9f3a2b1c0",
                                        "abcdefghijklmnopq.9f3a2b1c",
                                        "kts.01.9f3a2b1c"};
    char one[KT_MEMBER_TEXT], two[KT_MEMBER_TEXT], node[KT_NODE_NAME_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
        assert_int_equal(kt_member_check(WRONG[i]), KT_ERR_INVALID);
    assert_int_equal(kt_member_check("abcdefghijklmnop.9f3a2b1c"), 0);
    assert_int_equal(kt_member_new("kts-01", one), 0);
    assert_int_equal(kt_member_new("kts-01", two), 0);
    assert_int_equal(kt_member_check(one), 0);
    assert_string_not_equal(one, two);
    kt_member_node(one, node);
    assert_string_equal(node, "kts-01");
    assert_int_equal(kt_member_new("Not a node", one), KT_ERR_INVALID);
}

static void replication_names_are_never_cut_off(void **state)
{
    char name[KT_REPLICATION_NAME_TEXT];

    (void)state;
    assert_int_equal(kt_replication_name("kts-02.1a2b3c4d", 3, "kts-01", name), 0);
    assert_string_equal(name, "kts-02.1a2b3c4d_e3_kts-01");
    assert_int_equal(kt_replication_name("abcdefghijklmnop.1a2b3c4d", UINT64_C(1) << 62,
                                         "abcdefghijklmnop", name),
                     0);
    assert_int_equal(strlen(name), 63);
    assert_int_equal(
        kt_replication_name("abcdefghijklmnop.1a2b3c4d", UINT64_MAX, "abcdefghijklmnop", name),
        KT_ERR_TOO_LARGE);
}

static void standby_names_are_quoted_and_in_the_rows_order(void **state)
{
    struct kt_epoch_row row = make_row(3, 1, 'A', "CB", 1);
    char names[KT_STANDBY_NAMES_TEXT];

    (void)state;
    assert_int_equal(kt_standby_names(&row, names), 0);
    assert_string_equal(names, "ANY 1 (\"c.0000000c_e3_a\", \"b.0000000b_e3_a\")");
    row = make_row(3, 1, 'A', "", 0);
    assert_int_equal(kt_standby_names(&row, names), 0);
    assert_string_equal(names, "");
}

static void longest_standby_names_fit(void **state)
{
    struct kt_epoch_row row = {.epoch = INT64_MAX, .w = KT_MEMBERS_MAX, .count = KT_MEMBERS_MAX};
    char names[KT_STANDBY_NAMES_TEXT];

    (void)state;
    snprintf(row.active, sizeof(row.active), "abcdefghijklmnop.1a2b3c4d");
    for (int i = 0; i < KT_MEMBERS_MAX; i++)
        snprintf(row.members[i], KT_MEMBER_TEXT, "abcdefghijklmnop.%08d", i);
    assert_int_equal(kt_standby_names(&row, names), 0);
    assert_int_equal(names[strlen(names) - 1], ')');
    row.epoch = UINT64_MAX;
    assert_int_equal(kt_standby_names(&row, names), KT_ERR_TOO_LARGE);
}

static void slot_names_have_only_what_postgresql_allows(void **state)
{
    char slot[KT_MEMBER_TEXT];

    (void)state;
    kt_slot_name("kts-02.1a2b3c4d", slot);
    assert_string_equal(slot, "kts_02_1a2b3c4d");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_ordered_by_incarnation_epoch_and_sequence),
        cmocka_unit_test(rows_of_other_bits_or_another_active_are_never_the_same),
        cmocka_unit_test(a_row_is_own_only_when_member_epoch_and_incarnation_are_the_promised),
        cmocka_unit_test(rows_are_added_in_order_only),
        cmocka_unit_test(a_log_has_only_so_many_rows),
        cmocka_unit_test(a_row_survives_json),
        cmocka_unit_test(rows_without_end_mark_and_note_are_read),
        cmocka_unit_test(hostile_rows_are_refused),
        cmocka_unit_test(too_many_members_or_too_long_texts_are_refused),
        cmocka_unit_test(rows_survive_json_and_must_be_in_order),
        cmocka_unit_test(positions_are_postgresqls_text),
        cmocka_unit_test(timeline_history_says_where_a_log_left_a_timeline),
        cmocka_unit_test(member_ids_are_a_node_and_random_bits),
        cmocka_unit_test(replication_names_are_never_cut_off),
        cmocka_unit_test(standby_names_are_quoted_and_in_the_rows_order),
        cmocka_unit_test(longest_standby_names_fit),
        cmocka_unit_test(slot_names_have_only_what_postgresql_allows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
