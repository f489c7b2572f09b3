// SPDX-License-Identifier: Apache-2.0
// The report of a sealed node, as JSON.
#include "lib/rules.h"

#include <stdio.h>
#include <string.h>

#include "lib/json.h"

void kt_report_free(struct kt_report *report)
{
    if (report)
        kt_epoch_rows_free(&report->rows);
}

json_t *kt_report_to_json(const struct kt_report *report)
{
    char incarnation[KT_INCARNATION_TEXT], lsn[KT_LSN_TEXT], floor[KT_LSN_TEXT];
    json_t *rows = kt_epoch_rows_to_json(&report->rows);

    if (!rows)
        return NULL;
    kt_incarnation_format(&report->incarnation, incarnation);
    kt_lsn_format(report->lsn, lsn);
    kt_lsn_format(report->floor, floor);
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:I, s:s, s:o}", "member", report->member,
                     "incarnation", incarnation, "epoch", (json_int_t)report->epoch, "active",
                     report->active, "lsn", lsn, "floor", floor, "active_since",
                     (json_int_t)report->active_since, "retired_by", report->retired_by, "rows",
                     rows);
}

static int read_names(const json_t *object, struct kt_report *report, struct kt_error *error)
{
    const char *member, *active, *retired = NULL;
    int rc = kt_json_string(object, "member", 1, KT_MEMBER_TEXT - 1, &member, error);

    if (rc == 0)
        rc = kt_json_string(object, "active", 1, KT_NODE_NAME_MAX, &active, error);
    if (rc == 0)
        rc = kt_json_string(object, "retired_by", 0, sizeof(report->retired_by) - 1, &retired,
                            error);
    if (rc != 0)
        return rc;
    if (kt_member_check(member) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'member' is not a member id");
    if (kt_name_check(active, KT_NODE_NAME_MAX) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'active' is not the name of a node");
    snprintf(report->member, sizeof(report->member), "%s", member);
    snprintf(report->active, sizeof(report->active), "%s", active);
    snprintf(report->retired_by, sizeof(report->retired_by), "%s", retired ? retired : "");
    return 0;
}

static int read_positions(const json_t *object, struct kt_report *report, struct kt_error *error)
{
    const char *incarnation, *lsn, *floor;
    int64_t epoch = 0, since = 0;
    int rc = kt_json_string(object, "incarnation", 1, KT_INCARNATION_TEXT - 1, &incarnation, error);

    if (rc == 0)
        rc = kt_json_string(object, "lsn", 1, KT_LSN_TEXT - 1, &lsn, error);
    if (rc == 0)
        rc = kt_json_string(object, "floor", 1, KT_LSN_TEXT - 1, &floor, error);
    if (rc == 0)
        rc = kt_json_integer(object, "epoch", 0, INT64_MAX, 1, &epoch, error);
    if (rc == 0)
        rc = kt_json_integer(object, "active_since", 0, INT64_MAX, 1, &since, error);
    if (rc != 0)
        return rc;
    if (kt_incarnation_parse(incarnation, &report->incarnation) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'incarnation' is malformed");
    if (kt_lsn_parse(lsn, &report->lsn) != 0 || kt_lsn_parse(floor, &report->floor) != 0)
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "'lsn' or 'floor' is malformed");
    report->epoch = (uint64_t)epoch;
    report->active_since = (uint64_t)since;
    return 0;
}

int kt_report_from_json(const json_t *object, struct kt_report *report, struct kt_error *error)
{
    static const char *const NAMES[] = {"member", "incarnation",  "epoch",      "active", "lsn",
                                        "floor",  "active_since", "retired_by", "rows",   NULL};
    struct kt_report parsed = {.member = ""};
    int rc;

    if (!json_is_object(object))
        return kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "a report is not an object");
    rc = kt_json_only(object, NAMES, error);
    if (rc == 0)
        rc = read_names(object, &parsed, error);
    if (rc == 0)
        rc = read_positions(object, &parsed, error);
    if (rc == 0)
        rc = kt_epoch_rows_from_json(json_object_get(object, "rows"), &parsed.rows, error);
    if (rc == 0)
        *report = parsed;
    return rc;
}
