// SPDX-License-Identifier: Apache-2.0
// Whether PostgreSQL may be started: the agent's word, or without one the files'.
#include "ktadmin/db_start.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "db/replication.h"
#include "lib/agent_call.h"
#include "lib/file.h"

#define AGAIN_FILE "db.again" // kts/agent_cluster.h
#define ASK_MS     5000
#define LATER_NS   10000000
#define AGENT_US                                                                                   \
    5000000 // for a server that is being started again, while a job of it wants PostgreSQL

// An active of more than one node must know what the others promised: only the agent does.
static int is_alone(const struct kta_node *node, const struct kt_promise *promise)
{
    struct kt_peers peers;

    if (kt_peers_load(node->paths.peers, &peers, NULL))
        return 0;
    for (size_t i = 0; i < peers.count; i++) {
        if (!peers.peers[i].removed && strcmp(peers.peers[i].member, promise->member) != 0)
            return 0;
    }
    return 1;
}

static int is_own(const struct kt_promise *promise)
{
    size_t n = strcspn(promise->member, ".");

    return strlen(promise->active) == n && memcmp(promise->active, promise->member, n) == 0;
}

static int allowed_by_files(const struct kta_node *node, struct kt_error *error)
{
    struct db_replication now;
    struct kt_promise promise;
    int rc = kt_promise_load(node->paths.promise, &promise, error);

    if (rc == KT_ERR_NOT_FOUND)
        return kt_error_set(error, KT_ERR_NOT_INITIALISED,
                            "a copied confdir does not make a member: see ktadmin(8), FILES",
                            "no promise file '%s'", node->paths.promise);
    if (rc)
        return rc;
    if (promise.retired_by[0])
        return kt_error_set(error, KT_ERR_FENCED, "this node never starts again",
                            "this node was retired by '%s'", promise.retired_by);
    if (promise.floor_lsn == KT_FLOOR_UNFINISHED)
        return kt_error_set(error, KT_ERR_FENCED, "run ktadmin rejoin",
                            "the copy of this node's database was not finished");
    rc = db_replication_load(&node->paths, &now, error);
    if (rc && rc != KT_ERR_NOT_FOUND)
        return rc;
    if (rc == 0 && now.mode != DB_MODE_ACTIVE) // a standby harms nobody
        return 0;
    if (promise.active_since > 0 && is_own(&promise) && is_alone(node, &promise))
        return 0;
    return kt_error_set(error, KT_ERR_NOT_RUNNING,
                        "start the server first: systemctl start keytrusteed",
                        is_own(&promise) ? "only the server knows what the nodes promised, '%s' too"
                                         : "this node follows '%s': only its server can allow the "
                                           "start",
                        promise.active);
}

static int is_wanted_again(const struct kta_node *node)
{
    char path[KT_PATH_MAX];

    return kt_path_join(path, sizeof(path), node->paths.run, AGAIN_FILE) == 0 &&
           kt_file_exists(path);
}

// The supervisor blocks what would end it; while nothing runs that is looked at here.
static int is_told_to_stop(void)
{
    sigset_t pending;

    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1 ||
            sigismember(&pending, SIGQUIT) == 1);
}

static int ask(const struct kta_node *node, json_t **said, struct kt_error *error)
{
    const struct timespec later = {.tv_nsec = LATER_NS};
    int64_t until = kt_monotonic_now() + AGENT_US;
    int rc;

    for (;;) {
        rc = kt_agent_call(node->paths.agent_socket, "db.start_allowed", NULL, ASK_MS, said, error);
        int later_said = rc == 0 && json_is_true(json_object_get(*said, "later"));
        int is_away =
            rc == KT_ERR_NOT_RUNNING && is_wanted_again(node) && kt_monotonic_now() < until;
        if (!later_said && !is_away)
            return rc;
        if (rc == 0)
            json_decref(*said);
        *said = NULL;
        if (is_told_to_stop())
            return kt_error_set(error, KT_ERR_SHUTTING_DOWN, NULL, "told to stop");
        nanosleep(&later, NULL);
    }
}

int kta_start_allowed(const struct kta_node *node, struct kta_start_answer *answer,
                      struct kt_error *error)
{
    const char *why;
    json_t *said = NULL;
    int rc = ask(node, &said, error);

    answer->again = is_wanted_again(node);
    if (rc == KT_ERR_NOT_RUNNING)
        return allowed_by_files(node, error);
    if (rc == 0 && !json_is_true(json_object_get(said, "allowed"))) {
        why = json_string_value(json_object_get(said, "reason"));
        rc = kt_error_set(error, KT_ERR_FENCED, "see ktadmin status",
                          "the server does not allow the start%s%s", why ? ": " : "",
                          why ? why : "");
    }
    json_decref(said);
    return rc;
}

int kta_want_no_start(const struct kta_node *node, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = kt_path_join(path, sizeof(path), node->paths.run, AGAIN_FILE);

    if (rc == 0 && unlink(path) && errno != ENOENT)
        rc = kt_error_errno(error, "cannot remove '%s'", path);
    return rc;
}
