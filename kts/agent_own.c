// SPDX-License-Identifier: Apache-2.0
// What the agent does without being asked.
#include "kts/agent_own.h"

#include <string.h>

#include "kts/agent_ca_rotate.h"
#include "kts/agent_cluster.h"
#include "kts/agent_view.h"
#include "lib/log.h"

#define PERIOD_US 1000000 // between two jobs of the agent's own
#define WAIT_MS   2000
// Somebody's ALTER SYSTEM may override the names for ever: tried again, without being in the way.
#define SETTLE_US 10000000
// Who prepares transactions again within that time loses its sessions.
#define STRANGERS_US   60000000
#define SWEEP_PAUSE_US 30000000 // at most, between two that fail

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

// Any role that comes in may prepare a transaction, of whatever name, and the places for them are
// few: full, the writer writes nothing.
static int can_sweep(const struct kts_agent *agent)
{
    uint32_t role = atomic_load(&agent->start->status->role);

    return agent->view->strangers > 0 && !agent->view->in_recovery &&
           (role == KTS_ROLE_ACTIVE || role == KTS_ROLE_STANDALONE ||
            role == KTS_ROLE_UNESTABLISHED);
}

// Once for each number of them: who made them is to end them.
static void say_spared(struct kts_view *view)
{
    if (view->spared > view->spared_said)
        kt_log(KT_LOG_WARNING,
               "%u prepared transactions of a superuser are named as the writer's and are left "
               "alone: each keeps a place from the writer; hint: ROLLBACK PREPARED by who made "
               "them; pg_prepared_xacts lists them",
               view->spared);
    view->spared_said = view->spared;
}

// Once for each number and role: one who goes on is not to fill the log and the audit log.
static void tell_strangers(struct kts_agent *agent, int again)
{
    struct kts_view *view = agent->view;

    if (!again)
        view->sweep.told = 0;
    if (view->sweep.told == view->strangers &&
        strcmp(view->sweep.told_of, view->strangers_owner) == 0)
        return;
    view->sweep.told = view->strangers;
    memcpy(view->sweep.told_of, view->strangers_owner, sizeof(view->sweep.told_of));
    kt_log(
        KT_LOG_WARNING,
        "%u prepared transactions of the role '%s' are rolled back%s: only the writer makes any; "
        "hint: a process of this node may have been taken over",
        view->strangers, view->strangers_owner, again ? ", and its sessions ended" : "");
    kts_agent_audit(agent, json_pack("{s:s, s:I, s:s}", "event", "database.strangers", "count",
                                     (json_int_t)view->strangers, "role", view->strangers_owner));
}

static void end_sweep(struct kts_sweep *run, int failed)
{
    run->last_us = kt_monotonic_now();
    if (!failed)
        run->pause_us = 0;
    else if (run->pause_us == 0)
        run->pause_us = 2 * PERIOD_US;
    else
        run->pause_us =
            run->pause_us * 2 < SWEEP_PAUSE_US ? run->pause_us * 2 : (int64_t)SWEEP_PAUSE_US;
    run->next_us = run->last_us + (failed ? run->pause_us : PERIOD_US);
}

// Beside the other jobs: none of them is kept back by a stranger, and none keeps this back.
static void sweep(struct kts_agent *agent)
{
    struct kts_sweep *run = &agent->view->sweep;
    int64_t now_us = kt_monotonic_now();
    int again = run->last_us && now_us < run->last_us + STRANGERS_US;
    struct kt_error why = {0};
    json_t *args;

    if (agent->stopping || !can_sweep(agent) || now_us < run->next_us ||
        kts_job_count(agent, kts_job_strangers) > 0)
        return;
    tell_strangers(agent, again);
    run->last_us = now_us;
    args = json_pack("{s:b}", "end_sessions", again);
    if (kts_job_start_own(agent, "agent", "database.strangers", kts_job_strangers, 0, args, &why)) {
        kt_log_error(&why, "prepared transactions cannot be rolled back");
        end_sweep(run, 1);
    }
    json_decref(args);
}

void kts_own_job_ended(struct kts_agent *agent, kts_job_function *job, const json_t *result)
{
    if (job == kts_job_ca_cut)
        kts_ca_cut_ended(agent, result);
    if (job != kts_job_strangers || !agent->view)
        return;
    agent->view->sweep.rolled_back +=
        (uint64_t)json_integer_value(json_object_get(result, "count"));
    end_sweep(&agent->view->sweep, !result);
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

    say_spared(view);
    sweep(agent);
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
