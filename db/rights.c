// SPDX-License-Identifier: Apache-2.0
// Key groups, recovery keys, and what grants amount to.
#include "db/rights.h"

#include "db/queries_inner.h"
#include "lib/json.h"

#define COUNTING_MS 25000 // ktadmin waits 30 s

int db_query_key_groups(struct db_session *session, const char *organisation, json_t **rows,
                        struct kt_error *error)
{
    static const char SQL[] =
        "SELECT k.key_group_id::text, o.name::text AS organisation, k.name::text,"
        " (SELECT count(*) FROM grants g WHERE g.key_group_id = k.key_group_id"
        "  AND g.revoked_at IS NULL) AS grants,"
        " " DB_ISO("k.created_at") "AS created_at, k.created_by"
                                   " FROM key_groups k JOIN organisations o USING (organisation_id)"
                                   " WHERE $1::text IS NULL OR o.name = $1 ORDER BY o.name, "
                                   "k.name, k.created_at LIMIT 10001";

    return db_rows_of(session, SQL, 1, &organisation, rows, error);
}

int db_query_recovery_keys(struct db_session *session, const char *organisation, json_t **rows,
                           struct kt_error *error)
{
    static const char SQL[] =
        "SELECT r.fingerprint::text, o.name::text AS organisation,"
        " CASE WHEN r.retired_at IS NULL THEN 'in force' ELSE 'retired' END AS state,"
        " to_json(ARRAY(SELECT upper(lpad(to_hex(i), 16, '0')) FROM unnest(r.key_ids) i))"
        "  AS key_ids,"
        " " DB_ISO("r.created_at") "AS created_at, r.created_by,"
                                   " " DB_ISO(
                                       "r.retired_at") "AS retired_at, r.retired_by"
                                                       " FROM recovery_keys r JOIN organisations o "
                                                       "USING (organisation_id)"
                                                       " WHERE $1::text IS NULL OR o.name = $1 "
                                                       "ORDER BY o.name, r.created_at LIMIT 10001";

    return db_rows_of(session, SQL, 1, &organisation, rows, error);
}

// Whether the object of a grant covers the deposit d of the organisation, for the client c.
#define COVERS(object, prefix, key_group)                                                          \
    "CASE " object " WHEN 'own' THEN d.client_id = c.client_id"                                    \
    " WHEN 'prefix' THEN starts_with(d.handle, " prefix ")"                                        \
    " ELSE d.key_group_id = " key_group " END"
#define HANDLES(condition)                                                                         \
    "(SELECT count(DISTINCT d.handle) FROM deposits d WHERE d.organisation_id = c.organisation_id" \
    " AND d.deleted_at IS NULL AND d.purged_at IS NULL AND (" condition "))"
#define GRANTED(further)                                                                           \
    "EXISTS (SELECT 1 FROM grants g WHERE g.organisation_id = c.organisation_id"                   \
    " AND g.revoked_at IS NULL AND g.access = n.access"                                            \
    " AND (g.client_id = c.client_id OR g.client_id IS NULL)" further                              \
    " AND " COVERS("g.object", "g.prefix", "g.key_group_id") ")"

// The row of what was named, or why there is none. $1 organisation, $2 client, $3 key group, $4
// grant.
static int check_preview(struct db_session *session, const char *const values[4],
                         struct kt_error *error)
{
    static const char SQL[] =
        "SELECT EXISTS (SELECT FROM organisations o WHERE o.name = $1) AS organisation,"
        " $2::uuid IS NULL OR EXISTS (SELECT FROM clients c JOIN organisations o"
        "  USING (organisation_id) WHERE o.name = $1 AND c.client_id = $2::uuid) AS client,"
        " $3::uuid IS NULL OR EXISTS (SELECT FROM key_groups k JOIN organisations o"
        "  USING (organisation_id) WHERE o.name = $1 AND k.key_group_id = $3::uuid) AS key_group,"
        " $4::uuid IS NULL OR EXISTS (SELECT FROM grants g WHERE g.grant_id = $4::uuid"
        "  AND g.revoked_at IS NULL) AS grant";
    json_t *rows = NULL, *row;
    int rc = db_rows_of(session, SQL, 4, values, &rows, error), code = 0;

    if (rc)
        return rc;
    row = json_array_get(rows, 0);
    if (values[3] && !kt_json_boolean(row, "grant", 0))
        code = KT_ERR_GRANT_NOT_FOUND;
    else if (!values[3] && !kt_json_boolean(row, "organisation", 0))
        code = KT_ERR_ORGANISATION_NOT_FOUND;
    else if (!kt_json_boolean(row, "client", 0) && !values[3])
        code = KT_ERR_CLIENT_NOT_FOUND;
    else if (!kt_json_boolean(row, "key_group", 0) && !values[3])
        code = KT_ERR_KEY_GROUP_NOT_FOUND;
    json_decref(rows);
    return code ? kt_error_set(error, code, NULL, "%s", kt_err_text(code)) : 0;
}

int db_rights_preview(struct db_session *session, const struct kt_change *change, json_t **rows,
                      struct kt_error *error)
{
    // n: what is granted or taken back, a row for each right.
    static const char SQL[] =
        "WITH n AS (SELECT o.organisation_id, $2::uuid AS client_id, $5::text AS object,"
        "  $6::text AS prefix, $3::uuid AS key_group_id, x AS access, true AS is_new"
        "  FROM organisations o, unnest(string_to_array($7, ',')) x"
        "  WHERE o.name = $1 AND $4::uuid IS NULL"
        " UNION ALL SELECT organisation_id, client_id, object, prefix, key_group_id, access, "
        "false"
        "  FROM grants WHERE grant_id = $4::uuid)"
        " SELECT c.client_id::text, c.name::text AS client, c.state, n.access AS \"right\","
        " " HANDLES(GRANTED(
            "")) " AS now,"
                 " " HANDLES(GRANTED(
                     " AND g.grant_id IS DISTINCT FROM "
                     "$4::uuid") " OR (n.is_new AND " COVERS("n.object", "n.prefix",
                                                             "n.key_group_id") ")") " AS \"then\""
                                                                                    " FROM n JOIN "
                                                                                    "clients c ON "
                                                                                    "c."
                                                                                    "organisation_"
                                                                                    "id = "
                                                                                    "n."
                                                                                    "organisation_"
                                                                                    "id"
                                                                                    "  AND "
                                                                                    "(n.client_id "
                                                                                    "IS NULL OR "
                                                                                    "c.client_id = "
                                                                                    "n.client_id)"
                                                                                    " WHERE "
                                                                                    "c.state <> "
                                                                                    "'revoked' "
                                                                                    "ORDER "
                                                                                    "BY c.name, "
                                                                                    "c.client_id, "
                                                                                    "n.access "
                                                                                    "LIMIT 10001";
    char client[KT_UUID_TEXT], group[KT_UUID_TEXT], grant[KT_UUID_TEXT];
    const char *const values[] = {
        change->name[0] ? change->name : NULL,
        kt_uuid_is_nil(&change->client_id) ? NULL : client,
        kt_uuid_is_nil(&change->key_group) ? NULL : group,
        kt_uuid_is_nil(&change->grant_id) ? NULL : grant,
        change->object,
        change->handle,
        change->rights,
    };
    int rc;

    kt_uuid_format(&change->client_id, client);
    kt_uuid_format(&change->key_group, group);
    kt_uuid_format(&change->grant_id, grant);
    db_session_set_timeout(session, COUNTING_MS);
    rc = check_preview(session, values, error);
    return rc ? rc : db_rows_of(session, SQL, 7, values, rows, error);
}

int db_rights_effective(struct db_session *session, const struct kt_uuid *client,
                        const char *handle, json_t **object, struct kt_error *error)
{
    static const char WHO[] =
        "SELECT c.client_id::text AS client, c.name::text, o.name::text AS organisation, c.state,"
        " o.disabled_at IS NOT NULL AS disabled"
        " FROM clients c JOIN organisations o USING (organisation_id) WHERE c.client_id = $1::uuid";
    // v: the newest version of the handle, deleted or not; its first one says whose it is.
    static const char SQL[] =
        "SELECT n.access AS \"right\", n.object, n.prefix::text, n.key_group_id::text,"
        " k.name::text AS key_group, CASE WHEN n.client_id IS NULL THEN 'everyone' ELSE 'client'"
        " END AS subject, n.grant_id::text, CASE WHEN $2::text IS NULL THEN"
        " " HANDLES(COVERS(
            "n.object", "n.prefix",
            "n.key_group_id")) " END AS handles"
                               " FROM clients c JOIN grants n ON n.organisation_id = "
                               "c.organisation_id"
                               "  AND n.revoked_at IS NULL AND (n.client_id = c.client_id OR "
                               "n.client_id IS NULL)"
                               " LEFT JOIN key_groups k ON k.key_group_id = n.key_group_id"
                               " LEFT JOIN LATERAL (SELECT d.client_id, d.key_group_id, (SELECT "
                               "f.client_id FROM deposits"
                               "   f WHERE f.organisation_id = d.organisation_id AND f.handle = "
                               "d.handle"
                               "   ORDER BY f.version LIMIT 1) AS owner FROM deposits d"
                               "  WHERE d.organisation_id = c.organisation_id AND d.handle = "
                               "$2::text COLLATE \"C\""
                               "  ORDER BY d.version DESC LIMIT 1) v ON true"
                               " WHERE c.client_id = $1::uuid AND ($2::text IS NULL OR CASE "
                               "n.object"
                               "  WHEN 'own' THEN CASE n.access WHEN 'deposit' THEN v.owner IS NULL"
                               "   OR v.owner = c.client_id ELSE v.client_id = c.client_id END"
                               "  WHEN 'prefix' THEN starts_with($2::text, n.prefix)"
                               "  ELSE n.key_group_id = v.key_group_id END)"
                               " ORDER BY n.access, n.object, n.prefix, n.key_group_id LIMIT 10001";
    char id[KT_UUID_TEXT];
    const char *const values[] = {id, handle};
    json_t *who = NULL, *grants = NULL;
    int rc;

    kt_uuid_format(client, id);
    db_session_set_timeout(session, COUNTING_MS);
    rc = db_rows_of(session, WHO, 1, values, &who, error);
    if (rc == 0 && json_array_size(who) != 1)
        rc = kt_error_set(error, KT_ERR_CLIENT_NOT_FOUND, NULL, "%s",
                          kt_err_text(KT_ERR_CLIENT_NOT_FOUND));
    if (rc == 0)
        rc = db_rows_of(session, SQL, 2, values, &grants, error);
    if (rc == 0) {
        *object = json_incref(json_array_get(who, 0));
        json_object_set_new(*object, "grants", grants);
    }
    json_decref(who);
    return rc;
}
