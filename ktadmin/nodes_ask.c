// SPDX-License-Identifier: Apache-2.0
// Asking several nodes at the same time, a thread for each.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ktadmin/nodes.h"

#define BUSY_US       15000000
#define BUSY_PAUSE_MS 10

struct kta_round {
    struct kta_nodes *nodes;
    const char *verb;
    int timeout_ms;
    struct kta_answer *answers;
    size_t count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct task {
        struct kta_round *round;
        struct kta_answer *answer;
        json_t *args; // its own copy
        pthread_t thread;
        int is_started;
    } tasks[KT_PEERS_MAX];
};

int kta_nodes_call(struct kta_nodes *nodes, size_t i, const char *verb, json_t *args,
                   int timeout_ms, json_t **result, struct kt_error *error)
{
    struct kta_member *member = &nodes->list[i];

    if (nodes->call)
        return nodes->call(nodes->call_arg, member, verb, args, timeout_ms, result, error);
    return kt_node_call(member->node, verb, args, KTA_CONNECT_MS, timeout_ms, result, error);
}

int kta_nodes_call_when_free(struct kta_nodes *nodes, size_t i, const char *verb, json_t *args,
                             int timeout_ms, json_t **result, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + BUSY_US;
    int rc;

    for (;;) {
        rc = kta_nodes_call(nodes, i, verb, json_incref(args), timeout_ms, result, error);
        if (rc != KT_ERR_BUSY || kt_monotonic_now() > until)
            break;
        kta_pause_ms(BUSY_PAUSE_MS);
    }
    json_decref(args);
    return rc;
}

static void *run_task(void *arg)
{
    struct task *task = arg;
    struct kta_round *round = task->round;
    struct kta_answer *answer = task->answer;
    struct kt_error error = {0};
    json_t *result = NULL;
    int rc = kta_nodes_call(round->nodes, answer->node, round->verb, task->args, round->timeout_ms,
                            &result, &error);

    pthread_mutex_lock(&round->lock);
    answer->rc = rc;
    answer->result = result;
    answer->error = error;
    answer->is_done = 1;
    pthread_cond_broadcast(&round->changed);
    pthread_mutex_unlock(&round->lock);
    return NULL;
}

struct kta_round *kta_round_begin(struct kta_nodes *nodes, const char *verb, const json_t *args,
                                  int timeout_ms, struct kta_answer *answers, size_t count)
{
    struct kta_round *round = calloc(1, sizeof(*round));

    if (!round) {
        for (size_t i = 0; i < count; i++) {
            answers[i].is_done = 1;
            answers[i].rc =
                kt_error_set(&answers[i].error, KT_ERR_NO_MEMORY, NULL, "out of memory");
        }
        return NULL;
    }
    round->nodes = nodes;
    round->verb = verb;
    round->timeout_ms = timeout_ms;
    round->answers = answers;
    round->count = count;
    pthread_mutex_init(&round->lock, NULL);
    pthread_cond_init(&round->changed, NULL);
    for (size_t i = 0; i < count; i++) {
        struct task *task = &round->tasks[i];
        task->round = round;
        task->answer = &answers[i];
        task->args = args ? json_deep_copy(args) : NULL;
    }
    for (size_t i = 0; i < count; i++) {
        struct task *task = &round->tasks[i];
        task->is_started = pthread_create(&task->thread, NULL, run_task, task) == 0;
        if (!task->is_started)
            (void)run_task(task); // one after the other then
    }
    return round;
}

static int all_done(const struct kta_round *round)
{
    for (size_t i = 0; i < round->count; i++)
        if (!round->answers[i].is_done)
            return 0;
    return 1;
}

void kta_round_wait(struct kta_round *round, int (*enough)(void *arg), void *arg)
{
    if (!round)
        return;
    pthread_mutex_lock(&round->lock);
    while (!all_done(round) && !enough(arg))
        pthread_cond_wait(&round->changed, &round->lock);
    pthread_mutex_unlock(&round->lock);
}

int kta_round_is_done(struct kta_round *round)
{
    int done;

    if (!round)
        return 1;
    pthread_mutex_lock(&round->lock);
    done = all_done(round);
    pthread_mutex_unlock(&round->lock);
    return done;
}

void kta_round_end(struct kta_round *round)
{
    if (!round)
        return;
    for (size_t i = 0; i < round->count; i++)
        if (round->tasks[i].is_started)
            pthread_join(round->tasks[i].thread, NULL);
    pthread_cond_destroy(&round->changed);
    pthread_mutex_destroy(&round->lock);
    free(round);
}

void kta_nodes_ask(struct kta_nodes *nodes, const char *verb, const json_t *args, int timeout_ms,
                   struct kta_answer *answers, size_t count)
{
    kta_round_end(kta_round_begin(nodes, verb, args, timeout_ms, answers, count));
}

void kta_answers_free(struct kta_answer *answers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_decref(answers[i].result);
        answers[i].result = NULL;
    }
}

int kta_ask_either(const struct kt_cli_run *run, const char *verb, json_t *args, json_t **result)
{
    struct kta_nodes *nodes;
    struct kt_error error = {0};
    size_t i = 0;
    int rc;

    if (!kt_cli_value(run, "operator"))
        return kta_ask(run, verb, args, result);
    nodes = calloc(1, sizeof(*nodes));
    rc = nodes ? kta_nodes_open(run, nodes, &error)
               : kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0)
        rc = kta_nodes_look(nodes, &error);
    while (rc == 0 && !nodes->list[i].state)
        i++;
    if (rc == 0)
        rc = kta_nodes_call(nodes, i, verb, args, KTA_TIMEOUT_MS, result, &error);
    else
        json_decref(args);
    if (nodes)
        kta_nodes_close(nodes);
    free(nodes);
    return rc ? kt_cli_fail(run, &error) : 0;
}

void kta_pause_ms(int ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0)
        ;
}
