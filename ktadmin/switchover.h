// SPDX-License-Identifier: Apache-2.0
// Switchover, for commands that end with one.
#ifndef KTA_SWITCHOVER_H
#define KTA_SWITCHOVER_H

#include "ktadmin/failover.h"

// Hands the active role over to `to` (NULL: the only member that streams). The walk's `nodes` and
// `say` are set; *pause_us receives how long writes were held.
int kta_switchover(struct kta_failover *failover, const char *to, int64_t *pause_us,
                   struct kt_error *error) KT_MUST_CHECK;

#endif
