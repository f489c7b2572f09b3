// SPDX-License-Identifier: Apache-2.0
// Turns: a ring of organisations, in each a ring of clients, in each a queue of what waits.
#include "kts/fair.h"

#include <stdlib.h>

#define BUCKETS 1024

struct kts_fair {
    struct kts_ring organisations[KTS_FAIR_QUEUES];
    struct kts_tenant *buckets[BUCKETS];
};

// --- rings ---

static void ring_init(struct kts_ring *ring, void *owner)
{
    *ring = (struct kts_ring){ring, ring, owner};
}

static int ring_is_alone(const struct kts_ring *ring)
{
    return ring->next == ring;
}

// As the last of the ring that begins behind `head`.
static void ring_add(struct kts_ring *head, struct kts_ring *one)
{
    one->previous = head->previous;
    one->next = head;
    head->previous->next = one;
    head->previous = one;
}

static void ring_take(struct kts_ring *one)
{
    one->previous->next = one->next;
    one->next->previous = one->previous;
    one->next = one->previous = one;
}

// --- tenants ---

int kts_fair_new(struct kts_fair **fair)
{
    struct kts_fair *fresh = calloc(1, sizeof(*fresh));

    if (!fresh)
        return KT_ERR_NO_MEMORY;
    for (unsigned i = 0; i < KTS_FAIR_QUEUES; i++)
        ring_init(&fresh->organisations[i], fresh);
    *fair = fresh;
    return 0;
}

void kts_fair_free(struct kts_fair *fair)
{
    for (size_t i = 0; fair && i < BUCKETS; i++) {
        while (fair->buckets[i]) {
            struct kts_tenant *tenant = fair->buckets[i];
            fair->buckets[i] = tenant->next;
            free(tenant);
        }
    }
    free(fair);
}

static struct kts_tenant **bucket_of(struct kts_fair *fair, const struct kts_tenant *parent,
                                     uint64_t key)
{
    return &fair->buckets[(key ^ (parent ? parent->key * 31 + 1 : 0)) % BUCKETS];
}

static struct kts_tenant *find_or_make(struct kts_fair *fair, struct kts_tenant *parent,
                                       uint64_t key)
{
    struct kts_tenant **bucket = bucket_of(fair, parent, key), *tenant = *bucket;

    while (tenant && (tenant->key != key || tenant->parent != parent))
        tenant = tenant->next;
    if (tenant)
        return tenant;
    tenant = calloc(1, sizeof(*tenant));
    if (!tenant)
        return NULL;
    tenant->key = key;
    tenant->parent = parent;
    for (unsigned i = 0; i < KTS_FAIR_QUEUES; i++) {
        ring_init(&tenant->turn[i], tenant);
        ring_init(&tenant->inside[i], tenant);
    }
    tenant->next = *bucket;
    *bucket = tenant;
    return tenant;
}

static void forget_if_idle(struct kts_fair *fair, struct kts_tenant *tenant)
{
    struct kts_tenant **at = bucket_of(fair, tenant->parent, tenant->key);

    if (tenant->under_way > 0)
        return;
    while (*at != tenant)
        at = &(*at)->next;
    *at = tenant->next;
    free(tenant);
}

struct kts_tenant *kts_fair_join(struct kts_fair *fair, uint64_t organisation, uint64_t client)
{
    struct kts_tenant *parent = find_or_make(fair, NULL, organisation);
    struct kts_tenant *tenant = parent ? find_or_make(fair, parent, client) : NULL;

    if (!parent)
        return NULL;
    if (!tenant) {
        forget_if_idle(fair, parent);
        return NULL;
    }
    parent->under_way++;
    tenant->under_way++;
    return tenant;
}

void kts_fair_leave(struct kts_fair *fair, struct kts_tenant *client)
{
    struct kts_tenant *parent = client->parent;

    client->under_way--;
    parent->under_way--;
    forget_if_idle(fair, client);
    forget_if_idle(fair, parent);
}

// --- turns ---

void kts_fair_push(struct kts_fair *fair, unsigned queue, struct kts_tenant *client,
                   struct kts_fair_item *item, void *owner)
{
    struct kts_tenant *parent = client->parent;

    ring_init(&item->ring, item);
    item->tenant = client;
    item->queue = queue;
    item->owner = owner;
    if (ring_is_alone(&client->inside[queue]))
        ring_add(&parent->inside[queue], &client->turn[queue]);
    if (ring_is_alone(&parent->turn[queue]))
        ring_add(&fair->organisations[queue], &parent->turn[queue]);
    ring_add(&client->inside[queue], &item->ring);
}

void kts_fair_remove(struct kts_fair_item *item)
{
    struct kts_tenant *client = item->tenant;

    if (!client)
        return;
    ring_take(&item->ring);
    item->tenant = NULL;
    if (ring_is_alone(&client->inside[item->queue]))
        ring_take(&client->turn[item->queue]);
    if (ring_is_alone(&client->parent->inside[item->queue]))
        ring_take(&client->parent->turn[item->queue]);
}

// Whoever has had a turn goes to the end of the ring.
static void pass_on(struct kts_ring *head, struct kts_ring *one)
{
    ring_take(one);
    ring_add(head, one);
}

void *kts_fair_pop(struct kts_fair *fair, unsigned queue)
{
    struct kts_ring *organisations = &fair->organisations[queue];
    struct kts_tenant *organisation, *client;
    struct kts_fair_item *item;

    if (ring_is_alone(organisations))
        return NULL;
    organisation = organisations->next->owner;
    client = organisation->inside[queue].next->owner;
    item = client->inside[queue].next->owner;
    pass_on(organisations, &organisation->turn[queue]);
    pass_on(&organisation->inside[queue], &client->turn[queue]);
    kts_fair_remove(item);
    return item->owner;
}
