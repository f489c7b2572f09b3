// SPDX-License-Identifier: Apache-2.0
// The change "deposit": the next version of a handle, under a deposit id that makes a retry safe.
#include <inttypes.h>
#include <string.h>

#include "db/policy.h"
#include "db/write.h"

// Behind the client's columns: 7-18 the deposit that has this id already (id, client, handle,
// sha256, size, version, log index, incarnation, its bits, epoch, time, w), 19-20 receipt key and
// signature, 21-22 newest version of the handle and its client, 23 granted, 24 may deposit at all,
// 25-32 the release policy, 33 may deposit into the key group that was named, 34 there is that group,
// 35 the group it goes into, 36 that of the deposit that has this id, 37 a recovery key in force is
// no recipient.
// A handle is the own one of the client that made its first version. The group of a handle that
// there is is its newest version's: naming another one gives no right to the handle.
// clang-format off
static const char check_sql[] =
    "SELECT " DB_AUTH_COLUMNS ", d.deposit_id, d.client_id, d.handle, d.sha256, d.size, d.version,"
    " d.log_index, d.incarnation, d.bits, d.epoch,"
    " (extract(epoch FROM d.deposited_at) * 1000000)::bigint, d.w, d.receipt_key_id,"
    " d.receipt_signature, t.version, t.client_id,"
    " coalesce(g.granted, false), coalesce(g.any_right, false),"
    " " DB_POLICY_COLUMNS("$5::bytea") ","
    " coalesce(g.into_group, false), $4::uuid IS NULL OR EXISTS (SELECT 1 FROM key_groups k"
    "  WHERE k.key_group_id = $4::uuid AND k.organisation_id = c.organisation_id),"
    " coalesce($4::uuid, t.key_group_id), d.key_group_id,"
    " EXISTS (SELECT 1 FROM recovery_keys r WHERE r.organisation_id = c.organisation_id"
    "  AND r.retired_at IS NULL AND NOT r.key_ids && $6::bigint[])"
    DB_AUTH_FROM
    " LEFT JOIN LATERAL (SELECT d1.deposit_id, d1.client_id, d1.handle, d1.sha256, d1.size,"
    "  d1.version, d1.log_index, d1.incarnation, d1.epoch, d1.deposited_at, d1.w,"
    "  d1.receipt_key_id, d1.receipt_signature, d1.key_group_id, i.bits FROM deposits d1"
    "  JOIN incarnations i ON i.number = d1.incarnation"
    "  WHERE d1.organisation_id = c.organisation_id AND d1.deposit_id = $2::uuid) d ON true"
    " LEFT JOIN LATERAL (SELECT version, client_id, key_group_id,"
    "   (SELECT f.client_id FROM deposits f WHERE f.organisation_id = c.organisation_id"
    "    AND f.handle = $3::text COLLATE \"C\" ORDER BY f.version LIMIT 1) AS owner FROM deposits"
    "  WHERE organisation_id = c.organisation_id AND handle = $3::text COLLATE \"C\""
    "  ORDER BY version DESC LIMIT 1) t ON true"
    " LEFT JOIN LATERAL (SELECT bool_or(CASE g1.object"
    "   WHEN 'own' THEN t.client_id IS NULL OR t.owner = c.client_id"
    "   WHEN 'prefix' THEN starts_with($3::text, g1.prefix)"
    "   ELSE g1.key_group_id = CASE WHEN t.client_id IS NULL THEN $4::uuid"
    "    ELSE t.key_group_id END END) AS granted,"
    "  bool_or($4::uuid IS NULL OR g1.key_group_id = $4::uuid) AS into_group,"
    "  true AS any_right FROM grants g1"
    "  WHERE g1.organisation_id = c.organisation_id AND g1.access = 'deposit'"
    "   AND g1.revoked_at IS NULL AND (g1.client_id = c.client_id OR g1.client_id IS NULL)"
    "  HAVING count(*) > 0) g ON true"
    DB_POLICY_JOIN
    " WHERE cc.sha256 = $1::bytea";
// clang-format on

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_bytes(params, change->certificate_sha256, KT_SHA256_LEN);
    db_param_uuid(params, &change->deposit_id);
    db_param_text(params, change->handle);
    db_param_uuid(params, &change->key_group);
    db_policy_trustees(change, params);
    db_param_key_ids(params, change->recipients, change->recipient_count);
}

// The receipt of a deposit that was made before, from its row.
static int receipt_from_row(struct db_member *member, const PGresult *result)
{
    struct kt_receipt *receipt = &member->outcome.receipt;
    struct kt_leaf *leaf = &receipt->leaf;
    uint8_t bits[8];
    int r;

    if (db_column_bytes(result, 15, bits, 8) != 0 ||
        db_column_bytes(result, 19, receipt->key_id, KT_KEY_ID_LEN) != 0 ||
        db_column_bytes(result, 20, receipt->signature, KT_ED25519_SIG_LEN) != 0 ||
        (r = kt_sha256(member->change->handle, strlen(member->change->handle),
                       leaf->handle_hash)) != 0)
        return KT_ERR_DATABASE;
    leaf->incarnation.number = (uint32_t)db_column_number(result, 14);
    for (int i = 0; i < 8; i++)
        leaf->incarnation.bits = leaf->incarnation.bits << 8 | bits[i];
    leaf->epoch = db_column_number(result, 16);
    leaf->log_index = db_column_number(result, 13);
    leaf->deposit_id = member->change->deposit_id;
    leaf->client_id = member->client_id;
    leaf->version = (uint32_t)db_column_number(result, 12);
    memcpy(leaf->sha256, member->change->sha256, KT_SHA256_LEN);
    leaf->size = db_column_number(result, 11);
    leaf->time_us = (int64_t)db_column_number(result, 17);
    receipt->w = (uint32_t)db_column_number(result, 18);
    member->version = leaf->version;
    member->log_index = leaf->log_index;
    member->outcome.repeated = 1;
    return 0;
}

// Whether the column holds that group; a repeat that names none is of any.
static int is_in_group(const struct kt_uuid *group, const PGresult *result, int column)
{
    struct kt_uuid is;

    return kt_uuid_is_nil(group) ||
           (!db_column_is_null(result, column) && db_column_uuid(result, column, &is) == 0 &&
            memcmp(is.bytes, group->bytes, 16) == 0);
}

static int same_as_before(const struct db_member *member, const PGresult *result)
{
    struct kt_uuid client;
    uint8_t sha256[KT_SHA256_LEN];

    return db_column_uuid(result, 8, &client) == 0 &&
           memcmp(client.bytes, member->client_id.bytes, 16) == 0 &&
           strcmp(db_column_text(result, 9), member->change->handle) == 0 &&
           db_column_bytes(result, 10, sha256, KT_SHA256_LEN) == 0 &&
           memcmp(sha256, member->change->sha256, KT_SHA256_LEN) == 0 &&
           db_column_number(result, 11) == member->change->body_len &&
           is_in_group(&member->change->key_group, result, 36) &&
           db_policy_is_same(member->change, result, 25);
}

// Whether the deposit is allowed where it goes: 0 with the outcome set when it is not, 1.
static int check_rights(struct db_member *member, const PGresult *result)
{
    if (!db_column_true(result, 34))
        return db_refuse(member, KT_ERR_KEY_GROUP_NOT_FOUND, NULL);
    if (!db_column_true(result, 23)) {
        int foreign = !db_column_is_null(result, 22) && db_column_true(result, 24);

        return db_refuse(member, foreign ? KT_ERR_HANDLE_TAKEN : KT_ERR_NOT_GRANTED, NULL);
    }
    if (!db_column_true(result, 33))
        return db_refuse(member, KT_ERR_NOT_GRANTED,
                         "the client does not have the right to deposit into this key group");
    if (db_column_true(result, 37))
        return db_refuse(member, KT_ERR_RECOVERY_MISSING, NULL);
    return 1;
}

static int checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    int r = db_check_client(member, result);

    (void)writer;
    if (r <= 0)
        return r;
    if (!db_column_is_null(result, 7)) {
        if (!same_as_before(member, result))
            return db_refuse(member, KT_ERR_DEPOSIT_ID_CONFLICT, NULL);
        return receipt_from_row(member, result);
    }
    r = check_rights(member, result);
    if (r <= 0)
        return r;
    if (db_column_number(result, 21) >= INT32_MAX)
        return db_refuse(member, KT_ERR_TOO_LARGE, "the handle has no version left");
    if (!db_column_is_null(result, 35) && db_column_uuid(result, 35, &member->key_group) != 0)
        return KT_ERR_DATABASE;
    member->version = (uint32_t)db_column_number(result, 21) + 1;
    return db_policy_check(member, result, 25);
}

static int plan(struct db_writer *writer, struct db_member *member)
{
    struct kt_receipt *receipt = &member->outcome.receipt;
    struct kt_leaf *leaf = &receipt->leaf;
    const struct kt_change *change = member->change;
    int r;

    leaf->incarnation = writer->state.incarnation;
    leaf->epoch = writer->state.epoch;
    leaf->log_index = writer->state.log_index + 1;
    leaf->deposit_id = change->deposit_id;
    leaf->client_id = member->client_id;
    leaf->version = member->version;
    memcpy(leaf->sha256, change->sha256, KT_SHA256_LEN);
    leaf->size = change->body_len;
    leaf->time_us = member->now_us;
    if ((r = kt_sha256(change->handle, strlen(change->handle), leaf->handle_hash)) != 0 ||
        (r = kt_receipt_sign(receipt, writer->state.w, writer->settings.receipt_key)) != 0)
        return r;
    member->log_index = leaf->log_index;
    writer->state.log_index = leaf->log_index;
    return 0;
}

// clang-format off
static const char write_sql[] =
    "WITH d AS (INSERT INTO deposits (deposit_id, organisation_id, client_id, handle, version,"
    " content_type, body, sha256, size, key_group_id, log_index, incarnation, epoch, deposited_at,"
    " w, receipt_key_id, receipt_signature, has_policy) VALUES ($1::uuid, $2::uuid, $3::uuid,"
    " $4::text, $5::integer, $6::text, $7::bytea, $8::bytea, $9::bigint, $10::uuid, $11::bigint,"
    " $12::integer, $13::bigint, $14::timestamptz, $15::integer, $16::bytea, $17::bytea,"
    " $18::boolean))"
    " INSERT INTO release_policies (organisation_id, deposit_id, not_before, not_after,"
    "  max_retrievals, justification, votes, trustees, request_lifetime)"
    " SELECT $2::uuid, $1::uuid, $19::timestamptz, $20::timestamptz, $21::integer, $22::boolean,"
    "  $23::integer, " DB_TRUSTEES("$24::bytea") ", make_interval(secs => $25::bigint)"
    " WHERE $18::boolean";
// clang-format on

static void write_params(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params)
{
    const struct kt_change *change = member->change;
    const struct kt_receipt *receipt = &member->outcome.receipt;

    (void)writer;
    db_param_uuid(params, &change->deposit_id);
    db_param_uuid(params, &member->organisation_id);
    db_param_uuid(params, &member->client_id);
    db_param_text(params, change->handle);
    db_param_number(params, member->version);
    db_param_text(params, change->content_type);
    db_param_bytes(params, change->body, change->body_len);
    db_param_bytes(params, change->sha256, KT_SHA256_LEN);
    db_param_number(params, change->body_len);
    db_param_uuid(params, &member->key_group);
    db_param_number(params, member->log_index);
    db_param_number(params, receipt->leaf.incarnation.number);
    db_param_number(params, receipt->leaf.epoch);
    db_param_time(params, receipt->leaf.time_us);
    db_param_number(params, receipt->w);
    db_param_bytes(params, receipt->key_id, KT_KEY_ID_LEN);
    db_param_bytes(params, receipt->signature, KT_ED25519_SIG_LEN);
    db_policy_params(change, params);
}

const struct db_change_ops db_change_deposit = {
    .kind = KT_CHANGE_DEPOSIT,
    .groupable = 1,
    .check_name = "check_deposit",
    .check_sql = check_sql,
    .check_params = check_params,
    .checked = checked,
    .plan = plan,
    .write_name = "write_deposit",
    .write_sql = write_sql,
    .write_params = write_params,
};
