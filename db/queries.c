// SPDX-License-Identifier: Apache-2.0
// Reads of the agent: one blocking connection, every statement bounded in time.
#include "db/queries.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/epoch_sql.h"
#include "db/queries_inner.h"
#include "db/strangers_sql.h"

#define ROWS_MAX     10000
#define STATEMENT_MS 2500
#define WAIT_MS      500 // beyond the statement's: a server that is stopped does not keep that
#define ISO          DB_ISO

// Types of result columns, from PostgreSQL's catalogue (pg_type.dat); they never change.
enum { OID_BOOL = 16, OID_INT8 = 20, OID_INT4 = 23, OID_JSON = 114 };

struct db_session {
    char *socket_dir, *database, *user, *password, *application_name;
    char port[8];
    int statement_ms;
    PGconn *conn;
};

static char *copy_of(const char *s)
{
    return s ? strdup(s) : NULL;
}

int db_session_new(const struct db_target *target, struct db_session **session)
{
    struct db_session *fresh = calloc(1, sizeof(*fresh));

    if (!fresh)
        return KT_ERR_NO_MEMORY;
    fresh->socket_dir = copy_of(target->socket_dir);
    fresh->database = copy_of(target->database);
    fresh->user = copy_of(target->user);
    fresh->password = copy_of(target->password);
    fresh->application_name = copy_of(target->application_name ? target->application_name : "kts");
    snprintf(fresh->port, sizeof(fresh->port), "%d", target->port);
    fresh->statement_ms = STATEMENT_MS;
    if (!fresh->socket_dir || !fresh->database || !fresh->user || !fresh->application_name ||
        (target->password && !fresh->password)) {
        db_session_free(fresh);
        return KT_ERR_NO_MEMORY;
    }
    *session = fresh;
    return 0;
}

void db_session_free(struct db_session *session)
{
    if (!session)
        return;
    PQfinish(session->conn);
    if (session->password)
        kt_wipe(session->password, strlen(session->password));
    free(session->socket_dir);
    free(session->database);
    free(session->user);
    free(session->password);
    free(session->application_name);
    free(session);
}

int db_session_fd(const struct db_session *session)
{
    return session->conn ? PQsocket(session->conn) : -1;
}

void db_session_set_timeout(struct db_session *session, int statement_ms)
{
    session->statement_ms = statement_ms;
}

static void drop(struct db_session *session)
{
    PQfinish(session->conn);
    session->conn = NULL;
}

// libpq's messages end in a newline and may have several lines; the first says it.
static void first_line(const char *text, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)strcspn(text ? text : "", "\n"), text ? text : "");
}

static void ignore_notice(void *unused, const char *text)
{
    (void)unused;
    (void)text;
}

int db_session_check(struct db_session *session, struct kt_error *error)
{
    char options[192];
    const char *const names[] = {
        "host",    "port", "dbname", "user", "password", "connect_timeout", "application_name",
        "options", NULL};
    const char *const values[] = {session->socket_dir,
                                  session->port,
                                  session->database,
                                  session->user,
                                  session->password,
                                  "2",
                                  session->application_name,
                                  options,
                                  NULL};
    char why[256];

    // A reader by right, and by intent: no plan of this process may ever write.
    snprintf(options, sizeof(options),
             "-c statement_timeout=%dms -c lock_timeout=200ms -c default_transaction_read_only=on "
             "-c client_min_messages=error",
             session->statement_ms);
    if (session->conn &&
        (PQstatus(session->conn) != CONNECTION_OK || !PQconsumeInput(session->conn)))
        drop(session);
    if (session->conn)
        return 0;
    session->conn = PQconnectdbParams(names, values, 0);
    if (session->conn && PQstatus(session->conn) == CONNECTION_OK) {
        PQsetNoticeProcessor(session->conn, ignore_notice, NULL);
        return 0;
    }
    first_line(session->conn ? PQerrorMessage(session->conn) : "out of memory", why, sizeof(why));
    drop(session);
    return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                        "the database does not answer: %s", why);
}

// Waits for the whole answer; on silence the connection is given up.
static int wait_result(struct db_session *session, struct kt_error *error)
{
    while (PQisBusy(session->conn)) {
        struct pollfd p = {.fd = PQsocket(session->conn), .events = POLLIN};
        int n = poll(&p, 1, session->statement_ms + WAIT_MS);
        if (n == 0) {
            drop(session);
            return kt_error_set(error, KT_ERR_DATABASE_TIMEOUT, NULL,
                                "the database did not answer in time");
        }
        if (!PQconsumeInput(session->conn)) {
            drop(session);
            return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                                "the database closed the connection");
        }
    }
    return 0;
}

// Runs one statement. On success `*result` is the caller's to clear.
static int run(struct db_session *session, const char *sql, int count, const char *const *values,
               PGresult **result, struct kt_error *error)
{
    PGresult *got, *more;
    char why[256];
    int rc = db_session_check(session, error);

    if (rc)
        return rc;
    if (!PQsendQueryParams(session->conn, sql, count, NULL, values, NULL, NULL, 0)) {
        drop(session);
        return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                            "the database closed the connection");
    }
    rc = wait_result(session, error);
    if (rc)
        return rc;
    got = PQgetResult(session->conn);
    while ((more = PQgetResult(session->conn)) != NULL)
        PQclear(more);
    if (PQresultStatus(got) == PGRES_TUPLES_OK) {
        *result = got;
        return 0;
    }
    const char *state = PQresultErrorField(got, PG_DIAG_SQLSTATE);
    first_line(PQresultErrorMessage(got), why, sizeof(why));
    if (!state || strncmp(state, "57P", 3) == 0 || strncmp(state, "08", 2) == 0) // going down, gone
        rc = KT_ERR_DATABASE_UNAVAILABLE;
    else
        rc = strcmp(state, "57014") == 0 ? KT_ERR_DATABASE_TIMEOUT : KT_ERR_DATABASE;
    kt_error_set(error, rc, NULL, "%s: %s", kt_err_text(rc), why);
    PQclear(got);
    if (rc == KT_ERR_DATABASE_UNAVAILABLE)
        drop(session);
    return rc;
}

static json_t *cell(const PGresult *result, int row, int column)
{
    const char *text = PQgetvalue(result, row, column);

    if (PQgetisnull(result, row, column))
        return json_null();
    switch (PQftype(result, column)) {
    case OID_BOOL:
        return json_boolean(text[0] == 't');
    case OID_INT4:
    case OID_INT8:
        return json_integer(strtoll(text, NULL, 10));
    case OID_JSON:
        return json_loads(text, JSON_DECODE_ANY, NULL);
    default:
        return json_string(text);
    }
}

int db_rows_of(struct db_session *session, const char *sql, int count, const char *const *values,
               json_t **rows, struct kt_error *error)
{
    PGresult *r = NULL;
    json_t *list;
    int rc = run(session, sql, count, values, &r, error);

    if (rc)
        return rc;
    list = json_array();
    if (PQntuples(r) > ROWS_MAX)
        rc = kt_error_set(error, KT_ERR_TOO_LARGE, "ask for one organisation", "more than %d rows",
                          ROWS_MAX);
    for (int i = 0; rc == 0 && i < PQntuples(r); i++) {
        json_t *row = json_object();
        for (int c = 0; c < PQnfields(r); c++) {
            if (json_object_set_new(row, PQfname(r, c), cell(r, i, c)))
                rc = KT_ERR_NO_MEMORY;
        }
        if (json_array_append_new(list, row))
            rc = KT_ERR_NO_MEMORY;
    }
    PQclear(r);
    if (rc) {
        json_decref(list);
        if (rc == KT_ERR_NO_MEMORY)
            kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
        return rc;
    }
    *rows = list;
    return 0;
}

int db_object_of(struct db_session *session, const char *sql, json_t **object,
                 struct kt_error *error)
{
    PGresult *r = NULL;
    int rc = run(session, sql, 0, NULL, &r, error);

    if (rc)
        return rc;
    *object = PQntuples(r) == 1 ? json_loads(PQgetvalue(r, 0, 0), 0, NULL) : NULL;
    PQclear(r);
    return *object ? 0
                   : kt_error_set(error, KT_ERR_NOT_INITIALISED, NULL,
                                  "the database says nothing of itself: init did not finish");
}

int db_query_look(struct db_session *session, json_t **look, struct kt_error *error)
{
    // CASE: what is asked of a primary fails on a standby, and the other way round.
    static const char SQL[] =
        "SELECT json_build_object("
        "'in_recovery', pg_is_in_recovery(),"
        "'restored', c.state = 'restored',"
        "'names', current_setting('synchronous_standby_names'),"
        "'log_index', coalesce((SELECT max(d.log_index) FROM deposits d), 0),"
        "'clock_jumped', coalesce((SELECT k.jumped_to IS NOT NULL FROM clock k), false),"
        "'prepared', (SELECT count(*) FROM pg_prepared_xacts x"
        "  WHERE x.database = current_database() AND x.gid LIKE 'kt:%'"
        "  AND x.owner = 'kts_writer'),"
        "'strangers', (SELECT count(*) FROM pg_prepared_xacts x"
        "  WHERE x.database = current_database() AND " DB_STRANGERS "),"
        "'strangers_owner', (SELECT min(coalesce(x.owner::text, '(removed)'))"
        "  FROM pg_prepared_xacts x"
        "  WHERE x.database = current_database() AND " DB_STRANGERS "),"
        "'spared', (SELECT count(*) FROM pg_prepared_xacts x"
        "  WHERE x.database = current_database() AND " DB_SPARED "),"
        "'timeline', CASE WHEN pg_is_in_recovery()"
        "  THEN coalesce(r.received_tli, (pg_control_checkpoint()).timeline_id)"
        "  ELSE ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int END,"
        "'lsn', CASE WHEN pg_is_in_recovery()"
        "  THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
        "  ELSE pg_current_wal_flush_lsn() END,"
        "'replayed', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END,"
        "'lag_us', CASE WHEN pg_is_in_recovery()"
        "    AND pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
        "  THEN (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())"
        "    * 1000000)::bigint ELSE 0 END,"
        "'receiver', CASE WHEN r.pid IS NOT NULL THEN json_build_object("
        "  'streaming', r.status = 'streaming',"
        "  'silent_us', (extract(epoch FROM clock_timestamp() - r.last_msg_receipt_time)"
        "    * 1000000)::bigint) END,"
        "'streaming', (SELECT coalesce(json_agg(json_build_object("
        "    'member', s.usename, 'name', s.application_name,"
        "    'streaming', s.state = 'streaming', 'flush_lsn', coalesce(s.flush_lsn, '0/0'),"
        "    'replay_lsn', coalesce(s.replay_lsn, '0/0'),"
        "    'lag_bytes', greatest(0, coalesce(CASE WHEN pg_is_in_recovery()"
        "      THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END"
        "      - s.replay_lsn, 0))::bigint,"
        "    'lag_us', coalesce(extract(epoch FROM s.replay_lag) * 1000000, 0)::bigint,"
        "    'replied', coalesce(s.reply_time::text, ''))), '[]')"
        "  FROM pg_stat_replication s"
        "  WHERE starts_with(s.application_name, s.usename || '_')),"
        "'rows', " DB_EPOCH_ROWS ")"
        " FROM cluster c LEFT JOIN pg_stat_wal_receiver r ON true";

    return db_object_of(session, SQL, look, error);
}

int db_query_listed(struct db_session *session, json_t **listed, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT json_build_object("
        "'nodes', (SELECT coalesce(json_agg(json_build_object("
        "    'member', n.member, 'address', n.address, 'agent_port', n.agent_port,"
        "    'database_port', n.database_port, 'https_port', n.https_port,"
        "    'cert_sha256', encode(n.cert_sha256, 'hex'), 'cert_before',"
        // while a renewal has not ended: what was listed before it
        "    (SELECT encode(b.sha256, 'hex') FROM node_certificates b WHERE b.kind = 'node'"
        "      AND b.name = split_part(n.member, '.', 1) AND b.sha256 <> n.cert_sha256"
        "      AND b.revoked_at IS NULL AND b.not_after > now() AND n.removed_at IS NULL"
        "      ORDER BY b.created_at DESC LIMIT 1), 'revision', n.revision,"
        "    'removed', n.removed_at IS NOT NULL) ORDER BY n.member), '[]') FROM nodes n),"
        "'expired', (SELECT coalesce(json_agg(n.member), '[]') FROM nodes n JOIN node_certificates "
        "k"
        "  ON k.sha256 = n.cert_sha256 WHERE n.removed_at IS NULL AND k.not_after <= now()),"
        "'operators', (SELECT coalesce(json_agg(json_build_object("
        "    'name', k.name, 'cert_sha256', encode(k.sha256, 'hex'))), '[]')"
        "  FROM node_certificates k"
        "  WHERE k.kind = 'operator' AND k.revoked_at IS NULL AND k.not_after > now()),"
        "'receipt_keys', (SELECT coalesce(json_agg(json_build_object('id', encode(r.key_id, 'hex'),"
        "    'retired', r.retired_at IS NOT NULL) ORDER BY r.created_at DESC), '[]')"
        "  FROM receipt_keys r),"
        "'cluster_keys', (SELECT coalesce(json_agg(json_build_object('number', k.number,"
        "    'fingerprint', k.fingerprint, 'before', k.before, 'sha256',"
        "    encode(sha256(convert_to(k.statement, 'UTF8')), 'hex'), 'since', " ISO(
            "k.made_at") ") ORDER BY k.number DESC), '[]') FROM cluster_keys k),"
                         "'restored', (SELECT encode(sha256(i.statement), 'hex') FROM incarnations "
                         "i"
                         "  ORDER BY i.number DESC LIMIT 1),"
                         "'settings', (SELECT json_object_agg(s.name, s.setting ORDER BY s.name)"
                         "  FROM pg_settings s WHERE s.name IN ('data_checksums', "
                         "'full_page_writes',"
                         "    'fsync', 'hot_standby_feedback', 'jit', 'max_connections',"
                         "    'max_prepared_transactions', 'max_replication_slots', "
                         "'max_slot_wal_keep_size',"
                         "    'max_wal_senders', 'server_version_num', 'ssl_min_protocol_version', "
                         "'wal_level',"
                         "    'wal_log_hints')))";

    return db_object_of(session, SQL, listed, error);
}

int db_query_key_statements(struct db_session *session, json_t **object, struct kt_error *error)
{
    return db_object_of(session,
                        "SELECT json_build_object('version', 1, 'statements',"
                        " (SELECT coalesce(json_agg(k.statement ORDER BY k.number), '[]')"
                        "  FROM cluster_keys k))",
                        object, error);
}

int db_query_clock(struct db_session *session, json_t **clock, struct kt_error *error)
{
    // clang-format off
    static const char SQL[] =
        "SELECT json_build_object('now', " ISO("clock_timestamp()") ","
        " 'highest', " ISO("k.highest") ", 'jumped_to', " ISO("k.jumped_to") ","
        " 'confirmed_at', " ISO("k.confirmed_at") ", 'confirmed_by', k.confirmed_by,"
        " 'purging', (SELECT count(*) FROM deposits d WHERE d.purge_after IS NOT NULL"
        "  AND d.purged_at IS NULL)) FROM (SELECT) one LEFT JOIN clock k ON true";
    // clang-format on

    return db_object_of(session, SQL, clock, error);
}
