// SPDX-License-Identifier: Apache-2.0
// The share of audit records that strangers have, and the summary of what is beyond it.
#include "kts/strangers.h"

#include <stdlib.h>
#include <string.h>

#include "kts/worker.h"
#include "lib/json.h"
#include "lib/log.h"

#define COST_US    (1000000 / KTS_STRANGERS_RATE)
#define SUMMARY_MS 1000

static void tell_later(struct kts_strangers *strangers)
{
    struct timeval t = kts_milliseconds(SUMMARY_MS);

    if (strangers->timer && !evtimer_pending(strangers->timer, NULL))
        event_add(strangers->timer, &t);
}

int kts_strangers_allow(struct kts_strangers *strangers, int64_t now_us)
{
    int64_t from = strangers->used_until_us > now_us ? strangers->used_until_us : now_us;

    if (from - now_us > (KTS_STRANGERS_BURST - 1) * (int64_t)COST_US) {
        strangers->skipped++;
        tell_later(strangers);
        return 0;
    }
    strangers->used_until_us = from + COST_US;
    return 1;
}

static void on_told(void *arg, int code, struct kt_buf *payload)
{
    struct kts_strangers *strangers = arg;
    uint32_t verdict = 1;

    if (code == 0 && kt_buf_get_u32(payload, &verdict) == 0 && verdict == 0)
        strangers->skipped -= strangers->telling;
    if (strangers->skipped > 0)
        tell_later(strangers);
}

static int tell(struct kts_strangers *strangers)
{
    struct kts_worker *worker = strangers->worker;
    json_t *record;
    char *text;
    int rc = KT_ERR_NO_MEMORY;

    if (!atomic_load(&worker->status->audit_open))
        return KT_ERR_AUDIT_UNAVAILABLE;
    strangers->telling = strangers->skipped;
    record = json_pack("{s:s, s:s, s:I}", "event", "audit.skipped", "result", "denied", "count",
                       (json_int_t)strangers->telling);
    text = record ? kt_json_text(record) : NULL;
    if (text)
        rc = kts_ask_send(worker->audit, KTS_MSG_AUDIT, text, strlen(text), &strangers->question,
                          on_told, strangers);
    free(text);
    json_decref(record);
    return rc;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct kts_strangers *strangers = arg;

    (void)fd;
    (void)what;
    // While one is under way its answer sees to the next.
    if (strangers->question.id == 0 && tell(strangers))
        tell_later(strangers);
}

int kts_strangers_start(struct kts_worker *worker)
{
    struct kts_strangers *strangers = &worker->strangers;

    strangers->worker = worker;
    strangers->timer = evtimer_new(worker->base, on_timer, strangers);
    return strangers->timer ? 0 : KT_ERR_NO_MEMORY;
}

void kts_strangers_end(struct kts_strangers *strangers)
{
    if (strangers->timer)
        event_free(strangers->timer);
    strangers->timer = NULL;
    if (strangers->skipped > 0)
        kt_log(KT_LOG_WARNING, "%llu refusals to strangers have no audit record",
               (unsigned long long)strangers->skipped);
}
