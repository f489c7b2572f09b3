// SPDX-License-Identifier: Apache-2.0
// What hangs on an older root of the CA: clients, operators, auth codes, receipt keys, and sessions
// that came in by it.
#include <stdlib.h>

#include <jansson.h>
#include <libpq-fe.h>

#include "db/replication_inner.h"
#include "lib/encode.h"

#define PAGE "500"

// --- clients ---

static int walk_page(const PGresult *page, db_client_certificate each, void *arg)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < PQntuples(page); i++)
        rc = each(arg, PQgetvalue(page, i, 1), PQgetvalue(page, i, 2));
    return rc;
}

int db_admin_client_certificates(struct db_admin *admin, db_client_certificate each, void *arg,
                                 struct kt_error *error)
{
    char last[KT_UUID_TEXT] = "00000000-0000-0000-0000-000000000000";
    const char *parameters[] = {last};
    int rc = 0, n = 1;

    while (rc == 0 && n > 0) {
        PGresult *page = NULL;
        rc =
            db_admin_ask(admin,
                         "SELECT c.client_id, o.name || '/' || c.name, k.certificate FROM clients c"
                         " JOIN organisations o USING (organisation_id),"
                         " LATERAL (SELECT x.certificate FROM client_certificates x"
                         "  WHERE x.client_id = c.client_id AND x.revoked_at IS NULL"
                         "  AND x.not_after > now() ORDER BY x.created_at DESC LIMIT 1) k"
                         " WHERE c.state <> 'revoked' AND c.client_id > $1::uuid"
                         " ORDER BY c.client_id LIMIT " PAGE,
                         1, parameters, &page, error);
        if (rc)
            return rc;
        n = PQntuples(page);
        if (n > 0)
            snprintf(last, sizeof(last), "%s", PQgetvalue(page, n - 1, 0));
        rc = walk_page(page, each, arg);
        PQclear(page);
    }
    return rc;
}

// --- the rest ---

int db_admin_older_than(struct db_admin *admin, int64_t since_us, json_t **found,
                        struct kt_error *error)
{
    char since[KT_TIME_TEXT];
    const char *parameters[] = {since};
    PGresult *result = NULL;
    int rc;

    kt_time_format(since_us, since);
    rc = db_admin_ask(
        admin,
        "SELECT json_build_object('operators', (SELECT coalesce(json_agg(n.name), '[]')"
        "  FROM (SELECT k.name FROM node_certificates k WHERE k.kind = 'operator'"
        "   AND k.revoked_at IS NULL AND k.not_after > now() GROUP BY k.name"
        "   HAVING max(k.created_at) < $1::timestamptz ORDER BY k.name) n),"
        " 'codes', (SELECT count(*) FROM auth_codes a WHERE a.revoked_at IS NULL"
        "  AND a.expires_at > now() AND a.uses < a.max_uses AND a.created_at < $1::timestamptz),"
        " 'receipt_keys', (SELECT coalesce(json_agg(json_build_object('id',"
        "  encode(r.key_id, 'hex'), 'certificate', r.certificate) ORDER BY r.created_at), '[]')"
        "  FROM receipt_keys r))",
        1, parameters, &result, error);
    if (rc == 0) {
        *found = json_loads(PQgetvalue(result, 0, 0), 0, NULL);
        rc = *found ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    PQclear(result);
    return rc;
}

int db_admin_end_by_serial(struct db_admin *admin, const char *serials, uint32_t *count,
                           struct kt_error *error)
{
    const char *parameters[] = {serials};
    PGresult *result = NULL;
    int rc =
        db_admin_ask(admin,
                     "SELECT count(pg_terminate_backend(s.pid, 1000)) FROM pg_stat_ssl s"
                     " WHERE s.ssl AND s.pid <> pg_backend_pid() AND s.client_serial IS NOT NULL"
                     " AND s.client_serial <> ALL (string_to_array($1, ',')::numeric[])",
                     1, parameters, &result, error);

    if (rc == 0)
        *count = (uint32_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return rc;
}
