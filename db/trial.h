// SPDX-License-Identifier: Apache-2.0
// A trial restore: a backup loaded into a PostgreSQL that exists only for that, and compared.
#ifndef DB_TRIAL_H
#define DB_TRIAL_H

#include "db/load.h"
#include "db/receipts.h"
#include "lib/backup_read.h"

struct db_trial;
// Reads the stream to its end: every member with its hash, all tables into a scratch PostgreSQL
// below `above`; then rows, log index and head against the manifest. 0 only when all of it is
// right. KT_ERR_SIGNATURE names what differs. `progress` may be NULL.
int db_trial_run(struct kt_backup_stream *stream, const struct kt_backup_file *file,
                 const char *above, kt_backup_progress progress, void *arg, struct db_trial **trial,
                 struct kt_error *error) KT_MUST_CHECK;
// What the loaded database says of itself.
const struct db_backup_facts *db_trial_facts(const struct db_trial *trial);
// Compares the log with that of the node's running database, up to the backup's last index: the
// same deposits, hashes and receipts. *live_index receives the live database's newest index.
// KT_ERR_SIGNATURE: they differ, and where.
int db_trial_compare(struct db_trial *trial, const struct kt_paths *paths,
                     const struct kt_settings *settings, uint64_t *live_index,
                     struct kt_error *error) KT_MUST_CHECK;
// A session for looking for receipts in the loaded database; closed by db_receipts_close, before the
// trial is freed.
int db_trial_receipts(struct db_trial *trial, struct db_receipts **receipts,
                      struct kt_error *error) KT_MUST_CHECK;
// Stops and removes the scratch PostgreSQL. NULL is fine.
void db_trial_free(struct db_trial *trial);

#endif
