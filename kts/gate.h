// SPDX-License-Identifier: Apache-2.0
// Whether this node takes changes now, as the agent says it in the shared status.
#ifndef KTS_GATE_H
#define KTS_GATE_H

#include "kts/status.h"

// 1 when W members stream from here.
int kts_gate_has_quorum(const struct kts_status *status);
// 0 when role and members allow changes, else the reason that a client is told: KT_ERR_PASSIVE,
// KT_ERR_FENCED, KT_ERR_NO_QUORUM; KT_ERR_IN_DOUBT where a group in doubt may be what is asked for.
// Whether the writer is there is another question.
int kts_gate_check(const struct kts_status *status);
// 0 when clients are served at all, reads too; else KT_ERR_FENCED: the node was removed.
int kts_gate_serves(const struct kts_status *status);
// What a client is told when the writer takes no changes now; never 0.
int kts_gate_refusal(const struct kts_status *status);
// The permission to write that is in force, 0: none (held, too few members, another role).
uint64_t kts_gate_ticket(const struct kts_status *status);

#endif
