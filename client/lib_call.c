// SPDX-License-Identifier: Apache-2.0
// Calls to a cluster of several servers: the next one on failure, again while it is worth it.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"

#define CONNECT_TIMEOUT_MS 5000
#define FIRST_PAUSE_MS     100
#define LONGEST_PAUSE_MS   2000
#define HEADERS_MAX        6

// What one try said, and what it means for the next.
struct attempt {
    struct kt_error error;
    int doubt;     // the change may have happened
    int elsewhere; // another server may do better
    int again;     // so may this one, later
};

// Errors of servers that say for sure that nothing was changed, though another server, or this one
// later, may do it.
static int is_surely_undone(int code)
{
    switch (code) {
    case KT_ERR_TOO_MANY_CONNECTIONS:
    case KT_ERR_DATABASE_UNAVAILABLE:
    case KT_ERR_WRITER_UNAVAILABLE:
    case KT_ERR_NO_QUORUM:
    case KT_ERR_PASSIVE:
    case KT_ERR_FENCED:
    case KT_ERR_SHUTTING_DOWN:
    case KT_ERR_STORAGE_FULL:
    case KT_ERR_UNSAFE_SETTINGS:
        return 1;
    default:
        return 0;
    }
}

static int get_server(struct keytrustee *client, size_t i, struct kt_error *error)
{
    char ca[KT_PATH_MAX], cert[KT_PATH_MAX], key[KT_PATH_MAX];
    struct kt_http_tls tls = {.ca_file = ca, .cert_file = cert, .key_file = key};
    int rc = 0;

    if (client->http[i] != NULL)
        return 0;
    rc = ktc_path(client, "ca.pem", ca);
    if (rc == 0)
        rc = ktc_path(client, "client-cert.pem", cert);
    if (rc == 0)
        rc = ktc_path(client, "client-key.pem", key);
    if (rc == 0)
        rc = kt_file_check_private(key, 1, error);
    if (rc == 0)
        rc = kt_http_client_new(client->state.servers[i], &tls, &client->http[i], error);
    return rc;
}

int ktc_answer_error(const struct kt_http_answer *answer, const char *server,
                     struct kt_error *error)
{
    const struct kt_err_info *info = NULL;
    const char *name = NULL, *message = NULL, *hint = NULL, *request = NULL;
    json_t *object = NULL;
    int rc = KT_ERR_PROTOCOL;

    if (kt_json_parse_object(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), &object,
                             NULL) == 0 &&
        json_unpack(object, "{s:{s:s, s:s, s?s, s?s}}", "error", "code", &name, "message", &message,
                    "hint", &hint, "request_id", &request) == 0)
        info = kt_err_by_name(name);
    if (info != NULL && info->code != KT_OK)
        rc = kt_error_set(error, info->code, hint, "%s: %s%s%.64s%s", server, message,
                          request ? " (request " : "", request ? request : "", request ? ")" : "");
    else
        kt_error_set(error, rc, NULL, "%s: unexpected answer with status %d", server,
                     answer->status);
    if (error != NULL) {
        ktc_printable(error->message);
        ktc_printable(error->hint);
    }
    json_decref(object);
    return rc;
}

// Saves a newer epoch; other processes may have seen a newer one still.
static void save_epoch(struct keytrustee *client)
{
    struct ktc_state disk = {0};
    enum ktc_seen seen = KTC_SEEN_SAME;
    char path[KT_PATH_MAX];
    struct kt_error why = {0};
    int fd = -1;
    int rc = ktc_path(client, "client.json", path);

    if (rc == 0)
        rc = ktc_lock(client, &fd, &why);
    if (rc == 0)
        rc = ktc_state_load(path, &disk, &why);
    if (rc == 0)
        rc = ktc_state_observe(&disk, &client->state.incarnation, client->state.epoch, &seen);
    if (rc == 0 && (seen == KTC_SEEN_NEWER || seen == KTC_SEEN_RESTORED))
        rc = ktc_state_save(path, &disk, &why);
    if (rc == 0) {
        client->state.incarnation = disk.incarnation;
        client->state.epoch = disk.epoch;
    } else {
        ktc_warn(client, NULL, "cannot remember epoch %llu: %s",
                 (unsigned long long)client->state.epoch,
                 why.message[0] ? why.message : kt_err_text(rc));
    }
    if (fd >= 0)
        close(fd);
}

int ktc_observe(struct keytrustee *client, const struct kt_http_answer *answer, const char *server,
                struct kt_error *error)
{
    const char *incarnation_text = kt_http_answer_header(answer, "KT-Incarnation");
    const char *epoch_text = kt_http_answer_header(answer, "KT-Epoch");
    struct kt_incarnation incarnation;
    enum ktc_seen seen = KTC_SEEN_SAME;
    uint64_t epoch = 0;

    if (incarnation_text == NULL || epoch_text == NULL) {
        if (answer->status < 200 || answer->status >= 300)
            return 0; // what refuses a request before a node sees it need not know
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL,
                            "%s: KT-Incarnation or KT-Epoch is missing", server);
    }
    if (kt_incarnation_parse(incarnation_text, &incarnation) != 0 ||
        kt_u64_parse(epoch_text, 0, INT64_MAX, &epoch) != 0)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "%s: malformed incarnation or epoch",
                            server);
    if (ktc_state_observe(&client->state, &incarnation, epoch, &seen) != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE,
                            "two restored clusters exist: ask the operator which is the right one",
                            "%s: incarnation %.31s is not the history this client knows", server,
                            incarnation_text);
    switch (seen) {
    case KTC_SEEN_SAME:
        break;
    case KTC_SEEN_RESTORED:
        ktc_warn(client, "check with keytrustee info what you deposited after the backup was made",
                 "the cluster was restored from a backup (incarnation %.31s)", incarnation_text);
        save_epoch(client);
        break;
    case KTC_SEEN_NEWER:
        save_epoch(client);
        break;
    case KTC_SEEN_OLDER:
        return kt_error_set(error, KT_ERR_FENCED, "ask the operator: this node was replaced",
                            "%s is still in epoch %llu of incarnation %.31s, but epoch %llu has "
                            "been seen",
                            server, (unsigned long long)epoch, incarnation_text,
                            (unsigned long long)client->state.epoch);
    }
    return 0;
}

// What an answer that arrived whole means. 0: it is the one.
static int judge(struct keytrustee *client, const struct ktc_call *call, struct ktc_answer *answer,
                 struct attempt *attempt)
{
    struct kt_http_answer *http = &answer->http;
    const char *freshness = kt_http_answer_header(http, "KT-Freshness");
    int stale = ktc_observe(client, http, answer->server, &attempt->error);
    int rc = 0;

    answer->fresh = stale == 0 && freshness != NULL && strcmp(freshness, "barrier") == 0;
    if (http->status >= 200 && http->status < 300) {
        if (stale == 0 || (stale == KT_ERR_FENCED && !call->latest && !call->change))
            return 0; // a deposit never changes: a positive answer is right in any epoch
        attempt->doubt = call->change;
        attempt->elsewhere = stale == KT_ERR_FENCED;
        return stale;
    }
    if (stale != 0 && (call->latest || call->change) && http->status < 500) {
        attempt->elsewhere = stale == KT_ERR_FENCED;
        return stale; // a replaced node cannot say "not found" or "not permitted" either
    }
    rc = ktc_answer_error(http, answer->server, &attempt->error);
    if (http->status >= 500 || rc == KT_ERR_PASSIVE || rc == KT_ERR_FENCED) {
        attempt->elsewhere = 1;
        attempt->doubt = call->change && !is_surely_undone(rc);
        attempt->again = rc != KT_ERR_STORAGE_FULL && rc != KT_ERR_UNSAFE_SETTINGS;
    }
    return rc;
}

// One try at one server.
static int try_server(struct keytrustee *client, const struct ktc_call *call, size_t i,
                      int timeout_ms, struct ktc_answer *answer, struct attempt *attempt)
{
    const char *headers[HEADERS_MAX + 2] = {NULL};
    size_t n = 0;
    int rc = get_server(client, i, &attempt->error);

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
        .connect_timeout_ms = timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS,
        .max_answer = call->max_answer ? call->max_answer : KTC_JSON_MAX,
    };
    snprintf(answer->server, sizeof answer->server, "%s", client->state.servers[i]);
    rc = kt_http_client_run(client->http[i], &request, &answer->http, &attempt->error);
    if (rc != 0) {
        attempt->doubt = call->change && kt_http_client_sent(client->http[i]);
        attempt->again = rc == KT_ERR_NETWORK || rc == KT_ERR_TIMEOUT;
        attempt->elsewhere = attempt->again || rc == KT_ERR_CRYPTO || rc == KT_ERR_PROTOCOL;
        return rc;
    }
    rc = judge(client, call, answer, attempt);
    if (rc != 0)
        kt_http_answer_free(&answer->http);
    return rc;
}

// Adds one server's words to those of the others of this round.
static void collect(struct kt_error *all, int rc, const struct kt_error *one)
{
    size_t used = strlen(all->message);
    const char *words = one->code == rc && one->message[0] ? one->message : kt_err_text(rc);

    // What a server answered tells more than that another one did not.
    if (all->code == 0 || (rc != KT_ERR_NETWORK && rc != KT_ERR_TIMEOUT)) {
        all->code = rc;
        snprintf(all->hint, sizeof all->hint, "%s",
                 one->hint[0] ? one->hint : (kt_err_info(rc)->hint ? kt_err_info(rc)->hint : ""));
    }
    snprintf(all->message + used, sizeof all->message - used, "%s%s", used ? "; " : "", words);
}

// Every server once. `*again` tells whether another round is worth it.
static int try_all(struct keytrustee *client, const struct ktc_call *call,
                   struct ktc_answer *answer, int *again, struct kt_error *all)
{
    size_t count = client->state.server_count, first = client->preferred % count;
    int rc = KT_ERR_TIMEOUT;

    memset(all, 0, sizeof *all);
    *again = 0;
    for (size_t n = 0; n < count; n++) {
        struct attempt attempt = {{0}, 0, 0, 0};
        size_t i = (first + n) % count;
        // A server that hangs must leave time for those behind it.
        int time = ktc_time_left(client) / (int)(count - n);
        if (time <= 0)
            break;
        rc = try_server(client, call, i, time, answer, &attempt);
        if (rc == 0) {
            client->preferred = i;
            return 0;
        }
        answer->doubt |= attempt.doubt;
        *again |= attempt.again;
        collect(all, rc, &attempt.error);
        if (!attempt.elsewhere)
            return rc; // a definite answer
    }
    if (all->code == 0)
        kt_error_set(all, KT_ERR_TIMEOUT, NULL, "no answer within %d ms", client->timeout_ms);
    return all->code;
}

int ktc_is_refusal_of_content(int rc)
{
    int http = kt_err_info(rc)->http;

    return http >= 400 && http < 500 && http != 401 && http != 403 && http != 408;
}

// Whether `rc` tells what came of the call: an error of the client's side does, unless an earlier
// server may have taken the request and this one only refuses to look at it.
static int is_definite(int rc, int doubt)
{
    int http = kt_err_info(rc)->http;

    return doubt ? ktc_is_refusal_of_content(rc) : http >= 400 && http < 500;
}

int ktc_call(struct keytrustee *client, const struct ktc_call *call, struct ktc_answer *answer,
             struct kt_error *error)
{
    struct kt_error all = {0};
    int pause_ms = FIRST_PAUSE_MS, again = 0, definite = 0;
    int rc = ktc_need_registration(client, error);

    memset(answer, 0, sizeof *answer);
    if (rc != 0)
        return rc;
    for (;;) {
        rc = try_all(client, call, answer, &again, &all);
        definite = rc != 0 && is_definite(rc, answer->doubt);
        if (rc == 0)
            return 0;
        if (!call->change || !again || definite || ktc_time_left(client) <= pause_ms)
            break;
        if (pause_ms == FIRST_PAUSE_MS)
            ktc_warn(client, NULL, "trying again: %s", all.message);
        (void)poll(NULL, 0, pause_ms);
        pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2 : LONGEST_PAUSE_MS;
    }
    if (answer->doubt && !definite)
        rc = kt_error_set(&all, KT_ERR_IN_DOUBT, NULL, "%.400s", all.message);
    if (error != NULL)
        *error = all;
    return rc;
}

void ktc_answer_free(struct ktc_answer *answer)
{
    kt_http_answer_free(&answer->http);
}
