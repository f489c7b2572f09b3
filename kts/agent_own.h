// SPDX-License-Identifier: Apache-2.0
// What the agent does without being asked, as soon as the watch sees that it can be done.
#ifndef KTS_AGENT_OWN_H
#define KTS_AGENT_OWN_H

#include "kts/agent_job.h"

// Starts at most one job: writes the row of a promoted node whose members stream; finishes a change
// of members that was killed; asks the active to count this node, when it joins. Beside it, rolls
// back what others than the writer have prepared.
void kts_own_jobs(struct kts_agent *agent);
// Told of each job without a caller; `result` NULL: it failed.
void kts_own_job_ended(struct kts_agent *agent, kts_job_function *job, const json_t *result);

#endif
