// SPDX-License-Identifier: Apache-2.0
// The signed audit heads that this node has heard of each member, its own too, kept in
// node/audit-heads: by them a log that was cut or written anew is found, also that of a lost node.
#ifndef KTS_AGENT_HEADS_H
#define KTS_AGENT_HEADS_H

#include <jansson.h>

#include "lib/formats.h"

#define KTS_HEADS_EACH    8  // of one member
#define KTS_HEADS_MEMBERS 64 // removed ones are let go first

struct kts_heads;

// Reads the file; damaged or torn, what stands before counts.
int kts_heads_open(const char *path, struct kts_heads **heads,
                   struct kt_error *error) KT_MUST_CHECK;
void kts_heads_free(struct kts_heads *heads);

enum kts_head_news {
    KTS_HEARD_NOTHING_NEW,
    KTS_HEARD_NEW,
    // It says less than it has said last, or something else of the same record: its log was cut or
    // written anew, once more when it had been before. Both stay known.
    KTS_HEARD_BACK,
    KTS_HEARD_BELOW, // a log that went back grows again, and is not as far as it was
};
// Takes a head whose signature has been checked. *before (may be NULL) receives the last one heard
// until now when the result is KTS_HEARD_BACK. Negative: no memory.
int kts_heads_hear(struct kts_heads *heads, const struct kt_audit_head *head,
                   struct kt_audit_head *before);
// The highest known of a member; NULL: none.
const struct kt_audit_head *kts_heads_newest(const struct kts_heads *heads, const char *member);
// Lets the heads go of members for which `is_known` says 0, as long as there are too many.
void kts_heads_trim(struct kts_heads *heads, int (*is_known)(void *arg, const char *member),
                    void *arg);
// Replaces the file when there is something new. 0, or why not: it is tried again the next time.
int kts_heads_save(struct kts_heads *heads, struct kt_error *error) KT_MUST_CHECK;
// [{"member", "file", "seq", "hash", "time", "text"}] of one member, of all members that
// a node of that name has been, or of all for NULL.
json_t *kts_heads_to_json(const struct kts_heads *heads, const char *member);
// {"<member>": "<the highest head's text>"} of those for which `is_known` says 1: signed, since a mere
// number could be anybody's invention.
json_t *kts_heads_highest(const struct kts_heads *heads,
                          int (*is_known)(void *arg, const char *member), void *arg);

#endif
