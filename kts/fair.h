// SPDX-License-Identifier: Apache-2.0
// A queue in which everybody has a turn: organisations one after the other, and within each its
// clients one after the other, however much each of them has put in.
#ifndef KTS_FAIR_H
#define KTS_FAIR_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

// One process may have several queues of the same tenants.
#define KTS_FAIR_QUEUES 2

// A member of a ring; alone when it points to itself.
struct kts_ring {
    struct kts_ring *next, *previous;
    void *owner;
};

// An organisation, or a client of one. It is there as long as it has something under way.
struct kts_tenant {
    struct kts_tenant *next; // of the hash table
    struct kts_tenant *parent;
    uint64_t key;
    size_t under_way; // members that have joined
    uint64_t bytes;   // for the caller's use
    struct kts_ring turn[KTS_FAIR_QUEUES], inside[KTS_FAIR_QUEUES];
};

// In whatever waits.
struct kts_fair_item {
    struct kts_ring ring;
    struct kts_tenant *tenant; // NULL: it does not wait
    unsigned queue;
    void *owner;
};

struct kts_fair;

int kts_fair_new(struct kts_fair **fair) KT_MUST_CHECK;
void kts_fair_free(struct kts_fair *fair);
// The client of that organisation, which has one more under way; so has the organisation (its
// `parent`). NULL: no memory.
struct kts_tenant *kts_fair_join(struct kts_fair *fair, uint64_t organisation, uint64_t client);
void kts_fair_leave(struct kts_fair *fair, struct kts_tenant *client);
// The item waits in that queue; its tenant has joined and stays until it is taken out.
void kts_fair_push(struct kts_fair *fair, unsigned queue, struct kts_tenant *client,
                   struct kts_fair_item *item, void *owner);
// Whose turn it is, taken out: its owner, or NULL.
void *kts_fair_pop(struct kts_fair *fair, unsigned queue);
// Takes it out wherever it is; without effect when it does not wait.
void kts_fair_remove(struct kts_fair_item *item);

#endif
