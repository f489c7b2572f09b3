// SPDX-License-Identifier: Apache-2.0
// Starting the private PostgreSQL: who allows it, and who watches over it.
#ifndef KTA_DB_START_H
#define KTA_DB_START_H

#include "db/cluster.h"
#include "ktadmin/common.h"

// What the agent says of a start.
struct kta_start_answer {
    int again; // the agent stopped PostgreSQL, and wants it back
};
// Asks the agent, as long as it says "a moment". Without an agent the files
// decide, for a node without peers. KT_ERR_FENCED with the reason,
// KT_ERR_NOT_RUNNING when only the server can allow it.
int kta_start_allowed(const struct kta_node *node, struct kta_start_answer *answer,
                      struct kt_error *error) KT_MUST_CHECK;
// Before PostgreSQL is stopped by an operator: nobody is to start it again.
int kta_want_no_start(const struct kta_node *node, struct kt_error *error) KT_MUST_CHECK;
// Runs PostgreSQL as a child, passes signals on to it, and starts it again when the agent has
// stopped it and wants it back. Returns when it has ended for good; *exit_code is then its status.
int kta_supervise(const struct kta_node *node, struct db_cluster *cluster, int *exit_code,
                  struct kt_error *error) KT_MUST_CHECK;

#endif
