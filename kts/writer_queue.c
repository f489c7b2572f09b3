// SPDX-License-Identifier: Apache-2.0
// The writer's queue of changes, and the answers to those who sent them.
#include <stdlib.h>

#include "kts/writer_inner.h"
#include "lib/log.h"

static size_t weight(const struct kts_queued *q)
{
    return sizeof(*q) + q->change.body_len + q->change.openpgp_len + q->change.csr_len;
}

void kts_writer_push(struct kts_writer *writer, struct kts_queued *q)
{
    q->next = NULL;
    *writer->last = q;
    writer->last = &q->next;
    writer->queued++;
    writer->queued_bytes += weight(q);
}

void kts_writer_push_front(struct kts_writer *writer, struct kts_queued *queued)
{
    queued->next = writer->first;
    if (writer->first == NULL)
        writer->last = &queued->next;
    writer->first = queued;
    writer->queued++;
    writer->queued_bytes += weight(queued);
}

struct kts_queued *kts_writer_pop(struct kts_writer *writer)
{
    struct kts_queued *q = writer->first;

    if (q == NULL)
        return NULL;
    writer->first = q->next;
    if (writer->first == NULL)
        writer->last = &writer->first;
    writer->queued--;
    writer->queued_bytes -= weight(q);
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
