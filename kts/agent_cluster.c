// SPDX-License-Identifier: Apache-2.0
// The verbs by which the steps of the failover protocol are carried out on this node, and the small
// ones among them.
#include "kts/agent_cluster.h"

#include <stdio.h>
#include <string.h>

#include "kts/agent_view.h"
#include "lib/json.h"

#define HOLD_MAX_MS  60000
#define CLOSE_MS     1000 // for a writer that is told to let go
#define ANY_OPERATOR (KTS_CALLER_LOCAL | KTS_CALLER_NODE | KTS_CALLER_OPERATOR)
#define ALONE        KTS_JOB_ALONE
#define HOLDS        (KTS_JOB_ALONE | KTS_JOB_HOLDS)

// --- retiring (rule 15) ---

// Sealed, running or not.
static int stop_receiving(struct kts_job *job, struct kt_error *error)
{
    const struct db_replication sealed = {.mode = DB_MODE_SEALED};
    struct kts_local local;
    int rc = kts_local_open(job, &local, error);

    if (rc == 0 && kts_local_is_running(&local))
        rc = kts_local_seal(&local, error);
    else if (rc == 0)
        rc = kts_local_save_mode(&local, &sealed, error);
    kts_local_close(&local);
    return rc;
}

// Durable, for ever, and of use only to the active that it was given to.
static int job_retire(struct kts_job *job, const json_t *args, json_t **result,
                      struct kt_error *error)
{
    char text[sizeof(((struct kt_promise *)0)->retired_by)];
    struct kt_incarnation incarnation;
    struct kt_promise promise;
    const char *by = NULL;
    uint64_t epoch = 0;
    int rc = kt_promise_load(job->start->paths->promise, &promise, error);

    if (rc == 0)
        rc = kts_args_epoch(args, &incarnation, &epoch, error);
    if (rc == 0)
        rc = kts_args_node(args, "by", &by, error);
    if (rc)
        return rc;
    snprintf(text, sizeof(text), "%llu %s", (unsigned long long)epoch, by);
    if (strcmp(promise.retired_by, text) != 0) {
        rc = kt_rule_may_promise(&promise, &incarnation, epoch, by, error);
        // Not before it stopped receiving: what it acknowledged
        // after its oath nobody could ever read.
        if (rc == 0)
            rc = stop_receiving(job, error);
        memcpy(promise.retired_by, text, sizeof(promise.retired_by));
        if (rc == 0)
            rc = kt_promise_save(job->start->paths->promise, &promise, error);
    }
    if (rc == 0)
        *result = json_pack("{s:s}", "retired_by", text);
    return rc;
}

// Only the active of the epoch may ask for it.
static int run_retire(struct kts_call *call, const json_t *args, json_t **result,
                      struct kt_error *error)
{
    char node[KT_NODE_NAME_MAX + 1] = "";
    const char *by = NULL;
    int rc = kts_args_node(args, "by", &by, error);

    (void)result;
    if (rc)
        return rc;
    if (kts_call_caller(call) == KTS_CALLER_NODE) {
        kt_member_node(kts_call_member(call), node);
        if (strcmp(node, by) != 0)
            return kt_error_set(error, KT_ERR_NOT_MEMBER, NULL, "'%s' cannot retire it for '%s'",
                                node, by);
    }
    return kts_job_start(call, "node.retire", job_retire, ALONE, args, error);
}

// --- the writer, held for a switchover ---

static int job_hold(struct kts_job *job, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + CLOSE_MS * INT64_C(1000);
    struct db_position position;
    struct kts_local local;
    int rc = kts_local_open(job, &local, error);

    (void)args;
    while (rc == 0 && atomic_load(&job->status->writer_open) && kt_monotonic_now() < until)
        kts_breath();
    if (rc == 0)
        rc = kts_local_connect(&local, error);
    if (rc == 0)
        rc = db_admin_end_sessions(local.admin, KTS_ADMIN_MS, error);
    if (rc == 0)
        rc = db_admin_position(local.admin, &position, error);
    if (rc == 0) {
        *result = json_object();
        kts_json_set_lsn(*result, "lsn", position.lsn);
    }
    kts_local_close(&local);
    return rc;
}

static int run_hold(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    int64_t ms = 0;
    int rc = kt_json_integer(args, "ms", 1, HOLD_MAX_MS, 1, &ms, error);

    (void)result;
    if (rc)
        return rc;
    agent->view->hold_until_us = kt_monotonic_now() + ms * 1000;
    kts_agent_watch_permit(agent);
    return kts_job_start(call, "writer.hold", job_hold, 0, args, error);
}

static int run_release(struct kts_call *call, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);

    (void)args;
    (void)error;
    agent->view->hold_until_us = 0;
    kts_agent_watch_now(agent);
    *result = json_object();
    return 0;
}

// --- a checkpoint, so that the stop that follows is short ---

static int job_checkpoint(struct kts_job *job, const json_t *args, json_t **result,
                          struct kt_error *error)
{
    struct kts_local local;
    int rc = kts_local_open(job, &local, error);

    (void)args;
    if (rc == 0)
        rc = kts_local_connect(&local, error);
    if (rc == 0)
        rc = db_admin_checkpoint(local.admin, KTS_SEAL_MS, error);
    if (rc == 0)
        *result = json_object();
    kts_local_close(&local);
    return rc;
}

// --- members: what can be refused by what the watch saw is refused before the writer is held ---

static int run_member_add(struct kts_call *call, const json_t *args, json_t **result,
                          struct kt_error *error)
{
    const struct kts_agent *agent = kts_call_agent(call);
    const struct kts_view *view = agent->view;
    const struct kt_epoch_row *row = view->in_recovery ? NULL : kts_view_row(view);
    const char *member = NULL;
    int rc = kts_args_member(args, "member", 1, &member, error);

    (void)result;
    if (rc)
        return rc;
    if (!row)
        return kt_error_set(error, KT_ERR_PASSIVE, "ask the active",
                            "this node is not the active of its epoch");
    if (!kt_epoch_row_has_member(row, member)) {
        if (view->members < row->w)
            return kt_error_set(error, KT_ERR_NO_QUORUM, NULL,
                                "%u of %u members stream, %u must acknowledge a new one",
                                view->members, row->count, row->w);
        if (!kts_view_streams(view, member))
            return kt_error_set(error, KT_ERR_NOT_PROVEN, "see ktadmin status on that node",
                                "'%s' does not stream from this node in epoch %llu", member,
                                (unsigned long long)row->epoch);
    }
    return kts_job_start(call, "member.add", kts_job_member_add, HOLDS, args, error);
}

static int run_member_remove(struct kts_call *call, const json_t *args, json_t **result,
                             struct kt_error *error)
{
    const struct kts_view *view = kts_call_agent(call)->view;
    const struct kt_epoch_row *row = view->in_recovery ? NULL : kts_view_row(view);
    const char *member = NULL;
    int rc = kts_args_member(args, "member", 1, &member, error);

    (void)result;
    if (rc)
        return rc;
    if (row && kt_epoch_row_has_member(row, member) && row->count == row->w &&
        !kt_json_boolean(args, "destroyed", 0) && !kt_json_boolean(args, "standalone", 0))
        return kt_error_set(error, KT_ERR_NOT_PROVEN,
                            "add another node first; if it is gone for good: --destroyed; to go on "
                            "with one copy: --standalone",
                            "without '%s' too few members are left to acknowledge", member);
    return kts_job_start(call, "member.remove", kts_job_member_remove, HOLDS, args, error);
}

static int run_member_w(struct kts_call *call, const json_t *args, json_t **result,
                        struct kt_error *error)
{
    const struct kts_view *view = kts_call_agent(call)->view;
    const struct kt_epoch_row *row = view->in_recovery ? NULL : kts_view_row(view);
    int64_t w = 0;
    int rc = kt_json_integer(args, "w", 1, KT_MEMBERS_MAX, 1, &w, error);

    (void)result;
    if (rc)
        return rc;
    if (row && row->count == 0)
        return kt_error_set(error, KT_ERR_INVALID, "ktadmin token new, and ktadmin join there",
                            "this node is alone: join another first");
    if (row && w > row->count)
        return kt_error_set(error, KT_ERR_INVALID, "add members first",
                            "W can be 1 to %u, the number of members", row->count);
    return kts_job_start(call, "member.w", kts_job_member_w, HOLDS, args, error);
}

// To add a verb: a row, and a function in a file of its own.
const struct kts_verb kts_cluster_verbs[] = {
    {"node.state", ANY_OPERATOR, 0, kts_run_node_state, NULL, NULL},
    {"node.rows", ANY_OPERATOR, 0, NULL, kts_job_node_rows, NULL},
    {"node.seal", ANY_OPERATOR, HOLDS, NULL, kts_job_node_seal, "node.seal"},
    {"node.catch_up", ANY_OPERATOR, ALONE, NULL, kts_job_node_catch_up, "node.catch_up"},
    {"node.promote", ANY_OPERATOR, HOLDS, NULL, kts_job_node_promote, "node.promote"},
    {"node.follow", ANY_OPERATOR, HOLDS, NULL, kts_job_node_follow, "node.follow"},
    // Not held: without its row a node has no permission to write, with it it needs one.
    {"node.establish", ANY_OPERATOR, ALONE, NULL, kts_job_node_establish, "node.establish"},
    {"node.rejoin", ANY_OPERATOR, HOLDS, NULL, kts_job_node_rejoin, "node.rejoin"},
    {"node.retire", KTS_CALLER_NODE | KTS_CALLER_OPERATOR, 0, run_retire, NULL, "node.retire"},
    {"node.checkpoint", ANY_OPERATOR, 0, NULL, job_checkpoint, NULL},
    {"writer.hold", ANY_OPERATOR, 0, run_hold, NULL, "writer.hold"},
    {"writer.release", ANY_OPERATOR, 0, run_release, NULL, "writer.release"},
    {"member.add", ANY_OPERATOR, 0, run_member_add, NULL, "member.add"},
    {"member.remove", ANY_OPERATOR, 0, run_member_remove, NULL, "member.remove"},
    {"member.w", ANY_OPERATOR, 0, run_member_w, NULL, "member.w"},
    {"member.floor", KTS_CALLER_LOCAL | KTS_CALLER_NODE, 0, NULL, kts_job_member_floor, NULL},
    {"db.start_allowed", KTS_CALLER_LOCAL, 0, kts_run_start_allowed, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
