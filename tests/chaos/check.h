// SPDX-License-Identifier: Apache-2.0
// The checker of the fault campaign: reads a history and says what the promises forbid in it.
//
//   lost           acknowledged, and absent from a node that serves at the end (P1)
//   vanished       never acknowledged, but once read, and absent at the end (P2)
//   stale          a barrier-backed read missed what was acknowledged or read before it began
//   changed        a read gave other bytes than were deposited under that id
//   disagree       at the end one serving node has it and another has not
//   two_receipts   one (incarnation, log index) in the receipts of two deposits
//   new_receipt    one deposit was given two different receipts
//   two_actives    two nodes acknowledged in one (incarnation, epoch) (P3)
//   unread         acknowledged, but read from no node at the end: nothing is proven
#ifndef CHAOS_CHECK_H
#define CHAOS_CHECK_H

#include <stddef.h>
#include <stdio.h>

#include "tests/chaos/history.h"

enum chaos_violation {
    CHAOS_LOST,
    CHAOS_VANISHED,
    CHAOS_STALE,
    CHAOS_CHANGED,
    CHAOS_DISAGREE,
    CHAOS_TWO_RECEIPTS,
    CHAOS_NEW_RECEIPT,
    CHAOS_TWO_ACTIVES,
    CHAOS_UNREAD,
    CHAOS_VIOLATION_COUNT
};
const char *chaos_violation_name(enum chaos_violation kind);

struct chaos_check;
// Violations are explained on `out` (may be NULL), the first twenty of each kind.
struct chaos_check *chaos_check_new(FILE *out);
void chaos_check_free(struct chaos_check *check);
// Events in the order of the history.
void chaos_check_event(struct chaos_check *check, const struct chaos_event *event);
// After the last event: what can only be said of the whole.
void chaos_check_finish(struct chaos_check *check);

size_t chaos_check_count(const struct chaos_check *check, enum chaos_violation kind);
size_t chaos_check_violations(const struct chaos_check *check);
// How many operations of a kind ended so; unknown includes those that never ended.
size_t chaos_check_operations(const struct chaos_check *check, enum chaos_kind kind,
                              enum chaos_ev ev);
// Deposits that were acknowledged; nodes that were read at the end.
size_t chaos_check_acknowledged(const struct chaos_check *check);
size_t chaos_check_final_nodes(const struct chaos_check *check);

#endif
