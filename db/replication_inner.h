// SPDX-License-Identifier: Apache-2.0
// What the files of replication share.
#ifndef DB_REPLICATION_INNER_H
#define DB_REPLICATION_INNER_H

#include "db/cluster_inner.h"
#include "db/pg.h"
#include "db/replication.h"

// Nobody has this name: who waits for it waits for ever.
#define DB_NOBODY "kts_nobody"
// Sessions that wait in a row's or a probe's commit.
#define DB_ROW_SESSION "kts_row"

// --- replication.c ---
// The node's file; a data directory from before there was one is an active without members when the
// promise says so. KT_ERR_FENCED, KT_ERR_NOT_INITIALISED.
int db_replication_of_node(const struct kt_paths *paths, struct db_replication *replication,
                           struct kt_error *error) KT_MUST_CHECK;
// "<member>_copy": streams from a sealed donor, without a slot.
int db_is_copy_name(const char *application_name);
// Connection string to another node's PostgreSQL with this node's certificate. PostgreSQL checks
// one name in the other's, which is that of nodes: where it is must be said in numbers
// (`addresses`). Without any it connects nowhere.
int db_replication_conninfo(const struct kt_paths *paths, const struct db_source *source,
                            const char *addresses, const char *application_name,
                            const char *database, struct kt_buf *out) KT_MUST_CHECK;
// The settings it comes to.
#define DB_REPLICATION_VALUES    4
#define DB_REPLICATION_VALUE_MAX 6144
struct db_replication_value {
    const char *name;
    char value[DB_REPLICATION_VALUE_MAX];
};
int db_replication_values(const struct kt_paths *paths, const struct db_replication *replication,
                          struct db_replication_value values[DB_REPLICATION_VALUES]) KT_MUST_CHECK;
// The data directory's part of it.
int db_replication_write(struct db_cluster *cluster, const struct db_replication *replication,
                         struct kt_error *error) KT_MUST_CHECK;

// KT_ERR_UNSAFE_SETTINGS when the data directory's part is not what was written last.
int db_replication_check(const struct db_cluster *cluster, struct kt_error *error) KT_MUST_CHECK;
const char *db_mode_name(enum db_mode mode); // "active", "follow", "sealed"

// --- replication_host.c ---
// The addresses of a host, with commas; an address is its own. KT_ERR_NETWORK: none is found.
int db_host_resolve(const char *host, char out[DB_ADDRESSES_TEXT],
                    struct kt_error *error) KT_MUST_CHECK;
int db_host_is_address(const char *host);
// A follower's, looked up anew; what was found before stays when nothing is found now.
void db_replication_resolve(struct db_replication *replication);

// --- replication_apply.c ---
// The last part of apply: reload, and wait until new sessions see it. Nothing to do when stopped.
int db_replication_reload(struct db_cluster *cluster, const struct db_replication *replication,
                          int timeout_ms, struct kt_error *error) KT_MUST_CHECK;

// --- copy.c ---
// KT_ERR_DIVERGED while a rewind or a base backup that was broken off has left the data directory
// as nothing that can be started.
int db_copy_check(const struct db_cluster *cluster, struct kt_error *error) KT_MUST_CHECK;

// --- admin.c ---
struct db_admin {
    PGconn *conn;
    struct db_cluster *cluster;
};
#define DB_ADMIN_MS 10000
// A node that is not yet, or no longer, a member is not waited for.
#define DB_BEGIN_LOCAL "BEGIN READ WRITE; SET LOCAL synchronous_commit = local"
// The end of a node's certificate as the tables want it (admin_nodes.c). KT_ERR_INVALID when `pem` is
// not the one that the peer's entry names.
int db_node_certificate_end(const struct kt_peer *peer, const char *pem,
                            char not_after[KT_TIME_TEXT], struct kt_error *error) KT_MUST_CHECK;
// One statement on the owner's session.
int db_admin_ask(struct db_admin *admin, const char *sql, int count, const char *const *parameters,
                 PGresult **result, struct kt_error *error) KT_MUST_CHECK;
// Calls `is_done` (1 done, 0 not yet, negative: give up) every 5 ms until the deadline:
// KT_ERR_TIMEOUT, without words.
typedef int (*db_condition)(void *arg, struct kt_error *error);
int db_wait_until(db_condition is_done, void *arg, int64_t deadline,
                  struct kt_error *error) KT_MUST_CHECK;
// Columns: positions, "t" or "f", numbers.
int db_lsn_column(const PGresult *result, int column, uint64_t *lsn) KT_MUST_CHECK; // NULL: 0
int db_true_column(const PGresult *result, int column);
uint64_t db_number_column(const PGresult *result, int column);

// --- admin_timeline.c ---
// The name of a segment: its timeline and number. KT_ERR_INVALID.
int db_wal_name_parse(const char *name, uint64_t segment_size, uint32_t *timeline,
                      uint64_t *number) KT_MUST_CHECK;
int db_wal_segment_size(const struct db_cluster *cluster, uint64_t *size,
                        struct kt_error *error) KT_MUST_CHECK;
// Where the timeline began, from its history file in pg_wal: 0 for the first.
int db_timeline_start(const struct db_cluster *cluster, uint32_t timeline, uint64_t *start_lsn,
                      struct kt_error *error) KT_MUST_CHECK;
// The timeline on which a log that ends at `lsn` ends, from the files in pg_wal: for a standby,
// whose control file knows it only since its last restartpoint.
int db_timeline_of_log(const struct db_cluster *cluster, uint64_t lsn, uint32_t *timeline,
                       struct kt_error *error) KT_MUST_CHECK;

#endif
