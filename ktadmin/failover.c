// SPDX-License-Identifier: Apache-2.0
// The table of failover, and the walker.
#include "ktadmin/failover.h"

#include <stdarg.h>
#include <string.h>

// To add a step: a function, a place, and a row. Each row begins where the one before it ended.
static const struct step {
    enum kta_place from, to;
    const char *rules; // of docs/failover.md
    const char *sentence;
    int (*run)(struct kta_failover *failover, struct kt_error *error);
} STEPS[] = {
    {KTA_START, KTA_SEEN, "3", "ask every node for its promise, its log and its role",
     kta_step_see},
    {KTA_SEEN, KTA_CHOSEN, "1, 3",
     "take T, and an epoch above every promise and every epoch in a log that was seen",
     kta_step_choose},
    {KTA_CHOSEN, KTA_SEALED, "4",
     "seal every node that answers for (e, T): it promises, stops receiving, and reports; an "
     "active stops first",
     kta_step_seal},
    {KTA_SEALED, KTA_CAUGHT_UP, "5, 6",
     "let T copy from the sealed node that holds the most, then read the rows again",
     kta_step_catch_up},
    {KTA_CAUGHT_UP, KTA_PROVEN, "5, 7, 8",
     "prove for each row that counts that nothing acknowledged is missing, and that the new list "
     "meets every proof of the old",
     kta_step_prove},
    {KTA_PROVEN, KTA_PROMOTED, "9",
     "promote T while its promise is still (e, T): names and read-only first, then a checkpoint",
     kta_step_promote},
    {KTA_PROMOTED, KTA_FOLLOWED, "2, 13",
     "let the other sealed nodes follow T; one whose log went another way has to rejoin",
     kta_step_follow},
    {KTA_FOLLOWED, KTA_ESTABLISHED, "10, 11",
     "write the row once W members stream; acknowledged, T leads: it settles and takes writes",
     kta_step_establish},
};
#define STEP_COUNT (sizeof(STEPS) / sizeof(STEPS[0]))

static const char *const NAMES[] = {"start",  "seen",     "chosen",   "sealed",     "caught up",
                                    "proven", "promoted", "followed", "established"};

const char *kta_place_name(enum kta_place place)
{
    return NAMES[place];
}

static const struct step *step_from(enum kta_place place)
{
    for (size_t i = 0; i < STEP_COUNT; i++)
        if (STEPS[i].from == place)
            return &STEPS[i];
    return NULL;
}

int kta_failover_walk(struct kta_failover *failover, struct kt_error *error)
{
    const struct step *step;

    while (failover->at < failover->until && (step = step_from(failover->at))) {
        int64_t begun = kt_monotonic_now();
        int rc;
        failover->proved[0] = '\0';
        rc = step->run(failover, error);
        if (rc)
            return rc;
        // The only step that may stay where it is: there is no member yet to acknowledge the row.
        if (step->to == KTA_ESTABLISHED && !failover->is_established)
            return 0;
        failover->at = step->to;
        if (failover->say)
            failover->say(failover->say_arg, step->to, failover->proved,
                          kt_monotonic_now() - begun);
    }
    return 0;
}

void kta_failover_free(struct kta_failover *failover)
{
    kta_round_end(failover->round);
    failover->round = NULL;
    kta_answers_free(failover->followers, failover->follower_count);
    for (size_t i = 0; i < failover->report_count; i++)
        kt_report_free(&failover->reports[i]);
    failover->report_count = failover->follower_count = 0;
}

void kta_failover_explain(FILE *out)
{
    fprintf(out, "| from | to | rules | what is done |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < STEP_COUNT; i++)
        fprintf(out, "| %s | %s | %s | %s |\n", NAMES[STEPS[i].from], NAMES[STEPS[i].to],
                STEPS[i].rules, STEPS[i].sentence);
}

void kta_append(char *text, size_t size, const char *fmt, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, fmt);
    vsnprintf(text + used, size - used, fmt, args);
    va_end(args);
}

json_t *kta_failover_args(const struct kta_failover *failover)
{
    char incarnation[KT_INCARNATION_TEXT];

    kt_incarnation_format(&failover->incarnation, incarnation);
    return json_pack("{s:s, s:I}", "incarnation", incarnation, "epoch",
                     (json_int_t)failover->epoch);
}

const char *kta_failover_target(const struct kta_failover *failover)
{
    return failover->nodes->list[failover->target].name;
}

struct kt_attempt kta_failover_attempt(const struct kta_failover *failover)
{
    struct kt_attempt attempt = {.reports = failover->reports, .count = failover->report_count};

    memcpy(attempt.target, failover->nodes->list[failover->target].peer.member,
           sizeof(attempt.target));
    return attempt;
}
