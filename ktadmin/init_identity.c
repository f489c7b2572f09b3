// SPDX-License-Identifier: Apache-2.0
// The first steps of init: folders, settings, who the cluster and the node are, the promise.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/replication.h"
#include "ktadmin/init.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"

#define STATE_FILE  "init.json"
#define LOCK_FILE   "init.lock"
#define STATE_MAX   4096
#define FIRST_EPOCH 1

// Two runs at a time would each make half of the keys.
int kta_init_lock(struct kta_init *init, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = kt_path_join(path, sizeof(path), init->paths.confdir, LOCK_FILE);

    return rc ? kt_error_set(error, rc, "choose a shorter confdir", "a path is too long")
              : kt_file_lock(path, &init->lock_fd, error);
}

int kta_init_folders(struct kta_init *init, int *done, struct kt_error *error)
{
    const struct kt_paths *paths = &init->paths;
    const char *const folders[] = {paths->base, paths->confdir, paths->node,   paths->audit,
                                   paths->logs, paths->run,     paths->secrets};
    static const char *const INNER[] = {"ca", "tls", "receipt"};
    char path[KT_PATH_MAX];
    int rc = 0;

    *done = 1;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && rc == 0; i++) {
        *done &= kt_file_exists(folders[i]);
        rc = kt_dir_make(folders[i], 0700, error);
    }
    for (size_t i = 0; i < sizeof(INNER) / sizeof(INNER[0]) && rc == 0; i++) {
        rc = kt_path_join(path, sizeof(path), paths->confdir, INNER[i]);
        if (rc)
            return kt_error_set(error, rc, "choose a shorter confdir", "a path is too long");
        *done &= kt_file_exists(path);
        rc = kt_dir_make(path, 0700, error);
    }
    return rc ? rc : kta_init_lock(init, error);
}

int kta_init_settings(struct kta_init *init, int *done, struct kt_error *error)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out;
    int rc;

    *done = kt_file_exists(init->paths.settings);
    if (*done)
        return 0;
    out = open_memstream(&text, &n);
    rc = out ? kt_settings_write_sample(init->settings, out) : KT_ERR_NO_MEMORY;
    if (out && fclose(out) != 0)
        rc = KT_ERR_NO_MEMORY;
    if (rc)
        kt_error_set(error, rc, NULL, "cannot make the text of the settings file");
    else
        rc = kt_file_create(init->paths.settings, text, n, 0600, error);
    free(text);
    return rc;
}

int kta_init_state_load(const struct kt_paths *paths, struct kt_cluster_info *info,
                        struct kt_error *error)
{
    const char *id = NULL, *node = NULL;
    char path[KT_PATH_MAX], *text = NULL;
    json_t *object = NULL;
    int rc = kt_path_join(path, sizeof(path), paths->confdir, STATE_FILE);

    memset(info, 0, sizeof(*info));
    if (rc == 0)
        rc = kt_file_read_text(path, STATE_MAX, &text, error);
    if (rc)
        return rc;
    if (kt_json_parse_object(text, strlen(text), &object, NULL) != 0 ||
        kt_json_string(object, "cluster_id", 1, 64, &id, NULL) != 0 ||
        kt_json_string(object, "node", 1, KT_NODE_NAME_MAX, &node, NULL) != 0 ||
        kt_uuid_parse(id, &info->cluster_id) != 0 || kt_name_check(node, KT_NODE_NAME_MAX) != 0)
        rc = kt_error_set(error, KT_ERR_NOT_OURS, "move it away", "'%s' is not init's", path);
    else
        memcpy(info->node, node, strlen(node) + 1);
    json_decref(object);
    free(text);
    return rc;
}

static int state_create(const struct kt_paths *paths, const struct kt_cluster_info *info,
                        struct kt_error *error)
{
    char id[KT_UUID_TEXT], text[256], path[KT_PATH_MAX];
    int n, rc = kt_path_join(path, sizeof(path), paths->confdir, STATE_FILE);

    kt_uuid_format(&info->cluster_id, id);
    n = snprintf(text, sizeof(text), "{\n  \"cluster_id\": \"%s\",\n  \"node\": \"%s\"\n}\n", id,
                 info->node);
    return rc ? rc : kt_file_create(path, text, (size_t)n, 0600, error);
}

int kta_init_names(struct kta_init *init, int *done, struct kt_error *error)
{
    struct kt_cluster_info *info = &init->info;
    int rc = kt_file_exists(init->paths.cluster)
                 ? kt_cluster_info_load(init->paths.cluster, info, error)
                 : kta_init_state_load(&init->paths, info, error);

    *done = rc == 0;
    if (rc == 0 && kt_cli_value(init->run, "node") && strcmp(init->node, info->node) != 0)
        return kt_error_set(error, KT_ERR_EXISTS, "leave --node out; a node keeps its name",
                            "this node is named '%s' already", info->node);
    if (rc != KT_ERR_NOT_FOUND)
        return rc;
    memset(info, 0, sizeof(*info));
    memcpy(info->node, init->node, sizeof(info->node));
    rc = kt_uuid_random(&info->cluster_id);
    if (rc)
        return kt_error_set(error, rc, NULL, "no random bytes for the cluster id");
    return state_create(&init->paths, info, error);
}

// The first promise of the first node: it is active in epoch 1 of a new incarnation.
static int new_promise(const struct kt_cluster_info *info, struct kt_promise *promise,
                       struct kt_error *error)
{
    int rc;

    memset(promise, 0, sizeof(*promise));
    rc = kt_member_new(info->node, promise->member);
    if (rc == 0)
        rc = kt_random(&promise->incarnation.bits, sizeof(promise->incarnation.bits));
    if (rc)
        return kt_error_set(error, rc, NULL, "no random bytes for the member id");
    promise->incarnation.number = 1;
    promise->epoch = FIRST_EPOCH;
    memcpy(promise->active, info->node, strlen(info->node) + 1);
    promise->active_since = FIRST_EPOCH;
    return 0;
}

int kta_init_promise(struct kta_init *init, int *done, struct kt_error *error)
{
    size_t n = strlen(init->info.node);
    int rc;

    *done = kt_file_exists(init->paths.promise);
    if (*done) {
        rc = kt_promise_load(init->paths.promise, &init->promise, error);
        if (rc == 0 && (strncmp(init->promise.member, init->info.node, n) != 0 ||
                        init->promise.member[n] != '.'))
            rc = kt_error_set(error, KT_ERR_NOT_OURS, "check --confdir",
                              "the promise file '%s' is of member '%s', this is node '%s'",
                              init->paths.promise, init->promise.member, init->info.node);
        return rc;
    }
    rc = new_promise(&init->info, &init->promise, error);
    return rc ? rc : kt_promise_save(init->paths.promise, &init->promise, error);
}

// The node's own entry; those of the others come with them.
static int make_peer(const struct kta_init *init, struct kt_peer *peer, struct kt_error *error)
{
    const char *address = kt_settings_text(init->settings, KT_SET_NODE_ADDRESS);
    const char *listens = kt_settings_text(init->settings, KT_SET_HTTPS_ADDRESS);
    char host[KT_HOST_MAX + 1] = "";
    X509 *cert = NULL;
    int rc = kt_pki_cert_load(init->paths.node_cert, &cert, error);

    memset(peer, 0, sizeof(*peer));
    if (rc == 0 && kt_pki_cert_sha256(cert, peer->cert_sha256) != 0)
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "cannot hash the node's certificate");
    X509_free(cert);
    if (rc)
        return rc;
    if (*address == '\0' && strcmp(listens, "0.0.0.0") != 0 && strcmp(listens, "::") != 0)
        address = listens;
    if (*address == '\0') {
        if (gethostname(host, sizeof(host) - 1) != 0)
            return kt_error_errno(error, "cannot learn the host's name");
        address = host;
    }
    snprintf(peer->address, sizeof(peer->address), "%s", address);
    memcpy(peer->member, init->promise.member, sizeof(peer->member));
    peer->agent_port = (uint16_t)kt_settings_number(init->settings, KT_SET_AGENT_PORT);
    peer->database_port = (uint16_t)kt_settings_number(init->settings, KT_SET_DATABASE_PORT);
    peer->https_port = (uint16_t)kt_settings_number(init->settings, KT_SET_HTTPS_PORT);
    peer->revision = 1;
    return 0;
}

int kta_init_node_files(struct kta_init *init, int *done, struct kt_error *error)
{
    struct db_replication replication = {.mode = DB_MODE_ACTIVE}; // without members
    struct kt_peers peers = {0};
    int rc = 0;

    *done = 1;
    if (!kt_file_exists(init->paths.peers)) {
        *done = 0;
        rc = make_peer(init, &peers.peers[0], error);
        peers.count = 1;
        if (rc == 0)
            rc = kt_peers_save(init->paths.peers, &peers, error);
    }
    if (rc == 0 && !kt_file_exists(init->paths.replication)) {
        *done = 0;
        rc = db_replication_save(&init->paths, &replication, error);
    }
    return rc;
}

int kta_init_cluster_info(struct kta_init *init, int *done, struct kt_error *error)
{
    struct kt_cluster_info there;
    int rc;

    *done = kt_file_exists(init->paths.cluster);
    if (!*done)
        return kt_cluster_info_save(init->paths.cluster, &init->info, error);
    rc = kt_cluster_info_load(init->paths.cluster, &there, error);
    if (rc == 0 && strcmp(there.openpgp_fingerprint, init->info.openpgp_fingerprint) != 0)
        rc = kt_error_set(error, KT_ERR_NOT_OURS, "restore the confdir from a backup",
                          "'%s' names the OpenPGP key %s, the keyring has %s", init->paths.cluster,
                          there.openpgp_fingerprint, init->info.openpgp_fingerprint);
    return rc;
}

int kta_init_finish(struct kta_init *init, struct kt_error *error)
{
    char path[KT_PATH_MAX];

    if (kt_path_join(path, sizeof(path), init->paths.confdir, STATE_FILE) == 0 &&
        unlink(path) != 0 && kt_file_exists(path))
        return kt_error_errno(error, "cannot remove '%s'", path);
    return kt_dir_sync(init->paths.confdir, error);
}

void kta_init_unlock(struct kta_init *init)
{
    char path[KT_PATH_MAX];

    if (init->lock_fd < 0)
        return;
    // Removed while it is held: whoever waits for it looks whether it still has its name.
    if (kt_path_join(path, sizeof(path), init->paths.confdir, LOCK_FILE) == 0)
        (void)unlink(path);
    close(init->lock_fd);
    init->lock_fd = -1;
}
