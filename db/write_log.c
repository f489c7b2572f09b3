// SPDX-License-Identifier: Apache-2.0
// The Merkle log of deposits: its growing edge in memory, and the statement by which a group of
// deposits brings tiles and the signed tree head with it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"

#define HASH_TEXT (2 * KT_SHA256_LEN + 8) // "\\x...", quotes and comma
// A group has at most 1024 members, so at most 5 tiles of level 1 and one of each higher level.
#define ARRAY_MAX 4096

const char db_log_write_name[] = "write_log";
// $1-$7 the head: incarnation, epoch, size, root, time, key, signature. $8-$10 the tiles.
const char db_log_write_sql[] =
    "WITH tiles AS (INSERT INTO log_tiles (level, position, hash)"
    " SELECT * FROM unnest($8::integer[], $9::bigint[], $10::bytea[]))"
    " INSERT INTO tree_heads (incarnation, epoch, size, root, made_at, receipt_key_id, signature)"
    " VALUES ($1::integer, $2::bigint, $3::bigint, $4::bytea, $5::timestamptz, $6::bytea,"
    " $7::bytea) ON CONFLICT (incarnation, epoch) DO UPDATE SET size = excluded.size,"
    " root = excluded.root, made_at = excluded.made_at, receipt_key_id = excluded.receipt_key_id,"
    " signature = excluded.signature";

// --- opening ---

// One row for each bit of the size, highest first, and a last one that has the newest head's size
// and root, and what the rows give for that size.
static const char read_sql[] =
    "SELECT bit, log_node(n >> (bit + 1) << (bit + 1), n >> bit << bit), NULL::bytea"
    " FROM (SELECT %" PRIu64 "::bigint AS n) s, generate_series(52, 0, -1) bit"
    " WHERE n >> bit & 1 = 1 UNION ALL"
    " (SELECT -1, log_node(0, size), root FROM tree_heads"
    "  ORDER BY incarnation DESC, epoch DESC LIMIT 1)";

static int get_hash(const PGresult *result, int row, int column, uint8_t out[KT_SHA256_LEN])
{
    const char *text = PQgetvalue(result, row, column);

    return text[0] == '\\' && text[1] == 'x' ? kt_hex_decode(text + 2, out, KT_SHA256_LEN)
                                             : KT_ERR_INVALID;
}

static int take_row(const PGresult *result, int row, struct kt_merkle *log, struct kt_error *error)
{
    uint8_t hash[KT_SHA256_LEN], root[KT_SHA256_LEN];
    uint64_t bit = 0;

    if (get_hash(result, row, 1, hash) != 0)
        return kt_error_set(error, KT_ERR_DATABASE,
                            "restore a backup, or rejoin this node from one that is whole",
                            "the log of deposits is not whole: a row or a tile is missing");
    if (kt_u64_parse(PQgetvalue(result, row, 0), 0, KT_MERKLE_HEIGHT - 1, &bit) == 0) {
        memcpy(log->node[bit], hash, sizeof(hash));
        return 0;
    }
    // What does not fit its own head must not be signed again: it was changed behind our back.
    if (get_hash(result, row, 2, root) != 0 || memcmp(hash, root, sizeof(hash)) != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE,
                            "find the change with keytrustee log check --receipts, then restore a"
                            " backup of before it",
                            "the deposits are not those that the newest tree head was signed for");
    return 0;
}

int db_log_read(struct db_writer *writer, struct kt_error *error)
{
    char sql[sizeof(read_sql) + 24];
    PGresult *result = NULL;
    struct kt_merkle *log = &writer->log;
    int64_t until = kt_monotonic_now() + (int64_t)writer->settings.timeout_ms * 1000;
    int r;

    memset(log, 0, sizeof(*log));
    snprintf(sql, sizeof(sql), read_sql, writer->state.log_index);
    r = db_pipe_run(writer->main, sql, until, &result, error);
    for (int i = 0; r == 0 && i < PQntuples(result); i++)
        r = take_row(result, i, log, error);
    log->size = writer->state.log_index;
    PQclear(result);
    return r;
}

// --- a group ---

static int add_text(struct kt_buf *array, const char *text)
{
    int r = kt_buf_left(array) == 0 ? kt_buf_put(array, "{", 1) : kt_buf_put(array, ",", 1);

    return r != 0 ? r : kt_buf_put(array, text, strlen(text));
}

static int add_tile(struct db_log_growth *growth, int level, const uint8_t hash[KT_SHA256_LEN])
{
    char text[HASH_TEXT], hex[KT_SHA256_TEXT];
    int r;

    snprintf(text, sizeof(text), "%d", level);
    r = add_text(&growth->levels, text);
    snprintf(text, sizeof(text), "%" PRIu64, (growth->log.size >> 8 * level) - 1);
    if (r == 0)
        r = add_text(&growth->positions, text);
    kt_hex_encode(hash, KT_SHA256_LEN, hex);
    snprintf(text, sizeof(text), "\"\\\\x%s\"", hex);
    return r != 0 ? r : add_text(&growth->hashes, text);
}

static int end_array(struct kt_buf *array)
{
    int r = kt_buf_left(array) == 0 ? kt_buf_put(array, "{", 1) : 0;

    return r != 0 ? r : kt_buf_put(array, "}", 2); // with its NUL
}

static int add_leaf(struct db_log_growth *growth, const struct kt_leaf *leaf)
{
    struct kt_merkle_grown grown;
    uint8_t hash[KT_SHA256_LEN];
    char text[KT_LEAF_TEXT];
    int r;

    if (leaf->log_index != growth->log.size + 1)
        return KT_ERR_INTERNAL;
    kt_leaf_format(leaf, text);
    if ((r = kt_merkle_leaf(text, strlen(text), hash)) != 0 ||
        (r = kt_merkle_append(&growth->log, hash, &grown)) != 0)
        return r;
    for (int level = 1; level <= grown.levels && r == 0; level++)
        r = add_tile(growth, level, grown.tile[level - 1]);
    return r;
}

int db_log_grow(const struct db_writer *writer, const struct db_member *members, size_t count,
                struct db_log_growth *growth)
{
    struct kt_tree_head *head = &growth->head;
    int r = 0;

    *growth = (struct db_log_growth){.log = writer->log,
                                     .levels = KT_BUF_INIT(ARRAY_MAX),
                                     .positions = KT_BUF_INIT(ARRAY_MAX),
                                     .hashes = KT_BUF_INIT(ARRAY_MAX)};
    for (size_t i = 0; i < count && r == 0; i++) {
        if (members[i].writes && members[i].change->kind == KT_CHANGE_DEPOSIT)
            r = add_leaf(growth, &members[i].outcome.receipt.leaf);
    }
    growth->writes = growth->log.size > writer->log.size;
    if (r != 0 || !growth->writes)
        return r;
    head->incarnation = writer->state.incarnation;
    head->epoch = writer->state.epoch;
    head->size = growth->log.size;
    head->time_us = kt_time_now();
    if ((r = kt_merkle_root(&growth->log, head->root)) != 0 ||
        (r = kt_tree_head_sign(head, writer->settings.receipt_key)) != 0 ||
        (r = end_array(&growth->levels)) != 0 || (r = end_array(&growth->positions)) != 0)
        return r;
    return end_array(&growth->hashes);
}

int db_log_send(struct db_writer *writer, const struct db_log_growth *growth)
{
    const struct kt_tree_head *head = &growth->head;
    struct db_params params = {0};

    db_param_number(&params, head->incarnation.number);
    db_param_number(&params, head->epoch);
    db_param_number(&params, head->size);
    db_param_bytes(&params, head->root, KT_SHA256_LEN);
    db_param_time(&params, head->time_us);
    db_param_bytes(&params, head->key_id, KT_KEY_ID_LEN);
    db_param_bytes(&params, head->signature, KT_ED25519_SIG_LEN);
    db_param_text(&params, (const char *)kt_buf_ptr(&growth->levels));
    db_param_text(&params, (const char *)kt_buf_ptr(&growth->positions));
    db_param_text(&params, (const char *)kt_buf_ptr(&growth->hashes));
    return db_pipe_send(writer->main, db_log_write_name, &params);
}

void db_log_growth_free(struct db_log_growth *growth)
{
    kt_buf_free(&growth->levels);
    kt_buf_free(&growth->positions);
    kt_buf_free(&growth->hashes);
}
