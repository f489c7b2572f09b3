// SPDX-License-Identifier: Apache-2.0
// Rule 7: whether the sealed nodes prove that nothing acknowledged is missing in the target.
#include "lib/rules_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct names {
    char text[192];
};

static void add_name(struct names *names, const char *member)
{
    kt_append(names->text, sizeof(names->text), "%s%.*s", names->text[0] ? ", " : "",
              (int)strcspn(member, "."), member);
}

static int may_settle(const struct kt_attempt *attempt, const char *member)
{
    const struct kt_report *report = kt_attempt_report(attempt, member);

    return !kt_attempt_is_retired(attempt, member) && (!report || !kt_rule_has_vote(report));
}

// Those whose seal (or, below their floor, whose catching up) would help.
static struct names missing_of(const struct kt_attempt *attempt, const struct kt_epoch_row *row)
{
    struct names names = {""};

    for (uint32_t i = 0; i < row->count; i++) {
        if (may_settle(attempt, row->members[i]))
            add_name(&names, row->members[i]);
    }
    if (may_settle(attempt, row->active))
        add_name(&names, row->active);
    return names;
}

static int refuse_row(const struct kt_attempt *attempt, const struct kt_epoch_row *row,
                      const char *why, struct kt_error *error)
{
    struct names missing = missing_of(attempt, row);
    char hint[256];

    snprintf(hint, sizeof(hint), "bring up one of: %s, and run it again", missing.text);
    return kt_error_set(error, KT_ERR_NOT_PROVEN,
                        missing.text[0] ? hint : "no other node of that list can settle it",
                        "epoch %" PRIu64 " row %" PRIu32 ": %s", row->epoch, row->sequence, why);
}

// Whether the votes suffice; *with_active when the stopped active is a part of the proof.
static int votes_suffice(const struct kt_attempt *attempt, const struct kt_epoch_row *row,
                         uint32_t votes, int *with_active)
{
    const struct kt_report *active = kt_attempt_report(attempt, row->active);
    uint32_t r = kt_row_r(row), beside = row->w > r - 1 ? row->w : r - 1;
    int untouched = active && kt_rule_has_vote(active) && kt_rule_never_rewound(active, row);

    *with_active = 0;
    if (kt_row_is_alone(attempt, row)) {
        *with_active = untouched;
        return untouched && strcmp(attempt->target, row->active) == 0;
    }
    if (votes >= r)
        return 1;
    *with_active = untouched && votes >= beside;
    return *with_active;
}

static int check_votes(const struct kt_attempt *attempt, const struct kt_epoch_row *row,
                       int *with_active, struct kt_error *error)
{
    uint32_t r = kt_row_r(row), beside = row->w > r - 1 ? row->w : r - 1;
    uint32_t votes = kt_row_votes(attempt, row);
    char why[256];

    if (votes_suffice(attempt, row, votes, with_active))
        return 0;
    if (kt_row_is_alone(attempt, row))
        snprintf(why, sizeof(why), "its only member is retired: its active alone can go on");
    else if (row->count == 0)
        snprintf(why, sizeof(why), "its active was alone and is not sealed, or was rewound");
    else
        snprintf(why, sizeof(why),
                 "%" PRIu32 " of its %" PRIu32
                 " members are sealed and have a vote; it takes %" PRIu32
                 ", or its active, never rewound, and %" PRIu32,
                 votes, row->count, r, beside);
    return refuse_row(attempt, row, why, error);
}

// T is of the row, and not behind those who prove it.
static int check_target(const struct kt_attempt *attempt, const struct kt_epoch_row *row,
                        int with_active, struct kt_error *error)
{
    const struct kt_report *target = kt_attempt_report(attempt, attempt->target);
    char node[KT_NODE_NAME_MAX + 1];

    kt_member_node(attempt->target, node);
    if (!kt_epoch_row_has_member(row, attempt->target) && strcmp(row->active, attempt->target) != 0)
        return kt_error_set(error, KT_ERR_NOT_PROVEN,
                            "fail over to a member, and make this node one afterwards",
                            "epoch %" PRIu64 " row %" PRIu32 ": '%s' is not a member of it",
                            row->epoch, row->sequence, node);
    for (size_t i = 0; i < attempt->count; i++) {
        const struct kt_report *report = &attempt->reports[i];
        int proves = (kt_epoch_row_has_member(row, report->member) && kt_rule_has_vote(report)) ||
                     (with_active && strcmp(row->active, report->member) == 0);
        if (proves && kt_report_compare(target, report) < 0)
            return kt_error_set(error, KT_ERR_NOT_PROVEN,
                                "let it catch up from that node, or fail over to that node",
                                "'%s' lacks a part of what '%s' holds", node, report->member);
    }
    return 0;
}

static void describe(const struct kt_attempt *attempt, const struct kt_epoch_row *row,
                     int with_active, struct kt_proof *proof)
{
    struct names names = {""};

    for (uint32_t i = 0; i < row->count; i++) {
        const struct kt_report *report = kt_attempt_report(attempt, row->members[i]);
        if (report && kt_rule_has_vote(report))
            add_name(&names, row->members[i]);
    }
    if (with_active)
        add_name(&names, row->active);
    kt_append(proof->text, sizeof(proof->text),
              "epoch %" PRIu64 " row %" PRIu32 " (members %" PRIu32 ", W %" PRIu32
              "): proven by %s%s\n",
              row->epoch, row->sequence, row->count, row->w, names.text,
              with_active ? " (the active, never rewound)" : "");
}

// T holds the newest row and has a vote.
static int check_newest(const struct kt_attempt *attempt, const struct kt_epoch_row *newest,
                        struct kt_error *error)
{
    const struct kt_report *target = kt_attempt_report(attempt, attempt->target);
    const struct kt_epoch_row *own = kt_epoch_rows_newest(&target->rows);
    char node[KT_NODE_NAME_MAX + 1];

    kt_member_node(attempt->target, node);
    if (!own || kt_epoch_row_compare(own, newest) != 0)
        return kt_error_set(error, KT_ERR_NOT_PROVEN, "let it catch up from a node that does",
                            "'%s' does not hold the newest row, epoch %" PRIu64 " row %" PRIu32,
                            node, newest->epoch, newest->sequence);
    if (!kt_rule_has_vote(target))
        return kt_error_set(error, KT_ERR_NOT_PROVEN, "let it catch up from a node that is not",
                            "'%s' is below its floor", node);
    // Nodes that never came over from before a restore prove nothing about what followed it.
    if (newest->incarnation.number != target->incarnation.number)
        return kt_error_set(error, KT_ERR_NOT_PROVEN, "seal a node of the restored cluster too",
                            "the newest row is of incarnation %" PRIu32 ", the attempt of %" PRIu32,
                            newest->incarnation.number, target->incarnation.number);
    return 0;
}

int kt_rule_prove(const struct kt_attempt *attempt, struct kt_proof *proof, struct kt_error *error)
{
    struct kt_rows_that_count rows;
    struct kt_proof found = {""};
    int rc = kt_rule_rows_that_count(attempt, &rows, error);

    if (rc == 0)
        rc = check_newest(attempt, rows.rows[0], error);
    for (size_t i = 0; rc == 0 && i < rows.count; i++) {
        int with_active = 0;
        rc = check_votes(attempt, rows.rows[i], &with_active, error);
        if (rc == 0)
            rc = check_target(attempt, rows.rows[i], with_active, error);
        if (rc == 0)
            describe(attempt, rows.rows[i], with_active, &found);
    }
    if (rc == 0 && proof)
        *proof = found;
    return rc;
}
