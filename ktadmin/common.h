// SPDX-License-Identifier: Apache-2.0
// What the commands of ktadmin share: finding the node, asking its agent, printing answers.
#ifndef KTA_COMMON_H
#define KTA_COMMON_H

#include <jansson.h>

#include "lib/cli.h"
#include "lib/encode.h"
#include "lib/paths.h"
#include "lib/settings.h"

// The account of packaged installations; init makes the default place its own.
#define KTA_ACCOUNT    "keytrustee"
#define KTA_TIMEOUT_MS 30000 // for an answer of the agent: a change waits for the writer's deadline

// Exit codes of commands that look at a whole cluster, beside those of lib/cli.h (ktadmin(8)).
enum kta_exit {
    KTA_EXIT_DEGRADED = 8,  // it serves, and something wants attention: a node missing, lag, ...
    KTA_EXIT_NO_WRITES = 9, // reads go on, changes are refused
    KTA_EXIT_DOWN = 10,     // no node serves
};

// A node as a command sees it.
struct kta_node {
    struct kt_paths paths;
    struct kt_settings *settings; // NULL for commands that only ask the agent
};

enum kta_use {
    // Asks the agent only. Stays who called it, so that the agent records who that was.
    KTA_AGENT,
    // Reads or changes files: becomes the owner of the confdir when called by root, and loads the
    // settings.
    KTA_FILES,
};
// Finds the node of --confdir. KT_ERR_NOT_INITIALISED when there is none, KT_ERR_PERMISSION when
// the caller is neither root nor the owner.
int kta_open(const struct kt_cli_run *run, enum kta_use use, struct kta_node *node,
             struct kt_error *error) KT_MUST_CHECK;
void kta_close(struct kta_node *node);

// Opens the node for KTA_AGENT and asks. `args` is stolen and may be NULL. On failure prints it and
// returns the exit code; 0 with a new reference in *result.
int kta_ask(const struct kt_cli_run *run, const char *verb, json_t *args,
            json_t **result) KT_MUST_CHECK;
// As kta_ask, and prints `done` (a sentence, not with --quiet), or with --json the answer. Of a change
// that the other nodes were waited for with, it also says which have it, and warns of those that do
// not.
int kta_change(const struct kt_cli_run *run, const char *verb, json_t *args, const char *done);

// Who called, for records that outlive the command: "alice" under sudo, else the account. To be
// asked before kta_open with KTA_FILES.
void kta_caller(char *out, size_t size);
// For what cannot be taken back: says what is about to happen and has the cluster id typed, here or
// as --cluster-id; --yes is not enough. KT_ERR_REFUSED_BY_USER, KT_ERR_USAGE.
int kta_confirm_cluster(const struct kt_cli_run *run, const char *cluster_id, const char *what,
                        struct kt_error *error) KT_MUST_CHECK;
#define KTA_CLUSTER_ID_OPTION                                                                      \
    {                                                                                              \
        "cluster-id", 0, "ID", "the cluster id, instead of typing it"                              \
    }

// 1 when the node was removed, or swore never to vote again, by its own files.
int kta_has_left(const struct kt_paths *paths);
// Whether a join was begun in the confdir and has not ended; and the error that says so.
int kta_join_is_unfinished(const struct kt_paths *paths);
int kta_join_unfinished(const struct kt_paths *paths, struct kt_error *error);

// Prints an answer as JSON on stdout (sorted, indented).
void kta_print_json(const json_t *value);
// One column: the title, and the member it shows; times are shown to the second.
struct kta_column {
    const char *title, *member;
};
#define KTA_COLUMNS_MAX 12
// Prints an array of objects: a table, or with --json the array. The exit code.
int kta_print_rows(const struct kt_cli_run *run, const json_t *rows,
                   const struct kta_column *columns);
// A member's value as text for people: "-" when absent, "yes"/"no", lists with commas.
void kta_text_of(const json_t *object, const char *member, char *out, size_t size);

// "30min", "24h", "7d" as in the settings; between one second and a year.
int kta_duration(const char *option, const char *text, int64_t *seconds,
                 struct kt_error *error) KT_MUST_CHECK;
// Checks "deposit,retrieve" against the known rights.
int kta_rights_check(const char *text, struct kt_error *error) KT_MUST_CHECK;
// An option as a port or count.
int kta_number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *number,
               struct kt_error *error) KT_MUST_CHECK;
// A client's UUID, from a UUID or the unique name of a client.
int kta_client_id(const struct kta_node *node, const char *text, char out[KT_UUID_TEXT],
                  struct kt_error *error) KT_MUST_CHECK;

// What kta_change says of the other nodes; for commands that print an answer of their own.
void kta_print_nodes(const struct kt_cli_run *run, const json_t *result);
// A key group's UUID, from a UUID or the name of one of the organisation.
int kta_key_group_id(const struct kta_node *node, const char *organisation, const char *text,
                     char out[KT_UUID_TEXT], struct kt_error *error) KT_MUST_CHECK;

#endif
