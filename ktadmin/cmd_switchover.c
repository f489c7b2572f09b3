// SPDX-License-Identifier: Apache-2.0
// switchover: the active hands over to a member that streams; writes pause for a moment.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/failover.h"
#include "ktadmin/switchover.h"

#define LAG_MAX       (64u << 20) // bytes that are still to be replayed
#define CHECKPOINT_MS 600000
#define HOLD_MS       20000 // the writer goes on by itself after that
#define HOLD_CALL_MS  10000
#define CATCH_UP_US   3000000
#define LOOK_PAUSE_MS 2
#define ROWS_MS       3000

// What the active says of a member that streams from it; NULL when it does not.
static const json_t *stream_of(const struct kta_member *active, const char *member)
{
    const json_t *streams = json_object_get(active->state, "streaming");
    json_t *one;
    size_t i;

    json_array_foreach(streams, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "member"));
        if (name && strcmp(name, member) == 0 && json_is_true(json_object_get(one, "streaming")))
            return one;
    }
    return NULL;
}

// T: given, or the only member that streams.
static int find_target(struct kta_failover *failover, size_t active, const char *to,
                       struct kt_error *error)
{
    struct kta_nodes *nodes = failover->nodes;
    int found = -1, count = 0;

    if (to) {
        found = kta_nodes_find(nodes, to);
        if (found < 0)
            return kt_error_set(error, KT_ERR_NOT_FOUND, "ktadmin status lists the nodes",
                                "no node '%.63s'", to);
    }
    for (size_t i = 0; i < nodes->count && !to; i++)
        if (i != active && nodes->list[i].state &&
            stream_of(&nodes->list[active], nodes->list[i].peer.member)) {
            found = (int)i;
            count++;
        }
    if (!to && count != 1)
        return kt_error_set(error, KT_ERR_USAGE, "give --to NODE",
                            "%d members stream from the active", count);
    failover->target = (size_t)found;
    failover->to = nodes->list[found].peer.member;
    return 0;
}

static int check_health(struct kta_failover *failover, size_t active, struct kt_error *error)
{
    const struct kta_member *from = &failover->nodes->list[active],
                            *to = &failover->nodes->list[failover->target];
    struct kt_epoch_row row;
    const json_t *stream = stream_of(from, to->peer.member);
    json_int_t lag = json_integer_value(json_object_get(stream, "lag_bytes"));

    if (active == failover->target)
        return kt_error_set(error, KT_ERR_EXISTS, NULL, "%s is the active already", from->name);
    if (strcmp(kta_state_text(from, "role"), "active") != 0 ||
        strcmp(kta_state_text(from, "writer"), "open") != 0)
        return kt_error_set(error, KT_ERR_NO_QUORUM,
                            "ktadmin failover works without a sound active",
                            "%s is %s and its writer is %s", from->name,
                            kta_state_text(from, "role"), kta_state_text(from, "writer"));
    if (!to->state)
        return kt_error_set(error, KT_ERR_NETWORK, NULL, "%s does not answer: %s", to->name,
                            to->error.message);
    if (kta_state_row(from, &row) != 0 || !kt_epoch_row_has_member(&row, to->peer.member))
        return kt_error_set(error, KT_ERR_NOT_MEMBER, "see ktadmin status",
                            "%s is not a member of the active's list", to->name);
    if (!stream)
        return kt_error_set(error, KT_ERR_NO_QUORUM, "see ktadmin status on it",
                            "%s does not stream from %s", to->name, from->name);
    if (lag > (json_int_t)LAG_MAX)
        return kt_error_set(error, KT_ERR_BUSY, "wait until it has caught up",
                            "%s is %lld bytes behind %s", to->name, (long long)lag, from->name);
    return 0;
}

// On both, so that little is left to write when the one stops and the other begins.
static int checkpoint(struct kta_failover *failover, size_t active, struct kt_error *error)
{
    struct kta_answer answers[2] = {{.node = active}, {.node = failover->target}};
    int rc = 0;

    kta_nodes_ask(failover->nodes, "node.checkpoint", NULL, CHECKPOINT_MS, answers, 2);
    for (int i = 0; i < 2 && rc == 0; i++)
        if (answers[i].rc)
            rc =
                kt_error_set(error, answers[i].rc, answers[i].error.hint, "%s: %.400s",
                             failover->nodes->list[answers[i].node].name, answers[i].error.message);
    kta_answers_free(answers, 2);
    return rc;
}

// T's end of log as its database says now; node.state is as of its agent's last look.
static int target_position(struct kta_failover *failover, uint64_t *lsn, struct kt_error *error)
{
    json_t *answer = NULL;
    const char *text;
    int rc = kta_nodes_call(failover->nodes, failover->target, "node.rows", NULL, ROWS_MS, &answer,
                            error);

    text = json_string_value(json_object_get(answer, "lsn"));
    if (rc == 0 && (!text || kt_lsn_parse(text, lsn) != 0))
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "%s told no position",
                          failover->nodes->list[failover->target].name);
    json_decref(answer);
    return rc;
}

// Until T has received what the held writer wrote last.
static int wait_received(struct kta_failover *failover, uint64_t held, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + CATCH_UP_US;
    uint64_t lsn = 0;
    int rc;

    for (;;) {
        rc = target_position(failover, &lsn, error);
        if (rc || lsn >= held)
            return rc;
        if (kt_monotonic_now() > until)
            return kt_error_set(error, KT_ERR_TIMEOUT, "run it again when it has caught up",
                                "%s did not reach the end of the active's log in time",
                                failover->nodes->list[failover->target].name);
        kta_pause_ms(LOOK_PAUSE_MS);
    }
}

static int hand_over(struct kta_failover *failover, size_t active, struct kt_error *error)
{
    json_t *result = NULL;
    const char *text;
    uint64_t held = 0;
    int rc = kta_nodes_call(failover->nodes, active, "writer.hold",
                            json_pack("{s:i}", "ms", HOLD_MS), HOLD_CALL_MS, &result, error);

    if (rc)
        return rc;
    text = json_string_value(json_object_get(result, "lsn"));
    if (!text || kt_lsn_parse(text, &held) != 0)
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "the held writer told no position");
    if (rc == 0)
        rc = wait_received(failover, held, error);
    json_decref(result);
    failover->until = KTA_ESTABLISHED;
    if (rc == 0)
        rc = kta_failover_walk(failover, error);
    if (rc && failover->at < KTA_CHOSEN) { // nothing was sealed
        result = NULL;
        (void)!kta_nodes_call(failover->nodes, active, "writer.release", NULL, HOLD_CALL_MS,
                              &result, NULL);
        json_decref(result);
    }
    return rc;
}

int kta_switchover(struct kta_failover *failover, const char *to, int64_t *pause_us,
                   struct kt_error *error)
{
    struct kta_nodes *nodes = failover->nodes;
    size_t active = 0;
    int64_t begun;
    int rc = kta_nodes_look(nodes, error);

    if (rc == 0)
        rc = kta_nodes_active(nodes, &active, error);
    if (rc == 0)
        rc = find_target(failover, active, to, error);
    if (rc == 0)
        rc = check_health(failover, active, error);
    if (rc == 0) // before writes are held
        rc = kta_forecast(nodes, failover->target, error);
    if (rc == 0)
        rc = checkpoint(failover, active, error);
    if (rc)
        return rc;
    failover->first = nodes->list[active].peer.member;
    begun = kt_monotonic_now();
    rc = hand_over(failover, active, error);
    *pause_us = kt_monotonic_now() - begun;
    return rc;
}

static int run_switchover(struct kt_cli_run *run)
{
    struct kta_walk_report report = {.run = run, .begun_us = kt_monotonic_now()};
    struct kta_failover *failover = calloc(1, sizeof(*failover));
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    struct kt_error error = {0};
    int64_t pause_us = 0;
    int code, rc = failover && nodes
                       ? kta_nodes_open(run, nodes, &error)
                       : kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc || !failover) { // the second for the analyser
        code = kt_cli_fail(run, &error);
    } else {
        if (kt_cli_flag(run, "json"))
            report.steps = json_array();
        failover->nodes = nodes;
        failover->rejoin = 1;
        failover->say = kta_walk_say;
        failover->say_arg = &report;
        rc = kta_switchover(failover, kt_cli_value(run, "to"), &pause_us, &error);
        if (rc == 0 && failover->is_established && report.steps)
            json_array_append_new(report.steps, json_pack("{s:s, s:f}", "step", "write pause", "ms",
                                                          (double)pause_us / 1000));
        else if (rc == 0 && failover->is_established && !kt_cli_flag(run, "quiet"))
            printf("writes paused for %.2f s\n", (double)pause_us / 1e6);
        code = kta_walk_end(&report, failover, rc, &error);
        kta_failover_free(failover);
    }
    if (nodes)
        kta_nodes_close(nodes);
    free(failover);
    free(nodes);
    return code;
}

static const struct kt_cli_option OPTIONS[] = {
    {"to", 0, "NODE", "the member to hand over to; the only one that streams when left out"},
    KTA_OPERATOR_OPTIONS,
    {NULL},
};

const struct kt_cli_command kta_cmd_switchover = {
    .verb = "switchover",
    .arguments = "",
    .summary = "let the active hand over to a member; writes pause for a moment",
    .help = "Checks that the member streams and is close behind, holds writes until it has "
            "everything, and then\nwalks the steps of failover; the old active follows the new "
            "one. Nothing waits for a person.",
    .options = OPTIONS,
    .run = run_switchover,
};
