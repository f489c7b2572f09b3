// SPDX-License-Identifier: Apache-2.0
// What a node is, from its promise, the rows in its log, its position and what its peers promised;
// and whether its writer may write. Pure functions.
#ifndef KTS_AGENT_ROLE_H
#define KTS_AGENT_ROLE_H

#include "kts/status.h"
#include "lib/epoch.h"

struct kts_role_facts {
    const struct kt_promise *promise; // NULL: none
    const struct kt_promise *others;  // what the peers promised
    size_t other_count;
    const struct kt_epoch_row *newest;  // row in the log; NULL: none
    const struct kt_epoch_row *pending; // row that a promotion left to be written; NULL: none
    int in_recovery;
    int restored; // put back with stock tools: reads only
    int removed;  // from the list of nodes, as this one knows it
};
enum kts_role kts_role_of(const struct kts_role_facts *facts);
// Whether one of `others` is above `promise`: (incarnation, epoch). One that cannot be compared
// (equal numbers of incarnations, other bits) counts as above.
int kts_role_is_overtaken(const struct kt_promise *promise, const struct kt_promise *others,
                          size_t count);
// Whether a node that has no entry for `promise->member` any more, and whose newest row is `row`,
// says so with right: the row is of a later epoch than the promise, or of the very one that was
// promised to another, and has not got this node. A row of an older epoch, or of an active that
// this node did not promise to follow, may be that of a history that lost.
int kts_role_is_removed(const struct kt_promise *promise, const struct kt_epoch_row *row);
// The highest of them, `promise` included; NULL when there is none at all.
const struct kt_promise *kts_role_highest(const struct kt_promise *promise,
                                          const struct kt_promise *others, size_t count);

struct kts_ticket_facts {
    enum kts_role role;
    int held;            // by a job or an operator
    uint32_t members, w; // that stream; that must
    int had_enough;      // of them at the last look
    int writer_is_open;
    uint64_t ticket; // now
    uint64_t fresh;  // a number that was never used
};
// The writer's permission from now on, 0 = none. It stays when members go away: changes are refused
// before they are sent then, and those under way may still be acknowledged. A writer that gave up
// meanwhile gets a fresh one when they are back.
uint64_t kts_ticket_of(const struct kts_ticket_facts *facts);

#endif
