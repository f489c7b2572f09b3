// SPDX-License-Identifier: Apache-2.0
// Failover as a walk over a table of steps (design section 7; docs/failover.md has the table).
#ifndef KTA_FAILOVER_H
#define KTA_FAILOVER_H

#include "ktadmin/nodes.h"
#include "lib/rules.h"

enum kta_place {
    KTA_START,
    KTA_SEEN,
    KTA_CHOSEN,
    KTA_SEALED,
    KTA_CAUGHT_UP,
    KTA_PROVEN,
    KTA_PROMOTED,
    KTA_FOLLOWED,
    KTA_ESTABLISHED,
};
const char *kta_place_name(enum kta_place place);

#define KTA_PROVED_MAX 3072

// An attempt: what is asked for, and what has been found. Zeroed, then the first part is filled.
struct kta_failover {
    struct kta_nodes *nodes;
    const char *to;      // T: node name or member id; NULL = the only possible one
    const char *members; // other list of members, "kts-01,kts-03"; NULL = the default
    uint64_t w;          // of that list; 0 = as before
    const char
        *newcomer;     // member id that is to take the place of nodes that do not answer, or NULL
    int accept_loss;   // an unproven attempt goes on; the row says so for ever
    const char *by;    // who asked, for that note
    int rejoin;        // diverged nodes are made to rejoin
    const char *first; // member that is sealed before the others: an active that is to send T all
    enum kta_place until;                                                      // where to stop
    void (*say)(void *arg, enum kta_place to, const char *proved, int64_t us); // after each step
    void *say_arg;

    enum kta_place at;
    struct kt_incarnation incarnation;
    uint64_t epoch;
    size_t target;                          // T's index in the nodes
    struct kt_report reports[KT_PEERS_MAX]; // of sealed nodes, T's among them
    size_t report_node[KT_PEERS_MAX], report_count;
    struct kt_epoch_row row; // the row to be
    struct kta_round *round; // of node.follow, until all have answered
    struct kta_answer followers[KT_PEERS_MAX];
    size_t follower_count;
    int is_established;
    int is_open;                   // and its writer takes changes
    struct kt_error unestablished; // why not
    char proved[KTA_PROVED_MAX];   // by the step that ran last
    char notes[KTA_PROVED_MAX];    // what is left to do, a line each
};

// Walks from where it is to `until`. 0, also when the row could not be established for want of
// members (is_established tells). Whatever the result, kta_failover_free.
int kta_failover_walk(struct kta_failover *failover, struct kt_error *error) KT_MUST_CHECK;
// Waits for nodes that were told to follow, and makes notes of those that do not.
void kta_failover_settle(struct kta_failover *failover);
void kta_failover_free(struct kta_failover *failover);
// The table, for people and for docs/failover.md.
void kta_failover_explain(FILE *out);

// --- the steps, each of a function: what it found goes into `proved` ---
int kta_step_see(struct kta_failover *failover, struct kt_error *error);       // failover_see.c
int kta_step_choose(struct kta_failover *failover, struct kt_error *error);    // failover_see.c
int kta_step_seal(struct kta_failover *failover, struct kt_error *error);      // failover_seal.c
int kta_step_catch_up(struct kta_failover *failover, struct kt_error *error);  // failover_seal.c
int kta_step_prove(struct kta_failover *failover, struct kt_error *error);     // failover_prove.c
int kta_step_promote(struct kta_failover *failover, struct kt_error *error);   // failover_lead.c
int kta_step_follow(struct kta_failover *failover, struct kt_error *error);    // failover_lead.c
int kta_step_establish(struct kta_failover *failover, struct kt_error *error); // failover_lead.c

// What the proof of T would say if all nodes that answer were sealed now, with the default list. 0
// as well when T does not tell its rows: then the walk has to find out (status_proofs.c).
int kta_forecast(struct kta_nodes *nodes, size_t target, struct kt_error *error) KT_MUST_CHECK;

// --- shared by the steps ---
// Adds to a text of `size` bytes; what does not fit is cut.
void kta_append(char *text, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// {"incarnation", "epoch"} of the attempt; the caller adds the rest. NULL = no memory.
json_t *kta_failover_args(const struct kta_failover *failover);
const char *kta_failover_target(const struct kta_failover *failover); // T's node name
// The attempt as the rules want it.
struct kt_attempt kta_failover_attempt(const struct kta_failover *failover);

// --- cmd_failover.c, for commands that walk as part of their work ---
struct kta_walk_report {
    const struct kt_cli_run *run;
    json_t *steps; // with --json
    int64_t begun_us;
};
// Prints each step as it is done; with --json keeps it.
void kta_walk_say(void *arg, enum kta_place to, const char *proved, int64_t us);
// The end: notes, and with --json everything. The exit code.
int kta_walk_end(struct kta_walk_report *report, struct kta_failover *failover, int rc,
                 const struct kt_error *error);

#endif
