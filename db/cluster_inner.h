// SPDX-License-Identifier: Apache-2.0
// What the files of cluster control share: the opened cluster and the mark in its data directory.
#ifndef DB_CLUSTER_INNER_H
#define DB_CLUSTER_INNER_H

#include "db/cluster.h"
#include "lib/buf.h"

#define DB_MARK_FILE     "keytrustee.json"
#define DB_SETTINGS_FILE "keytrustee.conf"
// What PostgreSQL is to be (db/replication.h), included last by the settings file.
#define DB_REPLICATION_FILE "keytrustee.replication.conf"

struct db_cluster {
    const struct kt_paths *paths;
    const struct kt_settings *settings;
    char dir[KT_PATH_MAX]; // the data directory
    char bin[KT_PATH_MAX]; // folder of PostgreSQL's programs
    int major, minor;
};

// The number that a text begins with ("15" of "15\n", "9" of "9.6"), 1 to INT_MAX; 0 when it begins
// with none, or with one that is larger or has leading zeros.
int db_leading_number(const char *text);
// Reads "postgres (PostgreSQL) 15.18 (...)" and checks that the release is one we can rely on.
// KT_ERR_INVALID when it is something else, KT_ERR_UNSAFE_SETTINGS when it is too old; both with
// words in `error`.
int db_version_check(const char *line, int *major, int *minor,
                     struct kt_error *error) KT_MUST_CHECK;

// The mark file in a data directory (or beside one in the making): that we made it, for whom.
struct db_mark {
    struct kt_uuid cluster_id;
    int populated; // roles, schema and first rows are in
};
// KT_ERR_NOT_FOUND when there is none.
int db_mark_load(const char *dir, struct db_mark *mark, struct kt_error *error) KT_MUST_CHECK;
int db_mark_save(const char *dir, const struct db_mark *mark, struct kt_error *error) KT_MUST_CHECK;
// 0 when the data directory exists, was made by us and belongs to this confdir's cluster;
// KT_ERR_NOT_FOUND when it is missing or empty; KT_ERR_NOT_OURS with what was found.
int db_cluster_check_ours(const struct db_cluster *cluster, struct db_mark *mark,
                          struct kt_error *error) KT_MUST_CHECK;

// --- a data directory in the making (cluster_init.c) ---
// partial/keytrustee.json says that the folder is ours; initdb and pg_basebackup want an empty one:
// `data` in it. That has a name of its own in each run: an initdb whose caller was killed removes
// its folder when it fails, and must not find ours.
int db_partial_begin(const struct db_cluster *cluster, const char *partial, struct db_mark *mark,
                     char *data, size_t size, struct kt_error *error) KT_MUST_CHECK;
// `data` becomes the data directory, which must be missing or empty.
int db_partial_finish(const struct db_cluster *cluster, const char *partial, const char *data,
                      struct kt_error *error) KT_MUST_CHECK;
// A folder that a killed run left behind goes away; one that we did not make stays, and stops us.
int db_partial_clear(const char *partial, struct kt_error *error) KT_MUST_CHECK;

// Text of the managed files, appended to `out`; KT_ERR_INVALID for paths that PostgreSQL's settings
// cannot hold.
int db_config_settings(const struct db_cluster *cluster, const char *node, struct kt_buf *out,
                       struct kt_error *error) KT_MUST_CHECK;
int db_config_hba(const char *database, struct kt_buf *out) KT_MUST_CHECK;
int db_config_ident(const char *account, struct kt_buf *out) KT_MUST_CHECK;
// Appends `text` as a quoted value of postgresql.conf (quotes doubled). KT_ERR_INVALID for control
// characters and backslashes.
int db_config_quote(const char *text, struct kt_buf *out) KT_MUST_CHECK;

// --- what populates a database (cluster_populate.c), for restoring one ---
typedef struct pg_conn PGconn;
// Held by whoever populates ("ktpo"). The session of a killed run holds it until its last statement
// has come to its end.
#define DB_POPULATE_LOCK "SELECT pg_advisory_lock(1802793071)"
// A role without its secret, as SQL: made unless it is there, its attributes and settings.
int db_role_statements(enum db_role role, struct kt_buf *out) KT_MUST_CHECK;
// The roles with the confdir's secrets. On the database "postgres", outside of a transaction.
int db_make_roles(struct db_cluster *cluster, PGconn *conn, struct kt_error *error) KT_MUST_CHECK;
// CREATE DATABASE unless it is there, and who may connect to it. The roles must be there.
int db_make_database(PGconn *conn, const char *name, struct kt_error *error) KT_MUST_CHECK;
// The node's row in `nodes`, and its role, which a killed run may have left.
int db_insert_self(PGconn *conn, const struct kt_peer *self, struct kt_error *error) KT_MUST_CHECK;
// The data directory's mark, last.
int db_mark_populated(const struct db_cluster *cluster, struct kt_error *error) KT_MUST_CHECK;
// The text of one schema file, which the caller frees, and its hash. KT_ERR_NOT_FOUND.
int db_schema_text(const char *dir, int version, char **text, char sha256[KT_SHA256_TEXT],
                   struct kt_error *error) KT_MUST_CHECK;
// Applies one schema file and records it, in the transaction that is open on `conn`.
int db_schema_add(PGconn *conn, const char *dir, int version, struct kt_error *error) KT_MUST_CHECK;
// The folder of PostgreSQL's programs: `given`, or NULL to look for it as db_cluster_open does.
int db_find_programs(const char *given, char out[KT_PATH_MAX],
                     struct kt_error *error) KT_MUST_CHECK;

// The owner's way in, by peer authentication.
void db_target_owner(const struct kt_paths *paths, const struct kt_settings *settings,
                     const char *database, struct db_target *target);

#endif
