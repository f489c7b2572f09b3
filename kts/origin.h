// SPDX-License-Identifier: Apache-2.0
// Where a worker's connections come from, and which of them wait: who has to go when there is no
// room for a new one.
#ifndef KTS_ORIGIN_H
#define KTS_ORIGIN_H

#include "kts/meter.h"

// One address with connections to this worker. Gone with its last one, so the table needs no bound
// of its own.
struct kts_origin {
    uint8_t address[KTS_ADDRESS_LEN];
    size_t connections;
    size_t waiting;                       // of these
    struct kts_origin *next;              // of the hash table
    struct kts_origin *rank_next, **rank; // of those with as many waiting ones
    struct kts_place *first, **last;      // waiting ones, the longest first
};

// In each connection. It waits when the next word is the caller's: in its handshake, between two
// requests, in the middle of a header, at its end.
struct kts_place {
    struct kts_origin *origin;
    struct kts_place *next, **link; // link is NULL when it does not wait
    void *owner;                    // the connection
};

struct kts_origins;

// For at most `max` connections.
int kts_origins_new(size_t max, struct kts_origins **origins) KT_MUST_CHECK;
void kts_origins_free(struct kts_origins *origins);
// The address' entry; NULL when it has no connections.
struct kts_origin *kts_origins_find(const struct kts_origins *origins,
                                    const uint8_t address[KTS_ADDRESS_LEN]);
// A connection of that address begins, and waits. KT_ERR_NO_MEMORY, or KT_ERR_BUSY over the bound.
int kts_origins_join(struct kts_origins *origins, const uint8_t address[KTS_ADDRESS_LEN],
                     struct kts_place *place, void *owner) KT_MUST_CHECK;
// It ends. Without effect on a place that has not joined.
void kts_origins_leave(struct kts_origins *origins, struct kts_place *place);
// It waits from now on: it is the last to go of its origin's.
void kts_origins_wait(struct kts_origins *origins, struct kts_place *place);
// It does not wait any more: nobody else makes it go.
void kts_origins_work(struct kts_origins *origins, struct kts_place *place);
// The owner of the connection that has waited longest: of one origin, or of the origin that has
// most that wait. NULL when there is none.
void *kts_origin_longest(const struct kts_origin *origin);
void *kts_origins_longest(const struct kts_origins *origins);

#endif
