// SPDX-License-Identifier: Apache-2.0
// The door for nodes and operators: TLS and HTTP of the agent's port, without the agent's keys. It
// hands each request to the agent and can do nothing else.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/door_inner.h"
#include "kts/reload.h"
#include "kts/sandbox.h"
#include "kts/worker.h"
#include "lib/log.h"

#define STOP_MS 2000 // for answers that are on their way

static void leave(struct kts_door *door, int exit_code)
{
    door->exit_code = exit_code;
    event_base_loopbreak(door->base);
}

// --- the agent ---

int kts_door_send(struct kts_door *door, uint16_t type, uint64_t id, const void *payload, size_t n)
{
    if (!door->agent || kts_link_send(door->agent, type, id, payload, n))
        return KT_ERR_AGENT_UNAVAILABLE; // a broken link is noticed when its end is read
    if (kts_link_wants_write(door->agent))
        event_add(door->writable, NULL);
    return 0;
}

// The agent has died, or has closed the link for what came from here: a new door gets a new one.
static void lose_agent(struct kts_door *door, const char *why)
{
    kt_log(KT_LOG_NOTICE, "%s: the door ends, to be started again", why);
    leave(door, 1);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct kts_door *door = arg;
    struct kts_message message;
    int ended = kts_link_receive(door->agent), rc;

    (void)fd;
    (void)what;
    while ((rc = kts_link_next(door->agent, &message)) == 1) {
        rc = kts_door_call_message(door, &message);
        if (rc)
            break;
    }
    if (rc)
        lose_agent(door, "the agent broke the protocol");
    else if (ended)
        lose_agent(door, "the agent is gone");
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct kts_door *door = arg;

    (void)fd;
    (void)what;
    if (kts_link_flush(door->agent) != KT_ERR_AGAIN)
        event_del(door->writable);
}

static int take_link(struct kts_door *door, struct kts_control_message *message)
{
    int fd = message->fd;

    if (fd < 0)
        return KT_ERR_PROTOCOL;
    message->fd = -1;
    if (door->agent) { // the one before has not been found broken yet
        close(fd);
        lose_agent(door, "there is another agent");
        return 0;
    }
    if (kts_link_new(fd, &door->agent)) {
        close(fd);
        return KT_ERR_NO_MEMORY;
    }
    door->readable = event_new(door->base, fd, EV_READ | EV_PERSIST, on_readable, door);
    door->writable = event_new(door->base, fd, EV_WRITE | EV_PERSIST, on_writable, door);
    return door->readable && door->writable && event_add(door->readable, NULL) == 0
               ? 0
               : KT_ERR_NO_MEMORY;
}

// --- TLS ---

// Connections that are open keep the old one.
static int use_tls(struct kts_door *door, const struct kt_tls_pem *pem, struct kt_error *error)
{
    SSL_CTX *fresh = NULL;
    int rc = kt_tls_server_new_pem(pem, door->cluster_id, &fresh, error);

    // Nobody here speaks less, and nobody resumes.
    if (rc == 0 && (SSL_CTX_set_min_proto_version(fresh, TLS1_3_VERSION) != 1 ||
                    SSL_CTX_set_num_tickets(fresh, 0) != 1))
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "TLS 1.3 cannot be asked for");
    if (rc) {
        SSL_CTX_free(fresh);
        return rc;
    }
    // A node that was away while the CA was replaced must let in the active, which hands it over: by
    // the link that the active sends.
    SSL_CTX_set_verify_depth(fresh, 1);
    SSL_CTX_free(door->tls);
    door->tls = fresh;
    return 0;
}

static int first_tls(struct kts_door *door, struct kt_error *error)
{
    struct kts_start *start = door->start;
    const struct kt_tls_pem pem = {
        .cert = kt_buf_ptr(&start->tls_cert),
        .cert_len = kt_buf_left(&start->tls_cert),
        .key = kt_secret_text(start->tls_key),
        .key_len = kt_secret_len(start->tls_key),
        .ca = kt_buf_ptr(&start->ca_cert),
        .ca_len = kt_buf_left(&start->ca_cert),
    };
    int rc = use_tls(door, &pem, error);

    // OpenSSL has its own copy; ours would only be one more to lose.
    kt_secret_free(start->tls_key);
    start->tls_key = NULL;
    return rc;
}

// --- control ---

static void reload(struct kts_door *door, struct kts_control_message *message)
{
    struct kts_reload fresh = {0};
    struct kt_error why = {0};
    int rc;

    kts_reload_log(message->fd);
    message->fd = -1;
    rc = kts_reload_decode(&message->payload, &fresh, &why);
    if (rc == 0 && fresh.cert_len > 0) {
        const struct kt_tls_pem pem = {fresh.cert,    fresh.cert_len, fresh.key,
                                       fresh.key_len, fresh.ca,       fresh.ca_len};
        rc = use_tls(door, &pem, &why);
    }
    if (fresh.settings)
        kts_reload_level(fresh.settings);
    kt_settings_free(fresh.settings);
    if (rc)
        kt_log_error(&why, "the door keeps its certificate");
    else
        kt_log(KT_LOG_INFO, "the door has been reloaded");
}

void kts_door_check_stop(struct kts_door *door)
{
    const struct kts_door_conn *conn = door->conns;

    while (conn && !conn->is_asked)
        conn = conn->next;
    if (door->stopping && !conn)
        leave(door, 0);
}

static void on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    leave(arg, 0);
}

static void stop(struct kts_door *door)
{
    struct timeval t = kts_milliseconds(STOP_MS);

    if (door->stopping)
        return;
    door->stopping = 1;
    kts_door_accept_stop(door);
    event_add(door->stop_timer, &t);
    kts_door_check_stop(door);
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
    struct kts_door *door = arg;
    struct kts_control_message message;
    int rc;

    (void)what;
    while ((rc = kts_control_receive((int)fd, &door->storage, &message)) == 0) {
        if (message.type == KTS_CTL_LINK && take_link(door, &message))
            lose_agent(door, "a link cannot be taken");
        else if (message.type == KTS_CTL_RELOAD)
            reload(door, &message);
        else if (message.type == KTS_CTL_STOP)
            stop(door);
        if (message.fd >= 0)
            close(message.fd);
    }
    kt_buf_free(&door->storage); // a reload carries the node's key
    if (rc != KT_ERR_AGAIN)
        leave(door, 1); // the master is gone
}

// --- start and end ---

static int make_events(struct kts_door *door)
{
    door->base = event_base_new();
    if (!door->base)
        return KT_ERR_NO_MEMORY;
    door->stop_timer = evtimer_new(door->base, on_stop_timer, door);
    door->control =
        event_new(door->base, door->start->control_fd, EV_READ | EV_PERSIST, on_control, door);
    if (!door->stop_timer || !door->control || event_add(door->control, NULL))
        return KT_ERR_NO_MEMORY;
    return 0;
}

// Nothing is read from the network before the sandbox is closed.
static int prepare(struct kts_door *door, struct kt_error *error)
{
    int rc = first_tls(door, error);

    if (rc == 0)
        rc = make_events(door);
    if (rc == 0)
        rc = kts_sandbox_enter(KTS_SANDBOX_DOOR, error);
    if (rc == 0)
        rc = kts_door_accept_start(door);
    if (rc && error->code == 0)
        kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
    return rc;
}

static void clean_up(struct kts_door *door)
{
    struct event **events[] = {&door->control,  &door->readable, &door->writable,
                               &door->listener, &door->pause,    &door->stop_timer};

    while (door->conns)
        kts_door_conn_free(door->conns);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (*events[i])
            event_free(*events[i]);
    }
    kts_link_free(door->agent);
    if (door->base)
        event_base_free(door->base);
    SSL_CTX_free(door->tls);
    kt_buf_free(&door->storage);
    kt_settings_free(door->start->settings);
}

int kts_door_main(struct kts_start *start)
{
    static struct kts_door door;
    const uint8_t with_database = 1; // it needs none
    struct kt_error error = {0};
    int rc;

    door = (struct kts_door){.start = start, .storage = KT_BUF_INIT(KTS_CONTROL_MAX)};
    kt_uuid_format(&start->info->cluster_id, door.cluster_id);
    rc = prepare(&door, &error);
    if (rc)
        kt_log_error(&error, "the door cannot start");
    else if (kts_control_send(start->control_fd, KTS_CTL_READY, &with_database, 1, -1) == 0)
        event_base_dispatch(door.base);
    clean_up(&door);
    return rc ? 1 : door.exit_code;
}
