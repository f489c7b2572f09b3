// SPDX-License-Identifier: Apache-2.0
// Edit distance between short names, for "did you mean".
#include "lib/nearest.h"

#include <string.h>

#define NAME_MAX_ 64

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

// Damerau's distance (a swap of neighbours counts once), over two rows and the one before them.
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][NAME_MAX_ + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= m; j++)
        last[j] = j;
    memcpy(before, last, sizeof(rows[0]));
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t wrong = a[i - 1] != b[j - 1];
            now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + wrong);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[m];
}

void kt_nearest_offer(struct kt_nearest *nearest, const char *known)
{
    size_t n = strlen(nearest->typed), m = strlen(known);
    size_t longer = n > m ? n : m;
    size_t d;

    if (n == 0 || longer > NAME_MAX_)
        return;
    d = distance(nearest->typed, n, known, m);
    // what was cut short counts as near: "org" for "organisation"
    if (n >= 3 && n < m && strncmp(known, nearest->typed, n) == 0)
        d = 1;
    if (d <= (longer + 2) / 3 && d < longer && d < nearest->distance) {
        nearest->distance = d;
        nearest->best = known;
    }
}
