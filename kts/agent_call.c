// SPDX-License-Identifier: Apache-2.0
// A request to the agent, by socket or through the door: who asks, what it waits for, its answer.
#include <stdlib.h>

#include "kts/agent_door.h"
#include "kts/agent_job.h"

enum kts_asker kts_call_caller(const struct kts_call *call)
{
    return call->caller;
}

const char *kts_call_actor(const struct kts_call *call)
{
    return call->actor;
}

const char *kts_call_member(const struct kts_call *call)
{
    return call->member;
}

struct kts_agent *kts_call_agent(const struct kts_call *call)
{
    return call->agent;
}

void kts_call_set_pending(struct kts_call *call, struct kts_pending *pending)
{
    call->pending = pending;
}

void kts_call_set_job(struct kts_call *call, struct kts_running *job)
{
    call->job = job;
}

void kts_call_begin(struct kts_call *call)
{
    call->is_open = 1;
    call->agent->call_count++;
}

void kts_call_end(struct kts_call *call)
{
    if (call->pending)
        kts_pending_forget(call->pending);
    if (call->job)
        kts_job_forget(call->job);
    call->pending = NULL;
    call->job = NULL;
    call->is_open = 0;
    call->agent->call_count--;
    kts_agent_check_stop(call->agent);
}

static void answer(struct kts_call *call, const json_t *result, const struct kt_error *error)
{
    call->pending = NULL;
    call->job = NULL;
    call->is_open = 0;
    call->answer(call, result, error);
}

void kts_call_succeed(struct kts_call *call, json_t *result)
{
    answer(call, result, NULL);
    json_decref(result);
}

void kts_call_fail(struct kts_call *call, const struct kt_error *error)
{
    answer(call, NULL, error);
}

json_t *kts_call_error_json(const struct kt_error *error)
{
    const struct kt_err_info *info = kt_err_info(error->code);

    return json_pack("{s:s, s:s, s:s*}", "code", info->name, "message",
                     error->message[0] ? error->message : info->text, "hint",
                     error->hint[0] ? error->hint : info->hint);
}
