// SPDX-License-Identifier: Apache-2.0
// Changes on their way to the writer, and what came of them.
#include <stdlib.h>
#include <string.h>

#include "kts/agent_peers.h"
#include "kts/agent_spread.h"
#include "lib/log.h"

struct kts_pending {
    struct kts_pending *next;
    struct kts_agent *agent;
    struct kts_call *call; // NULL: its caller is gone
    struct event *timer;
    uint64_t id;
    struct kt_secret *code; // the auth code's text, to be shown once when the change is durable
    json_t *shown;          // what is shown with it, or NULL
    enum kt_change_kind kind;
    json_t *result; // it is durable: what is answered when the other nodes have it, or NULL
    uint64_t lsn;   // the log's end at the first look behind that; 0: not looked yet
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
    json_decref(pending->result);
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

static void succeed(struct kts_pending *pending, json_t *result)
{
    struct kts_call *call = pending->call;

    free_pending(pending);
    if (call)
        kts_call_succeed(call, result);
    else
        json_decref(result);
}

// --- waiting for the other nodes ---

// Answers with what the other nodes have of it now.
static void end_wait(struct kts_pending *pending, json_t *nodes)
{
    json_t *result = json_incref(pending->result);

    json_object_set_new(result, "nodes", nodes ? nodes : json_null());
    succeed(pending, result);
}

static json_t *look(struct kts_pending *pending, int *complete)
{
    struct kts_agent *agent = pending->agent;
    // As long as nobody has looked, and when this node leads no more, nobody is known to have it.
    uint64_t lsn = pending->lsn && agent->view->is_known && !agent->view->in_recovery ? pending->lsn
                                                                                      : UINT64_MAX;

    return kts_spread_look(agent->view, kts_agent_peers(agent), lsn, complete);
}

static void give_up_wait(struct kts_pending *pending)
{
    int complete;

    end_wait(pending, look(pending, &complete));
}

void kts_agent_changes_look(struct kts_agent *agent)
{
    struct kts_pending *next;

    for (struct kts_pending *pending = agent->pending; pending; pending = next) {
        int complete = 0;
        json_t *nodes;

        next = pending->next;
        if (!pending->result)
            continue;
        if (pending->lsn == 0)
            pending->lsn = agent->view->lsn;
        nodes = look(pending, &complete);
        if (complete || !pending->call)
            end_wait(pending, nodes);
        else
            json_decref(nodes);
    }
}

int kts_agent_changes_wait(const struct kts_agent *agent)
{
    const struct kts_pending *pending = agent->pending;

    while (pending && !pending->result)
        pending = pending->next;
    return pending != NULL;
}

// Its caller hears of it when the nodes that are connected show it, or that they do not. 0 when it
// waits.
static int wait_for_nodes(struct kts_pending *pending, json_t *result)
{
    static const struct timeval LIMIT = {.tv_sec = KTS_SPREAD_MS / 1000,
                                         .tv_usec = KTS_SPREAD_MS % 1000 * 1000};

    if (!pending->call || !kts_spread_is_awaited(pending->kind) ||
        !kts_spread_has_others(pending->agent) || event_add(pending->timer, &LIMIT))
        return -1;
    pending->result = result;
    kts_agent_watch_now(pending->agent);
    return 0;
}

static void finish(struct kts_pending *pending, const struct kt_outcome *outcome)
{
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
    if (wait_for_nodes(pending, result))
        succeed(pending, result);
}

void kts_agent_outcome(struct kts_agent *agent, struct kts_message *message)
{
    struct kts_pending *pending = agent->pending;
    struct kt_outcome outcome = {.code = 0};

    while (pending && pending->id != message->id)
        pending = pending->next;
    if (!pending || pending->result)
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
    struct kts_pending *next;

    for (struct kts_pending *pending = agent->pending; pending; pending = next) {
        next = pending->next;
        if (!pending->result) // else it is durable
            fail(pending, KT_ERR_IN_DOUBT, NULL);
    }
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct kts_pending *pending = arg;

    (void)fd;
    (void)what;
    if (pending->result)
        give_up_wait(pending);
    else
        fail(pending, KT_ERR_IN_DOUBT, NULL);
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
                                    .kind = change->kind,
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
