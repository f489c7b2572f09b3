// SPDX-License-Identifier: Apache-2.0
// The changes "undelete" and "purge": a deletion is taken back, or made final. A purge erases nothing
// itself: the versions are erased when their delay is over (db/change_clock.c).
#include <jansson.h>
#include <stdlib.h>

#include "db/write.h"
#include "lib/json.h"

// Of the versions that were named, 7: all, 8: those that lack the right, 9: deleted ones that are not
// purged, 10: purged ones, 11: of those of 9, locked ones; 12: versions that the client may know of,
// named or not.
#define CHECK(access)                                                                              \
    "SELECT " DB_AUTH_COLUMNS ", count(*) FILTER (WHERE d.named),"                                 \
    " count(*) FILTER (WHERE d.named AND NOT d.may),"                                              \
    " count(*) FILTER (WHERE d.named AND d.deleted AND NOT d.purged),"                             \
    " count(*) FILTER (WHERE d.named AND d.purged),"                                               \
    " count(*) FILTER (WHERE d.named AND d.deleted AND NOT d.purged AND d.locked),"                \
    " count(*) FILTER (WHERE d.knows)" DB_AUTH_FROM                                                \
    " LEFT JOIN LATERAL (SELECT d1.deleted_at IS NOT NULL AS deleted,"                             \
    "  d1.purged_at IS NOT NULL AS purged, " DB_LOCKED " AS locked,"                               \
    "  $3::bigint = 0 OR d1.version = $3::bigint AS named,"                                        \
    "  coalesce(bool_or(g.access = '" access "'), false) AS may,"                                  \
    "  count(g.access) > 0 AS knows"                                                               \
    "  FROM deposits d1 LEFT JOIN grants g ON g.organisation_id = d1.organisation_id"              \
    "   AND g.access IN ('" access "', 'browse') AND " DB_GRANT_COVERS                             \
    "  WHERE d1.organisation_id = c.organisation_id AND d1.handle = $2::text COLLATE \"C\""        \
    "  GROUP BY d1.organisation_id, d1.deposit_id) d ON true"                                      \
    " WHERE cc.sha256 = $1::bytea"                                                                 \
    " GROUP BY c.client_id, o.organisation_id, cc.sha256"

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_bytes(params, change->certificate_sha256, KT_SHA256_LEN);
    db_param_text(params, change->handle);
    db_param_number(params, change->version);
}

// What both have in common: 1 when there is something to do, 0 when it was refused, or when nothing
// that was named is in the bin.
static int find(struct db_member *member, const PGresult *result)
{
    int r = db_check_client(member, result);

    if (r <= 0)
        return r;
    member->version = member->change->version;
    // which names and versions exist is told only to those who may know
    if (db_column_number(result, 12) == 0)
        return db_refuse(member, KT_ERR_DEPOSIT_NOT_FOUND, NULL);
    if (db_column_number(result, 7) == 0)
        return db_refuse(member, KT_ERR_VERSION_NOT_FOUND, NULL);
    if (db_column_number(result, 8) > 0)
        return db_refuse(member, KT_ERR_NOT_GRANTED, NULL);
    if (db_column_number(result, 10) == db_column_number(result, 7))
        return db_refuse(member, KT_ERR_DEPOSIT_PURGED, NULL);
    return db_column_number(result, 9) > 0;
}

static void write_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    (void)writer;
    db_param_uuid(params, &member->organisation_id);
    db_param_text(params, member->change->handle);
    db_param_number(params, member->change->version);
}

#define NAMED                                                                                      \
    "organisation_id = $1::uuid AND handle = $2::text COLLATE \"C\""                               \
    " AND ($3::bigint = 0 OR version = $3::bigint)"                                                \
    " AND deleted_at IS NOT NULL AND purged_at IS NULL"

// --- undelete ---

static int undelete_checked(struct db_writer *writer, struct db_member *member,
                            const PGresult *result)
{
    int r = find(member, result);

    (void)writer;
    if (r == 0 && member->outcome.code == 0)
        member->outcome.repeated = 1; // nothing of it is deleted
    return r < 0 ? r : 0;
}

static int undelete_written(struct db_writer *writer, struct db_member *member, PGresult *result)
{
    (void)writer;
    return kt_u64_parse(PQcmdTuples(result), 1, INT64_MAX, &member->outcome.count);
}

const struct db_change_ops db_change_undelete = {
    .kind = KT_CHANGE_UNDELETE,
    .groupable = 1,
    .check_name = "check_undelete",
    .check_sql = CHECK("undelete"),
    .check_params = check_params,
    .checked = undelete_checked,
    .write_name = "write_undelete",
    .write_sql = "UPDATE deposits SET deleted_at = NULL, deleted_by = NULL, purge_after = NULL,"
                 " purge_by = NULL WHERE " NAMED,
    .write_params = write_params,
    .written = undelete_written,
};

// --- purge ---

static int purge_checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    int r = find(member, result);

    (void)writer;
    if (r < 0 || member->outcome.code != 0)
        return r < 0 ? r : 0;
    if (r == 0)
        return db_refuse(member, KT_ERR_NOT_DELETED, NULL);
    if (db_column_number(result, 11) > 0)
        return db_refuse(member, KT_ERR_DEPOSIT_LOCKED, NULL);
    member->outcome.count = db_column_number(result, 9);
    return 0;
}

// A purge that was asked for before keeps its time. The last SELECT sees the rows as they were.
static const char purge_sql[] =
    "WITH u AS (UPDATE deposits d SET purge_after = kt_latest() + o.purge_delay,"
    "  purge_by = $4::uuid FROM organisations o WHERE o.organisation_id = $1::uuid"
    "  AND d." NAMED " AND d.purge_after IS NULL RETURNING d.purge_after),"
    " t AS (SELECT purge_after FROM u UNION ALL SELECT purge_after FROM deposits"
    "  WHERE purge_after IS NOT NULL AND " NAMED ")"
    " SELECT to_char(max(purge_after) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
    " coalesce(min(purge_after) <= kt_latest(), false) FROM t";

static void purge_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    write_params(writer, member, params);
    db_param_uuid(params, &member->client_id);
}

static int purge_written(struct db_writer *writer, struct db_member *member, PGresult *result)
{
    json_t *object;

    (void)writer;
    if (PQntuples(result) != 1)
        return KT_ERR_DATABASE;
    member->looks_at_clock = db_column_true(result, 1);
    object = json_pack("{s:I, s:s}", "purging", (json_int_t)member->outcome.count, "purge_after",
                       db_column_text(result, 0));
    free(member->outcome.text);
    member->outcome.text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

const struct db_change_ops db_change_purge = {
    .kind = KT_CHANGE_PURGE,
    .groupable = 1,
    .check_name = "check_purge",
    .check_sql = CHECK("purge"),
    .check_params = check_params,
    .checked = purge_checked,
    .write_name = "write_purge",
    .write_sql = purge_sql,
    .write_params = purge_params,
    .written = purge_written,
};
