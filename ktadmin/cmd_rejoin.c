// SPDX-License-Identifier: Apache-2.0
// rejoin: a node whose log went another way, or that was stopped long, follows the active again.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ktadmin/commands.h"
#include "ktadmin/nodes.h"

#define REJOIN_MS  (6 * 3600 * 1000)
#define PAUSE_MS   50
#define LOOKS_EACH 20 // pauses between two looks at how far it is
#define PERCENT    100

// How far the node is, on one line of the terminal.
static void show_progress(struct kta_nodes *watch, size_t i)
{
    const json_t *job;
    const char *text;
    json_int_t done, total;

    kta_nodes_look_at(watch, i);
    job = json_object_get(watch->list[i].state, "job");
    text = json_string_value(json_object_get(job, "text"));
    done = json_integer_value(json_object_get(job, "done"));
    total = json_integer_value(json_object_get(job, "total"));
    if (!text)
        return;
    if (total > 0)
        fprintf(stderr, "\r\033[K%s: %d %%", text, (int)(done * PERCENT / total));
    else
        fprintf(stderr, "\r\033[K%s: %lld", text, (long long)done);
    fflush(stderr);
}

static int ask(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t i,
               struct kta_answer *answer)
{
    struct kta_nodes *watch = calloc(1, sizeof(*watch));
    int shows = isatty(STDERR_FILENO) && !kt_cli_flag(run, "quiet") && watch &&
                kta_nodes_open(run, watch, NULL) == 0;
    json_t *args = json_pack("{s:n}", "active");
    struct kta_round *round;
    int at = shows ? kta_nodes_find(watch, nodes->list[i].peer.member) : -1;

    answer->node = i;
    round = kta_round_begin(nodes, "node.rejoin", args, REJOIN_MS, answer, 1);
    for (int n = 0; at >= 0 && !kta_round_is_done(round); n++) {
        if (n % LOOKS_EACH == LOOKS_EACH - 1)
            show_progress(watch, (size_t)at);
        kta_pause_ms(PAUSE_MS);
    }
    kta_round_end(round);
    if (at >= 0)
        fputs("\r\033[K", stderr);
    json_decref(args);
    if (shows)
        kta_nodes_close(watch);
    free(watch);
    return answer->rc;
}

static int rejoin(const struct kt_cli_run *run, struct kta_nodes *nodes, struct kta_answer *answer,
                  struct kt_error *error)
{
    int at = 0, rc = kta_nodes_open(run, nodes, error);

    if (rc)
        return rc;
    if (run->argc == 0 && kt_cli_value(run, "operator"))
        return kt_error_set(error, KT_ERR_USAGE, NULL, "with --operator name the node");
    if (run->argc > 0) {
        rc = kta_nodes_look(nodes, error);
        at = kta_nodes_find(nodes, run->argv[0]);
    }
    if (rc)
        return rc;
    if (at < 0)
        return kt_error_set(error, KT_ERR_NOT_FOUND, "ktadmin status lists the nodes",
                            "no node '%.63s'", run->argv[0]);
    rc = ask(run, nodes, (size_t)at, answer);
    return rc ? kt_error_set(error, rc, answer->error.hint, "%s", answer->error.message) : 0;
}

static int run_rejoin(struct kt_cli_run *run)
{
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    struct kta_answer answer = {0};
    struct kt_error error = {0};
    int rc = nodes ? rejoin(run, nodes, &answer, &error)
                   : kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    const char *how = json_string_value(json_object_get(answer.result, "how")),
               *aside = json_string_value(json_object_get(answer.result, "aside"));

    if (rc == 0 && kt_cli_flag(run, "json"))
        kta_print_json(answer.result);
    else if (rc == 0 && !kt_cli_flag(run, "quiet"))
        printf("%s follows the active%s%s%s%s%s\n", nodes->list[answer.node].name, how ? " (" : "",
               how ? how : "", how ? ")" : "", aside ? "; what it was ahead is kept in " : "",
               aside ? aside : "");
    kta_answers_free(&answer, 1);
    if (nodes)
        kta_nodes_close(nodes);
    free(nodes);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

static const struct kt_cli_option OPTIONS[] = {KTA_OPERATOR_OPTIONS, {NULL}};

const struct kt_cli_command kta_cmd_rejoin = {
    .verb = "rejoin",
    .arguments = "[NODE]",
    .summary = "make a node follow the active again, whatever it had been",
    .help = "This node, or NODE. What it has and the active has not is kept aside, never merged: "
            "its data is\nrewound, or copied anew from the active. It counts again when it has "
            "caught up.",
    .options = OPTIONS,
    .max_args = 1,
    .run = run_rejoin,
};
