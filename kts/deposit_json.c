// SPDX-License-Identifier: Apache-2.0
// The object "deposit" of answers.
#include "kts/request.h"

json_t *kts_deposit_json(const struct kt_receipt *receipt, const char *handle)
{
    const struct kt_leaf *leaf = &receipt->leaf;
    char id[KT_UUID_TEXT], sha256[KT_SHA256_TEXT], incarnation[KT_INCARNATION_TEXT];
    char time[KT_TIME_TEXT];

    kt_uuid_format(&leaf->deposit_id, id);
    kt_hex_encode(leaf->sha256, KT_SHA256_LEN, sha256);
    kt_incarnation_format(&leaf->incarnation, incarnation);
    kt_time_format(leaf->time_us, time);
    return json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:s, s:I, s:s}", "id", id, "handle", handle,
                     "version", (json_int_t)leaf->version, "sha256", sha256, "size",
                     (json_int_t)leaf->size, "index", (json_int_t)leaf->log_index, "incarnation",
                     incarnation, "epoch", (json_int_t)leaf->epoch, "time", time);
}

void kts_deposit_json_key_group(json_t *object, const struct db_deposit *deposit)
{
    char group[KT_UUID_TEXT];

    kt_uuid_format(&deposit->key_group, group);
    json_object_set_new(object, "key_group",
                        kt_uuid_is_nil(&deposit->key_group) ? json_null() : json_string(group));
}
