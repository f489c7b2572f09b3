// SPDX-License-Identifier: Apache-2.0
// The agent's watch over the database: what it learns stands in the shared status.
#include "kts/agent.h"
#include "lib/log.h"

#define UP_MS   1000
#define DOWN_MS 100
// A look that waits in vain keeps the agent from everything else: then ever fewer of them.
#define SLOW_US       500000
#define SLOW_FIRST_MS 1000
#define SLOW_LAST_MS  5000

static void again(struct kts_agent *agent, int ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    event_add(agent->watch, &tv);
}

static void forget_end(struct kts_agent *agent)
{
    if (agent->watch_end)
        event_free(agent->watch_end);
    agent->watch_end = NULL;
}

struct db_session *kts_agent_database(struct kts_agent *agent)
{
    forget_end(agent);
    return agent->database;
}

static enum kts_role role_of(const struct db_epoch_state *state)
{
    if (state->in_recovery)
        return KTS_ROLE_PASSIVE;
    // Put back with stock tools: reads only, until an operator says which incarnation this is.
    if (state->restored)
        return KTS_ROLE_UNESTABLISHED;
    return state->members == 0 ? KTS_ROLE_STANDALONE : KTS_ROLE_ACTIVE;
}

static void publish(struct kts_agent *agent, const struct db_epoch_state *state)
{
    struct kts_status *status = agent->start->status;
    enum kts_role role = role_of(state);

    atomic_store(&status->incarnation, state->incarnation.number);
    atomic_store(&status->incarnation_bits, state->incarnation.bits);
    atomic_store(&status->epoch, state->epoch);
    atomic_store(&status->w, state->w);
    atomic_store(&status->members, 0); // streaming ones: none can be yet
    if (atomic_exchange(&status->role, role) != role)
        kt_log(KT_LOG_NOTICE, "this node is %s, epoch %llu", kts_role_name(role),
               (unsigned long long)state->epoch);
    if (atomic_load(&status->database_up))
        return;
    // The generation first: who sees "up" must not see the old number with it.
    atomic_fetch_add(&status->database_generation, 1);
    atomic_store(&status->database_up, 1);
    kt_log(KT_LOG_NOTICE, "the database is up");
}

static void on_watch(evutil_socket_t fd, short what, void *arg);

// Between two looks the database has nothing to say but that it ends: the others lose it at the
// same moment, and are not to be started again as long as "up" stands in the status.
static void watch_end(struct kts_agent *agent)
{
    int fd = db_session_fd(agent->database);

    agent->watch_end = fd < 0 ? NULL : event_new(agent->base, fd, EV_READ, on_watch, agent);
    if (agent->watch_end)
        event_add(agent->watch_end, NULL);
}

static int pause_after(struct kts_agent *agent, int64_t took_us)
{
    if (took_us < SLOW_US)
        agent->watch_ms = 0;
    else if (agent->watch_ms == 0)
        agent->watch_ms = SLOW_FIRST_MS;
    else
        agent->watch_ms = agent->watch_ms * 2 < SLOW_LAST_MS ? agent->watch_ms * 2 : SLOW_LAST_MS;
    return agent->watch_ms ? agent->watch_ms : DOWN_MS;
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
    struct kts_agent *agent = arg;
    struct kts_status *status = agent->start->status;
    struct db_epoch_state state;
    struct kt_error why = {0};
    int64_t begun_us = kt_monotonic_now();

    (void)fd;
    (void)what;
    if (db_query_epoch(kts_agent_database(agent), &state, &why) == 0) {
        publish(agent, &state);
        watch_end(agent);
        agent->watch_ms = 0;
        again(agent, UP_MS);
        return;
    }
    if (atomic_exchange(&status->database_up, 0))
        kt_log_error(&why, "the database is down");
    again(agent, pause_after(agent, kt_monotonic_now() - begun_us));
}

int kts_agent_watch_start(struct kts_agent *agent, struct kt_error *error)
{
    const struct kts_start *start = agent->start;
    struct db_target target;
    int rc = db_target_load(start->paths, start->settings, DB_ROLE_AGENT, &target,
                            &agent->database_secret, error);

    if (rc)
        return rc;
    // One that was left by an agent that died: this one has to see it come up.
    atomic_store(&start->status->database_up, 0);
    agent->watch = evtimer_new(agent->base, on_watch, agent);
    rc = agent->watch ? db_session_new(&target, &agent->database) : KT_ERR_NO_MEMORY;
    if (rc)
        return kt_error_set(error, rc, NULL, "%s", kt_err_text(rc));
    again(agent, 0);
    return 0;
}
