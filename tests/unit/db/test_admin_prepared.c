// SPDX-License-Identifier: Apache-2.0
// What strangers have prepared is rolled back; what is the writer's never is, also when the list of
// what is there was of a moment ago.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/db/real_nodes.h"

#define ODD_ROLE "odd \"\"role\\\"\"\"\" with %s"

static void run(const char *sql)
{
    OK(db_pg_run(admins[0]->conn, MS, sql, &error));
}

static void prepare(const char *role, const char *gid)
{
    char sql[512];

    snprintf(sql, sizeof(sql), "SET SESSION AUTHORIZATION \"%s\"", role);
    run(sql);
    run("BEGIN");
    run("SELECT 1");
    snprintf(sql, sizeof(sql), "PREPARE TRANSACTION '%s'", gid);
    run(sql);
    run("RESET SESSION AUTHORIZATION");
}

static int is_there(const char *gid)
{
    char sql[256];

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM pg_prepared_xact() WHERE gid = '%s'", gid);
    return strcmp(ask(0, sql), "1") == 0;
}

static void end(const char *gid)
{
    char sql[256];

    snprintf(sql, sizeof(sql), "ROLLBACK PREPARED '%s'", gid);
    run(sql);
}

static uint32_t roll_back(void)
{
    uint32_t count = 99;

    OK(db_admin_roll_back_strangers(admins[0], 0, &count, &error));
    assert_string_equal(ask(0, "SELECT current_user"), DB_OWNER);
    return count;
}

static void what_other_roles_have_prepared_goes_and_the_writers_stays(void **state)
{
    (void)state;
    run("CREATE ROLE \"" ODD_ROLE "\"");
    prepare("kts_writer", "kt:1.0123456789abcdef:1:7");
    prepare("kts_reader", "kt:1.0123456789abcdef:1:8");
    prepare("kts_agent", "it''s \\ %s");
    prepare(ODD_ROLE, "odd");
    assert_int_equal(roll_back(), 3);
    assert_true(is_there("kt:1.0123456789abcdef:1:7"));
    assert_string_equal(ask(0, "SELECT count(*) FROM pg_prepared_xacts"), "1");
    end("kt:1.0123456789abcdef:1:7");
    assert_int_equal(roll_back(), 0);
    run("DROP ROLE \"" ODD_ROLE "\"");
}

// A temporary view hides the catalogue's from the session: the list says what is no longer so.
static void a_writers_group_that_took_a_strangers_name_meanwhile_stays(void **state)
{
    uint32_t count = 99;

    (void)state;
    prepare("kts_writer", "kt:1.0123456789abcdef:1:9");
    run("CREATE TEMP VIEW pg_prepared_xacts AS SELECT gid, prepared, 'kts_reader'::name AS owner,"
        " current_database() AS database FROM pg_prepared_xact()");
    assert_int_equal(db_admin_roll_back_strangers(admins[0], 0, &count, &error), KT_ERR_DATABASE);
    assert_true(is_there("kt:1.0123456789abcdef:1:9"));
    run("DROP VIEW pg_temp.pg_prepared_xacts");
    assert_string_equal(ask(0, "SELECT current_user"), DB_OWNER);
    end("kt:1.0123456789abcdef:1:9");
}

static void what_a_role_that_is_gone_has_prepared_goes(void **state)
{
    (void)state;
    run("CREATE ROLE gone");
    prepare("gone", "kt:1.0123456789abcdef:1:10");
    run("DROP ROLE gone");
    assert_string_equal(ask(0, "SELECT owner IS NULL FROM pg_prepared_xacts"), "t");
    assert_int_equal(roll_back(), 1);
    assert_false(is_there("kt:1.0123456789abcdef:1:10"));
}

static void of_a_superusers_only_what_cannot_be_the_writers_goes(void **state)
{
    (void)state;
    prepare(DB_OWNER, "by hand");
    prepare(DB_OWNER, "kt:1.0123456789abcdef:1:11");
    assert_int_equal(roll_back(), 1);
    assert_true(is_there("kt:1.0123456789abcdef:1:11"));
    assert_false(is_there("by hand"));
    end("kt:1.0123456789abcdef:1:11");
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(what_other_roles_have_prepared_goes_and_the_writers_stays),
        cmocka_unit_test(a_writers_group_that_took_a_strangers_name_meanwhile_stays),
        cmocka_unit_test(what_a_role_that_is_gone_has_prepared_goes),
        cmocka_unit_test(of_a_superusers_only_what_cannot_be_the_writers_goes),
    };

    return cmocka_run_group_tests(cases, nodes_setup, nodes_teardown);
}
