// SPDX-License-Identifier: Apache-2.0
// A worker's connection to the database: prepared reads, pipelined, never waiting after it is open.
// The caller watches the descriptor; the calls that put reads on it are in db/reads.h.
#ifndef DB_READER_H
#define DB_READER_H

#include "db/cluster.h"

struct db_reader;
struct db_read; // one read under way

// Reads under way on one connection, those that were forgotten too; beyond it the calls of
// db/reads.h give KT_ERR_DATABASE_UNAVAILABLE.
#define DB_READS_MAX 4096

// Connects, prepares all statements and enters pipeline mode; waits for that up to `timeout_ms`.
// `statement_timeout_ms` bounds each read on the server's side. KT_ERR_DATABASE_UNAVAILABLE,
// KT_ERR_DATABASE when a statement is refused (a schema that does not fit).
int db_reader_open(const struct db_target *target, int timeout_ms, int statement_timeout_ms,
                   struct db_reader **reader, struct kt_error *error) KT_MUST_CHECK;
// Reads still under way are forgotten: their callbacks are not called. NULL is fine.
void db_reader_close(struct db_reader *reader);

enum db_wait { DB_WAIT_READ = 1, DB_WAIT_WRITE = 2 };
int db_reader_fd(const struct db_reader *reader);
// What to wait for now (enum db_wait, or-ed); asked again after each call below.
unsigned db_reader_waits_for(const struct db_reader *reader);

// Ends the batch of reads queued since the last call and sends it. Cheap when there is none.
int db_reader_flush(struct db_reader *reader) KT_MUST_CHECK;
// To be called when the descriptor is ready: calls back every read whose answer is here, which may
// queue further reads. KT_ERR_DATABASE_UNAVAILABLE: the connection is gone, all reads under way
// have been called back with that code, and nothing but db_reader_close may follow.
int db_reader_process(struct db_reader *reader) KT_MUST_CHECK;

// 1 when reads are under way and none was answered for `us` microseconds (monotonic time): longer
// than statement_timeout, such a connection is as good as lost.
int db_reader_is_stuck(const struct db_reader *reader, int64_t now_us, int64_t us);

// Calls every read under way back with KT_ERR_DATABASE_UNAVAILABLE; only db_reader_close may
// follow.
void db_reader_fail(struct db_reader *reader);

// The callback of this read will not be called any more; its late answer is dropped.
void db_read_forget(struct db_read *read);

#endif
