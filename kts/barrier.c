// SPDX-License-Identifier: Apache-2.0
// Barriers shared by the requests of a worker.
#include "kts/barrier.h"

#include "kts/gate.h"
#include "kts/worker.h"
#include "lib/change.h"

int kts_writer_check(const struct kts_worker *worker)
{
    const struct kts_status *status = worker->status;
    int rc = kts_gate_check(status);

    if (rc)
        return rc;
    if (atomic_load(&status->writer_open) && kts_ask_is_open(worker->writer))
        return 0;
    return kts_gate_refusal(status);
}

static void add(struct kts_barrier_waiter **list, struct kts_barrier_waiter *waiter)
{
    waiter->next = *list;
    waiter->link = list;
    if (*list)
        (*list)->link = &waiter->next;
    *list = waiter;
}

void kts_barrier_forget(struct kts_barrier_waiter *waiter)
{
    if (!waiter->link)
        return;
    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
    waiter->link = NULL;
}

static void move(struct kts_barrier_waiter **from, struct kts_barrier_waiter **to)
{
    *to = *from;
    if (*to)
        (*to)->link = to;
    *from = NULL;
}

static void on_outcome(void *arg, int code, struct kt_buf *payload);

static int begin(struct kts_worker *worker)
{
    struct kt_change change = {.kind = KT_CHANGE_BARRIER};
    struct kt_buf out = KT_BUF_INIT(4096);
    int rc = kts_writer_check(worker);

    if (rc == 0)
        rc = kt_change_encode(&change, &out);
    if (rc == 0 && kts_ask_send(worker->writer, KTS_MSG_CHANGE, kt_buf_ptr(&out), kt_buf_left(&out),
                                &worker->barrier.question, on_outcome, worker))
        rc = KT_ERR_WRITER_UNAVAILABLE;
    kt_buf_free(&out);
    return rc;
}

// The waiters are on a list of their own by now: their callbacks may wait again.
static void finish(struct kts_worker *worker, int code)
{
    struct kts_barrier *barrier = &worker->barrier;
    struct kts_barrier_waiter *finished;
    int rc = 0;

    move(&barrier->present, &finished);
    move(&barrier->next, &barrier->present);
    if (barrier->present)
        rc = begin(worker);
    while (finished) {
        struct kts_barrier_waiter *waiter = finished;
        kts_barrier_forget(waiter);
        waiter->done(waiter->arg, code);
    }
    if (rc && barrier->question.id == 0)
        finish(worker, rc);
}

static void on_outcome(void *arg, int code, struct kt_buf *payload)
{
    struct kt_outcome outcome = {0};

    if (code || kt_outcome_decode(payload, &outcome))
        outcome.code = KT_ERR_WRITER_UNAVAILABLE;
    code = outcome.code;
    kt_outcome_free(&outcome);
    finish(arg, code);
}

void kts_barrier_wait(struct kts_worker *worker, struct kts_barrier_waiter *waiter,
                      kts_barrier_done done, void *arg)
{
    struct kts_barrier *barrier = &worker->barrier;
    int rc = kts_writer_check(worker);

    if (rc) {
        done(arg, rc);
        return;
    }
    waiter->done = done;
    waiter->arg = arg;
    if (barrier->question.id != 0) {
        add(&barrier->next, waiter);
        return;
    }
    add(&barrier->present, waiter);
    rc = begin(worker);
    if (rc)
        finish(worker, rc);
}
