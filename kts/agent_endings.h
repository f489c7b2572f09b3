// SPDX-License-Identifier: Apache-2.0
// Whose certificates end soon, beside the nodes' own: receipt key, operators, clients.
#ifndef KTS_AGENT_ENDINGS_H
#define KTS_AGENT_ENDINGS_H

#include "kts/agent.h"

// Asks the database and reads the receipt key's certificate when that was not done for minutes, and
// puts what the metrics show into the status.
void kts_agent_endings_look(struct kts_agent *agent);
// {"receipt_key": {"days", "not_after"} or null, "operators", "clients": {"count", "first",
// "not_after"} or null}: null is not known.
json_t *kts_agent_endings_json(void);

#endif
