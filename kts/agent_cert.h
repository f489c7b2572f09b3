// SPDX-License-Identifier: Apache-2.0
// Renewing a node's certificates: agent_cert.c (this node's own files), agent_renew.c (on the
// active: the record by which all nodes know each other).
#ifndef KTS_AGENT_CERT_H
#define KTS_AGENT_CERT_H

#include "kts/agent_job.h"

// On the active, asked by the node whose certificate it is.
int kts_run_node_renew(struct kts_call *call, const json_t *args, json_t **result,
                       struct kt_error *error);
// This node's certificate as its file has it, in this agent's own list: others hear it with its
// state, also when they let it in no more because the one before has expired.
int kts_renew_own_entry(struct kts_agent *agent, struct kt_error *error) KT_MUST_CHECK;

#endif
