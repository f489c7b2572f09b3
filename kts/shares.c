// SPDX-License-Identifier: Apache-2.0
// Places for requests, given in turn.
#include "kts/shares.h"

#include "kts/conn.h"
#include "kts/request.h"
#include "kts/worker.h"

// Enough to keep the database and the writer busy; what is beyond waits here, where turns are kept,
// and not in their queues.
#define PLACES      256
#define RETRY_S     1
#define BODIES_PART 2 // of what others leave of limits.bodies, one organisation may hold one part

int kts_shares_new(struct kts_shares *shares)
{
    return kts_fair_new(&shares->fair);
}

void kts_shares_free(struct kts_shares *shares)
{
    kts_fair_free(shares->fair);
    shares->fair = NULL;
}

static int64_t limit(const struct kts_request *request, enum kt_setting id)
{
    return kt_settings_number(request->worker->settings, id);
}

// So that some are left for the next one, however many organisations take all they can.
static int holds_too_much(const struct kts_request *request, const struct kts_tenant *tenant)
{
    int64_t all = limit(request, KT_SET_LIMIT_BODIES), own = (int64_t)tenant->parent->bytes;
    int64_t body = (int64_t)request->body_expected;
    int64_t others = (int64_t)request->worker->body_bytes - (own - body);

    return body > 0 && own > body && // one body always may
           own > (all - (others > 0 ? others : 0)) / BODIES_PART;
}

int kts_share_begin(struct kts_request *request)
{
    struct kts_share *share = &request->share;
    const struct kts_caller_keys *keys = kts_conn_keys(request->conn);
    int known = request->certificate_error == 0;
    uint64_t bytes = request->body_expected;
    struct kts_tenant *tenant;

    // Whoever asks how the node is must not wait behind those who hold registrations open.
    if (request->match.route->caller == KTS_ANYONE)
        return 0;
    tenant =
        kts_fair_join(request->worker->shares.fair, known ? keys->organisation : KT_SHARE_STRANGERS,
                      known ? keys->client : keys->address);
    if (!tenant)
        return KT_ERR_NO_MEMORY;
    share->tenant = tenant;
    share->bytes = bytes;
    tenant->parent->bytes += bytes;
    request->retry_after_s = RETRY_S;
    if ((int64_t)tenant->under_way > limit(request, KT_SET_LIMIT_CLIENT_REQUESTS))
        return kts_fail(request, KT_ERR_TOO_MANY_REQUESTS,
                        "this client has too many requests under way");
    if ((int64_t)tenant->parent->under_way > limit(request, KT_SET_LIMIT_ORG_REQUESTS) ||
        holds_too_much(request, tenant))
        return kts_fail(request, KT_ERR_TOO_MANY_REQUESTS,
                        "this organisation has too many requests under way");
    return 0;
}

static enum kts_lane lane_of(const struct kts_request *request)
{
    return request->barrier || request->match.route->class == KTS_CHANGE ? KTS_LANE_CHANGE
                                                                         : KTS_LANE_READ;
}

int kts_share_enter(struct kts_request *request)
{
    struct kts_shares *shares = &request->worker->shares;
    struct kts_share *share = &request->share;
    enum kts_lane lane;

    if (!share->tenant || share->lane != KTS_LANE_NONE)
        return 1;
    lane = lane_of(request);
    if (shares->taken[lane] < PLACES) {
        shares->taken[lane]++;
        share->lane = (int)lane;
        return 1;
    }
    kts_fair_push(shares->fair, lane, share->tenant, &share->turn, request);
    return 0;
}

static void give_place(struct kts_request *request)
{
    struct kts_shares *shares = &request->worker->shares;
    int lane = request->share.lane;
    struct kts_request *next;

    if (lane == KTS_LANE_NONE)
        return;
    request->share.lane = KTS_LANE_NONE;
    next = kts_fair_pop(shares->fair, (unsigned)lane);
    if (!next) {
        shares->taken[lane]--;
        return;
    }
    next->share.lane = lane;
    kts_conn_resume(next->conn);
}

void kts_share_move(struct kts_request *request)
{
    if (request->share.lane == KTS_LANE_READ)
        give_place(request);
}

void kts_share_end(struct kts_request *request)
{
    struct kts_share *share = &request->share;

    if (!share->tenant)
        return;
    kts_fair_remove(&share->turn);
    give_place(request);
    share->tenant->parent->bytes -= share->bytes;
    kts_fair_leave(request->worker->shares.fair, share->tenant);
    share->tenant = NULL;
}
