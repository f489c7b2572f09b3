// SPDX-License-Identifier: Apache-2.0
// quorum: how many members must have a change on disk before it is acknowledged (W).
#include <stdlib.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/nodes.h"

#define CHANGE_MS 120000

static int take_w(const struct kt_cli_run *run, uint64_t *w, struct kt_error *error)
{
    *w = 0;
    if (run->argc == 0 || kt_u64_parse(run->argv[0], 1, KT_MEMBERS_MAX, w) == 0)
        return 0;
    return kt_error_set(error, KT_ERR_USAGE, NULL, "'%.20s' is not a number from 1 to %d",
                        run->argv[0], KT_MEMBERS_MAX);
}

// *row: the one in force when it returns.
static int look_or_change(const struct kt_cli_run *run, struct kta_nodes *nodes, size_t *active,
                          struct kt_epoch_row *row, struct kt_error *error)
{
    json_t *result = NULL;
    uint64_t w = 0;
    int rc = take_w(run, &w, error);

    if (rc == 0)
        rc = kta_nodes_open_active(run, nodes, active, error);
    if (rc == 0 && w == 0) {
        rc = kta_state_list(&nodes->list[*active], row);
        return rc ? kt_error_set(error, rc, "see ktadmin status", "%s told no list of members",
                                 nodes->list[*active].name)
                  : 0;
    }
    if (rc == 0)
        rc = kta_nodes_call_when_free(nodes, *active, "member.w",
                                      json_pack("{s:I}", "w", (json_int_t)w), CHANGE_MS, &result,
                                      error);
    if (rc == 0)
        rc = kt_epoch_row_from_json(json_object_get(result, "row"), row, error);
    json_decref(result);
    return rc;
}

static void print_row(const struct kt_cli_run *run, const char *active,
                      const struct kt_epoch_row *row)
{
    json_t *object;

    if (kt_cli_flag(run, "json")) {
        object = kt_epoch_row_to_json(row);
        kta_print_json(object);
        json_decref(object);
    } else if (!kt_cli_flag(run, "quiet")) {
        printf("epoch %llu of %s: a change is acknowledged when %u of %u %s it on disk:",
               (unsigned long long)row->epoch, active, row->w, row->count,
               row->count == 1 ? "member has" : "members have");
        for (uint32_t i = 0; i < row->count; i++)
            printf(" %s", row->members[i]);
        printf("%s\n", row->count == 0 ? " none, it is on one disk" : "");
    }
}

static int run_quorum(struct kt_cli_run *run)
{
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    struct kt_epoch_row row = {.count = 0};
    struct kt_error error = {0};
    size_t active = 0;
    int rc = nodes ? look_or_change(run, nodes, &active, &row, &error)
                   : kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc == 0)
        print_row(run, nodes->list[active].name, &row);
    if (nodes)
        kta_nodes_close(nodes);
    free(nodes);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

static const struct kt_cli_option OPTIONS[] = {KTA_OPERATOR_OPTIONS, {NULL}};

const struct kt_cli_command kta_cmd_quorum = {
    .verb = "quorum",
    .arguments = "[N]",
    .summary = "show or set how many members must have a change on disk",
    .help = "Beside the active. With more of them more disks hold what is acknowledged, and more "
            "must be there\nfor writes to go on: of M members M - N may be away. Failover needs "
            "M - N + 1 of them.",
    .options = OPTIONS,
    .max_args = 1,
    .run = run_quorum,
};
