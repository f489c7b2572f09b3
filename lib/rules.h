// SPDX-License-Identifier: Apache-2.0
// The rules of failover as pure functions: no network, no files, no clock. Numbers are those of
// design section 7 and of docs/failover.md; the model in tests/model has the same names.
#ifndef KT_RULES_H
#define KT_RULES_H

#include "lib/epoch.h"

// What a sealed node reports (rule 4). No report, no vote. A retired node can't be sealed; what is
// known of it may stand among the reports with `retired_by` set: it never votes and its rows don't
// count, it only shows that it is retired (rule 15).
struct kt_report {
    char member[KT_MEMBER_TEXT];
    struct kt_incarnation incarnation; // of its promise, which is (e, T) of this attempt
    uint64_t epoch;
    char active[KT_MEMBER_TEXT]; // T's node name
    uint64_t lsn;                // end of its log: everything flushed is replayed
    uint64_t floor;              // 0 = none
    uint64_t active_since;       // active without rewind since this epoch; 0 = not
    char retired_by[64];         // "" or "<epoch> <node>"
    struct kt_epoch_rows rows;   // that its log holds
};
void kt_report_free(struct kt_report *report);
json_t *kt_report_to_json(const struct kt_report *report);
int kt_report_from_json(const json_t *object, struct kt_report *report,
                        struct kt_error *error) KT_MUST_CHECK;

// An attempt: all sealed reports of one (e, T).
struct kt_attempt {
    const struct kt_report *reports;
    size_t count;
    char target[KT_MEMBER_TEXT]; // T's member id; its report must be among them
};

// The pair (incarnation, e, X) of promises compared: <0, 0, >0. Equal (incarnation, e) with another
// X, or equal incarnation numbers with other bits: KT_ERR_PROTOCOL.
int kt_rule_promise_compare(const struct kt_promise *a, const struct kt_promise *b,
                            int *order) KT_MUST_CHECK;
// Rule 2: a node with `promise` may follow (incarnation, e, X): lower, or exactly it, and not
// retired. 0, KT_ERR_FENCED, KT_ERR_RETIRED.
int kt_rule_may_promise(const struct kt_promise *promise, const struct kt_incarnation *incarnation,
                        uint64_t epoch, const char *active_node,
                        struct kt_error *error) KT_MUST_CHECK;
// Rule 2, the logs: a node with these rows and this end of log may stream from an active with those
// rows. `start_lsn` is where that log left the timeline of its newest row (kt_timeline_left), that
// is, an epoch was begun whose row is not written yet; 0, or nothing above that row's start, when
// it did not. A node whose own log ends in such an epoch (it was promoted, or followed one that
// never got its row) says so with `own_start_lsn`: numbers of timelines collide, so it is never a
// prefix. A node that already follows exactly this (e, X) need not ask again: X's log only grows.
// 0, or KT_ERR_DIVERGED (rejoin).
int kt_rule_is_prefix(const struct kt_epoch_rows *own, uint64_t own_lsn, uint64_t own_start_lsn,
                      const struct kt_epoch_rows *active, uint64_t start_lsn,
                      struct kt_error *error) KT_MUST_CHECK;
// Rule 3: above every promise and every epoch in any log that was seen. 0 when there is none left.
uint64_t kt_rule_choose(const uint64_t *seen, size_t count);
// Rule 4: refused if e <= the promise or <= an epoch in the log. 0, KT_ERR_FENCED, KT_ERR_RETIRED.
int kt_rule_may_seal(const struct kt_promise *promise, const struct kt_epoch_row *newest,
                     const struct kt_incarnation *incarnation, uint64_t epoch,
                     struct kt_error *error) KT_MUST_CHECK;
// 1 when the node has a vote: not retired, and not below its floor.
int kt_rule_has_vote(const struct kt_report *report);
// Rule 5: the rows that count, newest first, as pointers into the attempt's reports.
#define KT_ROWS_THAT_COUNT_MAX 32
struct kt_rows_that_count {
    const struct kt_epoch_row *rows[KT_ROWS_THAT_COUNT_MAX];
    size_t count;
};
int kt_rule_rows_that_count(const struct kt_attempt *attempt, struct kt_rows_that_count *rows,
                            struct kt_error *error) KT_MUST_CHECK;
// 1 when the node was active in the row's epoch and its data was never rewound since.
int kt_rule_never_rewound(const struct kt_report *report, const struct kt_epoch_row *row);
// Rule 6: the sealed donor with the highest (epoch, LSN) when T does not hold as much or is
// below its floor; NULL when T needs nothing. When T can't stream from it (KT_ERR_DIVERGED),
// rule 7 says whether T can do without.
const struct kt_report *kt_rule_donor(const struct kt_attempt *attempt);
// Rule 6: the sealed donor that brings the sealed `member` past its floor; NULL when
// it is not below it, or nobody can.
const struct kt_report *kt_rule_floor_donor(const struct kt_attempt *attempt, const char *member);
// Rule 7. 0: proven, `error` is untouched, `proof` (may be NULL) receives for each row that counts
// one sentence. KT_ERR_NOT_PROVEN: the message says which row and what is missing, the hint names
// the members that would settle it.
struct kt_proof {
    char text[2048];
};
int kt_rule_prove(const struct kt_attempt *attempt, struct kt_proof *proof,
                  struct kt_error *error) KT_MUST_CHECK;
// Rule 8: old members + old active - T, same W (of the newest row that counts). A
// standalone node to itself keeps the empty list; a list whose only member was retired for
// T gives the empty list, with `ends` and a note. Fills active, members, W, incarnation and
// epoch of the attempt; sequence 1.
int kt_rule_default_list(const struct kt_attempt *attempt, struct kt_epoch_row *row,
                         struct kt_error *error) KT_MUST_CHECK;
// Rule 8: whether `row` (members, w) may be the new list for T. KT_ERR_NOT_PROVEN when not; always
// checked before promotion, the default list too.
int kt_rule_list_allowed(const struct kt_attempt *attempt, const struct kt_epoch_row *row,
                         struct kt_error *error) KT_MUST_CHECK;

// Rule 12: the next step of a membership change from row `now` to list `next`, one name or W
// by one: whether it is harder to acknowledge (setting, probe, row) or harder to prove (row,
// setting, probe); a standalone node's first passive is setting, probe, row. With
// `next->ends` (after an override or a `retired`, which the caller has checked) any list is,
// the empty one too. KT_ERR_INVALID otherwise.
enum kt_change_order { KT_ORDER_SETTING_FIRST, KT_ORDER_ROW_FIRST, KT_ORDER_NOTHING };
int kt_rule_change_order(const struct kt_epoch_row *now, const struct kt_epoch_row *next,
                         enum kt_change_order *order, struct kt_error *error) KT_MUST_CHECK;
// Rule 12, the end of a change: 1 when `row`, which follows `before` (NULL: none of its epoch), is
// to be written once more. A row that was written first was acknowledged by the list before only;
// by rule 5 that list goes on to count as long as its own members are not there to say so. With the
// row's second copy, which its own members acknowledge, the lists before it are left out.
int kt_rule_must_repeat(const struct kt_epoch_row *before, const struct kt_epoch_row *row);

#endif
