// SPDX-License-Identifier: Apache-2.0
// The rules of lib behind numbers, so that the model can compare its verdicts with theirs. A member
// id is node + 4 * life; epochs from RI on are of the second incarnation.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rules.h"

#define RI 6
void kx_begin(int target, int epoch);
void kx_report(int id, int lsn, int floor, int since, int retired_epoch, int retired_by, int count,
               const int *rows);
int kx_prove(void);
int kx_list(int members, int w);
int kx_donor(void);
int kx_floor_donor(int id);
int kx_prefix(int count, const int *rows, int lsn, int start, int count_a, const int *rows_a,
              int start_a);
int kx_order(int m, int w, int m_next, int w_next, int ends);
int kx_promise(int epoch, int active, int retired, int e, int x);
int kx_seal(int epoch, int retired, int newest, int e);

#define REPORTS 8
static struct kt_report reports[REPORTS];
static struct kt_epoch_row store[REPORTS + 2][16];
static struct kt_attempt attempt;
static int attempt_epoch;

static void member(int id, char out[KT_MEMBER_TEXT])
{
    static const char TEXT[8][KT_MEMBER_TEXT] = {
        "a.00000000", "b.00000001", "c.00000002", "d.00000003",
        "a.00000004", "b.00000005", "c.00000006", "d.00000007",
    };

    memcpy(out, TEXT[id & 7], KT_MEMBER_TEXT);
}

static int id_of(const char *text)
{
    return text[strlen(text) - 1] - '0';
}

static uint64_t epoch_of(int e, struct kt_incarnation *incarnation)
{
    *incarnation = (struct kt_incarnation){e >= RI ? 2 : 1, e >= RI ? 22 : 11};
    return (uint64_t)(e >= RI ? e - RI + 1 : e);
}

static void fill_members(struct kt_epoch_row *row, int members, int w)
{
    for (int i = 0; i < 8; i++) {
        if (members >> i & 1)
            member(i, row->members[row->count++]);
    }
    row->w = (uint32_t)w;
}

static void row(struct kt_epoch_row *out, int r)
{
    memset(out, 0, sizeof(*out));
    out->epoch = epoch_of(r >> 2 & 7, &out->incarnation);
    out->sequence = (uint32_t)(r >> 26 & 7);
    member(r >> 5 & 7, out->active);
    fill_members(out, r >> 8 & 255, r >> 16 & 3);
    out->start_lsn = (uint64_t)(r >> 22 & 15);
    out->timeline = (uint32_t)(r >> 18 & 7);
    out->ends = r >> 21 & 1;
}

static void rows(struct kt_epoch_rows *out, struct kt_epoch_row *where, int count, const int *list)
{
    for (int i = 0; i < count; i++)
        row(&where[i], list[i]);
    out->rows = where;
    out->count = (size_t)count;
}

void kx_begin(int target, int epoch)
{
    memset(reports, 0, sizeof(reports));
    memset(&attempt, 0, sizeof(attempt));
    attempt.reports = reports;
    member(target, attempt.target);
    attempt_epoch = epoch;
}

void kx_report(int id, int lsn, int floor, int since, int retired_epoch, int retired_by, int count,
               const int *list)
{
    struct kt_report *report = &reports[attempt.count];
    struct kt_incarnation unused;

    member(id, report->member);
    report->epoch = epoch_of(attempt_epoch, &report->incarnation);
    snprintf(report->active, sizeof(report->active), "%c", attempt.target[0]);
    report->lsn = (uint64_t)lsn;
    report->floor = (uint64_t)floor;
    report->active_since = since ? epoch_of(since, &unused) : 0;
    if (retired_epoch)
        snprintf(report->retired_by, sizeof(report->retired_by), "%d %c", retired_epoch,
                 'a' + retired_by);
    rows(&report->rows, store[attempt.count++], count, list);
}

int kx_prove(void)
{
    return kt_rule_prove(&attempt, NULL, NULL) == 0;
}

int kx_list(int members, int w)
{
    struct kt_epoch_row list = {.count = 0};

    fill_members(&list, members, w);
    return kt_rule_list_allowed(&attempt, &list, NULL) == 0;
}

int kx_donor(void)
{
    const struct kt_report *report = kt_rule_donor(&attempt);

    return report ? id_of(report->member) : -1;
}

int kx_floor_donor(int id)
{
    char text[KT_MEMBER_TEXT];

    member(id, text);
    const struct kt_report *report = kt_rule_floor_donor(&attempt, text);
    return report ? id_of(report->member) : -1;
}

int kx_prefix(int count, const int *list, int lsn, int start, int count_a, const int *list_a,
              int start_a)
{
    struct kt_epoch_rows own, active;

    rows(&own, store[REPORTS], count, list);
    rows(&active, store[REPORTS + 1], count_a, list_a);
    return kt_rule_is_prefix(&own, (uint64_t)lsn, (uint64_t)start, &active, (uint64_t)start_a,
                             NULL) == 0;
}

int kx_order(int m, int w, int m_next, int w_next, int ends)
{
    struct kt_epoch_row now = {.active = "x.00000009"}, next = {.active = "x.00000009"};
    enum kt_change_order order = KT_ORDER_NOTHING;

    fill_members(&now, m, w);
    fill_members(&next, m_next, w_next);
    next.ends = ends;
    if (kt_rule_change_order(&now, &next, &order, NULL) != 0)
        return -1;
    return order == KT_ORDER_NOTHING ? 0 : order == KT_ORDER_SETTING_FIRST ? 1 : 2;
}

static void promise_of(struct kt_promise *promise, int epoch, int active, int retired)
{
    memset(promise, 0, sizeof(*promise));
    promise->epoch = epoch_of(epoch, &promise->incarnation);
    snprintf(promise->active, sizeof(promise->active), "%c", 'a' + active);
    if (retired)
        snprintf(promise->retired_by, sizeof(promise->retired_by), "1 a");
}

int kx_promise(int epoch, int active, int retired, int e, int x)
{
    struct kt_incarnation incarnation;
    uint64_t number = epoch_of(e, &incarnation);
    struct kt_promise promise;
    char node[2] = {(char)('a' + x), '\0'};

    promise_of(&promise, epoch, active, retired);
    return kt_rule_may_promise(&promise, &incarnation, number, node, NULL) == 0;
}

int kx_seal(int epoch, int retired, int newest, int e)
{
    struct kt_incarnation incarnation;
    uint64_t number = epoch_of(e, &incarnation);
    struct kt_epoch_row held = {.sequence = 1};
    struct kt_promise promise;

    promise_of(&promise, epoch, 0, retired);
    held.epoch = epoch_of(newest, &held.incarnation);
    return kt_rule_may_seal(&promise, newest ? &held : NULL, &incarnation, number, NULL) == 0;
}
