// SPDX-License-Identifier: Apache-2.0
// A worker's requests by organisation and client: how many each may have under way, and whose turn
// it is when there are more than the worker takes on at one time.
#ifndef KTS_SHARES_H
#define KTS_SHARES_H

#include "kts/fair.h"

struct kts_request;
struct kts_worker;

// What a request occupies while it is worked on. Reads have places of their own, so that changes
// which wait for a slow disk or a lost quorum keep nobody from reading.
enum kts_lane { KTS_LANE_READ, KTS_LANE_CHANGE, KTS_LANE_COUNT, KTS_LANE_NONE = -1 };

// In the worker.
struct kts_shares {
    struct kts_fair *fair;
    unsigned taken[KTS_LANE_COUNT]; // places in use
};

// In the request; kts_share_end may be called in any state.
struct kts_share {
    struct kts_tenant *tenant;
    struct kts_fair_item turn;
    int lane; // enum kts_lane: the place it has
    size_t bytes;
};

int kts_shares_new(struct kts_shares *shares) KT_MUST_CHECK;
void kts_shares_free(struct kts_shares *shares);
// The head is good: the request counts, with its body, for its organisation and its client (of
// strangers: for its address). KT_ERR_TOO_MANY_REQUESTS, KT_ERR_NO_MEMORY.
int kts_share_begin(struct kts_request *request) KT_MUST_CHECK;
// 1: it has a place and is to be worked on. 0: it waits; kts_conn_resume is called when it has one.
int kts_share_enter(struct kts_request *request);
// A read turns into a change: it gives its place to the next one and goes on without.
void kts_share_move(struct kts_request *request);
// Answered, or given up.
void kts_share_end(struct kts_request *request);

#endif
