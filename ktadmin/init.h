// SPDX-License-Identifier: Apache-2.0
// The steps of init. Each looks first whether it is done, so that a killed run can be repeated.
#ifndef KTA_INIT_H
#define KTA_INIT_H

#include "db/cluster.h"
#include "ktadmin/common.h"
#include "lib/cluster_info.h"
#include "lib/formats.h"

// In the confdir while a join, a restore has not finished.
#define KTA_JOIN_NOTE    "join.json"
#define KTA_RESTORE_NOTE "restore.json"

struct kta_init {
    const struct kt_cli_run *run;
    struct kt_paths paths;
    struct kt_settings *settings;
    struct kt_cluster_info info; // id and node from the third step on, fingerprint later
    struct kt_promise promise;   // fixes member and incarnation before the database has them
    struct db_cluster *cluster;
    char node[KT_NODE_NAME_MAX + 1]; // asked for with --node, or derived from the host's name
    int lock_fd;
    // join and restore use these steps: their own note of an unfinished run; NULL: init
    const char *note;
};

// --- init_prepare.c: before anything is touched ---
// Resolves paths, becomes the service account, checks names, lengths, PostgreSQL, and that nothing
// stands in the way that init did not make.
int kta_init_prepare(struct kta_init *init, struct kt_error *error) KT_MUST_CHECK;
// Sockets of PostgreSQL, the agent and GnuPG must fit, and PostgreSQL must be able to name them.
int kta_init_check_paths(const struct kt_paths *paths, struct kt_error *error) KT_MUST_CHECK;
// A node's name from a host's: "KTS01.example.com" gives "kts01"; "kts-01" when nothing is left.
void kta_init_node_name(const char *host, char node[KT_NODE_NAME_MAX + 1]);

// --- init_identity.c ---
int kta_init_folders(struct kta_init *init, int *done, struct kt_error *error);
int kta_init_settings(struct kta_init *init, int *done, struct kt_error *error);
int kta_init_names(struct kta_init *init, int *done, struct kt_error *error);
int kta_init_promise(struct kta_init *init, int *done, struct kt_error *error);
// node/peers.json with the node itself, and node/replication: active without members.
int kta_init_node_files(struct kta_init *init, int *done, struct kt_error *error);
int kta_init_cluster_info(struct kta_init *init, int *done, struct kt_error *error);
// Removes what only a repeated run needs.
int kta_init_finish(struct kta_init *init, struct kt_error *error) KT_MUST_CHECK;
// Takes the confdir's lock, as the folders' step does; given up by the other.
int kta_init_lock(struct kta_init *init, struct kt_error *error) KT_MUST_CHECK;
void kta_init_unlock(struct kta_init *init);
// confdir/init.json: cluster id and node of a run that has not finished.
int kta_init_state_load(const struct kt_paths *paths, struct kt_cluster_info *info,
                        struct kt_error *error) KT_MUST_CHECK;

// --- init_keys.c ---
int kta_init_ca(struct kta_init *init, int *done, struct kt_error *error);
int kta_init_server(struct kta_init *init, int *done, struct kt_error *error);
int kta_init_node(struct kta_init *init, int *done, struct kt_error *error);
int kta_init_receipt(struct kta_init *init, int *done, struct kt_error *error);
int kta_init_openpgp(struct kta_init *init, int *done, struct kt_error *error);
// The key is the certificate's, and the certificate is signed by the cluster's CA.
int kta_init_check_pair(const struct kt_paths *paths, const char *key_path, const char *cert_path,
                        struct kt_error *error) KT_MUST_CHECK;

// --- init_database.c ---
int kta_init_secrets(struct kta_init *init, int *done, struct kt_error *error);
int kta_init_initdb(struct kta_init *init, int *done, struct kt_error *error);
int kta_init_configure(struct kta_init *init, int *done, struct kt_error *error);
// Starts PostgreSQL, unless it runs, fills the database and stops it again.
int kta_init_populate(struct kta_init *init, int *done, struct kt_error *error);

#endif
