// SPDX-License-Identifier: Apache-2.0
// Certificates of operators: listed, so that agents and workers accept them, and revoked.
#include <jansson.h>
#include <stdlib.h>

#include "db/write.h"
#include "lib/json.h"

static int answer(struct db_member *member, int64_t expires_us)
{
    char expires[KT_TIME_TEXT];
    json_t *object;

    kt_time_format(expires_us, expires);
    object = json_pack("{s:s, s:s*}", "operator", member->change->name, "expires",
                       expires_us ? expires : NULL);
    free(member->outcome.text);
    member->outcome.text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

// --- adding one ---

static void add_check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_bytes(params, change->certificate_sha256, KT_SHA256_LEN);
}

static int64_t expiry(const struct db_member *member)
{
    return member->now_us + member->change->lifetime_s * 1000000;
}

static int add_checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    (void)writer;
    return PQntuples(result) ? db_refuse(member, KT_ERR_EXISTS, NULL)
                             : answer(member, expiry(member));
}

static void add_params(struct db_writer *writer, const struct db_member *member,
                       struct db_params *params)
{
    (void)writer;
    db_param_bytes(params, member->change->certificate_sha256, KT_SHA256_LEN);
    db_param_text(params, member->change->name);
    db_param_time(params, expiry(member));
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
    db_param_bytes(params, member->change->sha256, KT_SHA256_LEN);
}

const struct db_change_ops db_change_operator_add = {
    .kind = KT_CHANGE_OPERATOR_ADD,
    .check_name = "check_operator_add",
    .check_sql = "SELECT 1 FROM node_certificates WHERE sha256 = $1::bytea",
    .check_params = add_check_params,
    .checked = add_checked,
    .write_name = "write_operator_add",
    .write_sql =
        "WITH c AS (INSERT INTO node_certificates (sha256, kind, name, not_after, created_at,"
        "  ca_sha256)"
        "  VALUES ($1::bytea, 'operator', $2::text, $3::timestamptz, $4::timestamptz, $6::bytea))"
        " INSERT INTO change_log (changed_at, event, by_whom, detail)"
        "  VALUES ($4::timestamptz, 'operator.add', $5::text, jsonb_build_object('name', $2::text,"
        "  'certificate', encode($1::bytea, 'hex'), 'expires', $3::timestamptz))",
    .write_params = add_params,
};

// --- revoking all of a name ---

static void revoke_check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->name);
}

// 0 how many there are, 1 how many of them are not revoked yet
static int revoke_checked(struct db_writer *writer, struct db_member *member,
                          const PGresult *result)
{
    (void)writer;
    if (!db_column_true(result, 0))
        return db_refuse(member, KT_ERR_NOT_FOUND, "there is no operator of this name");
    member->outcome.repeated = !db_column_true(result, 1);
    return answer(member, 0);
}

static void revoke_params(struct db_writer *writer, const struct db_member *member,
                          struct db_params *params)
{
    (void)writer;
    db_param_text(params, member->change->name);
    db_param_time(params, member->now_us);
    db_param_text(params, member->change->actor);
}

const struct db_change_ops db_change_operator_revoke = {
    .kind = KT_CHANGE_OPERATOR_REVOKE,
    .check_name = "check_operator_revoke",
    .check_sql = "SELECT count(*) > 0, count(*) FILTER (WHERE revoked_at IS NULL) > 0"
                 " FROM node_certificates WHERE kind = 'operator'"
                 " AND name = $1::text COLLATE \"C\"",
    .check_params = revoke_check_params,
    .checked = revoke_checked,
    .write_name = "write_operator_revoke",
    .write_sql =
        "WITH c AS (UPDATE node_certificates SET revoked_at = $2::timestamptz"
        "  WHERE kind = 'operator' AND name = $1::text COLLATE \"C\" AND revoked_at IS NULL)"
        " INSERT INTO change_log (changed_at, event, by_whom, detail)"
        "  VALUES ($2::timestamptz, 'operator.revoke', $3::text,"
        "  jsonb_build_object('name', $1::text))",
    .write_params = revoke_params,
};
