// SPDX-License-Identifier: Apache-2.0
// What the agent knows of this node's backups.
#ifndef KTS_AGENT_BACKUP_H
#define KTS_AGENT_BACKUP_H

#include "kts/agent.h"

// To be called again and again: reads node/backup.json when it is another one than before, looking
// every two seconds at most, and tells workers and monitoring (kts/status.h).
void kts_agent_backup_look(struct kts_agent *agent);
// As it is now: {"made", "age_s", "bytes", "deposits", "sequence", "proven", "failed", "failure",
// "verified", "verified_how", "drilled", "drill_passed", "last_proven_restore"}, null for what never
// was; "error" beside them when the file cannot be read. NULL: no memory.
json_t *kts_agent_backup_json(struct kts_agent *agent);

#endif
