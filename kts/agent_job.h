// SPDX-License-Identifier: Apache-2.0
// Jobs of the agent: verbs that wait for PostgreSQL or for other nodes. Each runs in a child of its own,
// so that the agent goes on answering; one that changes something runs alone (a second gets KT_ERR_BUSY).
// A job dies with the agent; every verb can be asked again.
#ifndef KTS_AGENT_JOB_H
#define KTS_AGENT_JOB_H

#include "db/replication.h"
#include "kts/agent.h"
#include "lib/node_call.h"

// What a job is given, in its child. It may write `status` (shared memory).
struct kts_job {
    const struct kts_start *start; // paths, info, settings
    struct kts_status *status;
    struct kt_node_credentials credentials; // this node's, for asking other nodes
    const char *actor;                      // who asked, for notes
    EVP_PKEY *ca_key;
    X509 *ca_cert;
};
// Returns 0 with *result, or a code with `error`. Blocking calls are fine here.
typedef int kts_job_function(struct kts_job *job, const json_t *args, json_t **result,
                             struct kt_error *error);

#define KTS_JOB_ALONE 1 // changes something: one at a time
#define KTS_JOB_HOLDS                                                                              \
    2 // the writer is held before it starts (its sessions may still have to be ended)
// Forks the job for a call; the answer is sent when it ends. KT_ERR_AGAIN, or why not.
int kts_job_start(struct kts_call *call, const char *verb, kts_job_function *run, unsigned flags,
                  const json_t *args, struct kt_error *error) KT_MUST_CHECK;
// Tells the caller's side how far it is (bytes or steps), shown by node.state as "job".
void kts_job_progress(struct kts_job *job, const char *text, uint64_t done, uint64_t total);
// When a job has ended the watch looks at once.
int kts_job_is_running(const struct kts_agent *agent);

#endif
