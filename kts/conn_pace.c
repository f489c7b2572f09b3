// SPDX-License-Identifier: Apache-2.0
// Connections that are slow: the pace that a body and an answer must keep, and what answers on their
// way may hold in memory.
#include "kts/conn_inner.h"
#include "kts/worker.h"

#define PACE_MS 10000 // how often the pace of a body or an answer is looked at

int64_t kts_conn_setting(const struct kts_conn *conn, enum kt_setting id)
{
    return kt_settings_number(conn->worker->settings, id);
}

void kts_conn_keep_pace(struct kts_conn *conn, enum kt_setting whole)
{
    int64_t left_ms = kts_conn_setting(conn, whole) - (kt_monotonic_now() - conn->pace_us) / 1000;

    kts_conn_deadline(conn, left_ms < 1 ? 1 : left_ms < PACE_MS ? left_ms : PACE_MS);
}

int kts_conn_is_in_pace(const struct kts_conn *conn, enum kt_setting whole, size_t moved)
{
    int64_t ms = (kt_monotonic_now() - conn->pace_us) / 1000;

    return ms < kts_conn_setting(conn, whole) &&
           (int64_t)moved >= kts_conn_setting(conn, KT_SET_LIMIT_RATE) * ms / 1000;
}

void kts_conn_count_cut(struct kts_conn *conn)
{
    atomic_fetch_add_explicit(&conn->worker->status->cut, 1, memory_order_relaxed);
}

void kts_conn_cut(struct kts_conn *conn)
{
    kts_conn_count_cut(conn);
    conn->dead = 1;
}

void kts_conn_leave_senders(struct kts_conn *conn)
{
    struct kts_worker *worker = conn->worker;

    if (!conn->senders_link)
        return;
    *conn->senders_link = conn->senders_next;
    if (conn->senders_next)
        conn->senders_next->senders_link = conn->senders_link;
    else
        worker->senders_end = conn->senders_link;
    conn->senders_link = NULL;
    worker->answer_bytes -= conn->answer_bytes;
}

void kts_conn_enter_senders(struct kts_conn *conn)
{
    struct kts_worker *worker = conn->worker;
    size_t max = (size_t)kts_conn_setting(conn, KT_SET_LIMIT_ANSWERS);

    if (conn->senders_link)
        return;
    conn->answer_bytes = conn->out.cap;
    worker->answer_bytes += conn->answer_bytes;
    conn->senders_next = NULL;
    conn->senders_link = worker->senders_end;
    *worker->senders_end = conn;
    worker->senders_end = &conn->senders_next;
    while (worker->answer_bytes > max && worker->senders) {
        struct kts_conn *slowest = worker->senders;

        kts_conn_leave_senders(slowest);
        kts_conn_cut(slowest);
        if (!slowest->running) // else its own loop frees it
            event_active(slowest->timer, EV_TIMEOUT, 0);
    }
}
