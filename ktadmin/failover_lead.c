// SPDX-License-Identifier: Apache-2.0
// Failover, last steps: promote T, let the others follow, write the row.
#include <string.h>

#include "ktadmin/failover.h"

#define PROMOTE_MS   60000
#define FOLLOW_MS    15000
#define REJOIN_MS    (6 * 3600 * 1000)
#define ESTABLISH_MS 30000
#define WAIT_MS      10000 // for W members that were told to follow

// T, which may be busy for a moment: it establishes by itself as soon as it can. `args` is
// borrowed.
static int call_target(struct kta_failover *failover, const char *verb, json_t *args,
                       int timeout_ms, json_t **result, struct kt_error *error)
{
    return kta_nodes_call_when_free(failover->nodes, failover->target, verb, json_incref(args),
                                    timeout_ms, result, error);
}

static json_t *row_args(const struct kta_failover *failover)
{
    json_t *args = kta_failover_args(failover);

    if (args && json_object_set_new(args, "row", kt_epoch_row_to_json(&failover->row)) != 0) {
        json_decref(args);
        args = NULL;
    }
    return args;
}

int kta_step_promote(struct kta_failover *failover, struct kt_error *error)
{
    const char *name = kta_failover_target(failover), *lsn;
    struct kt_error why = {0};
    json_t *args = row_args(failover), *result = NULL;
    int rc;

    if (!args)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    rc = call_target(failover, "node.promote", args, PROMOTE_MS, &result, &why);
    json_decref(args);
    if (rc)
        return kt_error_set(error, rc, why.hint, "%s is not promoted: %.400s", name, why.message);
    lsn = json_string_value(json_object_get(result, "start_lsn"));
    kta_append(failover->proved, KTA_PROVED_MAX, "%s begins timeline %lld at %s", name,
               (long long)json_integer_value(json_object_get(result, "timeline")), lsn ? lsn : "?");
    json_decref(result);
    return 0;
}

static int streams(const struct kta_answer *answer)
{
    return answer->is_done && answer->rc == 0 &&
           json_is_true(json_object_get(answer->result, "streaming"));
}

// Members of the new list that stream, by the answers that are there.
static uint32_t streaming_members(const struct kta_failover *failover)
{
    uint32_t count = 0;

    for (size_t i = 0; i < failover->follower_count; i++) {
        const struct kta_answer *answer = &failover->followers[i];
        const struct kta_member *member = &failover->nodes->list[answer->node];
        if (streams(answer) && kt_epoch_row_has_member(&failover->row, member->peer.member))
            count++;
    }
    return count;
}

static int enough_stream(void *arg)
{
    const struct kta_failover *failover = arg;

    return streaming_members(failover) >= failover->row.w;
}

static json_t *follow_args(const struct kta_failover *failover)
{
    json_t *args = kta_failover_args(failover);
    const char *member = failover->nodes->list[failover->target].peer.member;

    if (args && json_object_set_new(args, "active", json_string(member)) != 0) {
        json_decref(args);
        args = NULL;
    }
    return args;
}

// Those whose log went another way, when asked for: a rewind or a base backup each.
static void rejoin_diverged(struct kta_failover *failover)
{
    struct kta_answer again[KT_PEERS_MAX] = {{0}};
    size_t at[KT_PEERS_MAX], count = 0;
    json_t *args =
        json_pack("{s:s}", "active", failover->nodes->list[failover->target].peer.member);

    for (size_t i = 0; i < failover->follower_count && args; i++) {
        if (failover->followers[i].rc != KT_ERR_DIVERGED)
            continue;
        at[count] = i;
        again[count++].node = failover->followers[i].node;
    }
    kta_nodes_ask(failover->nodes, "node.rejoin", args, REJOIN_MS, again, count);
    for (size_t i = 0; i < count; i++) {
        struct kta_answer *answer = &failover->followers[at[i]];
        json_decref(answer->result);
        *answer = again[i];
        if (answer->rc == 0 && json_is_object(answer->result)) // it waits until it streams
            json_object_set_new(answer->result, "streaming", json_true());
    }
    json_decref(args);
}

// The others go on in the background as soon as W of them stream: writes need not wait for the
// last.
int kta_step_follow(struct kta_failover *failover, struct kt_error *error)
{
    json_t *args = follow_args(failover);

    if (!args)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    failover->follower_count = 0;
    for (size_t i = 0; i < failover->report_count; i++)
        if (failover->report_node[i] != failover->target &&
            failover->reports[i].retired_by[0] == '\0')
            failover->followers[failover->follower_count++] =
                (struct kta_answer){.node = failover->report_node[i]};
    failover->round = kta_round_begin(failover->nodes, "node.follow", args, FOLLOW_MS,
                                      failover->followers, failover->follower_count);
    json_decref(args);
    kta_round_wait(failover->round, enough_stream, failover);
    if (failover->rejoin && streaming_members(failover) < failover->row.w) {
        kta_round_end(failover->round);
        failover->round = NULL;
        rejoin_diverged(failover);
    }
    kta_append(failover->proved, KTA_PROVED_MAX, "%zu told to follow, %u of the list stream",
               failover->follower_count, (unsigned)streaming_members(failover));
    return 0;
}

int kta_step_establish(struct kta_failover *failover, struct kt_error *error)
{
    const char *name = kta_failover_target(failover), *writer;
    struct kt_error why = {0};
    json_t *args = row_args(failover), *result = NULL;
    int wait_ms = streaming_members(failover) >= failover->row.w ? WAIT_MS : 0, rc;

    if (!args || json_object_set_new(args, "wait_ms", json_integer(wait_ms)) != 0) {
        json_decref(args);
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    rc = call_target(failover, "node.establish", args, ESTABLISH_MS, &result, &why);
    json_decref(args);
    if (rc == KT_ERR_NO_QUORUM) {
        failover->unestablished = why;
        return 0;
    }
    if (rc)
        return kt_error_set(error, rc, why.hint, "%s is promoted but not established: %.400s", name,
                            why.message);
    writer = json_string_value(json_object_get(result, "writer"));
    failover->is_established = 1;
    failover->is_open = writer && strcmp(writer, "open") == 0;
    kta_append(failover->proved, KTA_PROVED_MAX, "%s leads epoch %llu and %s", name,
               (unsigned long long)failover->epoch,
               failover->is_open ? "takes writes" : "is about to take writes");
    json_decref(result);
    return 0;
}

void kta_failover_settle(struct kta_failover *failover)
{
    kta_round_end(failover->round);
    failover->round = NULL;
    if (failover->rejoin && failover->at >= KTA_FOLLOWED)
        rejoin_diverged(failover);
    for (size_t i = 0; i < failover->follower_count; i++) {
        const struct kta_answer *answer = &failover->followers[i];
        const char *name = failover->nodes->list[answer->node].name;
        if (answer->rc == KT_ERR_DIVERGED)
            kta_append(failover->notes, KTA_PROVED_MAX,
                       "%s has what the new active has not: run ktadmin rejoin %s\n", name, name);
        else if (answer->rc)
            kta_append(failover->notes, KTA_PROVED_MAX,
                       "%s does not follow (%s): run ktadmin rejoin %s\n", name,
                       answer->error.message, name);
    }
    for (size_t i = 0; i < failover->nodes->count; i++) {
        const struct kta_member *member = &failover->nodes->list[i];
        int is_sealed = 0;
        for (size_t k = 0; k < failover->report_count; k++)
            is_sealed |= failover->report_node[k] == i;
        if (!is_sealed && failover->report_count > 0)
            kta_append(failover->notes, KTA_PROVED_MAX,
                       "%s was not sealed: when it is back run ktadmin rejoin %s\n", member->name,
                       member->name);
    }
}
