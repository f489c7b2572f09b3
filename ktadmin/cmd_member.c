// SPDX-License-Identifier: Apache-2.0
// leave, remove: nodes that are no longer to count.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "db/cluster.h"
#include "ktadmin/commands.h"
#include "ktadmin/nodes.h"
#include "lib/file.h"

#define REMOVE_MS      120000
#define STOP_S         120
#define KNOWN_US       3000000
#define KNOWN_PAUSE_MS 20

// One that was removed before, as the active knows it: a run that was killed behind
// its work is told that it is done.
static int find_removed(const struct kta_member *active, const char *name,
                        char member[KT_MEMBER_TEXT])
{
    char node[KT_NODE_NAME_MAX + 1];
    struct kt_peers peers = {0};
    int found = 0;

    if (kt_peers_from_json(json_object_get(active->state, "peers"), &peers, NULL) != 0)
        return 0;
    for (size_t i = 0; i < peers.count; i++) {
        kt_member_node(peers.peers[i].member, node);
        if (!peers.peers[i].removed || strcmp(node, name) != 0)
            continue;
        memcpy(member, peers.peers[i].member, KT_MEMBER_TEXT);
        found = 1;
    }
    return found;
}

// "kts-02" as the member that counts: of the newest row, of the known nodes, or as it was typed.
static int find_member(const struct kta_nodes *nodes, size_t active, const char *name,
                       char member[KT_MEMBER_TEXT], struct kt_error *error)
{
    char node[KT_NODE_NAME_MAX + 1];
    struct kt_epoch_row row;
    int at = kta_nodes_find(nodes, name);

    if (kt_member_check(name) == 0) {
        snprintf(member, KT_MEMBER_TEXT, "%s", name);
        return 0;
    }
    if (kta_state_list(&nodes->list[active], &row) == 0)
        for (uint32_t i = 0; i < row.count; i++) {
            kt_member_node(row.members[i], node);
            if (strcmp(node, name) == 0) {
                memcpy(member, row.members[i], KT_MEMBER_TEXT);
                return 0;
            }
        }
    if (at < 0 && find_removed(&nodes->list[active], name, member))
        return 0;
    if (at < 0)
        return kt_error_set(error, KT_ERR_NOT_FOUND, "ktadmin status lists the nodes",
                            "no node '%.63s'", name);
    memcpy(member, nodes->list[at].peer.member, KT_MEMBER_TEXT);
    return 0;
}

// --- remove ---

static int confirm_override(const struct kt_cli_run *run, const struct kta_member *active,
                            const char *member, struct kt_error *error)
{
    char what[512];

    snprintf(what, sizeof(what),
             "%s cannot prove that %s was not promoted meanwhile. If it was, what it acknowledged "
             "since is lost%s. It is recorded for ever.",
             active->name, member,
             kt_cli_flag(run, "standalone")
                 ? "; and from now on what is acknowledged is on one disk"
                 : "");
    return kta_confirm_cluster(run, kta_state_text(active, "cluster"), what, error);
}

// The agents learn of it from the table a moment later; a node of that name may join after that.
static void wait_known(struct kta_nodes *nodes, size_t active, const char *member)
{
    int64_t until = kt_monotonic_now() + KNOWN_US;
    const struct kt_peer *peer;
    struct kt_peers peers = {0};

    do {
        kta_pause_ms(KNOWN_PAUSE_MS);
        kta_nodes_look_at(nodes, active);
        if (kt_peers_from_json(json_object_get(nodes->list[active].state, "peers"), &peers, NULL) !=
            0)
            return;
        peer = kt_peers_by_member(&peers, member);
    } while (peer && !peer->removed && kt_monotonic_now() < until);
}

static int remove_member(const struct kt_cli_run *run, struct kta_nodes *nodes,
                         char member[KT_MEMBER_TEXT], json_t **result, struct kt_error *error)
{
    int destroyed = kt_cli_flag(run, "destroyed"), standalone = kt_cli_flag(run, "standalone");
    size_t active = 0;
    int rc = kta_nodes_open_active(run, nodes, &active, error);

    if (rc == 0)
        rc = find_member(nodes, active, run->argv[0], member, error);
    if (rc == 0 && strcmp(member, nodes->list[active].peer.member) == 0)
        rc = kt_error_set(error, KT_ERR_USAGE, "hand over first: ktadmin switchover",
                          "%s is the active", nodes->list[active].name);
    if (rc == 0 && (destroyed || standalone))
        rc = confirm_override(run, &nodes->list[active], member, error);
    if (rc)
        return rc;
    rc = kta_nodes_call_when_free(nodes, active, "member.remove",
                                  json_pack("{s:s, s:b, s:b, s:s}", "member", member, "destroyed",
                                            destroyed, "standalone", standalone, "cluster_id",
                                            kta_state_text(&nodes->list[active], "cluster")),
                                  REMOVE_MS, result, error);
    if (rc == 0)
        wait_known(nodes, active, member);
    return rc;
}

static void print_removed(const struct kt_cli_run *run, const char *member, const json_t *result)
{
    if (kt_cli_flag(run, "json"))
        kta_print_json(result);
    else if (!kt_cli_flag(run, "quiet"))
        printf("%s no longer counts, and its certificate is refused\n", member);
}

static int run_remove(struct kt_cli_run *run)
{
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    char member[KT_MEMBER_TEXT] = "";
    struct kt_error error = {0};
    json_t *result = NULL;
    int rc = nodes ? remove_member(run, nodes, member, &result, &error)
                   : kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc == 0)
        print_removed(run, member, result);
    json_decref(result);
    if (nodes)
        kta_nodes_close(nodes);
    free(nodes);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

// --- leave ---

static int stop_database(const struct kta_node *own, struct kt_error *error)
{
    struct db_cluster *cluster = NULL;
    int rc = db_cluster_open(&own->paths, own->settings, &cluster, error);

    if (rc == 0)
        rc = db_cluster_stop(cluster, STOP_S, error);
    db_cluster_close(cluster);
    return rc;
}

static int stop_server(const struct kta_node *own, struct kt_error *error)
{
    char *text = NULL;
    uint64_t pid = 0;
    int rc = kt_file_read_text(own->paths.pid_file, 64, &text, NULL);

    if (rc == KT_ERR_NOT_FOUND)
        return 0;
    if (rc == 0) {
        text[strcspn(text, "\n")] = '\0';
        rc = kt_u64_parse(text, 2, INT32_MAX, &pid);
    }
    free(text);
    if (rc)
        return kt_error_set(error, rc, "stop it by hand", "cannot read '%s'", own->paths.pid_file);
    if (kill((pid_t)pid, SIGTERM) != 0 && errno != ESRCH)
        return kt_error_set(error, errno == EPERM ? KT_ERR_PERMISSION : KT_ERR_SYSTEM,
                            "stop it by hand: systemctl stop keytrusteed; then wipe the node",
                            "the node has left the cluster, but its server, process %llu, cannot "
                            "be stopped: %s",
                            (unsigned long long)pid, strerror(errno));
    return 0;
}

// *again receives 1 when it had left before: there is no result then.
static int leave(const struct kt_cli_run *run, struct kta_nodes *nodes, int *again, json_t **result,
                 struct kt_error *error)
{
    size_t active = 0;
    int rc = kta_nodes_open(run, nodes, error);

    // A run that was stopped behind its work is repeated: what still runs is stopped.
    if (rc == 0 && kta_has_left(&nodes->own.paths)) {
        *again = 1;
        rc = stop_database(&nodes->own, error);
        return rc ? rc : stop_server(&nodes->own, error);
    }
    if (rc == 0)
        rc = kta_nodes_look(nodes, error);
    if (rc == 0)
        rc = kta_nodes_active(nodes, &active, error);
    if (rc == 0 && nodes->list[active].is_local)
        rc = kt_error_set(error, KT_ERR_USAGE, "hand over first: ktadmin switchover",
                          "this node is the active");
    if (rc == 0)
        rc = kta_nodes_call_when_free(nodes, active, "member.remove",
                                      json_pack("{s:s, s:b, s:b}", "member", nodes->oath.member,
                                                "destroyed", 0, "standalone", 0),
                                      REMOVE_MS, result, error);
    if (rc == 0)
        rc = stop_database(&nodes->own, error);
    return rc ? rc : stop_server(&nodes->own, error);
}

static int run_leave(struct kt_cli_run *run)
{
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    struct kt_error error = {0};
    json_t *result = NULL;
    int again = 0;
    int rc = nodes ? leave(run, nodes, &again, &result, &error)
                   : kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc == 0 && kt_cli_flag(run, "json") && result)
        kta_print_json(result);
    else if (rc == 0 && kt_cli_flag(run, "json"))
        printf("{}\n");
    else if (rc == 0 && again)
        printf("%s has left the cluster before. Its keys are still in '%s': wipe them.\n",
               nodes->oath.member, nodes->own.paths.confdir);
    else if (rc == 0 && !kt_cli_flag(run, "quiet"))
        printf("%s has left the cluster and is stopped. Its keys are still in '%s': wipe them.\n",
               nodes->oath.member, nodes->own.paths.confdir);
    json_decref(result);
    if (nodes)
        kta_nodes_close(nodes);
    free(nodes);
    return rc ? kt_cli_fail(run, &error) : KT_EXIT_OK;
}

static const struct kt_cli_option REMOVE_OPTIONS[] = {
    {"destroyed", 0, NULL, "it is gone for good, and nothing can be proven about it"},
    {"standalone", 0, NULL, "go on alone: what is acknowledged is on one disk"},
    KTA_CLUSTER_ID_OPTION,
    KTA_OPERATOR_OPTIONS,
    {NULL},
};

const struct kt_cli_command kta_cmd_remove = {
    .verb = "remove",
    .arguments = "NODE",
    .summary = "take a node out of the cluster",
    .help = "It no longer counts, and its certificate is refused. The last passive must answer, so "
            "that it can\nswear never to be promoted; when it is gone for good --destroyed goes on "
            "without, which is\nrecorded for ever. A node that was removed joins again as a new "
            "one.",
    .options = REMOVE_OPTIONS,
    .min_args = 1,
    .max_args = 1,
    .run = run_remove,
};
const struct kt_cli_command kta_cmd_leave = {
    .verb = "leave",
    .arguments = "",
    .summary = "take this node out of the cluster and stop it",
    .run = run_leave,
};
