// SPDX-License-Identifier: Apache-2.0
// The agent's side of the link to the door: whether a caller may ask for a verb, and the answer. The
// door may have been taken over: a frame that it would not send ends the link.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "kts/agent_door.h"
#include "kts/agent_token.h"
#include "kts/relay.h"
#include "kts/strangers.h"
#include "lib/agent_call.h"
#include "lib/json.h"
#include "lib/log.h"

#define SCHEME     "Keytrustee "
#define ANSWER_MAX (KTS_MESSAGE_MAX - 1)

// One call, from the CALL frame to its answer, or until its caller is gone.
struct relayed {
    struct kts_call call;
    struct relayed *next, **link;
    uint64_t id;
    char peer[KT_PEER_TEXT];
    char verb[KTS_RELAY_VERB_TEXT];
    struct kt_join_token token;
    size_t body_expected;
    int is_asked;    // its body is here: the call has begun
    int is_running;  // kts_verb_run is on the stack
    int is_answered; // meanwhile
};

struct kts_relay {
    struct kts_agent *agent;
    struct relayed *calls;
    size_t count;
    struct kts_strangers strangers; // budget of audit records
};

// --- answers ---

// What cannot be sent whole ends the link, and the door with it: no caller waits for nothing.
static void send_frame(struct kts_relay *relay, uint16_t type, uint64_t id,
                       const struct kt_buf *payload)
{
    struct kts_agent_link *door = &relay->agent->door;
    int rc = kts_agent_send(door, type, id, payload ? kt_buf_ptr(payload) : NULL,
                            payload ? kt_buf_left(payload) : 0);

    if (rc == 0 || !door->link)
        return;
    kt_log_code(KT_LOG_ERROR, rc, "the door cannot be answered");
    shutdown(kts_link_fd(door->link), SHUT_RDWR);
}

static void send_answer(struct kts_relay *relay, uint64_t id, int code, const json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    size_t n = text ? strlen(text) : 0;
    const struct kts_relay_answer answer = {code, (const uint8_t *)text, n};
    struct kt_buf payload = KT_BUF_INIT(ANSWER_MAX);

    // One that is too long, or that there is no memory for, is none: the door closes the connection.
    if (n > KT_AGENT_MESSAGE_MAX || kts_relay_answer_encode(&answer, &payload)) {
        kt_buf_reset(&payload);
        if (kts_relay_answer_encode(&(struct kts_relay_answer){.code = code}, &payload))
            kt_log(KT_LOG_ERROR, "no memory for an answer");
    }
    send_frame(relay, KTS_MSG_ANSWER, id, &payload);
    kt_buf_free(&payload);
    if (text)
        kt_wipe(text, n);
    free(text);
}

static void send_error(struct kts_relay *relay, uint64_t id, const struct kt_error *error)
{
    json_t *body = json_pack("{s:o}", "error", kts_call_error_json(error));

    send_answer(relay, id, error->code, body);
    json_decref(body);
}

static void end(struct kts_relay *relay, struct relayed *relayed)
{
    *relayed->link = relayed->next;
    if (relayed->next)
        relayed->next->link = relayed->link;
    relay->count--;
    if (relayed->is_asked)
        kts_call_end(&relayed->call);
    kt_wipe(&relayed->token, sizeof(relayed->token));
    free(relayed);
}

static void answer(struct kts_call *call, const json_t *result, const struct kt_error *error)
{
    struct relayed *relayed = (struct relayed *)((char *)call - offsetof(struct relayed, call));
    struct kts_relay *relay = call->agent->relay;

    kt_wipe(&relayed->token, sizeof(relayed->token));
    if (result)
        send_answer(relay, relayed->id, 0, result);
    else
        send_error(relay, relayed->id, error);
    if (relayed->is_running)
        relayed->is_answered = 1;
    else
        end(relay, relayed);
}

// --- who ---

// The bearer of a token: no certificate yet, and one verb.
static int identify_token(struct relayed *relayed, const struct kts_relay_call *from,
                          struct kt_error *error)
{
    struct kts_call *call = &relayed->call;
    char text[KT_TOKEN_TEXT] = "";
    size_t skip = strlen(SCHEME), n = from->authorization_len;
    int rc = 0;

    if (n <= skip || n - skip >= sizeof(text) || memcmp(from->authorization, SCHEME, skip) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                            "the authorization is not of the scheme Keytrustee");
    memcpy(text, from->authorization + skip, n - skip);
    if (kt_join_token_parse(text, &relayed->token))
        rc = kt_error_set(error, KT_ERR_TOKEN_INVALID, NULL, "%s",
                          kt_err_text(KT_ERR_TOKEN_INVALID));
    kt_wipe(text, sizeof(text));
    if (rc == 0)
        rc = kts_token_check(call->agent, &relayed->token, error);
    if (rc)
        return rc;
    call->caller = KTS_CALLER_TOKEN;
    call->token = &relayed->token;
    snprintf(call->actor, sizeof(call->actor), "token %s", relayed->token.id);
    return 0;
}

static int authorise(struct relayed *relayed, const struct kts_relay_call *from,
                     struct kt_error *error)
{
    const struct kts_verb *verb = kts_verb_find(relayed->verb);
    int rc = kts_caller_identify(&relayed->call, from, error);

    if ((rc || relayed->call.caller == KTS_CALLER_REMOVED) && from->has_authorization) {
        rc = kts_verb_check(verb, KTS_CALLER_TOKEN, error);
        return rc ? rc : identify_token(relayed, from, error);
    }
    return rc ? rc : kts_verb_check(verb, relayed->call.caller, error);
}

static void record_refusal(struct kts_relay *relay, const struct relayed *relayed, int code)
{
    if (!kts_strangers_allow(&relay->strangers, kt_monotonic_now()))
        return;
    kt_log(KT_LOG_WARNING, "refused '%s' to '%s': %s", relayed->verb, relayed->peer,
           kt_err_text(code));
    kts_agent_audit(relay->agent, json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", "cluster.call",
                                            "result", "denied", "reason", kt_err_info(code)->name,
                                            "verb", relayed->verb, "peer", relayed->peer));
}

static int take_length(struct relayed *relayed, uint64_t n, struct kt_error *error)
{
    size_t max = relayed->call.caller & (KTS_CALLER_TOKEN | KTS_CALLER_REMOVED)
                     ? KTS_RELAY_STRANGER_MAX
                     : KTS_RELAY_BODY_MAX;

    if (n > max)
        return kt_error_set(error, KT_ERR_BODY_TOO_LARGE, NULL,
                            "the request's body is over its bound of %zu bytes", max);
    relayed->body_expected = (size_t)n;
    return 0;
}

// --- frames ---

static struct relayed *find(const struct kts_relay *relay, uint64_t id)
{
    struct relayed *relayed = relay->calls;

    while (relayed && relayed->id != id)
        relayed = relayed->next;
    return relayed;
}

// Is the certificate a node's or operator's? The door keeps room for those.
static int take_greeting(struct kts_relay *relay, struct kts_message *message)
{
    struct kts_call nobody = {.agent = relay->agent};
    struct kt_buf payload = KT_BUF_INIT(1);
    struct kts_relay_call from;
    struct kt_error why = {0};
    int rc = kts_relay_call_decode(&message->payload, &from);

    if (rc || from.verb[0])
        return KT_ERR_PROTOCOL;
    rc = kts_caller_identify(&nobody, &from, &why);
    rc = kt_buf_put_u8(&payload, rc == 0 && nobody.caller != KTS_CALLER_REMOVED);
    if (rc == 0)
        send_frame(relay, KTS_MSG_KNOWN, message->id, &payload);
    kt_buf_free(&payload);
    return rc;
}

static struct relayed *add(struct kts_relay *relay, uint64_t id, const struct kts_relay_call *from)
{
    struct relayed *relayed = calloc(1, sizeof(*relayed));

    if (!relayed)
        return NULL;
    relayed->id = id;
    memcpy(relayed->peer, from->peer, sizeof(relayed->peer));
    memcpy(relayed->verb, from->verb, sizeof(relayed->verb));
    relayed->call.agent = relay->agent;
    relayed->call.peer = relayed->peer;
    relayed->call.answer = answer;
    relayed->next = relay->calls;
    relayed->link = &relay->calls;
    if (relayed->next)
        relayed->next->link = &relayed->next;
    relay->calls = relayed;
    relay->count++;
    return relayed;
}

static int take_call(struct kts_relay *relay, struct kts_message *message)
{
    struct kts_relay_call from;
    struct kt_error error = {0};
    struct relayed *relayed;
    int rc = kts_relay_call_decode(&message->payload, &from);

    if (rc || !from.verb[0] || find(relay, message->id) || relay->count >= KTS_RELAY_CALLS_MAX)
        return KT_ERR_PROTOCOL;
    relayed = add(relay, message->id, &from);
    if (!relayed)
        return KT_ERR_NO_MEMORY;
    rc = authorise(relayed, &from, &error);
    if (rc && rc != KT_ERR_ROUTE_UNKNOWN)
        record_refusal(relay, relayed, rc);
    if (rc == 0)
        rc = take_length(relayed, from.body_len, &error);
    if (rc == 0) {
        send_frame(relay, KTS_MSG_LEAVE, message->id, NULL);
        return 0;
    }
    send_error(relay, message->id, &error);
    end(relay, relayed);
    return 0;
}

static int take_body(struct kts_relay *relay, struct kts_message *message)
{
    struct relayed *relayed = find(relay, message->id);
    size_t n = kt_buf_left(&message->payload);
    struct kt_error error = {0};
    json_t *args = NULL;

    if (!relayed || relayed->is_asked || n != relayed->body_expected)
        return KT_ERR_PROTOCOL;
    relayed->is_asked = relayed->is_running = 1;
    kts_call_begin(&relayed->call);
    if (n && kt_json_parse_object(kt_buf_ptr(&message->payload), n, &args, &error))
        kts_call_fail(&relayed->call, &error);
    else
        kts_verb_run(&relayed->call, relayed->verb, args);
    json_decref(args);
    relayed->is_running = 0;
    if (relayed->is_answered)
        end(relay, relayed);
    return 0;
}

// Its answer may have been on its way when the caller went.
static int take_cancel(struct kts_relay *relay, struct kts_message *message)
{
    struct relayed *relayed = find(relay, message->id);

    if (kt_buf_left(&message->payload))
        return KT_ERR_PROTOCOL;
    if (relayed)
        end(relay, relayed);
    return 0;
}

static void take(struct kts_agent *agent, struct kts_message *message)
{
    int rc = KT_ERR_PROTOCOL;

    if (message->type == KTS_MSG_GREETING)
        rc = take_greeting(agent->relay, message);
    else if (message->type == KTS_MSG_CALL)
        rc = take_call(agent->relay, message);
    else if (message->type == KTS_MSG_BODY)
        rc = take_body(agent->relay, message);
    else if (message->type == KTS_MSG_CANCEL)
        rc = take_cancel(agent->relay, message);
    if (rc == 0)
        return;
    kt_log_code(KT_LOG_ERROR, rc, "a frame of the door cannot be taken, its link is closed");
    kts_agent_drop(&agent->door);
}

// --- begin and end ---

static void on_closed(struct kts_agent *agent)
{
    struct kts_relay *relay = agent->relay;

    struct relayed *next;

    for (struct relayed *one = relay ? relay->calls : NULL; one; one = next) {
        next = one->next;
        end(relay, one);
    }
}

static void on_summary(evutil_socket_t fd, short what, void *arg)
{
    struct kts_relay *relay = arg;

    (void)fd;
    (void)what;
    kts_agent_audit(relay->agent,
                    json_pack("{s:s, s:s, s:I}", "event", "audit.skipped", "result", "denied",
                              "count", (json_int_t)relay->strangers.skipped));
    relay->strangers.skipped = 0;
}

int kts_relay_start(struct kts_agent *agent, struct kt_error *error)
{
    struct kts_relay *relay = calloc(1, sizeof(*relay));

    agent->relay = relay;
    if (relay) {
        relay->agent = agent;
        relay->strangers.timer = evtimer_new(agent->base, on_summary, relay);
    }
    if (!relay || !relay->strangers.timer)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    agent->door = (struct kts_agent_link){.agent = agent, .message = take, .closed = on_closed};
    return 0;
}

void kts_relay_stop(struct kts_agent *agent)
{
    struct kts_relay *relay = agent->relay;

    if (!relay)
        return;
    kts_agent_drop(&agent->door);
    on_closed(agent);
    if (relay->strangers.timer)
        event_free(relay->strangers.timer);
    free(relay);
    agent->relay = NULL;
}
