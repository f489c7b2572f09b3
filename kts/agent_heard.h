// SPDX-License-Identifier: Apache-2.0
// How old what a passive shows is: when it last had all that its active had.
#ifndef KTS_AGENT_HEARD_H
#define KTS_AGENT_HEARD_H

#include <stdint.h>

#include <jansson.h>

#include "lib/err.h"

// Times are kt_monotonic_now(). It lies in the file node/heard too: a restart makes nothing newer.
struct kts_heard {
    int64_t as_of_us; // everything that the active had then is shown here
    // a place in the active's log and when it was its end; to be replayed
    uint64_t mark_lsn;
    int64_t mark_us;
    int64_t streak_us; // since when it has been streaming at every look; 0: it does not
    int64_t saved_us;  // the as_of_us that is in the file
};

// What a look at the database says.
struct kts_heard_facts {
    int leads;      // it is the active, as far as it knows
    int has_quorum; // and enough members hear it: nobody has replaced it
    int follows;    // it streams, from the active of the newest epoch that is known here
    // The active's log ended there, or behind it, at that time of this node's own clock; 0: not told.
    int64_t asked_us;
    uint64_t end_lsn;
    uint64_t replayed_lsn;
};

// From the file in folder `node`; without one, as on a node that has just been made, it counts from
// now on. Of a file that cannot be read, or whose time has not come yet, as_of_us is longer ago than
// any setting allows, until the active is heard.
void kts_heard_load(const char *node, struct kts_heard *heard);
// asked_us and end_lsn, by what the active answered to the node.state that was asked at `question_us`.
// It counts from the question, less the age that the answer says of itself: on its way an answer may
// be kept back by whoever is between, and what is said of other clocks helps nobody.
void kts_heard_answer(const json_t *state, int64_t question_us, struct kts_heard_facts *facts);
void kts_heard_look(struct kts_heard *heard, const struct kts_heard_facts *facts, int64_t now_us);
// Writes it when it has moved by `step_us` since it was written.
void kts_heard_save(struct kts_heard *heard, const char *node, int64_t step_us);

#endif
