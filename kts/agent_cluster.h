// SPDX-License-Identifier: Apache-2.0
// The steps of the failover protocol on one node (docs/failover.md has the rules by number): what
// the files that carry them out share. All but the two inline verbs run in jobs (kts/agent_job.h).
#ifndef KTS_AGENT_CLUSTER_H
#define KTS_AGENT_CLUSTER_H

#include "db/replication.h"
#include "kts/agent_job.h"

// Limits of what a step waits for, in milliseconds.
#define KTS_ADMIN_MS   3000
#define KTS_APPLY_MS   5000
#define KTS_SEAL_MS    60000
#define KTS_START_MS   120000
#define KTS_STOP_S     60
#define KTS_CONNECT_MS 1000
#define KTS_ASK_MS     5000

// --- this node, in a job (agent_cluster_local.c) ---
struct kts_local {
    struct kts_job *job;
    const struct kt_paths *paths;
    const char *node; // its name
    struct kt_promise promise;
    struct kt_peers peers;
    struct db_cluster *cluster;
    struct db_admin *admin; // NULL: not connected
};

// Loads promise and peers. KT_ERR_NOT_MEMBER without a promise, KT_ERR_RETIRED when it was retired.
int kts_local_open(struct kts_job *job, struct kts_local *local,
                   struct kt_error *error) KT_MUST_CHECK;
void kts_local_close(struct kts_local *local);
// Makes `promise` this node's, durably.
int kts_local_promise(struct kts_local *local, const struct kt_promise *promise,
                      struct kt_error *error) KT_MUST_CHECK;
// Whether the promise is exactly (incarnation, epoch, node).
int kts_local_has_promised(const struct kts_local *local, const struct kt_incarnation *incarnation,
                           uint64_t epoch, const char *node);
// 1 when PostgreSQL takes connections.
int kts_local_is_running(struct kts_local *local);
// Connects, when it is not. KT_ERR_DATABASE_UNAVAILABLE when PostgreSQL is down.
int kts_local_connect(struct kts_local *local, struct kt_error *error) KT_MUST_CHECK;
// 1 when `ktadmin db --start` runs, which starts PostgreSQL again when the agent lets it.
int kts_local_is_supervised(struct kts_local *local);
// Stops PostgreSQL; whoever runs it starts it again when asked to (kts_local_start).
int kts_local_stop(struct kts_local *local, struct kt_error *error) KT_MUST_CHECK;
// The same with SEALED as its mode from then on.
int kts_local_stop_sealed(struct kts_local *local, struct kt_error *error) KT_MUST_CHECK;
// Starts it as node/replication says, through `ktadmin db --start` where that runs, and connects.
int kts_local_start(struct kts_local *local, struct kt_error *error) KT_MUST_CHECK;
// Position, where start_lsn is the place at which the log left the timeline of the newest of its
// `rows`, 0 when it did not (lib/rules.h).
int kts_local_end(struct kts_local *local, const struct kt_epoch_rows *rows,
                  struct db_position *position, struct kt_error *error) KT_MUST_CHECK;
// Whatever it was: a standby without upstream that has replayed all it has, connected. The promise
// must stand before.
int kts_local_seal(struct kts_local *local, struct kt_error *error) KT_MUST_CHECK;
// 1 when this PostgreSQL was sealed by kts_local_seal, and nothing has changed that since. Spares
// the next step the waiting; a report is never made by it.
int kts_local_was_sealed(struct kts_local *local);
// What PostgreSQL is to be: node/replication with this node's name and member filled in.
int kts_local_apply(struct kts_local *local, const struct db_replication *replication,
                    struct kt_error *error) KT_MUST_CHECK;
// The same for a stopped PostgreSQL: it holds from its next start on.
int kts_local_save_mode(struct kts_local *local, const struct db_replication *replication,
                        struct kt_error *error) KT_MUST_CHECK;
// The replication of an active: names of the row, `read_only` as long as it is not established.
int kts_replication_active(const struct kts_local *local, const struct kt_epoch_row *row,
                           int read_only, struct db_replication *replication,
                           struct kt_error *error) KT_MUST_CHECK;
// Waits a few milliseconds, between two looks at a condition.
void kts_breath(void);

// The file in run/ that stands while a job has stopped PostgreSQL and wants it back: at once, or
// when the job is done with what it does to the data directory.
#define KTS_AGAIN_START "start\n"
#define KTS_AGAIN_WAIT  "wait\n"
int kts_again_path(const struct kt_paths *paths, char out[KT_PATH_MAX]) KT_MUST_CHECK;
// Held by `ktadmin db --start` as long as it runs PostgreSQL.
int kts_database_lock_path(const struct kt_paths *paths, char out[KT_PATH_MAX]) KT_MUST_CHECK;

// --- the row that a promoted node is to write when W members stream (agent_cluster_pending.c) ---
int kts_pending_row_load(const struct kt_paths *paths, struct kt_epoch_row *row,
                         struct kt_error *error) KT_MUST_CHECK; // KT_ERR_NOT_FOUND
int kts_pending_row_save(const struct kt_paths *paths, const struct kt_epoch_row *row,
                         struct kt_error *error) KT_MUST_CHECK;
int kts_pending_row_remove(const struct kt_paths *paths, struct kt_error *error) KT_MUST_CHECK;
// 1 when this node was promoted in the epoch of its promise, or was its active from the
// first: the row of exactly that epoch stands in the log, or waits to be written (saved
// by node.promote only, from a sealed standby). A primary of an older epoch that was
// merely asked to seal for itself is not.
int kts_local_is_promoted(const struct kts_local *local, const struct kt_epoch_rows *rows,
                          int in_recovery);

// --- arguments of verbs (agent_cluster_args.c) ---
// {"incarnation", "epoch"}
int kts_args_epoch(const json_t *args, struct kt_incarnation *incarnation, uint64_t *epoch,
                   struct kt_error *error) KT_MUST_CHECK;
int kts_args_node(const json_t *args, const char *name, const char **node,
                  struct kt_error *error) KT_MUST_CHECK;
int kts_args_member(const json_t *args, const char *name, int required, const char **member,
                    struct kt_error *error) KT_MUST_CHECK;
int kts_json_lsn(const json_t *object, const char *name, uint64_t *lsn,
                 struct kt_error *error) KT_MUST_CHECK;
void kts_json_set_lsn(json_t *object, const char *name, uint64_t lsn);
void kts_json_set_incarnation(json_t *object, const char *name,
                              const struct kt_incarnation *incarnation);

// --- other nodes (agent_cluster_remote.c) ---
// Asks the agent of `member`. `args` is stolen.
int kts_remote_ask(struct kts_local *local, const struct kt_peer *peer, const char *verb,
                   json_t *args, int timeout_ms, json_t **result,
                   struct kt_error *error) KT_MUST_CHECK;
// What node.rows of another node says.
struct kts_upstream {
    struct kt_peer peer;
    struct kt_promise promise; // its incarnation, epoch and active
    struct kt_epoch_rows rows;
    struct db_position position;
    int is_promoted; // as it says itself (kts_local_is_promoted)
    json_t *members; // of its newest row, or of the row it is to write
};
int kts_upstream_ask(struct kts_local *local, const char *member, struct kts_upstream *upstream,
                     struct kt_error *error) KT_MUST_CHECK;
void kts_upstream_free(struct kts_upstream *upstream);
// 1: it runs as the promoted active of its own promise.
int kts_upstream_is_promoted(const struct kts_upstream *upstream);

// --- parts of steps that other steps use ---
// Follows (agent_cluster_follow.c): sealed or not, the promise is made, the logs compared.
int kts_follow(struct kts_local *local, const struct kts_upstream *upstream,
               struct kt_error *error) KT_MUST_CHECK;
// Streams from `upstream` under its epoch's name from now on; starts PostgreSQL when it is down.
int kts_follow_attach(struct kts_local *local, const struct kts_upstream *upstream,
                      struct kt_error *error) KT_MUST_CHECK;
// Waits until the receiver streams. 0, or KT_ERR_TIMEOUT.
int kts_wait_streaming(struct kts_local *local, int timeout_ms,
                       struct kt_error *error) KT_MUST_CHECK;
// The same, and that it goes on doing so for a second: the active may not have the log any more
// that this node needs. 0, or KT_ERR_TIMEOUT.
int kts_wait_steady(struct kts_local *local, int timeout_ms, struct kt_error *error) KT_MUST_CHECK;
// Writes the row of this epoch, or finishes it when it is there, and opens for writing
// (agent_cluster_establish.c). On success *row is the one in force.
int kts_establish(struct kts_local *local, const struct kt_epoch_row *wanted, int wait_ms,
                  struct kt_epoch_row *row, struct kt_error *error) KT_MUST_CHECK;
// Waits until the writer takes changes, at most 5 s. The answer's "writer": "open" or "closed".
const char *kts_wait_writer(struct kts_local *local);
// Rule 12 after a kill (agent_cluster_settle.c): when the names in force are not those of the
// newest row, the change is finished or undone. *row receives the newest row.
int kts_member_settle(struct kts_local *local, struct kt_epoch_row *row,
                      struct kt_error *error) KT_MUST_CHECK;
// Writes the newest row once more where rule 12 wants that; *row receives the newest one.
int kts_member_repeat(struct kts_local *local, struct kt_epoch_row *row,
                      struct kt_error *error) KT_MUST_CHECK;

// --- verbs ---
kts_job_function kts_job_node_seal, kts_job_node_catch_up, kts_job_node_promote,
    kts_job_node_follow, kts_job_node_rows, kts_job_node_establish, kts_job_node_rejoin,
    kts_job_member_add, kts_job_member_remove, kts_job_member_w, kts_job_member_floor,
    kts_job_member_settle, kts_job_member_ask, kts_job_strangers;
kts_verb_function kts_run_node_state, kts_run_start_allowed;

#endif
