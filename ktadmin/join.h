// SPDX-License-Identifier: Apache-2.0
// The steps of join. Each looks first whether it is done, so that a killed run can be repeated.
#ifndef KTA_JOIN_H
#define KTA_JOIN_H

#include "ktadmin/failover.h"
#include "ktadmin/init.h"

struct kta_join {
    struct kta_init base; // paths, settings, cluster's identity, account, lock: as init has them
    struct kt_join_token token;
    const char *token_text;
    int restores;            // the token's node may have to be promoted first
    struct kt_peer self;     // member id, address and ports of the newcomer
    json_t *state;           // confdir/join.json
    struct kta_nodes *nodes; // opened once there is a certificate
    size_t active;           // index: whose data is copied
    struct kta_walk_report walk;
    char by[64];
};

// --- join_prepare.c ---
// Options, token, account, and what stands in the way.
int kta_join_prepare(struct kta_join *join, struct kt_error *error) KT_MUST_CHECK;
void kta_join_free(struct kta_join *join);
int kta_join_names(struct kta_join *join, int *done, struct kt_error *error);
int kta_join_node_key(struct kta_join *join, int *done, struct kt_error *error);
// Writes confdir/join.json.
int kta_join_state_save(struct kta_join *join, struct kt_error *error) KT_MUST_CHECK;

// --- join_admit.c: the token is used ---
int kta_join_admit(struct kta_join *join, int *done, struct kt_error *error);
int kta_join_server(struct kta_join *join, int *done, struct kt_error *error);
int kta_join_identity(struct kta_join *join, int *done, struct kt_error *error);

// --- join_lead.c: somebody must be there to be followed ---
// Finds the active. An unestablished one, or with restore --from the token's node when the active
// is lost, is promoted anew with the newcomer in its list.
int kta_join_lead(struct kta_join *join, int *done, struct kt_error *error);

// --- join_copy.c ---
int kta_join_copy(struct kta_join *join, int *done, struct kt_error *error);
int kta_join_promise(struct kta_join *join, int *done, struct kt_error *error);
int kta_join_ask(struct kta_join *join, int *done, struct kt_error *error);

// --- cmd_join.c ---
// All steps. On success the node's name is in join->base.info.node.
int kta_join_run(struct kta_join *join, struct kt_error *error) KT_MUST_CHECK;
// The command from the token on, which is overwritten in main's argv (NULL: --token-file); `after`
// (may be NULL) runs when the node is made, and started with --start. The exit code.
int kta_join_command(struct kt_cli_run *run, const char *token_argument, int restores,
                     int (*after)(struct kta_join *join, struct kt_error *error));
// Options of commands that make a node: rows of their tables.
#define KTA_JOIN_OPTIONS                                                                           \
    {"token-file", 0, "FILE", "file with the token, which others cannot read; - standard input"},  \
        {"node", 0, "NAME", "name of this node: [a-z][a-z0-9-]{0,15} (from the host's name)"},     \
        {"address", 0, "ADDRESS", "address that the services listen on (0.0.0.0)"},                \
        {"advertise", 0, "HOST",                                                                   \
         "where other nodes and clients reach this one (--address, or the "                        \
         "address from which the token's node is reached)"},                                       \
        {"port", 0, "PORT", "port of the HTTPS service (11371)"},                                  \
        {"agent-port", 0, "PORT", "port for other nodes and operators (11372)"},                   \
        {"database-port", 0, "PORT", "port of PostgreSQL (11381)"},                                \
        {"external-name", 0, "NAME",                                                               \
         "further host name or address in the server certificate; repeatable"},                    \
        {"pg-rootdir", 0, "DIR", "PostgreSQL's data directory (db beside the confdir)"},           \
    {                                                                                              \
        "start", 0, NULL, "start server and database in the background at the end"                 \
    }

#endif
