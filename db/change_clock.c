// SPDX-License-Identifier: Apache-2.0
// The changes "tick" (the writer looks at the clock, and erases what is to be purged by now) and
// "clock confirm" (an operator says that the time is right).
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/json.h"

// --- tick ---

// 0: the clock has made a long step; 1-6: what is due then, one row each: organisation, its name,
// deposit, handle, version, who asked. The clock is not moved before the write: the time that counts
// there is that of the clock now. Records are made of these before any is erased.
static const char tick_check_sql[] =
    "SELECT k.jumped, d.organisation_id, d.name, d.deposit_id, d.handle, d.version, d.purge_by"
    " FROM (SELECT coalesce((SELECT clock_timestamp() > highest + interval '1 hour' FROM clock),"
    "  false) AS jumped) k"
    " LEFT JOIN LATERAL (SELECT x.organisation_id, o.name, x.deposit_id, x.handle, x.version,"
    "  x.purge_by FROM deposits x JOIN organisations o USING (organisation_id)"
    "  WHERE NOT k.jumped AND EXISTS (SELECT FROM clock) AND x.purge_after IS NOT NULL"
    "  AND x.purged_at IS NULL AND x.purge_after <= now() AND x.deleted_at IS NOT NULL"
    "  AND NOT x.legal_hold AND (x.lock_mode IS NULL OR x.lock_until <= now())"
    "  ORDER BY x.purge_after LIMIT $1::integer) d ON true";

static void tick_check_params(const struct kt_change *change, struct db_params *params)
{
    (void)change;
    db_param_number(params, DB_PURGES_MAX);
}

// A row in the form of PQgetvalue.
static int take_due(const PGresult *result, int row, struct db_due *due)
{
    uint64_t version = 0;

    if (kt_uuid_parse(PQgetvalue(result, row, 1), &due->organisation_id) != 0 ||
        kt_uuid_parse(PQgetvalue(result, row, 3), &due->deposit_id) != 0 ||
        kt_u64_parse(PQgetvalue(result, row, 5), 1, INT32_MAX, &version) != 0 ||
        (!PQgetisnull(result, row, 6) &&
         kt_uuid_parse(PQgetvalue(result, row, 6), &due->asked_by) != 0))
        return KT_ERR_DATABASE;
    snprintf(due->organisation, sizeof(due->organisation), "%s", PQgetvalue(result, row, 2));
    snprintf(due->handle, sizeof(due->handle), "%s", PQgetvalue(result, row, 4));
    due->version = (uint32_t)version;
    return 0;
}

static int tick_checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    int rows = PQntuples(result), r = 0;

    (void)writer;
    if (rows < 1 || rows > DB_PURGES_MAX)
        return KT_ERR_DATABASE;
    member->clock_jumped = db_column_true(result, 0);
    if (PQgetisnull(result, 0, 1))
        return 0;
    member->due = calloc((size_t)rows, sizeof(*member->due));
    if (member->due == NULL)
        return KT_ERR_NO_MEMORY;
    for (int i = 0; i < rows && r == 0; i++)
        r = take_due(result, i, &member->due[i]);
    if (r == 0)
        member->due_count = (size_t)rows;
    return r;
}

// "{uuid,uuid}": an array for a parameter.
static char *array_of(const struct db_member *member, int organisations)
{
    char *text = malloc(member->due_count * KT_UUID_TEXT + 3), *at = text;

    if (text == NULL)
        return NULL;
    *at++ = '{';
    for (size_t i = 0; i < member->due_count; i++) {
        if (i > 0)
            *at++ = ',';
        kt_uuid_format(organisations ? &member->due[i].organisation_id : &member->due[i].deposit_id,
                       at);
        at += KT_UUID_TEXT - 1;
    }
    *at++ = '}';
    *at = '\0';
    return text;
}

static int tick_plan(struct db_writer *writer, struct db_member *member)
{
    (void)writer;
    member->due_organisations = array_of(member, 1);
    member->due_deposits = array_of(member, 0);
    return member->due_organisations && member->due_deposits ? 0 : KT_ERR_NO_MEMORY;
}

static const char tick_sql[] =
    "WITH p AS (SELECT * FROM deposits_purge($1::uuid[], $2::uuid[])),"
    " l AS (INSERT INTO change_log (changed_at, event, organisation_id, client_id, by_whom, detail)"
    "  SELECT $3::timestamptz, 'deposit.purged', d.organisation_id, d.purge_by,"
    "   coalesce(d.purge_by::text, 'unknown'), jsonb_build_object('deposit', d.deposit_id,"
    "   'handle', d.handle, 'version', d.version, 'deleted_by', d.deleted_by)"
    "  FROM p JOIN deposits d ON d.organisation_id = p.organisation AND d.deposit_id = p.deposit)"
    " SELECT count(*) FROM p";

static void tick_params(struct db_writer *writer, const struct db_member *member,
                        struct db_params *params)
{
    (void)writer;
    db_param_text(params, member->due_organisations);
    db_param_text(params, member->due_deposits);
    db_param_time(params, member->now_us);
}

static int tick_written(struct db_writer *writer, struct db_member *member, PGresult *result)
{
    (void)writer;
    if (PQntuples(result) != 1)
        return KT_ERR_DATABASE;
    member->outcome.count = db_column_number(result, 0);
    // there may be more
    member->looks_at_clock = member->outcome.count == DB_PURGES_MAX;
    return 0;
}

const struct db_change_ops db_change_tick = {
    .kind = KT_CHANGE_TICK,
    .check_name = "check_tick",
    .check_sql = tick_check_sql,
    .check_params = tick_check_params,
    .checked = tick_checked,
    .plan = tick_plan,
    .write_name = "write_tick",
    .write_sql = tick_sql,
    .write_params = tick_params,
    .written = tick_written,
};

// --- confirm ---

static void confirm_check_params(const struct kt_change *change, struct db_params *params)
{
    (void)change;
    (void)params;
}

static int confirm_checked(struct db_writer *writer, struct db_member *member,
                           const PGresult *result)
{
    (void)writer;
    (void)member;
    return PQntuples(result) == 1 ? 0 : KT_ERR_DATABASE;
}

// The row as it was, and what the clock says now.
static const char confirm_sql[] =
    "WITH k AS (SELECT (SELECT highest FROM clock) AS highest,"
    "  (SELECT jumped_to FROM clock) AS jumped_to),"
    " c AS (SELECT clock_confirm($1::text)),"
    " l AS (INSERT INTO change_log (changed_at, event, by_whom, detail)"
    "  SELECT $2::timestamptz, 'clock.confirm', $1::text, jsonb_build_object('highest', k.highest,"
    "   'jumped_to', k.jumped_to) FROM k, c)"
    " SELECT json_build_object('jumped', k.jumped_to IS NOT NULL, 'time', to_char(clock_timestamp()"
    "  AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))::text FROM k";

static void confirm_params(struct db_writer *writer, const struct db_member *member,
                           struct db_params *params)
{
    (void)writer;
    db_param_text(params, member->change->actor);
    db_param_time(params, member->now_us);
}

static int confirm_written(struct db_writer *writer, struct db_member *member, PGresult *result)
{
    (void)writer;
    if (PQntuples(result) != 1)
        return KT_ERR_DATABASE;
    free(member->outcome.text);
    member->outcome.text = strdup(db_column_text(result, 0));
    member->looks_at_clock = 1; // what has waited for it
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

const struct db_change_ops db_change_clock_confirm = {
    .kind = KT_CHANGE_CLOCK_CONFIRM,
    .check_name = "check_clock_confirm",
    .check_sql = "SELECT 1",
    .check_params = confirm_check_params,
    .checked = confirm_checked,
    .write_name = "write_clock_confirm",
    .write_sql = confirm_sql,
    .write_params = confirm_params,
    .written = confirm_written,
};
