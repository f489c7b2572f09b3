// SPDX-License-Identifier: Apache-2.0
// The nodes of a cluster as a command sees them: found through this node's files or an operator's
// bundle, and asked all at the same time.
#ifndef KTA_NODES_H
#define KTA_NODES_H

#include "ktadmin/common.h"
#include "lib/epoch.h"
#include "lib/node_call.h"
#include "lib/peers.h"

#define KTA_CONNECT_MS 300  // a node that is there answers a connection at once
#define KTA_STATE_MS   1000 // node.state never waits for a database

struct kta_member {
    struct kt_peer peer; // member "" until it has said who it is
    char name[KT_NODE_NAME_MAX + 1];
    int is_local;          // asked through the unix socket
    struct kt_node *node;  // NULL with a `call` of a test
    json_t *state;         // its last node.state; NULL: it did not answer
    struct kt_error error; // why not
    int is_removed;        // another node says so
};

struct kta_nodes {
    struct kta_member list[KT_PEERS_MAX];
    size_t count;
    struct kta_node own;       // this node's files; empty with a bundle
    struct kt_promise oath;    // this node's promise; member "" without one
    char skip[KT_MEMBER_TEXT]; // a member that is never asked: a newcomer does not ask itself
    char bundle[KT_PATH_MAX];  // the operator's file, or ""
    struct kt_node_credentials credentials;
    // Asks list[i]; kt_node_call, unless a test has put another here. Called by several threads,
    // for different nodes. `args` is stolen.
    int (*call)(void *arg, struct kta_member *member, const char *verb, json_t *args,
                int timeout_ms, json_t **result, struct kt_error *error);
    void *call_arg;
};

// Options of every command that asks other nodes: rows of its table.
#define KTA_OPERATOR_OPTIONS                                                                       \
    {"operator", 0, "FILE", "ask as an operator from elsewhere: bundle of 'operator new'"},        \
    {                                                                                              \
        "server", 0, "HOST",                                                                       \
            "with --operator: a node to begin with, HOST or HOST:PORT; "                           \
            "repeatable"                                                                           \
    }

// Finds them: this node's agent by its socket and those of node/peers.json with this node's
// certificate, or with --operator those that the bundle or --server names. Asks nobody yet.
int kta_nodes_open(const struct kt_cli_run *run, struct kta_nodes *nodes,
                   struct kt_error *error) KT_MUST_CHECK;
// The same as the operator of that bundle.
int kta_nodes_open_bundle(const struct kt_cli_run *run, const char *bundle, struct kta_nodes *nodes,
                          struct kt_error *error) KT_MUST_CHECK;
// The same for a newcomer, whose files are there but whose agent is not; it is left out.
int kta_nodes_open_paths(const struct kt_paths *paths, const char *member, struct kta_nodes *nodes,
                         struct kt_error *error) KT_MUST_CHECK;
void kta_nodes_close(struct kta_nodes *nodes);
// The node was there and does not let the caller in: certificate unknown, revoked, expired.
int kta_member_refuses(const struct kta_member *member);
// Adds one unless it is known; it is asked at `host`. Index, or negative when the list is full.
int kta_nodes_add(struct kta_nodes *nodes, const struct kt_peer *peer, struct kt_error *error);

// Asks all for node.state, also those that an answer makes known. KT_ERR_NETWORK when none
// answered, with why of the first.
int kta_nodes_look(struct kta_nodes *nodes, struct kt_error *error) KT_MUST_CHECK;
// Asks one again. Its state is NULL when it does not answer.
void kta_nodes_look_at(struct kta_nodes *nodes, size_t i);
// By node name or member id; -1 when there is none.
int kta_nodes_find(const struct kta_nodes *nodes, const char *name);
size_t kta_nodes_reachable(const struct kta_nodes *nodes);
// The node that is the active of the highest (incarnation, epoch): by the roles active, standalone
// and unestablished. KT_ERR_NOT_FOUND with what to do.
int kta_nodes_active(const struct kta_nodes *nodes, size_t *index,
                     struct kt_error *error) KT_MUST_CHECK;
// Opens, looks at all nodes and finds that one. Closed by the caller, also after an error.
int kta_nodes_open_active(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t *index,
                          struct kt_error *error) KT_MUST_CHECK;

// --- what a node said of itself; "" and 0 when it did not ---
const char *kta_state_text(const struct kta_member *member, const char *name);
uint64_t kta_state_number(const struct kta_member *member, const char *name);
int kta_state_lsn(const struct kta_member *member, const char *name, uint64_t *lsn);
// Its promise, as far as node.state tells.
int kta_state_promise(const struct kta_member *member, struct kt_promise *promise) KT_MUST_CHECK;
// The newest row in its log. KT_ERR_NOT_FOUND when it has none or did not say.
int kta_state_row(const struct kta_member *member, struct kt_epoch_row *row) KT_MUST_CHECK;
// The list that it goes by: the row that it is to write, else the newest.
int kta_state_list(const struct kta_member *member, struct kt_epoch_row *row) KT_MUST_CHECK;

// For commands of one question: this node's agent, or with --operator the first server that
// answers. On failure prints it and returns the exit code. `args` is stolen.
int kta_ask_either(const struct kt_cli_run *run, const char *verb, json_t *args,
                   json_t **result) KT_MUST_CHECK;

// --- asking ---
struct kta_answer {
    size_t node; // index in the list, set by the caller
    int is_done; // set under the round's lock
    int rc;
    json_t *result;
    struct kt_error error;
};
// One node. `args` is stolen.
int kta_nodes_call(struct kta_nodes *nodes, size_t i, const char *verb, json_t *args,
                   int timeout_ms, json_t **result, struct kt_error *error) KT_MUST_CHECK;
// The same, asked again for a while when the node is at work on something else: on what its agent
// does by itself, or on another order.
int kta_nodes_call_when_free(struct kta_nodes *nodes, size_t i, const char *verb, json_t *args,
                             int timeout_ms, json_t **result, struct kt_error *error) KT_MUST_CHECK;
// The same question to the nodes of `answers`, at the same time; returns when all have answered.
void kta_nodes_ask(struct kta_nodes *nodes, const char *verb, const json_t *args, int timeout_ms,
                   struct kta_answer *answers, size_t count);
void kta_answers_free(struct kta_answer *answers, size_t count);

// The same in two halves, for what need not wait for the last one. Between them the nodes that have
// not answered must not be asked anything else.
struct kta_round;
struct kta_round *kta_round_begin(struct kta_nodes *nodes, const char *verb, const json_t *args,
                                  int timeout_ms, struct kta_answer *answers, size_t count);
// Until `enough` says so of the answers that are there (called with
// the lock held), or all are there.
void kta_round_wait(struct kta_round *round, int (*enough)(void *arg), void *arg);
int kta_round_is_done(struct kta_round *round);
// Waits for the rest. NULL is fine.
void kta_round_end(struct kta_round *round);

void kta_pause_ms(int ms);

#endif
