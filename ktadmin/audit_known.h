// SPDX-License-Identifier: Apache-2.0
// What is known of a node's audit log elsewhere: its signed heads, here and with the other nodes.
// By them a log that ends too early, or was written anew, is found.
#ifndef KTA_AUDIT_KNOWN_H
#define KTA_AUDIT_KNOWN_H

#include "ktadmin/common.h"
#include "lib/formats.h"

struct kta_known_head {
    uint64_t seq;
    uint8_t hash[KT_SHA256_LEN];
    char time[KT_TIME_TEXT]; // "" when it was only noted
    char source[80];         // "node kts-02", "its own signed head", "the noted head"
    int is_old;              // by another node, of a member id that this node had before
    int found, differs;
};

struct kta_known {
    struct kta_known_head *heads; // sorted by seq after kta_known_sort
    size_t count, room;
    json_t *peers;    // [{"member", "heads"}, or {"member", "error"}]
    json_t *findings; // texts: what is wrong with the heads themselves, later also with the log
    int sorted;
    char begins[KT_TIME_TEXT]; // when the log's first record was made; "" as long as none was seen
};

int kta_known_init(struct kta_known *known) KT_MUST_CHECK;
void kta_known_free(struct kta_known *known);
// "<seq>:<hash>" as audit head prints it, or a file of signed heads. KT_ERR_USAGE.
int kta_known_note(struct kta_known *known, const struct kta_node *node, const char *text,
                   struct kt_error *error) KT_MUST_CHECK;
// The heads beside the audit files, and those in the node folder.
int kta_known_own(struct kta_known *known, const struct kta_node *node,
                  struct kt_error *error) KT_MUST_CHECK;
// Asks the other nodes that can be reached, as this node.
int kta_known_ask(struct kta_known *known, const struct kta_node *node,
                  struct kt_error *error) KT_MUST_CHECK;
// To be called for each record of the log, once all heads are there. `time` of the record is looked at
// in the first one only: a node that was made anew under its old name has a log of its own, which has
// nothing of before.
void kta_known_compare(struct kta_known *known, uint64_t seq, const uint8_t hash[KT_SHA256_LEN],
                       const char *json, size_t n);
// When the log was walked to its end: adds what it lacks to the findings. `last` is its last record,
// 0 for none.
void kta_known_conclude(struct kta_known *known, uint64_t last);

#endif
