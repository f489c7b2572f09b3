// SPDX-License-Identifier: Apache-2.0
// What the master tells a worker: links, new settings and certificates, ticket keys, stop.
#include <string.h>
#include <unistd.h>

#include "kts/reload.h"
#include "kts/worker.h"
#include "kts/worker_inner.h"
#include "lib/log.h"

static void take_link(struct kts_worker *worker, struct kts_control_message *message)
{
    uint8_t asker = 0, other = 0;
    struct kts_ask *ask;
    int rc = message->fd < 0 || kt_buf_get_u8(&message->payload, &asker) ||
                     kt_buf_get_u8(&message->payload, &other) || asker != KTS_WORKER ||
                     (other != KTS_WRITER && other != KTS_AUDIT)
                 ? KT_ERR_PROTOCOL
                 : 0;

    if (rc == 0) {
        ask = other == KTS_WRITER ? worker->writer : worker->audit;
        rc = kts_ask_attach(ask, message->fd);
        message->fd = -1; // it has it, also on failure
    }
    if (rc)
        kt_log_code(KT_LOG_ERROR, rc, "worker %d cannot use a new link", worker->start->index);
}

static int reload(struct kts_worker *worker, struct kt_buf *payload, struct kt_error *error)
{
    struct kts_reload fresh = {0};
    int rc = kts_reload_decode(payload, &fresh, error);
    struct kt_tls_pem pem = {fresh.cert,    fresh.cert_len, fresh.key,
                             fresh.key_len, fresh.ca,       fresh.ca_len};

    if (rc)
        return rc;
    if (fresh.cert_len > 0)
        rc = kts_worker_use_tls(worker, &pem, error);
    if (rc) { // all or nothing
        kt_settings_free(fresh.settings);
        return rc;
    }
    kt_settings_free(worker->start->settings);
    worker->start->settings = fresh.settings;
    worker->settings = fresh.settings;
    kts_reload_level(fresh.settings);
    kts_reload_info(worker->start->info, &fresh);
    kts_accept_resume(worker); // max_connections may have grown
    return 0;
}

static void take_reload(struct kts_worker *worker, struct kts_control_message *message)
{
    struct kt_error error = {0};

    kts_reload_log(message->fd);
    message->fd = -1;
    if (reload(worker, &message->payload, &error))
        kt_log_error(&error, "worker %d keeps its settings", worker->start->index);
    else
        kt_log(KT_LOG_INFO, "worker %d has new settings", worker->start->index);
}

static void take_tickets(struct kts_worker *worker, struct kts_control_message *message)
{
    struct kt_tls_tickets fresh;

    if (kt_buf_left(&message->payload) != sizeof(fresh) ||
        kt_buf_get(&message->payload, &fresh, sizeof(fresh))) {
        kt_log(KT_LOG_ERROR, "worker %d got malformed ticket keys", worker->start->index);
        return;
    }
    worker->tickets = fresh;
    kt_wipe(&fresh, sizeof(fresh));
}

static void take(struct kts_worker *worker, struct kts_control_message *message)
{
    switch (message->type) {
    case KTS_CTL_LINK:
        take_link(worker, message);
        break;
    case KTS_CTL_RELOAD:
        take_reload(worker, message);
        break;
    case KTS_CTL_TICKETS:
        take_tickets(worker, message);
        break;
    case KTS_CTL_STOP:
        kts_worker_stop(worker);
        break;
    case KTS_CTL_READY: // these two go the other way
    case KTS_CTL_DATABASE_LOST:
        break;
    }
    if (message->fd >= 0)
        close(message->fd);
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
    struct kts_worker *worker = arg;
    struct kts_control_message message;
    int rc;

    (void)what;
    while ((rc = kts_control_receive((int)fd, &worker->control_storage, &message)) == 0)
        take(worker, &message);
    kt_buf_free(&worker->control_storage); // a reload carries the server key
    if (rc == KT_ERR_NETWORK)
        kts_worker_master_gone(worker);
    else if (rc != KT_ERR_AGAIN)
        kt_log_code(KT_LOG_ERROR, rc, "worker %d got a malformed control message",
                    worker->start->index);
}

int kts_worker_control_start(struct kts_worker *worker)
{
    worker->control_event = event_new(worker->base, worker->start->control_fd, EV_READ | EV_PERSIST,
                                      on_control, worker);
    if (!worker->control_event || event_priority_set(worker->control_event, KTS_PRIORITY_CONTROL) ||
        event_add(worker->control_event, NULL))
        return KT_ERR_NO_MEMORY;
    return 0;
}
