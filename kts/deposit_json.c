// SPDX-License-Identifier: Apache-2.0
// The object "deposit" of answers.
#include "kts/request.h"

static json_t *time_json(int64_t us)
{
    char text[KT_TIME_TEXT];

    if (us == 0)
        return json_null();
    kt_time_format(us, text);
    return json_string(text);
}

json_t *kts_retention_json(const struct db_deposit *deposit)
{
    return json_pack("{s:s?, s:o, s:b, s:b, s:o, s:o}", "lock",
                     deposit->lock_mode[0] ? deposit->lock_mode : NULL, "until",
                     time_json(deposit->lock_until_us), "in_force", deposit->lock_in_force, "hold",
                     deposit->legal_hold, "purge_after", time_json(deposit->purge_after_us),
                     "purged", time_json(deposit->purged_at_us));
}

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
