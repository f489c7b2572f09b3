// SPDX-License-Identifier: Apache-2.0
// The change "delete": marks the present versions of a handle, or one of them; bodies stay.
#include <inttypes.h>

#include "db/write.h"

// Of the present versions, 7: those that were named, 8: those of them that this client may delete,
// 9: those, named or not, that it may browse, 10: those that were named and are locked.
static const char check_sql[] =
    "SELECT " DB_AUTH_COLUMNS ", count(d.deposit_id) FILTER (WHERE d.named),"
    " count(d.deposit_id) FILTER (WHERE d.named AND d.may),"
    " count(d.deposit_id) FILTER (WHERE d.sees),"
    " count(d.deposit_id) FILTER (WHERE d.named AND d.locked)" DB_AUTH_FROM
    " LEFT JOIN LATERAL (SELECT d1.deposit_id,"
    "  $3::bigint = 0 OR d1.version = $3::bigint AS named, " DB_LOCKED " AS locked,"
    "  coalesce(bool_or(g.access = 'delete'), false) AS may,"
    "  coalesce(bool_or(g.access = 'browse'), false) AS sees"
    "  FROM deposits d1 LEFT JOIN grants g ON g.organisation_id = d1.organisation_id"
    "   AND g.access IN ('delete', 'browse') AND " DB_GRANT_COVERS
    "  WHERE d1.organisation_id = c.organisation_id AND d1.handle = $2::text COLLATE \"C\""
    "   AND d1.deleted_at IS NULL GROUP BY d1.organisation_id, d1.deposit_id) d ON true"
    " WHERE cc.sha256 = $1::bytea"
    " GROUP BY c.client_id, o.organisation_id, cc.sha256";

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_bytes(params, change->certificate_sha256, KT_SHA256_LEN);
    db_param_text(params, change->handle);
    db_param_number(params, change->version);
}

static int checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    uint64_t present, may, sees;
    int r = db_check_client(member, result);

    (void)writer;
    if (r <= 0)
        return r;
    present = db_column_number(result, 7);
    may = db_column_number(result, 8);
    sees = db_column_number(result, 9);
    if (present > 0 && may < present)
        return db_refuse(member, sees > 0 ? KT_ERR_NOT_GRANTED : KT_ERR_DEPOSIT_NOT_FOUND, NULL);
    // which names and versions exist is told only to those who may browse them
    if (present == 0)
        return db_refuse(member, sees > 0 ? KT_ERR_VERSION_NOT_FOUND : KT_ERR_DEPOSIT_NOT_FOUND,
                         NULL);
    if (db_column_number(result, 10) > 0)
        return db_refuse(member, KT_ERR_DEPOSIT_LOCKED, NULL);
    member->version = member->change->version;
    return 0;
}

static const char write_sql[] =
    "UPDATE deposits SET deleted_at = $4::timestamptz, deleted_by = $5::uuid"
    " WHERE organisation_id = $1::uuid AND handle = $2::text COLLATE \"C\" AND deleted_at IS NULL"
    " AND ($3::bigint = 0 OR version = $3::bigint)";

static void write_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    (void)writer;
    db_param_uuid(params, &member->organisation_id);
    db_param_text(params, member->change->handle);
    db_param_number(params, member->change->version);
    db_param_time(params, member->now_us);
    db_param_uuid(params, &member->client_id);
}

static int written(struct db_writer *writer, struct db_member *member, PGresult *result)
{
    (void)writer;
    return kt_u64_parse(PQcmdTuples(result), 1, INT64_MAX, &member->outcome.count);
}

const struct db_change_ops db_change_delete = {
    .kind = KT_CHANGE_DELETE,
    .groupable = 1,
    .check_name = "check_delete",
    .check_sql = check_sql,
    .check_params = check_params,
    .checked = checked,
    .write_name = "write_delete",
    .write_sql = write_sql,
    .write_params = write_params,
    .written = written,
};
