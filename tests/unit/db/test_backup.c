// SPDX-License-Identifier: Apache-2.0
// A database read in one snapshot.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/epoch.h"
#include "lib/version.h"
#include "tests/unit/db/real_cluster.h"

#include "tests/unit/db/backup_rows.h"

static PGconn *source; // the owner's session

static void the_facts_are_those_of_the_rows(void **state)
{
    struct db_backup *backup = backup_of(&real);
    const struct db_backup_facts *facts = db_backup_facts(backup);
    char head[KT_SHA256_TEXT];

    (void)state;
    assert_memory_equal(&facts->cluster_id, &real.info.cluster_id, sizeof(facts->cluster_id));
    assert_int_equal(facts->incarnation.number, 1);
    assert_true(facts->incarnation.bits == 0x0123456789abcdefULL);
    assert_int_equal(facts->epoch, 2);
    assert_string_equal(facts->active, "kts-01.0a1b2c3d");
    assert_false(facts->in_recovery);
    assert_false(facts->is_restored);
    assert_true(facts->lsn > 0);
    assert_int_equal(facts->timeline, 1);
    assert_int_equal(facts->log_index, 400);
    assert_int_equal(facts->schema, KT_SCHEMA_VERSION);
    assert_string_equal(facts->postgresql,
                        value(source, "SELECT split_part(current_setting('server_version'), ' ',"
                                      " 1)"));
    kt_hex_encode(facts->log_head, KT_SHA256_LEN, head);
    assert_string_equal(head, value(source, "SELECT encode(sha256(receipt_signature), 'hex') FROM"
                                            " deposits WHERE log_index = 400"));
    assert_int_equal(facts->peers.count, 3);
    assert_true(facts->peers.peers[2].removed);
    assert_int_equal(facts->tables[table_of(facts, "deposits")].rows, 400);
    assert_int_equal(facts->tables[table_of(facts, "epochs")].rows, 3);
    assert_true(table_of(facts, "organisations") < table_of(facts, "clients"));
    assert_true(table_of(facts, "clients") < table_of(facts, "deposits"));
    assert_true(table_of(facts, "incarnations") < table_of(facts, "epochs"));
    db_backup_close(backup);
}

static void each_table_is_as_long_as_was_said(void **state)
{
    struct db_backup *backup = backup_of(&real);

    (void)state;
    for (size_t i = 0; i < db_backup_facts(backup)->table_count; i++) {
        struct kt_buf rows;

        assert_true(db_backup_facts(backup)->tables[i].rows > 0); // of every shape
        read_table(backup, i, &rows);
        kt_buf_free(&rows);
    }
    db_backup_close(backup);
}

static void what_is_there_before_is_in_it_and_what_comes_later_is_not(void **state)
{
    struct db_backup *backup;
    struct kt_buf rows;
    uint64_t before = 0;
    size_t i;

    (void)state;
    assert_int_equal(kt_lsn_parse(value(source, "SELECT pg_current_wal_flush_lsn()"), &before), 0);
    backup = backup_of(&real);
    assert_true(db_backup_facts(backup)->lsn >= before);
    OK(db_pg_run(source, MS,
                 "BEGIN; INSERT INTO key_groups SELECT gen_random_uuid(), organisation_id, 'late',"
                 " now(), 'x' FROM organisations; COMMIT",
                 &error));
    i = table_of(db_backup_facts(backup), "key_groups");
    read_table(backup, i, &rows); // as long as it was said, without the late ones
    kt_buf_free(&rows);
    db_backup_close(backup);
    OK(db_pg_run(source, MS, "DELETE FROM key_groups WHERE name = 'late'", &error));
}

static void a_sink_that_is_full_ends_the_copy(void **state)
{
    struct bytes bytes = {.buf = KT_BUF_INIT(1u << 30), .stop_after = 600000};
    struct db_backup *backup = backup_of(&real);
    size_t i = table_of(db_backup_facts(backup), "deposits");

    (void)state;
    assert_int_equal(db_backup_copy(backup, i, take, &bytes, &error), KT_ERR_STORAGE_FULL);
    assert_int_equal(db_backup_copy(backup, i, take, &bytes, &error), KT_ERR_DATABASE_UNAVAILABLE);
    kt_buf_free(&bytes.buf);
    db_backup_close(backup);
}

// The facts are told to be otherwise than the rows are.
static void a_table_of_another_length_is_refused(void **state)
{
    for (int longer = 0; longer < 2; longer++) {
        struct bytes bytes = {.buf = KT_BUF_INIT(1u << 30)};
        struct db_backup *backup = backup_of(&real);
        struct db_backup_facts *facts =
            (struct db_backup_facts *)(uintptr_t)db_backup_facts(backup);
        size_t i = table_of(facts, "deposits");

        (void)state;
        facts->tables[i].bytes += longer ? 1 : (uint64_t)-1;
        assert_int_equal(db_backup_copy(backup, i, take, &bytes, &error),
                         longer ? KT_ERR_TRUNCATED : KT_ERR_TOO_LARGE);
        assert_true(kt_buf_left(&bytes.buf) <= facts->tables[i].bytes);
        kt_buf_free(&bytes.buf);
        db_backup_close(backup);
    }
}

static void a_database_that_does_not_answer_is_unavailable(void **state)
{
    struct db_backup *backup = NULL;

    (void)state;
    assert_int_equal(db_backup_open(&real.paths, real.settings, 1, &backup, &error),
                     KT_ERR_DATABASE_UNAVAILABLE);
    assert_null(backup);
}

static void a_prepared_group_is_left_out(void **state)
{
    struct db_backup *backup;
    struct kt_buf rows;
    size_t i;

    (void)state;
    OK(db_pg_run(source, MS,
                 "BEGIN; INSERT INTO key_groups SELECT gen_random_uuid(), organisation_id, 'p',"
                 " now(), 'x' FROM organisations; PREPARE TRANSACTION 'kt:1'",
                 &error));
    backup = backup_of(&real);
    i = table_of(db_backup_facts(backup), "key_groups");
    assert_int_equal(db_backup_facts(backup)->tables[i].rows, 5);
    read_table(backup, i, &rows);
    kt_buf_free(&rows);
    db_backup_close(backup);
    OK(db_pg_run(source, MS, "ROLLBACK PREPARED 'kt:1'", &error));
}

static int setup(void **state)
{
    struct db_target target;

    if (real_setup(state) != 0)
        return -1;
    node_target(&real, "keytrustee", &target);
    return SAY(db_pg_connect(&target, MS, &source, &error)) != 0 ||
                   SAY(db_pg_run(source, MS, ROWS, &error)) != 0
               ? -1
               : 0;
}

static int teardown(void **state)
{
    PQfinish(source);
    return real_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_facts_are_those_of_the_rows),
        cmocka_unit_test(each_table_is_as_long_as_was_said),
        cmocka_unit_test(what_is_there_before_is_in_it_and_what_comes_later_is_not),
        cmocka_unit_test(a_sink_that_is_full_ends_the_copy),
        cmocka_unit_test(a_table_of_another_length_is_refused),
        cmocka_unit_test(a_database_that_does_not_answer_is_unavailable),
        cmocka_unit_test(a_prepared_group_is_left_out),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
