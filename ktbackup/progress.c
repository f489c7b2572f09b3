// SPDX-License-Identifier: Apache-2.0
// The line of progress.
#include "ktbackup/progress.h"

#include <stdio.h>

#include "lib/encode.h"

#define EVERY_US 200000

void ktb_size_format(uint64_t bytes, char out[KTB_SIZE_TEXT])
{
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < sizeof(UNITS) / sizeof(UNITS[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(out, KTB_SIZE_TEXT, unit ? "%.1f %s" : "%.0f %s", value, UNITS[unit]);
}

void ktb_progress_begin(struct ktb_progress *progress, const char *what, uint64_t total,
                        int is_shown)
{
    *progress = (struct ktb_progress){
        .what = what, .total = total, .is_shown = is_shown, .begun_us = kt_monotonic_now()};
}

void ktb_progress_show(struct ktb_progress *progress, uint64_t done)
{
    int64_t now = kt_monotonic_now(), spent = now - progress->begun_us;
    char text[KTB_SIZE_TEXT], total[KTB_SIZE_TEXT], rate[KTB_SIZE_TEXT];

    if (!progress->is_shown || now - progress->shown_us < EVERY_US)
        return;
    progress->shown_us = now;
    ktb_size_format(done, text);
    ktb_size_format(spent > 0 ? (uint64_t)((double)done * 1e6 / (double)spent) : 0, rate);
    if (progress->total == 0) {
        fprintf(stderr, "\r%s %s, %s/s   ", progress->what, text, rate);
    } else {
        ktb_size_format(progress->total, total);
        fprintf(stderr, "\r%s %s of %s (%.0f %%), %s/s   ", progress->what, text, total,
                100.0 * (double)done / (double)progress->total, rate);
    }
    fflush(stderr);
}

void ktb_progress_call(void *progress, uint64_t done, uint64_t total)
{
    (void)total;
    ktb_progress_show(progress, done);
}

void ktb_progress_end(struct ktb_progress *progress)
{
    if (progress->is_shown && progress->shown_us > 0)
        fprintf(stderr, "\r%*s\r", 72, "");
    progress->is_shown = 0;
}
