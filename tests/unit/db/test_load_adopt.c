// SPDX-License-Identifier: Apache-2.0
// A backup loaded into a node's own PostgreSQL, and a database adopted that was restored there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/db/real_cluster.h"

#include "tests/unit/db/kept_backup.h"

static PGconn *other_session(void)
{
    struct db_target target;

    node_target(&other, "keytrustee", &target);
    return owner_of(&target);
}

static void assert_new_incarnation(PGconn *conn, const char *number, const char *member)
{
    char sql[256];

    assert_string_equal(value(conn, "SELECT state FROM cluster"), "normal");
    assert_string_equal(value(conn, "SELECT number || '.' || encode(bits, 'hex') || convert_from("
                                    "statement, 'UTF8') FROM incarnations ORDER BY number DESC"),
                        strcmp(number, "2") == 0
                            ? "2.fedcba9876543210keytrustee-incarnation 1\n\xc3\xa4\n"
                            : "3.fedcba9876543210keytrustee-incarnation 1\n\xc3\xa4\n");
    snprintf(sql, sizeof(sql), "%s/7/1/%s/{}/0/0/0/1/true/restored from kts_bak", number, member);
    assert_string_equal(value(conn, "SELECT concat_ws('/', incarnation, epoch, sequence, active,"
                                    " members, w, start_lsn, timeline, ends::text, note) FROM"
                                    " epochs ORDER BY incarnation DESC, epoch DESC LIMIT 1"),
                        sql);
    assert_string_equal(value(conn, "SELECT string_agg(member, ',') FROM nodes WHERE removed_at IS"
                                    " NULL"),
                        member);
    assert_string_equal(value(conn, "SELECT string_agg(name, ',' ORDER BY name) FROM"
                                    " node_certificates WHERE revoked_at IS NULL"),
                        "anna,kts-02");
    assert_string_equal(value(conn, "SELECT string_agg(rolname, ',') FROM pg_roles WHERE"
                                    " rolreplication AND rolcanlogin AND NOT rolsuper"),
                        member);
}

static void assert_roles_come_in(const struct real *node)
{
    for (int role = 0; role < DB_ROLE_COUNT; role++) {
        struct db_target target = {0};
        struct kt_secret *secret = NULL;
        PGconn *conn = NULL;

        OK(db_target_load(&node->paths, node->settings, (enum db_role)role, &target, &secret,
                          &error));
        OK(db_pg_connect(&target, MS, &conn, &error));
        PQfinish(conn);
        kt_secret_free(secret);
    }
}

static void a_load_that_fails_leaves_the_node_without_database(void **state)
{
    struct db_restored restored = restored_as(2);
    struct db_load *load = NULL;

    (void)state;
    OK(db_load_cluster(other.cluster, KT_SCHEMA_VERSION, &load, &error));
    load_all(load, "grants");
    assert_int_equal(db_load_finish(load, NULL, &error), KT_ERR_INVALID); // not without
    assert_int_equal(db_load_finish(load, &restored, &error), KT_ERR_INVALID);
    db_load_free(load);
    assert_false(db_cluster_is_populated(other.cluster));
    restored.incarnation.number = 1; // the backup's
    OK(db_load_cluster(other.cluster, KT_SCHEMA_VERSION, &load, &error));
    load_all(load, NULL);
    assert_int_equal(db_load_finish(load, &restored, &error), KT_ERR_INVALID);
    db_load_free(load);
    assert_false(db_cluster_is_populated(other.cluster));
}

static void a_node_is_restored_as_the_first_of_a_new_incarnation(void **state)
{
    struct db_restored restored = restored_as(2);
    struct db_load *load = NULL;
    struct db_target target;
    PGconn *conn;

    (void)state;
    node_target(&other, "postgres", &target);
    conn = owner_of(&target);
    // as a run leaves it that was killed between commit and mark
    OK(db_pg_run(conn, MS,
                 "CREATE ROLE kts_members; CREATE ROLE \"kts-02.0000000a\" LOGIN REPLICATION"
                 " IN ROLE kts_members",
                 &error));
    PQfinish(conn);
    OK(db_load_cluster(other.cluster, KT_SCHEMA_VERSION, &load, &error));
    load_all(load, NULL);
    OK(db_load_finish(load, &restored, &error));
    db_load_free(load);
    assert_true(db_cluster_is_populated(other.cluster));
    conn = other_session();
    assert_new_incarnation(conn, "2", other.peer.member);
    assert_string_equal(value(conn, "SELECT count(*) FROM deposits"), "400");
    PQfinish(conn);
    assert_roles_come_in(&other);
    assert_int_equal(db_load_cluster(other.cluster, KT_SCHEMA_VERSION, &load, &error),
                     KT_ERR_EXISTS);
}

static void a_database_in_use_is_not_adopted(void **state)
{
    struct db_restored restored = restored_as(3);

    (void)state;
    assert_int_equal(db_adopt(other.cluster, &restored, &error), KT_ERR_EXISTS);
}

static void what_stock_tools_restored_is_adopted_and_may_be_again(void **state)
{
    struct db_restored restored = restored_as(3);
    PGconn *conn = other_session();

    (void)state;
    // The first one is listed, and stays as it is.
    restored.key_rows =
        "[{\"number\":1,\"fingerprint\":\"CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC\",\"before\":"
        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"statement\":\"x\",\"made_at\":"
        "\"2026-11-22T06:11:43.123456Z\"},"
        "{\"number\":2,\"fingerprint\":\"DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD\",\"before\":"
        "\"BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB\",\"statement\":\"y\\n\",\"made_at\":"
        "\"2026-11-22T06:11:43.123456Z\"}]";
    strcpy(self.member, "kts-02.00000003");
    OK(db_pg_run(conn, MS,
                 "UPDATE cluster SET state = 'restored';"
                 "CREATE ROLE \"kts-09.00000009\" LOGIN REPLICATION IN ROLE kts_members;"
                 "ALTER ROLE kts_writer PASSWORD 'other'",
                 &error));
    OK(db_pg_query(conn, MS, "SELECT pg_create_physical_replication_slot('kts_09_00000009', true)",
                   0, NULL, NULL, &error));
    OK(db_pg_run(conn, MS,
                 "BEGIN; UPDATE cluster SET state = 'restored';"
                 " UPDATE nodes SET revision = revision + 1; PREPARE TRANSACTION 'kt:left'",
                 &error));
    for (int again = 0; again < 2; again++) {
        OK(db_adopt(other.cluster, &restored, &error));
        assert_new_incarnation(conn, "3", self.member);
        assert_string_equal(value(conn, "SELECT count(*) FROM pg_prepared_xacts"), "0");
        assert_string_equal(value(conn, "SELECT count(*) FROM pg_replication_slots"), "0");
        assert_string_equal(value(conn, "SELECT count(*) FROM pg_roles WHERE rolname LIKE '%-%'"),
                            "1");
        assert_roles_come_in(&other);
        assert_string_equal(value(conn, "SELECT string_agg(number || left(fingerprint, 1) ||"
                                        " statement, '' ORDER BY number) FROM cluster_keys"),
                            "1Bsigned\n2Dy\n");
    }
    restored.incarnation.number = 4;
    assert_int_equal(db_adopt(other.cluster, &restored, &error), KT_ERR_EXISTS);
    PQfinish(conn);
}

static void the_database_of_another_cluster_is_not_adopted(void **state)
{
    struct db_restored restored = restored_as(4);
    PGconn *conn = other_session();

    (void)state;
    OK(db_pg_run(conn, MS, "UPDATE cluster SET state = 'restored', cluster_id = gen_random_uuid()",
                 &error));
    assert_int_equal(db_adopt(other.cluster, &restored, &error), KT_ERR_NOT_OURS);
    OK(db_pg_run(conn, MS, "DROP TABLE cluster CASCADE", &error));
    assert_int_equal(db_adopt(other.cluster, &restored, &error), KT_ERR_INVALID);
    PQfinish(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_load_that_fails_leaves_the_node_without_database),
        cmocka_unit_test(a_node_is_restored_as_the_first_of_a_new_incarnation),
        cmocka_unit_test(a_database_in_use_is_not_adopted),
        cmocka_unit_test(what_stock_tools_restored_is_adopted_and_may_be_again),
        cmocka_unit_test(the_database_of_another_cluster_is_not_adopted),
    };

    return cmocka_run_group_tests(tests, kept_setup, kept_teardown);
}
