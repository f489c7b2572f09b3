// SPDX-License-Identifier: Apache-2.0
// Between agent_peers.c (what is known) and agent_heartbeat.c (the child that asks).
#ifndef KTS_AGENT_PEERS_INNER_H
#define KTS_AGENT_PEERS_INNER_H

#include "kts/agent_peers.h"
#include "lib/buf.h"

// What is known of one peer since the agent's start.
struct kts_peer_seen {
    char member[KT_MEMBER_TEXT];
    int64_t asked_us;    // 0: not asked yet
    int64_t answered_us; // 0: never
    int64_t question_us; // when `state` was asked for; 0: not known
    int is_reachable;    // the last question was answered
    char why[256];       // it was not
    json_t *state;       // last answer
    int64_t ca_us;       // when it was last handed the CA, or told of an end
    int64_t key_us;      // when it was last brought the cluster's key
};

struct kts_agent_peers {
    struct kts_agent *agent;
    struct kt_peers list;
    struct kts_peer_seen seen[KT_PEERS_MAX];
    size_t seen_count;
    // the child
    pid_t pid; // 0: none
    int fd;
    struct event *readable;
    struct event *timer; // starts the next
    struct kt_buf in;
};

// 1 when this node was removed: its peers have said all that they will. Reads a file.
int kts_peers_are_done(const struct kts_agent *agent);
// 1 for one that is asked, as long as any is: neither removed nor this node.
int kts_peer_is_asked(const struct kts_agent *agent, const struct kt_peer *peer);
// One round's answers: [{"member", "asked_us", "state"} or {"member", "asked_us", "error", "removed"}];
// "asked_us" is the kt_monotonic_now() of before the question.
void kts_peers_take_round(struct kts_agent_peers *peers, const json_t *round);

// Forks the child for the list of now; an older one is ended.
void kts_heartbeat_restart(struct kts_agent_peers *peers);
void kts_heartbeat_end(struct kts_agent_peers *peers);

#endif
