// SPDX-License-Identifier: Apache-2.0
// One connection in one snapshot, and its tables as COPY writes them.
#include "db/backup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <libpq-fe.h>

#include "db/backup_inner.h"
#include "db/cluster_inner.h"

// The text of rows in a script must be the same in each pass, whatever the server's settings are.
static const char SESSION[] =
    "SET statement_timeout = 0; SET lock_timeout = '60s';"
    " SET idle_in_transaction_session_timeout = 0; SET jit = off; SET search_path = public;"
    " SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC';"
    " SET bytea_output = 'hex'; SET extra_float_digits = 3; SET synchronize_seqscans = off";

int db_backup_open(const struct kt_paths *paths, const struct kt_settings *settings, uint16_t port,
                   struct db_backup **out, struct kt_error *error)
{
    struct db_backup *backup = calloc(1, sizeof(*backup));
    struct db_target owner;
    int rc;

    if (!backup)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    db_target_owner(paths, settings, kt_settings_text(settings, KT_SET_DATABASE_NAME), &owner);
    if (port)
        owner.port = port;
    owner.application_name = "ktbackup";
    rc = db_pg_connect(&owner, DB_BACKUP_MS, &backup->conn, error);
    if (rc == 0)
        rc = db_pg_run(backup->conn, DB_BACKUP_MS, SESSION, error);
    if (rc == 0)
        rc = db_facts_position(backup->conn, &backup->facts, error);
    if (rc == 0)
        rc = db_pg_run(backup->conn, DB_BACKUP_MS,
                       "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", error);
    if (rc == 0)
        rc = db_facts_rows(backup->conn, &backup->facts, error);
    if (rc == 0)
        rc = db_facts_tables(backup->conn, 1, &backup->facts, error);
    if (rc) {
        db_backup_close(backup);
        return rc;
    }
    *out = backup;
    return 0;
}

void db_backup_close(struct db_backup *backup)
{
    if (!backup)
        return;
    PQfinish(backup->conn);
    free(backup);
}

const struct db_backup_facts *db_backup_facts(const struct db_backup *backup)
{
    return &backup->facts;
}

int db_backup_copy(struct db_backup *backup, size_t i, db_sink sink, void *arg,
                   struct kt_error *error)
{
    const struct db_backup_table *table = &backup->facts.tables[i];
    struct db_stream stream = {0};
    char sql[128];
    int rc;

    if (i >= backup->facts.table_count)
        return kt_error_set(error, KT_ERR_INVALID, NULL, "no table %zu", i);
    if (!backup->conn)
        return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL, "the snapshot is gone");
    snprintf(sql, sizeof(sql), "COPY public.%s TO STDOUT (FORMAT binary)", table->name);
    rc = db_stream_begin(&stream, sink, arg, table->bytes, error);
    if (rc == 0)
        rc = db_stream_copy(&stream, backup->conn, sql, error);
    if (rc == 0 && stream.bytes < table->bytes)
        rc = kt_error_set(error, KT_ERR_TRUNCATED, NULL,
                          "table '%s' has %" PRIu64 " bytes, not %" PRIu64, table->name,
                          stream.bytes, table->bytes);
    db_stream_free(&stream);
    if (rc) {
        PQfinish(backup->conn);
        backup->conn = NULL;
    }
    return rc;
}
