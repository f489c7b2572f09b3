// SPDX-License-Identifier: Apache-2.0
// How often something happened lately, by whom: a table of fixed size that all workers share.
#ifndef KTS_METER_H
#define KTS_METER_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

struct sockaddr;

// What is counted. Each stands alone: who fails at one thing too often is refused that one thing.
enum kts_meter_kind {
    KTS_METER_HANDSHAKES,   // new connections of an address
    KTS_METER_CODES,        // auth codes of an address that were refused
    KTS_METER_CODE,         // ... of one code id, wherever they came from
    KTS_METER_CERTIFICATES, // certificates of an address that the CA did not sign
    KTS_METER_CERTIFICATE,  // refusals of one certificate that it did sign
    KTS_METER_MALFORMED,    // requests of an address, or of one certificate, that are malformed
};

// `count` at once, and as many again in each `period_us`.
struct kts_rate {
    int64_t count;
    int64_t period_us;
};

// An IPv4 address, or the network (/64) of an IPv6 address: what one host has to itself. An IPv4
// address inside IPv6 is the IPv4 address.
#define KTS_ADDRESS_LEN 9
void kts_address_of(const struct sockaddr *peer, uint8_t out[KTS_ADDRESS_LEN]);

struct kts_meter;

// Anonymous shared memory, made before the first fork.
int kts_meter_new(struct kts_meter **meter) KT_MUST_CHECK;
// For tests: the server's lives as long as its processes.
void kts_meter_free(struct kts_meter *meter);
// The key of somebody or something, of at most 64 bytes. Nobody outside can tell whose keys share a
// place in the table.
uint64_t kts_meter_key(const struct kts_meter *meter, enum kts_meter_kind kind, const void *who,
                       size_t n);
// 0: within the rate; else the microseconds until the next one is.
int64_t kts_meter_wait(struct kts_meter *meter, uint64_t key, struct kts_rate rate, int64_t now_us);
// Counts one.
void kts_meter_charge(struct kts_meter *meter, uint64_t key, struct kts_rate rate, int64_t now_us);
// Counts one when it is within the rate (0); else as kts_meter_wait.
int64_t kts_meter_take(struct kts_meter *meter, uint64_t key, struct kts_rate rate, int64_t now_us);

#endif
