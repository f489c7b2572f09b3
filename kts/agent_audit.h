// SPDX-License-Identifier: Apache-2.0
// The agent's part of the audit log: it signs how far the log reaches, keeps those heads beside the
// files, and exchanges them with the other nodes.
#ifndef KTS_AGENT_AUDIT_H
#define KTS_AGENT_AUDIT_H

#include "kts/agent.h"

int kts_agent_audit_start(struct kts_agent *agent, struct kt_error *error) KT_MUST_CHECK;
// Signs the last head, which stands then in the file, and forgets the rest.
void kts_agent_audit_stop(struct kts_agent *agent);
// "audit" and "heads" of node.state.
void kts_agent_audit_state(struct kts_agent *agent, json_t *state);
// What a peer's node.state says: its own head, and which it knows.
void kts_agent_audit_hear(struct kts_agent *agent, const char *member, const json_t *state);

extern const struct kts_verb kts_audit_verbs[]; // ends with name NULL

#endif
