// SPDX-License-Identifier: Apache-2.0
// Receipts against the rows of the database.
#include "db/receipts.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/cluster_inner.h"
#include "db/pg.h"

#define CONNECT_MS 5000
#define QUERY_MS   30000
#define BYTEA(n)   (2 * (n) + 3) // "\x" and hex

// The superuser sees bodies, whose hash is what matters. Nothing but rows is read: the session is
// read-only.
struct db_receipts {
    PGconn *conn;
};

static void bytea_text(const uint8_t *bytes, size_t n, char *out)
{
    memcpy(out, "\\x", 2);
    kt_hex_encode(bytes, n, out + 2);
}

int db_receipts_open_target(const struct db_target *target, struct db_receipts **receipts,
                            struct kt_error *error)
{
    struct db_receipts *fresh = calloc(1, sizeof(*fresh));
    int rc;

    if (!fresh)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    rc = db_pg_connect(target, CONNECT_MS, &fresh->conn, error);
    if (rc == 0)
        rc = db_pg_query(fresh->conn, QUERY_MS, "SET default_transaction_read_only = on", 0, NULL,
                         NULL, error);
    if (rc)
        db_receipts_close(fresh);
    else
        *receipts = fresh;
    return rc;
}

int db_receipts_open(const struct kt_paths *paths, const struct kt_settings *settings,
                     struct db_receipts **receipts, struct kt_error *error)
{
    struct db_target target;

    db_target_owner(paths, settings, kt_settings_text(settings, KT_SET_DATABASE_NAME), &target);
    return db_receipts_open_target(&target, receipts, error);
}

void db_receipts_close(struct db_receipts *receipts)
{
    if (!receipts)
        return;
    PQfinish(receipts->conn);
    free(receipts);
}

int db_receipts_is_standby(struct db_receipts *receipts)
{
    PGresult *result = NULL;
    int is = 0;

    if (db_pg_query(receipts->conn, QUERY_MS, "SELECT pg_is_in_recovery()", 0, NULL, &result,
                    NULL) == 0)
        is = strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    PQclear(result);
    return is;
}

int db_receipts_key(struct db_receipts *receipts, const uint8_t key_id[KT_KEY_ID_LEN], char **pem,
                    struct kt_error *error)
{
    char id[BYTEA(KT_KEY_ID_LEN)];
    const char *values[] = {id};
    PGresult *result = NULL;
    int rc;

    bytea_text(key_id, KT_KEY_ID_LEN, id);
    rc = db_pg_query(receipts->conn, QUERY_MS,
                     "SELECT certificate FROM receipt_keys WHERE key_id = $1::bytea", 1, values,
                     &result, error);
    if (rc == 0 && PQntuples(result) != 1)
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "no receipt key %s", id + 2);
    if (rc == 0) {
        *pem = strdup(PQgetvalue(result, 0, 0));
        if (!*pem)
            rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    PQclear(result);
    return rc;
}

// Two columns: the row has the receipt's signature, which covers all of the leaf; and its body the
// leaf's hash.
static const char LOOK[] =
    "SELECT d.receipt_signature = $4::bytea AND d.receipt_key_id = $5::bytea AND d.sha256 = "
    "$6::bytea,"
    " d.purged_at IS NOT NULL OR sha256(d.body) = $6::bytea"
    " FROM deposits d WHERE d.log_index = $1::bigint AND d.deposit_id = $2::uuid"
    " AND d.client_id = $3::uuid";

int db_receipts_look(struct db_receipts *receipts, const struct kt_receipt *receipt,
                     enum db_receipt_found *found, struct kt_error *error)
{
    char index[24], deposit[KT_UUID_TEXT], client[KT_UUID_TEXT],
        signature[BYTEA(KT_ED25519_SIG_LEN)], key[BYTEA(KT_KEY_ID_LEN)],
        sha256[BYTEA(KT_SHA256_LEN)];
    const char *values[] = {index, deposit, client, signature, key, sha256};
    PGresult *result = NULL;
    int rc;

    snprintf(index, sizeof(index), "%" PRIu64, receipt->leaf.log_index);
    kt_uuid_format(&receipt->leaf.deposit_id, deposit);
    kt_uuid_format(&receipt->leaf.client_id, client);
    bytea_text(receipt->signature, KT_ED25519_SIG_LEN, signature);
    bytea_text(receipt->key_id, KT_KEY_ID_LEN, key);
    bytea_text(receipt->leaf.sha256, KT_SHA256_LEN, sha256);
    rc = db_pg_query(receipts->conn, QUERY_MS, LOOK, 6, values, &result, error);
    if (rc == 0 && PQntuples(result) == 0)
        *found = DB_RECEIPT_MISSING;
    else if (rc == 0)
        *found =
            strcmp(PQgetvalue(result, 0, 0), "t") == 0 && strcmp(PQgetvalue(result, 0, 1), "t") == 0
                ? DB_RECEIPT_PRESENT
                : DB_RECEIPT_DIFFERS;
    PQclear(result);
    return rc;
}
