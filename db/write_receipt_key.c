// SPDX-License-Identifier: Apache-2.0
// Which receipt key signs: the newest one of the node's that is listed and not retired.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"

// 0 all keys for the answer to a registration, 1 the newest that is not retired, 2 of the two that
// the node has the newest that is not retired, 3 whether one of the two is listed at all
#define LISTED                                                                                     \
    "SELECT coalesce(json_agg(json_build_object('id', encode(key_id, 'hex'), 'certificate',"       \
    " certificate) ORDER BY created_at), '[]'),"                                                   \
    " (SELECT encode(k.key_id, 'hex') FROM receipt_keys k WHERE k.retired_at IS NULL"              \
    "  ORDER BY k.created_at DESC LIMIT 1),"                                                       \
    " (SELECT encode(k.key_id, 'hex') FROM receipt_keys k WHERE k.retired_at IS NULL"              \
    "  AND k.key_id IN (decode('%s', 'hex'), decode('%s', 'hex'))"                                 \
    "  ORDER BY k.created_at DESC LIMIT 1),"                                                       \
    " coalesce(bool_or(key_id IN (decode('%s', 'hex'), decode('%s', 'hex'))), false)"              \
    " FROM receipt_keys"

#define ID_TEXT (2 * KT_KEY_ID_LEN + 1)

static int id_of(EVP_PKEY *key, char hex[ID_TEXT], struct kt_error *error)
{
    uint8_t public_key[KT_ED25519_PUB_LEN], id[KT_KEY_ID_LEN];
    int r = kt_ed25519_public(key, public_key);

    if (r == 0)
        r = kt_ed25519_key_id(public_key, id);
    if (r != 0)
        return kt_error_set(error, r, NULL, "the receipt key cannot be used");
    kt_hex_encode(id, sizeof(id), hex);
    return 0;
}

// Neither of the node's keys may sign.
static int refuse(const PGresult *result, const char *own, struct kt_error *error)
{
    const char *newest = PQgetisnull(result, 0, 1) ? "" : db_column_text(result, 1);

    if (db_column_true(result, 3))
        return kt_error_set(error, KT_ERR_NOT_OURS,
                            "run ktadmin rotate --receipt-key, which fetches that key from another "
                            "node; or put receipt/ back from a backup of the confdir that has it",
                            "the receipt key '%s' of this node was retired: receipts are signed "
                            "by '%s'",
                            own, newest);
    return kt_error_set(error, KT_ERR_NOT_OURS,
                        "run ktadmin rotate --receipt-key, which fetches the key from another "
                        "node; or restore confdir and database together",
                        "the receipt key '%s' is not known to this database, which has '%s'", own,
                        newest);
}

// Takes what the database says of the two keys. The old list stays when there is no memory.
static int choose(struct db_writer *writer, EVP_PKEY *key, const char *id, EVP_PKEY *next,
                  const PGresult *result, struct kt_error *error)
{
    char *json;

    if (PQgetisnull(result, 0, 2))
        return refuse(result, id, error);
    json = strdup(db_column_text(result, 0));
    if (json == NULL)
        return KT_ERR_NO_MEMORY;
    free(writer->receipt_keys_json);
    writer->receipt_keys_json = json;
    writer->settings.receipt_key = strcmp(db_column_text(result, 2), id) == 0 ? key : next;
    return kt_hex_decode(db_column_text(result, 2), writer->receipt_key_id, KT_KEY_ID_LEN);
}

static int ask(struct db_writer *writer, EVP_PKEY *key, EVP_PKEY *next, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + (int64_t)writer->settings.timeout_ms * 1000;
    char id[ID_TEXT], next_id[ID_TEXT], sql[sizeof(LISTED) + 4 * ID_TEXT];
    PGresult *result = NULL;
    int r = id_of(key, id, error);

    if (r == 0)
        r = id_of(next ? next : key, next_id, error);
    if (r != 0)
        return r;
    snprintf(sql, sizeof(sql), LISTED, id, next_id, id, next_id);
    r = db_pipe_run(writer->main, sql, until, &result, error);
    if (r == 0)
        r = choose(writer, key, id, next, result, error);
    PQclear(result);
    return r;
}

int db_write_choose_receipt_key(struct db_writer *writer, struct kt_error *error)
{
    EVP_PKEY *key = writer->settings.receipt_key, *next = writer->settings.next_receipt_key;

    return key ? ask(writer, key, next, error) : ask(writer, next, NULL, error);
}

int db_writer_use_receipt_key(struct db_writer *writer, EVP_PKEY *key, int *signs,
                              struct kt_error *error)
{
    int r = ask(writer, writer->settings.receipt_key, key, error);

    *signs = r == 0 && writer->settings.receipt_key == key;
    return r;
}

const uint8_t *db_writer_receipt_key_id(const struct db_writer *writer)
{
    return writer->receipt_key_id;
}
