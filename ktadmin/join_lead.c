// SPDX-License-Identifier: Apache-2.0
// Whom the newcomer is to follow: the active, after another promotion when it has no quorum.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/join.h"
#include "lib/file.h"
#include "lib/pki.h"

#define KNOWN_US       10000000 // nodes learn of a newcomer from each other
#define KNOWN_PAUSE_MS 100
#define ADD_MS         30000
#define PEM_MAX        65536

static int open_nodes(struct kta_join *join, struct kt_error *error)
{
    if (join->nodes)
        return 0;
    join->nodes = calloc(1, sizeof(*join->nodes));
    if (!join->nodes)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    return kta_nodes_open_paths(&join->base.paths, join->self.member, join->nodes, error);
}

static int is_stranger(const struct kta_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++)
        if (!nodes->list[i].state && (nodes->list[i].error.code == KT_ERR_NOT_MEMBER ||
                                      nodes->list[i].error.code == KT_ERR_CERTIFICATE_UNKNOWN))
            return 1;
    return 0;
}

// Until every node that answers knows this one.
static int look(struct kta_join *join, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + KNOWN_US;
    int rc;

    for (;;) {
        rc = kta_nodes_look(join->nodes, error);
        if (!is_stranger(join->nodes) || kt_monotonic_now() > until)
            return rc;
        kta_pause_ms(KNOWN_PAUSE_MS);
    }
}

static int token_node(const struct kta_join *join, size_t *index)
{
    for (size_t i = 0; i < join->nodes->count; i++)
        if (join->nodes->list[i].peer.agent_port == join->token.port &&
            strcmp(join->nodes->list[i].peer.address, join->token.host) == 0) {
            *index = i;
            return 0;
        }
    return KT_ERR_NOT_FOUND;
}

static void say(void *arg, enum kta_place to, const char *proved, int64_t us)
{
    (void)arg;
    fprintf(stderr, "        %-11s %7.1f ms  %s\n", kta_place_name(to), (double)us / 1000, proved);
}

// Another epoch of T itself, with the newcomer in its list. A node that lost its active is
// established when others of its list still stream.
static int promote(struct kta_join *join, size_t target, int is_alone, struct kt_error *error)
{
    struct kta_failover *failover = calloc(1, sizeof(*failover));
    int rc;

    if (!failover)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    failover->nodes = join->nodes;
    failover->to = join->nodes->list[target].peer.member;
    failover->members = is_alone ? join->self.member : NULL;
    failover->w = is_alone ? 1 : 0;
    failover->newcomer = is_alone ? NULL : join->self.member;
    failover->by = join->by;
    failover->until = is_alone ? KTA_PROMOTED : KTA_ESTABLISHED;
    failover->say = kt_cli_flag(join->base.run, "quiet") ? NULL : say;
    if (failover->say)
        fprintf(stderr, "%s is promoted anew\n", join->nodes->list[target].name);
    rc = kta_failover_walk(failover, error);
    kta_failover_settle(failover);
    join->active = failover->target;
    kta_failover_free(failover);
    free(failover);
    if (rc == 0)
        rc = look(join, error);
    return rc;
}

// {"peer", "cert"} of this node.
static int own_entry(struct kta_join *join, json_t **args, struct kt_error *error)
{
    const char *path = join->base.paths.node_cert;
    struct kt_peers self = {.count = 1};
    X509 *cert = NULL;
    char *pem = NULL;
    json_t *list = NULL;
    int rc = kt_pki_cert_load(path, &cert, error);

    if (rc == 0)
        rc = kt_file_read_text(path, PEM_MAX, &pem, error);
    if (rc == 0)
        rc = kt_pki_cert_sha256(cert, join->self.cert_sha256);
    self.peers[0] = join->self;
    if (rc == 0) {
        list = kt_peers_to_json(&self);
        *args = json_pack("{s:O, s:s}", "peer", json_array_get(list, 0), "cert", pem);
        rc = *args ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    json_decref(list);
    free(pem);
    X509_free(cert);
    return rc;
}

// The active was not there when the token was used: it is told now who joins.
static int register_late(struct kta_join *join, struct kt_error *error)
{
    json_t *result = NULL, *args = NULL;
    int rc;

    if (!json_is_false(json_object_get(join->state, "registered")))
        return 0;
    rc = own_entry(join, &args, error);
    if (rc == 0)
        rc = kta_nodes_call_when_free(join->nodes, join->active, "node.add", args, ADD_MS, &result,
                                      error);
    json_decref(result);
    if (rc)
        return rc;
    json_object_set_new(join->state, "registered", json_true());
    return kta_join_state_save(join, error);
}

static int other_members(const struct kta_member *member, const char *self)
{
    struct kt_epoch_row row;

    return kta_state_list(member, &row) != 0 || row.count > 1 ||
           (row.count == 1 && strcmp(row.members[0], self) != 0);
}

static int find_leader(struct kta_join *join, struct kt_error *error)
{
    struct kta_nodes *nodes = join->nodes;
    const char *role;
    int rc = kta_nodes_active(nodes, &join->active, error);

    if (rc == KT_ERR_NOT_FOUND && join->restores) {
        if (token_node(join, &join->active) != 0)
            return rc;
        // Two nodes: the newcomer takes the lost one's place. More: the others may carry it.
        return promote(join, join->active, nodes->count < 2, error);
    }
    if (rc == KT_ERR_NOT_FOUND)
        return kt_error_set(error, rc,
                            "ktadmin failover on another node first, or ktadmin restore --from",
                            "no node that answers is the active");
    if (rc)
        return rc;
    role = kta_state_text(&nodes->list[join->active], "role");
    if (strcmp(role, "unestablished") == 0 &&
        other_members(&nodes->list[join->active], join->self.member))
        return promote(join, join->active, 1, error);
    return 0;
}

int kta_join_lead(struct kta_join *join, int *done, struct kt_error *error)
{
    int exists = 0, rc = open_nodes(join, error);

    if (rc == 0)
        rc = look(join, error);
    if (rc == 0)
        rc = db_cluster_look(join->base.cluster, &exists, error);
    if (rc)
        return rc;
    // With the copy there, the run that was killed had found its leader.
    *done = exists;
    rc = exists ? kta_nodes_active(join->nodes, &join->active, error) : find_leader(join, error);
    return rc ? rc : register_late(join, error);
}
