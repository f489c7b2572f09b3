// SPDX-License-Identifier: Apache-2.0
// Questions to the writer and the audit process.
#include "kts/ask.h"

#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"

#define BUCKETS 1024 // a power of two

struct kts_ask {
    struct event_base *base;
    const char *name;
    uint16_t answer_type;
    struct kts_link *link; // NULL: gone, until the master sends a new one
    struct event *read_event;
    struct event *write_event;
    uint64_t last_id;
    struct kts_question *under_way[BUCKETS];
};

int kts_ask_new(struct event_base *base, const char *name, uint16_t answer_type,
                struct kts_ask **ask)
{
    struct kts_ask *fresh = calloc(1, sizeof(*fresh));

    if (!fresh)
        return KT_ERR_NO_MEMORY;
    fresh->base = base;
    fresh->name = name;
    fresh->answer_type = answer_type;
    *ask = fresh;
    return 0;
}

void kts_ask_forget(struct kts_question *question)
{
    if (question->id == 0)
        return;
    *question->link = question->next;
    if (question->next)
        question->next->link = question->link;
    question->id = 0;
}

static void remember(struct kts_ask *ask, struct kts_question *question, uint64_t id)
{
    struct kts_question **bucket = &ask->under_way[id % BUCKETS];

    question->id = id;
    question->next = *bucket;
    question->link = bucket;
    if (*bucket)
        (*bucket)->link = &question->next;
    *bucket = question;
}

static struct kts_question *find(struct kts_ask *ask, uint64_t id)
{
    struct kts_question *q = ask->under_way[id % BUCKETS];

    while (q && q->id != id)
        q = q->next;
    return q;
}

static void close_link(struct kts_ask *ask)
{
    if (ask->read_event)
        event_free(ask->read_event);
    if (ask->write_event)
        event_free(ask->write_event);
    ask->read_event = ask->write_event = NULL;
    kts_link_free(ask->link);
    ask->link = NULL;
}

// Every question's callback may ask again: on the link that is gone, which fails at once.
static void lose_link(struct kts_ask *ask)
{
    close_link(ask);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (ask->under_way[i]) {
            struct kts_question *q = ask->under_way[i];
            kts_ask_forget(q);
            q->done(q->arg, KT_ERR_NETWORK, NULL);
        }
    }
}

void kts_ask_free(struct kts_ask *ask)
{
    if (!ask)
        return;
    close_link(ask);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (ask->under_way[i])
            kts_ask_forget(ask->under_way[i]);
    }
    free(ask);
}

static int answer_one(struct kts_ask *ask, struct kts_message *message)
{
    struct kts_question *q = find(ask, message->id);

    if (message->type != ask->answer_type)
        return KT_ERR_PROTOCOL;
    if (!q) // its asker did not wait so long
        return 0;
    kts_ask_forget(q);
    q->done(q->arg, 0, &message->payload);
    return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct kts_ask *ask = arg;
    struct kts_link *link = ask->link;
    struct kts_message message;
    int rc = kts_link_receive(link);

    (void)fd;
    (void)what;
    while (rc == 0) {
        int more = kts_link_next(link, &message);
        if (more == 0)
            return;
        rc = more < 0 ? more : answer_one(ask, &message);
        if (ask->link != link) // a callback's own question found the link broken
            return;
    }
    kt_log_code(KT_LOG_WARNING, rc, "the link to the %s is gone", ask->name);
    lose_link(ask);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct kts_ask *ask = arg;

    (void)fd;
    (void)what;
    // A broken link shows as readable too: it is closed there, once.
    if (kts_link_flush(ask->link) == KT_ERR_AGAIN)
        event_add(ask->write_event, NULL);
}

int kts_ask_attach(struct kts_ask *ask, int fd)
{
    struct kts_link *link = NULL;
    int rc = kts_link_new(fd, &link);

    if (rc) {
        close(fd);
        return rc;
    }
    lose_link(ask);
    ask->link = link;
    ask->read_event = event_new(ask->base, fd, EV_READ | EV_PERSIST, on_readable, ask);
    ask->write_event = event_new(ask->base, fd, EV_WRITE, on_writable, ask);
    if (!ask->read_event || !ask->write_event || event_add(ask->read_event, NULL)) {
        close_link(ask);
        return KT_ERR_NO_MEMORY;
    }
    return 0;
}

int kts_ask_is_open(const struct kts_ask *ask)
{
    return ask->link != NULL;
}

int kts_ask_send(struct kts_ask *ask, uint16_t type, const void *payload, size_t n,
                 struct kts_question *question, kts_ask_done done, void *arg)
{
    int rc;

    if (!ask->link)
        return KT_ERR_NETWORK;
    rc = kts_link_send(ask->link, type, ++ask->last_id, payload, n);
    if (rc)
        return rc; // a broken link is found and closed when it is next readable
    if (kts_link_wants_write(ask->link))
        event_add(ask->write_event, NULL);
    question->done = done;
    question->arg = arg;
    remember(ask, question, ask->last_id);
    return 0;
}
