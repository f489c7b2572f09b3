// SPDX-License-Identifier: Apache-2.0
// A backup loaded into a PostgreSQL that lives as long as the check.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/db/real_cluster.h"

#include "tests/unit/db/kept_backup.h"

static struct db_scratch *scratch;

static struct db_load *scratch_load(void)
{
    struct db_load *load = NULL;

    OK(db_load_scratch(scratch, KT_SCHEMA_VERSION, &load, &error));
    return load;
}

static PGconn *scratch_session(void)
{
    struct db_target target;

    db_scratch_target(scratch, "keytrustee", &target);
    return owner_of(&target);
}

static void a_backup_is_loaded_as_it_was(void **state)
{
    struct db_load *load = scratch_load();
    struct db_backup_facts *facts = calloc(1, sizeof(*facts));
    char before[16384], after[16384];
    PGconn *conn;

    (void)state;
    load_all(load, NULL);
    OK(db_load_finish(load, NULL, &error));
    assert_non_null(facts);
    OK(db_load_facts(load, facts, &error));
    assert_memory_equal(&facts->cluster_id, &kept.facts.cluster_id, sizeof(facts->cluster_id));
    assert_memory_equal(facts->log_head, kept.facts.log_head, sizeof(facts->log_head));
    assert_int_equal(facts->log_index, 400);
    assert_int_equal(facts->epoch, kept.facts.epoch);
    assert_string_equal(facts->active, kept.facts.active);
    assert_int_equal(facts->schema, KT_SCHEMA_VERSION);
    assert_int_equal(facts->peers.count, 3);
    assert_int_equal(facts->table_count, kept.facts.table_count);
    for (size_t i = 0; i < facts->table_count; i++) {
        assert_string_equal(facts->tables[i].name, kept.facts.tables[i].name);
        assert_int_equal(facts->tables[i].rows, kept.facts.tables[i].rows);
    }
    free(facts);
    conn = scratch_session();
    fingerprint(source, before);
    fingerprint(conn, after);
    assert_string_equal(before, after);
    assert_string_equal(value(conn, "SELECT state FROM cluster"), "normal");
    assert_string_equal(value(conn, "SELECT count(*) FROM pg_roles WHERE rolcanlogin"), "1");
    PQfinish(conn);
    db_load_free(load);
}

static void nothing_is_there_of_what_was_not_finished(void **state)
{
    struct db_load *load = scratch_load();
    PGconn *conn;

    (void)state;
    load_all(load, NULL);
    db_load_free(load);
    conn = scratch_session();
    assert_string_equal(
        value(conn, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"),
        "0");
    PQfinish(conn);
}

static void tables_of_another_schema_are_refused(void **state)
{
    static const char *const NAMES[] = {"pg_authid", "deposits; DROP TABLE grants", "",
                                        "kt_rebuild"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct db_load *load = scratch_load();

        assert_int_equal(db_load_begin(load, NAMES[i], &error), KT_ERR_INVALID);
        assert_int_equal(db_load_begin(load, "grants", &error), KT_ERR_INVALID);
        assert_int_equal(db_load_finish(load, NULL, &error), KT_ERR_INVALID);
        db_load_free(load);
    }
}

static void a_table_is_loaded_once(void **state)
{
    struct db_load *load = scratch_load();
    size_t i = table_of(&kept.facts, "cluster");

    (void)state;
    OK(load_bytes(load, "cluster", bytes_of(i), length_of(i)));
    assert_int_equal(db_load_begin(load, "cluster", &error), KT_ERR_INVALID);
    assert_non_null(strstr(error.message, "twice"));
    db_load_free(load);
}

static void a_backup_without_a_table_is_refused(void **state)
{
    struct db_load *load = scratch_load();

    (void)state;
    load_all(load, "grants");
    assert_int_equal(db_load_finish(load, NULL, &error), KT_ERR_INVALID);
    assert_non_null(strstr(error.message, "no table 'grants'"));
    db_load_free(load);
}

static void a_table_that_is_cut_off_behind_a_row_is_refused(void **state)
{
    struct db_load *load = scratch_load();
    size_t i = table_of(&kept.facts, "organisations");

    (void)state;
    assert_int_equal(load_bytes(load, "organisations", bytes_of(i), length_of(i) - 2),
                     KT_ERR_INVALID);
    assert_non_null(strstr(error.message, "cut off"));
    db_load_free(load);
}

static void the_rows_of_another_table_are_refused(void **state)
{
    struct db_load *load = scratch_load();
    size_t i = table_of(&kept.facts, "grants");

    (void)state;
    assert_int_equal(load_bytes(load, "cluster", bytes_of(i), length_of(i)), KT_ERR_INVALID);
    db_load_free(load);
}

static void rows_that_refer_to_nothing_are_refused(void **state)
{
    struct db_load *load = scratch_load();
    size_t i = table_of(&kept.facts, "clients");
    uint8_t empty[21];

    (void)state;
    load_all(load, "clients");
    memcpy(empty, bytes_of(i), 19);
    memset(empty + 19, 0xff, 2);
    OK(load_bytes(load, "clients", empty, sizeof(empty)));
    assert_int_equal(db_load_finish(load, NULL, &error), KT_ERR_INVALID);
    assert_non_null(strstr(error.message, "foreign key"));
    assert_int_equal(db_load_facts(load, &kept.facts, &error), KT_ERR_INVALID);
    db_load_free(load);
}

// Each byte of a small table in turn: loaded all the same (another value), or refused in words.
static void a_changed_byte_is_another_value_or_is_refused(void **state)
{
    size_t i = table_of(&kept.facts, "epochs"), n = length_of(i);
    int refused = 0;

    (void)state;
    for (size_t at = 0; at < n; at += 13) {
        struct db_load *load = scratch_load();
        uint8_t *bytes = malloc(n);
        int rc;

        assert_non_null(bytes);
        memcpy(bytes, bytes_of(i), n);
        bytes[at] ^= 0x41;
        rc = load_bytes(load, "epochs", bytes, n);
        assert_true(rc == 0 || rc == KT_ERR_INVALID);
        refused += rc != 0;
        free(bytes);
        db_load_free(load);
    }
    assert_true(refused > 5);
}

static void a_record_of_another_schema_is_refused(void **state)
{
    struct db_load *load = scratch_load();
    size_t i = table_of(&kept.facts, "schema_version"), n = length_of(i);
    uint8_t *bytes = malloc(n);
    char file[32];

    (void)state;
    load_all(load, "schema_version");
    assert_non_null(bytes);
    memcpy(bytes, bytes_of(i), n);
    bytes[n - 20] ^= 1; // in the last row's hash
    OK(load_bytes(load, "schema_version", bytes, n));
    assert_int_equal(db_load_finish(load, NULL, &error), KT_ERR_INVALID);
    snprintf(file, sizeof(file), "schema file %d", KT_SCHEMA_VERSION);
    assert_non_null(strstr(error.message, file));
    free(bytes);
    db_load_free(load);
}

static void steps_out_of_order_are_refused(void **state)
{
    struct db_load *load = scratch_load();
    uint64_t rows = 0;

    (void)state;
    assert_int_equal(db_load_put(load, "", 1, &error), KT_ERR_INVALID);
    assert_int_equal(db_load_end(load, &rows, &error), KT_ERR_INVALID);
    OK(db_load_begin(load, "grants", &error));
    assert_int_equal(db_load_begin(load, "clients", &error), KT_ERR_INVALID);
    assert_int_equal(db_load_finish(load, NULL, &error), KT_ERR_INVALID);
    db_load_free(load);
}

static void a_schema_of_a_newer_program_is_refused(void **state)
{
    struct db_load *load = NULL;

    (void)state;
    assert_int_equal(db_load_scratch(scratch, KT_SCHEMA_VERSION + 1, &load, &error),
                     KT_ERR_INVALID);
    assert_non_null(strstr(error.hint, "newer program"));
    assert_int_equal(db_load_scratch(scratch, 0, &load, &error), KT_ERR_INVALID);
    assert_int_equal(db_load_cluster(other.cluster, KT_SCHEMA_VERSION + 1, &load, &error),
                     KT_ERR_INVALID);
    assert_null(load);
}

// The tables as the program of schema 1 had them.
static void a_backup_of_an_older_schema_is_brought_up_to_date(void **state)
{
    // Tables that have got columns since, and those that came later.
    static const struct {
        const char *name, *sql;
    } OLD[] = {
        {"epochs", "COPY (SELECT incarnation, epoch, sequence, active, members, w, start_lsn,"
                   " timeline, note, written_at FROM epochs) TO STDOUT (FORMAT binary)"},
        {"organisations", "COPY (SELECT organisation_id, name, contacts, needs_approval,"
                          " disabled_at, lock_default, policy, created_at, created_by"
                          " FROM organisations) TO STDOUT (FORMAT binary)"},
        {"deposits", "COPY (SELECT deposit_id, organisation_id, client_id, handle, version,"
                     " content_type, body, sha256, size, key_group_id, log_index, incarnation,"
                     " epoch, deposited_at, w, receipt_key_id, receipt_signature, deleted_at,"
                     " deleted_by, lock_mode, lock_until, legal_hold, purge_after, purged_at"
                     " FROM deposits) TO STDOUT (FORMAT binary)"},
        {"auth_codes", "COPY (SELECT code_id, organisation_id, secret_sha256, max_uses, uses,"
                       " rights, expires_at, revoked_at, created_at, created_by FROM auth_codes)"
                       " TO STDOUT (FORMAT binary)"},
        {"node_certificates", "COPY (SELECT sha256, kind, name, not_after, revoked_at, created_at"
                              " FROM node_certificates) TO STDOUT (FORMAT binary)"},
        {"schema_version", "COPY (SELECT * FROM schema_version WHERE version = 1)"
                           " TO STDOUT (FORMAT binary)"},
    };
    static const char LATER[] = " nodes clock release_policies release_requests release_votes"
                                " releases log_tiles tree_heads recovery_keys cluster_keys ";
    struct db_restored restored = restored_as(2);
    struct db_load *load = NULL;
    PGconn *conn;

    (void)state;
    OK(db_load_scratch(scratch, 1, &load, &error));
    for (size_t i = 0; i < kept.facts.table_count; i++) {
        const char *name = kept.facts.tables[i].name, *sql = NULL;
        char word[80];

        for (size_t k = 0; k < sizeof(OLD) / sizeof(OLD[0]); k++)
            if (strcmp(OLD[k].name, name) == 0)
                sql = OLD[k].sql;
        snprintf(word, sizeof(word), " %s ", name);
        if (sql) {
            struct bytes bytes = {.buf = KT_BUF_INIT(1u << 28)};
            struct db_stream stream;

            OK(db_stream_begin(&stream, take, &bytes, UINT64_MAX, &error));
            OK(db_stream_copy(&stream, source, sql, &error));
            OK(load_bytes(load, name, kt_buf_ptr(&bytes.buf), kt_buf_left(&bytes.buf)));
            db_stream_free(&stream);
            kt_buf_free(&bytes.buf);
        } else if (!strstr(LATER, word)) {
            OK(load_bytes(load, name, bytes_of(i), length_of(i)));
        }
    }
    OK(db_load_finish(load, &restored, &error));
    db_load_free(load);
    conn = scratch_session();
    assert_string_equal(value(conn, "SELECT string_agg(version || file, ' ' ORDER BY version)"
                                    " FROM schema_version"),
                        "1001_initial.sql 2002_nodes.sql 3003_retention.sql 4004_release.sql"
                        " 5005_log.sql 6006_recovery.sql 7007_endings.sql"
                        " 8008_cluster_keys.sql");
    assert_string_equal(value(conn, "SELECT active || ends FROM epochs ORDER BY incarnation DESC"),
                        "kts-02.0a1b2c32true");
    assert_string_equal(value(conn, "SELECT string_agg(member, ' ') FROM nodes"),
                        "kts-02.0a1b2c32");
    PQfinish(conn);
}

static int setup(void **state)
{
    return kept_setup(state) != 0 ? -1 : SAY(db_scratch_new(temp_dir, NULL, &scratch, &error));
}

static int teardown(void **state)
{
    db_scratch_free(scratch);
    return kept_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_is_loaded_as_it_was),
        cmocka_unit_test(nothing_is_there_of_what_was_not_finished),
        cmocka_unit_test(tables_of_another_schema_are_refused),
        cmocka_unit_test(a_table_is_loaded_once),
        cmocka_unit_test(a_backup_without_a_table_is_refused),
        cmocka_unit_test(a_table_that_is_cut_off_behind_a_row_is_refused),
        cmocka_unit_test(the_rows_of_another_table_are_refused),
        cmocka_unit_test(rows_that_refer_to_nothing_are_refused),
        cmocka_unit_test(a_changed_byte_is_another_value_or_is_refused),
        cmocka_unit_test(a_record_of_another_schema_is_refused),
        cmocka_unit_test(steps_out_of_order_are_refused),
        cmocka_unit_test(a_schema_of_a_newer_program_is_refused),
        cmocka_unit_test(a_backup_of_an_older_schema_is_brought_up_to_date),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
