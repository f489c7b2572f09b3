// SPDX-License-Identifier: Apache-2.0
// The change "vote": a trustee approves or denies a retrieval that waits.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/json.h"
#include "lib/release.h"

// Behind the client's columns: 7 the request, 8 it is the client's own, 9 the client is a trustee,
// 10 its vote, 11 how the request stands, 12 approvals and 13 denials, 14 who may vote, 15 votes
// that are needed, 16 deposit.
static const char check_sql[] =
    "SELECT " DB_AUTH_COLUMNS ", q.request_id, q.client_id = c.client_id,"
    " c.client_id = ANY (p.trustees), v.approves, t.state, t.approvals, t.denials, t.eligible,"
    " t.needed, q.deposit_id" DB_AUTH_FROM
    " LEFT JOIN release_requests q ON q.request_id = $2::uuid"
    "  AND q.organisation_id = c.organisation_id"
    " LEFT JOIN release_policies p ON p.organisation_id = q.organisation_id"
    "  AND p.deposit_id = q.deposit_id"
    " LEFT JOIN release_votes v ON v.request_id = q.request_id AND v.client_id = c.client_id"
    " LEFT JOIN LATERAL release_tally(q) t ON q.request_id IS NOT NULL"
    " WHERE cc.sha256 = $1::bytea";

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_bytes(params, change->certificate_sha256, KT_SHA256_LEN);
    db_param_uuid(params, &change->vote_id);
}

// The answer: how the request stands with this vote.
static int say(struct db_member *member, const char *state, uint64_t approvals, uint64_t denials,
               uint64_t needed)
{
    char id[KT_UUID_TEXT];
    json_t *object;

    kt_uuid_format(&member->change->vote_id, id);
    object = json_pack("{s:s, s:s, s:I, s:I, s:I}", "id", id, "state", state, "approvals",
                       (json_int_t)approvals, "denials", (json_int_t)denials, "votes",
                       (json_int_t)needed);
    free(member->outcome.text);
    member->outcome.text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

static int count_vote(struct db_member *member, const PGresult *result)
{
    int approves = member->change->approve != 0, before = !db_column_is_null(result, 10);
    const char *state = db_column_text(result, 11);
    uint64_t yes = db_column_number(result, 12), no = db_column_number(result, 13);
    uint64_t eligible = db_column_number(result, 14), needed = db_column_number(result, 15);
    char message[64];

    if (before && db_column_true(result, 10) == approves) {
        member->outcome.repeated = 1;
        return say(member, state, yes, no, needed);
    }
    if (strcmp(state, "waiting") != 0) {
        snprintf(message, sizeof(message), "the request is %.16s", state);
        return db_refuse(member, KT_ERR_REQUEST_CLOSED, message);
    }
    yes += (uint64_t)approves;
    no += (uint64_t)!approves;
    if (before && approves)
        no--;
    else if (before)
        yes--;
    member->denies = eligible < no + needed;
    state = yes >= needed ? "approved" : member->denies ? "denied" : "waiting";
    return say(member, state, yes, no, needed);
}

static int checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    struct kt_change *change = member->change;
    int r = db_check_client(member, result);

    (void)writer;
    if (r <= 0)
        return r;
    member->release_request = change->vote_id;
    if (change->justification[0] && kt_justification_check(change->justification) != 0)
        return db_refuse(member, KT_ERR_BAD_REQUEST, "the comment is not plain text");
    // who has nothing to do with a request does not learn that it is there
    if (db_column_is_null(result, 7) || (!db_column_true(result, 8) && !db_column_true(result, 9)))
        return db_refuse(member, KT_ERR_REQUEST_NOT_FOUND, NULL);
    if (db_column_uuid(result, 16, &change->deposit_id) != 0)
        return KT_ERR_DATABASE;
    if (db_column_true(result, 8))
        return db_refuse(member, KT_ERR_NOT_GRANTED, "nobody votes on a request of their own");
    return count_vote(member, result);
}

static const char write_sql[] =
    "WITH q AS (UPDATE release_requests SET state = 'denied', closed_at = now()"
    "  WHERE $4::boolean AND request_id = $1::uuid)"
    " INSERT INTO release_votes (request_id, client_id, approves, comment, voted_at)"
    " VALUES ($1::uuid, $2::uuid, $3::boolean, $5::text, now())"
    " ON CONFLICT (request_id, client_id) DO UPDATE SET approves = excluded.approves,"
    "  comment = excluded.comment, voted_at = excluded.voted_at";

static void write_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    const struct kt_change *change = member->change;

    (void)writer;
    db_param_uuid(params, &change->vote_id);
    db_param_uuid(params, &member->client_id);
    db_param_boolean(params, change->approve);
    db_param_boolean(params, member->denies);
    db_param_text(params, change->justification[0] ? change->justification : NULL);
}

const struct db_change_ops db_change_vote = {
    .kind = KT_CHANGE_VOTE,
    .groupable = 0,
    .check_name = "check_vote",
    .check_sql = check_sql,
    .check_params = check_params,
    .checked = checked,
    .write_name = "write_vote",
    .write_sql = write_sql,
    .write_params = write_params,
};
