// SPDX-License-Identifier: Apache-2.0
// The writer's links: who sends changes, who signs certificates, who keeps the audit records.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kts/writer_inner.h"
#include "lib/log.h"

void kts_writer_drop(struct kts_asker *asker)
{
    kts_link_free(asker->link);
    asker->link = NULL;
    asker->serial = 0;
}

static int add_asker(struct kts_writer *writer, enum kts_process process, int index, int fd)
{
    struct kts_asker *place = NULL;
    int r;

    for (int i = 0; i < KTS_WRITER_ASKERS_MAX; i++) {
        if (writer->askers[i].link == NULL)
            place = place ? place : &writer->askers[i];
    }
    if (place == NULL) {
        close(fd);
        return KT_ERR_BUSY;
    }
    if ((r = kts_link_new(fd, &place->link)) != 0) {
        close(fd);
        return r;
    }
    place->process = process;
    place->index = index;
    place->serial = ++writer->next_serial;
    return 0;
}

int kts_writer_take_link(struct kts_writer *writer, struct kts_control_message *message)
{
    uint8_t asker = 0, other = 0;
    uint16_t index = 0;
    struct kts_link **own;
    int r;

    if (kt_buf_get_u8(&message->payload, &asker) != 0 ||
        kt_buf_get_u8(&message->payload, &other) != 0 ||
        kt_buf_get_u16(&message->payload, &index) != 0 || message->fd < 0)
        return KT_ERR_PROTOCOL;
    if (other == KTS_WRITER)
        return add_asker(writer, (enum kts_process)asker, index, message->fd);
    own = other == KTS_AUDIT ? &writer->audit : &writer->agent;
    kts_link_free(*own);
    *own = NULL;
    if ((r = kts_link_new(message->fd, own)) != 0)
        close(message->fd);
    return r;
}

// A worker that was taken over must not be able to speak as an operator.
static int is_its_own(const struct kts_asker *asker, const struct kt_change *change)
{
    switch (kt_change_origin(change->kind)) {
    case KT_FROM_ANY:
        return 1;
    case KT_FROM_CLIENT:
        return asker->process == KTS_WORKER && change->actor[0] == '\0';
    case KT_FROM_OPERATOR:
        return asker->process == KTS_AGENT;
    case KT_FROM_WRITER:
        break;
    }
    return 0;
}

static void take_change(struct kts_writer *writer, int place, struct kts_message *message)
{
    struct kts_asker *asker = &writer->askers[place];
    struct kts_queued *q;
    int r;

    if (message->type == KTS_MSG_RECHECK && asker->process == KTS_AGENT)
        return; // it has woken the writer, which looks at its permission before anything else
    q = calloc(1, sizeof(*q));
    r = q ? kt_change_decode(&message->payload, &q->change) : KT_ERR_NO_MEMORY;

    if (r != 0 || message->type != KTS_MSG_CHANGE) {
        kt_log_code(KT_LOG_ERROR, r ? r : KT_ERR_PROTOCOL, "a change from %s %d cannot be read",
                    kts_process_name(asker->process), asker->index);
        free(q);
        kts_writer_drop(asker);
        return;
    }
    if (!is_its_own(asker, &q->change)) {
        kt_log(KT_LOG_ERROR, "%s %d sent a change of kind '%s', which is not for it to make",
               kts_process_name(asker->process), asker->index, kt_change_event(q->change.kind));
        kt_change_free(&q->change);
        free(q);
        kts_writer_drop(asker);
        return;
    }
    q->asker = place;
    q->serial = asker->serial;
    q->id = message->id;
    kts_writer_push(writer, q);
}

int kts_writer_has_room(const struct kts_writer *writer)
{
    return writer->queued < KTS_WRITER_QUEUE_MAX && writer->queued_bytes < KTS_WRITER_QUEUE_BYTES;
}

void kts_writer_take_changes(struct kts_writer *writer, int place)
{
    struct kts_asker *asker = &writer->askers[place];
    struct kts_message message;

    while (asker->link && kts_writer_has_room(writer)) {
        int r = kts_link_next(asker->link, &message);

        if (r == 0)
            return;
        if (r < 0)
            kts_writer_drop(asker);
        else
            take_change(writer, place, &message);
    }
}

void kts_writer_receive(struct kts_writer *writer, int place)
{
    struct kts_asker *asker = &writer->askers[place];

    if (kts_link_receive(asker->link) != 0)
        kts_writer_drop(asker);
    else
        kts_writer_take_changes(writer, place);
}

int kts_writer_flush(struct kts_writer *writer)
{
    int waiting = 0;

    for (int i = 0; i < KTS_WRITER_ASKERS_MAX; i++) {
        struct kts_asker *asker = &writer->askers[i];
        int r = asker->link ? kts_link_flush(asker->link) : 0;

        if (r == KT_ERR_AGAIN)
            waiting = 1;
        else if (r != 0)
            kts_writer_drop(asker);
    }
    return waiting;
}

int kts_writer_sign(void *arg, const char *common_name, const char *organisation,
                    const uint8_t *csr, size_t csr_len, char **pem)
{
    struct kts_writer *writer = arg;
    struct kts_sign_request request = {.csr = csr, .csr_len = csr_len};
    struct kt_buf buf = KT_BUF_INIT(65536);
    struct kts_message answer = {0};
    const uint8_t *bytes = NULL;
    size_t n = 0;
    uint32_t code = 0;
    int r;

    *pem = NULL;
    if (writer->agent == NULL)
        return KT_ERR_AGENT_UNAVAILABLE;
    snprintf(request.common_name, sizeof(request.common_name), "%s", common_name);
    snprintf(request.organisation, sizeof(request.organisation), "%s", organisation);
    request.lifetime_s =
        kt_settings_number(writer->start->settings, KT_SET_CLIENT_CERTIFICATE_LIFETIME) / 1000;
    if ((r = kts_sign_encode(&request, &buf)) != 0)
        goto out;
    r = kts_link_call(writer->agent, KTS_MSG_SIGN, ++writer->next_call, kt_buf_ptr(&buf),
                      kt_buf_left(&buf), KTS_MSG_SIGNED, writer->timeout_ms, &answer);
    if (r == KT_ERR_NETWORK || r == KT_ERR_PROTOCOL) {
        // the agent is gone: the master brings the link to the next one
        kts_link_free(writer->agent);
        writer->agent = NULL;
    }
    if (r != 0) {
        r = KT_ERR_AGENT_UNAVAILABLE;
    } else if (kt_buf_get_u32(&answer.payload, &code) != 0 || code > 1000 ||
               kt_buf_get_block(&answer.payload, &bytes, &n, KT_CERT_PEM_MAX) != 0) {
        r = KT_ERR_AGENT_UNAVAILABLE;
    } else if (code != 0) {
        r = -(int)code;
    } else if ((*pem = strndup((const char *)bytes, n)) == NULL) {
        r = KT_ERR_NO_MEMORY;
    }
out:
    kt_buf_free(&buf);
    return r;
}
