// SPDX-License-Identifier: Apache-2.0
// What reads_sql.c (the statements) and reads.c (parameters and rows) share; nobody else includes
// it.
#ifndef DB_READS_INNER_H
#define DB_READS_INNER_H

#include "db/reader_inner.h"

// Places in db_reads_statements().
enum statement {
    GET_LATEST,
    GET_VERSION,
    GET_BY_ID,
    GET_RELEASED,
    HEAD_LATEST,
    HEAD_VERSION,
    RECEIPT_LATEST,
    RECEIPT_VERSION,
    LIST,
    SELF,
    OPENPGP,
    OPERATOR,
    INCARNATIONS,
    CLUSTER_KEYS,
    REQUESTS,
    LOG_HEAD,
    LOG_INCLUSION,
    LOG_CONSISTENCY,
};

// Columns of a row. Those of the caller stand in all statements; those of deposits, receipt and
// verdict in the statements on deposits, NULL where they are not asked for.
enum column {
    WHO_CLIENT,
    WHO_ORGANISATION_ID,
    WHO_ORGANISATION,
    WHO_STATE,
    WHO_CERTIFICATE_REVOKED,
    WHO_NOT_AFTER,
    WHO_DISABLED,
    DEPOSIT_ID,
    DEPOSIT_CLIENT,
    DEPOSIT_HANDLE,
    DEPOSIT_VERSION,
    DEPOSIT_TYPE,
    DEPOSIT_SHA256,
    DEPOSIT_SIZE,
    DEPOSIT_INDEX,
    DEPOSIT_TIME,
    DEPOSIT_KEY_GROUP,
    RECEIPT_INCARNATION,
    RECEIPT_BITS,
    RECEIPT_EPOCH,
    RECEIPT_W,
    RECEIPT_KEY_ID,
    RECEIPT_SIGNATURE,
    DEPOSIT_DELETED,
    LOCK_MODE,
    LOCK_UNTIL,
    LEGAL_HOLD,
    LOCK_IN_FORCE,
    PURGE_AFTER,
    PURGED_AT,
    GRANTED_COLUMN,
    BROWSABLE_COLUMN,
    VERSION_COLUMN,
    GONE_COLUMN,
    BODY_COLUMN,
    DEPOSIT_POLICY,
    RELEASE_COLUMN, // enum db_release
    POLICY_COLUMN,  // as JSON, with receipts only
    SELF_COLUMN = DEPOSIT_ID,
    KEY_COLUMN = DEPOSIT_ID,
};

#endif
