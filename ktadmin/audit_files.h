// SPDX-License-Identifier: Apache-2.0
// Reading the audit files of a node in order, checking the chain on the way.
#ifndef KTA_AUDIT_FILES_H
#define KTA_AUDIT_FILES_H

#include <stdint.h>

#include "lib/formats.h"

struct kta_audit_report {
    unsigned files;
    uint64_t records;
    uint64_t first_seq, last_seq;     // 0 when there are no records
    uint8_t last_hash[KT_SHA256_LEN]; // of the last record
    int64_t unfinished;               // bytes of a last line that is still being written
    // The first thing that is wrong; "" when nothing is.
    char problem[192];
    char where[64]; // "audit-000002.log:17", or a file's name
};

// Called for each record; `json` is not NUL-terminated. A negative result stops the walk.
typedef int (*kta_audit_record)(void *arg, uint64_t seq, const uint8_t hash[KT_SHA256_LEN],
                                const char *json, size_t n);

// Walks all files of the folder. Returns 0 when they could be read, whatever they hold: the first
// problem is in the report, and the walk goes on with the next file, so that what the server wrote
// after a break can be seen. KT_ERR_NOT_FOUND when there is no file.
int kta_audit_walk(const char *dir, kta_audit_record record, void *arg,
                   struct kta_audit_report *report, struct kt_error *error) KT_MUST_CHECK;
// As kta_audit_walk, and goes on with what is written from then on. `idle` is called whenever all
// that is there was read, and waits a while; non-zero ends the walk with that code (0 for a positive
// one). So does a problem that shows while it goes on.
int kta_audit_follow(const char *dir, kta_audit_record record, int (*idle)(void *arg), void *arg,
                     struct kta_audit_report *report, struct kt_error *error) KT_MUST_CHECK;

#endif
