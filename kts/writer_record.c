// SPDX-License-Identifier: Apache-2.0
// What an audit record of a change says beyond who, when and with which result: what it was about.
#include <string.h>

#include "kts/writer_inner.h"

static void set_text(json_t *record, const char *name, const char *text)
{
    if (text && *text && !json_object_get(record, name))
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

static void set_number(json_t *record, const char *name, uint64_t number)
{
    if (number)
        json_object_set_new(record, name, json_integer((json_int_t)number));
}

// Whose name `name` is.
static void set_name(json_t *record, const struct kt_change *change)
{
    if (change->kind == KT_CHANGE_RECEIPT_KEY_ADD ||
        change->kind == KT_CHANGE_RECEIPT_KEY_CERTIFY ||
        change->kind == KT_CHANGE_RECEIPT_KEY_RETIRE)
        set_text(record, "receipt_key", change->name);
    else if (change->kind != KT_CHANGE_REGISTER && change->kind != KT_CHANGE_OPERATOR_ADD &&
             change->kind != KT_CHANGE_OPERATOR_REVOKE)
        set_text(record, "organisation", change->name);
}

static void set_lock(json_t *record, const struct kt_change *change)
{
    char time[KT_TIME_TEXT];

    set_text(record, "lock", change->lock_mode);
    if (change->lock_until_us) {
        kt_time_format(change->lock_until_us, time);
        set_text(record, "until", time);
    }
    if (change->hold)
        set_text(record, "hold", change->hold == 1 ? "set" : "lifted");
    if (change->bypass)
        json_object_set_new(record, "bypass", json_true());
}

void kts_writer_record_about(json_t *record, const struct kt_change *change)
{
    char hex[KT_SHA256_TEXT];

    if (kt_change_origin(change->kind) == KT_FROM_CLIENT && change->kind != KT_CHANGE_REGISTER) {
        kt_hex_encode(change->certificate_sha256, KT_SHA256_LEN, hex);
        set_text(record, "certificate", hex);
    }
    set_name(record, change);
    // Refused ones too say whom they were to change.
    set_uuid(record, "client", &change->client_id);
    set_number(record, "version", json_object_get(record, "version") ? 0 : change->version);
    set_uuid(record, "key_group", &change->key_group);
    set_text(record, "group", change->label);
    set_text(record, "openpgp", change->fingerprint);
    set_lock(record, change);
    set_text(record, "lock_default", change->lock_default);
    set_number(record, "uses", change->max_uses);
}
