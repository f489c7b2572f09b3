// SPDX-License-Identifier: Apache-2.0
// The private PostgreSQL of a node: making it, starting and stopping it, its roles and schema.
#ifndef DB_CLUSTER_H
#define DB_CLUSTER_H

#include "lib/cluster_info.h"
#include "lib/formats.h"
#include "lib/paths.h"
#include "lib/peers.h"
#include "lib/secret.h"
#include "lib/settings.h"

// Database roles of the server's processes; the owner is the superuser `keytrustee` (peer).
#define DB_OWNER "keytrustee"
enum db_role { DB_ROLE_READER, DB_ROLE_WRITER, DB_ROLE_AGENT, DB_ROLE_COUNT };
const char *db_role_name(enum db_role role); // "kts_reader", "kts_writer", "kts_agent"
// A step of init: makes the role's secret, 32 random bytes as hex, in paths->secrets unless it is
// there. `*done` receives 1 when there was nothing to do.
int db_secret_make(const struct kt_paths *paths, enum db_role role, int *done,
                   struct kt_error *error) KT_MUST_CHECK;

// How to reach the private PostgreSQL. `password` NULL: peer authentication as the owner.
struct db_target {
    const char *socket_dir;
    int port;
    const char *database;
    const char *user;
    const char *password;
    const char *application_name;
};

// The role's secret, from paths->secrets. Fills `target`, whose password points into *secret.
int db_target_load(const struct kt_paths *paths, const struct kt_settings *settings,
                   enum db_role role, struct db_target *target, struct kt_secret **secret,
                   struct kt_error *error) KT_MUST_CHECK;

struct db_cluster; // paths, settings, the folder of PostgreSQL's programs
// Finds initdb, pg_ctl, postgres (setting, PATH, /usr/lib/postgresql/*/bin newest first) and checks
// the version: 15.13+, 16.9+, 17.5+ (earlier minors have a start-up race that skips the sync wait).
int db_cluster_open(const struct kt_paths *paths, const struct kt_settings *settings,
                    struct db_cluster **cluster, struct kt_error *error) KT_MUST_CHECK;
void db_cluster_close(struct db_cluster *cluster);
const char *db_cluster_bin(const struct db_cluster *cluster); // folder of PostgreSQL's programs
const char *db_cluster_dir(const struct db_cluster *cluster); // the data directory
// Looks at the data directory: *exists receives 1 when it is there and of this confdir's cluster, 0
// when it is missing or empty; KT_ERR_NOT_OURS says what was found instead.
int db_cluster_look(const struct db_cluster *cluster, int *exists,
                    struct kt_error *error) KT_MUST_CHECK;
// 1 when the data directory is made, ours, and has been populated: init need not start PostgreSQL.
int db_cluster_is_populated(const struct db_cluster *cluster);
// Checks that the managed files are as configure writes them: 0, or KT_ERR_UNSAFE_SETTINGS naming
// the first that is not.
int db_cluster_config_check(struct db_cluster *cluster, struct kt_error *error) KT_MUST_CHECK;
// The values that a running server uses for the settings that must be right: KT_ERR_UNSAFE_SETTINGS
// naming the first that is not. Asks as the agent.
int db_cluster_live_check(struct db_cluster *cluster, struct kt_error *error) KT_MUST_CHECK;

// Steps of init. Each looks first whether it is done, does it, and leaves a mark that survives a
// kill; each can be run again. `*done` receives 1 when there was nothing to do.
// 1. initdb with data checksums into a temporary folder, renamed when complete.
int db_cluster_initdb(struct db_cluster *cluster, int *done, struct kt_error *error) KT_MUST_CHECK;
// 2. postgresql.auto-managed settings (section 7 of the design), pg_hba.conf, pg_ident.conf.
int db_cluster_configure(struct db_cluster *cluster, int *done,
                         struct kt_error *error) KT_MUST_CHECK;
// 3. database, roles with their secrets, schema files in order, first rows (cluster, incarnation,
//    epoch 1 with no members, receipt key, node certificate, itself
//    among the nodes). The cluster must
//    be running.
struct db_first_rows {
    const struct kt_cluster_info *info;
    struct kt_incarnation incarnation;
    const char *member; // <node>.<8 hex>
    const char *receipt_cert_pem;
    uint8_t receipt_key_id[KT_KEY_ID_LEN];
    uint8_t node_cert_sha256[KT_SHA256_LEN];
    int64_t node_cert_not_after_us;
    const struct kt_peer *self; // its row in `nodes`, and its role
};
int db_cluster_populate(struct db_cluster *cluster, const struct db_first_rows *rows, int *done,
                        struct kt_error *error) KT_MUST_CHECK;

enum db_run_state { DB_STOPPED, DB_STARTING, DB_RUNNING, DB_STOPPING };
int db_cluster_state(struct db_cluster *cluster, enum db_run_state *state, long *pid,
                     struct kt_error *error) KT_MUST_CHECK;
// pg_ctl start / fast stop, waiting for the result up to `timeout_s`. Starting a running one or
// stopping a stopped one is success.
int db_cluster_start(struct db_cluster *cluster, int timeout_s,
                     struct kt_error *error) KT_MUST_CHECK;
int db_cluster_stop(struct db_cluster *cluster, int timeout_s,
                    struct kt_error *error) KT_MUST_CHECK;
// Becomes postgres in the foreground (execv; only returns on failure): for the systemd unit.
int db_cluster_exec(struct db_cluster *cluster, struct kt_error *error);

// Refuses to go on when the schema is newer than this program, or when a file of it was edited.
// As owner; applies missing schema files in order, each in a transaction, under an advisory lock.
int db_schema_apply(const struct db_target *owner, const char *schema_dir, int *applied,
                    struct kt_error *error) KT_MUST_CHECK;
// The folder of schema files: KEYTRUSTEE_SCHEMA_DIR, beside the
// program (../share/...), compiled in.
int db_schema_dir(char *out, size_t size, struct kt_error *error) KT_MUST_CHECK;

#endif
