// SPDX-License-Identifier: Apache-2.0
// A new database for a backup: its schema in the transaction that will take the rows.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/cluster_inner.h"
#include "db/load_inner.h"
#include "db/rebuild_sql.h"
#include "lib/version.h"

static int new_load(uint32_t schema, struct db_load **out, struct kt_error *error)
{
    struct db_load *load;
    int rc;

    if (schema == 0 || schema > KT_SCHEMA_VERSION)
        return kt_error_set(error, KT_ERR_INVALID, "install the newer program",
                            "the backup has schema %" PRIu32 ", this program knows 1 to %d", schema,
                            KT_SCHEMA_VERSION);
    load = calloc(1, sizeof(*load));
    if (!load)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    load->schema = schema;
    load->table = -1;
    rc = db_schema_dir(load->dir, sizeof(load->dir), error);
    if (rc) {
        db_load_free(load);
        return rc;
    }
    *out = load;
    return 0;
}

static int make_schema(struct db_load *load, struct kt_error *error)
{
    struct kt_error inner = {0};
    int rc = 0;

    for (uint32_t i = 0; i < load->schema && rc == 0; i++) {
        char *text = NULL;

        rc = db_schema_text(load->dir, (int)i + 1, &text, load->hashes[i], error);
        if (rc == 0) {
            rc = db_pg_run(load->conn, DB_BACKUP_MS, text, &inner);
            if (rc)
                kt_error_set(error, rc, inner.hint, "schema file %" PRIu32 ": %.300s", i + 1,
                             inner.message);
        }
        free(text);
    }
    return rc ? rc : db_pg_run(load->conn, DB_BACKUP_MS, DB_REBUILD_DROP, error);
}

static int list_tables(struct db_load *load, struct kt_error *error)
{
    struct db_backup_facts *facts = calloc(1, sizeof(*facts));
    int rc = facts ? db_facts_tables(load->conn, 0, facts, error)
                   : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    for (size_t i = 0; rc == 0 && i < facts->table_count; i++)
        memcpy(load->names[i], facts->tables[i].name, sizeof(load->names[i]));
    if (rc == 0)
        load->table_count = facts->table_count;
    free(facts);
    return rc;
}

// The transaction, up to the first table's rows.
static int begin(struct db_load *load, const struct db_target *target, struct kt_error *error)
{
    int rc = db_pg_connect(target, DB_BACKUP_MS, &load->conn, error);

    if (rc == 0)
        rc = db_pg_run(load->conn, DB_BACKUP_MS, DB_LOAD_SESSION, error);
    if (rc == 0)
        rc = db_pg_run(load->conn, DB_BACKUP_MS, "BEGIN", error);
    if (rc == 0)
        rc = make_schema(load, error);
    return rc ? rc : list_tables(load, error);
}

static int drop_database(PGconn *conn, const char *name, struct kt_error *error)
{
    char sql[256], *quoted = PQescapeIdentifier(conn, name, strlen(name));
    int rc;

    if (!quoted || strlen(quoted) > 140) {
        rc = kt_error_set(error, KT_ERR_SETTINGS, NULL, "database.name cannot be '%.63s'", name);
    } else {
        snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", quoted);
        rc = db_pg_run(conn, DB_BACKUP_MS, sql, error);
    }
    PQfreemem(quoted);
    return rc;
}

// The schema grants rights to them; nobody comes in as one of them.
static const char ROLES[] =
    "DO $$ DECLARE one text; BEGIN"
    " FOREACH one IN ARRAY '{kts_reader,kts_writer,kts_agent}'::text[] LOOP"
    " IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = one) THEN"
    " EXECUTE format('CREATE ROLE %I NOLOGIN', one); END IF; END LOOP; END $$";

int db_load_scratch(struct db_scratch *scratch, uint32_t schema, struct db_load **out,
                    struct kt_error *error)
{
    struct db_load *load = NULL;
    struct db_target target;
    PGconn *conn = NULL;
    int rc = new_load(schema, &load, error);

    if (rc)
        return rc;
    db_scratch_target(scratch, "postgres", &target);
    rc = db_pg_connect(&target, DB_BACKUP_MS, &conn, error);
    if (rc == 0)
        rc = db_pg_run(conn, DB_BACKUP_MS, ROLES, error);
    if (rc == 0)
        rc = drop_database(conn, DB_SCRATCH_DATABASE, error);
    if (rc == 0)
        rc = db_make_database(conn, DB_SCRATCH_DATABASE, error);
    PQfinish(conn);
    db_scratch_target(scratch, DB_SCRATCH_DATABASE, &target);
    if (rc == 0)
        rc = begin(load, &target, error);
    if (rc) {
        db_load_free(load);
        return rc;
    }
    *out = load;
    return 0;
}

// Whoever else populates this data directory waits, or has done it.
static int lock_cluster(struct db_load *load, struct kt_error *error)
{
    struct db_target target;
    struct db_mark mark;
    PGresult *result = NULL;
    int rc;

    db_target_owner(load->cluster->paths, load->cluster->settings, "postgres", &target);
    rc = db_pg_connect(&target, DB_BACKUP_MS, &load->lock, error);
    if (rc == 0)
        rc = db_pg_run(load->lock, DB_BACKUP_MS, DB_LOAD_SESSION, error);
    if (rc == 0)
        rc = db_pg_query(load->lock, DB_BACKUP_MS, DB_POPULATE_LOCK, 0, NULL, NULL, error);
    if (rc == 0)
        rc = db_pg_query(load->lock, DB_BACKUP_MS, "SELECT pg_is_in_recovery()", 0, NULL, &result,
                         error);
    if (rc == 0 && PQgetvalue(result, 0, 0)[0] == 't')
        rc = kt_error_set(error, KT_ERR_PASSIVE, NULL,
                          "this database follows another node and cannot be loaded");
    PQclear(result);
    if (rc == 0)
        rc = db_cluster_check_ours(load->cluster, &mark, error);
    if (rc == 0 && mark.populated)
        rc = kt_error_set(error, KT_ERR_EXISTS, "restore into an empty directory",
                          "the data directory '%s' has a database that is in use",
                          load->cluster->dir);
    return rc;
}

// A run that was killed behind its commit has left its own member, which never was one.
static const char DROP_MEMBERS[] =
    "DO $$ DECLARE one name; BEGIN"
    " FOR one IN SELECT r.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid"
    " JOIN pg_roles r ON r.oid = m.member WHERE g.rolname = 'kts_members' LOOP"
    " EXECUTE format('DROP ROLE %I', one); END LOOP; END $$";

int db_load_cluster(struct db_cluster *cluster, uint32_t schema, struct db_load **out,
                    struct kt_error *error)
{
    const char *name = kt_settings_text(cluster->settings, KT_SET_DATABASE_NAME);
    struct db_load *load = NULL;
    struct db_target target;
    int rc = new_load(schema, &load, error);

    if (rc)
        return rc;
    load->cluster = cluster;
    rc = lock_cluster(load, error);
    if (rc == 0)
        rc = drop_database(load->lock, name, error);
    if (rc == 0)
        rc = db_pg_run(load->lock, DB_BACKUP_MS, DROP_MEMBERS, error);
    if (rc == 0)
        rc = db_make_roles(cluster, load->lock, error);
    if (rc == 0)
        rc = db_make_database(load->lock, name, error);
    db_target_owner(cluster->paths, cluster->settings, name, &target);
    if (rc == 0)
        rc = begin(load, &target, error);
    if (rc) {
        db_load_free(load);
        return rc;
    }
    *out = load;
    return 0;
}
