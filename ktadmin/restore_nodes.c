// SPDX-License-Identifier: Apache-2.0
// The nodes of the cluster that was: whether one still serves, and that none goes on in its old
// history once there is a new one.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ktadmin/restore.h"
#include "lib/file.h"
#include "lib/json.h"

#define SEAL_MS 60000

// The node's old certificate lets it in with the others. libcurl wants files: these exist in memory
// only, as long as this process.
static int memory_file(const struct kta_kept *kept, char path[64], struct kt_error *error)
{
    int fd = memfd_create("identity", MFD_CLOEXEC);

    if (fd < 0 || kt_write_all(fd, kept->text, kept->n) != 0)
        return kt_error_errno(error, "cannot hold the node's old certificate in memory");
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return 0;
}

static int open_nodes(struct kta_restore *restore, const struct kt_peers *peers,
                      struct kt_error *error)
{
    static char key[64], cert[64]; // as long as the nodes
    struct kta_nodes *nodes = calloc(1, sizeof(*nodes));
    int rc = nodes ? 0 : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");

    if (rc)
        return rc;
    restore->nodes = nodes;
    nodes->own.paths = restore->init.paths;
    snprintf(nodes->skip, sizeof(nodes->skip), "%s", restore->init.promise.member);
    nodes->credentials.ca_file = restore->init.paths.ca_cert;
    if (restore->kept[KTA_KEPT_NODE_KEY].text && restore->kept[KTA_KEPT_NODE_CERT].text) {
        rc = memory_file(&restore->kept[KTA_KEPT_NODE_KEY], key, error);
        if (rc == 0)
            rc = memory_file(&restore->kept[KTA_KEPT_NODE_CERT], cert, error);
        nodes->credentials.key_file = key;
        nodes->credentials.cert_file = cert;
    }
    for (size_t i = 0; i < peers->count && rc >= 0; i++)
        if (!peers->peers[i].removed)
            rc = kta_nodes_add(nodes, &peers->peers[i], error);
    return rc < 0 ? rc : 0;
}

static const char *role_of(const struct kta_member *member)
{
    return member->state ? kta_state_text(member, "role") : "does not let this node in";
}

static int may_go_on(struct kta_restore *restore, const char *who, struct kt_error *error)
{
    char id[KT_UUID_TEXT], what[512];

    if (!restore->accepts_loss)
        return kt_error_set(
            error, KT_ERR_EXISTS,
            "its data is newer than the backup: ktadmin failover, or ktadmin restore --from TOKEN; "
            "to give up what it has: --accept-loss",
            "the cluster is alive: %s", who);
    kt_uuid_format(&restore->file.manifest.cluster_id, id);
    snprintf(
        what, sizeof(what),
        "The cluster is alive: %.200s. What it acknowledged after the backup was made is given "
        "up for ever.",
        who);
    return kta_confirm_cluster(restore->init.run, id, what, error);
}

int kta_restore_look(struct kta_restore *restore, const struct kt_peers *peers,
                     struct kt_error *error)
{
    char who[256] = "";
    size_t at = 0;
    int rc = open_nodes(restore, peers, error);

    if (rc)
        return rc;
    (void)!kta_nodes_look(restore->nodes, NULL); // that none answers is what is hoped for
    for (size_t i = 0; i < restore->nodes->count; i++) {
        const struct kta_member *member = &restore->nodes->list[i];
        if (!member->state && !kta_member_refuses(member))
            continue;
        restore->answered++;
        if (at + 64 < sizeof(who))
            at += (size_t)snprintf(who + at, sizeof(who) - at, "%s%s (%s)", at ? ", " : "",
                                   member->name, role_of(member));
    }
    return restore->answered > 0 ? may_go_on(restore, who, error) : 0;
}

int kta_restore_seal(struct kta_restore *restore, struct kt_error *error)
{
    char incarnation[KT_INCARNATION_TEXT];
    json_t *args;
    int rc = 0;

    kt_incarnation_format(&restore->incarnation, incarnation);
    for (size_t i = 0; restore->nodes && i < restore->nodes->count && rc == 0; i++) {
        const struct kta_member *member = &restore->nodes->list[i];
        json_t *result = NULL;
        struct kt_error why = {0};
        if (!member->state && !kta_member_refuses(member))
            continue;
        args = json_pack("{s:s, s:I, s:s}", "incarnation", incarnation, "epoch",
                         (json_int_t)restore->epoch, "target", restore->init.info.node);
        rc = kta_nodes_call_when_free(restore->nodes, i, "node.seal", args, SEAL_MS, &result, &why);
        json_decref(result);
        if (rc)
            rc = kt_error_set(error, rc, "stop that node's services, then run this again",
                              "%s answers and cannot be sealed: %.300s", member->name, why.message);
        else
            restore->sealed++;
    }
    return rc;
}
