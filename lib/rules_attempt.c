// SPDX-License-Identifier: Apache-2.0
// Rules 5 and 6: votes, the rows that count, and whom the target copies from.
#include "lib/rules_inner.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void kt_append(char *text, size_t size, const char *fmt, ...)
{
    size_t used = strnlen(text, size);
    va_list args;

    if (used >= size)
        return;
    va_start(args, fmt);
    vsnprintf(text + used, size - used, fmt, args);
    va_end(args);
}

const struct kt_report *kt_attempt_report(const struct kt_attempt *attempt, const char *member)
{
    for (size_t i = 0; i < attempt->count; i++) {
        const struct kt_report *report = &attempt->reports[i];
        if (report->retired_by[0] == '\0' && strcmp(report->member, member) == 0)
            return report;
    }
    return NULL;
}

// A report of this attempt, whose log is older than the attempt (rules 3 and 4).
static int check_report(const struct kt_report *report, const struct kt_report *target,
                        struct kt_error *error)
{
    const struct kt_epoch_row *newest = kt_epoch_rows_newest(&report->rows);
    int order = 0;

    if (kt_incarnation_compare(&report->incarnation, report->epoch, &target->incarnation,
                               target->epoch, &order) != 0 ||
        order != 0 || strcmp(report->active, target->active) != 0)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL,
                            "'%s' was sealed for epoch %" PRIu64 " and '%s', not for this attempt",
                            report->member, report->epoch, report->active);
    if (newest && (kt_incarnation_compare(&newest->incarnation, newest->epoch, &report->incarnation,
                                          report->epoch, &order) != 0 ||
                   order >= 0))
        return kt_error_set(error, KT_ERR_PROTOCOL, "run it again with a higher epoch",
                            "the log of '%s' holds epoch %" PRIu64 ", not below this attempt's",
                            report->member, newest->epoch);
    return 0;
}

int kt_attempt_check(const struct kt_attempt *attempt, struct kt_error *error)
{
    const struct kt_report *target = kt_attempt_report(attempt, attempt->target);
    char node[KT_NODE_NAME_MAX + 1];

    kt_member_node(attempt->target, node);
    if (!target)
        return kt_error_set(error, KT_ERR_NOT_PROVEN, "start its agent and run it again",
                            "'%s' itself is not sealed", node);
    if (strcmp(target->active, node) != 0)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "'%s' was sealed for '%s'", node,
                            target->active);
    for (size_t i = 0; i < attempt->count; i++) {
        const struct kt_report *report = &attempt->reports[i];
        int rc = report->retired_by[0] == '\0' ? check_report(report, target, error) : 0;
        if (rc != 0)
            return rc;
        for (size_t k = 0; k < i; k++) {
            if (strcmp(attempt->reports[k].member, report->member) == 0)
                return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "'%s' has reported twice",
                                    report->member);
        }
    }
    return 0;
}

// A log without rows is below all others.
int kt_report_compare(const struct kt_report *a, const struct kt_report *b)
{
    const struct kt_epoch_row *row_a = kt_epoch_rows_newest(&a->rows);
    const struct kt_epoch_row *row_b = kt_epoch_rows_newest(&b->rows);
    int order = 0;

    if (row_a && row_b)
        order = kt_epoch_row_compare(row_a, row_b);
    else if (row_a || row_b)
        order = row_a ? 1 : -1;
    if (order == 0)
        order = a->lsn < b->lsn ? -1 : a->lsn > b->lsn;
    return order;
}

static int is_below_floor(const struct kt_report *report)
{
    return report->floor != 0 && report->lsn < report->floor;
}

int kt_rule_has_vote(const struct kt_report *report)
{
    return report->retired_by[0] == '\0' && !is_below_floor(report);
}

int kt_rule_never_rewound(const struct kt_report *report, const struct kt_epoch_row *row)
{
    return strcmp(report->member, row->active) == 0 && report->active_since != 0 &&
           report->active_since <= row->epoch;
}

uint32_t kt_row_r(const struct kt_epoch_row *row)
{
    return row->count - row->w + 1;
}

uint32_t kt_row_votes(const struct kt_attempt *attempt, const struct kt_epoch_row *row)
{
    uint32_t votes = 0;

    for (uint32_t i = 0; i < row->count; i++) {
        const struct kt_report *report = kt_attempt_report(attempt, row->members[i]);
        if (report && kt_rule_has_vote(report))
            votes++;
    }
    return votes;
}

int kt_attempt_is_retired(const struct kt_attempt *attempt, const char *member)
{
    for (size_t i = 0; i < attempt->count; i++) {
        if (strcmp(attempt->reports[i].member, member) == 0 &&
            attempt->reports[i].retired_by[0] != '\0')
            return 1;
    }
    return 0;
}

// "<epoch> <node>": for this active, in the row's epoch or a later one of its own.
static int is_retired_for(const struct kt_report *report, const struct kt_epoch_row *row)
{
    char node[KT_NODE_NAME_MAX + 1];
    uint64_t epoch = 0;
    int at = 0;

    kt_member_node(row->active, node);
    return sscanf(report->retired_by, "%" SCNu64 " %n", &epoch, &at) == 1 && at > 0 &&
           strcmp(report->retired_by + at, node) == 0 && epoch >= row->epoch;
}

int kt_row_is_alone(const struct kt_attempt *attempt, const struct kt_epoch_row *row)
{
    if (row->count != 1)
        return 0;
    for (size_t i = 0; i < attempt->count; i++) {
        const struct kt_report *report = &attempt->reports[i];
        if (strcmp(report->member, row->members[0]) == 0)
            return is_retired_for(report, row);
    }
    return 0;
}

static int holds_row(const struct kt_report *report, const struct kt_epoch_row *row)
{
    for (size_t i = report->rows.count; i > 0; i--) {
        if (kt_epoch_row_compare(&report->rows.rows[i - 1], row) == 0)
            return 1;
    }
    return 0;
}

// Whether W members of `old` hold `next`: sealed ones with a vote, and the successor's own active,
// which flushed the row before anybody else had it.
static int is_replaced(const struct kt_attempt *attempt, const struct kt_epoch_row *old,
                       const struct kt_epoch_row *next)
{
    uint32_t holders = 0;

    for (uint32_t i = 0; i < old->count; i++) {
        const struct kt_report *report = kt_attempt_report(attempt, old->members[i]);
        if (strcmp(old->members[i], next->active) == 0)
            holders++;
        else if (report && kt_rule_has_vote(report) && holds_row(report, next))
            holders++;
    }
    return holders >= old->w || kt_row_is_alone(attempt, old);
}

// The sealed report whose log holds the newest row.
static const struct kt_report *holder_of_newest(const struct kt_attempt *attempt)
{
    const struct kt_report *holder = NULL;

    for (size_t i = 0; i < attempt->count; i++) {
        const struct kt_report *report = &attempt->reports[i];
        if (report->retired_by[0] == '\0' && report->rows.count > 0 &&
            (!holder || kt_epoch_row_compare(kt_epoch_rows_newest(&report->rows),
                                             kt_epoch_rows_newest(&holder->rows)) > 0))
            holder = report;
    }
    return holder;
}

int kt_rule_rows_that_count(const struct kt_attempt *attempt, struct kt_rows_that_count *rows,
                            struct kt_error *error)
{
    struct kt_rows_that_count found = {.count = 0};
    const struct kt_report *holder = holder_of_newest(attempt);
    int rc = kt_attempt_check(attempt, error);

    if (rc != 0)
        return rc;
    if (!holder)
        return kt_error_set(error, KT_ERR_NOT_PROVEN, NULL, "no sealed node holds any row");
    for (size_t i = holder->rows.count; i > 0; i--) {
        const struct kt_epoch_row *row = &holder->rows.rows[i - 1];
        if (found.count == KT_ROWS_THAT_COUNT_MAX)
            return kt_error_set(error, KT_ERR_NOT_PROVEN, NULL, "more than %d rows count",
                                KT_ROWS_THAT_COUNT_MAX);
        found.rows[found.count++] = row;
        if (row->ends || (i > 1 && is_replaced(attempt, row - 1, row)))
            break;
    }
    *rows = found;
    return 0;
}

// Whether T is to have what `report` has: members and actives of the rows that count, and whoever
// holds the newest row.
static int matters(const struct kt_rows_that_count *rows, const struct kt_report *report,
                   const struct kt_report *target)
{
    if (!holds_row(target, rows->rows[0]) && holds_row(report, rows->rows[0]))
        return 1;
    for (size_t i = 0; i < rows->count; i++) {
        if (kt_epoch_row_has_member(rows->rows[i], report->member) ||
            strcmp(rows->rows[i]->active, report->member) == 0)
            return 1;
    }
    return 0;
}

const struct kt_report *kt_rule_floor_donor(const struct kt_attempt *attempt, const char *member)
{
    const struct kt_report *below = kt_attempt_report(attempt, member), *best = NULL;

    if (!below || !is_below_floor(below) || kt_attempt_check(attempt, NULL) != 0)
        return NULL;
    for (size_t i = 0; i < attempt->count; i++) {
        const struct kt_report *report = &attempt->reports[i];
        if (report != below && kt_rule_has_vote(report) && report->lsn >= below->floor &&
            kt_report_compare(report, below) > 0 && (!best || kt_report_compare(report, best) > 0))
            best = report;
    }
    return best;
}

const struct kt_report *kt_rule_donor(const struct kt_attempt *attempt)
{
    const struct kt_report *target = kt_attempt_report(attempt, attempt->target), *best = NULL;
    struct kt_rows_that_count rows;

    if (!target || kt_rule_rows_that_count(attempt, &rows, NULL) != 0)
        return NULL;
    if (is_below_floor(target))
        return kt_rule_floor_donor(attempt, target->member);
    for (size_t i = 0; i < attempt->count; i++) {
        const struct kt_report *report = &attempt->reports[i];
        if (report->retired_by[0] == '\0' && kt_report_compare(report, target) > 0 &&
            matters(&rows, report, target) && (!best || kt_report_compare(report, best) > 0))
            best = report;
    }
    return best;
}
