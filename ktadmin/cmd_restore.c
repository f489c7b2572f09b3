// SPDX-License-Identifier: Apache-2.0
// restore --from: a bare machine takes the place of a node that was lost, the active too.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/commands.h"
#include "ktadmin/join.h"
#include "ktadmin/switchover.h"

#define MEMBER_US       120000000
#define MEMBER_PAUSE_MS 100

// Until the newest row has this node.
static int wait_member(struct kta_join *join, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + MEMBER_US;
    struct kt_epoch_row row;
    size_t active = 0;

    for (;;) {
        if (kta_nodes_look(join->nodes, NULL) == 0 &&
            kta_nodes_active(join->nodes, &active, NULL) == 0 &&
            kta_state_row(&join->nodes->list[active], &row) == 0 &&
            kt_epoch_row_has_member(&row, join->self.member) &&
            strcmp(kta_state_text(&join->nodes->list[active], "writer"), "open") == 0)
            return 0;
        if (kt_monotonic_now() > until)
            return kt_error_set(error, KT_ERR_TIMEOUT, "ktadmin switchover does the rest",
                                "this node was not let in as a member in time");
        kta_pause_ms(MEMBER_PAUSE_MS);
    }
}

static int become_active(struct kta_join *join, struct kt_error *error)
{
    struct kta_failover *failover;
    int64_t pause_us = 0;
    int rc;

    if (!kt_cli_flag(join->base.run, "start")) {
        printf("  when it counts, make it the active:  ktadmin switchover --to %s\n",
               join->base.info.node);
        return 0;
    }
    join->nodes->skip[0] = '\0'; // it answers now
    rc = wait_member(join, error);
    failover = calloc(1, sizeof(*failover));
    if (rc == 0 && !failover)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0) {
        failover->nodes = join->nodes;
        failover->say = kta_walk_say;
        failover->say_arg = &join->walk;
        rc = kta_switchover(failover, join->self.member, &pause_us, error);
        kta_failover_settle(failover);
        if (rc == 0 && !failover->is_established)
            rc = kt_error_set(error, KT_ERR_NO_QUORUM, "see ktadmin status", "%s",
                              failover->unestablished.message);
        if (rc == 0 && !kt_cli_flag(join->base.run, "quiet"))
            printf("%s is the active; writes paused for %.2f s\n", join->base.info.node,
                   (double)pause_us / 1e6);
        kta_failover_free(failover);
    }
    free(failover);
    return rc;
}

static int run_restore(struct kt_cli_run *run)
{
    return kta_join_command(run, kt_cli_value(run, "from"), 1,
                            kt_cli_flag(run, "active") ? become_active : NULL);
}

static const struct kt_cli_option OPTIONS[] = {
    {"from", 0, "TOKEN",
     "a token made on a passive that has survived (or --token-file); - reads it from standard "
     "input"},
    {"active", 0, NULL, "hand the active role over to this node at the end; with --start"},
    KTA_JOIN_OPTIONS,
    {NULL},
};

const struct kt_cli_command kta_cmd_restore = {
    .verb = "restore",
    .arguments = "",
    .summary = "take the place of a node that was lost, with the data of another",
    .help =
        "On a bare machine, with the same or another name and address. When no active answers, "
        "the token's node\nis promoted first, with this one in its list, if it can be proven "
        "that nothing is lost; then this\nmachine joins. A run that was stopped at any point is "
        "repeated with the same command.",
    .options = OPTIONS,
    .run = run_restore,
};
