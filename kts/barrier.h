// SPDX-License-Identifier: Apache-2.0
// Shared barriers: many requests that want to know whether a quorum is here now, one question to
// the writer at a time.
#ifndef KTS_BARRIER_H
#define KTS_BARRIER_H

#include "kts/ask.h"

struct kts_worker;

// Called once: 0, or why there is no quorum (a code with an HTTP status).
typedef void (*kts_barrier_done)(void *arg, int code);

// Somebody who waits; lies in its own memory, zeroed at first.
struct kts_barrier_waiter {
    struct kts_barrier_waiter *next, **link; // link NULL: does not wait
    kts_barrier_done done;
    void *arg;
};

// In the worker; zeroed at first.
struct kts_barrier {
    struct kts_question question;
    struct kts_barrier_waiter *present; // wait for the one under way
    struct kts_barrier_waiter *next;    // came later: it may have begun before them
};

// May call back at once.
void kts_barrier_wait(struct kts_worker *worker, struct kts_barrier_waiter *waiter,
                      kts_barrier_done done, void *arg);
void kts_barrier_forget(struct kts_barrier_waiter *waiter);
// 0 when changes can be sent to the writer now, else the reason that a client is told.
int kts_writer_check(const struct kts_worker *worker);

#endif
