// SPDX-License-Identifier: Apache-2.0
// Makes audit records, sends those of one loop turn together, and hears when they are on disk.
#include "kts/records.h"

#include <stdlib.h>
#include <string.h>

#include "kts/conn.h"
#include "kts/request.h"
#include "kts/worker.h"
#include "lib/json.h"

static void set_text(json_t *record, const char *name, const char *text)
{
    if (text[0] != '\0')
        json_object_set_new(record, name, json_string(text));
}

static void set_uuid(json_t *record, const char *name, const struct kt_uuid *uuid)
{
    char text[KT_UUID_TEXT];

    if (kt_uuid_is_nil(uuid))
        return;
    kt_uuid_format(uuid, text);
    set_text(record, name, text);
}

// Who, what, from where, with which result; never a body. Names as in the writer's records.
static char *record_text(const struct kts_request *request)
{
    const struct kts_match *match = &request->match;
    const struct kt_uuid *deposit =
        kt_uuid_is_nil(&request->deposit) ? &match->uuid : &request->deposit;
    json_t *record = json_object();
    char hex[KT_SHA256_TEXT];
    char *text;

    set_text(record, "event", match->route->event);
    set_text(record, "result", request->refusal ? "denied" : "allowed");
    set_text(record, "request", request->id);
    set_text(record, "peer", kts_conn_peer(request->conn));
    if (request->certificate_error != KT_ERR_CERTIFICATE_MISSING) {
        kt_hex_encode(request->certificate, KT_SHA256_LEN, hex);
        set_text(record, "certificate", hex);
    }
    if (request->who_known) {
        set_text(record, match->route->caller == KTS_OPERATOR ? "operator" : "organisation",
                 request->who.organisation);
        set_uuid(record, "client", &request->who.client_id);
    }
    set_text(record, "handle", match->handle);
    set_text(record, "openpgp", match->fingerprint);
    // the uuid of a call on deposits is a deposit's, others are a request's
    set_uuid(record, match->route->right ? "deposit" : "release_request", deposit);
    if (request->justification)
        set_text(record, "justification", request->justification);
    if (!kt_uuid_is_nil(&request->released))
        set_uuid(record, "retrieval", &request->released);
    if (request->version)
        json_object_set_new(record, "version", json_integer(request->version));
    if (request->refusal)
        set_text(record, "reason", kt_err_info(request->refusal)->name);
    text = kt_json_text(record);
    json_decref(record);
    return text;
}

static void on_answer(void *arg, int code, struct kt_buf *payload)
{
    struct kts_request *request = arg;
    uint32_t verdict = 1;

    if (code == 0 && kt_buf_get_u32(payload, &verdict))
        verdict = 1;
    kts_record_done(request, verdict == 0 ? 0 : KT_ERR_AUDIT_UNAVAILABLE);
}

void kts_record_begin(struct kts_request *request)
{
    struct kts_worker *worker = request->worker;
    struct kts_record *record = &request->record;

#ifdef KT_UNAUDITED // tests/bench/audit.sh: what reads would cost without the log
    kts_record_done(request, 0);
    return;
#endif
    record->request = request;
    record->json = NULL;
    if (kts_ask_is_open(worker->audit) && atomic_load(&worker->status->audit_open))
        record->json = record_text(request);
    if (!record->json) {
        kts_record_done(request, KT_ERR_AUDIT_UNAVAILABLE);
        return;
    }
    record->next = NULL;
    record->link = worker->records_end;
    *worker->records_end = record;
    worker->records_end = &record->next;
    kts_worker_put_off(worker);
}

static void unlink_record(struct kts_record *record)
{
    if (!record->link)
        return;
    *record->link = record->next;
    if (record->next)
        record->next->link = record->link;
    else
        record->request->worker->records_end = record->link;
    record->link = NULL;
}

void kts_record_forget(struct kts_record *record)
{
    unlink_record(record);
    kts_ask_forget(&record->question);
    free(record->json);
    record->json = NULL;
}

void kts_records_turn(struct kts_worker *worker)
{
    while (worker->records) {
        struct kts_record *record = worker->records;
        const char *json = record->json;
        int rc;

        unlink_record(record);
        rc = kts_ask_send(worker->audit, KTS_MSG_AUDIT, json, json ? strlen(json) : 0,
                          &record->question, on_answer, record->request);
        free(record->json);
        record->json = NULL;
        if (rc)
            kts_record_done(record->request, KT_ERR_AUDIT_UNAVAILABLE);
    }
}
