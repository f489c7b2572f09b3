// SPDX-License-Identifier: Apache-2.0
// One round through the servers: whom to ask next, for how long, and
// what a failure costs the next call.
#include <stdio.h>
#include <string.h>

#include "client/call.h"
#include "lib/file.h"

#define HEADERS_MAX 12
// A server that takes a read and says nothing for so long is left for another, when there is one.
#define SILENCE_MS 3000

// --- one request ---

static int get_server(struct keytrustee *client, const struct ktc_call *call, size_t i,
                      struct kt_error *error)
{
    struct ktc_server *server = &client->servers.list[i];
    char ca[KT_PATH_MAX], cert[KT_PATH_MAX], key[KT_PATH_MAX];
    struct kt_http_tls tls = {.ca_sha256 = call->pin};
    int rc = 0;

    if (server->http != NULL)
        return 0;
    if (call->pin == NULL) {
        rc = ktc_path(client, "ca.pem", ca);
        if (rc == 0)
            rc = ktc_path(client, "client-cert.pem", cert);
        if (rc == 0)
            rc = ktc_path(client, "client-key.pem", key);
        if (rc == 0)
            rc = kt_file_check_private(key, 1, error);
        tls = (struct kt_http_tls){.ca_file = ca, .cert_file = cert, .key_file = key};
    }
    if (rc == 0)
        rc = kt_http_client_new(server->name, &tls, &server->http, error);
    return rc;
}

int ktc_ask(struct keytrustee *client, const struct ktc_call *call, size_t i, int timeout_ms,
            int connect_ms, int silence_ms, struct ktc_answer *answer, struct kt_error *error)
{
    const char *headers[HEADERS_MAX + 2] = {NULL};
    size_t n = 0;
    int rc = get_server(client, call, i, error);

    if (rc != 0)
        return rc;
    for (; call->headers && call->headers[n] && n < HEADERS_MAX; n++)
        headers[n] = call->headers[n];
    if (call->barrier)
        headers[n] = "KT-Freshness: barrier";
    const struct kt_http_request request = {
        .method = call->method,
        .path = call->path,
        .headers = headers,
        .body = call->body,
        .body_len = call->body_len,
        .has_body = call->has_body,
        .timeout_ms = timeout_ms,
        .connect_timeout_ms = timeout_ms < connect_ms ? timeout_ms : connect_ms,
        .max_answer = call->max_answer ? call->max_answer : KTC_JSON_MAX,
        .dead_after_ms = connect_ms,
        .silence_ms = silence_ms,
    };
    snprintf(answer->server, sizeof answer->server, "%s", client->servers.list[i].name);
    return kt_http_client_run(client->servers.list[i].http, &request, &answer->http, error);
}

// --- whom to ask ---

static int not_asked(const struct ktc_talk *talk, size_t i)
{
    const struct ktc_servers *servers = &talk->client->servers;

    if (i >= servers->count || kt_monotonic_now() < talk->later_until[i])
        return 0;
    for (size_t k = 0; k < servers->count; k++)
        if (talk->asked[k] && ktc_servers_same(servers, i, k))
            return 0;
    return 1;
}

// How many there are to ask that are not set aside, at least 1.
static int choices_left(const struct ktc_talk *talk)
{
    int n = 0;

    for (size_t i = 0; i < talk->client->servers.count; i++)
        n += not_asked(talk, i) && !ktc_server_waits(talk->client, i);
    return n > 0 ? n : 1;
}

// Those that are set aside are asked when all others fail, once a call; but not for a
// proof of freshness, which the others have said they cannot give: a reader would wait
// for a dead active again and again.
static int may_ask_dead(const struct ktc_talk *talk)
{
    return talk->rounds == 0 && (!talk->call->barrier || !talk->heard);
}

// `named`: the active that the last answer named.
static size_t choose(struct ktc_talk *talk, size_t named)
{
    struct keytrustee *client = talk->client;
    const struct ktc_servers *servers = &client->servers;
    int for_active = talk->call->change || talk->call->barrier;
    size_t first = for_active ? servers->active : servers->preferred;

    if (not_asked(talk, named) && !ktc_server_is_aside(client, named))
        return named;
    if (first >= servers->count)
        first = 0;
    for (size_t n = 0; n < servers->count; n++) {
        size_t i = (first + n) % servers->count;
        if (not_asked(talk, i) && !ktc_server_is_aside(client, i))
            return i;
    }
    for (size_t i = 0; i < servers->count && may_ask_dead(talk); i++)
        if (not_asked(talk, i))
            return i;
    return KTC_NONE;
}

// --- one try ---

static int try_server(struct ktc_talk *talk, size_t i, struct ktc_verdict *verdict)
{
    struct keytrustee *client = talk->client;
    const struct ktc_call *call = talk->call;
    int choices = choices_left(talk);
    // A server that hangs must leave time for those behind it.
    int time = ktc_time_left(client) / choices + 1;
    // When nobody could be connected to in time, they may all be far away.
    int connect = client->connect_timeout_ms << (talk->heard || talk->rounds < 1 ? 0
                                                 : talk->rounds > 3              ? 3
                                                                                 : talk->rounds);
    int silence = !call->change && !call->barrier && choices > 1 ? SILENCE_MS : 0;
    int64_t begun = kt_monotonic_now();
    int rc = ktc_ask(client, call, i, time, connect, silence, talk->answer, &verdict->error);

    if (client->servers.list[i].http == NULL)
        return rc; // our own files are at fault
    if (rc != 0) {
        int64_t took = kt_monotonic_now() - begun;
        verdict->doubt = call->change && kt_http_client_sent(client->servers.list[i].http);
        verdict->again = rc == KT_ERR_NETWORK || rc == KT_ERR_TIMEOUT;
        verdict->elsewhere = verdict->again || rc == KT_ERR_CRYPTO || rc == KT_ERR_PROTOCOL;
        // A refused connection costs nothing; what cost a timeout is not paid for again.
        if (verdict->again && time >= client->connect_timeout_ms &&
            (rc == KT_ERR_TIMEOUT || took >= (int64_t)client->connect_timeout_ms * 500))
            ktc_server_failed(client, i);
        return rc;
    }
    talk->heard = 1;
    ktc_server_answered(client, i);
    return ktc_judge(client, call, talk->answer, verdict);
}

// Adds one server's words to those of the others of this round.
static void collect(struct kt_error *all, int rc, const struct kt_error *one)
{
    size_t used = strlen(all->message);
    const char *words = one->code == rc && one->message[0] ? one->message : kt_err_text(rc);

    // What a server answered tells more than that another one did not; what does not verify, most.
    if (all->code == 0 ||
        (rc != KT_ERR_NETWORK && rc != KT_ERR_TIMEOUT && all->code != KT_ERR_SIGNATURE)) {
        all->code = rc;
        snprintf(all->hint, sizeof all->hint, "%s",
                 one->hint[0] ? one->hint : (kt_err_info(rc)->hint ? kt_err_info(rc)->hint : ""));
    }
    snprintf(all->message + used, sizeof all->message - used, "%s%s", used ? "; " : "", words);
}

// So that nobody wonders why a server was not asked.
static void collect_dead(struct ktc_talk *talk)
{
    const struct ktc_servers *servers = &talk->client->servers;

    for (size_t i = 0; i < servers->count; i++) {
        struct kt_error one = {0};
        if (talk->asked[i] || !ktc_server_waits(talk->client, i))
            continue;
        kt_error_set(&one, KT_ERR_TIMEOUT, NULL, "%s has not answered lately and was not asked",
                     servers->list[i].name);
        collect(&talk->words, KT_ERR_TIMEOUT, &one);
    }
}

// What a read's round comes to where servers had too many requests. Those that can answer soon are
// asked again before anybody waits for these; a passive without a proof of freshness is none.
static void settle_later(struct ktc_talk *talk)
{
    const struct ktc_servers *servers = &talk->client->servers;
    int64_t now = kt_monotonic_now(), first = INT64_MAX;
    struct kt_error one = {0};
    int code = talk->words.code;
    size_t at = KTC_NONE;

    for (size_t i = 0; i < servers->count; i++) {
        if (talk->later_until[i] <= now || talk->later_until[i] >= first)
            continue;
        first = talk->later_until[i];
        at = i;
    }
    if (at == KTC_NONE)
        return;
    talk->later_s = (int)((first - now + 999999) / 1000000);
    if (!talk->asked[at]) {
        kt_error_set(&one, KT_ERR_TOO_MANY_REQUESTS, NULL,
                     "%s has too many requests of this client", servers->list[at].name);
        collect(&talk->words, KT_ERR_TOO_MANY_REQUESTS, &one);
    }
    if (talk->soon)
        talk->words.code = code;
    else if (talk->words.code != KT_ERR_SIGNATURE)
        talk->words.code = KT_ERR_TOO_MANY_REQUESTS;
}

static void remember_success(const struct ktc_talk *talk, size_t i)
{
    if (talk->call->change || talk->answer->fresh)
        ktc_servers_active(talk->client, i);
    else
        ktc_servers_prefer(talk->client, i);
}

// Keeps the first good answer of an older epoch, and frees any other.
static void put_away(struct ktc_talk *talk, const struct ktc_verdict *verdict)
{
    if (verdict->older && !talk->has_older) {
        talk->older = *talk->answer;
        talk->has_older = 1;
        memset(&talk->answer->http, 0, sizeof talk->answer->http);
    } else {
        kt_http_answer_free(&talk->answer->http);
    }
}

int ktc_round(struct ktc_talk *talk)
{
    size_t i = KTC_NONE, named = KTC_NONE;
    int rc = 0;

    memset(talk->asked, 0, sizeof talk->asked);
    memset(&talk->words, 0, sizeof talk->words);
    talk->again = talk->soon = talk->unchecked = talk->definite = 0;
    talk->passives = talk->others = talk->later_s = 0;
    while (ktc_time_left(talk->client) > 0 && (i = choose(talk, named)) != KTC_NONE) {
        struct ktc_verdict verdict = {.active = KTC_NONE};
        rc = try_server(talk, i, &verdict);
        talk->asked[i] = 1;
        if (rc == 0) {
            remember_success(talk, i);
            return 0;
        }
        talk->answer->doubt |= verdict.doubt;
        talk->again |= verdict.again;
        talk->current |= verdict.current;
        talk->soon |= verdict.again && rc != KT_ERR_PASSIVE && rc != KT_ERR_FENCED;
        if (verdict.elsewhere && verdict.later_s > 0)
            talk->later_until[i] = kt_monotonic_now() + (int64_t)verdict.later_s * 1000000;
        talk->passives += rc == KT_ERR_PASSIVE || rc == KT_ERR_FENCED;
        talk->others += rc != KT_ERR_PASSIVE && rc != KT_ERR_FENCED && rc != KT_ERR_NETWORK &&
                        rc != KT_ERR_TIMEOUT;
        put_away(talk, &verdict);
        collect(&talk->words, rc, &verdict.error);
        if (!verdict.elsewhere && !(verdict.unchecked && talk->positive_only)) {
            talk->unchecked = verdict.unchecked;
            talk->later_s = verdict.later_s;
            talk->definite = !verdict.unchecked;
            return rc;
        }
        if (verdict.active != KTC_NONE)
            named = verdict.active;
    }
    talk->rounds++;
    collect_dead(talk);
    settle_later(talk);
    if (talk->words.code == 0)
        kt_error_set(&talk->words, KT_ERR_TIMEOUT, NULL, "no answer within %d ms",
                     talk->client->timeout_ms);
    return talk->words.code;
}
