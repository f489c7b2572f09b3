// SPDX-License-Identifier: Apache-2.0
// What the files of the rules share; not for others.
#ifndef KT_RULES_INNER_H
#define KT_RULES_INNER_H

#include "lib/rules.h"

// The report of a sealed node; NULL when there is none. Never that of a retired one.
const struct kt_report *kt_attempt_report(const struct kt_attempt *attempt, const char *member);
// T's report is there, all are of one (e, T), none twice. KT_ERR_NOT_PROVEN, KT_ERR_PROTOCOL.
int kt_attempt_check(const struct kt_attempt *attempt, struct kt_error *error) KT_MUST_CHECK;
// (log epoch, LSN) of two sealed nodes: <0, 0, >0.
int kt_report_compare(const struct kt_report *a, const struct kt_report *b);
// R = N - W + 1.
uint32_t kt_row_r(const struct kt_epoch_row *row);
// Sealed members of the row that have a vote.
uint32_t kt_row_votes(const struct kt_attempt *attempt, const struct kt_epoch_row *row);
// 1 when the row's only member was retired for the row's active: it counts as N = W = 0 (rule 15).
int kt_row_is_alone(const struct kt_attempt *attempt, const struct kt_epoch_row *row);
// 1 when a report says that `member` is retired.
int kt_attempt_is_retired(const struct kt_attempt *attempt, const char *member);

// Appends to a text of bounded size; what does not fit is cut off.
void kt_append(char *text, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
