// SPDX-License-Identifier: Apache-2.0
// Failover: sealing all nodes that answer, and bringing T up to what they hold.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/failover.h"

#define SEAL_MS       30000 // an active stops its PostgreSQL and starts it as a standby
#define CATCH_UP_MS   600000
#define BUSY_US       5000000 // how long a node may be busy with another seal
#define BUSY_PAUSE_MS 20
#define ATTEMPTS_MAX  3

static void clear_reports(struct kta_failover *failover)
{
    for (size_t i = 0; i < failover->report_count; i++)
        kt_report_free(&failover->reports[i]);
    failover->report_count = 0;
}

// A report counts only for exactly this attempt.
static int take_report(struct kta_failover *failover, size_t node, const json_t *result,
                       struct kt_report *report, struct kt_error *error)
{
    const struct kta_member *member = &failover->nodes->list[node];
    int rc = kt_report_from_json(result, report, error);

    if (rc)
        return rc;
    if (strcmp(report->member, member->peer.member) != 0 || report->epoch != failover->epoch ||
        report->incarnation.number != failover->incarnation.number ||
        report->incarnation.bits != failover->incarnation.bits ||
        strcmp(report->active, kta_failover_target(failover)) != 0) {
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "%s reports another member or attempt",
                          member->name);
        kt_report_free(report);
    }
    return rc;
}

static void add_report(struct kta_failover *failover, struct kta_answer *answer)
{
    size_t at = failover->report_count;

    if (answer->rc)
        return;
    answer->rc =
        take_report(failover, answer->node, answer->result, &failover->reports[at], &answer->error);
    if (answer->rc == 0) {
        failover->report_node[at] = answer->node;
        failover->report_count++;
    }
}

// A retired node cannot be sealed. That it is retired may be what the proof needs (rule 15).
static void add_retired(struct kta_failover *failover, const struct kta_answer *answer)
{
    const struct kta_member *member = &failover->nodes->list[answer->node];
    struct kt_report *report = &failover->reports[failover->report_count];
    struct kt_promise promise;

    if (answer->rc != KT_ERR_RETIRED || kta_state_promise(member, &promise) != 0 ||
        promise.retired_by[0] == '\0')
        return;
    memset(report, 0, sizeof(*report));
    memcpy(report->member, member->peer.member, sizeof(report->member));
    memcpy(report->retired_by, promise.retired_by, sizeof(report->retired_by));
    snprintf(report->active, sizeof(report->active), "%s", kta_failover_target(failover));
    report->incarnation = failover->incarnation;
    report->epoch = failover->epoch;
    failover->report_node[failover->report_count++] = answer->node;
}

static struct kta_answer *answer_of(struct kta_answer *answers, size_t count, size_t node)
{
    for (size_t i = 0; i < count; i++)
        if (answers[i].node == node)
            return &answers[i];
    return NULL;
}

// Nodes that work on somebody else's order, or for themselves, are asked again for a while.
static void ask_busy(struct kta_failover *failover, const json_t *args, struct kta_answer *answers,
                     size_t count)
{
    int64_t until = kt_monotonic_now() + BUSY_US;

    for (;;) {
        struct kta_answer again[KT_PEERS_MAX] = {{0}};
        size_t n = 0;
        for (size_t i = 0; i < count; i++)
            if (answers[i].rc == KT_ERR_BUSY)
                again[n++].node = answers[i].node;
        if (n == 0 || kt_monotonic_now() > until)
            return;
        kta_pause_ms(BUSY_PAUSE_MS);
        kta_nodes_ask(failover->nodes, "node.seal", args, SEAL_MS, again, n);
        for (size_t i = 0; i < n; i++)
            *answer_of(answers, count, again[i].node) = again[i];
    }
}

// A node has promised somebody else meanwhile. Of two attempts with one number the target whose
// name comes first goes on with a higher one, so that exactly one of two operators wins.
static int contended(struct kta_failover *failover, size_t node, struct kt_error *error)
{
    const char *target = kta_failover_target(failover);
    struct kta_member *member = &failover->nodes->list[node];
    struct kt_promise promise;

    kta_nodes_look_at(failover->nodes, node);
    if (!member->state || kta_state_promise(member, &promise) != 0)
        return KT_ERR_AGAIN;
    if (promise.epoch > failover->epoch ||
        (promise.epoch == failover->epoch && strcmp(target, promise.active) > 0))
        return kt_error_set(error, KT_ERR_FENCED, "see ktadmin status; if it fails run this again",
                            "another failover is under way: %s has promised epoch %llu to %s",
                            member->name, (unsigned long long)promise.epoch, promise.active);
    return KT_ERR_AGAIN;
}

static int judge_answers(struct kta_failover *failover, struct kta_answer *answers, size_t count,
                         struct kt_error *error)
{
    struct kta_answer *own = answer_of(answers, count, failover->target);
    const char *name = kta_failover_target(failover);

    // Ahead of this attempt: T itself is another's, or another's promise is what it knows.
    if (own && own->rc == KT_ERR_FENCED)
        return kt_error_set(error, KT_ERR_FENCED, "see ktadmin status; if it fails run this again",
                            "another failover is under way: %.400s", own->error.message);
    if (!own || own->rc)
        return kt_error_set(error, own ? own->rc : KT_ERR_INTERNAL, own ? own->error.hint : NULL,
                            "%s is not sealed: %.400s", name, own ? own->error.message : "");
    for (size_t i = 0; i < count; i++) {
        int rc = answers[i].rc == KT_ERR_FENCED ? contended(failover, answers[i].node, error) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static void say_sealed(struct kta_failover *failover, const struct kta_answer *answers,
                       size_t count)
{
    char *out = failover->proved;
    const char *between = "";

    out[0] = '\0';
    for (size_t i = 0; i < failover->report_count; i++) {
        char lsn[KT_LSN_TEXT];
        if (failover->reports[i].retired_by[0])
            continue;
        kt_lsn_format(failover->reports[i].lsn, lsn);
        kta_append(out, KTA_PROVED_MAX, "%s%s at %s", between,
                   failover->nodes->list[failover->report_node[i]].name, lsn);
        between = ", ";
    }
    for (size_t i = 0; i < count; i++)
        if (answers[i].rc)
            kta_append(out, KTA_PROVED_MAX, "; not %s: %s",
                       failover->nodes->list[answers[i].node].name, answers[i].error.message);
}

// All that answer; *first receives 1 when answers[0] is to be sealed before the others.
static size_t choose_order(const struct kta_failover *failover, struct kta_answer *answers,
                           size_t *first)
{
    int leader = failover->first ? kta_nodes_find(failover->nodes, failover->first) : -1;
    size_t count = 0;

    if (leader >= 0 && failover->nodes->list[leader].state && (size_t)leader != failover->target)
        answers[count++].node = (size_t)leader;
    *first = count;
    for (size_t i = 0; i < failover->nodes->count; i++)
        if (failover->nodes->list[i].state && (count == 0 || i != answers[0].node || !*first))
            answers[count++].node = i;
    return count;
}

// A switchover: the active stops, when T has everything that it wrote, before T stops receiving.
// What comes of it is seen when all are asked.
static void stop_first(struct kta_failover *failover, json_t *args, size_t node)
{
    struct kta_answer answer = {.node = node};

    if (json_object_set_new(args, "stop", json_true()) == 0)
        kta_nodes_ask(failover->nodes, "node.seal", args, SEAL_MS, &answer, 1);
    json_object_del(args, "stop");
    kta_answers_free(&answer, 1);
}

// KT_ERR_AGAIN: with a higher epoch.
static int seal_once(struct kta_failover *failover, struct kt_error *error)
{
    struct kta_answer answers[KT_PEERS_MAX] = {{0}};
    json_t *args = kta_failover_args(failover);
    size_t count, first = 0;
    int rc;

    if (!args ||
        json_object_set_new(args, "target", json_string(kta_failover_target(failover))) != 0) {
        json_decref(args);
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    count = choose_order(failover, answers, &first);
    if (first)
        stop_first(failover, args, answers[0].node);
    kta_nodes_ask(failover->nodes, "node.seal", args, SEAL_MS, answers, count);
    ask_busy(failover, args, answers, count);
    clear_reports(failover);
    for (size_t i = 0; i < count; i++) {
        add_retired(failover, &answers[i]);
        add_report(failover, &answers[i]);
    }
    rc = judge_answers(failover, answers, count, error);
    if (rc == 0)
        say_sealed(failover, answers, count);
    kta_answers_free(answers, count);
    json_decref(args);
    return rc;
}

int kta_step_seal(struct kta_failover *failover, struct kt_error *error)
{
    int rc = seal_once(failover, error);

    for (int attempt = 1; rc == KT_ERR_AGAIN && attempt < ATTEMPTS_MAX; attempt++) {
        rc = kta_nodes_look(failover->nodes, error);
        if (rc == 0)
            rc = kta_step_choose(failover, error);
        if (rc == 0)
            rc = seal_once(failover, error);
    }
    if (rc == KT_ERR_AGAIN)
        rc = kt_error_set(error, KT_ERR_BUSY, "run it again",
                          "other attempts at a failover are under way");
    return rc;
}

// --- catching up ---

static int index_of(const struct kta_failover *failover, const char *member)
{
    for (size_t i = 0; i < failover->report_count; i++)
        if (strcmp(failover->reports[i].member, member) == 0)
            return (int)i;
    return -1;
}

static json_t *catch_up_args(const struct kta_failover *failover, const char *donor)
{
    json_t *args = kta_failover_args(failover);

    if (args &&
        (json_object_set_new(args, "target", json_string(kta_failover_target(failover))) != 0 ||
         json_object_set_new(args, "donor", json_string(donor)) != 0)) {
        json_decref(args);
        args = NULL;
    }
    return args;
}

// The nodes of `answers` copy from the donor and report again. The first failure is the result.
static int copy_from(struct kta_failover *failover, const char *donor, struct kta_answer *answers,
                     size_t count, struct kt_error *error)
{
    json_t *args = catch_up_args(failover, donor);
    int rc = args ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc == 0)
        kta_nodes_ask(failover->nodes, "node.catch_up", args, CATCH_UP_MS, answers, count);
    for (size_t i = 0; i < count && args; i++) {
        const char *name = failover->nodes->list[answers[i].node].name;
        struct kt_report fresh = {0};
        int at = index_of(failover, failover->nodes->list[answers[i].node].peer.member);
        if (answers[i].rc == 0)
            answers[i].rc = take_report(failover, answers[i].node, answers[i].result, &fresh,
                                        &answers[i].error);
        if (answers[i].rc && rc == 0)
            rc = kt_error_set(error, answers[i].rc, answers[i].error.hint,
                              "%s cannot copy from %s: %.400s", name, donor,
                              answers[i].error.message);
        if (answers[i].rc || at < 0)
            continue;
        kt_report_free(&failover->reports[at]);
        failover->reports[at] = fresh;
        kta_append(failover->proved, KTA_PROVED_MAX, "%s%s copied from %s",
                   failover->proved[0] ? ", " : "", name, donor);
    }
    kta_answers_free(answers, count);
    json_decref(args);
    return rc;
}

// Nodes below their floor have no vote; with what T holds they may get one.
static size_t without_vote(const struct kta_failover *failover, struct kta_answer *answers)
{
    size_t count = 0;

    for (size_t i = 0; i < failover->report_count; i++) {
        const struct kt_report *report = &failover->reports[i];
        if (report->retired_by[0] == '\0' && report->floor > report->lsn &&
            failover->report_node[i] != failover->target)
            answers[count++].node = failover->report_node[i];
    }
    return count;
}

int kta_step_catch_up(struct kta_failover *failover, struct kt_error *error)
{
    struct kta_answer answers[KT_PEERS_MAX] = {{0}};
    struct kt_attempt attempt;
    const struct kt_report *donor;
    size_t count;
    int rc = 0;

    // Each round reads the rows again: what T has copied may change who holds the most.
    for (size_t round = 0; rc == 0; round++) {
        char from[KT_MEMBER_TEXT];
        attempt = kta_failover_attempt(failover);
        donor = kt_rule_donor(&attempt);
        if (!donor)
            break;
        if (round > failover->report_count)
            return kt_error_set(error, KT_ERR_NOT_PROVEN, NULL, "%s does not catch up with %s",
                                kta_failover_target(failover), donor->member);
        memcpy(from, donor->member, sizeof(from));
        memset(answers, 0, sizeof(answers[0]));
        answers[0].node = failover->target;
        rc = copy_from(failover, from, answers, 1, error);
    }
    // T's log went another way than that node's: whether it can do without is for the proof to say.
    if (rc == KT_ERR_DIVERGED)
        kta_append(failover->proved, KTA_PROVED_MAX,
                   "%s cannot copy from the node that holds the most",
                   kta_failover_target(failover));
    else if (rc)
        return rc;
    memset(answers, 0, sizeof(answers));
    count = without_vote(failover, answers);
    attempt = kta_failover_attempt(failover);
    if (count > 0 && kt_rule_prove(&attempt, NULL, NULL) != 0)
        (void)!copy_from(failover, attempt.target, answers, count, NULL); // the proof tells
    if (failover->proved[0] == '\0')
        kta_append(failover->proved, KTA_PROVED_MAX, "%s holds all that sealed nodes hold",
                   kta_failover_target(failover));
    return 0;
}
