// SPDX-License-Identifier: Apache-2.0
// What the files of the workers' connection and its statements share; nobody else includes it.
#ifndef DB_READER_INNER_H
#define DB_READER_INNER_H

#include <libpq-fe.h>

#include "db/reader.h"

// What libpq gives next for the first read in the queue.
enum stage { STAGE_RESULT, STAGE_END, STAGE_SYNC };

struct db_reader {
    PGconn *conn;
    struct db_read *first;
    struct db_read *last;
    enum stage stage;
    int unsynced;        // reads behind the last sync
    int count;           // reads under way
    int64_t progress_us; // when an answer came last, or the first of the reads was sent
    int broken;
};

// OIDs of the types we send: fixed in PostgreSQL's catalogue.
enum {
    DB_OID_BOOL = 16,
    DB_OID_BYTEA = 17,
    DB_OID_INT8 = 20,
    DB_OID_INT4 = 23,
    DB_OID_TEXT = 25,
    DB_OID_UUID = 2950
};

#define DB_PARAMS_MAX 6

struct db_statement {
    const char *name;
    const char *sql;
    int count;
    Oid types[DB_PARAMS_MAX];
};
// All statements of reads.c; prepared by db_reader_open.
const struct db_statement *db_reads_statements(size_t *count);

// Binary parameters of one call; the values are copied by db_reader_send.
struct db_params {
    int count;
    const void *values[DB_PARAMS_MAX];
    int lengths[DB_PARAMS_MAX];
};

// `result` is NULL unless code is 0, has rows in binary form, and is valid during the call only.
typedef void (*db_result_done)(void (*done)(void), void *arg, int code, const PGresult *result);

// Queues one read. `done` and `arg` are handed to `result_done`. *read may be forgotten until the
// callback is called.
int db_reader_send(struct db_reader *reader, const struct db_statement *statement,
                   const struct db_params *params, db_result_done result_done, void (*done)(void),
                   void *arg, struct db_read **read) KT_MUST_CHECK;

#endif
