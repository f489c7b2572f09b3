// SPDX-License-Identifier: Apache-2.0
// Between the ways into the agent (unix socket, the door's link) and what runs behind them: one
// request under way.
#ifndef KTS_AGENT_DOOR_H
#define KTS_AGENT_DOOR_H

#include "kts/agent.h"

// Part of the struct of who waits for the answer.
struct kts_call {
    struct kts_agent *agent;
    enum kts_asker caller;
    char actor[KT_ACTOR_TEXT];
    char member[KT_MEMBER_TEXT];        // of a node
    uint8_t cert_sha256[KT_SHA256_LEN]; // that it showed
    const struct kt_join_token *token;  // of a token's bearer; valid while the verb's `run` runs
    const char *peer;                   // address that it came from over HTTPS, or NULL
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

// --- agent_caller.c ---
struct kts_relay_call;
// Fills in caller, actor and member of a call whose agent is filled in, by what the door says of the
// certificate. It counts when it is listed, and what it is listed as: the CA's signature alone is
// any client's. This node's own counts for nothing. KT_ERR_NOT_MEMBER, KT_ERR_CERTIFICATE_EXPIRED,
// _UNKNOWN_CA.
int kts_caller_identify(struct kts_call *call, const struct kts_relay_call *from,
                        struct kt_error *error) KT_MUST_CHECK;

// --- agent_relay.c: the agent's side of the door for nodes and operators (kts/door.c) ---
int kts_relay_start(struct kts_agent *agent, struct kt_error *error) KT_MUST_CHECK;
void kts_relay_stop(struct kts_agent *agent);

#endif
