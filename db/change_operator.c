// SPDX-License-Identifier: Apache-2.0
// Operators' changes of organisations, auth codes and clients.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/json.h"

// The outcome's text; takes the reference.
static int answer(struct db_member *member, json_t *object)
{
    free(member->outcome.text);
    member->outcome.text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

static int answer_name(struct db_member *member, const char *key, const struct kt_uuid *id)
{
    char text[KT_UUID_TEXT];

    kt_uuid_format(id, text);
    return answer(member, json_pack("{s:s, s:s}", "name", member->organisation, key, text));
}

// --- organisations ---

// 0 id, 1 name, 2 disabled; no row when there is none of this name.
static const char org_check_sql[] =
    "SELECT organisation_id, name, disabled_at IS NOT NULL FROM organisations"
    " WHERE name = $1::text COLLATE \"C\"";

static void org_check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->name);
}

static int org_found(struct db_member *member, const PGresult *result)
{
    snprintf(member->organisation, sizeof(member->organisation), "%s", member->change->name);
    if (PQntuples(result) != 1)
        return db_refuse(member, KT_ERR_ORGANISATION_NOT_FOUND, NULL);
    return db_column_uuid(result, 0, &member->organisation_id) == 0 ? 1 : KT_ERR_DATABASE;
}

static int org_add_checked(struct db_writer *writer, struct db_member *member,
                           const PGresult *result)
{
    (void)writer;
    if (PQntuples(result) != 0)
        return db_refuse(member, KT_ERR_ORGANISATION_EXISTS, NULL);
    snprintf(member->organisation, sizeof(member->organisation), "%s", member->change->name);
    return kt_uuid_random(&member->organisation_id);
}

static int org_plan(struct db_writer *writer, struct db_member *member)
{
    (void)writer;
    return answer_name(member, "organisation", &member->organisation_id);
}

static const char org_add_sql[] =
    "WITH o AS (INSERT INTO organisations (organisation_id, name, contacts, needs_approval,"
    "  created_at, created_by) VALUES ($1::uuid, $2::text,"
    "  coalesce(string_to_array($3::text, ','), '{}'), $4::boolean, $5::timestamptz, $6::text))"
    " INSERT INTO change_log (changed_at, event, organisation_id, by_whom, detail)"
    "  VALUES ($5::timestamptz, 'organisation.add', $1::uuid, $6::text,"
    "  jsonb_build_object('name', $2::text, 'contacts', $3::text, 'needs_approval', $4::boolean))";

static void org_add_params(struct db_writer *writer, const struct db_member *member,
                           struct db_params *params)
{
    (void)writer;
    db_param_uuid(params, &member->organisation_id);
    db_param_text(params, member->change->name);
    db_param_text(params, member->change->contacts);
    db_param_boolean(params, member->change->needs_approval);
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
}

const struct db_change_ops db_change_org_add = {
    .kind = KT_CHANGE_ORG_ADD,
    .check_name = "check_org_add",
    .check_sql = org_check_sql,
    .check_params = org_check_params,
    .checked = org_add_checked,
    .plan = org_plan,
    .write_name = "write_org_add",
    .write_sql = org_add_sql,
    .write_params = org_add_params,
};

static int org_disable_checked(struct db_writer *writer, struct db_member *member,
                               const PGresult *result)
{
    int r = org_found(member, result);

    if (r <= 0)
        return r;
    if (db_column_true(result, 2) != !member->change->undo)
        return 0;
    member->outcome.repeated = 1;
    return org_plan(writer, member);
}

static const char org_disable_sql[] =
    "WITH o AS (UPDATE organisations SET disabled_at = CASE WHEN $2::boolean THEN NULL"
    "  ELSE $3::timestamptz END WHERE organisation_id = $1::uuid)"
    " INSERT INTO change_log (changed_at, event, organisation_id, by_whom, detail)"
    "  VALUES ($3::timestamptz, CASE WHEN $2::boolean THEN 'organisation.enable'"
    "  ELSE 'organisation.disable' END, $1::uuid, $4::text, '{}')";

static void org_disable_params(struct db_writer *writer, const struct db_member *member,
                               struct db_params *params)
{
    (void)writer;
    db_param_uuid(params, &member->organisation_id);
    db_param_boolean(params, member->change->undo);
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
}

const struct db_change_ops db_change_org_disable = {
    .kind = KT_CHANGE_ORG_DISABLE,
    .check_name = "check_org_disable",
    .check_sql = org_check_sql,
    .check_params = org_check_params,
    .checked = org_disable_checked,
    .plan = org_plan,
    .write_name = "write_org_disable",
    .write_sql = org_disable_sql,
    .write_params = org_disable_params,
};

// --- auth codes ---

static int authcode_checked(struct db_writer *writer, struct db_member *member,
                            const PGresult *result)
{
    int r = org_found(member, result);

    (void)writer;
    if (r <= 0)
        return r;
    if (db_column_true(result, 2))
        return db_refuse(member, KT_ERR_ORGANISATION_DISABLED, NULL);
    return 0;
}

static int64_t authcode_expiry(const struct db_member *member)
{
    return member->now_us + member->change->lifetime_s * 1000000;
}

static int authcode_plan(struct db_writer *writer, struct db_member *member)
{
    char expires[KT_TIME_TEXT];

    (void)writer;
    kt_time_format(authcode_expiry(member), expires);
    return answer(member, json_pack("{s:s, s:s, s:I, s:s, s:s}", "id", member->change->code_id,
                                    "organisation", member->organisation, "uses",
                                    (json_int_t)member->change->max_uses, "rights",
                                    member->change->rights, "expires", expires));
}

static const char authcode_sql[] =
    "WITH a AS (INSERT INTO auth_codes (code_id, organisation_id, secret_sha256, max_uses, rights,"
    "  expires_at, created_at, created_by, ca_sha256) VALUES ($1::text, $2::uuid, $3::bytea,"
    "  $4::integer, string_to_array($5::text, ','), $6::timestamptz, $7::timestamptz, $8::text,"
    "  $9::bytea))"
    " INSERT INTO change_log (changed_at, event, organisation_id, by_whom, detail)"
    "  VALUES ($7::timestamptz, 'authcode.new', $2::uuid, $8::text, jsonb_build_object('id',"
    "  $1::text, 'uses', $4::integer, 'rights', $5::text, 'expires', $6::timestamptz))";

static void authcode_params(struct db_writer *writer, const struct db_member *member,
                            struct db_params *params)
{
    (void)writer;
    db_param_text(params, member->change->code_id);
    db_param_uuid(params, &member->organisation_id);
    db_param_bytes(params, member->change->code_hash, KT_SHA256_LEN);
    db_param_number(params, member->change->max_uses);
    db_param_text(params, member->change->rights);
    db_param_time(params, authcode_expiry(member));
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
    db_param_bytes(params, member->change->sha256, KT_SHA256_LEN);
}

const struct db_change_ops db_change_authcode_new = {
    .kind = KT_CHANGE_AUTHCODE_NEW,
    .check_name = "check_authcode_new",
    .check_sql = org_check_sql,
    .check_params = org_check_params,
    .checked = authcode_checked,
    .plan = authcode_plan,
    .write_name = "write_authcode_new",
    .write_sql = authcode_sql,
    .write_params = authcode_params,
};

// --- clients ---

static const char client_check_sql[] =
    "SELECT c.organisation_id, o.name, c.state, c.name FROM clients c"
    " JOIN organisations o USING (organisation_id) WHERE c.client_id = $1::uuid";

static void client_check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_uuid(params, &change->client_id);
}

static int client_answer(struct db_member *member, const char *state)
{
    char client[KT_UUID_TEXT];

    kt_uuid_format(&member->client_id, client);
    return answer(member, json_pack("{s:s, s:s, s:s}", "client", client, "organisation",
                                    member->organisation, "state", state));
}

// Common to both: the client exists; already in the wanted state is a repeat.
static int client_checked(struct db_member *member, const PGresult *result, const char *wanted)
{
    if (PQntuples(result) != 1)
        return db_refuse(member, KT_ERR_CLIENT_NOT_FOUND, NULL);
    if (db_column_uuid(result, 0, &member->organisation_id) != 0)
        return KT_ERR_DATABASE;
    member->client_id = member->change->client_id;
    snprintf(member->organisation, sizeof(member->organisation), "%s", db_column_text(result, 1));
    member->outcome.repeated = strcmp(db_column_text(result, 2), wanted) == 0;
    return client_answer(member, wanted);
}

static int approve_checked(struct db_writer *writer, struct db_member *member,
                           const PGresult *result)
{
    (void)writer;
    if (PQntuples(result) == 1 && strcmp(db_column_text(result, 2), "revoked") == 0)
        return db_refuse(member, KT_ERR_CLIENT_REVOKED, "a revoked client stays revoked");
    return client_checked(member, result, "active");
}

static int revoke_checked(struct db_writer *writer, struct db_member *member,
                          const PGresult *result)
{
    (void)writer;
    return client_checked(member, result, "revoked");
}

static void client_write_params(struct db_writer *writer, const struct db_member *member,
                                struct db_params *params)
{
    (void)writer;
    db_param_uuid(params, &member->client_id);
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
}

const struct db_change_ops db_change_client_approve = {
    .kind = KT_CHANGE_CLIENT_APPROVE,
    .check_name = "check_client_approve",
    .check_sql = client_check_sql,
    .check_params = client_check_params,
    .checked = approve_checked,
    .write_name = "write_client_approve",
    .write_sql =
        "WITH c AS (UPDATE clients SET state = 'active', approved_at = $2::timestamptz,"
        "  approved_by = $3::text WHERE client_id = $1::uuid RETURNING organisation_id)"
        " INSERT INTO change_log (changed_at, event, organisation_id, client_id, by_whom, detail)"
        "  SELECT $2::timestamptz, 'client.approve', organisation_id, $1::uuid, $3::text, '{}'"
        "  FROM c",
    .write_params = client_write_params,
};

const struct db_change_ops db_change_client_revoke = {
    .kind = KT_CHANGE_CLIENT_REVOKE,
    .check_name = "check_client_revoke",
    .check_sql = client_check_sql,
    .check_params = client_check_params,
    .checked = revoke_checked,
    .write_name = "write_client_revoke",
    .write_sql =
        "WITH c AS (UPDATE clients SET state = 'revoked', revoked_at = $2::timestamptz,"
        "  revoked_by = $3::text WHERE client_id = $1::uuid RETURNING organisation_id),"
        " cc AS (UPDATE client_certificates SET revoked_at = $2::timestamptz"
        "  WHERE client_id = $1::uuid AND revoked_at IS NULL)"
        " INSERT INTO change_log (changed_at, event, organisation_id, client_id, by_whom, detail)"
        "  SELECT $2::timestamptz, 'client.revoke', organisation_id, $1::uuid, $3::text, '{}'"
        "  FROM c",
    .write_params = client_write_params,
};
