// SPDX-License-Identifier: Apache-2.0
// A backup's tables into a new database, in one transaction.
#include "db/load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/cluster_inner.h"
#include "db/load_inner.h"
#include "db/rebuild_sql.h"
#include "db/replication_inner.h"
#include "lib/version.h"

static int fail(struct db_load *load, int rc)
{
    load->failed = 1;
    return rc;
}

static int broken(struct db_load *load, struct kt_error *error)
{
    const char *text = PQerrorMessage(load->conn);

    return fail(load, kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                                   "the database broke off: %.*s", (int)strcspn(text, "\n"), text));
}

static int check_order(struct db_load *load, int in_table, struct kt_error *error)
{
    if (!load->failed && !load->is_finished && (load->table >= 0) == in_table)
        return 0;
    return kt_error_set(error, KT_ERR_INVALID, NULL,
                        load->failed ? "the load has failed before"
                                     : "the steps of a load are out of order");
}

// What is wrong with the rows, not with the database. PostgreSQL takes a row that is too short for
// a violation of the protocol.
static int result_error(const PGresult *result, const char *table, struct kt_error *error)
{
    static const char *const OF_ROWS[] = {"08P01", "22", "23", "42", "54"};
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    char what[128];
    int rc;

    snprintf(what, sizeof(what), "table '%s' of the backup cannot be loaded", table);
    rc = db_pg_result_error(result, what, error);
    for (size_t i = 0; state && i < sizeof(OF_ROWS) / sizeof(OF_ROWS[0]); i++)
        if (strncmp(state, OF_ROWS[i], strlen(OF_ROWS[i])) == 0)
            rc = kt_error_set(error, KT_ERR_INVALID, NULL, "%s: %.200s (SQLSTATE %s)", what,
                              PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), state);
    return rc;
}

// Reads off what is left, so that the connection takes the next statement.
static void drain(PGconn *conn)
{
    PGresult *result;

    while ((result = PQgetResult(conn)))
        PQclear(result);
}

int db_load_begin(struct db_load *load, const char *table, struct kt_error *error)
{
    PGresult *result;
    char sql[160];
    size_t i = 0;
    int rc = check_order(load, 0, error);

    if (rc)
        return rc;
    while (i < load->table_count && strcmp(load->names[i], table) != 0)
        i++;
    if (i == load->table_count || load->is_loaded[i])
        return fail(load,
                    kt_error_set(error, KT_ERR_INVALID, NULL,
                                 i == load->table_count
                                     ? "the backup has a table '%.63s' that is none of "
                                       "schema %" PRIu32
                                     : "the backup has table '%.63s' twice (schema %" PRIu32 ")",
                                 table, load->schema));
    // Rows as old ones: the table is of this transaction, and nobody needs to look at them again.
    snprintf(sql, sizeof(sql), "COPY public.%s FROM STDIN (FORMAT binary, FREEZE)", load->names[i]);
    result = PQexec(load->conn, sql);
    if (PQresultStatus(result) != PGRES_COPY_IN)
        rc = fail(load, db_pg_result_error(result, "rows cannot be loaded", error));
    PQclear(result);
    if (rc)
        return rc;
    memset(&load->walk, 0, sizeof(load->walk));
    load->table = (int)i;
    return 0;
}

int db_load_put(struct db_load *load, const void *bytes, size_t n, struct kt_error *error)
{
    const char *at = bytes;
    int rc = check_order(load, 1, error);

    if (rc)
        return rc;
    rc = db_walk(&load->walk, bytes, n);
    if (rc)
        return fail(load, kt_error_set(error, rc, NULL,
                                       "table '%s' of the backup is not in COPY's binary format",
                                       load->names[load->table]));
    while (n > 0) {
        size_t some = n < (1u << 20) ? n : 1u << 20;
        if (PQputCopyData(load->conn, at, (int)some) != 1)
            return broken(load, error);
        at += some;
        n -= some;
    }
    return 0;
}

int db_load_end(struct db_load *load, uint64_t *rows, struct kt_error *error)
{
    const char *table;
    PGresult *result;
    int rc = check_order(load, 1, error);

    if (rc)
        return rc;
    table = load->names[load->table];
    if (!db_walk_is_whole(&load->walk))
        return fail(load, kt_error_set(error, KT_ERR_INVALID, NULL,
                                       "table '%s' of the backup is cut off", table));
    if (PQputCopyEnd(load->conn, NULL) != 1)
        return broken(load, error);
    result = PQgetResult(load->conn);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        rc = fail(load, result_error(result, table, error));
    else if (kt_u64_parse(PQcmdTuples(result), 0, INT64_MAX, rows) != 0 || *rows != load->walk.rows)
        rc = fail(load, kt_error_set(error, KT_ERR_INTERNAL, NULL,
                                     "PostgreSQL counts other rows than table '%s' has", table));
    PQclear(result);
    drain(load->conn);
    load->is_loaded[load->table] = 1;
    load->table = -1;
    return rc;
}

// The schema of the backup must be the one that was made for it.
static int check_schema(struct db_load *load, struct kt_error *error)
{
    PGresult *result = NULL;
    int rc = db_pg_query(load->conn, DB_BACKUP_MS,
                         "SELECT version, encode(sha256, 'hex') FROM schema_version"
                         " ORDER BY version",
                         0, NULL, &result, error);

    if (rc == 0 && PQntuples(result) != (int)load->schema)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "the backup is not of schema %" PRIu32,
                          load->schema);
    for (int i = 0; rc == 0 && i < PQntuples(result); i++)
        if (db_leading_number(PQgetvalue(result, i, 0)) != i + 1 ||
            strcmp(PQgetvalue(result, i, 1), load->hashes[i]) != 0)
            rc = kt_error_set(error, KT_ERR_INVALID, "install the package again",
                              "schema file %d is not the one that the backup was made with", i + 1);
    PQclear(result);
    return rc;
}

static int check_cluster(struct db_load *load, struct kt_error *error)
{
    char id[KT_UUID_TEXT] = "";
    struct db_mark mark;
    PGresult *result = NULL;
    int rc = load->cluster ? db_cluster_check_ours(load->cluster, &mark, error) : 0;

    if (rc)
        return rc;
    if (load->cluster)
        kt_uuid_format(&mark.cluster_id, id);
    rc = db_pg_query(load->conn, DB_BACKUP_MS, "SELECT cluster_id FROM cluster", 0, NULL, &result,
                     error);
    if (rc == 0 && PQntuples(result) != 1)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL, "the backup does not say of which cluster");
    else if (rc == 0 && load->cluster && strcmp(id, PQgetvalue(result, 0, 0)) != 0)
        rc = kt_error_set(error, KT_ERR_NOT_OURS, NULL,
                          "the backup is of cluster %s, the confdir of cluster %s",
                          PQgetvalue(result, 0, 0), id);
    PQclear(result);
    return rc;
}

static int add_schema(struct db_load *load, struct kt_error *error)
{
    int rc = 0;

    if (load->is_upgraded)
        return 0;
    for (int version = (int)load->schema + 1; version <= KT_SCHEMA_VERSION && rc == 0; version++)
        rc = db_schema_add(load->conn, load->dir, version, error);
    load->is_upgraded = rc == 0;
    return rc;
}

// All that can be wrong with the rows is found here, with nothing committed.
static int rebuild(struct db_load *load, struct kt_error *error)
{
    struct kt_error inner = {0};
    int rc = db_pg_run(load->conn, DB_BACKUP_LONG_MS, DB_REBUILD_ADD, &inner);

    // A statement of ours that was refused: for what the rows are.
    if (rc)
        return kt_error_set(error, rc == KT_ERR_DATABASE ? KT_ERR_INVALID : rc, inner.hint,
                            "the rows of the backup do not fit together: %.300s", inner.message);
    rc = check_schema(load, error);
    return rc ? rc : check_cluster(load, error);
}

int db_load_check(struct db_load *load, struct kt_error *error)
{
    int rc = check_order(load, 0, error);

    if (rc || load->is_checked)
        return rc;
    for (size_t i = 0; i < load->table_count; i++)
        if (!load->is_loaded[i])
            return fail(load, kt_error_set(error, KT_ERR_INVALID, NULL,
                                           "the backup has no table '%s'", load->names[i]));
    rc = rebuild(load, error);
    if (rc)
        return fail(load, rc);
    load->is_checked = 1;
    return 0;
}

static int finish(struct db_load *load, const struct db_restored *restored, struct kt_error *error)
{
    int rc = 0;

    if (restored)
        rc = add_schema(load, error);
    if (rc == 0 && restored)
        rc = db_restored_rows(load->conn, load->cluster, restored, error);
    if (rc == 0)
        rc = db_pg_run(load->conn, DB_BACKUP_LONG_MS, "ANALYZE", error);
    if (rc == 0)
        rc = db_pg_run(load->conn, DB_BACKUP_LONG_MS, "COMMIT", error);
    if (rc == 0 && load->cluster)
        rc = db_mark_populated(load->cluster, error);
    return rc;
}

int db_load_finish(struct db_load *load, const struct db_restored *restored, struct kt_error *error)
{
    int rc = db_load_check(load, error);

    if (rc)
        return rc;
    if (load->cluster && !restored)
        return kt_error_set(error, KT_ERR_INVALID, NULL,
                            "a restored database needs an incarnation of its own");
    rc = finish(load, restored, error);
    if (rc)
        return fail(load, rc);
    load->is_finished = 1;
    return 0;
}

int db_load_facts(struct db_load *load, struct db_backup_facts *facts, struct kt_error *error)
{
    struct db_backup_facts *fresh;
    int rc;

    if (!load->is_checked || load->failed)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "the load is not complete");
    fresh = calloc(1, sizeof(*fresh));
    if (!fresh)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    rc = db_facts_rows(load->conn, fresh, error);
    if (rc == 0)
        rc = db_facts_tables(load->conn, 0, fresh, error);
    if (rc == 0)
        *facts = *fresh;
    free(fresh);
    return rc;
}

int db_load_line(struct db_load *load, struct db_line *line, struct kt_error *error)
{
    int rc;

    if (!load->is_checked || load->failed)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "the load is not complete");
    rc = add_schema(load, error);
    if (rc == 0)
        rc = db_read_line(load->conn, line, error);
    return rc ? fail(load, rc) : 0;
}

void db_load_free(struct db_load *load)
{
    if (!load)
        return;
    PQfinish(load->conn); // what was not committed is gone
    PQfinish(load->lock);
    free(load);
}
