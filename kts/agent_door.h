// SPDX-License-Identifier: Apache-2.0
// Between the agent's doors (unix socket, HTTPS) and what runs behind them: one request under way.
#ifndef KTS_AGENT_DOOR_H
#define KTS_AGENT_DOOR_H

#include "kts/agent.h"

// Part of a door's own struct for a connection.
struct kts_call {
    struct kts_agent *agent;
    enum kts_asker caller;
    char actor[KT_ACTOR_TEXT];
    char member[KT_MEMBER_TEXT];       // of a node
    const struct kt_join_token *token; // of a token's bearer; valid while the verb's `run` runs
    const char *peer;                  // address that it came from over HTTPS, or NULL
    struct kts_pending *pending;
    struct kts_running *job;
    int is_open; // begun, and its answer is not on its way
    // Sends `result`, or `error` when that is NULL. Both are the caller's.
    void (*answer)(struct kts_call *call, const json_t *result, const struct kt_error *error);
};

// A request is complete: from here to kts_call_end it counts as under way. Agent, caller, actor and
// answer are filled in.
void kts_call_begin(struct kts_call *call);
// The answer is out, or the caller is gone.
void kts_call_end(struct kts_call *call);
// The members of an answer's "error": code, message, hint. NULL = no memory.
json_t *kts_call_error_json(const struct kt_error *error);

// --- agent_http.c: the door for nodes and operators ---
// Opens the port; when that does not go it is tried again, and the log says so.
int kts_https_start(struct kts_agent *agent, struct kt_error *error) KT_MUST_CHECK;
// Reads key and certificate again; connections that are open keep the old ones.
void kts_https_reload(struct kts_agent *agent);
// No new connections; those without a request under way are closed.
void kts_https_unlisten(struct kts_agent *agent);
void kts_https_stop(struct kts_agent *agent);

#endif
