// SPDX-License-Identifier: Apache-2.0
// The master's ends of the control sockets, and the links it makes between its children.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kts/master.h"
#include "lib/log.h"

struct kts_outgoing {
    struct kts_outgoing *next;
    enum kts_control_type type;
    int fd;
    size_t n;
    uint8_t bytes[];
};

static void free_outgoing(struct kts_outgoing *out)
{
    if (out->fd >= 0)
        close(out->fd);
    kt_wipe(out->bytes, out->n); // a reload carries the server key
    free(out);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct kts_child *child = arg;

    (void)what;
    while (child->queue) {
        struct kts_outgoing *out = child->queue;
        int rc = kts_control_send((int)fd, out->type, out->bytes, out->n, out->fd);
        if (rc == KT_ERR_AGAIN)
            return;
        if (rc && rc != KT_ERR_NETWORK) // gone: SIGCHLD will say so
            kt_log_code(KT_LOG_ERROR, rc, "cannot send a message to %s", child->title);
        child->queue = out->next;
        if (!child->queue)
            child->queue_end = &child->queue;
        free_outgoing(out);
    }
    event_del(child->writable);
}

void kts_child_send(struct kts_child *child, enum kts_control_type type, const void *payload,
                    size_t n, int fd)
{
    struct kts_outgoing *out;

    if (child->control_fd < 0) {
        if (fd >= 0)
            close(fd);
        return;
    }
    out = malloc(sizeof(*out) + n);
    if (!out) {
        kt_log(KT_LOG_ERROR, "no memory for a message to %s", child->title);
        if (fd >= 0)
            close(fd);
        return;
    }
    *out = (struct kts_outgoing){.type = type, .fd = fd, .n = n};
    if (n > 0)
        memcpy(out->bytes, payload, n);
    *child->queue_end = out;
    child->queue_end = &out->next;
    if (child->queue == out) {
        event_add(child->writable, NULL);
        on_writable(child->control_fd, 0, child);
    }
}

static void lost_database(struct kts_child *child)
{
    kts_child_want_database(child);
    kt_log(KT_LOG_NOTICE, "%s has no database, it is replaced when that is there", child->title);
}

static void on_ready(struct kts_child *child, struct kts_control_message *message)
{
    uint8_t with_database = 1;

    if (kt_buf_get_u8(&message->payload, &with_database))
        kt_log(KT_LOG_ERROR, "%s: malformed message", child->title);
    child->ready = 1;
    if (!with_database && child->process == KTS_WRITER)
        child->waits = 1; // it ends by itself when it may write
    else if (!with_database)
        lost_database(child);
    if (child->replaces) {
        kts_child_retire(child->replaces);
        child->replaces = NULL;
    }
    kts_master_check_ready(child->master);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct kt_buf storage = KT_BUF_INIT(KTS_CONTROL_MAX);
    struct kts_child *child = arg;
    struct kts_control_message message;
    int rc;

    (void)what;
    while ((rc = kts_control_receive((int)fd, &storage, &message)) == 0) {
        if (message.fd >= 0)
            close(message.fd); // no child has any to give
        if (message.type == KTS_CTL_READY)
            on_ready(child, &message);
        else if (message.type == KTS_CTL_DATABASE_LOST)
            lost_database(child);
        else if (message.type == KTS_CTL_RELOAD && child->process == KTS_AGENT)
            kts_master_reload(child->master); // as at SIGHUP: the certificates are renewed
        else
            kt_log(KT_LOG_ERROR, "%s: unexpected message", child->title);
    }
    if (rc != KT_ERR_AGAIN)
        event_del(child->readable); // its end: SIGCHLD says the rest
    kt_buf_free(&storage);
}

int kts_child_open_control(struct kts_child *child, int fd)
{
    struct event_base *base = child->master->base;

    child->control_fd = fd;
    child->queue = NULL;
    child->queue_end = &child->queue;
    child->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, child);
    child->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, child);
    if (!child->readable || !child->writable || event_add(child->readable, NULL))
        return KT_ERR_NO_MEMORY;
    return 0;
}

void kts_child_drop_queue(struct kts_child *child)
{
    while (child->queue) {
        struct kts_outgoing *out = child->queue;
        child->queue = out->next;
        free_outgoing(out);
    }
    child->queue_end = &child->queue;
}

void kts_child_close_control(struct kts_child *child)
{
    if (child->readable)
        event_free(child->readable);
    if (child->writable)
        event_free(child->writable);
    child->readable = child->writable = NULL;
    if (child->control_fd >= 0)
        close(child->control_fd);
    child->control_fd = -1;
    kts_child_drop_queue(child);
}

// Asker, then the one who answers.
static const enum kts_process LINKS[][2] = {
    {KTS_WORKER, KTS_WRITER}, {KTS_WORKER, KTS_AUDIT}, {KTS_WRITER, KTS_AUDIT},
    {KTS_WRITER, KTS_AGENT},  {KTS_AGENT, KTS_AUDIT},  {KTS_AGENT, KTS_WRITER},
    {KTS_DOOR, KTS_AGENT},
};

static void make_link(struct kts_child *asker, struct kts_child *other)
{
    int index = asker->process == KTS_WORKER ? asker->index : 0;
    uint8_t payload[4] = {(uint8_t)asker->process, (uint8_t)other->process, (uint8_t)(index >> 8),
                          (uint8_t)index};
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds)) {
        kt_log(KT_LOG_ERROR, "cannot make a link between %s and %s", asker->title, other->title);
        return;
    }
    kts_child_send(asker, KTS_CTL_LINK, payload, sizeof(payload), fds[0]);
    kts_child_send(other, KTS_CTL_LINK, payload, sizeof(payload), fds[1]);
}

void kts_child_link(struct kts_child *child)
{
    for (struct kts_child *c = child->master->children; c; c = c->next) {
        if (c == child || c->pid == 0)
            continue;
        for (size_t i = 0; i < sizeof(LINKS) / sizeof(LINKS[0]); i++) {
            if (LINKS[i][0] == child->process && LINKS[i][1] == c->process)
                make_link(child, c);
            else if (LINKS[i][0] == c->process && LINKS[i][1] == child->process)
                make_link(c, child);
        }
    }
}
