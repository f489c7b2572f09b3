// SPDX-License-Identifier: Apache-2.0
// Starting server and database of this node in the background, for those who have no units for it.
#ifndef KTA_START_H
#define KTA_START_H

#include "db/cluster.h"

// Starts kts, found beside this program, with its log in logs/kts.log, unless it runs; waits until
// its agent answers; then PostgreSQL, when the agent allows it.
int kta_start_node(const struct kt_paths *paths, struct db_cluster *cluster,
                   struct kt_error *error) KT_MUST_CHECK;

#endif
