// SPDX-License-Identifier: Apache-2.0
// Under which row a writer opens, and how it settles what is in doubt: behind a
// barrier, and never by a rollback.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "tests/support/fake_pq.h"

#define CLUSTER "11111111-1111-4111-8111-111111111111"
#define ROW(incarnation, epoch, active)                                                            \
    "{\"incarnation\": \"" incarnation "\", \"epoch\": " epoch                                     \
    ", \"sequence\": 2, \"active\": \"" active                                                     \
    "\", \"members\": [\"kts-02.0000000b\", \"kts-03.0000000c\"], \"w\": 1,"                       \
    " \"start_lsn\": \"0/3000060\", \"timeline\": 3}"
#define OURS ROW("1.00000000000000aa", "7", "kts-01.0000000a")
#define BARRIER                                                                                    \
    {                                                                                              \
        .expect = "pg_logical_emit_message", .columns = 1, .row = { "0/0" }                        \
    }
#define PROVEN                                                                                     \
    {                                                                                              \
        .expect = "prove", .columns = 3, .row = { "t", "0/3000060", "1" }                          \
    }
#define END                                                                                        \
    {                                                                                              \
        .expect = NULL                                                                             \
    }

static struct db_writer writer;
static struct kt_cluster_info info;
static char counted[] = "{}";

static void noticed(void *arg)
{
    ((struct db_writer *)arg)->notices++;
}

static int setup(void **state)
{
    (void)state;
    memset(&writer, 0, sizeof(writer));
    strcpy(info.node, "kts-01");
    writer.main = fake_pq_main;
    writer.commit = fake_pq_commit;
    writer.settings.timeout_ms = 100;
    writer.settings.info = &info;
    writer.settings.incarnation = (struct kt_incarnation){1, 0xaa};
    writer.settings.epoch = 7;
    return kt_uuid_parse(CLUSTER, &info.cluster_id);
}

static int read_row(const char *row, const char *state, const char *in_recovery,
                    const char *cluster)
{
    const struct fake_answer script[] = {
        {.expect = "FROM epochs", .columns = 4, .row = {row, state, in_recovery, cluster}}, END};
    struct kt_error error = {0};
    int r;

    fake_pq_script(script, noticed, &writer);
    r = db_write_read_row(&writer, &error);
    assert_int_equal(r, error.code);
    return r;
}

static void row_of_this_node_and_epoch_is_taken_over_whole(void **state)
{
    (void)state;
    assert_int_equal(read_row(OURS, "normal", "f", CLUSTER), 0);
    assert_int_equal(writer.state.epoch, 7);
    assert_int_equal(writer.state.incarnation.bits, 0xaa);
    assert_int_equal(writer.state.w, 1);
    assert_int_equal(writer.state.members, 2);
    assert_int_equal(writer.row.sequence, 2);
    assert_string_equal(writer.standby_names, "ANY 1 (\"kts-02.0000000b_e7_kts-01\","
                                              " \"kts-03.0000000c_e7_kts-01\")");
    assert_string_equal(writer.counted, "{\"kts-02.0000000b_e7_kts-01\":\"kts-02.0000000b\","
                                        "\"kts-03.0000000c_e7_kts-01\":\"kts-03.0000000c\"}");
    free(writer.counted);
}

static void row_of_another_node_or_epoch_is_refused(void **state)
{
    (void)state;
    assert_int_equal(
        read_row(ROW("1.00000000000000aa", "7", "kts-04.0000000d"), "normal", "f", CLUSTER),
        KT_ERR_FENCED);
    assert_int_equal(
        read_row(ROW("1.00000000000000aa", "7", "kts-011.0000000a"), "normal", "f", CLUSTER),
        KT_ERR_FENCED);
    assert_int_equal(
        read_row(ROW("1.00000000000000aa", "8", "kts-01.0000000a"), "normal", "f", CLUSTER),
        KT_ERR_FENCED);
    assert_int_equal(
        read_row(ROW("1.00000000000000aa", "6", "kts-01.0000000a"), "normal", "f", CLUSTER),
        KT_ERR_FENCED);
    assert_int_equal(
        read_row(ROW("1.00000000000000ab", "7", "kts-01.0000000a"), "normal", "f", CLUSTER),
        KT_ERR_FENCED);
    assert_int_equal(
        read_row(ROW("2.00000000000000aa", "7", "kts-01.0000000a"), "normal", "f", CLUSTER),
        KT_ERR_FENCED);
    assert_null(writer.counted);
}

static void database_that_is_not_to_be_written_to_is_refused(void **state)
{
    (void)state;
    assert_int_equal(read_row(OURS, "normal", "t", CLUSTER), KT_ERR_PASSIVE);
    assert_int_equal(read_row(OURS, "restored", "f", CLUSTER), KT_ERR_PASSIVE);
    assert_int_equal(read_row(OURS, "normal", "f", "22222222-2222-4222-8222-222222222222"),
                     KT_ERR_NOT_OURS);
    assert_int_equal(read_row("{", "normal", "f", CLUSTER), KT_ERR_DATABASE);
    assert_int_equal(read_row("{}", "normal", "f", CLUSTER), KT_ERR_DATABASE);
}

static int settle(const struct fake_answer *script)
{
    struct kt_error error = {0};

    writer.row.w = 1;
    writer.counted = counted;
    fake_pq_script(script, noticed, &writer);
    return db_write_settle(&writer, &error);
}

static void groups_of_any_epoch_are_committed_behind_a_barrier(void **state)
{
    const struct fake_answer script[] = {
        BARRIER,
        PROVEN,
        {.expect = "pg_prepared_xacts",
         .columns = 1,
         .rows = 3,
         .row = {"kt:1.00000000000000aa:7:1000", "kt:foreign", "kt:1.00000000000000aa:3:9"}},
        {.expect = "COMMIT PREPARED 'kt:1.00000000000000aa:7:1000'"},
        {.expect = "COMMIT PREPARED 'kt:1.00000000000000aa:3:9'"},
        END};

    (void)state;
    assert_int_equal(settle(script), 0);
    assert_int_equal(writer.state.settled, 2);
    assert_int_equal(fake_pq_sent(), 5);
    assert_ptr_equal(fake_pq_connection(3), fake_pq_commit);
    assert_ptr_equal(fake_pq_connection(4), fake_pq_commit);
}

static void nothing_is_settled_without_a_clean_barrier(void **state)
{
    const struct fake_answer warned[] = {
        {.expect = "pg_logical_emit_message", .columns = 1, .row = {"0/0"}, .notices = 1},
        PROVEN,
        END};
    const struct fake_answer gone[] = {{.expect = "pg_logical_emit_message", .kind = FAKE_GONE},
                                       END};
    const struct fake_answer weak[] = {
        BARRIER, {.expect = "prove", .columns = 3, .row = {"f", "0/3000060", "1"}}, END};

    (void)state;
    assert_int_equal(settle(warned), KT_ERR_NO_QUORUM);
    assert_int_equal(settle(gone), KT_ERR_DATABASE_UNAVAILABLE);
    assert_int_equal(settle(weak), KT_ERR_UNSAFE_SETTINGS);
    assert_false(fake_pq_was_sent("PREPARED"));
}

static void group_that_cannot_be_committed_keeps_the_writer_closed(void **state)
{
    const struct fake_answer script[] = {
        BARRIER,
        PROVEN,
        {.expect = "pg_prepared_xacts",
         .columns = 1,
         .rows = 2,
         .row = {"kt:1.00000000000000aa:7:1000", "kt:1.00000000000000aa:7:1001"}},
        {.expect = "COMMIT PREPARED", .kind = FAKE_ERROR, .sqlstate = "42501"},
        END};

    (void)state;
    assert_int_equal(settle(script), KT_ERR_DATABASE);
    assert_false(fake_pq_was_sent("ROLLBACK"));
}

#define CASE(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(row_of_this_node_and_epoch_is_taken_over_whole),
        CASE(row_of_another_node_or_epoch_is_refused),
        CASE(database_that_is_not_to_be_written_to_is_refused),
        CASE(groups_of_any_epoch_are_committed_behind_a_barrier),
        CASE(nothing_is_settled_without_a_clean_barrier),
        CASE(group_that_cannot_be_committed_keeps_the_writer_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
