// SPDX-License-Identifier: Apache-2.0
// Fuzz target: what nodes tell each other as JSON: nodes, epoch rows, reports of a sealed node. The
// members "peers", "rows" and "report" of one object. What is accepted is told on as it was.
#include <stdlib.h>
#include <string.h>

#include "lib/epoch.h"
#include "lib/json.h"
#include "lib/peers.h"
#include "lib/rules.h"
#include "tests/fuzz/fuzz.h"

// Both are JSON made by us; they must say the same.
static void same_json(json_t *a, json_t *b)
{
    fuzz_must(a != NULL && b != NULL && json_equal(a, b));
    json_decref(a);
    json_decref(b);
}

static void check_peers(const json_t *array)
{
    struct kt_peers *peers = calloc(3, sizeof(*peers));
    struct kt_error error = {0};
    json_t *object;

    fuzz_must(peers != NULL);
    if (kt_peers_from_json(array, &peers[0], &error) == 0) {
        fuzz_must(peers[0].count <= KT_PEERS_MAX);
        for (size_t i = 0; i < peers[0].count; i++)
            fuzz_must(kt_member_check(peers[0].peers[i].member) == 0);
        object = kt_peers_to_json(&peers[0]);
        fuzz_must(kt_peers_from_json(object, &peers[1], &error) == 0);
        fuzz_must(kt_peers_equal(&peers[0], &peers[1]));
        same_json(object, kt_peers_to_json(&peers[1]));
        fuzz_must(kt_peers_merge(&peers[2], &peers[0]) >= 0); // into an empty list they all fit
        fuzz_must(kt_peers_merge(&peers[2], &peers[0]) == 0); // and are known then
    } else {
        fuzz_must(error.message[0] != '\0');
    }
    free(peers);
}

static void check_rows(const json_t *array)
{
    struct kt_epoch_rows rows = {0}, again = {0};
    struct kt_error error = {0};
    char names[KT_STANDBY_NAMES_TEXT];

    if (kt_epoch_rows_from_json(array, &rows, &error) != 0) {
        fuzz_must(rows.rows == NULL && error.message[0] != '\0');
        return;
    }
    json_t *object = kt_epoch_rows_to_json(&rows);
    fuzz_must(kt_epoch_rows_from_json(object, &again, &error) == 0 && again.count == rows.count);
    same_json(object, kt_epoch_rows_to_json(&again));
    for (size_t i = 0; i < rows.count; i++) {
        const struct kt_epoch_row *row = &rows.rows[i];
        fuzz_must(kt_epoch_row_compare(row, &again.rows[i]) == 0);
        fuzz_must(row->count <= KT_MEMBERS_MAX && row->w <= row->count);
        fuzz_must(i == 0 || kt_epoch_row_compare(&rows.rows[i - 1], row) < 0);
        if (kt_standby_names(row, names) == 0)
            fuzz_must((names[0] == '\0') == (row->count == 0));
    }
    kt_epoch_rows_free(&rows);
    kt_epoch_rows_free(&again);
}

static void check_report(const json_t *object)
{
    struct kt_report report = {0}, again = {0};
    struct kt_error error = {0};
    json_t *told;

    if (kt_report_from_json(object, &report, &error) == 0) {
        told = kt_report_to_json(&report);
        fuzz_must(kt_report_from_json(told, &again, &error) == 0);
        same_json(told, kt_report_to_json(&again));
    }
    kt_report_free(&report);
    kt_report_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *object = NULL;

    if (kt_json_parse_object(data, size, &object, NULL) != 0)
        return 0;
    check_peers(json_object_get(object, "peers"));
    check_rows(json_object_get(object, "rows"));
    check_report(json_object_get(object, "report"));
    json_decref(object);
    return 0;
}
