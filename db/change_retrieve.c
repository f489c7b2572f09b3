// SPDX-License-Identifier: Apache-2.0
// The change "retrieve": a retrieval that a release policy counts, or that trustees vote on. It
// writes the row without which no worker hands the body out, or the request that they vote on.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/release.h"

#define STRING(x)      #x
#define VALUE(x)       STRING(x)
#define REPEAT_SECONDS VALUE(KT_RELEASE_REPEAT_S)

// Behind the client's columns: 7 the deposit is present, 8 version, 9 granted, 10 browsable; of its
// policy (NULL: none) 11 over, 12 not begun, 13 justification wanted, 14 retrievals, 15 how many
// there were, 16 votes, 17 lifetime of a request in seconds; 18 this retrieval was let through
// before, 19 a short while ago; 20 the client's request that has not ended, 21 how that stands. $5 is
// the justification of this retrieval: 22 it is the one that was let through, 23 that of the request.
// clang-format off
static const char check_sql[] =
    "SELECT " DB_AUTH_COLUMNS ", d.deposit_id IS NOT NULL, d.version,"
    " coalesce(a.may, false), coalesce(a.sees, false), p.not_after <= now(), p.not_before > now(),"
    " p.justification, p.max_retrievals, (SELECT count(*) FROM releases r1"
    "  WHERE r1.organisation_id = c.organisation_id AND r1.deposit_id = p.deposit_id), p.votes,"
    " extract(epoch FROM p.request_lifetime)::bigint, r.released_at IS NOT NULL,"
    " r.released_at > now() - interval '" REPEAT_SECONDS " seconds', q.request_id, q.state,"
    " r.justification IS NOT DISTINCT FROM $5::text, q.justification IS NOT DISTINCT FROM $5::text"
    DB_AUTH_FROM
    " LEFT JOIN LATERAL (SELECT d1.deposit_id, d1.version, d1.client_id, d1.handle,"
    "  d1.key_group_id FROM deposits d1 WHERE d1.organisation_id = c.organisation_id"
    "  AND d1.deposit_id = $2::uuid AND d1.handle = $3::text COLLATE \"C\""
    "  AND d1.deleted_at IS NULL AND d1.purged_at IS NULL) d ON true"
    " LEFT JOIN LATERAL (SELECT bool_or(g.access = 'retrieve') AS may,"
    "  bool_or(g.access = 'browse') AS sees FROM grants g"
    "  WHERE g.organisation_id = c.organisation_id AND g.access IN ('retrieve', 'browse')"
    "  AND g.revoked_at IS NULL AND (g.client_id = c.client_id OR g.client_id IS NULL)"
    "  AND CASE g.object WHEN 'own' THEN d.client_id = c.client_id"
    "   WHEN 'prefix' THEN starts_with(d.handle, g.prefix)"
    "   ELSE g.key_group_id = d.key_group_id END) a ON true"
    " LEFT JOIN release_policies p ON p.organisation_id = c.organisation_id"
    "  AND p.deposit_id = d.deposit_id"
    " LEFT JOIN releases r ON r.organisation_id = c.organisation_id"
    "  AND r.deposit_id = d.deposit_id AND r.client_id = c.client_id AND r.release_id = $4::uuid"
    " LEFT JOIN LATERAL (SELECT q1.request_id, q1.justification, (release_tally(q1)).state"
    "  FROM release_requests q1"
    "  WHERE q1.organisation_id = c.organisation_id AND q1.deposit_id = d.deposit_id"
    "  AND q1.client_id = c.client_id AND q1.state <> 'used' AND q1.expires_at > now()"
    "  ORDER BY q1.created_at DESC LIMIT 1) q ON true"
    " WHERE cc.sha256 = $1::bytea";
// clang-format on

static void check_params(const struct kt_change *change, struct db_params *params)
{
    const char *why = change->justification;

    db_param_bytes(params, change->certificate_sha256, KT_SHA256_LEN);
    db_param_uuid(params, &change->deposit_id);
    db_param_text(params, change->handle);
    db_param_uuid(params, &change->retrieval_id);
    // What is none is refused by check_policy; the statement must not raise for it.
    db_param_text(params, why[0] && kt_justification_check(why) == 0 ? why : NULL);
}

// The answer: which request the retrieval waits for.
static int hold(struct db_member *member)
{
    char id[KT_UUID_TEXT];

    kt_uuid_format(&member->release_request, id);
    free(member->outcome.text);
    member->outcome.text = strdup(id);
    member->held = 1;
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

static int check_votes(struct db_member *member, const PGresult *result)
{
    const char *state = db_column_text(result, 21);
    char message[96], id[KT_UUID_TEXT];

    if (db_column_number(result, 16) == 0)
        return 0;
    if (db_column_is_null(result, 20)) { // a new one
        member->held = 1;
        return 0;
    }
    if (db_column_uuid(result, 20, &member->release_request) != 0)
        return KT_ERR_DATABASE;
    kt_uuid_format(&member->release_request, id);
    if (strcmp(state, "denied") == 0) {
        snprintf(message, sizeof(message), "the trustees denied the request %s", id);
        return db_refuse(member, KT_ERR_RELEASE_DENIED, message);
    }
    // What trustees vote on is what they were shown.
    if (!db_column_true(result, 23)) {
        snprintf(message, sizeof(message), "request %s was made with another justification", id);
        return db_refuse(member, KT_ERR_JUSTIFICATION_DIFFERS, message);
    }
    if (strcmp(state, "approved") == 0)
        return 0;
    member->outcome.repeated = 1;
    return hold(member);
}

static int check_policy(struct db_member *member, const PGresult *result)
{
    const struct kt_change *change = member->change;

    if (db_column_true(result, 11))
        return db_refuse(member, KT_ERR_RELEASE_EXPIRED, NULL);
    if (db_column_true(result, 12))
        return db_refuse(member, KT_ERR_RELEASE_TOO_EARLY, NULL);
    if (change->justification[0] ? kt_justification_check(change->justification) != 0
                                 : db_column_true(result, 13))
        return db_refuse(member, KT_ERR_JUSTIFICATION_REQUIRED, NULL);
    if (db_column_true(result, 18)) {
        if (!db_column_true(result, 19))
            return db_refuse(member, KT_ERR_RELEASE_USED_UP,
                             "this retrieval was let through before, and its id is too old now");
        if (!db_column_true(result, 22))
            return db_refuse(member, KT_ERR_JUSTIFICATION_DIFFERS,
                             "this retrieval was let through with another justification");
        member->outcome.repeated = 1;
        return 0;
    }
    if (!db_column_is_null(result, 14) &&
        db_column_number(result, 15) >= db_column_number(result, 14))
        return db_refuse(member, KT_ERR_RELEASE_USED_UP, NULL);
    member->request_lifetime_s = (int64_t)db_column_number(result, 17);
    return check_votes(member, result);
}

static int checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    int r = db_check_client(member, result);

    (void)writer;
    if (r <= 0)
        return r;
    if (!db_column_true(result, 7))
        return db_refuse(member, KT_ERR_DEPOSIT_NOT_FOUND, NULL);
    if (!db_column_true(result, 9))
        return db_refuse(member,
                         db_column_true(result, 10) ? KT_ERR_NOT_GRANTED : KT_ERR_DEPOSIT_NOT_FOUND,
                         NULL);
    // no worker asks for it
    if (db_column_is_null(result, 16) || kt_uuid_is_nil(&member->change->retrieval_id))
        return db_refuse(member, KT_ERR_PROTOCOL, "a retrieval without a policy or an id");
    member->version = (uint32_t)db_column_number(result, 8);
    return check_policy(member, result);
}

static int plan(struct db_writer *writer, struct db_member *member)
{
    int r;

    (void)writer;
    if (!member->held)
        return 0;
    r = kt_uuid_random(&member->release_request);
    return r ? r : hold(member);
}

// $4 the request is new and $3 its id; otherwise it is the approved one, or NULL, and $6 is the
// retrieval that is let through.
static const char write_sql[] =
    "WITH q AS (INSERT INTO release_requests (request_id, organisation_id, deposit_id, client_id,"
    "  justification, created_at, expires_at) SELECT $3::uuid, $1::uuid, $2::uuid, $5::uuid,"
    "  $7::text, now(), now() + make_interval(secs => $8::bigint) WHERE $4::boolean),"
    " u AS (UPDATE release_requests SET state = 'used', closed_at = now()"
    "  WHERE NOT $4::boolean AND request_id = $3::uuid)"
    " INSERT INTO releases (organisation_id, deposit_id, client_id, release_id, request_id,"
    "  justification, released_at) SELECT $1::uuid, $2::uuid, $5::uuid, $6::uuid, $3::uuid,"
    "  $7::text, now() WHERE NOT $4::boolean";

static void write_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    const struct kt_change *change = member->change;

    (void)writer;
    db_param_uuid(params, &member->organisation_id);
    db_param_uuid(params, &change->deposit_id);
    db_param_uuid(params, &member->release_request);
    db_param_boolean(params, member->held);
    db_param_uuid(params, &member->client_id);
    db_param_uuid(params, &change->retrieval_id);
    db_param_text(params, change->justification[0] ? change->justification : NULL);
    db_param_number(params, (uint64_t)member->request_lifetime_s);
}

const struct db_change_ops db_change_retrieve = {
    .kind = KT_CHANGE_RETRIEVE,
    .groupable = 1,
    .check_name = "check_retrieve",
    .check_sql = check_sql,
    .check_params = check_params,
    .checked = checked,
    .plan = plan,
    .write_name = "write_retrieve",
    .write_sql = write_sql,
    .write_params = write_params,
};
