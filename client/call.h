// SPDX-License-Identifier: Apache-2.0
// One call to the cluster, from server to server: what lib_call.c and lib_round.c share.
#ifndef KTC_CALL_H
#define KTC_CALL_H

#include "client/client.h"

struct ktc_talk {
    struct keytrustee *client;
    const struct ktc_call *call;
    struct ktc_answer *answer;
    int positive_only;       // an absence is no answer: look on
    int rounds;              // done so far
    int heard;               // a server has answered, whatever it said
    int current;             // a node of the present epoch has said yes or no
    struct ktc_answer older; // a good answer of an older epoch, in case that nobody else has one
    int has_older;
    int told_later; // how often a server had too many requests
    // A read leaves those that had too many alone until then; monotonic microseconds.
    int64_t later_until[KTC_NODES_MAX];
    // of the last round
    struct kt_error words; // of all servers
    int again;             // another round is worth it
    int soon;              // and not for a passive alone
    int definite;          // no other server was asked behind its answer: none can do better
    int passives, others;  // nodes that are no active; those that answered anything else
    int unchecked;         // its answer is of a node that may not be up to date
    int later_s;           // until the first of those that had too many can be asked; 0: none had
    char asked[KTC_NODES_MAX];
};

// Asks one server after the other until one gives an answer that counts. 0, or the code in `words`.
int ktc_round(struct ktc_talk *talk) KT_MUST_CHECK;

#endif
