// SPDX-License-Identifier: Apache-2.0
// The receipt key's rotation on one node: what the verbs (agent_receipt_key.c) share with the jobs
// behind them (agent_receipt_key_job.c).
#ifndef KTS_AGENT_RECEIPT_KEY_H
#define KTS_AGENT_RECEIPT_KEY_H

#include "kts/agent_job.h"
#include "lib/receipt_key.h"

// For node.state: {"key": id of the one in use, "next": of the one to follow it or null, "newest": by
// what the database lists, "open": how many it lists as not retired, "known": whether it lists "next",
// "signs": id of the one that the writer signs by, or null}.
json_t *kts_receipt_key_state(const struct kts_agent *agent);

// Jobs. Arguments were checked for form.
// "newest", "known" as above, "fresh": a new one is wanted. {"id": the one to go on with, "has": this
// node has it, "listed": it is the newest already}
int kts_job_receipt_make(struct kts_job *job, const json_t *args, json_t **result,
                         struct kt_error *error);
// "id", "member": hands the key to that node; asks that node for it.
int kts_job_receipt_give(struct kts_job *job, const json_t *args, json_t **result,
                         struct kt_error *error);
int kts_job_receipt_fetch(struct kts_job *job, const json_t *args, json_t **result,
                          struct kt_error *error);
// "id", "sealed": keeps it beside the one in use.
int kts_job_receipt_take(struct kts_job *job, const json_t *args, json_t **result,
                         struct kt_error *error);
// "id": it takes the place of the one in use.
int kts_job_receipt_use(struct kts_job *job, const json_t *args, json_t **result,
                        struct kt_error *error);
// The pair of this id, in use or to follow. KT_ERR_NOT_FOUND.
int kts_receipt_pair_of(const struct kt_paths *paths, const char *id, struct kt_receipt_pair *pair,
                        struct kt_error *error) KT_MUST_CHECK;
// The same as text, sealed for the agent whose CA root that is: base64, the caller's.
int kts_receipt_pair_seal(const struct kt_paths *paths, X509 *ca, const char *id, const char *root,
                          char **sealed, struct kt_error *error) KT_MUST_CHECK;

#endif
