// SPDX-License-Identifier: Apache-2.0
// PostgreSQL's replication on one node, as the agent and `ktadmin join` handle it.
//
// What PostgreSQL is to be (active, following, sealed) stands in node/replication, outside the data
// directory, and is rendered into it before each start and at each change: whatever a base backup
// or pg_rewind copied there, or somebody left there, does not count. All of this blocks, bounded in
// time; the agent runs it in a job (kts/agent_job.h).
#ifndef DB_REPLICATION_H
#define DB_REPLICATION_H

#include "db/cluster.h"
#include "lib/epoch.h"
#include "lib/peers.h"
#include "lib/rules.h"

enum db_mode { DB_MODE_ACTIVE, DB_MODE_FOLLOW, DB_MODE_SEALED };

#define DB_ADDRESSES_MAX  4
#define DB_ADDRESSES_TEXT (DB_ADDRESSES_MAX * 46)

struct db_replication {
    enum db_mode mode;
    // ACTIVE: synchronous_standby_names; read_only = unestablished (default_transaction_read_only).
    // A standby waits for a name that nobody has and is read-only,
    // should somebody promote it by hand.
    char standby_names[KT_STANDBY_NAMES_TEXT];
    int read_only;
    // FOLLOW: the upstream's PostgreSQL, and the names under which this node streams
    char host[KT_HOST_MAX + 1];
    // a name's addresses as found at the last render, with commas;
    // "" of an address, or not found yet
    char addresses[DB_ADDRESSES_TEXT];
    uint16_t port;
    char member[KT_MEMBER_TEXT]; // role (its certificate's CN) and slot
    char application_name
        [KT_REPLICATION_NAME_TEXT]; // kt_replication_name, or "<member>_copy", which
                                    // streams without a slot
};

// node/replication. Missing: KT_ERR_NOT_FOUND.
int db_replication_load(const struct kt_paths *paths, struct db_replication *replication,
                        struct kt_error *error) KT_MUST_CHECK;
int db_replication_save(const struct kt_paths *paths, const struct db_replication *replication,
                        struct kt_error *error) KT_MUST_CHECK;
// Looks up the upstream's addresses, and writes the data directory's part from node/replication:
// keytrustee.replication.conf (included last by the managed settings) and standby.signal (there
// unless ACTIVE). For a stopped PostgreSQL.
int db_replication_render(struct db_cluster *cluster, struct kt_error *error) KT_MUST_CHECK;
// Saves, renders, reloads a running PostgreSQL and waits until its sessions see the new values.
// KT_ERR_UNSAFE_SETTINGS when something else (postgresql.auto.conf) overrides them.
// Not for a change between ACTIVE and the others: that needs a stop.
int db_replication_apply(struct db_cluster *cluster, const struct db_replication *replication,
                         int timeout_ms, struct kt_error *error) KT_MUST_CHECK;

// --- the owner's session (peer, superuser), one at a time ---
struct db_admin;
int db_admin_open(struct db_cluster *cluster, int timeout_ms, struct db_admin **admin,
                  struct kt_error *error) KT_MUST_CHECK;
void db_admin_close(struct db_admin *admin);

struct db_position {
    int in_recovery;
    uint32_t timeline; // current insertion's or replay's
    // flushed end of log; on a standby that receives, what is received; on one that does not, the
    // end of the last whole record
    uint64_t lsn;
    uint64_t start_lsn; // where this timeline began (0/0 for the first), from its history file
};
int db_admin_position(struct db_admin *admin, struct db_position *position,
                      struct kt_error *error) KT_MUST_CHECK;
// Where this log left `timeline` (kt_timeline_left of its history file). KT_ERR_NOT_FOUND: it is on
// it, or never was.
int db_admin_timeline_left(struct db_admin *admin, uint32_t timeline, uint64_t *lsn,
                           struct kt_error *error) KT_MUST_CHECK;
int db_admin_rows(struct db_admin *admin, struct kt_epoch_rows *rows,
                  struct kt_error *error) KT_MUST_CHECK;
// Prepared groups of ours that are not committed.
int db_admin_in_doubt(struct db_admin *admin, uint32_t *count,
                      struct kt_error *error) KT_MUST_CHECK;
// Rolls back the prepared transactions that the writer's role does not own, each as its owner;
// *count receives how many. A superuser's that is named as the writer's ("kt:...") is left alone.
// With `end_sessions` the sessions of the roles that own them are ended first, except the agent's.
// An error only when none could be rolled back that is there; KT_ERR_DATABASE_UNAVAILABLE: the
// session is of no more use.
int db_admin_roll_back_strangers(struct db_admin *admin, int end_sessions, uint32_t *count,
                                 struct kt_error *error) KT_MUST_CHECK;
// Ends the writer's sessions, and those of killed jobs that wait in a row's or probe's commit, and
// waits until they are gone (a row that waited shows after that).
int db_admin_end_sessions(struct db_admin *admin, int timeout_ms,
                          struct kt_error *error) KT_MUST_CHECK;

// Rule 4: after SEALED was applied: until the WAL receiver is gone and everything flushed is
// replayed. `had_upstream` 0: PostgreSQL was started sealed, so that what it has in pg_wal is all.
int db_admin_wait_sealed(struct db_admin *admin, int had_upstream, int timeout_ms,
                         struct kt_error *error) KT_MUST_CHECK;
// Until this standby has replayed `lsn`.
int db_admin_wait_replayed(struct db_admin *admin, uint64_t lsn, int timeout_ms,
                           struct kt_error *error) KT_MUST_CHECK;
// Rule 9: pg_promote, wait until it takes writes, CHECKPOINT. Afterwards
// node/replication is ACTIVE. `replication` (names for (e, T), read_only 1) is applied
// before. *position is the new one. A run that was killed is repeated with the same
// names. KT_ERR_FENCED: active under other names.
int db_admin_promote(struct db_cluster *cluster, struct db_admin *admin,
                     const struct db_replication *replication, int timeout_ms,
                     struct db_position *position, struct kt_error *error) KT_MUST_CHECK;
int db_admin_checkpoint(struct db_admin *admin, int timeout_ms,
                        struct kt_error *error) KT_MUST_CHECK;

// Who streams from here. Only rows whose role is the member of the application name are given.
struct db_streaming {
    char member[KT_MEMBER_TEXT];
    char application_name[KT_REPLICATION_NAME_TEXT];
    int is_streaming; // state = 'streaming'
    uint64_t flush_lsn, replay_lsn;
    uint64_t lag_bytes; // of replay
    int64_t lag_us;     // replay_lag, 0 = none or unknown
    int64_t silent_us;  // since its last report, by the clocks of both nodes
};
int db_admin_streaming(struct db_admin *admin, struct db_streaming *list, size_t size,
                       size_t *count, struct kt_error *error) KT_MUST_CHECK;
// What this standby receives. *is_streaming 0: cut off.
struct db_receiver {
    int is_streaming;
    int64_t silent_us; // since the upstream's last message
    uint64_t received_lsn, replayed_lsn;
};
int db_admin_receiver(struct db_admin *admin, struct db_receiver *receiver,
                      struct kt_error *error) KT_MUST_CHECK;

// Rule 10: a plain INSERT with synchronous_commit = on, read-write for this transaction only.
// 0: acknowledged by a clean return. KT_ERR_IN_DOUBT: the log may hold it: look again.
int db_admin_row_insert(struct db_admin *admin, const struct kt_epoch_row *row, int timeout_ms,
                        struct kt_error *error) KT_MUST_CHECK;
// Rule 12: a commit under the settings of now that came back clean, and that W members of `row`
// report as flushed (by name and role). KT_ERR_NO_QUORUM.
int db_admin_probe(struct db_admin *admin, const struct kt_epoch_row *row, int timeout_ms,
                   struct kt_error *error) KT_MUST_CHECK;
// Until W members of the row stream under its names. KT_ERR_NO_QUORUM says who is missing.
int db_admin_wait_streaming(struct db_admin *admin, const struct kt_epoch_row *row, int timeout_ms,
                            struct kt_error *error) KT_MUST_CHECK;

// A node's role (LOGIN REPLICATION, member of kts_members), slot (not its own), rows in `nodes` and
// node_certificates; committed locally (the row that makes it a member comes later in the same
// log). `cert_pem` may be NULL (listed already). KT_ERR_NOT_MEMBER: that member was removed.
int db_admin_node_put(struct db_admin *admin, const struct kt_peer *peer, const char *cert_pem,
                      struct kt_error *error) KT_MUST_CHECK;
// A member's renewed certificate (peer->cert_sha256) in `nodes` and node_certificates;
// committed locally. Those of before are revoked, except peer->cert_before.
// KT_ERR_NOT_MEMBER: it is not there.
int db_admin_node_renew(struct db_admin *admin, const struct kt_peer *peer, const char *cert_pem,
                        struct kt_error *error) KT_MUST_CHECK;
// A running PostgreSQL reads key and certificate again; nothing to do when it is stopped.
int db_reload_certificates(struct db_cluster *cluster, struct kt_error *error) KT_MUST_CHECK;
// Drops role and slot, marks the rows removed.
int db_admin_node_remove(struct db_admin *admin, const char *member,
                         struct kt_error *error) KT_MUST_CHECK;
int db_admin_nodes(struct db_admin *admin, struct kt_peers *peers,
                   struct kt_error *error) KT_MUST_CHECK;
// Slots for the row's members and for every other node that is not removed: it may come
// back before it is a member again. Others are dropped, unless somebody streams through
// them; all, when `row` is NULL (a node that is no longer active must keep none). A slot
// that fell behind its bound is made anew.
int db_admin_slots(struct db_admin *admin, const struct kt_epoch_row *row,
                   struct kt_error *error) KT_MUST_CHECK;

// --- copies (rules 13 and 14) ---
struct db_source { // another node's PostgreSQL
    char host[KT_HOST_MAX + 1];
    uint16_t port;
    char member[KT_MEMBER_TEXT]; // who asks: role, slot
};
typedef void (*db_progress)(void *arg, uint64_t done_bytes,
                            uint64_t total_bytes); // total 0: unknown
// pg_basebackup into `dir`.new, renamed to the data directory; a data directory that is there is
// kept as <dir>.<time>. Leaves it stopped, rendered by the caller's node/replication.
int db_copy_base(struct db_cluster *cluster, const struct db_source *source, db_progress progress,
                 void *arg, struct kt_error *error) KT_MUST_CHECK;
// pg_rewind of the stopped data directory; what was ahead (WAL from the fork on) is kept in
// node/aside-<time>. `fork_lsn` is where the two logs really part (by the rows): pg_rewind, which
// compares numbers of timelines, must not see it later. KT_ERR_CHILD when it cannot be rewound: a
// base backup then serves. Broken off, the directory is not started any more (KT_ERR_DIVERGED).
int db_copy_rewind(struct db_cluster *cluster, const struct db_source *source, uint64_t fork_lsn,
                   struct kt_error *error) KT_MUST_CHECK;

// --- admin_ca.c: what hangs on an older root of the CA ---
// Calls `each` for every client that is not revoked and has certificates that count, with the newest
// one of each TLS key, of which a client has several on several machines; those of one client come one
// behind the other. `client`: its id. What it returns but 0 ends the walk and is the result.
typedef int (*db_client_certificate)(void *arg, const char *client, const char *name,
                                     const char *pem);
int db_admin_client_certificates(struct db_admin *admin, db_client_certificate each, void *arg,
                                 struct kt_error *error) KT_MUST_CHECK;
// {"operators": [names without a certificate that this root has signed], "codes": so many auth codes
// that name another one could be used still, "receipt_keys": [{"id", "certificate"}]}. Those of which
// it is not on record are judged by whether they were made before `since_us`.
int db_admin_of_older_root(struct db_admin *admin, const uint8_t root_sha256[KT_SHA256_LEN],
                           int64_t since_us, json_t **found, struct kt_error *error) KT_MUST_CHECK;
// PostgreSQL asks for a certificate at the beginning of a session only, and each session is judged by
// the CA's file that was read before it began.
struct db_before {
    int64_t us;     // sessions that began earlier are of before; 0: there are none
    int pending_ms; // so long after that, connections of before may still become sessions
};
// PostgreSQL reads the CA's file again, which was changed at `changed_us`; returns when it has. There
// is nothing of before when it is stopped, or was started since. KT_ERR_TIMEOUT.
int db_reload_ca(struct db_cluster *cluster, int64_t changed_us, struct db_before *before,
                 struct kt_error *error) KT_MUST_CHECK;
// Ends all TLS sessions that began before `before_us`, whatever they have shown. *left: those that
// have not ended (yet).
int db_admin_end_before(struct db_admin *admin, int64_t before_us, uint32_t *ended, uint32_t *left,
                        struct kt_error *error) KT_MUST_CHECK;

#endif
