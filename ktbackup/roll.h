// SPDX-License-Identifier: Apache-2.0
// Letting old backups go, after a new one is made.
#ifndef KTB_ROLL_H
#define KTB_ROLL_H

#include "ktbackup/output.h"
#include "ktbackup/retain.h"

// Removes what the retention lets go, oldest first. What a run that is killed leaves of one is a
// whole backup or nothing, as soon as ktb_output_settle has seen it. `*removed` counts them.
int ktb_roll(const struct ktb_output *output, const struct ktb_catalog *catalog,
             const struct ktb_retention *retention, size_t *removed,
             struct kt_error *error) KT_MUST_CHECK;

#endif
