// SPDX-License-Identifier: Apache-2.0
// Rows, reports and attempts in few words: nodes are the letters A to Z. Include behind cmocka.h.
#ifndef KT_TEST_RULES_FIXTURE_H
#define KT_TEST_RULES_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "lib/rules.h"

static const struct kt_incarnation FIRST = {1, UINT64_C(0x0123456789abcdef)};

// 'B' is the member "b.0000000b".
static inline const char *member_of(char letter)
{
    static char texts[8][KT_MEMBER_TEXT];
    static int next;
    char *text = texts[next++ % 8];

    snprintf(text, KT_MEMBER_TEXT, "%c.%08x", letter | 0x20, letter - 'A' + 10);
    return text;
}

// A log grows by 100 for each row; a new epoch is a new timeline.
static inline struct kt_epoch_row make_row(uint64_t epoch, uint32_t sequence, char active,
                                           const char *members, uint32_t w)
{
    struct kt_epoch_row row = {.incarnation = FIRST, .epoch = epoch, .sequence = sequence, .w = w};

    snprintf(row.active, sizeof(row.active), "%s", member_of(active));
    for (; *members; members++)
        snprintf(row.members[row.count++], KT_MEMBER_TEXT, "%s", member_of(*members));
    row.timeline = (uint32_t)epoch;
    row.start_lsn = (epoch - 1) * 100;
    return row;
}

#define REPORTS_MAX 6
static struct kt_report reports[REPORTS_MAX];
static struct kt_attempt attempt;
static struct kt_error error;
static struct kt_epoch_row history[8]; // the rows of the longest log

static inline int forget_attempt(void **state)
{
    (void)state;
    for (size_t i = 0; i < REPORTS_MAX; i++)
        kt_report_free(&reports[i]);
    memset(reports, 0, sizeof(reports));
    memset(&attempt, 0, sizeof(attempt));
    memset(&error, 0, sizeof(error));
    memset(history, 0, sizeof(history));
    return 0;
}

static inline void begin(char target)
{
    forget_attempt(NULL);
    attempt.reports = reports;
    snprintf(attempt.target, sizeof(attempt.target), "%s", member_of(target));
}

// `letter` is sealed for epoch 9; its log holds the first `rows` of the history and ends at `lsn`.
static inline struct kt_report *seal(char letter, uint64_t lsn, size_t rows)
{
    struct kt_report *report = &reports[attempt.count++];

    snprintf(report->member, sizeof(report->member), "%s", member_of(letter));
    report->incarnation = FIRST;
    report->epoch = 9;
    snprintf(report->active, sizeof(report->active), "%c", attempt.target[0]);
    report->lsn = lsn;
    for (size_t i = 0; i < rows; i++)
        assert_int_equal(kt_epoch_rows_add(&report->rows, &history[i]), 0);
    return report;
}

static inline int prove(void)
{
    return kt_rule_prove(&attempt, NULL, &error);
}

static inline int list_allowed(const char *members, uint32_t w)
{
    struct kt_epoch_row list = make_row(9, 1, 'Z', members, w);

    return kt_rule_list_allowed(&attempt, &list, &error);
}

static inline int default_list_allowed(void)
{
    struct kt_epoch_row list;
    int rc = kt_rule_default_list(&attempt, &list, &error);

    return rc ? rc : kt_rule_list_allowed(&attempt, &list, &error);
}

#endif
