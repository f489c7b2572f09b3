// SPDX-License-Identifier: Apache-2.0
// The plaintext of a backup, as a tar stream into a pipe, made by a thread of its own.
#ifndef KTB_PRODUCE_H
#define KTB_PRODUCE_H

#include "db/backup.h"
#include "ktbackup/plan.h"

struct ktb_content {
    const struct ktb_place *place;
    const struct ktb_plan *plan;
    const char *stem;
    struct db_backup *database; // NULL: none
    int is_plain_sql;           // all rows in the script
};

// Bytes that the members will have, for the progress: what stands in headers is not counted.
// With the rows in the script it counts them, which takes a while.
int ktb_content_size(const struct ktb_content *content, uint64_t *bytes,
                     struct kt_error *error) KT_MUST_CHECK;

struct ktb_producer;
// Begins to write. `*fd` receives the end of the pipe to read from, which is the caller's.
int ktb_producer_start(const struct ktb_content *content, struct ktb_producer **producer, int *fd,
                       struct kt_error *error) KT_MUST_CHECK;
// Bytes of members written so far; may be asked at any time.
uint64_t ktb_producer_done(const struct ktb_producer *producer);
// Waits for its end (the reader's end must have been read to its end, or closed) and frees it. 0
// only when all of the archive was written.
int ktb_producer_finish(struct ktb_producer *producer, struct kt_error *error) KT_MUST_CHECK;

#endif
