// SPDX-License-Identifier: Apache-2.0
// Failover, first steps: who is there, which node is to be promoted, in which epoch.
#include <string.h>

#include "ktadmin/failover.h"

#define SEEN_MAX (4 * KT_PEERS_MAX)

int kta_step_see(struct kta_failover *failover, struct kt_error *error)
{
    struct kta_nodes *nodes = failover->nodes;
    int rc = kta_nodes_look(nodes, error);

    if (rc)
        return rc;
    kta_append(failover->proved, sizeof(failover->proved),
               "%zu of %zu nodes answer:", kta_nodes_reachable(nodes), nodes->count);
    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        struct kt_promise promise;
        kta_append(failover->proved, sizeof(failover->proved), "%s %s", i ? "," : "",
                   member->name[0] ? member->name : member->peer.address);
        if (!member->state)
            kta_append(failover->proved, sizeof(failover->proved), " (no answer)");
        else if (kta_state_promise(member, &promise) == 0)
            kta_append(failover->proved, sizeof(failover->proved), " (%s, promised %llu %s)",
                       kta_state_text(member, "role"), (unsigned long long)promise.epoch,
                       promise.active);
    }
    return 0;
}

// The newest row that a node which answers has told of.
static int newest_row(const struct kta_nodes *nodes, struct kt_epoch_row *newest)
{
    struct kt_epoch_row row;
    int found = 0;

    for (size_t i = 0; i < nodes->count; i++) {
        if (!nodes->list[i].state || kta_state_row(&nodes->list[i], &row) != 0)
            continue;
        if (!found || kt_epoch_row_compare(&row, newest) > 0)
            *newest = row;
        found = 1;
    }
    return found ? 0 : KT_ERR_NOT_FOUND;
}

// Without --to: the only member that answers and is not the active; a standalone node itself.
static int default_target(struct kta_failover *failover, struct kt_error *error)
{
    struct kta_nodes *nodes = failover->nodes;
    struct kt_epoch_row row = {0};
    char choices[256] = "";
    int found = -1, count = 0, known = newest_row(nodes, &row) == 0;

    for (size_t i = 0; i < nodes->count; i++) {
        const struct kta_member *member = &nodes->list[i];
        int is_active = known && strcmp(row.active, member->peer.member) == 0;
        if (!member->state || !known ||
            (row.count > 0 ? !kt_epoch_row_has_member(&row, member->peer.member) : !is_active))
            continue;
        kta_append(choices, sizeof(choices), "%s%s", count ? ", " : "", member->name);
        found = (int)i;
        count++;
    }
    if (count > 1)
        return kt_error_set(error, KT_ERR_USAGE, "give --to NODE", "it could be any of %s",
                            choices);
    if (count == 0)
        return kt_error_set(error, KT_ERR_NOT_PROVEN,
                            "bring a member up; with --to the active itself can be taken",
                            "no member of the newest list answers");
    failover->target = (size_t)found;
    return 0;
}

static int find_target(struct kta_failover *failover, struct kt_error *error)
{
    int at;

    if (!failover->to)
        return default_target(failover, error);
    at = kta_nodes_find(failover->nodes, failover->to);
    if (at < 0)
        return kt_error_set(error, KT_ERR_NOT_FOUND, "ktadmin status lists the nodes",
                            "no node '%.63s'", failover->to);
    failover->target = (size_t)at;
    return 0;
}

static int check_target(const struct kta_failover *failover, struct kt_error *error)
{
    const struct kta_member *member = &failover->nodes->list[failover->target];
    struct kt_promise promise;

    if (!member->state)
        return kt_error_set(error, member->error.code ? member->error.code : KT_ERR_NETWORK,
                            "start kts there, or choose another node", "%s does not answer: %s",
                            member->name, member->error.message);
    if (kta_state_promise(member, &promise) != 0)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "%s did not tell its promise",
                            member->name);
    if (promise.retired_by[0])
        return kt_error_set(error, KT_ERR_RETIRED, NULL, "%s was retired by '%s'", member->name,
                            promise.retired_by);
    return 0;
}

// One number that the new epoch has to be above, and the incarnation it stands in.
static int take_seen(struct kta_failover *failover, const char *name,
                     const struct kt_incarnation *incarnation, uint64_t epoch, uint64_t *seen,
                     size_t *count, struct kt_error *error)
{
    int order = 0;

    if (*count > 0 &&
        kt_incarnation_compare(incarnation, 0, &failover->incarnation, 0, &order) != 0)
        return kt_error_set(error, KT_ERR_PROTOCOL,
                            "one of them belongs to another restore: stop it",
                            "%s has incarnation %u with other bits than the others", name,
                            (unsigned)incarnation->number);
    if (*count == 0 || order > 0)
        failover->incarnation = *incarnation;
    if (*count < SEEN_MAX)
        seen[(*count)++] = epoch;
    return 0;
}

// A seal cannot be taken back. An active that works is not sealed for a proof that cannot be had.
static int check_forecast(struct kta_failover *failover, struct kt_error *error)
{
    struct kt_error why = {0};
    int works = 0;

    for (size_t i = 0; i < failover->nodes->count; i++) {
        const struct kta_member *member = &failover->nodes->list[i];
        const char *role = member->state ? kta_state_text(member, "role") : "";
        works |= strcmp(role, "active") == 0 || strcmp(role, "standalone") == 0;
    }
    if (!works || failover->accept_loss || failover->members ||
        kta_forecast(failover->nodes, failover->target, &why) == 0)
        return 0;
    return kt_error_set(error, why.code, why.hint,
                        "nothing was changed, as %s could not be proven "
                        "to hold everything: %.400s",
                        kta_failover_target(failover), why.message);
}

int kta_step_choose(struct kta_failover *failover, struct kt_error *error)
{
    uint64_t seen[SEEN_MAX];
    size_t count = 0;
    int rc = find_target(failover, error);

    if (rc == 0)
        rc = check_target(failover, error);
    for (size_t i = 0; i < failover->nodes->count && rc == 0; i++) {
        const struct kta_member *member = &failover->nodes->list[i];
        struct kt_promise promise;
        struct kt_epoch_row row;
        if (!member->state)
            continue;
        if (kta_state_promise(member, &promise) == 0)
            rc = take_seen(failover, member->name, &promise.incarnation, promise.epoch, seen,
                           &count, error);
        if (rc == 0 && kta_state_row(member, &row) == 0)
            rc =
                take_seen(failover, member->name, &row.incarnation, row.epoch, seen, &count, error);
    }
    if (rc)
        return rc;
    rc = check_forecast(failover, error);
    if (rc)
        return rc;
    failover->epoch = kt_rule_choose(seen, count);
    if (failover->epoch == 0)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "there is no higher epoch");
    kta_append(failover->proved, sizeof(failover->proved), "epoch %llu for %s",
               (unsigned long long)failover->epoch, kta_failover_target(failover));
    return 0;
}
