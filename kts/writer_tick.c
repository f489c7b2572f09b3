// SPDX-License-Identifier: Apache-2.0
// The writer's own change: every few minutes it looks at the clock and erases what is to be purged.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "kts/writer_inner.h"
#include "lib/json.h"
#include "lib/log.h"

#define EVERY_US  (INT64_C(300) * 1000000)
#define FAILED_US (INT64_C(10) * 1000000) // ... when the last one came to nothing

void kts_writer_tick(struct kts_writer *writer)
{
    int64_t now = kt_monotonic_now();
    uint8_t id[(KT_REQUEST_ID_TEXT - 1) / 2];
    struct kts_queued *q;

    // what is erased has its record before, so there must be somebody who takes it
    if (writer->db == NULL || writer->audit == NULL || now < writer->next_tick_us)
        return;
    writer->next_tick_us = now + EVERY_US;
    q = calloc(1, sizeof(*q));
    if (q == NULL || kt_random(id, sizeof(id)) != 0) {
        free(q);
        return;
    }
    q->change.kind = KT_CHANGE_TICK;
    kt_hex_encode(id, sizeof(id), q->change.request_id);
    q->asker = KTS_ASKER_NONE;
    kts_writer_push(writer, q);
}

void kts_writer_tick_done(struct kts_writer *writer, const struct db_member *member)
{
    if (member->change->kind == KT_CHANGE_TICK) {
        if (member->outcome.code != 0)
            writer->next_tick_us = kt_monotonic_now() + FAILED_US;
        if (member->clock_jumped && !writer->clock_jumped)
            kt_log(KT_LOG_WARNING, "the clock has made a step of more than an hour: locks stay and "
                                   "purges wait until ktadmin clock confirm");
        writer->clock_jumped = member->clock_jumped;
        if (member->outcome.count > 0)
            kt_log(KT_LOG_NOTICE, "%llu deposits were purged",
                   (unsigned long long)member->outcome.count);
    }
    if (member->outcome.code == 0 && member->looks_at_clock)
        writer->next_tick_us = 0;
}

static void set_uuid(json_t *record, const char *name, const struct kt_uuid *uuid)
{
    char text[KT_UUID_TEXT];

    kt_uuid_format(uuid, text);
    if (!kt_uuid_is_nil(uuid))
        json_object_set_new(record, name, json_string(text));
}

char *kts_writer_purge_record(const struct db_member *member, size_t i, const char *result,
                              int code)
{
    const struct db_due *due = &member->due[i];
    json_t *record =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "event", "deposit.purged", "result", result,
                  "request", member->change->request_id, "organisation", due->organisation,
                  "handle", due->handle, "version", (json_int_t)due->version);
    char *text = NULL;

    if (record == NULL)
        return NULL;
    set_uuid(record, "client", &due->asked_by);
    set_uuid(record, "deposit", &due->deposit_id);
    if (code != 0)
        json_object_set_new(record, "reason", json_string(kt_err_info(code)->name));
    text = kt_json_text(record);
    json_decref(record);
    return text;
}
