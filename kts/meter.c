// SPDX-License-Identifier: Apache-2.0
// The table of rates: one number for each key, the time until which its allowance is used up
// (the generic cell rate algorithm).
//
// Its size is fixed. A key that finds its set full takes the place of the one that owes least: a
// newcomer is always counted, and whoever fills the table frees those who did the least, never
// refuses anybody in another's name.
#include "kts/meter.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "lib/digest.h"
#include "lib/encode.h"

#define SETS    8192 // a power of two
#define WAYS    8
#define WHO_MAX 64

struct slot {
    _Atomic uint64_t key; // 0: never used
    _Atomic int64_t until_us;
};

// Written by all workers without a lock: what a lost race costs is one count.
struct kts_meter {
    uint8_t secret[16];
    struct slot sets[SETS][WAYS];
};

void kts_address_of(const struct sockaddr *peer, uint8_t out[KTS_ADDRESS_LEN])
{
    memset(out, 0, KTS_ADDRESS_LEN);
    if (peer->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, peer, sizeof(v4));
        out[0] = 4;
        memcpy(out + 1, &v4.sin_addr, 4);
    } else if (peer->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, peer, sizeof(v6));
        out[0] = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) ? 4 : 6;
        if (out[0] == 4)
            memcpy(out + 1, v6.sin6_addr.s6_addr + 12, 4);
        else
            memcpy(out + 1, v6.sin6_addr.s6_addr, 8);
    }
}

int kts_meter_new(struct kts_meter **meter)
{
    struct kts_meter *fresh =
        mmap(NULL, sizeof(*fresh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int rc;

    if (fresh == MAP_FAILED)
        return KT_ERR_NO_MEMORY;
    rc = kt_random(fresh->secret, sizeof(fresh->secret));
    if (rc) {
        kts_meter_free(fresh);
        return rc;
    }
    *meter = fresh; // the rest is zeroed by the kernel
    return 0;
}

void kts_meter_free(struct kts_meter *meter)
{
    if (meter)
        munmap(meter, sizeof(*meter));
}

uint64_t kts_meter_key(const struct kts_meter *meter, enum kts_meter_kind kind, const void *who,
                       size_t n)
{
    uint8_t text[sizeof(meter->secret) + 1 + WHO_MAX], hash[KT_SHA256_LEN];
    uint64_t key = 0;

    if (n > WHO_MAX)
        n = WHO_MAX;
    memcpy(text, meter->secret, sizeof(meter->secret));
    text[sizeof(meter->secret)] = (uint8_t)kind;
    memcpy(text + sizeof(meter->secret) + 1, who, n);
    if (kt_sha256(text, sizeof(meter->secret) + 1 + n, hash) == 0)
        memcpy(&key, hash, sizeof(key));
    return key ? key : 1;
}

static struct slot *find(struct kts_meter *meter, uint64_t key)
{
    struct slot *set = meter->sets[key % SETS];

    for (size_t i = 0; i < WAYS; i++) {
        if (atomic_load_explicit(&set[i].key, memory_order_relaxed) == key)
            return &set[i];
    }
    return NULL;
}

static struct slot *find_or_take(struct kts_meter *meter, uint64_t key)
{
    struct slot *slot = find(meter, key), *set = meter->sets[key % SETS];
    uint64_t old;

    if (slot)
        return slot;
    slot = &set[0];
    for (size_t i = 1; i < WAYS; i++) {
        if (atomic_load(&set[i].until_us) < atomic_load(&slot->until_us))
            slot = &set[i];
    }
    old = atomic_load(&slot->key);
    // When another worker was quicker, this count goes to whoever it put there: one too many.
    if (atomic_compare_exchange_strong(&slot->key, &old, key))
        atomic_store(&slot->until_us, 0);
    return slot;
}

static int64_t cost(struct kts_rate rate)
{
    int64_t us = rate.count > 0 ? rate.period_us / rate.count : rate.period_us;

    return us > 0 ? us : 1;
}

// How long until one more fits behind `until_us`.
static int64_t wait_for(int64_t until_us, struct kts_rate rate, int64_t now_us)
{
    int64_t over = until_us - now_us - (rate.count - 1) * cost(rate);

    return over > 0 ? over : 0;
}

int64_t kts_meter_wait(struct kts_meter *meter, uint64_t key, struct kts_rate rate, int64_t now_us)
{
    struct slot *slot = find(meter, key);

    return slot ? wait_for(atomic_load(&slot->until_us), rate, now_us) : 0;
}

void kts_meter_charge(struct kts_meter *meter, uint64_t key, struct kts_rate rate, int64_t now_us)
{
    struct slot *slot = find_or_take(meter, key);
    int64_t old = atomic_load(&slot->until_us), most = now_us + rate.count * cost(rate), fresh;

    do { // never more than the whole allowance: what is beyond would be a punishment without end
        fresh = (old > now_us ? old : now_us) + cost(rate);
        if (fresh > most)
            fresh = most;
    } while (!atomic_compare_exchange_weak(&slot->until_us, &old, fresh));
}

int64_t kts_meter_take(struct kts_meter *meter, uint64_t key, struct kts_rate rate, int64_t now_us)
{
    struct slot *slot = find_or_take(meter, key);
    int64_t old = atomic_load(&slot->until_us), fresh;

    do {
        int64_t wait_us = wait_for(old, rate, now_us);

        if (wait_us > 0)
            return wait_us;
        fresh = (old > now_us ? old : now_us) + cost(rate);
    } while (!atomic_compare_exchange_weak(&slot->until_us, &old, fresh));
    return 0;
}
