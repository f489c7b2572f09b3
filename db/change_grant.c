// SPDX-License-Identifier: Apache-2.0
// Operators' changes of grants: who may do what on which deposits.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/json.h"

// 0 organisation, 1 disabled, 2 a client was named and is of this organisation, 3 the key group is.
static const char grant_check_sql[] =
    "SELECT o.organisation_id, o.disabled_at IS NOT NULL,"
    " $2::uuid IS NULL OR EXISTS (SELECT 1 FROM clients c WHERE c.client_id = $2::uuid"
    "  AND c.organisation_id = o.organisation_id),"
    " $3::uuid IS NULL OR EXISTS (SELECT 1 FROM key_groups k WHERE k.key_group_id = $3::uuid"
    "  AND k.organisation_id = o.organisation_id)"
    " FROM organisations o WHERE o.name = $1::text COLLATE \"C\"";

static void grant_check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->name);
    db_param_uuid(params, &change->client_id);
    db_param_uuid(params, &change->key_group);
}

static int grant_checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    (void)writer;
    snprintf(member->organisation, sizeof(member->organisation), "%s", member->change->name);
    if (PQntuples(result) != 1)
        return db_refuse(member, KT_ERR_ORGANISATION_NOT_FOUND, NULL);
    if (db_column_uuid(result, 0, &member->organisation_id) != 0)
        return KT_ERR_DATABASE;
    member->client_id = member->change->client_id;
    member->key_group = member->change->key_group;
    if (!db_column_true(result, 2))
        return db_refuse(member, KT_ERR_CLIENT_NOT_FOUND, "no such client in this organisation");
    if (!db_column_true(result, 3))
        return db_refuse(member, KT_ERR_KEY_GROUP_NOT_FOUND,
                         "no such key group in this organisation");
    return 0;
}

// What is granted already is not granted twice: else taking one
// back would leave the other in force.
static const char grant_sql[] =
    "WITH wanted AS (SELECT DISTINCT x AS access FROM unnest(string_to_array($6::text, ',')) x),"
    " have AS (SELECT g1.grant_id, g1.access FROM grants g1 JOIN wanted USING (access)"
    "  WHERE g1.organisation_id = $1::uuid AND g1.client_id IS NOT DISTINCT FROM $2::uuid"
    "   AND g1.object = $3::text AND g1.revoked_at IS NULL"
    "   AND (g1.object <> 'prefix' OR g1.prefix = $4::text COLLATE \"C\")"
    "   AND (g1.object <> 'key_group' OR g1.key_group_id = $5::uuid)),"
    " g AS (INSERT INTO grants (grant_id, organisation_id, client_id, object, prefix,"
    "  key_group_id, access, created_at, created_by)"
    "  SELECT gen_random_uuid(), $1::uuid, $2::uuid, $3::text,"
    "   CASE WHEN $3::text = 'prefix' THEN $4::text END,"
    "   CASE WHEN $3::text = 'key_group' THEN $5::uuid END, access, $7::timestamptz, $8::text"
    "   FROM wanted WHERE access NOT IN (SELECT access FROM have) RETURNING grant_id, access),"
    " l AS (INSERT INTO change_log (changed_at, event, organisation_id, client_id, by_whom, detail)"
    "  SELECT $7::timestamptz, 'grant.add', $1::uuid, $2::uuid, $8::text, jsonb_build_object("
    "   'grants', (SELECT jsonb_agg(grant_id) FROM g), 'object', $3::text, 'prefix', $4::text,"
    "   'key_group', $5::uuid, 'rights', $6::text) WHERE EXISTS (SELECT 1 FROM g)),"
    " held AS (SELECT * FROM have UNION ALL SELECT * FROM g)"
    " SELECT json_build_object('grants', json_agg(json_build_object('grant', grant_id, 'right',"
    "  access) ORDER BY access)), count(*) FROM held";

static void grant_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    const struct kt_change *change = member->change;

    (void)writer;
    db_param_uuid(params, &member->organisation_id);
    db_param_uuid(params, &change->client_id);
    db_param_text(params, change->object);
    db_param_text(params, change->handle);
    db_param_uuid(params, &change->key_group);
    db_param_text(params, change->rights);
    db_param_time(params, member->now_us);
    db_param_text(params, change->actor);
}

static int grant_written(struct db_writer *writer, struct db_member *member, PGresult *result)
{
    (void)writer;
    if (PQntuples(result) != 1)
        return KT_ERR_DATABASE;
    free(member->outcome.text);
    member->outcome.text = strdup(db_column_text(result, 0));
    member->outcome.count = db_column_number(result, 1);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

const struct db_change_ops db_change_grant = {
    .kind = KT_CHANGE_GRANT,
    .check_name = "check_grant",
    .check_sql = grant_check_sql,
    .check_params = grant_check_params,
    .checked = grant_checked,
    .write_name = "write_grant",
    .write_sql = grant_sql,
    .write_params = grant_params,
    .written = grant_written,
};

static const char revoke_check_sql[] =
    "SELECT g.organisation_id, o.name, g.client_id, g.revoked_at IS NOT NULL, g.access FROM grants "
    "g"
    " JOIN organisations o USING (organisation_id) WHERE g.grant_id = $1::uuid";

static void revoke_check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_uuid(params, &change->grant_id);
}

static int revoke_checked(struct db_writer *writer, struct db_member *member,
                          const PGresult *result)
{
    char grant[KT_UUID_TEXT];
    json_t *object;

    (void)writer;
    if (PQntuples(result) != 1)
        return db_refuse(member, KT_ERR_GRANT_NOT_FOUND, NULL);
    if (db_column_uuid(result, 0, &member->organisation_id) != 0 ||
        (!db_column_is_null(result, 2) && db_column_uuid(result, 2, &member->client_id) != 0))
        return KT_ERR_DATABASE;
    snprintf(member->organisation, sizeof(member->organisation), "%s", db_column_text(result, 1));
    member->outcome.repeated = db_column_true(result, 3);
    kt_uuid_format(&member->change->grant_id, grant);
    object = json_pack("{s:s, s:s, s:s}", "grant", grant, "organisation", member->organisation,
                       "right", db_column_text(result, 4));
    member->outcome.text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

static void revoke_params(struct db_writer *writer, const struct db_member *member,
                          struct db_params *params)
{
    (void)writer;
    db_param_uuid(params, &member->change->grant_id);
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
}

const struct db_change_ops db_change_grant_revoke = {
    .kind = KT_CHANGE_GRANT_REVOKE,
    .check_name = "check_grant_revoke",
    .check_sql = revoke_check_sql,
    .check_params = revoke_check_params,
    .checked = revoke_checked,
    .write_name = "write_grant_revoke",
    .write_sql =
        "WITH g AS (UPDATE grants SET revoked_at = $2::timestamptz, revoked_by = $3::text"
        "  WHERE grant_id = $1::uuid RETURNING organisation_id, client_id, access)"
        " INSERT INTO change_log (changed_at, event, organisation_id, client_id, by_whom, detail)"
        "  SELECT $2::timestamptz, 'grant.revoke', organisation_id, client_id, $3::text,"
        "  jsonb_build_object('grant', $1::uuid, 'right', access) FROM g",
    .write_params = revoke_params,
};
