// SPDX-License-Identifier: Apache-2.0
// Jobs of the agent: verbs that wait for PostgreSQL or for other nodes. Each runs in a child of its
// own, so that the agent goes on answering; one that changes something runs alone. A job dies with
// the agent; every verb can be asked again. When a job has ended the watch looks at once.
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
    const struct kt_peers *listed; // the table of nodes as this job began; NULL: could not be read
    int fd;                        // where progress and result go
    int64_t progress_us;           // when progress was last told
};

#define KTS_JOB_ALONE 1 // changes something: one at a time
// The writer is held before it starts, and as long as it runs (its sessions may still have to be
// ended).
#define KTS_JOB_HOLDS 2
// Forks the job for a call; the answer is sent when it ends. KT_ERR_AGAIN, or why not: KT_ERR_BUSY
// while another one runs that must be alone. `args` are copied.
int kts_job_start(struct kts_call *call, const char *verb, kts_job_function *run, unsigned flags,
                  const json_t *args, struct kt_error *error) KT_MUST_CHECK;
// As kts_job_start without a caller: what the agent does by itself, in the name of `actor`. 0, or
// why not.
int kts_job_start_own(struct kts_agent *agent, const char *actor, const char *verb,
                      kts_job_function *run, unsigned flags, const json_t *args,
                      struct kt_error *error) KT_MUST_CHECK;
// In the job: how far it is (bytes or steps; total 0 = unknown), shown by node.state as "job".
void kts_job_progress(struct kts_job *job, const char *text, uint64_t done, uint64_t total);

// 1 while one runs that must be alone.
int kts_job_is_running(const struct kts_agent *agent);
// 1 while one runs (or is about to) that holds the writer: no ticket is granted.
int kts_job_holds(const struct kts_agent *agent);
size_t kts_job_count(const struct kts_agent *agent, kts_job_function *run); // of that function
// {"verb", "actor", "text", "done", "total"} of the one that must be alone; NULL when none runs.
json_t *kts_job_state(const struct kts_agent *agent);
// The caller is gone: the job goes on, its answer is dropped.
void kts_job_forget(struct kts_running *job);
// Ends all jobs: at the agent's end.
void kts_jobs_end(struct kts_agent *agent);

#endif
