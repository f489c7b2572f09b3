// SPDX-License-Identifier: Apache-2.0
// One line on a terminal that says how far long work is.
#ifndef KTB_PROGRESS_H
#define KTB_PROGRESS_H

#include <stdint.h>

struct ktb_progress {
    const char *what; // "saving"
    uint64_t total;   // 0: not known
    int64_t begun_us, shown_us;
    int is_shown; // 0: says nothing
};

void ktb_progress_begin(struct ktb_progress *progress, const char *what, uint64_t total,
                        int is_shown);
void ktb_progress_show(struct ktb_progress *progress, uint64_t done);
// The same as a kt_backup_progress; a total of 0 leaves the one given at the beginning.
void ktb_progress_call(void *progress, uint64_t done, uint64_t total);
// Takes the line away.
void ktb_progress_end(struct ktb_progress *progress);

// "512 B", "1.5 MiB"
#define KTB_SIZE_TEXT 32
void ktb_size_format(uint64_t bytes, char out[KTB_SIZE_TEXT]);

#endif
