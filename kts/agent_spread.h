// SPDX-License-Identifier: Apache-2.0
// Which nodes have a change that is durable: those that have replayed the log past it show it to
// their clients.
#ifndef KTS_AGENT_SPREAD_H
#define KTS_AGENT_SPREAD_H

#include "kts/agent_view.h"

// So long a change of who may do what waits for the nodes that are connected.
#define KTS_SPREAD_MS 5000

// 1 when an operator is told of a change of this kind only when all connected nodes show it.
int kts_spread_is_awaited(enum kt_change_kind kind);
// 1 when there is a node beside this one.
int kts_spread_has_others(const struct kts_agent *agent);
// {"reached": [nodes that have replayed `lsn`], "unreached": [all others]}. *complete receives 1
// when none of the unreached is connected: waiting would not help. NULL: no memory.
json_t *kts_spread_look(const struct kts_view *view, const struct kt_peers *peers, uint64_t lsn,
                        int *complete);

#endif
