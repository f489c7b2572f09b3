// SPDX-License-Identifier: Apache-2.0
// Replacing the CA: how far this node is, and nodes that were away meanwhile.
#ifndef KTS_AGENT_CA_ROTATE_H
#define KTS_AGENT_CA_ROTATE_H

#include "kts/agent_job.h"

// Of node.state: {"phase", "since", "until", "renew": its own certificates are of an older root,
// "roots": [SHA-256, the one that signs first]}.
json_t *kts_ca_state(const struct kts_agent *agent);
// Reads the files again when they are others, also after a run that was killed before it said so.
void kts_ca_look(struct kts_agent *agent);
// What a peer says of itself. The active hands it the CA that it has not heard of.
void kts_ca_hear(struct kts_agent *agent, const char *member, const json_t *state);

#endif
