// SPDX-License-Identifier: Apache-2.0
// The table of origins, ranked by how many of their connections wait.
#include "kts/origin.h"

#include <stdlib.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/encode.h"

struct kts_origins {
    size_t max;
    uint64_t secret;
    size_t bucket_count;
    struct kts_origin **buckets;
    // ranks[n] are the origins with n waiting connections, those that came to it first in front.
    struct {
        struct kts_origin *first, **last;
    } * ranks;
    size_t most; // the highest rank that is not empty
};

int kts_origins_new(size_t max, struct kts_origins **origins)
{
    struct kts_origins *fresh = calloc(1, sizeof(*fresh));
    int rc = KT_ERR_NO_MEMORY;

    if (!fresh)
        return rc;
    fresh->max = max;
    fresh->bucket_count = max / 4 + 1;
    fresh->buckets = calloc(fresh->bucket_count, sizeof(struct kts_origin *));
    fresh->ranks = calloc(max + 1, sizeof(*fresh->ranks));
    if (!fresh->buckets || !fresh->ranks)
        goto out;
    for (size_t i = 0; i <= max; i++)
        fresh->ranks[i].last = &fresh->ranks[i].first;
    rc = kt_random(&fresh->secret, sizeof(fresh->secret));
    if (rc == 0) {
        *origins = fresh;
        fresh = NULL;
    }
out:
    kts_origins_free(fresh);
    return rc;
}

void kts_origins_free(struct kts_origins *origins)
{
    if (!origins)
        return;
    for (size_t i = 0; origins->buckets && i < origins->bucket_count; i++) {
        while (origins->buckets[i]) {
            struct kts_origin *origin = origins->buckets[i];
            origins->buckets[i] = origin->next;
            free(origin);
        }
    }
    free(origins->buckets);
    free(origins->ranks);
    free(origins);
}

// Mixed with the secret, so that nobody can choose addresses that share a bucket.
static struct kts_origin **bucket_of(const struct kts_origins *origins,
                                     const uint8_t address[KTS_ADDRESS_LEN])
{
    uint64_t bits = 0;

    memcpy(&bits, address + 1, sizeof(bits));
    bits = (bits ^ origins->secret ^ address[0]) * UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ (bits >> 29) ^ (origins->secret >> 17)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits ^= bits >> 32;
    return &origins->buckets[bits % origins->bucket_count];
}

struct kts_origin *kts_origins_find(const struct kts_origins *origins,
                                    const uint8_t address[KTS_ADDRESS_LEN])
{
    struct kts_origin *origin = *bucket_of(origins, address);

    while (origin && memcmp(origin->address, address, KTS_ADDRESS_LEN) != 0)
        origin = origin->next;
    return origin;
}

static void leave_rank(struct kts_origins *origins, struct kts_origin *origin)
{
    *origin->rank = origin->rank_next;
    if (origin->rank_next)
        origin->rank_next->rank = origin->rank;
    else
        origins->ranks[origin->waiting].last = origin->rank;
    while (origins->most > 0 && !origins->ranks[origins->most].first)
        origins->most--;
}

static void enter_rank(struct kts_origins *origins, struct kts_origin *origin, size_t waiting)
{
    origin->waiting = waiting;
    origin->rank = origins->ranks[waiting].last;
    origin->rank_next = NULL;
    *origin->rank = origin;
    origins->ranks[waiting].last = &origin->rank_next;
    if (waiting > origins->most)
        origins->most = waiting;
}

int kts_origins_join(struct kts_origins *origins, const uint8_t address[KTS_ADDRESS_LEN],
                     struct kts_place *place, void *owner)
{
    struct kts_origin *origin = kts_origins_find(origins, address);

    if (!origin) {
        struct kts_origin **bucket = bucket_of(origins, address);

        origin = calloc(1, sizeof(*origin));
        if (!origin)
            return KT_ERR_NO_MEMORY;
        memcpy(origin->address, address, KTS_ADDRESS_LEN);
        origin->last = &origin->first;
        origin->next = *bucket;
        *bucket = origin;
        enter_rank(origins, origin, 0);
    }
    if (origin->connections >= origins->max)
        return KT_ERR_BUSY;
    origin->connections++;
    *place = (struct kts_place){.origin = origin, .owner = owner};
    kts_origins_wait(origins, place);
    return 0;
}

void kts_origins_leave(struct kts_origins *origins, struct kts_place *place)
{
    struct kts_origin *origin = place->origin, **at;

    if (!origin)
        return;
    kts_origins_work(origins, place);
    place->origin = NULL;
    if (--origin->connections > 0)
        return;
    leave_rank(origins, origin);
    at = bucket_of(origins, origin->address);
    while (*at != origin)
        at = &(*at)->next;
    *at = origin->next;
    free(origin);
}

void kts_origins_work(struct kts_origins *origins, struct kts_place *place)
{
    struct kts_origin *origin = place->origin;

    if (!origin || !place->link)
        return;
    *place->link = place->next;
    if (place->next)
        place->next->link = place->link;
    else
        origin->last = place->link;
    place->link = NULL;
    leave_rank(origins, origin);
    enter_rank(origins, origin, origin->waiting - 1);
}

void kts_origins_wait(struct kts_origins *origins, struct kts_place *place)
{
    struct kts_origin *origin = place->origin;

    if (!origin)
        return;
    kts_origins_work(origins, place);
    place->next = NULL;
    place->link = origin->last;
    *origin->last = place;
    origin->last = &place->next;
    leave_rank(origins, origin);
    enter_rank(origins, origin, origin->waiting + 1);
}

void *kts_origin_longest(const struct kts_origin *origin)
{
    return origin && origin->first ? origin->first->owner : NULL;
}

void *kts_origins_longest(const struct kts_origins *origins)
{
    return origins->most > 0 ? kts_origin_longest(origins->ranks[origins->most].first) : NULL;
}
