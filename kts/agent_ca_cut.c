// SPDX-License-Identifier: Apache-2.0
// A root of the CA has ended: PostgreSQL reads that, and the sessions that came in before are ended.
// However this node has heard of it, and as long as a connection of before may become a session.
#include <time.h>

#include "kts/agent_ca_rotate.h"
#include "lib/json.h"
#include "lib/log.h"

#define ADMIN_MS 60000
#define STEP_NS  20000000
#define WAIT_US  5000000 // the clock was set back: no sooner
#define AGAIN_US 1000000 // while there may be more
#define RETRY_US 5000000 // after a failure

// --- the job ---

// Sessions that begin from now on are of after it.
static void wait_until(int64_t time_us)
{
    const struct timespec step = {.tv_nsec = STEP_NS};
    int64_t until_us = kt_monotonic_now() + WAIT_US;

    while (kt_time_now() < time_us && kt_monotonic_now() < until_us)
        nanosleep(&step, NULL);
}

// Arguments: "changed_us" of the file and, unless PostgreSQL is to read it first, "before_us".
int kts_job_ca_cut(struct kts_job *job, const json_t *args, json_t **result, struct kt_error *error)
{
    struct db_before before = {.us = json_integer_value(json_object_get(args, "before_us"))};
    struct db_cluster *cluster = NULL;
    struct db_admin *admin = NULL;
    uint32_t ended = 0, left = 0;
    int rc = db_cluster_open(job->start->paths, job->start->settings, &cluster, error);

    if (rc == 0 && before.us == 0)
        rc = db_reload_ca(cluster, json_integer_value(json_object_get(args, "changed_us")), &before,
                          error);
    if (rc == 0 && before.us)
        rc = db_admin_open(cluster, ADMIN_MS, &admin, error);
    if (rc == 0 && before.us) {
        wait_until(before.us);
        rc = db_admin_end_before(admin, before.us, &ended, &left, error);
    }
    if (rc == 0)
        *result =
            json_pack("{s:I, s:i, s:I, s:I}", "before_us", (json_int_t)before.us, "pending_ms",
                      before.pending_ms, "ended", (json_int_t)ended, "left", (json_int_t)left);
    db_admin_close(admin);
    db_cluster_close(cluster);
    return rc;
}

// --- when ---

static int has(const json_t *list, const json_t *text)
{
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (json_equal(one, text))
            return 1;
    }
    return 0;
}

void kts_ca_cut_want(struct kts_agent *agent, const json_t *ended_before)
{
    struct kts_ca_cut *cut = &agent->ca_cut;
    json_t *one;
    size_t i;

    json_array_foreach(agent->ca_ended, i, one)
    {
        if (has(ended_before, one))
            continue;
        *cut = (struct kts_ca_cut){.wanted = cut->wanted + 1};
        return;
    }
}

int kts_ca_cut_is_done(const struct kts_agent *agent)
{
    return agent->ca_cut.wanted == 0 || agent->ca_cut.is_cut;
}

void kts_ca_cut_look(struct kts_agent *agent)
{
    struct kts_ca_cut *cut = &agent->ca_cut;
    struct kt_error why = {0};
    json_t *args;

    if (agent->stopping || cut->wanted == 0 || cut->is_over || kt_monotonic_now() < cut->next_us ||
        kts_job_count(agent, kts_job_ca_cut) > 0)
        return;
    if (!cut->is_told)
        kts_agent_audit(agent, json_pack("{s:s}", "event", "ca.cut"));
    cut->is_told = 1;
    cut->running = cut->wanted;
    args =
        json_pack("{s:I, s:I}", "changed_us", (json_int_t)agent->ca_file.st_ctim.tv_sec * 1000000,
                  "before_us", (json_int_t)cut->before_us);
    if (kts_job_start_own(agent, "the agent", "ca.cut", kts_job_ca_cut, 0, args, &why)) {
        kt_log_error(&why, "sessions of before the CA's end cannot be ended");
        cut->next_us = kt_monotonic_now() + RETRY_US;
    }
    json_decref(args);
}

void kts_ca_cut_ended(struct kts_agent *agent, const json_t *result)
{
    struct kts_ca_cut *cut = &agent->ca_cut;
    int64_t now_us = kt_monotonic_now();

    cut->next_us = now_us + (result ? AGAIN_US : RETRY_US);
    if (!result || cut->running != cut->wanted)
        return;
    cut->ended += json_integer_value(json_object_get(result, "ended"));
    if (cut->before_us == 0) {
        cut->before_us = json_integer_value(json_object_get(result, "before_us"));
        cut->until_us = now_us + json_integer_value(json_object_get(result, "pending_ms")) * 1000;
    }
    if (json_integer_value(json_object_get(result, "left")) > 0)
        return;
    if (!cut->is_cut && cut->ended)
        kt_log(KT_LOG_NOTICE,
               "a root of the CA has ended: %lld sessions of before were ended in PostgreSQL",
               (long long)cut->ended);
    cut->is_cut = 1;
    cut->is_over = cut->before_us == 0 || now_us > cut->until_us;
}
