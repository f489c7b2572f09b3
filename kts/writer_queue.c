// SPDX-License-Identifier: Apache-2.0
// The writer's queue of changes, and the answers to those who sent them.
#include <stdlib.h>

#include "kts/writer_inner.h"
#include "lib/log.h"

static size_t weight(const struct kts_queued *q)
{
    return sizeof(*q) + q->change.body_len + q->change.openpgp_len + q->change.csr_len;
}

static void refuse(struct kts_writer *writer, struct kts_queued *q, int code)
{
    struct kt_outcome outcome = {.code = code};

    kts_writer_answer(writer, q, &outcome);
}

// It counts no more; when it is put back it is not anybody's share any more.
static void take_out(struct kts_writer *writer, struct kts_queued *q)
{
    writer->queued--;
    writer->queued_bytes -= weight(q);
    if (q->tenant) {
        q->tenant->parent->bytes -= weight(q);
        kts_fair_leave(writer->fair, q->tenant);
    }
    q->tenant = NULL;
}

void kts_writer_push(struct kts_writer *writer, struct kts_queued *q)
{
    uint64_t organisation = q->change.organisation_share;

    q->tenant = kts_fair_join(writer->fair, organisation, q->change.client_share);
    if (q->tenant == NULL) {
        refuse(writer, q, KT_ERR_WRITER_UNAVAILABLE);
        return;
    }
    writer->queued++;
    writer->queued_bytes += weight(q);
    q->tenant->parent->bytes += weight(q);
    // Operators and barriers have no organisation, and no bound but that of the queue.
    if (organisation != 0 &&
        (q->tenant->parent->under_way > KTS_WRITER_QUEUE_MAX / KTS_WRITER_SHARE ||
         q->tenant->parent->bytes > KTS_WRITER_QUEUE_BYTES / KTS_WRITER_SHARE)) {
        take_out(writer, q);
        refuse(writer, q, KT_ERR_TOO_MANY_REQUESTS);
        return;
    }
    kts_fair_push(writer->fair, 0, q->tenant, &q->turn, q);
}

void kts_writer_push_front(struct kts_writer *writer, struct kts_queued *queued)
{
    queued->next = writer->first;
    writer->first = queued;
    writer->queued++;
    writer->queued_bytes += weight(queued);
}

struct kts_queued *kts_writer_next(struct kts_writer *writer)
{
    if (writer->first == NULL) {
        writer->first = kts_fair_pop(writer->fair, 0);
        if (writer->first)
            writer->first->next = NULL;
    }
    return writer->first;
}

struct kts_queued *kts_writer_pop(struct kts_writer *writer)
{
    struct kts_queued *q = kts_writer_next(writer);

    if (q == NULL)
        return NULL;
    writer->first = q->next;
    take_out(writer, q);
    return q;
}

void kts_writer_answer(struct kts_writer *writer, struct kts_queued *queued,
                       const struct kt_outcome *outcome)
{
    struct kts_asker *asker =
        queued->asker == KTS_ASKER_NONE ? NULL : &writer->askers[queued->asker];
    struct kt_buf buf = KT_BUF_INIT(2u << 20);
    int r = asker ? kt_outcome_encode(outcome, &buf) : 0;

    // an asker that was replaced meanwhile has told its clients "in doubt" already
    if (r == 0 && asker && asker->link && asker->serial == queued->serial)
        r = kts_link_send(asker->link, KTS_MSG_OUTCOME, queued->id, kt_buf_ptr(&buf),
                          kt_buf_left(&buf));
    if (r != 0)
        kt_log_code(KT_LOG_WARNING, r, "cannot answer request '%s'", queued->change.request_id);
    kt_buf_free(&buf);
    kt_change_free(&queued->change);
    free(queued);
}

void kts_writer_refuse_all(struct kts_writer *writer, int code)
{
    struct kt_outcome outcome = {.code = code};
    struct kts_queued *q;

    while ((q = kts_writer_pop(writer)) != NULL)
        kts_writer_answer(writer, q, &outcome);
}
