// SPDX-License-Identifier: Apache-2.0
// Rows of the failover protocol as JSON.
#include "lib/epoch.h"

#include <stdio.h>
#include <string.h>

#include "lib/json.h"

json_t *kt_epoch_row_to_json(const struct kt_epoch_row *row)
{
    char incarnation[KT_INCARNATION_TEXT], lsn[KT_LSN_TEXT];
    json_t *members = json_array(), *object;

    for (uint32_t i = 0; members && i < row->count; i++) {
        if (json_array_append_new(members, json_string(row->members[i])) != 0) {
            json_decref(members);
            members = NULL;
        }
    }
    if (!members)
        return NULL;
    kt_incarnation_format(&row->incarnation, incarnation);
    kt_lsn_format(row->start_lsn, lsn);
    object =
        json_pack("{s:s, s:I, s:I, s:s, s:o, s:I, s:s, s:I, s:b, s:s}", "incarnation", incarnation,
                  "epoch", (json_int_t)row->epoch, "sequence", (json_int_t)row->sequence, "active",
                  row->active, "members", members, "w", (json_int_t)row->w, "start_lsn", lsn,
                  "timeline", (json_int_t)row->timeline, "ends", row->ends != 0, "note", row->note);
    return object;
}

// Members: valid, no two alike, the active not among them.
static int read_members(const json_t *object, struct kt_epoch_row *row, struct kt_error *error)
{
    const json_t *array = json_object_get(object, "members");

    if (!json_is_array(array))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member 'members' is not a list");
    if (json_array_size(array) > KT_MEMBERS_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a row has more than %d members",
                            KT_MEMBERS_MAX);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *value = json_array_get(array, i);
        const char *text = json_string_value(value);
        if (!text || strlen(text) != json_string_length(value) || kt_member_check(text) != 0)
            return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'members' has a wrong member id");
        if (strcmp(text, row->active) == 0 || kt_epoch_row_has_member(row, text))
            return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'members' has '%s' twice", text);
        snprintf(row->members[row->count++], KT_MEMBER_TEXT, "%s", text);
    }
    return 0;
}

static int read_texts(const json_t *object, struct kt_epoch_row *row, struct kt_error *error)
{
    const char *incarnation, *active, *lsn, *note = NULL;
    int rc = kt_json_string(object, "incarnation", 1, KT_INCARNATION_TEXT - 1, &incarnation, error);

    if (rc == 0)
        rc = kt_json_string(object, "active", 1, KT_MEMBER_TEXT - 1, &active, error);
    if (rc == 0)
        rc = kt_json_string(object, "start_lsn", 1, KT_LSN_TEXT - 1, &lsn, error);
    if (rc == 0)
        rc = kt_json_string(object, "note", 0, sizeof(row->note) - 1, &note, error);
    if (rc != 0)
        return rc;
    if (kt_incarnation_parse(incarnation, &row->incarnation) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'incarnation' is malformed");
    if (kt_member_check(active) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'active' is not a member id");
    if (kt_lsn_parse(lsn, &row->start_lsn) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'start_lsn' is malformed");
    snprintf(row->active, sizeof(row->active), "%s", active);
    snprintf(row->note, sizeof(row->note), "%s", note ? note : "");
    return 0;
}

static int read_numbers(const json_t *object, struct kt_epoch_row *row, struct kt_error *error)
{
    int64_t epoch = 0, sequence = 0, w = 0, timeline = 0;
    int rc = kt_json_integer(object, "epoch", 0, INT64_MAX, 1, &epoch, error);

    if (rc == 0)
        rc = kt_json_integer(object, "sequence", 0, UINT32_MAX, 1, &sequence, error);
    if (rc == 0)
        rc = kt_json_integer(object, "w", 0, KT_MEMBERS_MAX, 1, &w, error);
    if (rc == 0)
        rc = kt_json_integer(object, "timeline", 0, UINT32_MAX, 1, &timeline, error);
    if (rc != 0)
        return rc;
    row->epoch = (uint64_t)epoch;
    row->sequence = (uint32_t)sequence;
    row->w = (uint32_t)w;
    row->timeline = (uint32_t)timeline;
    row->ends = kt_json_boolean(object, "ends", 0);
    return 0;
}

int kt_epoch_row_from_json(const json_t *object, struct kt_epoch_row *row, struct kt_error *error)
{
    static const char *const NAMES[] = {"incarnation", "epoch", "sequence", "active",
                                        "members",     "w",     "ends",     "start_lsn",
                                        "timeline",    "note",  NULL};
    struct kt_epoch_row parsed = {0};
    const json_t *ends;
    int rc;

    if (!json_is_object(object))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "a row is not an object");
    ends = json_object_get(object, "ends");
    if (ends && !json_is_boolean(ends)) // read as false it would make older rows count: refuse
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "member 'ends' is not true or false");
    rc = kt_json_only(object, NAMES, error);
    if (rc == 0)
        rc = read_numbers(object, &parsed, error);
    if (rc == 0)
        rc = read_texts(object, &parsed, error);
    if (rc == 0)
        rc = read_members(object, &parsed, error);
    if (rc != 0)
        return rc;
    if (parsed.w > parsed.count || (parsed.w == 0) != (parsed.count == 0))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                            "'w' must be 1 to the number of members, or 0 without any");
    *row = parsed;
    return 0;
}

json_t *kt_epoch_rows_to_json(const struct kt_epoch_rows *rows)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < rows->count; i++) {
        if (json_array_append_new(array, kt_epoch_row_to_json(&rows->rows[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

int kt_epoch_rows_from_json(const json_t *array, struct kt_epoch_rows *rows, struct kt_error *error)
{
    struct kt_epoch_rows parsed = {0};
    struct kt_epoch_row row;
    int rc = 0;

    if (!json_is_array(array))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "the rows are not a list");
    if (json_array_size(array) > KT_EPOCH_ROWS_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "there are more than %d rows",
                            KT_EPOCH_ROWS_MAX);
    for (size_t i = 0; rc == 0 && i < json_array_size(array); i++) {
        rc = kt_epoch_row_from_json(json_array_get(array, i), &row, error);
        if (rc != 0)
            break;
        rc = kt_epoch_rows_add(&parsed, &row);
        if (rc == KT_ERR_INVALID)
            rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                              "the rows are not in order, oldest first");
        else if (rc != 0)
            kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
    }
    if (rc != 0)
        kt_epoch_rows_free(&parsed);
    else
        *rows = parsed;
    return rc;
}
