// SPDX-License-Identifier: Apache-2.0
// Nodes in the database: their roles, slots, and rows. Committed locally: a node that is not yet,
// or no longer, a member must not be waited for.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/replication_inner.h"
#include "lib/pki.h"

#define END_MS 15000 // of a removed node's sessions

int db_node_certificate_end(const struct kt_peer *peer, const char *pem,
                            char not_after[KT_TIME_TEXT], struct kt_error *error)
{
    uint8_t hash[KT_SHA256_LEN];
    int64_t from = 0, to = 0;
    X509 *cert = NULL;
    int rc = kt_pki_cert_from_pem(pem, strlen(pem), &cert);

    if (rc == 0)
        rc = kt_pki_cert_sha256(cert, hash);
    if (rc == 0)
        rc = kt_pki_cert_validity(cert, &from, &to);
    if (rc == 0 && memcmp(hash, peer->cert_sha256, sizeof(hash)) != 0)
        rc = KT_ERR_INVALID;
    X509_free(cert);
    kt_time_format(to, not_after);
    return rc ? kt_error_set(error, rc, NULL, "the certificate is not that of member '%s'",
                             peer->member)
              : 0;
}

// A member id has no quotes; kt_member_check says so.
static int put_role(struct db_admin *admin, const char *member, struct kt_error *error)
{
    char sql[256];
    const char *parameters[] = {member};
    PGresult *result = NULL;
    int rc = db_admin_ask(admin, "SELECT 1 FROM pg_roles WHERE rolname = $1", 1, parameters,
                          &result, error);

    if (rc)
        return rc;
    if (PQntuples(result) == 0) {
        snprintf(sql, sizeof(sql), "CREATE ROLE \"%s\"", member);
        rc = db_pg_run(admin->conn, DB_ADMIN_MS, sql, error);
    }
    PQclear(result);
    snprintf(sql, sizeof(sql),
             "ALTER ROLE \"%s\" LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS"
             " INHERIT CONNECTION LIMIT 8; GRANT kts_members TO \"%s\"",
             member, member);
    return rc ? rc : db_pg_run(admin->conn, DB_ADMIN_MS, sql, error);
}

static int put_row(struct db_admin *admin, const struct kt_peer *peer, struct kt_error *error)
{
    char agent[8], database[8], https[8], revision[16], hash[KT_SHA256_TEXT];
    const char *parameters[] = {peer->member, peer->address, agent,   database,
                                https,        hash,          revision};
    PGresult *result = NULL;
    int rc;

    snprintf(agent, sizeof(agent), "%u", (unsigned)peer->agent_port);
    snprintf(database, sizeof(database), "%u", (unsigned)peer->database_port);
    snprintf(https, sizeof(https), "%u", (unsigned)peer->https_port);
    snprintf(revision, sizeof(revision), "%" PRIu32, peer->revision);
    kt_hex_encode(peer->cert_sha256, KT_SHA256_LEN, hash);
    rc = db_admin_ask(
        admin,
        "INSERT INTO nodes (member, address, agent_port, database_port, https_port, cert_sha256,"
        " revision) VALUES ($1, $2, $3::integer, $4::integer, $5::integer, decode($6, 'hex'),"
        " $7::bigint)"
        " ON CONFLICT (member) DO UPDATE SET address = excluded.address,"
        " agent_port = excluded.agent_port, database_port = excluded.database_port,"
        " https_port = excluded.https_port, cert_sha256 = excluded.cert_sha256,"
        " revision = greatest(nodes.revision, excluded.revision)"
        " WHERE nodes.removed_at IS NULL RETURNING 1",
        7, parameters, &result, error);
    if (rc == 0 && PQntuples(result) == 0)
        rc = kt_error_set(error, KT_ERR_NOT_MEMBER, "join again under a new member id",
                          "member '%s' was removed", peer->member);
    PQclear(result);
    return rc;
}

static int put_certificate(struct db_admin *admin, const struct kt_peer *peer,
                           const char *not_after, struct kt_error *error)
{
    char hash[KT_SHA256_TEXT], node[KT_NODE_NAME_MAX + 1];
    const char *parameters[] = {hash, node, not_after};

    kt_hex_encode(peer->cert_sha256, KT_SHA256_LEN, hash);
    kt_member_node(peer->member, node);
    return db_admin_ask(admin,
                        "INSERT INTO node_certificates (sha256, kind, name, not_after, created_at)"
                        " VALUES (decode($1, 'hex'), 'node', $2, $3::timestamptz, now())"
                        " ON CONFLICT (sha256) DO NOTHING",
                        3, parameters, NULL, error);
}

// Whether `member` is this node, which keeps no slot for itself.
static int is_self(const struct db_admin *admin, const char *member)
{
    struct kt_promise promise;

    return kt_promise_load(admin->cluster->paths->promise, &promise, NULL) == 0 &&
           strcmp(promise.member, member) == 0;
}

// A slot that fell behind its bound never serves again: it is made anew.
static int put_slot(struct db_admin *admin, const char *member, struct kt_error *error)
{
    char slot[KT_MEMBER_TEXT];
    const char *parameters[] = {slot};
    int rc;

    kt_slot_name(member, slot);
    rc = db_admin_ask(admin,
                      "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                      " WHERE slot_name = $1 AND NOT active AND wal_status = 'lost'",
                      1, parameters, NULL, error);
    if (rc == 0)
        rc = db_admin_ask(admin,
                          "SELECT pg_create_physical_replication_slot($1, true) WHERE NOT EXISTS"
                          " (SELECT FROM pg_replication_slots WHERE slot_name = $1)",
                          1, parameters, NULL, error);
    return rc;
}

int db_admin_node_put(struct db_admin *admin, const struct kt_peer *peer, const char *cert_pem,
                      struct kt_error *error)
{
    char not_after[KT_TIME_TEXT];
    int rc = kt_member_check(peer->member);

    if (rc)
        return kt_error_set(error, rc, NULL, "'%.40s' is no member id", peer->member);
    if (cert_pem)
        rc = db_node_certificate_end(peer, cert_pem, not_after, error);
    if (rc == 0)
        rc = db_pg_run(admin->conn, DB_ADMIN_MS, DB_BEGIN_LOCAL, error);
    if (rc)
        return rc;
    rc = put_row(admin, peer, error);
    if (rc == 0)
        rc = put_role(admin, peer->member, error);
    if (rc == 0 && cert_pem)
        rc = put_certificate(admin, peer, not_after, error);
    if (rc == 0)
        rc = db_pg_run(admin->conn, DB_ADMIN_MS, "COMMIT", error);
    if (rc) {
        (void)!db_pg_run(admin->conn, DB_ADMIN_MS, "ROLLBACK", NULL);
        return rc;
    }
    return is_self(admin, peer->member) ? 0 : put_slot(admin, peer->member, error);
}

// --- removing ---

struct leaving {
    struct db_admin *admin;
    const char *member, *slot;
};

// Its sessions are ended; the slot is free a moment after them.
static int has_left(void *arg, struct kt_error *error)
{
    struct leaving *leaving = arg;
    const char *parameters[] = {leaving->member, leaving->slot};
    PGresult *result = NULL;
    int rc = db_admin_ask(leaving->admin,
                          "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                          " WHERE slot_name = $1 AND NOT active",
                          1, parameters + 1, NULL, error);

    if (rc == 0)
        rc = db_admin_ask(leaving->admin,
                          "SELECT (SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                          " WHERE usename = $1 OR pid IN (SELECT active_pid FROM"
                          " pg_replication_slots WHERE slot_name = $2))"
                          " + (SELECT count(*) FROM pg_replication_slots WHERE slot_name = $2)",
                          2, parameters, &result, error);
    if (rc == 0)
        rc = db_number_column(result, 0) == 0;
    PQclear(result);
    return rc;
}

static int has_role(struct db_admin *admin, const char *member, int *there, struct kt_error *error)
{
    const char *parameters[] = {member};
    PGresult *result = NULL;
    int rc = db_admin_ask(admin, "SELECT 1 FROM pg_roles WHERE rolname = $1", 1, parameters,
                          &result, error);

    *there = rc == 0 && PQntuples(result) > 0;
    PQclear(result);
    return rc;
}

static int mark_removed(struct db_admin *admin, const char *member, struct kt_error *error)
{
    // By its name, for the certificates of a renewal that has not ended; once, as another may have
    // the name later.
    static const char *const STATEMENTS[] = {
        "UPDATE node_certificates SET revoked_at = now() WHERE revoked_at IS NULL"
        " AND kind = 'node' AND name = split_part($1, '.', 1)"
        " AND EXISTS (SELECT FROM nodes WHERE member = $1 AND removed_at IS NULL)",
        "UPDATE nodes SET removed_at = now(), revision = revision + 1"
        " WHERE member = $1 AND removed_at IS NULL"};
    const char *parameters[] = {member};
    char sql[128];
    int there = 0, rc = has_role(admin, member, &there, error);

    snprintf(sql, sizeof(sql), "ALTER ROLE \"%s\" NOLOGIN NOREPLICATION", member);
    if (rc == 0 && there)
        rc = db_pg_run(admin->conn, DB_ADMIN_MS, sql, error);
    for (size_t i = 0; i < 2 && rc == 0; i++)
        rc = db_admin_ask(admin, STATEMENTS[i], 1, parameters, NULL, error);
    return rc;
}

static int drop_role(struct db_admin *admin, const char *member, struct kt_error *error)
{
    char sql[128];
    int there = 0, rc = has_role(admin, member, &there, error);

    snprintf(sql, sizeof(sql), "DROP ROLE \"%s\"", member);
    return rc || !there ? rc : db_pg_run(admin->conn, DB_ADMIN_MS, sql, error);
}

// One of these, in a transaction that waits for nobody.
static int change_node(struct db_admin *admin, const char *member,
                       int (*change)(struct db_admin *admin, const char *member,
                                     struct kt_error *error),
                       struct kt_error *error)
{
    int rc = db_pg_run(admin->conn, DB_ADMIN_MS, DB_BEGIN_LOCAL, error);

    if (rc == 0)
        rc = change(admin, member, error);
    if (rc == 0)
        rc = db_pg_run(admin->conn, DB_ADMIN_MS, "COMMIT", error);
    if (rc)
        (void)!db_pg_run(admin->conn, DB_ADMIN_MS, "ROLLBACK", NULL);
    return rc;
}

int db_admin_node_remove(struct db_admin *admin, const char *member, struct kt_error *error)
{
    char slot[KT_MEMBER_TEXT];
    struct leaving leaving = {admin, member, slot};
    int rc = kt_member_check(member);

    if (rc)
        return kt_error_set(error, rc, NULL, "'%.40s' is no member id", member);
    // The role goes last: a session of a role that is gone streams on, and is nobody's by name.
    rc = change_node(admin, member, mark_removed, error);
    if (rc)
        return rc;
    kt_slot_name(member, slot);
    rc = db_wait_until(has_left, &leaving, kt_monotonic_now() + END_MS * INT64_C(1000), error);
    if (rc == KT_ERR_TIMEOUT)
        return kt_error_set(error, KT_ERR_DATABASE_TIMEOUT, "run the same command again",
                            "sessions of member '%s' did not end in time", member);
    return rc ? rc : change_node(admin, member, drop_role, error);
}

// --- reading ---

static int read_number(const PGresult *result, int i, int column, uint64_t min, uint64_t max,
                       uint64_t *number)
{
    return kt_u64_parse(PQgetvalue(result, i, column), min, max, number);
}

static int read_peer(const PGresult *result, int i, struct kt_peer *peer)
{
    uint64_t agent_port = 0, database_port = 0, https_port = 0, revision = 0;
    const char *member = PQgetvalue(result, i, 0), *address = PQgetvalue(result, i, 1);

    memset(peer, 0, sizeof(*peer));
    if (kt_member_check(member) != 0 || strlen(address) >= sizeof(peer->address) ||
        read_number(result, i, 2, 1, UINT16_MAX, &agent_port) != 0 ||
        read_number(result, i, 3, 1, UINT16_MAX, &database_port) != 0 ||
        read_number(result, i, 4, 1, UINT16_MAX, &https_port) != 0 ||
        kt_hex_decode(PQgetvalue(result, i, 5), peer->cert_sha256, KT_SHA256_LEN) != 0 ||
        read_number(result, i, 6, 0, UINT32_MAX, &revision) != 0)
        return KT_ERR_INVALID;
    memcpy(peer->member, member, strlen(member) + 1);
    memcpy(peer->address, address, strlen(address) + 1);
    peer->agent_port = (uint16_t)agent_port;
    peer->database_port = (uint16_t)database_port;
    peer->https_port = (uint16_t)https_port;
    peer->revision = (uint32_t)revision;
    peer->removed = PQgetvalue(result, i, 7)[0] == 't';
    return 0;
}

int db_admin_nodes(struct db_admin *admin, struct kt_peers *peers, struct kt_error *error)
{
    // Those that are here first: should there ever be more than fit, old removed ones are left out.
    static const char SQL[] =
        "SELECT member, address, agent_port, database_port, https_port, encode(cert_sha256, 'hex'),"
        " revision, removed_at IS NOT NULL FROM nodes"
        " ORDER BY removed_at IS NOT NULL, removed_at DESC, joined_at, member";
    PGresult *result = NULL;
    int rc = db_admin_ask(admin, SQL, 0, NULL, &result, error);

    if (rc)
        return rc;
    peers->count = 0;
    for (int i = 0; rc == 0 && i < PQntuples(result) && peers->count < KT_PEERS_MAX; i++) {
        rc = read_peer(result, i, &peers->peers[peers->count]);
        if (rc)
            kt_error_set(error, rc, NULL, "row %d of the table nodes cannot be read", i + 1);
        else
            peers->count++;
    }
    PQclear(result);
    return rc;
}

// --- slots of a new active ---

static int is_wanted(const struct kt_epoch_row *row, const struct kt_peers *nodes, const char *slot)
{
    char name[KT_MEMBER_TEXT];

    for (uint32_t i = 0; row && i < row->count; i++) {
        kt_slot_name(row->members[i], name);
        if (strcmp(name, slot) == 0)
            return 1;
    }
    for (size_t i = 0; row && i < nodes->count; i++) {
        kt_slot_name(nodes->peers[i].member, name);
        if (!nodes->peers[i].removed && strcmp(nodes->peers[i].member, row->active) != 0 &&
            strcmp(name, slot) == 0)
            return 1;
    }
    return 0;
}

static int drop_others(struct db_admin *admin, const struct kt_epoch_row *row,
                       const struct kt_peers *nodes, struct kt_error *error)
{
    PGresult *result = NULL;
    int rc = db_admin_ask(admin,
                          "SELECT slot_name FROM pg_replication_slots"
                          " WHERE slot_type = 'physical' AND NOT temporary AND NOT active",
                          0, NULL, &result, error);

    for (int i = 0; rc == 0 && i < PQntuples(result); i++) {
        const char *parameters[] = {PQgetvalue(result, i, 0)};
        if (!is_wanted(row, nodes, parameters[0]))
            rc = db_admin_ask(admin, "SELECT pg_drop_replication_slot($1)", 1, parameters, NULL,
                              error);
    }
    PQclear(result);
    return rc;
}

int db_admin_slots(struct db_admin *admin, const struct kt_epoch_row *row, struct kt_error *error)
{
    struct kt_peers *nodes = calloc(1, sizeof(*nodes));
    int rc = nodes ? db_admin_nodes(admin, nodes, error)
                   : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc == 0)
        rc = drop_others(admin, row, nodes, error);
    for (uint32_t i = 0; row && rc == 0 && i < row->count; i++)
        rc = put_slot(admin, row->members[i], error);
    for (size_t i = 0; row && rc == 0 && i < nodes->count; i++)
        if (!nodes->peers[i].removed && strcmp(nodes->peers[i].member, row->active) != 0)
            rc = put_slot(admin, nodes->peers[i].member, error);
    free(nodes);
    return rc;
}
