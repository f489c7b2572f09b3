// SPDX-License-Identifier: Apache-2.0
// What clients saw during a fault campaign, one line an event, in the order in which it happened.
//
// A line is words `name=value`, parted by one space: t (monotonic microseconds), p (who), op
// (number of the operation of that process), ev, kind, and what is known of it. An operation is
// `invoke`d and ends once: `ok`, `fail` (certainly without effect) or `unknown` (it may take effect
// at any later time). An operation that never ends is unknown.
#ifndef CHAOS_HISTORY_H
#define CHAOS_HISTORY_H

#include <stdint.h>

#define CHAOS_WORD 72

enum chaos_ev { CHAOS_INVOKE, CHAOS_OK, CHAOS_FAIL, CHAOS_UNKNOWN };
// FINAL is a read after everything was healed: there, what is absent is lost.
enum chaos_kind { CHAOS_PUT, CHAOS_GET, CHAOS_FINAL };

struct chaos_event {
    uint64_t t;
    char process[CHAOS_WORD];
    uint64_t op;
    enum chaos_ev ev;
    enum chaos_kind kind;
    char node[CHAOS_WORD];        // who was asked
    char id[CHAOS_WORD];          // deposit id
    char sha[CHAOS_WORD];         // SHA-256 of the body that was sent or received
    int status;                   // of the HTTP answer, 0 = none
    int found;                    // of a read that is ok
    int barrier;                  // the read asked for a barrier
    char incarnation[CHAOS_WORD]; // of the receipt
    uint64_t epoch, index;        // of the receipt
    char code[CHAOS_WORD];        // of an error
};

// Copies a word; -1 when it does not fit.
int chaos_word(const char *text, char out[CHAOS_WORD]);
// 0, or -1: not a line of a history.
int chaos_event_parse(const char *line, struct chaos_event *event);
// Without the newline; `size` 1024 is enough.
void chaos_event_format(const struct chaos_event *event, char *out, unsigned size);

#endif
