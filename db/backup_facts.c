// SPDX-License-Identifier: Apache-2.0
// What a database says of itself, and how long its tables are as COPY binary.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/backup_inner.h"
#include "db/replication_inner.h"

#define SCHEMA_WITH_NODES 2

// CASE: what is asked of a primary fails on a standby, and the other way round.
//
// Asked before the snapshot: a change that was acknowledged had its record flushed and was visible
// by then, so each one that ends at or below this position is in the snapshot. One whose record is
// flushed but whose COMMIT still waits for a standby may be missing: nobody was told of it. On a
// standby what is replayed is visible.
int db_facts_position(PGconn *conn, struct db_backup_facts *facts, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT pg_is_in_recovery(),"
        " CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
        "   ELSE pg_current_wal_flush_lsn() END,"
        " CASE WHEN pg_is_in_recovery() THEN coalesce((SELECT received_tli FROM"
        "   pg_stat_wal_receiver), (pg_control_checkpoint()).timeline_id)"
        "   ELSE ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int END";
    PGresult *result = NULL;
    int rc = db_pg_query(conn, DB_BACKUP_MS, SQL, 0, NULL, &result, error);

    if (rc)
        return rc;
    facts->in_recovery = db_true_column(result, 0);
    facts->timeline = (uint32_t)db_number_column(result, 2);
    if (db_lsn_column(result, 1, &facts->lsn) != 0 || facts->lsn == 0)
        rc = kt_error_set(error, KT_ERR_DATABASE, NULL, "PostgreSQL's position cannot be read");
    PQclear(result);
    return rc;
}

static int read_facts(const PGresult *result, struct db_backup_facts *facts)
{
    const char *active = PQgetvalue(result, 0, 4), *version = PQgetvalue(result, 0, 6);
    size_t n = strcspn(version, " "); // "15.20 (Debian 15.20-1)"

    if (strlen(active) >= sizeof(facts->active) || n >= sizeof(facts->postgresql) ||
        kt_uuid_parse(PQgetvalue(result, 0, 0), &facts->cluster_id) != 0 ||
        kt_incarnation_parse(PQgetvalue(result, 0, 2), &facts->incarnation) != 0 ||
        kt_u64_parse(PQgetvalue(result, 0, 3), 1, INT64_MAX, &facts->epoch) != 0 ||
        kt_hex_decode(PQgetvalue(result, 0, 8), facts->log_head, KT_SHA256_LEN) != 0 ||
        strlen(PQgetvalue(result, 0, 9)) >= sizeof(facts->cluster_key))
        return KT_ERR_INVALID;
    snprintf(facts->cluster_key, sizeof(facts->cluster_key), "%s", PQgetvalue(result, 0, 9));
    facts->is_restored = db_true_column(result, 1);
    memcpy(facts->active, active, strlen(active) + 1);
    facts->schema = (uint32_t)db_number_column(result, 5);
    memcpy(facts->postgresql, version, n);
    facts->postgresql[n] = '\0';
    facts->log_index = db_number_column(result, 7);
    return 0;
}

int db_facts_rows(PGconn *conn, struct db_backup_facts *facts, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT c.cluster_id, c.state = 'restored', i.number || '.' || encode(i.bits, 'hex'),"
        " e.epoch, e.active, (SELECT max(version) FROM public.schema_version),"
        " current_setting('server_version'), coalesce(d.log_index, 0),"
        " coalesce(encode(d.head, 'hex'), repeat('0', 64)), coalesce((SELECT k.fingerprint::text"
        "   FROM public.cluster_keys k ORDER BY k.number DESC LIMIT 1), '')"
        " FROM public.cluster c, (SELECT incarnation, epoch, active FROM public.epochs"
        "   ORDER BY incarnation DESC, epoch DESC, sequence DESC LIMIT 1) e"
        " JOIN public.incarnations i ON i.number = e.incarnation"
        " LEFT JOIN (SELECT log_index, sha256(receipt_signature) AS head FROM public.deposits"
        "   ORDER BY log_index DESC LIMIT 1) d ON true";
    struct db_admin admin = {.conn = conn};
    PGresult *result = NULL;
    int rc = db_pg_query(conn, DB_BACKUP_LONG_MS, SQL, 0, NULL, &result, error);

    if (rc)
        return rc;
    if (PQntuples(result) != 1)
        rc = kt_error_set(error, KT_ERR_NOT_INITIALISED, NULL,
                          "the database does not say which cluster it is of");
    else if (read_facts(result, facts) != 0)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL,
                          "what the database says of its cluster cannot be read");
    PQclear(result);
    facts->peers.count = 0;
    if (rc == 0 && facts->schema >= SCHEMA_WITH_NODES)
        rc = db_admin_nodes(&admin, &facts->peers, error);
    return rc;
}

// Name and question of each table. A row is 2 bytes, each value 4 and what it is sent as; bytea and
// text have their length without being read, so that one scan of the rows alone does. What a type
// sends in all other cases only its send function knows.
static const char TABLES[] =
    "WITH RECURSIVE t AS (SELECT c.oid, c.relname FROM pg_class c"
    "   WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'),"
    " depth AS (SELECT oid, 0 AS n FROM t UNION"
    "   SELECT k.conrelid, d.n + 1 FROM depth d JOIN pg_constraint k ON k.confrelid = d.oid"
    "   AND k.contype = 'f' AND k.conrelid <> k.confrelid WHERE d.n < 64),"
    " value AS (SELECT a.attrelid, a.attnum, CASE"
    "   WHEN y.typname IN ('bytea', 'text', 'varchar', 'bpchar')"
    "     THEN format('coalesce(octet_length(%1$I), 0)', a.attname)"
    "   WHEN y.typname IN ('bool', 'int2', 'int4', 'int8', 'oid', 'float4', 'float8', 'uuid',"
    "     'date', 'timestamp', 'timestamptz', 'pg_lsn') THEN CASE WHEN a.attnotnull"
    "     THEN y.typlen::text"
    "     ELSE format('CASE WHEN %I IS NULL THEN 0 ELSE %s END', a.attname, y.typlen) END"
    "   ELSE format('coalesce(octet_length(%s.%I(%I)), 0)', p.pronamespace::regnamespace,"
    "     p.proname, a.attname) END AS n"
    "   FROM t JOIN pg_attribute a ON a.attrelid = t.oid JOIN pg_type y ON y.oid = a.atttypid"
    "   JOIN pg_proc p ON p.oid = y.typsend"
    "   WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')"
    " SELECT t.relname, format('SELECT count(*), (21 + coalesce(sum(%s::bigint + %s), 0))::bigint"
    "   FROM public.%I', 2 + 4 * count(*), string_agg(v.n, ' + ' ORDER BY v.attnum), t.relname),"
    " (SELECT max(n) FROM depth d WHERE d.oid = t.oid) AS level"
    " FROM t JOIN value v ON v.attrelid = t.oid GROUP BY t.oid, t.relname"
    " ORDER BY level, t.relname";

static int measure(PGconn *conn, const char *sql, struct db_backup_table *table,
                   struct kt_error *error)
{
    PGresult *result = NULL;
    int rc = db_pg_query(conn, DB_BACKUP_LONG_MS, sql, 0, NULL, &result, error);

    if (rc)
        return rc;
    table->rows = db_number_column(result, 0);
    table->bytes = db_number_column(result, 1);
    PQclear(result);
    return 0;
}

int db_facts_tables(PGconn *conn, int with_bytes, struct db_backup_facts *facts,
                    struct kt_error *error)
{
    PGresult *result = NULL;
    char sql[160];
    int rc = db_pg_query(conn, DB_BACKUP_MS, TABLES, 0, NULL, &result, error);

    facts->table_count = 0;
    if (rc == 0 && PQntuples(result) > DB_BACKUP_TABLES_MAX)
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the database has more than %d tables",
                          DB_BACKUP_TABLES_MAX);
    for (int i = 0; rc == 0 && i < PQntuples(result); i++) {
        struct db_backup_table *table = &facts->tables[i];
        const char *name = PQgetvalue(result, i, 0);

        memset(table, 0, sizeof(*table));
        // It becomes the name of a file, and a word in statements.
        if (!db_name_is_plain(name)) {
            rc = kt_error_set(error, KT_ERR_INVALID, "drop it: it is none of the schema's",
                              "the database has a table '%.63s'", name);
            break;
        }
        memcpy(table->name, name, strlen(name) + 1);
        snprintf(sql, sizeof(sql), "SELECT count(*), 0 FROM public.%s", name);
        rc = measure(conn, with_bytes ? PQgetvalue(result, i, 1) : sql, table, error);
        facts->table_count++;
    }
    PQclear(result);
    return rc;
}

// --- against the manifest ---

static int differs(struct kt_error *error, const char *what)
{
    return kt_error_set(error, KT_ERR_SIGNATURE, "use another backup",
                        "what the backup restores is not what its manifest says: %s", what);
}

int db_facts_match(const struct db_backup_facts *facts, const struct kt_manifest *manifest,
                   struct kt_error *error)
{
    char what[160];

    if (memcmp(&facts->cluster_id, &manifest->cluster_id, sizeof(facts->cluster_id)) != 0)
        return differs(error, "another cluster");
    if (facts->log_index != manifest->log_index ||
        memcmp(facts->log_head, manifest->log_head, sizeof(facts->log_head)) != 0)
        return differs(error, "the log's head");
    if (facts->table_count != manifest->table_count)
        return differs(error, "the number of tables");
    for (size_t i = 0; i < facts->table_count; i++)
        if (facts->tables[i].rows != kt_manifest_rows(manifest, facts->tables[i].name)) {
            snprintf(what, sizeof(what), "table '%s' has %" PRIu64 " rows instead of %" PRIu64,
                     facts->tables[i].name, facts->tables[i].rows,
                     kt_manifest_rows(manifest, facts->tables[i].name));
            return differs(error, what);
        }
    return 0;
}
