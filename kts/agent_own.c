// SPDX-License-Identifier: Apache-2.0
// What the agent does without being asked.
#include "kts/agent_own.h"

#include <string.h>

#include "kts/agent_cluster.h"
#include "kts/agent_view.h"
#include "lib/log.h"

#define PERIOD_US 1000000 // between two jobs of the agent's own
#define WAIT_MS   2000
// Somebody's ALTER SYSTEM may override the names for ever: tried again, without being in the way.
#define SETTLE_US 10000000

// Promoted, not established, and enough of those that are to be members are here.
static int can_establish(const struct kts_agent *agent)
{
    const struct kts_view *view = agent->view;

    return atomic_load(&agent->start->status->role) == KTS_ROLE_UNESTABLISHED && !view->restored &&
           view->has_pending && view->members >= view->pending.w;
}

// Rule 12 after a kill: the names in force, by the file or by
// PostgreSQL, are not those of the newest row.
static int must_settle(const struct kts_agent *agent)
{
    const struct kt_epoch_row *row = kts_view_row(agent->view);
    uint32_t role = atomic_load(&agent->start->status->role);
    char names[KT_STANDBY_NAMES_TEXT];
    struct db_replication now;

    return (role == KTS_ROLE_ACTIVE || role == KTS_ROLE_STANDALONE) && row &&
           db_replication_load(agent->start->paths, &now, NULL) == 0 &&
           kt_standby_names(row, names) == 0 &&
           (strcmp(names, now.standby_names) != 0 || now.read_only ||
            strcmp(names, agent->view->names) != 0);
}

// The last change of members was killed before its row was written once more.
static int must_repeat(const struct kts_agent *agent)
{
    const struct kts_view *view = agent->view;
    const struct kt_epoch_row *newest = kt_epoch_rows_newest(&view->rows);

    return atomic_load(&agent->start->status->role) == KTS_ROLE_ACTIVE && view->rows.count > 1 &&
           kt_epoch_row_is_own(newest, &view->promise) && view->members >= newest->w &&
           kt_rule_must_repeat(&view->rows.rows[view->rows.count - 2], newest);
}

static int must_ask(const struct kts_agent *agent)
{
    const struct kts_view *view = agent->view;

    return view->is_joining && view->in_recovery && view->receiver_streams && view->has_promise &&
           view->replayed >= view->promise.floor_lsn;
}

void kts_own_jobs(struct kts_agent *agent)
{
    struct kts_view *view = agent->view;
    struct kt_error why = {0};
    json_t *args = NULL;
    int rc = 0;

    if (agent->stopping || kts_job_is_running(agent) ||
        kt_monotonic_now() < view->own_us + PERIOD_US)
        return;
    if (can_establish(agent)) {
        args = json_pack("{s:i}", "wait_ms", WAIT_MS);
        rc = kts_job_start_own(agent, "agent", "node.establish", kts_job_node_establish,
                               KTS_JOB_ALONE, args, &why);
    } else if ((must_settle(agent) || must_repeat(agent)) &&
               kt_monotonic_now() > view->settled_us + SETTLE_US) {
        view->settled_us = kt_monotonic_now();
        rc = kts_job_start_own(agent, "agent", "member.settle", kts_job_member_settle,
                               KTS_JOB_ALONE | KTS_JOB_HOLDS, NULL, &why);
    } else if (must_ask(agent)) {
        rc = kts_job_start_own(agent, "agent", "member.ask", kts_job_member_ask, 0, NULL, &why);
    } else {
        return;
    }
    view->own_us = kt_monotonic_now();
    json_decref(args);
    if (rc)
        kt_log_error(&why, "a job of the agent's own cannot be started");
}
