// SPDX-License-Identifier: Apache-2.0
// Files of signed audit heads: audit/heads, a node's own, and node/audit-heads, what it has heard
// of each member. Heads one behind the other, nothing between.
#ifndef KT_AUDIT_HEADS_H
#define KT_AUDIT_HEADS_H

#include "lib/formats.h"

#define KT_AUDIT_HEADS_NAME     "heads"       // in the audit folder
#define KT_AUDIT_HEADS_KNOWN    "audit-heads" // in the node folder
#define KT_AUDIT_HEADS_FILE_MAX (4u << 20)

struct kt_audit_heads {
    struct kt_audit_head *heads; // in the order of the file
    size_t count, room;
    int torn;    // the last one is not whole: a crash while it was written
    int damaged; // something else is wrong: what stands before it was read
    int cut;     // there is more than KT_AUDIT_HEADS_FILE_MAX bytes: the last ones were read
};

// A missing file is an empty list. KT_ERR_SYSTEM, KT_ERR_NO_MEMORY.
int kt_audit_heads_load(const char *path, struct kt_audit_heads *heads,
                        struct kt_error *error) KT_MUST_CHECK;
int kt_audit_heads_add(struct kt_audit_heads *heads,
                       const struct kt_audit_head *head) KT_MUST_CHECK;
// Replaces the file.
int kt_audit_heads_save(const char *path, const struct kt_audit_heads *heads,
                        struct kt_error *error) KT_MUST_CHECK;
void kt_audit_heads_free(struct kt_audit_heads *heads);

#endif
