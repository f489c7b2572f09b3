// SPDX-License-Identifier: Apache-2.0
// Calls to a cluster of several servers: rounds through them until one gives an answer that holds.
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "client/call.h"
#include "lib/digest.h"

#define FIRST_PAUSE_MS   100
#define LONGEST_PAUSE_MS 500
// So long a read is repeated when nobody can answer it, the deadline permitting: a switchover or a
// failover takes less, and a person in front of a dead cluster wants to know.
#define READ_PATIENCE_MS 5000
// Behind a wait there must be time for an answer.
#define ANSWER_MS      300
#define MOST_SPREAD_MS 5000

int ktc_is_refusal_of_content(int rc)
{
    int http = kt_err_info(rc)->http;

    // Nor what says "later" (408, 429), or can be mended by encrypting anew.
    return http >= 400 && http < 500 && http != 401 && http != 403 && http != 408 && http != 429 &&
           rc != KT_ERR_RECOVERY_MISSING;
}

// Whether `rc` tells what came of the call: an error of the client's side does, unless an earlier
// server may have taken the request and this one only refuses to look at it.
static int is_definite(int rc, int doubt)
{
    int http = kt_err_info(rc)->http;

    return doubt ? ktc_is_refusal_of_content(rc) : http >= 400 && http < 500;
}

// 1 after the pause, which grows; 0 when there is no time for it.
static int pause_before(int64_t until, int *pause_ms)
{
    if (kt_monotonic_now() + (int64_t)*pause_ms * 1000 >= until)
        return 0;
    (void)poll(NULL, 0, *pause_ms);
    *pause_ms = *pause_ms * 2 < LONGEST_PAUSE_MS ? *pause_ms * 2 : LONGEST_PAUSE_MS;
    return 1;
}

// A server has too many requests: 1 after a pause of at least what it asks for, and of a random part
// more, so that those who were told the same do not come back together. 0 when the deadline is
// before that: then nobody waits in vain, and `words` say what to do.
static int wait_as_told(struct ktc_talk *talk, struct kt_error *words)
{
    int64_t wait_ms = (int64_t)talk->later_s * 1000, left_ms = ktc_time_left(talk->client);
    int64_t spread_ms = wait_ms / 2 * ++talk->told_later;
    uint32_t random = 0;
    struct kt_error said = *words;

    if (talk->call->once || wait_ms + ANSWER_MS >= left_ms) {
        kt_error_set(words, KT_ERR_TOO_MANY_REQUESTS, NULL, "%.400s; asked %d time%s", said.message,
                     talk->told_later, talk->told_later == 1 ? "" : "s");
        snprintf(words->hint, sizeof words->hint,
                 "the server wants to be asked again in %d s: try again then, run fewer at once, "
                 "or wait longer (--timeout)",
                 talk->later_s);
        return 0;
    }
    if (talk->told_later == 1)
        ktc_warn(talk->client, NULL, "trying again in %d s, as the server asks: %s", talk->later_s,
                 said.message);
    if (spread_ms > MOST_SPREAD_MS)
        spread_ms = MOST_SPREAD_MS;
    if (spread_ms > left_ms - ANSWER_MS - wait_ms)
        spread_ms = left_ms - ANSWER_MS - wait_ms;
    if (kt_random(&random, sizeof random) == 0)
        wait_ms += spread_ms * (random % 1000) / 1000;
    (void)poll(NULL, 0, (int)wait_ms);
    return 1;
}

static int run_change(struct ktc_talk *talk, struct kt_error *error)
{
    struct keytrustee *client = talk->client;
    int pause_ms = FIRST_PAUSE_MS, definite = 0, rc = 0;

    for (;;) {
        rc = ktc_round(talk);
        if (rc == 0)
            return 0;
        definite = is_definite(rc, talk->answer->doubt);
        if (rc == KT_ERR_TOO_MANY_REQUESTS && wait_as_told(talk, &talk->words))
            continue;
        if (definite || !talk->again || talk->call->once)
            break;
        if (talk->call->pin != NULL && !talk->heard && !talk->answer->doubt)
            break; // first contact: nobody there is a wrong address rather than a failover
        if (pause_ms == FIRST_PAUSE_MS)
            ktc_warn(client, NULL, "trying again: %s", talk->words.message);
        if (!pause_before(client->deadline, &pause_ms))
            break;
    }
    if (talk->answer->doubt && !definite)
        rc = kt_error_set(&talk->words, KT_ERR_IN_DOUBT, NULL, "%.400s", talk->words.message);
    else if (!definite && talk->passives > 0 && talk->others == 0)
        kt_error_set(&talk->words, rc, "nothing was changed; try again later",
                     "no node that answers takes changes at the moment; the operator has to "
                     "promote one");
    if (error != NULL)
        *error = talk->words;
    return rc;
}

// --- reads ---

// The words of a node that may not be up to date, and why nobody could say better.
static int say_unchecked(const struct ktc_call *call, int rc, const struct kt_error *local,
                         const struct kt_error *why, struct kt_error *error)
{
    int refused = kt_err_info(rc)->exit == KEYTRUSTEE_REFUSED;

    return kt_error_set(error, refused ? rc : KT_ERR_UNCHECKED,
                        refused             ? local->hint
                        : call->min_version ? "try again later, or name a version with --version"
                                            : NULL,
                        "%.220s; it could not be checked with the active: %.230s", local->message,
                        why->message);
}

// What the node said depends on how up to date it is: the active is asked behind a barrier, then
// the other nodes whether they have more, since what is there is right wherever it is found.
static int check_with_others(struct ktc_talk *talk, int local_rc, struct kt_error *error)
{
    const struct ktc_call *call = talk->call;
    struct kt_error local = talk->words, why = {0};
    struct ktc_call fresh = *call;
    int later_s = 0, rc = 0;

    fresh.barrier = 1;
    talk->call = &fresh;
    rc = ktc_round(talk);
    talk->call = call;
    if (rc == 0 || talk->definite) {
        *error = talk->words;
        return rc;
    }
    why = talk->words;
    later_s = talk->soon ? 0 : talk->later_s;
    talk->positive_only = 1;
    rc = ktc_round(talk);
    talk->positive_only = 0;
    if (rc == 0) {
        *error = talk->words;
        return rc;
    }
    talk->again = 1;
    talk->definite = 0;
    if (later_s > 0) { // the active is there, and knows
        talk->later_s = later_s;
        talk->soon = 0;
        *error = why;
        return KT_ERR_TOO_MANY_REQUESTS;
    }
    return say_unchecked(call, local_rc, &local, &why, error);
}

static int take_older(struct ktc_talk *talk)
{
    *talk->answer = talk->older;
    talk->has_older = 0;
    talk->answer->older = 1;
    ktc_warn(talk->client, "ask the operator: this node was replaced",
             "%s answered, of an older epoch: no node of epoch %llu does", talk->answer->server,
             (unsigned long long)talk->client->state.epoch);
    return 0;
}

static int run_read(struct ktc_talk *talk, struct kt_error *error)
{
    int64_t patience = kt_monotonic_now() + (int64_t)READ_PATIENCE_MS * 1000;
    int64_t until = talk->client->deadline;
    int pause_ms = FIRST_PAUSE_MS, rc = 0;
    struct kt_error why = {0};

    if (until > patience)
        until = patience;
    for (;;) {
        rc = ktc_round(talk);
        why = talk->words;
        if (rc != 0 && talk->unchecked) {
            if (talk->call->min_version > 0) // acknowledged to this host, so worth waiting for
                until = talk->client->deadline;
            rc = check_with_others(talk, rc, &why);
        }
        if (rc == 0 || talk->definite)
            break;
        if (rc == KT_ERR_TOO_MANY_REQUESTS && !talk->soon) {
            if (wait_as_told(talk, &why))
                continue;
            break;
        }
        if (talk->has_older && !talk->current)
            rc = take_older(talk);
        if (rc == 0)
            break;
        if (talk->again && !talk->call->once && pause_before(until, &pause_ms))
            continue;
        if (talk->later_s == 0 || rc == KT_ERR_SIGNATURE)
            break;
        rc = KT_ERR_TOO_MANY_REQUESTS;
        if (!wait_as_told(talk, &why))
            break;
    }
    if (talk->has_older)
        ktc_answer_free(&talk->older);
    if (rc != 0 && error != NULL)
        *error = why;
    return rc;
}

int ktc_call(struct keytrustee *client, const struct ktc_call *call, struct ktc_answer *answer,
             struct kt_error *error)
{
    struct ktc_talk talk = {.client = client, .call = call, .answer = answer};
    int rc = call->pin == NULL ? ktc_need_registration(client, error) : 0;

    memset(answer, 0, sizeof *answer);
    if (rc != 0)
        return rc;
    return call->change ? run_change(&talk, error) : run_read(&talk, error);
}

void ktc_answer_free(struct ktc_answer *answer)
{
    kt_http_answer_free(&answer->http);
}
