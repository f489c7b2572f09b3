// SPDX-License-Identifier: Apache-2.0
// The gate before PostgreSQL starts (rule 16): as active only if the own promise is the own epoch
// and no peer has promised a higher one; else as a standby; not at all without a promise.
#include <stdlib.h>
#include <string.h>

#include "kts/agent_cluster.h"
#include "kts/agent_peers.h"
#include "kts/agent_role.h"
#include "kts/agent_view.h"
#include "lib/file.h"
#include "lib/log.h"

#define PEERS_US 3000000 // after the agent's start, for the peers' first answers

static const char *const MODES[] = {"active", "follow", "sealed"};

// "start\n", "wait\n", or NULL: no job has stopped it.
static char *wanted_again(const struct kt_paths *paths)
{
    char path[KT_PATH_MAX], *word = NULL;

    if (kts_again_path(paths, path) || kt_file_read_text(path, 16, &word, NULL))
        return NULL;
    return word;
}

static const char *refusal(const struct kt_promise *promise)
{
    if (promise->retired_by[0])
        return "this node was retired";
    if (promise->floor_lsn == KT_FLOOR_UNFINISHED)
        return "the copy of its database was not finished: run ktadmin rejoin";
    return NULL;
}

static int save_mode(const struct kts_agent *agent, const struct db_replication *replication,
                     struct kt_error *error)
{
    struct db_replication full = *replication;

    memcpy(full.member, agent->view->promise.member, sizeof(full.member));
    return db_replication_save(agent->start->paths, &full, error);
}

// As what it may start: what stands in node/replication, but never as active against the promises.
static int decide_mode(const struct kts_agent *agent, enum db_mode *mode, struct kt_error *error)
{
    const struct db_replication sealed = {.mode = DB_MODE_SEALED}, alone = {.mode = DB_MODE_ACTIVE};
    const struct kt_promise *promise = &agent->view->promise;
    struct kt_promise others[KTS_VIEW_PROMISES];
    size_t count = kts_view_promises(agent, others);
    int is_own = strcmp(promise->active, agent->start->info->node) == 0;
    struct db_replication now;
    int rc = db_replication_load(agent->start->paths, &now, error);

    if (rc && rc != KT_ERR_NOT_FOUND)
        return rc;
    if (rc == KT_ERR_NOT_FOUND) { // made by init: a first node, without members
        now = is_own && promise->active_since > 0 ? alone : sealed;
        rc = save_mode(agent, &now, error);
    }
    if (rc == 0 && now.mode == DB_MODE_ACTIVE && kts_agent_is_removed(agent, promise->member)) {
        kt_log(KT_LOG_WARNING, "removed: this node's database starts as a standby of nobody");
        now = sealed;
        rc = save_mode(agent, &now, error);
    }
    if (rc == 0 && now.mode == DB_MODE_ACTIVE &&
        (!is_own || kts_role_is_overtaken(promise, others, count))) {
        kt_log(KT_LOG_WARNING,
               "fenced: a newer epoch was promised, this node starts as a standby; hint: run "
               "ktadmin rejoin");
        now = sealed;
        rc = save_mode(agent, &now, error);
    }
    *mode = now.mode;
    return rc;
}

// Whether peers may still have something to say: only a start as active depends on it.
static int must_wait(const struct kts_agent *agent)
{
    return strcmp(agent->view->promise.active, agent->start->info->node) == 0 &&
           !kts_agent_peers_asked_all(agent) &&
           kt_monotonic_now() < agent->view->begun_us + PEERS_US;
}

int kts_run_start_allowed(struct kts_call *call, const json_t *args, json_t **result,
                          struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    const char *reason = NULL, *mode = NULL;
    char *word = wanted_again(agent->start->paths);
    enum db_mode decided = DB_MODE_SEALED;
    int later, rc = 0;

    (void)args;
    kts_view_files(agent->start->paths, agent->view);
    reason =
        agent->view->has_promise ? refusal(&agent->view->promise) : "this node has no promise file";
    // A job works on the data directory, or the peers have not been heard.
    later = (word && strcmp(word, KTS_AGAIN_WAIT) == 0 && kts_job_is_running(agent)) ||
            (!reason && must_wait(agent));
    if (!reason && !later) {
        rc = decide_mode(agent, &decided, error);
        mode = MODES[decided];
    }
    if (rc == 0)
        *result =
            json_pack("{s:b, s:b, s:b, s:s*, s:s*}", "allowed", !reason && !later, "later", later,
                      "again", word != NULL, "mode", mode, "reason", later ? "a moment" : reason);
    free(word);
    return rc;
}
