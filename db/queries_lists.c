// SPDX-License-Identifier: Apache-2.0
// Reads of the agent: the lists that ktadmin shows.
#include "db/queries_inner.h"

#define ISO DB_ISO

// It would break the statements at the macros.
// clang-format off

int db_query_organisations(struct db_session *session, json_t **rows, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT o.organisation_id::text, o.name::text, to_json(o.contacts) AS contacts,"
        " o.needs_approval, o.disabled_at IS NOT NULL AS disabled,"
        " " ISO("o.disabled_at") "AS disabled_at, o.lock_default,"
        " extract(epoch FROM o.purge_delay)::bigint AS purge_delay_s,"
        " (SELECT count(*) FROM clients c WHERE c.organisation_id = o.organisation_id) AS clients,"
        " " ISO("o.created_at") "AS created_at, o.created_by"
        " FROM organisations o ORDER BY o.name LIMIT 10001";

    return db_rows_of(session, SQL, 0, NULL, rows, error);
}

int db_query_auth_codes(struct db_session *session, const char *organisation, int with_ended,
                        json_t **rows, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT a.code_id::text AS id, o.name::text AS organisation,"
        " CASE WHEN a.revoked_at IS NOT NULL THEN 'withdrawn' WHEN a.uses >= a.max_uses"
        "  THEN 'used up' WHEN a.expires_at <= now() THEN 'expired' ELSE 'good' END AS state,"
        " a.uses, a.max_uses, array_to_string(a.rights, ',') AS rights,"
        " " ISO("a.expires_at") "AS expires_at, " ISO("a.revoked_at") "AS revoked_at,"
        " " ISO("a.created_at") "AS created_at, a.created_by"
        " FROM auth_codes a JOIN organisations o USING (organisation_id)"
        " WHERE ($1::text IS NULL OR o.name = $1) AND ($2::boolean OR (a.revoked_at IS NULL"
        "  AND a.uses < a.max_uses AND a.expires_at > now()))"
        " ORDER BY o.name, a.created_at, a.code_id LIMIT 10001";
    const char *const values[] = {organisation, with_ended ? "true" : "false"};

    return db_rows_of(session, SQL, 2, values, rows, error);
}

int db_query_clients(struct db_session *session, const char *organisation, const char *state,
                     json_t **rows, struct kt_error *error)
{
    static const char SQL[] =
        "SELECT c.client_id::text, o.name::text AS organisation, c.name::text, c.state,"
        " c.code_id::text, " ISO("c.created_at") "AS created_at,"
        " " ISO("c.approved_at") "AS approved_at, c.approved_by,"
        " " ISO("c.revoked_at") "AS revoked_at, c.revoked_by,"
        " (SELECT " ISO("max(x.not_after)") " FROM client_certificates x"
        "  WHERE x.client_id = c.client_id AND x.revoked_at IS NULL) AS certificate_not_after,"
        " (SELECT encode(x.sha256, 'hex') FROM client_certificates x"
        "  WHERE x.client_id = c.client_id AND x.revoked_at IS NULL"
        "  ORDER BY x.not_after DESC LIMIT 1) AS certificate_sha256,"
        " (SELECT k.fingerprint::text FROM client_openpgp_keys k"
        "  WHERE k.client_id = c.client_id AND k.retired_at IS NULL"
        "  ORDER BY k.created_at DESC LIMIT 1) AS openpgp_fingerprint"
        " FROM clients c JOIN organisations o USING (organisation_id)"
        " WHERE ($1::text IS NULL OR o.name = $1) AND ($2::text IS NULL OR c.state = $2)"
        " ORDER BY o.name, c.created_at, c.client_id LIMIT 10001";
    const char *const values[] = {organisation, state};

    return db_rows_of(session, SQL, 2, values, rows, error);
}

int db_query_grants(struct db_session *session, const char *organisation, const char *client,
                    json_t **rows, struct kt_error *error)
{
    // As text: a filter that is no UUID finds nothing instead of raising.
    static const char SQL[] =
        "SELECT g.grant_id::text, o.name::text AS organisation, g.client_id::text,"
        " c.name::text AS client, g.object, g.prefix::text, g.key_group_id::text,"
        " g.access AS \"right\", " ISO("g.created_at") "AS created_at, g.created_by"
        " FROM grants g JOIN organisations o USING (organisation_id)"
        " LEFT JOIN clients c ON c.client_id = g.client_id"
        " WHERE g.revoked_at IS NULL AND ($1::text IS NULL OR o.name = $1)"
        " AND ($2::text IS NULL OR g.client_id::text = lower($2))"
        " ORDER BY o.name, g.client_id, g.object, g.prefix, g.access LIMIT 10001";
    const char *const values[] = {organisation, client};

    return db_rows_of(session, SQL, 2, values, rows, error);
}
// clang-format on
