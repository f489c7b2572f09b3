// SPDX-License-Identifier: Apache-2.0
// Operators' changes of recovery keys: those to which each deposit must be encrypted too.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "db/write.h"
#include "lib/json.h"

// With the clients' own they must fit among the recipients of a body.
#define IN_FORCE_MAX "8"

// 0 organisation, 1 the key is there, 2 in force, 3 with exactly these bytes, 4 there is room for
// another one.
static const char check_sql[] =
    "SELECT o.organisation_id, r.fingerprint IS NOT NULL,"
    " r.fingerprint IS NOT NULL AND r.retired_at IS NULL, coalesce(r.public_key = $3::bytea, "
    "false),"
    " (SELECT count(*) FROM recovery_keys x WHERE x.organisation_id = o.organisation_id"
    "  AND x.retired_at IS NULL AND x.fingerprint <> $2::text COLLATE \"C\") < " IN_FORCE_MAX
    " FROM organisations o LEFT JOIN recovery_keys r ON r.organisation_id = o.organisation_id"
    "  AND r.fingerprint = $2::text COLLATE \"C\" WHERE o.name = $1::text COLLATE \"C\"";

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->name);
    db_param_text(params, change->fingerprint);
    db_param_bytes(params, change->openpgp, change->openpgp_len);
}

static int answer(struct db_member *member)
{
    json_t *object = json_pack("{s:s, s:s}", "fingerprint", member->change->fingerprint,
                               "organisation", member->organisation);

    free(member->outcome.text);
    member->outcome.text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

// 1 when the organisation is there.
static int take_organisation(struct db_member *member, const PGresult *result)
{
    snprintf(member->organisation, sizeof(member->organisation), "%s", member->change->name);
    if (PQntuples(result) != 1)
        return db_refuse(member, KT_ERR_ORGANISATION_NOT_FOUND, NULL);
    return db_column_uuid(result, 0, &member->organisation_id) == 0 ? 1 : KT_ERR_DATABASE;
}

static int add_checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    int r = take_organisation(member, result);

    (void)writer;
    if (r <= 0)
        return r;
    if (!db_column_true(result, 4))
        return db_refuse(member, KT_ERR_TOO_LARGE,
                         "the organisation has " IN_FORCE_MAX " recovery keys: retire one first");
    member->outcome.repeated = db_column_true(result, 2) && db_column_true(result, 3);
    return answer(member);
}

static void add_params(struct db_writer *writer, const struct db_member *member,
                       struct db_params *params)
{
    const struct kt_change *change = member->change;

    (void)writer;
    db_param_uuid(params, &member->organisation_id);
    db_param_text(params, change->fingerprint);
    db_param_key_ids(params, change->recipients, change->recipient_count);
    db_param_bytes(params, change->openpgp, change->openpgp_len);
    db_param_time(params, member->now_us);
    db_param_text(params, change->actor);
}

const struct db_change_ops db_change_recovery_add = {
    .kind = KT_CHANGE_RECOVERY_ADD,
    .check_name = "check_recovery_add",
    .check_sql = check_sql,
    .check_params = check_params,
    .checked = add_checked,
    .write_name = "write_recovery_add",
    .write_sql =
        "WITH r AS (INSERT INTO recovery_keys (organisation_id, fingerprint, key_ids, public_key,"
        "  created_at, created_by) VALUES ($1::uuid, $2::text, $3::bigint[], $4::bytea,"
        "  $5::timestamptz, $6::text) ON CONFLICT (organisation_id, fingerprint) DO UPDATE SET"
        "  key_ids = EXCLUDED.key_ids, public_key = EXCLUDED.public_key, retired_at = NULL,"
        "  retired_by = NULL)"
        " INSERT INTO change_log (changed_at, event, organisation_id, by_whom, detail)"
        "  VALUES ($5::timestamptz, 'recovery.add', $1::uuid, $6::text,"
        "  jsonb_build_object('fingerprint', $2::text, 'sha256', encode(sha256($4::bytea), "
        "'hex')))",
    .write_params = add_params,
};

static int retire_checked(struct db_writer *writer, struct db_member *member,
                          const PGresult *result)
{
    int r = take_organisation(member, result);

    (void)writer;
    if (r <= 0)
        return r;
    if (!db_column_true(result, 1))
        return db_refuse(member, KT_ERR_NOT_FOUND, "the organisation has no such recovery key");
    member->outcome.repeated = !db_column_true(result, 2);
    return answer(member);
}

static void retire_params(struct db_writer *writer, const struct db_member *member,
                          struct db_params *params)
{
    (void)writer;
    db_param_uuid(params, &member->organisation_id);
    db_param_text(params, member->change->fingerprint);
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
}

const struct db_change_ops db_change_recovery_retire = {
    .kind = KT_CHANGE_RECOVERY_RETIRE,
    .check_name = "check_recovery_retire",
    .check_sql = check_sql,
    .check_params = check_params,
    .checked = retire_checked,
    .write_name = "write_recovery_retire",
    .write_sql =
        "WITH r AS (UPDATE recovery_keys SET retired_at = $3::timestamptz, retired_by = $4::text"
        "  WHERE organisation_id = $1::uuid AND fingerprint = $2::text COLLATE \"C\")"
        " INSERT INTO change_log (changed_at, event, organisation_id, by_whom, detail)"
        "  VALUES ($3::timestamptz, 'recovery.retire', $1::uuid, $4::text,"
        "  jsonb_build_object('fingerprint', $2::text))",
    .write_params = retire_params,
};
