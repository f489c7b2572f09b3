// SPDX-License-Identifier: Apache-2.0
// Rules 8 and 12: the list of members that a new active may have,
// and how an active changes its list.
#include "lib/rules_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int add_member(struct kt_epoch_row *row, const char *member)
{
    if (row->count == KT_MEMBERS_MAX)
        return KT_ERR_TOO_LARGE;
    snprintf(row->members[row->count++], KT_MEMBER_TEXT, "%s", member);
    return 0;
}

int kt_rule_default_list(const struct kt_attempt *attempt, struct kt_epoch_row *row,
                         struct kt_error *error)
{
    struct kt_rows_that_count rows;
    struct kt_epoch_row made = {.sequence = 1};
    int rc = kt_rule_rows_that_count(attempt, &rows, error);

    if (rc != 0)
        return rc;
    const struct kt_epoch_row *old = rows.rows[0];
    const struct kt_report *target = kt_attempt_report(attempt, attempt->target);
    made.incarnation = target->incarnation;
    made.epoch = target->epoch;
    snprintf(made.active, sizeof(made.active), "%s", attempt->target);
    if (kt_row_is_alone(attempt, old) && strcmp(old->active, attempt->target) == 0) {
        made.ends = 1;
        snprintf(made.note, sizeof(made.note), "retired %s", old->members[0]);
        *row = made;
        return 0;
    }
    for (uint32_t i = 0; rc == 0 && i < old->count; i++) {
        if (strcmp(old->members[i], attempt->target) != 0)
            rc = add_member(&made, old->members[i]);
    }
    if (rc == 0 && strcmp(old->active, attempt->target) != 0)
        rc = add_member(&made, old->active);
    if (rc != 0)
        return kt_error_set(error, rc, NULL, "a row has more than %d members", KT_MEMBERS_MAX);
    made.w = old->w;
    *row = made;
    return 0;
}

// Members of `list` that are neither of `row` nor `but` (NULL: no exception).
static uint32_t fresh_names(const struct kt_epoch_row *list, const struct kt_epoch_row *row,
                            const char *but)
{
    uint32_t fresh = 0;

    for (uint32_t i = 0; i < list->count; i++) {
        if (!kt_epoch_row_has_member(row, list->members[i]) &&
            !(but && strcmp(list->members[i], but) == 0))
            fresh++;
    }
    return fresh;
}

// Whether T and any W' of the new list meet every set of `proving` members of the row: at worst
// the W' are all the fresh names first.
static int meets(const struct kt_epoch_row *list, const struct kt_epoch_row *row, uint32_t own,
                 uint32_t fresh, uint32_t proving)
{
    uint32_t old = own + (list->w > fresh ? list->w - fresh : 0);

    return old + proving > row->count;
}

static int refuse_list(struct kt_error *error, const char *name, const char *why)
{
    return kt_error_set(error, KT_ERR_NOT_PROVEN,
                        "fail over with the default list, and change the membership afterwards",
                        "the new list of members is not allowed: %s %s", name, why);
}

// One row's part of rule 8.
static int check_against(const struct kt_attempt *attempt, const struct kt_epoch_row *list,
                         const struct kt_epoch_row *row, struct kt_error *error)
{
    uint32_t r = kt_row_r(row), beside = row->w > r - 1 ? row->w : r - 1;
    int is_active = strcmp(row->active, attempt->target) == 0;
    uint32_t own = (uint32_t)kt_epoch_row_has_member(row, attempt->target);

    if (kt_row_is_alone(attempt, row)) // N = W = 0: only for its own active, whoever is new
        return is_active ? 0
                         : refuse_list(error, attempt->target,
                                       "is not the active whose only member retired");
    if (list->count == 0)
        return row->count == 0 && is_active
                   ? 0
                   : refuse_list(error, attempt->target, "was not alone before");
    if (meets(list, row, own, fresh_names(list, row, NULL), r) &&
        (is_active || meets(list, row, own, fresh_names(list, row, row->active), beside)))
        return 0;
    char text[64];
    snprintf(text, sizeof(text), "epoch %" PRIu64 " row %" PRIu32, row->epoch, row->sequence);
    return refuse_list(error, text, "could prove another active without any of it");
}

static int check_names(const struct kt_attempt *attempt, const struct kt_epoch_row *list,
                       struct kt_error *error)
{
    if (list->count > KT_MEMBERS_MAX || list->w > list->count || (list->count > 0 && list->w < 1))
        return refuse_list(error, "W", "must be 1 to the number of members");
    for (uint32_t i = 0; i < list->count; i++) {
        const char *member = list->members[i];
        if (kt_member_check(member) != 0)
            return refuse_list(error, member, "is not a member id");
        if (strcmp(member, attempt->target) == 0)
            return refuse_list(error, member, "is the new active itself");
        if (kt_attempt_is_retired(attempt, member))
            return refuse_list(error, member, "is retired");
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(list->members[k], member) == 0)
                return refuse_list(error, member, "is in it twice");
        }
    }
    return 0;
}

int kt_rule_list_allowed(const struct kt_attempt *attempt, const struct kt_epoch_row *row,
                         struct kt_error *error)
{
    struct kt_rows_that_count rows;
    int rc = kt_rule_rows_that_count(attempt, &rows, error);

    if (rc == 0)
        rc = check_names(attempt, row, error);
    for (size_t i = 0; rc == 0 && i < rows.count; i++)
        rc = check_against(attempt, row, rows.rows[i], error);
    return rc;
}

static int refuse_change(struct kt_error *error, const char *why, const char *hint)
{
    return kt_error_set(error, KT_ERR_INVALID, hint, "this change of members is not allowed: %s",
                        why);
}

static int check_next(const struct kt_epoch_row *next, struct kt_error *error)
{
    if (next->count > KT_MEMBERS_MAX)
        return refuse_change(error, "too many members", NULL);
    if (next->w > next->count)
        return refuse_change(error, "W would be more than the members", "lower W first");
    if (next->count > 0 && next->w == 0)
        return refuse_change(error, "W = 0 acknowledges with a single copy", NULL);
    if (kt_epoch_row_has_member(next, next->active))
        return refuse_change(error, "the active is never a member of its own list", NULL);
    return 0;
}

int kt_rule_change_order(const struct kt_epoch_row *now, const struct kt_epoch_row *next,
                         enum kt_change_order *order, struct kt_error *error)
{
    uint32_t added = fresh_names(next, now, NULL), gone = fresh_names(now, next, NULL);
    int rc = check_next(next, error);

    if (rc != 0)
        return rc;
    if (added == 0 && gone == 0 && next->w == now->w) {
        *order = KT_ORDER_NOTHING;
        return 0;
    }
    if (next->ends || (now->count == 0 && next->count == 1)) {
        *order = KT_ORDER_SETTING_FIRST;
        return 0;
    }
    if (now->count == 0)
        return refuse_change(error, "a standalone node takes one first passive",
                             "add them one after the other");
    if (next->count == 0)
        return refuse_change(error, "it would leave the active alone",
                             "add another node first, or retire the last passive");
    if (added + gone > 1 || (added + gone == 1 && next->w != now->w))
        return refuse_change(error, "one name or W by one, not both", "make one change at a time");
    if (added + gone == 0 && next->w != now->w + 1 && next->w + 1 != now->w)
        return refuse_change(error, "W changes by one at a time", NULL);
    // Harder to acknowledge: setting first. Harder to prove: row first.
    *order =
        gone == 1 || (added == 0 && next->w > now->w) ? KT_ORDER_SETTING_FIRST : KT_ORDER_ROW_FIRST;
    return 0;
}

int kt_rule_must_repeat(const struct kt_epoch_row *before, const struct kt_epoch_row *row)
{
    enum kt_change_order order = KT_ORDER_NOTHING;

    return before && before->epoch == row->epoch &&
           before->incarnation.number == row->incarnation.number &&
           kt_rule_change_order(before, row, &order, NULL) == 0 && order == KT_ORDER_ROW_FIRST;
}
