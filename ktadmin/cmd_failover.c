// SPDX-License-Identifier: Apache-2.0
// failover: makes another node the active, when it can be proven that nothing is lost.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/failover.h"

// --- what a walk says ---

void kta_walk_say(void *arg, enum kta_place to, const char *proved, int64_t us)
{
    struct kta_walk_report *report = arg;

    if (report->steps)
        json_array_append_new(report->steps,
                              json_pack("{s:s, s:s, s:f}", "step", kta_place_name(to), "proved",
                                        proved, "ms", (double)us / 1000));
    else if (!kt_cli_flag(report->run, "quiet"))
        printf("[%d/%d] %-11s %7.1f ms  %s\n", (int)to, (int)KTA_ESTABLISHED, kta_place_name(to),
               (double)us / 1000, proved);
    fflush(stdout);
}

static json_t *notes_array(const char *notes)
{
    json_t *array = json_array();

    for (const char *at = notes; *at;) {
        size_t n = strcspn(at, "\n");
        json_array_append_new(array, json_stringn(at, n));
        at += n + (at[n] == '\n');
    }
    return array;
}

static void print_json(struct kta_walk_report *report, const struct kta_failover *failover, int rc,
                       const struct kt_error *error)
{
    json_t *answer =
        json_pack("{s:O, s:s, s:b, s:f, s:o}", "steps", report->steps, "reached",
                  kta_place_name(failover->at), "established", failover->is_established, "total_ms",
                  (double)(kt_monotonic_now() - report->begun_us) / 1000, "notes",
                  notes_array(failover->notes));

    if (!answer)
        return;
    if (failover->at >= KTA_CHOSEN) {
        json_object_set_new(answer, "epoch", json_integer((json_int_t)failover->epoch));
        json_object_set_new(answer, "target", json_string(kta_failover_target(failover)));
    }
    if (failover->at >= KTA_PROVEN)
        json_object_set_new(answer, "row", kt_epoch_row_to_json(&failover->row));
    if (rc)
        json_object_set_new(answer, "error",
                            json_pack("{s:s, s:s, s:s}", "code", kt_err_info(rc)->name, "message",
                                      error->message, "hint", error->hint));
    kta_print_json(answer);
    json_decref(answer);
}

static void print_unestablished(const struct kta_failover *failover)
{
    const struct kt_epoch_row *row = &failover->row;
    const char *name = kta_failover_target(failover);

    printf("%s is promoted and unestablished (%s): reads go on, and writes open by themselves when "
           "%u of its members stream%s.\nnext, one of:\n",
           name, failover->unestablished.message, (unsigned)row->w, row->w == 1 ? "s" : "");
    for (uint32_t i = 0; i < row->count; i++) {
        char node[KT_NODE_NAME_MAX + 1];
        kt_member_node(row->members[i], node);
        printf("  when %-16s is back   ktadmin rejoin %s\n", node, node);
    }
    printf(
        "  take a new machine           ktadmin token new here, then ktadmin join TOKEN there\n");
}

int kta_walk_end(struct kta_walk_report *report, struct kta_failover *failover, int rc,
                 const struct kt_error *error)
{
    int quiet = kt_cli_flag(report->run, "quiet");
    double seconds = (double)(kt_monotonic_now() - report->begun_us) / 1e6;

    kta_failover_settle(failover);
    if (report->steps)
        print_json(report, failover, rc, error);
    else if (rc == 0 && failover->is_established)
        printf("%s is the active of epoch %llu%s (%.2f s)\n", kta_failover_target(failover),
               (unsigned long long)failover->epoch,
               failover->is_open ? " and takes writes" : "; its writer is not open yet", seconds);
    else if (rc == 0 && !quiet)
        print_unestablished(failover);
    if (!report->steps && !quiet)
        fputs(failover->notes, stdout);
    json_decref(report->steps);
    report->steps = NULL;
    if (rc)
        return kt_cli_fail(report->run, error);
    return failover->is_open ? KT_EXIT_OK : KTA_EXIT_NO_WRITES;
}

// --- the command ---

static int take_options(const struct kt_cli_run *run, struct kta_failover *failover,
                        struct kt_error *error)
{
    const char *w = kt_cli_value(run, "w");

    failover->to = kt_cli_value(run, "to");
    failover->members = kt_cli_value(run, "members");
    failover->accept_loss = kt_cli_flag(run, "accept-loss");
    failover->rejoin = kt_cli_flag(run, "rejoin");
    if (w && !failover->members)
        return kt_error_set(error, KT_ERR_USAGE, NULL, "--w goes with --members");
    return w ? kta_number("w", w, 1, KT_MEMBERS_MAX, &failover->w, error) : 0;
}

static int confirm_loss(const struct kt_cli_run *run, struct kta_failover *failover,
                        struct kt_error *error)
{
    const char *cluster = "";

    for (size_t i = 0; i < failover->nodes->count && cluster[0] == '\0'; i++)
        cluster = kta_state_text(&failover->nodes->list[i], "cluster");
    return kta_confirm_cluster(run, cluster,
                               "Whatever only the nodes that do not answer have is lost for good: "
                               "deposits that were acknowledged too. It is recorded for ever.",
                               error);
}

static int walk(const struct kt_cli_run *run, struct kta_failover *failover, struct kt_error *error)
{
    int rc = take_options(run, failover, error);

    if (rc == 0)
        rc = kta_nodes_open(run, failover->nodes, error);
    if (rc == 0) {
        failover->until = KTA_SEEN;
        rc = kta_failover_walk(failover, error);
    }
    if (rc == 0 && failover->accept_loss)
        rc = confirm_loss(run, failover, error);
    if (rc)
        return rc;
    failover->until = KTA_ESTABLISHED;
    return kta_failover_walk(failover, error);
}

static int run_failover(struct kt_cli_run *run)
{
    struct kta_walk_report report = {.run = run, .begun_us = kt_monotonic_now()};
    struct kta_failover *failover = calloc(1, sizeof(*failover));
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    struct kt_error error = {0};
    char by[64];
    int rc, code;

    if (kt_cli_flag(run, "explain")) {
        kta_failover_explain(stdout);
        free(failover);
        free(nodes);
        return KT_EXIT_OK;
    }
    kta_caller(by, sizeof(by));
    if (kt_cli_flag(run, "json"))
        report.steps = json_array();
    if (failover && nodes) {
        failover->nodes = nodes;
        failover->by = by;
        failover->say = kta_walk_say;
        failover->say_arg = &report;
        rc = walk(run, failover, &error);
        code = kta_walk_end(&report, failover, rc, &error);
        kta_failover_free(failover);
        kta_nodes_close(nodes);
    } else {
        kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");
        code = kt_cli_fail(run, &error);
    }
    free(failover);
    free(nodes);
    return code;
}

static const struct kt_cli_option OPTIONS[] = {
    {"to", 0, "NODE", "the node to promote; the only member that answers when left out"},
    {"explain", 0, NULL, "print the steps and their rules, and do nothing"},
    {"rejoin", 0, NULL, "make nodes whose log went another way rejoin; this may take long"},
    {"members", 0, "LIST", "other members than the old ones and the old active, with commas"},
    {"w", 0, "N", "with --members: how many of them must have a change"},
    {"accept-loss", 0, NULL, "go on without proof; asks for the cluster id"},
    KTA_CLUSTER_ID_OPTION,
    KTA_OPERATOR_OPTIONS,
    {NULL},
};

const struct kt_cli_command kta_cmd_failover = {
    .verb = "failover",
    .arguments = "",
    .summary = "make another node the active, when nothing can be lost by it",
    .help = "Every step says what it proved. When it cannot be proven that nothing acknowledged is "
            "lost, nothing\nis promoted, and the answer names the nodes that would settle it. "
            "Killed at any step it is run\nagain. Exits with 9 when the node is promoted and waits "
            "for a member before it takes writes.",
    .options = OPTIONS,
    .run = run_failover,
};
