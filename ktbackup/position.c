// SPDX-License-Identifier: Apache-2.0
// Asking the active for a barrier, and waiting until this node has replayed it.
#include "ktbackup/position.h"

#include <string.h>
#include <time.h>

#include "db/replication.h"
#include "lib/epoch.h"
#include "lib/json.h"
#include "lib/node_call.h"

#define CONNECT_MS 1000
#define ASK_MS     15000
#define REPLAY_MS  30000
#define BUSY_US    15000000 // how long an agent may be at work on something else
#define BUSY_NS    100000000

static int ask(struct kt_node *node, json_t **answer, struct kt_error *error)
{
    const struct timespec pause = {.tv_nsec = BUSY_NS};
    int64_t until = kt_monotonic_now() + BUSY_US;
    int rc;

    while ((rc = kt_node_call(node, "member.floor", NULL, CONNECT_MS, ASK_MS, answer, error)) ==
               KT_ERR_BUSY &&
           kt_monotonic_now() < until)
        nanosleep(&pause, NULL);
    return rc;
}

// The active, as this node's promise and list of nodes know it.
static int find_active(const struct ktb_place *place, struct kt_node **node, struct kt_error *error)
{
    const struct kt_node_credentials credentials = {.ca_file = place->paths.ca_cert,
                                                    .cert_file = place->paths.node_cert,
                                                    .key_file = place->paths.node_key};
    const struct kt_peer *active;
    struct kt_promise promise;
    struct kt_peers peers;
    int rc = kt_promise_load(place->paths.promise, &promise, error);

    if (rc == 0)
        rc = kt_peers_load(place->paths.peers, &peers, error);
    if (rc)
        return rc;
    active = kt_peers_by_node(&peers, promise.active);
    if (!active)
        return kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "this node does not know the active, %s",
                            promise.active);
    return kt_node_remote(active->address, active->agent_port, &credentials, node, error);
}

static int take_answer(const json_t *answer, struct ktb_position *position, uint64_t *lsn,
                       struct kt_error *error)
{
    const char *incarnation = NULL, *floor = NULL;
    int64_t epoch = 0;
    int rc = kt_json_string(answer, "incarnation", 1, KT_INCARNATION_TEXT - 1, &incarnation, error);

    if (rc == 0)
        rc = kt_json_string(answer, "floor", 1, 32, &floor, error);
    if (rc == 0)
        rc = kt_json_integer(answer, "epoch", 1, INT64_MAX, 1, &epoch, error);
    if (rc == 0 && (kt_incarnation_parse(incarnation, &position->incarnation) != 0 ||
                    kt_lsn_parse(floor, lsn) != 0))
        rc = kt_error_set(error, KT_ERR_PROTOCOL, NULL, "the active's answer is malformed");
    if (rc == 0 && !kt_json_boolean(answer, "barrier", 0))
        rc = kt_error_set(error, KT_ERR_NO_QUORUM, NULL, "the active has no quorum now");
    position->epoch = (uint64_t)epoch;
    return rc;
}

static int wait_replayed(const struct ktb_place *place, uint64_t lsn, struct kt_error *error)
{
    struct db_cluster *cluster = NULL;
    struct db_admin *admin = NULL;
    int rc = db_cluster_open(&place->paths, place->settings, &cluster, error);

    if (rc == 0)
        rc = db_admin_open(cluster, ASK_MS, &admin, error);
    if (rc == 0)
        rc = db_admin_wait_replayed(admin, lsn, REPLAY_MS, error);
    db_admin_close(admin);
    db_cluster_close(cluster);
    return rc;
}

int ktb_position_prove(const struct ktb_place *place, struct ktb_position *position,
                       struct kt_error *error)
{
    struct kt_node *node = NULL;
    json_t *answer = NULL;
    uint64_t lsn = 0;
    int is_passive = 0, rc = kt_node_local(place->paths.agent_socket, &node);

    memset(position, 0, sizeof(*position));
    if (rc == 0)
        rc = ask(node, &answer, error);
    if (rc == KT_ERR_PASSIVE) {
        is_passive = 1;
        kt_node_free(node);
        node = NULL;
        rc = find_active(place, &node, error);
        if (rc == 0)
            rc = ask(node, &answer, error);
    }
    if (rc == 0)
        rc = take_answer(answer, position, &lsn, error);
    if (rc == 0 && is_passive)
        rc = wait_replayed(place, lsn, error);
    json_decref(answer);
    kt_node_free(node);
    return rc;
}
