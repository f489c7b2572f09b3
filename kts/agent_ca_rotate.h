// SPDX-License-Identifier: Apache-2.0
// Replacing the CA: how far this node is, and nodes that were away meanwhile.
#ifndef KTS_AGENT_CA_ROTATE_H
#define KTS_AGENT_CA_ROTATE_H

#include "kts/agent_job.h"

#define KTS_CA_SEALED "keytrustee next CA" // the purpose of the seal of its key

// Of node.state: {"phase", "since", "until", "renew": its own certificates are of an older root,
// "roots": [SHA-256, the one that signs first], "ended": [SHA-256 of the key of a root that has ended],
// "cut": no session of before these ends is left in PostgreSQL, "sessions": so many were ended}.
json_t *kts_ca_state(const struct kts_agent *agent);
// For the jobs of a rotation: PostgreSQL reads the files too. `rc` is what the job has come to.
int kts_ca_done(const struct kts_job *job, int rc, json_t **result,
                struct kt_error *error) KT_MUST_CHECK;
// KT_ERR_NOT_MEMBER: the caller is not known as the active.
int kts_ca_check_from_active(struct kts_call *call, struct kt_error *error) KT_MUST_CHECK;
// Reads the files again when they are others, also after a run that was killed before it said so.
void kts_ca_look(struct kts_agent *agent);
// The verb ca.hand (agent_ca_hand.c).
int kts_run_ca_hand(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error) KT_MUST_CHECK;
// What a peer says of itself. The active hands it the CA that it has not heard of, and any node tells
// it of a root's end; *tried_us: when it was last tried.
void kts_ca_hear(struct kts_agent *agent, const char *member, const json_t *state,
                 int64_t *tried_us);

// --- agent_ca_cut.c ---
// The CA's file was read: there is something to do when it tells of an end that `ended_before` (NULL:
// not read before) does not have.
void kts_ca_cut_want(struct kts_agent *agent, const json_t *ended_before);
int kts_ca_cut_is_done(const struct kts_agent *agent);
// At each turn of the watch.
void kts_ca_cut_look(struct kts_agent *agent);
// Told when its job has ended; `result` NULL: it failed.
void kts_ca_cut_ended(struct kts_agent *agent, const json_t *result);
int kts_job_ca_cut(struct kts_job *job, const json_t *args, json_t **result,
                   struct kt_error *error) KT_MUST_CHECK;

#endif
