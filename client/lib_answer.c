// SPDX-License-Identifier: Apache-2.0
// What an answer means: its error, its place in the cluster's
// history, and whether it can be believed.
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "lib/json.h"

#define RETRY_AFTER_MAX 86400 // seconds

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
    if (info != NULL && info->http != 0)
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

uint32_t ktc_answered_version(const struct ktc_answer *answer, int json)
{
    const char *text = kt_http_answer_header(&answer->http, "KT-Version");
    uint64_t version = 0;
    json_t *object = NULL;
    int64_t number = 0;

    if (!json)
        return text && kt_u64_parse(text, 1, UINT32_MAX, &version) == 0 ? (uint32_t)version : 0;
    if (kt_json_parse_object(kt_buf_ptr(&answer->http.body), kt_buf_left(&answer->http.body),
                             &object, NULL) == 0 &&
        kt_json_integer(json_object_get(object, "deposit"), "version", 1, UINT32_MAX, 1, &number,
                        NULL) == 0)
        version = (uint64_t)number;
    json_decref(object);
    return (uint32_t)version;
}

// --- history ---

// Says what is wrong with a place in history that is not the newest, and remembers the newest.
static int judge_seen(struct keytrustee *client, enum ktc_seen seen, const char *server,
                      const struct kt_incarnation *incarnation, uint64_t epoch,
                      struct kt_error *error)
{
    char text[KT_INCARNATION_TEXT];

    kt_incarnation_format(incarnation, text);
    switch (seen) {
    case KTC_SEEN_SAME:
        break;
    case KTC_SEEN_RESTORED:
        return ktc_restored_accept(client, incarnation, epoch, server, NULL, error);
    case KTC_SEEN_NEWER:
        ktc_history_remember(client, incarnation, epoch);
        break;
    case KTC_SEEN_OLDER:
        return kt_error_set(error, KT_ERR_FENCED, "ask the operator: this node was replaced",
                            "%s is still in epoch %llu of incarnation %s, but epoch %llu has "
                            "been seen",
                            server, (unsigned long long)epoch, text,
                            (unsigned long long)client->state.epoch);
    case KTC_SEEN_UNDONE:
        return kt_error_set(error, KT_ERR_FENCED, "ask the operator: this node was replaced",
                            "%s is still in incarnation %s, but the cluster was restored as "
                            "incarnation %u",
                            server, text, (unsigned)client->state.incarnation.number);
    }
    return 0;
}

int ktc_observe(struct keytrustee *client, const struct kt_http_answer *answer, const char *server,
                enum ktc_seen *seen, struct kt_error *error)
{
    const char *incarnation_text = kt_http_answer_header(answer, "KT-Incarnation");
    const char *epoch_text = kt_http_answer_header(answer, "KT-Epoch");
    struct kt_incarnation incarnation;
    uint64_t epoch = 0;
    int rc = 0;

    *seen = KTC_SEEN_SAME;
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
    rc = ktc_state_compare(&client->state, &incarnation, epoch, seen);
    if (rc == 0 && *seen == KTC_SEEN_RESTORED) {
        ktc_history_reload(client); // another process may have accepted it
        rc = ktc_state_compare(&client->state, &incarnation, epoch, seen);
    }
    if (rc != 0)
        return kt_error_set(error, KT_ERR_SIGNATURE,
                            "two restored clusters exist: ask the operator which is the right one",
                            "%s: incarnation %.31s is not the history this client knows", server,
                            incarnation_text);
    return judge_seen(client, *seen, server, &incarnation, epoch, error);
}

// --- one answer ---

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
    case KT_ERR_CUT_OFF:
        return 1;
    default:
        return 0;
    }
}

// What a node that is behind says in good faith, and is wrong: deposits, approvals and
// grants that have not reached it yet.
static int needs_fresh(int code)
{
    switch (code) {
    case KT_ERR_DEPOSIT_NOT_FOUND:
    case KT_ERR_VERSION_NOT_FOUND:
    case KT_ERR_CLIENT_NOT_FOUND:
    case KT_ERR_CERTIFICATE_UNKNOWN:
    case KT_ERR_CLIENT_PENDING:
    case KT_ERR_ORGANISATION_DISABLED:
    case KT_ERR_NOT_GRANTED:
        return 1;
    default:
        return 0;
    }
}

static void note_source(struct keytrustee *client, const struct ktc_answer *answer, int older)
{
    const char *incarnation = kt_http_answer_header(&answer->http, "KT-Incarnation");
    const char *epoch = kt_http_answer_header(&answer->http, "KT-Epoch");
    struct keytrustee_source *source = &client->source;

    memset(source, 0, sizeof *source);
    snprintf(source->server, sizeof source->server, "%s", answer->server);
    snprintf(source->incarnation, sizeof source->incarnation, "%.31s",
             incarnation ? incarnation : "");
    if (epoch == NULL || kt_u64_parse(epoch, 0, INT64_MAX, &source->epoch) != 0)
        source->epoch = 0;
    source->fresh = answer->fresh;
    source->older_epoch = older;
}

// A positive answer.
static int judge_success(struct keytrustee *client, const struct ktc_call *call,
                         struct ktc_answer *answer, int stale, enum ktc_seen seen,
                         struct ktc_verdict *verdict)
{
    uint32_t version =
        call->min_version > 0 ? ktc_answered_version(answer, call->version_in_json) : 0;
    int old = version < call->min_version && !answer->fresh;

    if (stale != 0) {
        verdict->doubt = call->change;
        verdict->elsewhere = !call->change || stale == KT_ERR_FENCED;
        verdict->again = stale == KT_ERR_UNCHECKED; // its statement may be had the next time
        verdict->older = seen == KTC_SEEN_OLDER && call->immutable && !call->barrier && !old;
        if (verdict->older)
            note_source(client, answer, 1);
        return stale;
    }
    if (call->barrier && !answer->fresh) {
        verdict->elsewhere = 1;
        return kt_error_set(&verdict->error, KT_ERR_PROTOCOL, NULL, "%s ignores KT-Freshness",
                            answer->server);
    }
    if (old) {
        verdict->unchecked = 1;
        return kt_error_set(&verdict->error, KT_ERR_UNCHECKED, NULL,
                            "%s: version %u is the latest there, but version %u was acknowledged "
                            "to this host",
                            answer->server, (unsigned)version, (unsigned)call->min_version);
    }
    note_source(client, answer, 0);
    return 0;
}

// The request that trustees vote on.
static void note_request(struct keytrustee *client, const struct kt_http_answer *http)
{
    const char *text = kt_http_answer_header(http, "KT-Request");
    struct kt_uuid id;

    if (text != NULL && kt_uuid_parse(text, &id) == 0)
        kt_uuid_format(&id, client->request);
}

// What a server that has too many requests asks for. RFC 9110, section 10.2.3; ours sends seconds.
static int retry_after(const struct kt_http_answer *http)
{
    const char *text = kt_http_answer_header(http, "Retry-After");
    uint64_t seconds = 0;

    return text != NULL && kt_u64_parse(text, 1, RETRY_AFTER_MAX, &seconds) == 0 ? (int)seconds : 1;
}

int ktc_judge(struct keytrustee *client, const struct ktc_call *call, struct ktc_answer *answer,
              struct ktc_verdict *verdict)
{
    const struct kt_http_answer *http = &answer->http;
    const char *freshness = kt_http_answer_header(http, "KT-Freshness");
    const char *active = kt_http_answer_header(http, "KT-Active");
    // Whose place in history is not told was not compared with what is known: it proves nothing.
    int is_placed = kt_http_answer_header(http, "KT-Incarnation") != NULL &&
                    kt_http_answer_header(http, "KT-Epoch") != NULL;
    enum ktc_seen seen = KTC_SEEN_SAME;
    int stale = 0, rc = 0;

    if (call->pin == NULL)
        stale = ktc_observe(client, http, answer->server, &seen, &verdict->error);
    if (call->pin == NULL && stale == 0) {
        ktc_cluster_key_seen(client, http, answer->server);
        ktc_ca_named(client, http, answer->server);
    }
    answer->fresh =
        stale == 0 && is_placed && freshness != NULL && strcmp(freshness, "barrier") == 0;
    verdict->current = stale == 0 && http->status < 500;
    if (stale == 0 && active != NULL) // a replaced node may name another replaced one
        verdict->active = ktc_servers_learn_active(client, active);
    if (http->status >= 200 && http->status < 300)
        return judge_success(client, call, answer, stale, seen, verdict);
    if (stale != 0 && http->status < 500) {
        verdict->elsewhere = !call->change || stale == KT_ERR_FENCED;
        verdict->again = stale == KT_ERR_UNCHECKED;
        return stale; // a replaced node cannot say "not found" or "not permitted" either
    }
    rc = ktc_answer_error(http, answer->server, &verdict->error);
    if (rc == KT_ERR_VOTES_REQUIRED)
        note_request(client, http);
    if (rc == KT_ERR_TOO_MANY_REQUESTS) {
        verdict->later_s = retry_after(http);
        verdict->elsewhere = !call->change; // its count is its own; a change is the active's alone
    }
    if (http->status >= 500 || rc == KT_ERR_PASSIVE || rc == KT_ERR_FENCED ||
        rc == KT_ERR_NO_QUORUM) {
        verdict->elsewhere = 1;
        verdict->doubt = call->change && !is_surely_undone(rc);
        verdict->again = rc != KT_ERR_STORAGE_FULL && rc != KT_ERR_UNSAFE_SETTINGS;
    } else if (!call->change && !answer->fresh && needs_fresh(rc)) {
        verdict->unchecked = 1;
        verdict->elsewhere = call->barrier; // it ignores it
    } else if (answer->fresh) {
        note_source(client, answer, 0);
    }
    return rc;
}
