// SPDX-License-Identifier: Apache-2.0
// Looking for what receipts prove, in the node's database: reads only, as the owner.
#ifndef DB_RECEIPTS_H
#define DB_RECEIPTS_H

#include "lib/formats.h"
#include "lib/paths.h"
#include "lib/settings.h"

struct db_receipts; // one connection

int db_receipts_open(const struct kt_paths *paths, const struct kt_settings *settings,
                     struct db_receipts **receipts, struct kt_error *error) KT_MUST_CHECK;
// The same in another database.
struct db_target;
int db_receipts_open_target(const struct db_target *target, struct db_receipts **receipts,
                            struct kt_error *error) KT_MUST_CHECK;
void db_receipts_close(struct db_receipts *receipts);
// 1 when the database is a standby: what was acknowledged a moment ago may not have arrived.
int db_receipts_is_standby(struct db_receipts *receipts);
// The certificate of a receipt key as PEM, which the caller frees. KT_ERR_NOT_FOUND.
int db_receipts_key(struct db_receipts *receipts, const uint8_t key_id[KT_KEY_ID_LEN], char **pem,
                    struct kt_error *error) KT_MUST_CHECK;

enum db_receipt_found {
    DB_RECEIPT_PRESENT, // the same receipt, and a body with its hash, or purged since
    DB_RECEIPT_MISSING, // no deposit of that id, client and log index
    DB_RECEIPT_DIFFERS, // the row has another receipt, or the body another hash
};
int db_receipts_look(struct db_receipts *receipts, const struct kt_receipt *receipt,
                     enum db_receipt_found *found, struct kt_error *error) KT_MUST_CHECK;

#endif
