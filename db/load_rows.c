// SPDX-License-Identifier: Apache-2.0
// The rows of a new incarnation, over those of the backup.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/cluster_inner.h"
#include "db/load_inner.h"
#include "db/replication_inner.h"

// What the statements are given.
struct texts {
    char number[16], bits[17], epoch[24], start[KT_LSN_TEXT], timeline[16];
    char hash[KT_SHA256_TEXT], node[KT_NODE_NAME_MAX + 1], not_after[KT_TIME_TEXT];
};

// The row's log begins where the timeline that is written now did: 0/0 on the first, which is that
// of a new data directory.
static int make_texts(PGconn *conn, const struct db_cluster *cluster,
                      const struct db_restored *restored, struct texts *texts,
                      struct kt_error *error)
{
    PGresult *result = NULL;
    uint64_t start = 0;
    uint32_t timeline;
    int rc = db_pg_query(conn, DB_BACKUP_MS,
                         "SELECT ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))"
                         "::bit(32)::int",
                         0, NULL, &result, error);

    if (rc)
        return rc;
    timeline = (uint32_t)db_number_column(result, 0);
    PQclear(result);
    if (cluster)
        rc = db_timeline_start(cluster, timeline, &start, error);
    snprintf(texts->number, sizeof(texts->number), "%" PRIu32, restored->incarnation.number);
    snprintf(texts->bits, sizeof(texts->bits), "%016" PRIx64, restored->incarnation.bits);
    snprintf(texts->epoch, sizeof(texts->epoch), "%" PRIu64, restored->epoch);
    snprintf(texts->timeline, sizeof(texts->timeline), "%" PRIu32, timeline);
    kt_lsn_format(start, texts->start);
    kt_hex_encode(restored->self->cert_sha256, KT_SHA256_LEN, texts->hash);
    kt_member_node(restored->self->member, texts->node);
    kt_time_format(restored->cert_not_after_us, texts->not_after);
    return rc;
}

// The order of rows is that of incarnations first.
static int check_behind(PGconn *conn, const char *number, struct kt_error *error)
{
    const char *parameters[] = {number};
    PGresult *result = NULL;
    int rc =
        db_pg_query(conn, DB_BACKUP_MS, "SELECT 1 FROM incarnations WHERE number >= $1::integer", 1,
                    parameters, &result, error);

    if (rc == 0 && PQntuples(result) > 0)
        rc = kt_error_set(error, KT_ERR_INVALID, NULL,
                          "incarnation %s is not behind those of the database", number);
    PQclear(result);
    return rc;
}

int db_restored_rows(PGconn *conn, const struct db_cluster *cluster,
                     const struct db_restored *restored, struct kt_error *error)
{
    struct texts t = {{0}};
    const char *incarnation[] = {t.number, t.bits, restored->statement};
    const char *epoch[] = {t.number, t.epoch,    restored->self->member,
                           t.start,  t.timeline, restored->note};
    const char *keys[] = {restored->key_rows};
    const char *certificate[] = {t.hash, t.node, t.not_after};
    const struct {
        const char *sql;
        int count;
        const char *const *parameters;
    } statements[] = {
        {"UPDATE nodes SET removed_at = now(), revision = revision + 1 WHERE removed_at IS NULL", 0,
         NULL},
        {"UPDATE node_certificates SET revoked_at = now()"
         " WHERE kind = 'node' AND revoked_at IS NULL",
         0, NULL},
        {"INSERT INTO incarnations (number, bits, statement)"
         " VALUES ($1::integer, decode($2, 'hex'), convert_to($3, 'UTF8'))",
         3, incarnation},
        {"INSERT INTO epochs (incarnation, epoch, sequence, active, members, w, start_lsn,"
         " timeline, ends, note) VALUES ($1::integer, $2::bigint, 1, $3, '{}', 0, $4::pg_lsn,"
         " $5::integer, true, $6)",
         6, epoch},
        // a node that was restored with its key keeps its certificate
        {"INSERT INTO node_certificates (sha256, kind, name, not_after, created_at)"
         " VALUES (decode($1, 'hex'), 'node', $2, $3::timestamptz, now())"
         " ON CONFLICT (sha256) DO UPDATE SET revoked_at = NULL, name = excluded.name,"
         " not_after = excluded.not_after",
         3, certificate},
        {"INSERT INTO cluster_keys (number, fingerprint, before, statement, made_at)"
         " SELECT k.number, k.fingerprint, k.before, k.statement, k.made_at FROM"
         " json_to_recordset($1::json) AS k(number integer, fingerprint text, before text,"
         "  statement text, made_at timestamptz)"
         " WHERE k.number > (SELECT coalesce(max(l.number), 0) FROM cluster_keys l)",
         1, keys},
        {"UPDATE cluster SET state = 'normal'", 0, NULL},
    };
    int rc = kt_member_check(restored->self->member);

    if (rc)
        return kt_error_set(error, rc, NULL, "'%.40s' is no member id", restored->self->member);
    rc = make_texts(conn, cluster, restored, &t, error);
    if (rc == 0)
        rc = check_behind(conn, t.number, error);
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]) && rc == 0; i++)
        rc = db_pg_query(conn, DB_BACKUP_MS, statements[i].sql, statements[i].count,
                         statements[i].parameters, NULL, error);
    return rc ? rc : db_insert_self(conn, restored->self, error);
}
