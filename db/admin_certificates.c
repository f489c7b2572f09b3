// SPDX-License-Identifier: Apache-2.0
// A node's renewed certificate in the database. Committed locally, as the node's other rows are.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/replication_inner.h"

// What the statements are given, in their order.
struct texts {
    char hash[KT_SHA256_TEXT], before[KT_SHA256_TEXT], not_after[KT_TIME_TEXT], revision[16];
    char node[KT_NODE_NAME_MAX + 1];
};

static int make_texts(const struct kt_peer *peer, const char *pem, struct texts *texts,
                      struct kt_error *error)
{
    kt_hex_encode(peer->cert_sha256, KT_SHA256_LEN, texts->hash);
    kt_hex_encode(peer->cert_before, KT_SHA256_LEN, texts->before);
    snprintf(texts->revision, sizeof(texts->revision), "%" PRIu32, peer->revision);
    kt_member_node(peer->member, texts->node);
    return db_node_certificate_end(peer, pem, texts->not_after, error);
}

// The list that was asked may be behind the table: what is written now is newer than any entry of
// before.
static int put_row(struct db_admin *admin, const char *member, const struct texts *texts,
                   struct kt_error *error)
{
    const char *parameters[] = {member, texts->hash, texts->revision};
    PGresult *result = NULL;
    int rc = db_admin_ask(admin,
                          "UPDATE nodes SET cert_sha256 = decode($2, 'hex'),"
                          " revision = greatest(revision + 1, $3::bigint)"
                          " WHERE member = $1 AND removed_at IS NULL RETURNING 1",
                          3, parameters, &result, error);

    if (rc == 0 && PQntuples(result) == 0)
        rc = kt_error_set(error, KT_ERR_NOT_MEMBER, "join again under a new member id",
                          "member '%s' is not in the table of nodes", member);
    PQclear(result);
    return rc;
}

static int put_certificates(struct db_admin *admin, const struct texts *texts,
                            struct kt_error *error)
{
    const char *row[] = {texts->hash, texts->node, texts->not_after};
    const char *keep[] = {texts->node, texts->hash, texts->before};
    PGresult *result = NULL;
    int rc = db_admin_ask(
        admin,
        "INSERT INTO node_certificates AS k (sha256, kind, name, not_after, created_at)"
        " VALUES (decode($1, 'hex'), 'node', $2, $3::timestamptz, now())"
        " ON CONFLICT (sha256) DO UPDATE SET not_after = excluded.not_after"
        " WHERE k.revoked_at IS NULL RETURNING 1",
        3, row, &result, error);

    if (rc == 0 && PQntuples(result) == 0)
        rc = kt_error_set(error, KT_ERR_INVALID, "run ktadmin rotate on that node",
                          "that certificate of node '%s' was replaced before", texts->node);
    PQclear(result);
    return rc ? rc
              : db_admin_ask(admin,
                             "UPDATE node_certificates SET revoked_at = now()"
                             " WHERE kind = 'node' AND name = $1 AND revoked_at IS NULL"
                             " AND sha256 <> decode($2, 'hex') AND sha256 <> decode($3, 'hex')",
                             3, keep, NULL, error);
}

int db_admin_node_renew(struct db_admin *admin, const struct kt_peer *peer, const char *cert_pem,
                        struct kt_error *error)
{
    struct texts texts;
    int rc = make_texts(peer, cert_pem, &texts, error);

    if (rc)
        return rc;
    rc = db_pg_run(admin->conn, DB_ADMIN_MS, DB_BEGIN_LOCAL, error);
    if (rc == 0)
        rc = put_row(admin, peer->member, &texts, error);
    if (rc == 0)
        rc = put_certificates(admin, &texts, error);
    if (rc == 0)
        rc = db_pg_run(admin->conn, DB_ADMIN_MS, "COMMIT", error);
    if (rc)
        (void)!db_pg_run(admin->conn, DB_ADMIN_MS, "ROLLBACK", NULL);
    return rc;
}
