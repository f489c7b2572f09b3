// SPDX-License-Identifier: Apache-2.0
// What hangs on an older root of the CA: clients, operators, auth codes, receipt keys, and sessions
// that came in by it.
#include <stdlib.h>

#include <jansson.h>
#include <libpq-fe.h>

#include "db/replication_inner.h"
#include "lib/encode.h"

#define PAGE      "500"
#define START_US  10000000 // a start takes so long at most from reading the file to its time
#define RELOAD_US 10000000
#define FORK_US                                                                                    \
    1000000 // a session that was forked before the reload may note its time so much later

// --- clients ---

static int walk_page(const PGresult *page, db_client_certificate each, void *arg)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < PQntuples(page); i++)
        rc = each(arg, PQgetvalue(page, i, 0), PQgetvalue(page, i, 2), PQgetvalue(page, i, 3));
    return rc;
}

int db_admin_client_certificates(struct db_admin *admin, db_client_certificate each, void *arg,
                                 struct kt_error *error)
{
    char client[KT_UUID_TEXT] = "00000000-0000-0000-0000-000000000000";
    char key[2 * KT_SHA256_LEN + 1] = "";
    const char *parameters[] = {client, key};
    int rc = 0, n = 1;

    while (rc == 0 && n > 0) {
        PGresult *page = NULL;
        rc = db_admin_ask(
            admin,
            "SELECT c.client_id, encode(k.key_sha256, 'hex'), o.name || '/' || c.name,"
            " k.certificate FROM clients c JOIN organisations o USING (organisation_id),"
            " LATERAL (SELECT DISTINCT ON (x.key_sha256) x.key_sha256, x.certificate"
            "  FROM client_certificates x WHERE x.client_id = c.client_id AND x.revoked_at IS NULL"
            "  AND x.not_after > now() ORDER BY x.key_sha256, x.created_at DESC) k"
            " WHERE c.state <> 'revoked' AND c.client_id >= $1::uuid"
            "  AND (c.client_id, k.key_sha256) > ($1::uuid, decode($2, 'hex'))"
            " ORDER BY c.client_id, k.key_sha256 LIMIT " PAGE,
            2, parameters, &page, error);
        if (rc)
            return rc;
        n = PQntuples(page);
        if (n > 0) {
            snprintf(client, sizeof(client), "%s", PQgetvalue(page, n - 1, 0));
            snprintf(key, sizeof(key), "%s", PQgetvalue(page, n - 1, 1));
        }
        rc = walk_page(page, each, arg);
        PQclear(page);
    }
    return rc;
}

// --- the rest ---

int db_admin_of_older_root(struct db_admin *admin, const uint8_t root_sha256[KT_SHA256_LEN],
                           int64_t since_us, json_t **found, struct kt_error *error)
{
    char since[KT_TIME_TEXT], root[KT_SHA256_TEXT];
    const char *parameters[] = {since, root};
    PGresult *result = NULL;
    int rc;

    kt_time_format(since_us, since);
    kt_hex_encode(root_sha256, KT_SHA256_LEN, root);
    rc = db_admin_ask(
        admin,
        "SELECT json_build_object('operators', (SELECT coalesce(json_agg(n.name), '[]')"
        "  FROM (SELECT k.name FROM node_certificates k WHERE k.kind = 'operator'"
        "   AND k.revoked_at IS NULL AND k.not_after > now() GROUP BY k.name"
        "   HAVING NOT bool_or(coalesce(k.ca_sha256 = decode($2, 'hex'),"
        "    k.created_at >= $1::timestamptz)) ORDER BY k.name) n),"
        " 'codes', (SELECT count(*) FROM auth_codes a WHERE a.revoked_at IS NULL"
        "  AND a.expires_at > now() AND a.uses < a.max_uses AND NOT coalesce(a.ca_sha256 ="
        "  decode($2, 'hex'), a.created_at >= $1::timestamptz)),"
        " 'receipt_keys', (SELECT coalesce(json_agg(json_build_object('id',"
        "  encode(r.key_id, 'hex'), 'certificate', r.certificate) ORDER BY r.created_at), '[]')"
        "  FROM receipt_keys r))",
        2, parameters, &result, error);
    if (rc == 0) {
        *found = json_loads(PQgetvalue(result, 0, 0), 0, NULL);
        rc = *found ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    PQclear(result);
    return rc;
}

// --- sessions of before ---

struct reload {
    struct db_cluster *cluster;
    int64_t loaded_us, started_us; // as the session that was asked last began
    int64_t before_us;             // 0, or when it had been loaded before
    int timeout_s;
};

// A session of its own each time: it begins with what the postmaster has, not with what it is told.
static int ask_loaded(struct reload *reload, struct kt_error *error)
{
    struct db_admin *admin = NULL;
    PGresult *result = NULL;
    int rc = db_admin_open(reload->cluster, DB_ADMIN_MS, &admin, error);

    if (rc == 0)
        rc =
            db_admin_ask(admin,
                         "SELECT (extract(epoch FROM pg_conf_load_time()) * 1000000)::bigint,"
                         " (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,"
                         " (SELECT setting FROM pg_settings WHERE name = 'authentication_timeout')",
                         0, NULL, &result, error);
    if (rc == 0) {
        reload->loaded_us = (int64_t)db_number_column(result, 0);
        reload->started_us = (int64_t)db_number_column(result, 1);
        reload->timeout_s = (int)db_number_column(result, 2);
    }
    PQclear(result);
    db_admin_close(admin);
    return rc;
}

static int is_loaded(void *arg, struct kt_error *error)
{
    struct reload *reload = arg;
    int rc = ask_loaded(reload, error);

    return rc ? rc : reload->loaded_us != reload->before_us;
}

int db_reload_ca(struct db_cluster *cluster, int64_t changed_us, struct db_before *before,
                 struct kt_error *error)
{
    struct reload reload = {.cluster = cluster};
    struct db_before found = {0};
    enum db_run_state state;
    long pid = 0;
    int rc = db_cluster_state(cluster, &state, &pid, error);

    if (rc == 0 && state == DB_STOPPED)
        goto out;
    if (rc == 0)
        rc = ask_loaded(&reload, error);
    if (rc == 0 && reload.started_us > changed_us + START_US)
        goto out;
    reload.before_us = reload.loaded_us;
    if (rc == 0)
        rc = db_reload_certificates(cluster, error);
    if (rc == 0) {
        rc = db_wait_until(is_loaded, &reload, kt_monotonic_now() + RELOAD_US, error);
        if (rc == KT_ERR_TIMEOUT)
            kt_error_set(error, rc, "look at PostgreSQL's log",
                         "PostgreSQL does not read its files again");
    }
    found.us = reload.loaded_us + FORK_US;
    // Its time for the handshake, then as much again for who comes in.
    found.pending_ms = 2000 * reload.timeout_s;
out:
    if (rc == 0)
        *before = found;
    return rc;
}

int db_admin_end_before(struct db_admin *admin, int64_t before_us, uint32_t *ended, uint32_t *left,
                        struct kt_error *error)
{
    char before[KT_TIME_TEXT];
    const char *parameters[] = {before};
    PGresult *result = NULL;
    int rc;

    kt_time_format(before_us, before);
    rc = db_admin_ask(admin,
                      "SELECT count(*) FILTER (WHERE e.is_over),"
                      " count(*) FILTER (WHERE NOT e.is_over)"
                      " FROM (SELECT pg_terminate_backend(a.pid, 1000) AS is_over"
                      "  FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE s.ssl"
                      "  AND a.pid <> pg_backend_pid() AND a.backend_start < $1::timestamptz) e",
                      1, parameters, &result, error);

    if (rc == 0) {
        *ended = (uint32_t)db_number_column(result, 0);
        *left = (uint32_t)db_number_column(result, 1);
    }
    PQclear(result);
    return rc;
}
