// SPDX-License-Identifier: Apache-2.0
// What a new database holds: the roles with their secrets, the schema, the first rows.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "db/cluster_inner.h"
#include "db/pg.h"
#include "lib/epoch.h"

#define STEP_MS       60000
#define STATEMENT_MAX 2048

// The least that each role needs. `inherit`: NOINHERIT where no membership is given. The writer
// compares flush positions and the agent shows them, which needs the statistics of other sessions.
static const struct {
    const char *attributes;
    const char *member_of; // or NULL
    const char *settings[4];
} ROLES[DB_ROLE_COUNT] = {
    [DB_ROLE_READER] = {"NOINHERIT CONNECTION LIMIT 160",
                        NULL,
                        {"default_transaction_read_only = on", "statement_timeout = '5s'",
                         "idle_in_transaction_session_timeout = '10s'", NULL}},
    [DB_ROLE_WRITER] = {"INHERIT CONNECTION LIMIT 8", "pg_read_all_stats", {NULL}},
    [DB_ROLE_AGENT] = {"INHERIT CONNECTION LIMIT 8",
                       "pg_monitor",
                       {"idle_in_transaction_session_timeout = '30s'", NULL}},
};

static int run_format(PGconn *conn, struct kt_error *error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int run_format(PGconn *conn, struct kt_error *error, const char *fmt, ...)
{
    char sql[STATEMENT_MAX];
    va_list list;
    int n;

    va_start(list, fmt);
    n = vsnprintf(sql, sizeof(sql), fmt, list);
    va_end(list);
    if (n < 0 || (size_t)n >= sizeof(sql))
        return kt_error_set(error, KT_ERR_INTERNAL, NULL, "a statement is too long");
    return db_pg_run(conn, STEP_MS, sql, error);
}

// The number of rows a question has, or a negative code.
static int ask(PGconn *conn, const char *sql, const char *parameter, struct kt_error *error)
{
    const char *parameters[] = {parameter};
    PGresult *result = NULL;
    int rc = db_pg_query(conn, STEP_MS, sql, parameter ? 1 : 0, parameters, &result, error);

    if (rc == 0) {
        rc = PQntuples(result);
        PQclear(result);
    }
    return rc;
}

// The password leaves this process only as a SCRAM verifier: the server and its log never see it.
static int set_password(PGconn *conn, const char *role, const char *password,
                        struct kt_error *error)
{
    char *verifier = PQencryptPasswordConn(conn, password, role, "scram-sha-256");
    char *literal = verifier ? PQescapeLiteral(conn, verifier, strlen(verifier)) : NULL;
    int rc = KT_ERR_DATABASE;

    if (literal)
        rc = run_format(conn, error, "ALTER ROLE %s PASSWORD %s", role, literal);
    else
        kt_error_set(error, rc, NULL, "cannot make the verifier of role '%s'", role);
    PQfreemem(literal);
    PQfreemem(verifier);
    return rc;
}

int db_role_statements(enum db_role role, struct kt_buf *out)
{
    const char *name = db_role_name(role);
    int rc = kt_buf_putf(out,
                         "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%s')"
                         " THEN CREATE ROLE %s; END IF; END $$;\n"
                         "ALTER ROLE %s LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
                         " NOBYPASSRLS %s;\n"
                         "ALTER ROLE %s SET lock_timeout = '200ms';\n",
                         name, name, name, ROLES[role].attributes, name);

    for (int k = 0; k < 4 && ROLES[role].settings[k] && rc == 0; k++)
        rc = kt_buf_putf(out, "ALTER ROLE %s SET %s;\n", name, ROLES[role].settings[k]);
    if (rc == 0 && ROLES[role].member_of)
        rc = kt_buf_putf(out, "GRANT %s TO %s;\n", ROLES[role].member_of, name);
    return rc;
}

static int make_role(struct db_cluster *cluster, PGconn *conn, enum db_role role,
                     struct kt_error *error)
{
    struct kt_buf sql = KT_BUF_INIT(STATEMENT_MAX);
    struct kt_secret *secret = NULL;
    struct db_target target = {0};
    int rc = db_role_statements(role, &sql);

    if (rc == 0)
        rc = kt_buf_put_u8(&sql, 0);
    if (rc)
        kt_error_set(error, rc, NULL, "the statements of a role are too long");
    else
        rc = db_pg_run(conn, STEP_MS, (const char *)kt_buf_ptr(&sql), error);
    if (rc == 0)
        rc = db_target_load(cluster->paths, cluster->settings, role, &target, &secret, error);
    if (rc == 0)
        rc = set_password(conn, db_role_name(role), target.password, error);
    kt_secret_free(secret);
    kt_buf_free(&sql);
    return rc;
}

// Roles are shared by all databases of the cluster: made in one transaction, set anew on a repeat.
int db_make_roles(struct db_cluster *cluster, PGconn *conn, struct kt_error *error)
{
    int rc = db_pg_run(conn, STEP_MS, "BEGIN", error);

    for (int role = 0; role < DB_ROLE_COUNT && rc == 0; role++)
        rc = make_role(cluster, conn, (enum db_role)role, error);
    return rc ? rc : db_pg_run(conn, STEP_MS, "COMMIT", error);
}

// CREATE DATABASE cannot be part of a transaction; it is all or nothing by itself.
int db_make_database(PGconn *conn, const char *name, struct kt_error *error)
{
    char *quoted;
    int rc = ask(conn, "SELECT 1 FROM pg_database WHERE datname = $1", name, error);

    if (rc < 0)
        return rc;
    quoted = PQescapeIdentifier(conn, name, strlen(name));
    if (!quoted)
        return kt_error_set(error, KT_ERR_SETTINGS, NULL, "database.name cannot be '%s'", name);
    if (rc == 0)
        rc = run_format(conn, error, "CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8'",
                        quoted);
    else
        rc = 0;
    if (rc == 0)
        rc = run_format(conn, error,
                        "REVOKE ALL ON DATABASE %s FROM PUBLIC;"
                        " GRANT CONNECT ON DATABASE %s TO kts_reader, kts_writer, kts_agent",
                        quoted, quoted);
    PQfreemem(quoted);
    return rc;
}

// The node itself: a role to stream under, should it ever be a passive, and its row.
int db_insert_self(PGconn *conn, const struct kt_peer *self, struct kt_error *error)
{
    char ports[3][8], hash[KT_SHA256_TEXT];
    const char *node[] = {self->member, self->address, ports[0], ports[1], ports[2], hash};
    int rc = kt_member_check(self->member);

    if (rc)
        return kt_error_set(error, rc, NULL, "'%.40s' is no member id", self->member);
    snprintf(ports[0], sizeof(ports[0]), "%u", (unsigned)self->agent_port);
    snprintf(ports[1], sizeof(ports[1]), "%u", (unsigned)self->database_port);
    snprintf(ports[2], sizeof(ports[2]), "%u", (unsigned)self->https_port);
    kt_hex_encode(self->cert_sha256, KT_SHA256_LEN, hash);
    rc = db_pg_query(conn, STEP_MS,
                     "INSERT INTO nodes (member, address, agent_port, database_port, https_port,"
                     " cert_sha256) VALUES ($1, $2, $3::integer, $4::integer, $5::integer,"
                     " decode($6, 'hex'))",
                     6, node, NULL, error);
    return rc ? rc
              : run_format(conn, error,
                           "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%s')"
                           " THEN CREATE ROLE \"%s\"; END IF; END $$;"
                           " ALTER ROLE \"%s\" LOGIN REPLICATION CONNECTION LIMIT 8;"
                           " GRANT kts_members TO \"%s\"",
                           self->member, self->member, self->member, self->member);
}

static int insert_rows(PGconn *conn, const struct db_first_rows *rows, struct kt_error *error)
{
    char id[KT_UUID_TEXT], number[16], bits[17], key_id[2 * KT_KEY_ID_LEN + 1],
        hash[KT_SHA256_TEXT], not_after[KT_TIME_TEXT];
    const char *cluster[] = {id};
    const char *incarnation[] = {number, bits};
    const char *epoch[] = {number, rows->member};
    const char *receipt[] = {key_id, rows->receipt_cert_pem};
    const char *node[] = {hash, rows->info->node, not_after};
    const struct {
        const char *sql;
        int count;
        const char *const *parameters;
    } statements[] = {
        {"BEGIN", 0, NULL},
        {"INSERT INTO cluster (cluster_id) VALUES ($1::uuid)", 1, cluster},
        {"INSERT INTO incarnations (number, bits) VALUES ($1::integer, decode($2, 'hex'))", 2,
         incarnation},
        {"INSERT INTO epochs (incarnation, epoch, sequence, active, members, w, start_lsn, "
         "timeline)"
         " VALUES ($1::integer, 1, 1, $2, '{}', 0, '0/0', 1)",
         2, epoch},
        {"INSERT INTO receipt_keys (key_id, certificate, created_at)"
         " VALUES (decode($1, 'hex'), $2, now())",
         2, receipt},
        {"INSERT INTO node_certificates (sha256, kind, name, not_after, created_at)"
         " VALUES (decode($1, 'hex'), 'node', $2, $3::timestamptz, now())",
         3, node},
    };
    int rc = 0;

    kt_uuid_format(&rows->info->cluster_id, id);
    snprintf(number, sizeof(number), "%u", (unsigned)rows->incarnation.number);
    snprintf(bits, sizeof(bits), "%016llx", (unsigned long long)rows->incarnation.bits);
    kt_hex_encode(rows->receipt_key_id, KT_KEY_ID_LEN, key_id);
    kt_hex_encode(rows->node_cert_sha256, KT_SHA256_LEN, hash);
    kt_time_format(rows->node_cert_not_after_us, not_after);
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]) && rc == 0; i++)
        rc = db_pg_query(conn, STEP_MS, statements[i].sql, statements[i].count,
                         statements[i].parameters, NULL, error);
    if (rc == 0)
        rc = db_insert_self(conn, rows->self, error);
    return rc ? rc : db_pg_run(conn, STEP_MS, "COMMIT", error);
}

// 1: the rows of this cluster are there; 0: none; negative: another cluster's, or no answer.
static int find_rows(PGconn *conn, const struct db_first_rows *rows, struct kt_error *error)
{
    char id[KT_UUID_TEXT];
    PGresult *result = NULL;
    int rc = db_pg_query(conn, STEP_MS, "SELECT cluster_id FROM cluster", 0, NULL, &result, error);

    if (rc)
        return rc;
    kt_uuid_format(&rows->info->cluster_id, id);
    rc = PQntuples(result) > 0;
    if (rc && strcmp(PQgetvalue(result, 0, 0), id) != 0)
        rc = kt_error_set(error, KT_ERR_NOT_OURS, "check --confdir and database.directory",
                          "the database is of cluster %s, the confdir of cluster %s",
                          PQgetvalue(result, 0, 0), id);
    PQclear(result);
    return rc;
}

// In the database: the schema, then all first rows in one transaction.
static int fill(struct db_cluster *cluster, const struct db_first_rows *rows, int *done,
                struct kt_error *error)
{
    char schema[KT_PATH_MAX];
    struct db_target owner;
    PGconn *conn = NULL;
    int applied = 0, rc = db_schema_dir(schema, sizeof(schema), error);

    db_target_owner(cluster->paths, cluster->settings,
                    kt_settings_text(cluster->settings, KT_SET_DATABASE_NAME), &owner);
    if (rc == 0)
        rc = db_schema_apply(&owner, schema, &applied, error);
    if (rc == 0)
        rc = db_pg_connect(&owner, STEP_MS, &conn, error);
    if (rc == 0)
        rc = find_rows(conn, rows, error);
    if (rc == 0) {
        *done = 0;
        rc = insert_rows(conn, rows, error);
    } else if (rc == 1) {
        *done = applied == 0;
        rc = 0;
    }
    PQfinish(conn);
    return rc;
}

int db_mark_populated(const struct db_cluster *cluster, struct kt_error *error)
{
    struct db_mark mark;
    int rc = db_cluster_check_ours(cluster, &mark, error);

    if (rc || mark.populated)
        return rc;
    mark.populated = 1;
    return db_mark_save(cluster->dir, &mark, error);
}

int db_cluster_populate(struct db_cluster *cluster, const struct db_first_rows *rows, int *done,
                        struct kt_error *error)
{
    const char *name = kt_settings_text(cluster->settings, KT_SET_DATABASE_NAME);
    struct db_target owner;
    PGconn *conn = NULL;
    int filled = 0, rc;

    db_target_owner(cluster->paths, cluster->settings, "postgres", &owner);
    rc = db_pg_connect(&owner, STEP_MS, &conn, error);
    if (rc)
        return rc;
    rc = db_pg_query(conn, STEP_MS, DB_POPULATE_LOCK, 0, NULL, NULL, error);
    if (rc == 0)
        rc = ask(conn, "SELECT 1 WHERE pg_is_in_recovery()", NULL, error);
    if (rc > 0)
        rc = kt_error_set(error, KT_ERR_PASSIVE, NULL,
                          "this database follows another node and cannot be populated");
    if (rc == 0)
        rc = db_make_roles(cluster, conn, error);
    if (rc == 0)
        rc = db_make_database(conn, name, error);
    if (rc == 0)
        rc = fill(cluster, rows, &filled, error);
    if (rc == 0)
        rc = db_mark_populated(cluster, error);
    if (rc == 0)
        *done = filled;
    PQfinish(conn);
    return rc;
}
