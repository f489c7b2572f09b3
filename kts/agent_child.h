// SPDX-License-Identifier: Apache-2.0
// Forking from the agent: children for what would keep it waiting.
#ifndef KTS_AGENT_CHILD_H
#define KTS_AGENT_CHILD_H

#include <sys/types.h>

// fork(). In the child: it dies with the agent, blocks no signals, and of the agent's descriptors
// has only the log and `keep`. It ends by _exit.
pid_t kts_agent_fork(const char *name, int keep);

#endif
