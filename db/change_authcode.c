// SPDX-License-Identifier: Apache-2.0
// Withdrawing an auth code: nobody else registers with it. Clients that did keep what they have.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "db/write.h"
#include "lib/json.h"

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->code_id);
}

// 0 organisation's id, 1 its name, 2 withdrawn, 3 uses; no row when there is no such code
static int checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    json_t *object;

    (void)writer;
    if (PQntuples(result) != 1)
        return db_refuse(member, KT_ERR_NOT_FOUND, "there is no auth code with this id");
    if (db_column_uuid(result, 0, &member->organisation_id) != 0)
        return KT_ERR_DATABASE;
    snprintf(member->organisation, sizeof(member->organisation), "%s", db_column_text(result, 1));
    member->outcome.repeated = db_column_true(result, 2);
    object = json_pack("{s:s, s:s, s:I}", "id", member->change->code_id, "organisation",
                       member->organisation, "uses", (json_int_t)db_column_number(result, 3));
    free(member->outcome.text);
    member->outcome.text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

static void write_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    (void)writer;
    db_param_text(params, member->change->code_id);
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
}

const struct db_change_ops db_change_authcode_revoke = {
    .kind = KT_CHANGE_AUTHCODE_REVOKE,
    .check_name = "check_authcode_revoke",
    .check_sql = "SELECT a.organisation_id, o.name, a.revoked_at IS NOT NULL, a.uses"
                 " FROM auth_codes a JOIN organisations o USING (organisation_id)"
                 " WHERE a.code_id = $1::text COLLATE \"C\"",
    .check_params = check_params,
    .checked = checked,
    .write_name = "write_authcode_revoke",
    .write_sql =
        "WITH a AS (UPDATE auth_codes SET revoked_at = $2::timestamptz"
        "  WHERE code_id = $1::text COLLATE \"C\" AND revoked_at IS NULL RETURNING organisation_id)"
        " INSERT INTO change_log (changed_at, event, organisation_id, by_whom, detail)"
        "  SELECT $2::timestamptz, 'authcode.revoke', organisation_id, $3::text,"
        "  jsonb_build_object('id', $1::text) FROM a",
    .write_params = write_params,
};
