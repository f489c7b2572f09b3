// SPDX-License-Identifier: Apache-2.0
// The copy of the active's data, the promise that goes with it, and the wish to become a member.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/replication.h"
#include "ktadmin/join.h"
#include "lib/file.h"

#define FLOOR_MS    60000
#define PROGRESS_US 500000
#define MIB         (1u << 20)

struct progress {
    int shows;
    int64_t last_us;
};

static void show_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct progress *progress = arg;
    int64_t now = kt_monotonic_now();

    if (!progress->shows || now - progress->last_us < PROGRESS_US)
        return;
    progress->last_us = now;
    if (total_bytes > 0)
        fprintf(stderr, "\r\033[K%llu of %llu MiB ... ", (unsigned long long)(done_bytes / MIB),
                (unsigned long long)(total_bytes / MIB));
    else
        fprintf(stderr, "\r\033[K%llu MiB ... ", (unsigned long long)(done_bytes / MIB));
    fflush(stderr);
}

// {"incarnation", "epoch", "active"}: whose data it is.
static int leader_promise(const struct kta_join *join, struct kt_promise *promise,
                          struct kt_error *error)
{
    const struct kta_member *leader = &join->nodes->list[join->active];

    if (kta_state_promise(leader, promise) != 0)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "%s did not tell its promise",
                            leader->name);
    if (strcmp(promise->active, leader->name) != 0)
        return kt_error_set(error, KT_ERR_FENCED, "run it again", "%s is no longer the active",
                            leader->name);
    return 0;
}

// node/replication: follows the leader in its epoch.
static int save_replication(const struct kta_join *join, const struct kt_promise *promise,
                            struct kt_error *error)
{
    const struct kt_peer *peer = &join->nodes->list[join->active].peer;
    struct db_replication replication = {.mode = DB_MODE_FOLLOW, .port = peer->database_port};
    int rc = kt_replication_name(join->self.member, promise->epoch, promise->active,
                                 replication.application_name);

    if (rc)
        return kt_error_set(error, rc, NULL, "the name for replication is too long");
    memcpy(replication.host, peer->address, sizeof(replication.host));
    memcpy(replication.member, join->self.member, sizeof(replication.member));
    return db_replication_save(&join->base.paths, &replication, error);
}

int kta_join_copy(struct kta_join *join, int *done, struct kt_error *error)
{
    const struct kt_peer *peer = &join->nodes->list[join->active].peer;
    struct progress progress = {.shows =
                                    isatty(STDERR_FILENO) && !kt_cli_flag(join->base.run, "quiet")};
    char incarnation[KT_INCARNATION_TEXT];
    struct db_source source = {.port = peer->database_port};
    struct kt_promise promise;
    int exists = 0, there, rc = db_cluster_look(join->base.cluster, &exists, error);

    if (rc)
        return rc;
    *done = exists;
    if (exists) // a run that was killed behind the copy may not have written these
        return db_cluster_configure(join->base.cluster, &there, error);
    rc = leader_promise(join, &promise, error);
    if (rc == 0) {
        kt_incarnation_format(&promise.incarnation, incarnation);
        json_object_set_new(join->state, "copied",
                            json_pack("{s:s, s:I, s:s}", "incarnation", incarnation, "epoch",
                                      (json_int_t)promise.epoch, "active", promise.active));
        rc = kta_join_state_save(join, error);
    }
    if (rc == 0)
        rc = save_replication(join, &promise, error);
    if (rc)
        return rc;
    memcpy(source.host, peer->address, sizeof(source.host));
    memcpy(source.member, join->self.member, sizeof(source.member));
    rc = db_copy_base(join->base.cluster, &source, show_progress, &progress, error);
    if (progress.last_us)
        fputs("\r\033[K", stderr);
    return rc ? rc : db_cluster_configure(join->base.cluster, &there, error);
}

// The promise of the leader as a value, and the floor: what the leader had when the copy had ended.
static int take_floor(const struct kta_join *join, const json_t *answer, struct kt_promise *promise,
                      struct kt_error *error)
{
    const json_t *copied = json_object_get(join->state, "copied");
    const char *incarnation = json_string_value(json_object_get(answer, "incarnation")),
               *active = json_string_value(json_object_get(answer, "active")),
               *floor = json_string_value(json_object_get(answer, "floor")),
               *from = json_string_value(json_object_get(copied, "active"));
    json_int_t epoch = json_integer_value(json_object_get(answer, "epoch"));
    char node[KT_NODE_NAME_MAX + 1];

    if (!incarnation || kt_incarnation_parse(incarnation, &promise->incarnation) != 0 || !active ||
        !floor || kt_lsn_parse(floor, &promise->floor_lsn) != 0 || epoch < 1)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL, "the active told no floor");
    if (kt_member_check(active) == 0) {
        kt_member_node(active, node);
        active = node;
    }
    // Another active meanwhile: its log may lack what was copied.
    if (!from || strcmp(from, active) != 0 ||
        epoch != json_integer_value(json_object_get(copied, "epoch")))
        return kt_error_set(error, KT_ERR_FENCED, "move the data directory away and run it again",
                            "there was a failover while the data was copied");
    promise->epoch = (uint64_t)epoch;
    snprintf(promise->active, sizeof(promise->active), "%s", active);
    memcpy(promise->member, join->self.member, sizeof(promise->member));
    return 0;
}

int kta_join_promise(struct kta_join *join, int *done, struct kt_error *error)
{
    struct kt_promise promise = {{0}};
    json_t *answer = NULL;
    int rc;

    *done = kt_file_exists(join->base.paths.promise);
    if (*done)
        return kt_promise_load(join->base.paths.promise, &join->base.promise, error);
    rc = kta_nodes_call(join->nodes, join->active, "member.floor", NULL, FLOOR_MS, &answer, error);
    if (rc == 0)
        rc = take_floor(join, answer, &promise, error);
    if (rc == 0)
        rc = save_replication(join, &promise, error);
    if (rc == 0)
        rc = kt_promise_save(join->base.paths.promise, &promise, error);
    if (rc == 0)
        join->base.promise = promise;
    json_decref(answer);
    return rc;
}

// From its first start on the node's agent asks the active to let it count.
int kta_join_ask(struct kta_join *join, int *done, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = 0;

    *done = kt_file_exists(join->base.paths.joining);
    if (!*done)
        rc = kt_file_replace(join->base.paths.joining, "\n", 1, 0600, error);
    if (rc == 0)
        rc = kt_path_join(path, sizeof(path), join->base.paths.confdir, KTA_JOIN_NOTE);
    if (rc == 0 && unlink(path) != 0 && kt_file_exists(path))
        rc = kt_error_errno(error, "cannot remove '%s'", path);
    return rc ? rc : kt_dir_sync(join->base.paths.confdir, error);
}
