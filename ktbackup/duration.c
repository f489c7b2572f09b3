// SPDX-License-Identifier: Apache-2.0
// Ages on the command line.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktbackup/commands.h"
#include "lib/encode.h"

int ktb_duration(const char *option, const char *text, int64_t *us, struct kt_error *error)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } UNITS[] = {{"min", 60}, {"h", 3600}, {"d", 86400}, {"w", 7 * 86400}, {"y", 365 * 86400}};
    size_t digits = strspn(text, "0123456789");
    char number[16];
    uint64_t count;

    if (digits > 0 && digits < sizeof(number)) {
        memcpy(number, text, digits);
        number[digits] = '\0';
        for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++)
            if (strcmp(text + digits, UNITS[i].unit) == 0 &&
                kt_u64_parse(number, 1, 100000, &count) == 0) {
                *us = (int64_t)count * UNITS[i].seconds * 1000000;
                return 0;
            }
    }
    return kt_error_set(error, KT_ERR_USAGE, "such as 90d; units are min, h, d, w, y",
                        "--%s: '%.40s' is no age", option, text);
}
