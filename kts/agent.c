// SPDX-License-Identifier: Apache-2.0
// The agent: the operators' way into the node, the CA key, and the watch over the database.
#include "kts/agent_audit.h"
#include "kts/agent_door.h"
#include "kts/agent_job.h"
#include "kts/agent_peers.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/agent_view.h"
#include "kts/relay.h"
#include "kts/reload.h"
#include "lib/json.h"
#include "lib/log.h"

#define STOP_S 2 // for answers that are on their way

// --- links ---

void kts_agent_drop(struct kts_agent_link *l)
{
    if (!l->link)
        return;
    if (l->readable)
        event_free(l->readable);
    if (l->writable)
        event_free(l->writable);
    kts_link_free(l->link);
    l->link = NULL;
    l->readable = l->writable = NULL;
    if (l->closed)
        l->closed(l->agent);
}

static void on_link_readable(evutil_socket_t fd, short what, void *arg)
{
    struct kts_agent_link *l = arg;
    struct kts_message message;
    int ended = kts_link_receive(l->link), rc = 0;

    (void)fd;
    (void)what;
    while (l->link && (rc = kts_link_next(l->link, &message)) == 1)
        l->message(l->agent, &message);
    if (rc < 0)
        kt_log(KT_LOG_ERROR, "a link broke the protocol, it is closed");
    if (rc < 0 || ended)
        kts_agent_drop(l);
}

static void on_link_writable(evutil_socket_t fd, short what, void *arg)
{
    struct kts_agent_link *l = arg;
    int rc = kts_link_flush(l->link);

    (void)fd;
    (void)what;
    if (rc == KT_ERR_AGAIN)
        return;
    if (rc)
        kts_agent_drop(l);
    else
        event_del(l->writable);
}

int kts_agent_send(struct kts_agent_link *l, uint16_t type, uint64_t id, const void *payload,
                   size_t n)
{
    int rc = l->link ? kts_link_send(l->link, type, id, payload, n) : KT_ERR_NETWORK;

    if (rc == 0 && kts_link_wants_write(l->link))
        event_add(l->writable, NULL);
    return rc; // a broken link is closed when its end is read
}

void kts_agent_audit(struct kts_agent *agent, json_t *record)
{
    char *text = record ? kt_json_text(record) : NULL;

    if (!text || kts_agent_send(&agent->audit, KTS_MSG_AUDIT, ++agent->next_id, text, strlen(text)))
        kt_log(KT_LOG_ERROR, "an event of the agent cannot be audited");
    free(text);
    json_decref(record);
}

static void on_audited(struct kts_agent *agent, struct kts_message *message)
{
    uint32_t code = 1;

    (void)agent;
    if (kt_buf_get_u32(&message->payload, &code) || code)
        kt_log(KT_LOG_ERROR, "an event of the agent was not audited");
}

int kts_agent_attach(struct kts_agent_link *l, int fd)
{
    struct event_base *base = l->agent->base;
    int rc;

    kts_agent_drop(l);
    rc = kts_link_new(fd, &l->link);
    if (rc) {
        close(fd);
        return rc;
    }
    l->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_link_readable, l);
    l->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_link_writable, l);
    return l->readable && l->writable && event_add(l->readable, NULL) == 0 ? 0 : KT_ERR_NO_MEMORY;
}

static struct kts_agent_link *link_of(struct kts_agent *agent, uint8_t asker, uint8_t other)
{
    if (asker == KTS_WRITER)
        return &agent->signing;
    if (asker == KTS_DOOR)
        return &agent->door;
    return other == KTS_AUDIT ? &agent->audit : &agent->changes;
}

// A new one comes when the other side was replaced.
static void take_link(struct kts_agent *agent, struct kts_control_message *message)
{
    uint8_t asker = 0, other = 0;
    int fd = message->fd;

    if (fd < 0 || kt_buf_get_u8(&message->payload, &asker) ||
        kt_buf_get_u8(&message->payload, &other)) {
        kt_log(KT_LOG_ERROR, "malformed link message");
        return;
    }
    message->fd = -1;
    if (kts_agent_attach(link_of(agent, asker, other), fd)) {
        kt_log(KT_LOG_ERROR, "no memory for a link");
        event_base_loopbreak(agent->base);
    } else if (asker == KTS_DOOR) {
        kts_link_bound(agent->door.link, KTS_RELAY_FRAME_MAX);
    }
}

// --- control ---

static void reload(struct kts_agent *agent, struct kts_control_message *message)
{
    struct kt_error why = {0};
    struct kts_reload fresh;

    kts_reload_log(message->fd);
    message->fd = -1;
    if (kts_reload_decode(&message->payload, &fresh, &why)) {
        kt_log_error(&why, "the settings stay as they were");
        return;
    }
    kt_settings_free(agent->start->settings);
    agent->start->settings = fresh.settings;
    kts_reload_level(fresh.settings);
    kts_reload_info(agent->start->info, &fresh);
    if (kts_agent_load_ca(agent, &why))
        kt_log_error(&why, "the CA stays as it was");
    kts_agent_load_server_cert(agent);
    kts_agent_peers_reload(agent);
}

void kts_agent_check_stop(struct kts_agent *agent)
{
    if (agent->stopping && agent->call_count == 0)
        event_base_loopbreak(agent->base);
}

static void on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
    struct kts_agent *agent = arg;

    (void)fd;
    (void)what;
    event_base_loopbreak(agent->base);
}

static void stop(struct kts_agent *agent)
{
    const struct timeval tv = {.tv_sec = STOP_S};

    agent->stopping = 1;
    kts_agent_unlisten(agent);
    event_add(agent->stop_timer, &tv);
    kts_agent_check_stop(agent);
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
    struct kts_agent *agent = arg;
    struct kts_control_message message;
    int rc;

    (void)what;
    while ((rc = kts_control_receive((int)fd, &agent->storage, &message)) == 0) {
        if (message.type == KTS_CTL_LINK)
            take_link(agent, &message);
        else if (message.type == KTS_CTL_RELOAD)
            reload(agent, &message);
        else if (message.type == KTS_CTL_STOP)
            stop(agent);
        if (message.fd >= 0)
            close(message.fd);
    }
    if (rc != KT_ERR_AGAIN)
        _exit(1); // the master is gone
}

// --- start and end ---

static int set_up(struct kts_agent *agent, struct kt_error *error)
{
    uint8_t with_database = 0;
    int rc;

    agent->base = event_base_new();
    agent->stop_timer = agent->base ? evtimer_new(agent->base, on_stop_timer, agent) : NULL;
    agent->control = agent->base ? event_new(agent->base, agent->start->control_fd,
                                             EV_READ | EV_PERSIST, on_control, agent)
                                 : NULL;
    if (!agent->stop_timer || !agent->control || event_add(agent->control, NULL))
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    rc = kts_agent_load_ca(agent, error);
    if (rc == 0)
        rc = kts_agent_audit_start(agent, error);
    if (rc == 0)
        rc = kts_agent_peers_start(agent, error);
    if (rc == 0)
        rc = kts_agent_listen(agent, error);
    if (rc == 0)
        rc = kts_relay_start(agent, error);
    if (rc == 0)
        rc = kts_agent_watch_start(agent, error);
    if (rc)
        return rc;
    kts_agent_load_server_cert(agent);
    // It watches for the database itself: whether that is there now is no reason to replace it.
    with_database = 1;
    rc = kts_control_send(agent->start->control_fd, KTS_CTL_READY, &with_database, 1, -1);
    return rc ? kt_error_set(error, rc, NULL, "the master does not listen") : 0;
}

// Asked here, the programs' release is known in the jobs, which are forked from this process.
static void ask_release(const struct kts_start *start)
{
    struct db_cluster *cluster = NULL;

    if (db_cluster_open(start->paths, start->settings, &cluster, NULL) == 0)
        db_cluster_close(cluster);
}

static void tear_down(struct kts_agent *agent)
{
    struct kts_agent_link *const links[] = {&agent->changes, &agent->signing, &agent->audit};

    kts_agent_unlisten(agent);
    kts_jobs_end(agent);
    kts_relay_stop(agent);
    kts_agent_audit_stop(agent);
    kts_agent_peers_stop(agent);
    atomic_store(&agent->start->status->database_up, 0);
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        kts_agent_drop(links[i]);
    db_session_free(agent->database);
    kts_view_free(agent->view);
    kt_secret_free(agent->database_secret);
    EVP_PKEY_free(agent->ca_key);
    X509_free(agent->ca_cert);
    json_decref(agent->ca_roots);
    json_decref(agent->ca_ended);
    kt_buf_free(&agent->storage);
    kt_settings_free(agent->start->settings);
}

int kts_agent_main(struct kts_start *start)
{
    static struct kts_agent agent;
    struct kt_error why = {0};

    agent = (struct kts_agent){
        .start = start,
        .listen_fd = -1,
        .storage = KT_BUF_INIT(KTS_CONTROL_MAX),
        .changes = {.message = kts_agent_outcome, .closed = kts_agent_writer_gone},
        .signing = {.message = kts_agent_sign},
        .audit = {.message = on_audited},
    };
    kt_json_wipe_freed();
    agent.changes.agent = agent.signing.agent = agent.audit.agent = &agent;
    if (set_up(&agent, &why)) {
        kt_log_error(&why, "cannot start");
        tear_down(&agent);
        return 1;
    }
    ask_release(start);
    event_base_dispatch(agent.base);
    tear_down(&agent);
    return agent.stopping ? 0 : 1;
}
