// SPDX-License-Identifier: Apache-2.0
// The change "key group": a new group of deposits, on which rights can be granted.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "db/write.h"
#include "lib/json.h"

// 0 organisation, 1 a group of it has this name.
static const char check_sql[] =
    "SELECT o.organisation_id, EXISTS (SELECT 1 FROM key_groups k"
    "  WHERE k.organisation_id = o.organisation_id AND k.name = $2::text COLLATE \"C\")"
    " FROM organisations o WHERE o.name = $1::text COLLATE \"C\"";

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->name);
    db_param_text(params, change->label[0] ? change->label : NULL);
}

static int checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    (void)writer;
    snprintf(member->organisation, sizeof(member->organisation), "%s", member->change->name);
    if (PQntuples(result) != 1)
        return db_refuse(member, KT_ERR_ORGANISATION_NOT_FOUND, NULL);
    if (db_column_uuid(result, 0, &member->organisation_id) != 0)
        return KT_ERR_DATABASE;
    if (db_column_true(result, 1))
        return db_refuse(member, KT_ERR_EXISTS, "a key group of that name exists");
    return kt_uuid_random(&member->key_group);
}

static int plan(struct db_writer *writer, struct db_member *member)
{
    const char *label = member->change->label;
    char group[KT_UUID_TEXT];
    json_t *object;

    (void)writer;
    kt_uuid_format(&member->key_group, group);
    object = json_pack("{s:s, s:s, s:s*}", "key_group", group, "organisation", member->organisation,
                       "name", label[0] ? label : NULL);
    free(member->outcome.text);
    member->outcome.text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

static void write_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    const char *label = member->change->label;

    (void)writer;
    db_param_uuid(params, &member->key_group);
    db_param_uuid(params, &member->organisation_id);
    db_param_text(params, label[0] ? label : NULL);
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
}

const struct db_change_ops db_change_key_group_add = {
    .kind = KT_CHANGE_KEY_GROUP_ADD,
    .check_name = "check_key_group_add",
    .check_sql = check_sql,
    .check_params = check_params,
    .checked = checked,
    .plan = plan,
    .write_name = "write_key_group_add",
    .write_sql =
        "WITH k AS (INSERT INTO key_groups (key_group_id, organisation_id, name, created_at,"
        "  created_by) VALUES ($1::uuid, $2::uuid, $3::text, $4::timestamptz, $5::text))"
        " INSERT INTO change_log (changed_at, event, organisation_id, by_whom, detail)"
        "  VALUES ($4::timestamptz, 'keygroup.add', $2::uuid, $5::text,"
        "  jsonb_build_object('key_group', $1::uuid, 'name', $3::text))",
    .write_params = write_params,
};
