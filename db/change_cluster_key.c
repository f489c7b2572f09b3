// SPDX-License-Identifier: Apache-2.0
// The cluster's next OpenPGP key is listed, with the statement that names it: from then on it counts.
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/cluster_key.h"
#include "lib/json.h"

static int answer(struct db_member *member)
{
    json_t *object = json_pack("{s:s}", "cluster_key", member->change->fingerprint);

    free(member->outcome.text);
    member->outcome.text = object ? kt_json_text(object) : NULL;
    json_decref(object);
    return member->outcome.text ? 0 : KT_ERR_NO_MEMORY;
}

static void check_params(const struct kt_change *change, struct db_params *params)
{
    db_param_text(params, change->fingerprint);
}

// Read, not verified: who asked for the change has verified it, and each client does.
static int read_statement(const struct kt_change *change, struct kt_key_statement *statement)
{
    return change->openpgp && memchr(change->openpgp, 0, change->openpgp_len) == NULL
               ? kt_key_statement_read(change->openpgp, change->openpgp_len, statement)
               : KT_ERR_INVALID;
}

// 0 it is listed, 1 how many there are, 2 the newest one, 3 SHA-256 of its statement
static int add_checked(struct db_writer *writer, struct db_member *member, const PGresult *result)
{
    const struct kt_cluster_info *info = writer->settings.info;
    const char *newest =
        db_column_is_null(result, 2) ? info->openpgp_fingerprint : db_column_text(result, 2);
    struct kt_key_statement statement;
    uint64_t count = db_column_number(result, 1);
    char before[KT_SHA256_TEXT];

    member->outcome.repeated = db_column_true(result, 0);
    if (member->outcome.repeated)
        return answer(member);
    if (read_statement(member->change, &statement) != 0 ||
        strcmp(statement.next, member->change->fingerprint) != 0 ||
        strcmp(statement.key, member->change->name) != 0 ||
        memcmp(&statement.cluster_id, &info->cluster_id, sizeof(info->cluster_id)) != 0)
        return db_refuse(member, KT_ERR_INVALID, "this is no statement that names the key");
    if (count >= KT_CLUSTER_KEYS_MAX)
        return db_refuse(member, KT_ERR_TOO_LARGE,
                         "the cluster has had as many keys as clients follow");
    kt_hex_encode(statement.before, sizeof(statement.before), before);
    // One line: each names the one before it, or a client would find two that follow one key.
    if (strcmp(statement.key, newest) != 0 || statement.number != count + 1 ||
        (count > 0 && strcmp(before, db_column_text(result, 3)) != 0))
        return db_refuse(member, KT_ERR_EXISTS, "another key follows the one that signed");
    return answer(member);
}

static void add_params(struct db_writer *writer, const struct db_member *member,
                       struct db_params *params)
{
    const struct kt_change *change = member->change;
    struct kt_key_statement statement = {.number = 0};

    (void)writer;
    (void)!read_statement(change, &statement); // as it was when it was checked
    db_param_number(params, statement.number);
    db_param_text(params, change->fingerprint);
    db_param_text(params, change->name);
    db_param_text(params, (const char *)change->openpgp); // it has a NUL behind it
    db_param_time(params, member->now_us);
    db_param_text(params, change->actor);
}

const struct db_change_ops db_change_cluster_key_add = {
    .kind = KT_CHANGE_CLUSTER_KEY_ADD,
    .check_name = "check_cluster_key_add",
    .check_sql =
        "SELECT coalesce(bool_or(fingerprint = $1::text), false), count(*),"
        " (SELECT k.fingerprint FROM cluster_keys k ORDER BY k.number DESC LIMIT 1),"
        " (SELECT encode(sha256(convert_to(k.statement, 'UTF8')), 'hex') FROM cluster_keys k"
        "  ORDER BY k.number DESC LIMIT 1) FROM cluster_keys",
    .check_params = check_params,
    .checked = add_checked,
    .write_name = "write_cluster_key_add",
    .write_sql = "WITH c AS (INSERT INTO cluster_keys (number, fingerprint, before, statement,"
                 "  made_at) VALUES ($1::text::integer, $2::text, $3::text, $4::text,"
                 "  $5::timestamptz))"
                 " INSERT INTO change_log (changed_at, event, by_whom, detail)"
                 "  VALUES ($5::timestamptz, 'cluster_key.add', $6::text,"
                 "  jsonb_build_object('cluster_key', $2::text, 'before', $3::text))",
    .write_params = add_params,
};
