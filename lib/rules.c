// SPDX-License-Identifier: Apache-2.0
// Rules 2, 3 and 4: promises, which log another one continues, choosing and sealing an epoch.
#include "lib/rules.h"

#include <inttypes.h>
#include <string.h>

int kt_rule_promise_compare(const struct kt_promise *a, const struct kt_promise *b, int *order)
{
    int result = 0, rc;

    rc = kt_incarnation_compare(&a->incarnation, a->epoch, &b->incarnation, b->epoch, &result);
    if (rc != 0)
        return rc;
    if (result == 0 && strcmp(a->active, b->active) != 0)
        return KT_ERR_PROTOCOL;
    *order = result;
    return 0;
}

static int refuse_retired(const struct kt_promise *promise, struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_RETIRED, NULL, "'%s' was retired by (%s)", promise->member,
                        promise->retired_by);
}

int kt_rule_may_promise(const struct kt_promise *promise, const struct kt_incarnation *incarnation,
                        uint64_t epoch, const char *active_node, struct kt_error *error)
{
    int order = 0;

    if (promise->retired_by[0] != '\0')
        return refuse_retired(promise, error);
    if (kt_incarnation_compare(&promise->incarnation, promise->epoch, incarnation, epoch, &order) !=
        0)
        return kt_error_set(
            error, KT_ERR_FENCED, "the two clusters were restored apart from each other",
            "'%s' belongs to another incarnation of the same number", promise->member);
    if (order < 0 || (order == 0 && strcmp(promise->active, active_node) == 0))
        return 0;
    return kt_error_set(error, KT_ERR_FENCED, NULL,
                        "'%s' has promised epoch %" PRIu64
                        " to '%s' and cannot follow '%s' in epoch %" PRIu64,
                        promise->member, promise->epoch, promise->active, active_node, epoch);
}

// The same row in both logs: a timeline's number alone may have been given twice.
static int same_row(const struct kt_epoch_row *a, const struct kt_epoch_row *b)
{
    return kt_epoch_row_compare(a, b) == 0 && a->timeline == b->timeline &&
           a->start_lsn == b->start_lsn;
}

static int diverged(struct kt_error *error, const char *what, uint64_t lsn)
{
    char text[KT_LSN_TEXT];

    kt_lsn_format(lsn, text);
    return kt_error_set(error, KT_ERR_DIVERGED, NULL, "this node's log %s %s", what, text);
}

int kt_rule_is_prefix(const struct kt_epoch_rows *own, uint64_t own_lsn, uint64_t own_start_lsn,
                      const struct kt_epoch_rows *active, uint64_t start_lsn,
                      struct kt_error *error)
{
    const struct kt_epoch_row *newest = kt_epoch_rows_newest(own);
    uint64_t left = start_lsn; // where the active's log left the timeline of our newest row

    if (own_lsn == 0)
        return 0;
    if (own->count > active->count)
        return kt_error_set(error, KT_ERR_DIVERGED, NULL,
                            "this node's log holds epoch %" PRIu64 ", the active's does not",
                            newest->epoch);
    for (size_t i = 0; i < own->count; i++) {
        if (!same_row(&own->rows[i], &active->rows[i]))
            return kt_error_set(error, KT_ERR_DIVERGED, NULL,
                                "this node's log has another epoch %" PRIu64 " than the active's",
                                own->rows[i].epoch);
    }
    if (own_start_lsn > (newest ? newest->start_lsn : 0))
        return diverged(error, "went on in an epoch that was never established from",
                        own_start_lsn);
    if (own->count < active->count) {
        const struct kt_epoch_row *next = &active->rows[own->count];
        if (newest && next->timeline == newest->timeline)
            return 0; // the same active's next row
        left = next->start_lsn;
    } else if (newest && start_lsn <= newest->start_lsn) {
        return 0; // the active's log ends in the epoch of the newest row
    }
    if (own_lsn > left)
        return diverged(error, "goes on where the active's left it at", left);
    return 0;
}

uint64_t kt_rule_choose(const uint64_t *seen, size_t count)
{
    uint64_t highest = 0;

    for (size_t i = 0; i < count; i++) {
        if (seen[i] > highest)
            highest = seen[i];
    }
    return highest < INT64_MAX ? highest + 1 : 0; // JSON and SQL have no more bits
}

int kt_rule_may_seal(const struct kt_promise *promise, const struct kt_epoch_row *newest,
                     const struct kt_incarnation *incarnation, uint64_t epoch,
                     struct kt_error *error)
{
    int order = 0;

    if (promise->retired_by[0] != '\0')
        return refuse_retired(promise, error);
    if (kt_incarnation_compare(&promise->incarnation, promise->epoch, incarnation, epoch, &order) !=
            0 ||
        order >= 0)
        return kt_error_set(error, KT_ERR_FENCED, "run it again with a higher epoch",
                            "'%s' has promised epoch %" PRIu64 " to '%s', not below epoch %" PRIu64,
                            promise->member, promise->epoch, promise->active, epoch);
    if (newest && (kt_incarnation_compare(&newest->incarnation, newest->epoch, incarnation, epoch,
                                          &order) != 0 ||
                   order >= 0))
        return kt_error_set(error, KT_ERR_FENCED, "run it again with a higher epoch",
                            "the log of '%s' already holds epoch %" PRIu64 ", not below %" PRIu64,
                            promise->member, newest->epoch, epoch);
    return 0;
}
