// SPDX-License-Identifier: Apache-2.0
// The other nodes as the agent knows them: the list in node/peers.json, and what each of them last
// said of itself. A child of the agent asks all of them node.state once a second.
#ifndef KTS_AGENT_PEERS_H
#define KTS_AGENT_PEERS_H

#include "kts/agent.h"
#include "lib/peers.h"

// Reads node/peers.json and begins to ask.
int kts_agent_peers_start(struct kts_agent *agent, struct kt_error *error) KT_MUST_CHECK;
void kts_agent_peers_stop(struct kts_agent *agent);

// All that are known, this node and removed ones too.
const struct kt_peers *kts_agent_peers(const struct kts_agent *agent);
// This node's own entry, by the name of the node; NULL as long as it is not listed.
const struct kt_peer *kts_agent_own_peer(const struct kts_agent *agent);
// 1 when `member`, this node's own, was removed from the cluster.
int kts_agent_is_removed(const struct kts_agent *agent, const char *member);
// This node as others are to see it now: promise, settings, node certificate. The revision is that
// of the entry there is, or 1.
int kts_agent_self(const struct kts_agent *agent, struct kt_peer *self,
                   struct kt_error *error) KT_MUST_CHECK;
// Takes over what is new (kt_peers_merge), saves, and asks the new ones too.
void kts_agent_peers_learn(struct kts_agent *agent, const struct kt_peers *from);

// They are asked with this node's certificate as it is now.
void kts_agent_peers_reload(struct kts_agent *agent);

// What a peer last answered to node.state, however long ago; NULL: nothing since the agent's start.
// *asked_us (may be NULL) receives kt_monotonic_now() of that answer.
const json_t *kts_agent_peer_state(const struct kts_agent *agent, const char *member,
                                   int64_t *asked_us);
// That answer, and in *question_us when it was asked for; NULL also when that is not known.
const json_t *kts_agent_peer_question(const struct kts_agent *agent, const char *member,
                                      int64_t *question_us);
// 1 when the last question was answered.
int kts_agent_peer_is_reachable(const struct kts_agent *agent, const char *member);
// 1 when every peer (not removed, not this node) was asked at least once since the agent's start,
// whether it answered or not.
int kts_agent_peers_asked_all(const struct kts_agent *agent);

#endif
