// SPDX-License-Identifier: Apache-2.0
// A backup made on a passive is the one of the active; nothing is loaded into a passive.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>

#include "db/load.h"
#include "lib/version.h"
#include "tests/unit/db/real_nodes.h"

#include "tests/unit/db/backup_rows.h"

static void a_passive_gives_the_same_backup(void **state)
{
    struct bytes scripts[2] = {{.buf = KT_BUF_INIT(1u << 30)}, {.buf = KT_BUF_INIT(1u << 30)}};
    struct db_backup *backups[2];
    const struct db_backup_facts *facts[2];
    struct db_position position;
    uint64_t n;

    (void)state;
    nodes_copy(1, 0, 1);
    OK(db_pg_run(admins[0]->conn, MS, ROWS, &error));
    OK(db_admin_position(admins[0], &position, &error));
    OK(db_admin_wait_replayed(admins[1], position.lsn, MS, &error));
    for (int i = 0; i < 2; i++) {
        backups[i] = backup_of(&nodes[i]);
        facts[i] = db_backup_facts(backups[i]);
        OK(db_backup_script(backups[i], "/rows", "x", take, &scripts[i], &n, &error));
    }
    assert_true(facts[1]->in_recovery);
    assert_true(facts[1]->lsn >= position.lsn);
    assert_int_equal(facts[1]->timeline, 1);
    assert_memory_equal(facts[1]->log_head, facts[0]->log_head, KT_SHA256_LEN);
    assert_int_equal(facts[1]->table_count, facts[0]->table_count);
    for (size_t i = 0; i < facts[0]->table_count; i++) {
        struct kt_buf rows[2];

        assert_string_equal(facts[0]->tables[i].name, facts[1]->tables[i].name);
        assert_int_equal(facts[0]->tables[i].rows, facts[1]->tables[i].rows);
        read_table(backups[0], i, &rows[0]);
        read_table(backups[1], i, &rows[1]);
        assert_int_equal(kt_buf_left(&rows[0]), kt_buf_left(&rows[1]));
        assert_memory_equal(kt_buf_ptr(&rows[0]), kt_buf_ptr(&rows[1]), kt_buf_left(&rows[0]));
        kt_buf_free(&rows[0]);
        kt_buf_free(&rows[1]);
    }
    assert_int_equal(kt_buf_left(&scripts[0].buf), kt_buf_left(&scripts[1].buf));
    assert_memory_equal(kt_buf_ptr(&scripts[0].buf), kt_buf_ptr(&scripts[1].buf),
                        kt_buf_left(&scripts[0].buf));
    for (int i = 0; i < 2; i++) {
        kt_buf_free(&scripts[i].buf);
        db_backup_close(backups[i]);
    }
}

static void a_passive_is_neither_loaded_nor_adopted(void **state)
{
    struct db_restored restored = {.incarnation = {.number = 2}, .self = &nodes[1].peer};
    struct db_load *load = NULL;

    (void)state;
    assert_int_equal(db_load_cluster(nodes[1].cluster, KT_SCHEMA_VERSION, &load, &error),
                     KT_ERR_PASSIVE);
    assert_null(load);
    assert_int_equal(db_adopt(nodes[1].cluster, &restored, &error), KT_ERR_PASSIVE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_passive_gives_the_same_backup),
        cmocka_unit_test(a_passive_is_neither_loaded_nor_adopted),
    };

    return cmocka_run_group_tests(tests, nodes_setup, nodes_teardown);
}
