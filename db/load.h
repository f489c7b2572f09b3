// SPDX-License-Identifier: Apache-2.0
// Loading a backup into a new database: the node's own (restore), or one that only lives as long as
// the check (trial).
#ifndef DB_LOAD_H
#define DB_LOAD_H

#include "db/backup.h"
#include "db/cluster.h"

// What a restored cluster's first rows say.
struct db_restored {
    struct kt_incarnation incarnation; // the new one
    const char *statement;             // signed by the cluster key, with the key (docs/formats.md)
    uint64_t epoch;                    // of the new first row
    const struct kt_peer *self;        // the node as a new member: row in `nodes`, its role
    int64_t cert_not_after_us;
    const char *note; // of the row: "restored from <stem>"
    // Statements about the cluster's keys that it lists from then on, if it does not: a JSON array of
    // {"number", "fingerprint", "before", "statement", "made_at"}; NULL: none.
    const char *key_rows;
};

// From what the new incarnation goes on: its statement says so.
struct db_line {
    uint64_t log_index;
    uint8_t root[KT_SHA256_LEN]; // of the Merkle log over all deposits
    char *statement;             // of the incarnation before; NULL: it has none. The caller frees
};

// --- a scratch PostgreSQL ---
struct db_scratch;
// initdb in a new folder below `above` (kts-scratch-XXXXXX), started without network, without fsync.
// `bin` is the folder of PostgreSQL's programs, NULL: looked for as db_cluster_open does. Not as
// root. The server ends with the thread that made it; a folder that a killed process left is removed
// by the next call with the same `above`. KT_ERR_PERMISSION, KT_ERR_NOT_FOUND, KT_ERR_CHILD.
int db_scratch_new(const char *above, const char *bin, struct db_scratch **scratch,
                   struct kt_error *error) KT_MUST_CHECK;
// Stops it and removes the folder. NULL is fine.
void db_scratch_free(struct db_scratch *scratch);

// --- loading: one connection, one transaction ---
struct db_load;
// Into a scratch PostgreSQL: roles without login, schema files 1..`schema`. What was loaded there
// before is gone. KT_ERR_INVALID: the schema of a newer program.
int db_load_scratch(struct db_scratch *scratch, uint32_t schema, struct db_load **load,
                    struct kt_error *error) KT_MUST_CHECK;
// Into the node's own running PostgreSQL, whose database is made anew unless it is populated
// (KT_ERR_EXISTS): roles with the secrets of the confdir, schema files 1..`schema`. KT_ERR_PASSIVE
// when it follows another node.
int db_load_cluster(struct db_cluster *cluster, uint32_t schema, struct db_load **load,
                    struct kt_error *error) KT_MUST_CHECK;
// A table's COPY binary, in pieces. Table by table, in any order, each table of the schema once.
// KT_ERR_INVALID: no table of the schema, not COPY's binary format, cut off, rows of another form;
// what is wrong with a row may be said by db_load_end only. Behind any error only db_load_free helps.
int db_load_begin(struct db_load *load, const char *table, struct kt_error *error) KT_MUST_CHECK;
int db_load_put(struct db_load *load, const void *bytes, size_t n,
                struct kt_error *error) KT_MUST_CHECK;
int db_load_end(struct db_load *load, uint64_t *rows, struct kt_error *error) KT_MUST_CHECK;
// Indexes and constraints again, all checked; sequences; schema and cluster id. Nothing is committed:
// db_load_facts then tells what a commit would make. KT_ERR_INVALID: a table is missing, or rows do
// not fit together; KT_ERR_NOT_OURS: the backup is of another cluster than the confdir.
int db_load_check(struct db_load *load, struct kt_error *error) KT_MUST_CHECK;
// Behind db_load_check; brings the schema files that are newer, in the same transaction.
// KT_ERR_INVALID: the log of deposits is not whole.
int db_load_line(struct db_load *load, struct db_line *line, struct kt_error *error) KT_MUST_CHECK;
// db_load_check, unless it was called; statistics. With `restored`, in the same transaction, the schema files that are newer and the rows of a new cluster: incarnation, first
// epoch row (`ends`), old nodes removed and their certificates revoked, state 'normal'. Commits, and
// sets the mark of the node's data directory; in that `restored` must be given. KT_ERR_INVALID: the
// incarnation is not behind the backup's.
int db_load_finish(struct db_load *load, const struct db_restored *restored,
                   struct kt_error *error) KT_MUST_CHECK;
// What the loaded database says of itself, after db_load_check: counts, log index and head. Fills
// the facts but for bytes and position.
int db_load_facts(struct db_load *load, struct db_backup_facts *facts,
                  struct kt_error *error) KT_MUST_CHECK;
// Also gives up what was not finished. NULL is fine.
void db_load_free(struct db_load *load);

// A database that was restored with stock tools (state 'restored') becomes the first of a new
// incarnation: prepared groups that are left are rolled back (they belong to the history that ends
// here), the roles get the confdir's secrets, then the rows as in db_load_finish; then the roles and
// slots of all other members go. KT_ERR_EXISTS: it is 'normal'. KT_ERR_NOT_OURS: of another cluster
// than the confdir. KT_ERR_INVALID: nothing was restored. KT_ERR_PASSIVE. May be repeated with the
// same `restored`.
int db_adopt(struct db_cluster *cluster, const struct db_restored *restored,
             struct kt_error *error) KT_MUST_CHECK;
// What the statement of that incarnation is to say. Does what db_adopt does before the rows; the
// same errors, but for KT_ERR_EXISTS. KT_ERR_INVALID also: the log of deposits is not whole.
int db_adopt_line(struct db_cluster *cluster, struct db_line *line,
                  struct kt_error *error) KT_MUST_CHECK;

#endif
