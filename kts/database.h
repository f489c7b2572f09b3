// SPDX-License-Identifier: Apache-2.0
// Ties the worker's database connections (db/reader.h) to libevent.
#ifndef KTS_DATABASE_H
#define KTS_DATABASE_H

#include "db/reads.h"

struct kts_worker;
struct kts_database;

// One connection for short reads, one for those that may take long (lists): they would hold the
// others up, since answers come in order.
enum kts_database_use { KTS_DB_SHORT = 0, KTS_DB_LONG = 1, KTS_DB_USES = 2 };

// Connects, waiting up to 2 s. Without a database it is made all the same, and gives no reader.
int kts_database_open(struct kts_worker *worker, struct kts_database **database) KT_MUST_CHECK;
// Begins to watch the descriptors; to be called when the worker's event base is there.
int kts_database_start(struct kts_database *database) KT_MUST_CHECK;
void kts_database_close(struct kts_database *database);
// NULL while there is no database.
struct db_reader *kts_database_reader(struct kts_database *database, enum kts_database_use use);
int kts_database_is_open(const struct kts_database *database);
// Sends what was queued in this turn.
void kts_database_turn(struct kts_database *database);

#endif
