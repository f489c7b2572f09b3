// SPDX-License-Identifier: Apache-2.0
// Reading all of a node's database in one snapshot, for a backup. On a passive too.
#ifndef DB_BACKUP_H
#define DB_BACKUP_H

#include "lib/buf.h"
#include "lib/formats.h"
#include "lib/manifest.h"
#include "lib/paths.h"
#include "lib/peers.h"
#include "lib/settings.h"

#define DB_BACKUP_TABLES_MAX 64

struct db_backup_table {
    char name[64];
    uint64_t rows;
    uint64_t bytes; // exactly those of its COPY binary
};

struct db_backup_facts {
    struct kt_uuid cluster_id;
    struct kt_incarnation incarnation; // of the newest row of epochs
    uint64_t epoch;
    char active[KT_MEMBER_TEXT]; // of that row
    int in_recovery;             // a passive
    int is_restored;             // cluster.state = 'restored'
    uint64_t lsn; // that the snapshot reaches: flushed, on a standby replayed, before it was taken
    uint32_t timeline;
    uint64_t log_index;
    uint8_t log_head[KT_SHA256_LEN]; // SHA-256 of the newest deposit's receipt signature, or zeros
    uint32_t schema;
    char postgresql[32];  // "15.20"
    char cluster_key[41]; // fingerprint of the newest OpenPGP key that is listed, or ""
    struct kt_peers peers;
    struct db_backup_table tables[DB_BACKUP_TABLES_MAX]; // in an order that satisfies references
    size_t table_count;
};

// Whether that is what a manifest says: cluster, every table's rows, log index and head.
// KT_ERR_SIGNATURE names what differs.
int db_facts_match(const struct db_backup_facts *facts, const struct kt_manifest *manifest,
                   struct kt_error *error) KT_MUST_CHECK;

struct db_backup; // one connection of the owner, in one read-only repeatable-read transaction
// `port` 0: that of the settings. Counts rows and bytes, which reads the whole database once.
// KT_ERR_DATABASE_UNAVAILABLE.
int db_backup_open(const struct kt_paths *paths, const struct kt_settings *settings, uint16_t port,
                   struct db_backup **backup, struct kt_error *error) KT_MUST_CHECK;
void db_backup_close(struct db_backup *backup);
const struct db_backup_facts *db_backup_facts(const struct db_backup *backup);

// Takes bytes as they come; what it returns other than 0 ends the copy with that code.
typedef int (*db_sink)(void *arg, const void *bytes, size_t n, struct kt_error *error);
// Table i, in COPY's binary format. KT_ERR_TRUNCATED or KT_ERR_TOO_LARGE when it is not `bytes`
// long.
int db_backup_copy(struct db_backup *backup, size_t i, db_sink sink, void *arg,
                   struct kt_error *error) KT_MUST_CHECK;

// The SQL script that stock psql -f runs, which stops at the first error and is one transaction:
// roles unless they are there, their passwords' verifiers, the schema, the tables, and
// cluster.state = 'restored'. `folder` is the absolute path of the folder that will hold the
// tables' files <table>.bin; NULL: all rows stand in the script itself (--plain-sql). `header` is
// put first, as comments.
// `*bytes` receives the length; with `sink` NULL nothing else is done (with rows in the script it
// reads them to count).
int db_backup_script(struct db_backup *backup, const char *folder, const char *header, db_sink sink,
                     void *arg, uint64_t *bytes, struct kt_error *error) KT_MUST_CHECK;

#endif
