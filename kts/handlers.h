// SPDX-License-Identifier: Apache-2.0
// The start functions of the calls, one file kts/h_*.c each. They run when the dispatcher has made
// its checks and the whole body is there.
#ifndef KTS_HANDLERS_H
#define KTS_HANDLERS_H

struct kts_request;

int kts_h_fingerprint(struct kts_request *request);
int kts_h_health(struct kts_request *request);
int kts_h_health_ready(struct kts_request *request);
int kts_h_health_write(struct kts_request *request);
int kts_h_incarnations(struct kts_request *request);
int kts_h_cluster_keys(struct kts_request *request);
int kts_h_client_register(struct kts_request *request);
int kts_h_client_self(struct kts_request *request);
int kts_h_client_renew(struct kts_request *request);
int kts_h_client_openpgp(struct kts_request *request);
int kts_h_deposit_put(struct kts_request *request);
int kts_h_deposit_get(struct kts_request *request);
int kts_h_deposit_get_by_id(struct kts_request *request);
int kts_h_deposit_head(struct kts_request *request);
int kts_h_deposit_list(struct kts_request *request);
int kts_h_deposit_receipt(struct kts_request *request);
int kts_h_deposit_delete(struct kts_request *request);
int kts_h_request_list(struct kts_request *request);
int kts_h_request_vote(struct kts_request *request);
int kts_h_log_head(struct kts_request *request);
int kts_h_log_proof(struct kts_request *request);
int kts_h_log_consistency(struct kts_request *request);
int kts_h_deposit_lock(struct kts_request *request);
int kts_h_deposit_undelete(struct kts_request *request);
int kts_h_deposit_purge(struct kts_request *request);
int kts_h_metrics(struct kts_request *request);

#endif
