// SPDX-License-Identifier: Apache-2.0
// One check of the log of deposits: what lib_log.c and lib_log_receipts.c share.
#ifndef KTC_LOG_H
#define KTC_LOG_H

#include "client/client.h"

#define KTC_LOG_WHAT_TO_DO                                                                         \
    "report this to the operator with the files log-head and log-head.refused of the confdir, "    \
    "and deposit elsewhere until it is explained"

// What a receipt says of its place in the log.
struct ktc_log_place {
    char id[KT_UUID_TEXT];
    struct kt_incarnation incarnation;
    uint64_t index;
    uint8_t leaf[KT_SHA256_LEN];
};

struct ktc_log_check {
    struct keytrustee *client;
    struct kt_buf places; // of struct ktc_log_place
    int unreadable;       // code of the first receipt that could not be read, with `unreadable_why`
    struct kt_error unreadable_why;
    char known_text[KT_TREE_HEAD_TEXT]; // "" = none
    char head_text[KT_TREE_HEAD_TEXT];
    struct kt_tree_head known, head; // size 0: an empty log
    struct ktc_line line;
    char server[KTC_SERVER_TEXT];
    keytrustee_log_fn each;
    void *arg;
    struct keytrustee_log log;
    uint64_t log_lost; // deposits of the known head that a restored cluster does not have
    // Nor can be said of them whether it has them: its line of history is cut off.
    uint64_t log_unknown;
    uint64_t lost, unknown, wrong; // receipts
};

// Reads what this host has been acknowledged. What cannot be read stands in `unreadable`.
void ktc_log_receipts_read(struct ktc_log_check *check);
// Compares each receipt with the head that was found good, and tells of those that something is wrong
// with. KT_ERR_SIGNATURE for what no restore explains; what one lost, or may have lost, is counted.
int ktc_log_receipts_check(struct ktc_log_check *check, unsigned flags,
                           struct kt_error *error) KT_MUST_CHECK;

#endif
