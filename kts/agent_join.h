// SPDX-License-Identifier: Apache-2.0
// Between agent_join.c (letting a newcomer in), agent_add.c (making it known) and
// agent_bundle.c (what it is handed).
#ifndef KTS_AGENT_JOIN_H
#define KTS_AGENT_JOIN_H

#include "kts/agent_job.h"
#include "lib/peers.h"

// --- agent_add.c ---
// 0 when it is a certificate of this cluster's CA, good now, and that member's; its fingerprint.
int kts_join_check_cert(const struct kts_agent *agent, const char *member, const char *pem,
                        uint8_t sha256[KT_SHA256_LEN]) KT_MUST_CHECK;
// The node that acts as the active: NULL when this one does (*here 1), or when none is in sight.
const struct kt_peer *kts_join_find_active(const struct kts_agent *agent, int *here);
// *list receives the list of now with the newcomer in it, whose revision may be raised.
// `may_replace`: an entry that it has may be renewed. KT_ERR_EXISTS: member or name are another's.
int kts_join_put_in_list(const struct kts_agent *agent, struct kt_peer *newcomer, int may_replace,
                         struct kt_peers *list, struct kt_error *error) KT_MUST_CHECK;
// In a job on the active: role, slot and rows.
int kts_join_register(struct kts_job *job, const struct kt_peer *peer, const char *cert,
                      struct kt_error *error) KT_MUST_CHECK;
int kts_join_peer(const json_t *object, struct kt_peer *peer, struct kt_error *error) KT_MUST_CHECK;
json_t *kts_join_peer_json(const struct kt_peer *peer); // NULL = no memory
int kts_join_run_add(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error);

// --- agent_bundle.c ---
#define KTS_BUNDLE_MAX (4u << 20)

// Every file of the confdir that the nodes have in common, {"path inside it": base64}, sealed to the
// newcomer's key (KT_SEAL_NEWCOMER), as the doors on the way read what passes: not tls/,
// nor keytrustee.conf, nor what belongs to init, to locks or to a program that runs.
// KT_ERR_TOO_LARGE over KTS_BUNDLE_MAX bytes.
int kts_bundle_files(const struct kt_paths *paths, EVP_PKEY *to, json_t **files,
                     struct kt_error *error) KT_MUST_CHECK;
// The settings that must be equal on all nodes, {"section.name": "text"}. NULL = no memory.
json_t *kts_bundle_settings(const struct kt_settings *settings);

#endif
