// SPDX-License-Identifier: Apache-2.0
// What the files of loading a backup share.
#ifndef DB_LOAD_INNER_H
#define DB_LOAD_INNER_H

#include "db/backup_inner.h"
#include "db/load.h"

// --- load_walk.c ---
// A stream in COPY's binary format, read for its form alone. PostgreSQL takes one that ends behind
// any row for a whole one.
enum db_walk_state {
    DB_WALK_SIGNATURE, // 11 bytes, flags
    DB_WALK_EXTENSION, // its length, and itself
    DB_WALK_ROW,       // number of columns, or the end
    DB_WALK_LENGTH,    // of a column's value
    DB_WALK_END        // nothing comes behind it
};
struct db_walk {
    enum db_walk_state state;
    uint8_t part[16]; // of what is read at the moment
    size_t have;
    uint64_t skip;    // bytes of a value still to come
    uint32_t columns; // still to come of this row
    uint32_t width;   // columns of a row; 0 before the first one
    uint64_t rows;
};
// KT_ERR_INVALID, without words.
int db_walk(struct db_walk *walk, const void *bytes, size_t n) KT_MUST_CHECK;
// Whether the end has been read.
int db_walk_is_whole(const struct db_walk *walk);

// --- load_scratch.c ---
#define DB_SCRATCH_DATABASE "keytrustee"
void db_scratch_target(const struct db_scratch *scratch, const char *database,
                       struct db_target *target);

struct db_load {
    PGconn *conn;
    PGconn *lock;               // holds DB_POPULATE_LOCK; NULL for a scratch
    struct db_cluster *cluster; // NULL for a scratch
    uint32_t schema;
    char dir[KT_PATH_MAX];                             // of the schema files
    char names[DB_BACKUP_TABLES_MAX][64];              // the schema's tables
    char hashes[DB_BACKUP_TABLES_MAX][KT_SHA256_TEXT]; // of the schema files, from version 1
    uint8_t is_loaded[DB_BACKUP_TABLES_MAX];
    size_t table_count;
    int table;       // that is being loaded, or -1
    int failed;      // nothing but db_load_free may follow
    int is_checked;  // by db_load_check
    int is_upgraded; // to the schema of now
    int is_finished;
    struct db_walk walk;
};

// --- load_rows.c ---
// The rows of a new incarnation, in the transaction that is open on `conn`. `cluster` NULL: its
// timeline is the first. KT_ERR_INVALID when the incarnation is not behind those that are there.
int db_restored_rows(PGconn *conn, const struct db_cluster *cluster,
                     const struct db_restored *restored, struct kt_error *error) KT_MUST_CHECK;
// --- load_line.c ---
int db_read_line(PGconn *conn, struct db_line *line, struct kt_error *error) KT_MUST_CHECK;

// One statement of a session that only commits locally.
#define DB_LOAD_SESSION                                                                            \
    "SET statement_timeout = 0; SET lock_timeout = '60s'; SET search_path = public;"               \
    " SET idle_in_transaction_session_timeout = 0; SET jit = off;"                                 \
    " SET default_transaction_read_only = off; SET synchronous_commit = local;"                    \
    " SET maintenance_work_mem = '128MB'; SET client_min_messages = warning"

#endif
