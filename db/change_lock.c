// SPDX-License-Identifier: Apache-2.0
// The change "lock": sets, lengthens, shortens or lifts locks and legal holds on the versions of a
// handle. What is weaker afterwards needs the right "bypass" and the header for it; a compliance
// lock is never made weaker. The guard on the table (db/schema/003_retention.sql) enforces the same.
#include <string.h>

#include "db/write.h"

#define LONGEST_US (INT64_C(36525) * 24 * 3600 * 1000000) // a hundred years

// What a version would have: $4 mode, $5 until when, $6 hold.
#define NEW_MODE "CASE $4::text WHEN 'none' THEN NULL WHEN '' THEN lock_mode ELSE $4::text END"

// Of the versions that are not purged, 7: those that were named, 8: those of them that lack a right,
// 9: those that get weaker, 10: those whose compliance lock forbids it, 11: those for which it is
// not said until when. 12: versions that the client may know of, named or not, 13: named and purged.
static const char check_sql[] =
    "SELECT " DB_AUTH_COLUMNS ", count(*) FILTER (WHERE d.named AND NOT d.purged),"
    " count(*) FILTER (WHERE d.named AND NOT d.purged AND NOT ("
    "  (d.may_bypass OR NOT (d.lifts OR d.frees)) AND (d.may_lock OR ((d.lifts OR d.frees)"
    "   AND $6::integer <> 1 AND ((d.lifts AND (d.new_mode IS NULL OR d.new_mode = d.lock_mode))"
    "    OR ($5::timestamptz IS NULL"
    "    AND $4::text IN ('', 'none'))))))),"
    " count(*) FILTER (WHERE d.named AND NOT d.purged AND (d.lifts OR d.frees)),"
    " count(*) FILTER (WHERE d.named AND NOT d.purged AND d.in_force"
    "  AND d.lock_mode = 'compliance' AND NOT coalesce(d.new_mode = 'compliance'"
    "  AND d.new_until >= d.lock_until, false)),"
    " count(*) FILTER (WHERE d.named AND NOT d.purged AND ((d.new_mode IS NOT NULL"
    "  AND d.new_until IS NULL) OR (d.new_mode IS NULL AND $5::timestamptz IS NOT NULL))),"
    " count(*) FILTER (WHERE d.knows), count(*) FILTER (WHERE d.named AND d.purged)" DB_AUTH_FROM
    " LEFT JOIN LATERAL (SELECT n.*, n.in_force AND NOT coalesce(n.new_until >= n.lock_until,"
    "   false) AS lifts, n.legal_hold AND $6::integer = 2 AS frees"
    "  FROM (SELECT v.*, CASE WHEN v.new_mode IS NOT NULL THEN coalesce($5::timestamptz,"
    "    CASE WHEN v.in_force OR $4::text = '' THEN v.lock_until END) END AS new_until"
    "   FROM (SELECT d1.lock_mode, d1.lock_until, d1.legal_hold,"
    "     d1.purged_at IS NOT NULL AS purged,"
    "     $3::bigint = 0 OR d1.version = $3::bigint AS named,"
    "     d1.lock_mode IS NOT NULL AND d1.lock_until > kt_now() AS in_force, " NEW_MODE
    "     AS new_mode, coalesce(bool_or(g.access = 'lock'), false) AS may_lock,"
    "     coalesce(bool_or(g.access = 'bypass'), false) AS may_bypass,"
    "     count(g.access) > 0 AS knows"
    "     FROM deposits d1 LEFT JOIN grants g ON g.organisation_id = d1.organisation_id"
    "      AND g.access IN ('lock', 'bypass', 'browse') AND " DB_GRANT_COVERS
    "     WHERE d1.organisation_id = c.organisation_id AND d1.handle = $2::text COLLATE \"C\""
    "     GROUP BY d1.organisation_id, d1.deposit_id) v) n) d ON true"
    " WHERE cc.sha256 = $1::bytea"
    " GROUP BY c.client_id, o.organisation_id, cc.sha256";

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_bytes(params, change->certificate_sha256, KT_SHA256_LEN);
    db_param_text(params, change->handle);
    db_param_number(params, change->version);
    db_param_text(params, change->lock_mode);
    if (change->lock_until_us != 0)
        db_param_time(params, change->lock_until_us);
    else
        db_param_text(params, NULL);
    db_param_number(params, change->hold);
}

// What no row is needed for. The worker has looked too; it may have been taken over.
static int check_form(struct db_member *member)
{
    const struct kt_change *change = member->change;
    const char *mode = change->lock_mode;

    if ((mode[0] && strcmp(mode, "none") != 0 && strcmp(mode, "governance") != 0 &&
         strcmp(mode, "compliance") != 0) ||
        change->hold > 2)
        return db_refuse(member, KT_ERR_BAD_REQUEST, "no such lock");
    if (!mode[0] && change->lock_until_us == 0 && change->hold == 0)
        return db_refuse(member, KT_ERR_BAD_REQUEST, "nothing is to be changed");
    if (strcmp(mode, "none") == 0 && change->lock_until_us != 0)
        return db_refuse(member, KT_ERR_BAD_REQUEST, "a lock that is lifted has no end");
    if (change->lock_until_us != 0 && (change->lock_until_us <= member->now_us ||
                                       change->lock_until_us > member->now_us + LONGEST_US))
        return db_refuse(member, KT_ERR_BAD_REQUEST,
                         "the lock's end is not between now and a hundred years from now");
    return 1;
}

static int checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    uint64_t named, lacking, weaker, forbidden, endless, known, purged;
    int r = db_check_client(member, result);

    (void)writer;
    if (r > 0)
        r = check_form(member);
    if (r <= 0 || member->outcome.code != 0)
        return r < 0 ? r : 0;
    named = db_column_number(result, 7);
    lacking = db_column_number(result, 8);
    weaker = db_column_number(result, 9);
    forbidden = db_column_number(result, 10);
    endless = db_column_number(result, 11);
    known = db_column_number(result, 12);
    purged = db_column_number(result, 13);
    // which names and versions exist is told only to those who may know
    if (known == 0)
        return db_refuse(member, KT_ERR_DEPOSIT_NOT_FOUND, NULL);
    if (named == 0)
        return db_refuse(member, purged > 0 ? KT_ERR_DEPOSIT_PURGED : KT_ERR_VERSION_NOT_FOUND,
                         NULL);
    if (forbidden > 0)
        return db_refuse(member, KT_ERR_DEPOSIT_LOCKED,
                         "a compliance lock can only be made longer");
    if (lacking > 0)
        return db_refuse(member, KT_ERR_NOT_GRANTED, NULL);
    if (weaker > 0 && !member->change->bypass)
        return db_refuse(member, KT_ERR_DEPOSIT_LOCKED,
                         "lifting or shortening this lock wants KT-Bypass-Governance: yes");
    if (endless > 0)
        return db_refuse(member, KT_ERR_BAD_REQUEST,
                         "a lock needs a mode and an end: say both \"mode\" and \"until\"");
    member->version = member->change->version;
    return 0;
}

static const char write_sql[] =
    "WITH u AS (UPDATE deposits SET lock_mode = " NEW_MODE ","
    "  lock_until = CASE WHEN " NEW_MODE " IS NOT NULL"
    "   THEN coalesce($5::timestamptz, lock_until) END,"
    "  legal_hold = CASE $6::integer WHEN 1 THEN true WHEN 2 THEN false ELSE legal_hold END,"
    "  lock_by = $7::uuid WHERE organisation_id = $1::uuid AND handle = $2::text COLLATE \"C\""
    "  AND purged_at IS NULL AND ($3::bigint = 0 OR version = $3::bigint)"
    "  RETURNING version, lock_mode, lock_until, legal_hold),"
    " l AS (INSERT INTO change_log (changed_at, event, organisation_id, client_id, by_whom, detail)"
    "  SELECT $8::timestamptz, 'deposit.lock', $1::uuid, $7::uuid, $7::uuid::text,"
    "   jsonb_build_object('handle', $2::text, 'version', version, 'mode', lock_mode,"
    "    'until', lock_until, 'hold', legal_hold, 'bypass', $9::boolean) FROM u)"
    " SELECT count(*) FROM u";

static void write_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    const struct kt_change *change = member->change;

    (void)writer;
    db_param_uuid(params, &member->organisation_id);
    db_param_text(params, change->handle);
    db_param_number(params, change->version);
    db_param_text(params, change->lock_mode);
    if (change->lock_until_us != 0)
        db_param_time(params, change->lock_until_us);
    else
        db_param_text(params, NULL);
    db_param_number(params, change->hold);
    db_param_uuid(params, &member->client_id);
    db_param_time(params, member->now_us);
    db_param_boolean(params, change->bypass);
}

static int written(struct db_writer *writer, struct db_member *member, PGresult *result)
{
    (void)writer;
    if (PQntuples(result) != 1)
        return KT_ERR_DATABASE;
    member->outcome.count = db_column_number(result, 0);
    return 0;
}

const struct db_change_ops db_change_lock = {
    .kind = KT_CHANGE_LOCK,
    .groupable = 1,
    .check_name = "check_lock",
    .check_sql = check_sql,
    .check_params = check_params,
    .checked = checked,
    .write_name = "write_lock",
    .write_sql = write_sql,
    .write_params = write_params,
    .written = written,
};
