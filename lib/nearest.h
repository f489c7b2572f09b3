// SPDX-License-Identifier: Apache-2.0
// The known name that a misspelt one was probably meant to be.
#ifndef KT_NEAREST_H
#define KT_NEAREST_H

#include <stddef.h>

// Start with KT_NEAREST_INIT(typed), offer every known name, then read `best`: NULL when none is
// near enough (a third of the letters may be wrong). Names stay owned by the caller.
struct kt_nearest {
    const char *typed;
    const char *best;
    size_t distance;
};

#define KT_NEAREST_INIT(text)                                                                      \
    {                                                                                              \
        (text), NULL, (size_t)-1                                                                   \
    }

void kt_nearest_offer(struct kt_nearest *nearest, const char *known);

#endif
