// SPDX-License-Identifier: Apache-2.0
// The operators' change "organisation set": the default lock and the purge delay of an organisation.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/json.h"

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->name);
}

static int checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    (void)writer;
    snprintf(member->organisation, sizeof(member->organisation), "%s", member->change->name);
    if (PQntuples(result) != 1)
        return db_refuse(member, KT_ERR_ORGANISATION_NOT_FOUND, NULL);
    return db_column_uuid(result, 0, &member->organisation_id);
}

static const char write_sql[] =
    "WITH o AS (UPDATE organisations SET lock_default = CASE $2::text WHEN 'none' THEN NULL"
    "   WHEN '' THEN lock_default ELSE $2::text END,"
    "  purge_delay = coalesce(make_interval(secs => $3::bigint), purge_delay)"
    "  WHERE organisation_id = $1::uuid RETURNING name, lock_default,"
    "   extract(epoch FROM purge_delay)::bigint AS purge_delay_s),"
    " l AS (INSERT INTO change_log (changed_at, event, organisation_id, by_whom, detail)"
    "  SELECT $4::timestamptz, 'organisation.set', $1::uuid, $5::text, to_jsonb(o) FROM o)"
    " SELECT to_json(o)::text FROM o";

static void write_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    const struct kt_change *change = member->change;

    (void)writer;
    db_param_uuid(params, &member->organisation_id);
    db_param_text(params, change->lock_default);
    if (change->purge_delay_s >= 0)
        db_param_number(params, (uint64_t)change->purge_delay_s);
    else
        db_param_text(params, NULL);
    db_param_time(params, member->now_us);
    db_param_text(params, change->actor);
}

static int written(struct db_writer *writer, struct db_member *member, PGresult *result)
{
    (void)writer;
    if (PQntuples(result) != 1)
        return KT_ERR_DATABASE;
    free(member->outcome.text);
    member->outcome.text = strdup(db_column_text(result, 0));
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

const struct db_change_ops db_change_org_set = {
    .kind = KT_CHANGE_ORG_SET,
    .check_name = "check_org_set",
    .check_sql = "SELECT organisation_id FROM organisations WHERE name = $1::text COLLATE \"C\"",
    .check_params = check_params,
    .checked = checked,
    .write_name = "write_org_set",
    .write_sql = write_sql,
    .write_params = write_params,
    .written = written,
};
