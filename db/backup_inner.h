// SPDX-License-Identifier: Apache-2.0
// What reading and loading a backup share: facts, tables, and COPY as a stream of bytes.
#ifndef DB_BACKUP_INNER_H
#define DB_BACKUP_INNER_H

#include "db/backup.h"
#include "db/pg.h"

#define DB_BACKUP_MS 60000
// Whole tables are read, sorted, checked: bounded, but not by what a question takes.
#define DB_BACKUP_LONG_MS 86400000

struct db_backup {
    PGconn *conn; // NULL: given up
    struct db_backup_facts facts;
};

// --- backup_facts.c ---
// The part that must be asked before the snapshot is taken: in_recovery, lsn, timeline.
int db_facts_position(PGconn *conn, struct db_backup_facts *facts,
                      struct kt_error *error) KT_MUST_CHECK;
// What the rows say of the cluster. KT_ERR_NOT_INITIALISED when there are none.
int db_facts_rows(PGconn *conn, struct db_backup_facts *facts,
                  struct kt_error *error) KT_MUST_CHECK;
// The tables of schema public, those that others refer to first, and the rows of each; with
// `with_bytes` also the length of its COPY binary. KT_ERR_TOO_LARGE for more than fit.
int db_facts_tables(PGconn *conn, int with_bytes, struct db_backup_facts *facts,
                    struct kt_error *error) KT_MUST_CHECK;

// --- backup_stream.c ---
// Gathers small pieces. `sink` NULL only counts.
struct db_stream {
    db_sink sink;
    void *arg;
    uint64_t limit; // KT_ERR_TOO_LARGE beyond it, before anything of it is passed on
    uint64_t bytes; // taken
    uint8_t *block;
    size_t used;
};
int db_stream_begin(struct db_stream *stream, db_sink sink, void *arg, uint64_t limit,
                    struct kt_error *error) KT_MUST_CHECK;
int db_stream_put(struct db_stream *stream, const void *bytes, size_t n,
                  struct kt_error *error) KT_MUST_CHECK;
int db_stream_flush(struct db_stream *stream, struct kt_error *error) KT_MUST_CHECK;
void db_stream_free(struct db_stream *stream);
// Runs a COPY ... TO STDOUT into the stream, and flushes it. When it fails the connection can only
// be closed.
int db_stream_copy(struct db_stream *stream, PGconn *conn, const char *sql,
                   struct kt_error *error) KT_MUST_CHECK;
// Whether `name` needs no quotes: a-z, 0-9 and _, at most 63 of them.
int db_name_is_plain(const char *name);

#endif
