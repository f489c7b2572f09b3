// SPDX-License-Identifier: Apache-2.0
// The rotation of the cluster's OpenPGP key on one node: what the verbs (agent_cluster_key.c) share
// with the jobs behind them (agent_cluster_key_job.c).
#ifndef KTS_AGENT_CLUSTER_KEY_H
#define KTS_AGENT_CLUSTER_KEY_H

#include "kts/agent_job.h"

// For node.state: {"key": fingerprint of the one in use, "next": of the one to follow it, or null,
// "newest": that the database lists, or null: still the first, "since": when that was listed,
// "settled"}.
json_t *kts_cluster_key_state(const struct kts_agent *agent);
// Writes the statements beside the keys when another key is listed than at the last time: by them older
// keys are known for the cluster's, also without the database.
void kts_cluster_key_keep_line(struct kts_agent *agent);
// What a peer says of itself. The active hands it the key that it does not have yet; *tried_us: when it
// did that member so the last time.
void kts_cluster_key_hear(struct kts_agent *agent, const char *member, const json_t *state,
                          int64_t *tried_us);
// 1 when the cluster has, or had, this OpenPGP key.
int kts_cluster_key_is_own(const struct kts_agent *agent, const char *fingerprint);

// Jobs. Arguments were checked for form.
// "fresh": nothing is left to be finished, "line": listed keys, "newest" (or ""), "number", "before", "incarnation", "restored": for a
// statement. {"fingerprint": the one to go on with, "has": this node has it, "listed"}
int kts_job_cluster_key_make(struct kts_job *job, const json_t *args, json_t **result,
                             struct kt_error *error);
// "fingerprint", "member": hands the key to that node; asks that node for it.
int kts_job_cluster_key_give(struct kts_job *job, const json_t *args, json_t **result,
                             struct kt_error *error);
int kts_job_cluster_key_fetch(struct kts_job *job, const json_t *args, json_t **result,
                              struct kt_error *error);
// "fingerprint", "to": {"fingerprint", "keygrip", "sealed", "public", "statement"}, as take wants
// them; the secret half is sealed to the CA `to` (kts/agent_seal.h), since doors read what passes.
int kts_job_cluster_key_hand(struct kts_job *job, const json_t *args, json_t **result,
                             struct kt_error *error);
// The members of hand, and "listed": keeps the key beside the one in use, and signs with it once.
int kts_job_cluster_key_take(struct kts_job *job, const json_t *args, json_t **result,
                             struct kt_error *error);
// "fingerprint": it takes the place of the one in use.
int kts_job_cluster_key_use(struct kts_job *job, const json_t *args, json_t **result,
                            struct kt_error *error);
// "fingerprint", "member": a node that was away is given the key, and uses it.
int kts_job_cluster_key_bring(struct kts_job *job, const json_t *args, json_t **result,
                              struct kt_error *error);

#endif
