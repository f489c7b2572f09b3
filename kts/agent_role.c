// SPDX-License-Identifier: Apache-2.0
// What a node is: promise, rows, position and peers in, role and permission to write out.
#include "kts/agent_role.h"

#include <string.h>

static int is_above(const struct kt_promise *other, const struct kt_promise *promise)
{
    const struct kt_incarnation *a = &other->incarnation, *b = &promise->incarnation;

    if (a->number != b->number)
        return a->number > b->number;
    return a->bits != b->bits || other->epoch > promise->epoch;
}

int kts_role_is_overtaken(const struct kt_promise *promise, const struct kt_promise *others,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_above(&others[i], promise))
            return 1;
    }
    return 0;
}

const struct kt_promise *kts_role_highest(const struct kt_promise *promise,
                                          const struct kt_promise *others, size_t count)
{
    const struct kt_promise *highest = promise;

    for (size_t i = 0; i < count; i++) {
        if (!highest || is_above(&others[i], highest))
            highest = &others[i];
    }
    return highest;
}

static int is_own(const struct kt_promise *promise)
{
    char node[KT_NODE_NAME_MAX + 1];

    kt_member_node(promise->member, node);
    return strcmp(node, promise->active) == 0;
}

// A row of a later epoch than the promise is of an active that this node never knew.
static int is_row_above(const struct kt_epoch_row *row, const struct kt_promise *promise)
{
    if (!row)
        return 0;
    if (row->incarnation.number != promise->incarnation.number)
        return row->incarnation.number > promise->incarnation.number;
    return row->incarnation.bits != promise->incarnation.bits || row->epoch > promise->epoch;
}

int kts_role_is_removed(const struct kt_promise *promise, const struct kt_epoch_row *row)
{
    char node[KT_NODE_NAME_MAX + 1];

    if (kt_epoch_row_has_member(row, promise->member) || strcmp(row->active, promise->member) == 0)
        return 0;
    if (row->incarnation.number != promise->incarnation.number)
        return row->incarnation.number > promise->incarnation.number;
    if (row->incarnation.bits != promise->incarnation.bits)
        return 0;
    if (row->epoch != promise->epoch)
        return row->epoch > promise->epoch;
    kt_member_node(row->active, node);
    return strcmp(node, promise->active) == 0 && !is_own(promise);
}

enum kts_role kts_role_of(const struct kts_role_facts *facts)
{
    const struct kt_promise *promise = facts->promise;

    if (facts->removed)
        return KTS_ROLE_REMOVED;
    if (!promise || promise->retired_by[0])
        return KTS_ROLE_FENCED;
    if (is_own(promise) && kts_role_is_overtaken(promise, facts->others, facts->other_count))
        return KTS_ROLE_FENCED;
    if (facts->in_recovery)
        return KTS_ROLE_PASSIVE;
    if (!is_own(promise))
        return KTS_ROLE_FENCED;
    if (facts->restored)
        return KTS_ROLE_UNESTABLISHED;
    if (is_row_above(facts->newest, promise))
        return KTS_ROLE_FENCED;
    // A primary of an older epoch that promised a new one to itself, and was not promoted in it, is
    // nobody's active.
    if (!kt_epoch_row_is_own(facts->newest, promise))
        return kt_epoch_row_is_own(facts->pending, promise) ? KTS_ROLE_UNESTABLISHED
                                                            : KTS_ROLE_FENCED;
    return facts->newest->count == 0 ? KTS_ROLE_STANDALONE : KTS_ROLE_ACTIVE;
}

uint64_t kts_ticket_of(const struct kts_ticket_facts *facts)
{
    int enough = facts->members >= facts->w;

    if (facts->held || (facts->role != KTS_ROLE_ACTIVE && facts->role != KTS_ROLE_STANDALONE))
        return 0;
    if (!enough)
        return facts->ticket;
    if (facts->ticket == 0 || (!facts->had_enough && !facts->writer_is_open))
        return facts->fresh;
    return facts->ticket;
}
