// SPDX-License-Identifier: Apache-2.0
// Inside the audit files: the one that is written to, shared by audit_open.c, audit_file.c and
// audit_touched.c.
#ifndef KTS_AUDIT_INNER_H
#define KTS_AUDIT_INNER_H

#include <time.h>

#include <jansson.h>

#include "kts/audit_file.h"
#include "lib/buf.h"

// Left beside the files when one was found tampered with while it was written: the head that was
// lost, so that a restart does not take a shortened file for a whole one.
#define KTS_AUDIT_MARKER "lost"
// Of the end of the file, compared before each batch.
#define KTS_AUDIT_TAIL 512

struct kts_audit_file {
    char dir[KT_PATH_MAX];
    char cluster_id[KT_UUID_TEXT];
    char node[KT_NODE_NAME_MAX + 1];
    int64_t file_size;
    int dir_fd; // the folder, also when somebody gives it another name
    int fd;
    unsigned number;
    char path[KT_PATH_MAX];
    int64_t size;                // of what is durable
    struct kts_audit_head head;  // durable
    struct kts_audit_head ahead; // with the batch
    struct kt_buf batch;
    int count;
    size_t written; // bytes of the last batch, which still stand at the storage's beginning
    int dirty;      // a failed batch may have left bytes behind `size`
    int lost;
    struct timespec modified, changed; // of the file, by our last hand
    uint8_t tail[KTS_AUDIT_TAIL];      // the last bytes that are durable
    size_t tail_len;
};

// --- audit_open.c ---
// Begins file `number` with the record that ties it to `head`, the last of the one before.
// `broken` (may be NULL) and `problem` say what became of that.
int kts_audit_begin(struct kts_audit_file *file, unsigned number, struct kts_audit_head head,
                    const char *broken, const char *problem, struct kt_error *error) KT_MUST_CHECK;
// Adds time and node, and gives the record's text (the caller frees it).
int kts_audit_finish_record(const struct kts_audit_file *file, json_t *record,
                            char **text) KT_MUST_CHECK;
// Formats the line that follows `head` and moves `head` on.
int kts_audit_next_line(struct kts_audit_head *head, const char *json, char line[KT_AUDIT_LINE_MAX],
                        size_t *len) KT_MUST_CHECK;

// --- audit_touched.c ---
// What the file looks like after our own hand: its times and its last bytes, read back.
int kts_audit_note_own(struct kts_audit_file *file) KT_MUST_CHECK;
// The file must be the one we made and hold what we wrote, no more and no less, with room behind
// it. KT_ERR_AUDIT_UNAVAILABLE when it is lost, another code when it cannot be told.
int kts_audit_check_untouched(struct kts_audit_file *file, struct kt_error *error) KT_MUST_CHECK;

#endif
