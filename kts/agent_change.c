// SPDX-License-Identifier: Apache-2.0
// Changes on their way to the writer, and what came of them.
#include <stdlib.h>
#include <string.h>

#include "kts/agent.h"
#include "lib/log.h"

struct kts_pending {
    struct kts_pending *next;
    struct kts_agent *agent;
    struct kts_call *call; // NULL: its caller is gone
    struct event *timer;
    uint64_t id;
    struct kt_secret *code; // the auth code's text, to be shown once when the change is durable
    json_t *shown;          // what is shown with it, or NULL
};

static void free_pending(struct kts_pending *pending)
{
    struct kts_pending **at = &pending->agent->pending;

    while (*at && *at != pending)
        at = &(*at)->next;
    if (*at)
        *at = pending->next;
    if (pending->timer)
        event_free(pending->timer);
    kt_secret_free(pending->code);
    json_decref(pending->shown);
    free(pending);
}

void kts_pending_forget(struct kts_pending *pending)
{
    pending->call = NULL;
}

static void fail(struct kts_pending *pending, int code, const char *message)
{
    struct kts_call *call = pending->call;
    struct kt_error error = {0};

    kt_error_set(&error, code, NULL, "%s", message && message[0] ? message : kt_err_text(code));
    free_pending(pending);
    if (call)
        kts_call_fail(call, &error);
}

// --- outcomes ---

static json_t *result_of(const struct kts_pending *pending, const struct kt_outcome *outcome)
{
    json_t *result = outcome->text ? json_loads(outcome->text, 0, NULL) : json_object(), *expires;

    if (result && pending->shown)
        json_object_update(result, pending->shown);
    if (!result || !pending->code)
        return result;
    json_object_set_new(result, "code", json_string(kt_secret_text(pending->code)));
    expires = json_object_get(result, "expires");
    if (expires) {
        json_object_set(result, "expires_at", expires);
        json_object_del(result, "expires");
    }
    return result;
}

static void finish(struct kts_pending *pending, const struct kt_outcome *outcome)
{
    struct kts_call *call = pending->call;
    json_t *result;

    if (outcome->code) {
        fail(pending, outcome->code, outcome->message);
        return;
    }
    result = result_of(pending, outcome);
    if (!result) {
        fail(pending, KT_ERR_INTERNAL, "the change is done, but its answer cannot be read");
        return;
    }
    free_pending(pending);
    if (call)
        kts_call_succeed(call, result);
    else
        json_decref(result);
}

void kts_agent_outcome(struct kts_agent *agent, struct kts_message *message)
{
    struct kts_pending *pending = agent->pending;
    struct kt_outcome outcome = {.code = 0};

    while (pending && pending->id != message->id)
        pending = pending->next;
    if (!pending)
        return; // answered "in doubt" before
    if (message->type != KTS_MSG_OUTCOME || kt_outcome_decode(&message->payload, &outcome)) {
        kt_log(KT_LOG_ERROR, "the writer's answer cannot be read");
        fail(pending, KT_ERR_IN_DOUBT, NULL);
        return;
    }
    finish(pending, &outcome);
    kt_outcome_free(&outcome);
}

void kts_agent_writer_gone(struct kts_agent *agent)
{
    while (agent->pending)
        fail(agent->pending, KT_ERR_IN_DOUBT, NULL);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    fail(arg, KT_ERR_IN_DOUBT, NULL);
}

// --- sending ---

// Refused at once rather than queued when the writer could not take it now.
static int check_writer(const struct kts_agent *agent, struct kt_error *error)
{
    struct kts_status *status = agent->start->status;
    int code = 0;

    if (atomic_load(&status->role) == KTS_ROLE_PASSIVE)
        code = KT_ERR_PASSIVE;
    else if (!atomic_load(&status->database_up))
        code = KT_ERR_DATABASE_UNAVAILABLE;
    else if (!atomic_load(&status->writer_open) || !agent->changes.link)
        code = KT_ERR_WRITER_UNAVAILABLE;
    else if (!atomic_load(&status->audit_open))
        code = KT_ERR_AUDIT_UNAVAILABLE;
    return code ? kt_error_set(error, code, NULL, "%s", kt_err_text(code)) : 0;
}

static int encode(struct kts_call *call, struct kt_change *change, struct kt_buf *out)
{
    uint8_t id[16];
    int rc = kt_random(id, sizeof(id));

    if (rc)
        return rc;
    kt_hex_encode(id, sizeof(id), change->request_id);
    memcpy(change->actor, kts_call_actor(call), strlen(kts_call_actor(call)) + 1);
    return kt_change_encode(change, out);
}

static int send_change(struct kts_call *call, struct kt_change *change, struct kt_secret *code,
                       json_t *shown, struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    int64_t ms = kt_settings_number(agent->start->settings, KT_SET_TIMEOUT_WRITE);
    const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    struct kt_buf bytes = KT_BUF_INIT(1u << 20);
    struct kts_pending *pending = calloc(1, sizeof(*pending));
    int rc = check_writer(agent, error);

    if (rc == 0) {
        rc = pending ? encode(call, change, &bytes) : KT_ERR_NO_MEMORY;
        if (rc)
            kt_error_set(error, rc, NULL, "the change cannot be sent: %s", kt_err_text(rc));
    }
    if (rc) {
        kt_secret_free(code);
        json_decref(shown);
        free(pending);
        kt_buf_free(&bytes);
        return rc;
    }
    *pending = (struct kts_pending){.next = agent->pending,
                                    .agent = agent,
                                    .call = call,
                                    .id = ++agent->next_id,
                                    .code = code,
                                    .shown = shown};
    agent->pending = pending;
    pending->timer = evtimer_new(agent->base, on_timeout, pending);
    if (!pending->timer || event_add(pending->timer, &tv))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    else if (kts_agent_send(&agent->changes, KTS_MSG_CHANGE, pending->id, kt_buf_ptr(&bytes),
                            kt_buf_left(&bytes)))
        rc = kt_error_set(error, KT_ERR_WRITER_UNAVAILABLE, NULL, "the writer does not answer");
    kt_buf_free(&bytes);
    if (rc) {
        free_pending(pending);
        return rc;
    }
    kts_call_set_pending(call, pending);
    return KT_ERR_AGAIN;
}

int kts_agent_change(struct kts_call *call, struct kt_change *change, struct kt_secret *code,
                     struct kt_error *error)
{
    return send_change(call, change, code, NULL, error);
}

int kts_agent_change_showing(struct kts_call *call, struct kt_change *change, json_t *shown,
                             struct kt_error *error)
{
    return shown ? send_change(call, change, NULL, shown, error)
                 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
}
