// SPDX-License-Identifier: Apache-2.0
// Using the token: the cluster's keys and settings, this node's certificate, the other nodes.
#include <stdlib.h>
#include <string.h>

#include "ktadmin/join.h"
#include "lib/file.h"
#include "lib/gpg.h"
#include "lib/json.h"
#include "lib/pki.h"
#include "lib/seal.h"

#define ADMIT_MS      60000
#define CONNECT_MS    5000
#define BUSY_US       15000000
#define DEAD_US       8000000 // a node that died answers nobody after a heartbeat or two
#define REMOVED_US    3000000
#define BUSY_PAUSE_MS 100
#define FILE_MAX      (1u << 20)
#define FILES_MAX     256
#define DEPTH_MAX     4
#define PEM_MAX       16384

static int broken(struct kt_error *error, const char *what)
{
    return kt_error_set(error, KT_ERR_PROTOCOL, "check that both sides have the same version",
                        "the token's node sent %s", what);
}

// --- the files of the confdir that all nodes share ---

// "ca/key.pem": plain names, which may have a dot only behind their beginning.
static int check_name(const char *name)
{
    static const char LETTERS[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-";
    int depth = 0;

    for (const char *at = name;; at++) {
        size_t n = strspn(at, LETTERS);
        if (n == 0 || at[0] == '.' || ++depth > DEPTH_MAX || (at[n] != '/' && at[n] != '\0'))
            return KT_ERR_PROTOCOL;
        at += n;
        if (*at == '\0')
            return 0;
    }
}

// The folders above a file.
static int make_folders(const struct kt_paths *paths, const char *name, struct kt_error *error)
{
    char folder[KT_PATH_MAX], inner[KT_PATH_MAX];
    int rc = 0;

    for (const char *slash = strchr(name, '/'); slash && rc == 0; slash = strchr(slash + 1, '/')) {
        if (slash - name >= KT_PATH_MAX)
            return broken(error, "a path that is too long");
        snprintf(inner, sizeof(inner), "%.*s", (int)(slash - name), name);
        rc = kt_path_join(folder, sizeof(folder), paths->confdir, inner);
        rc = rc ? rc : kt_dir_make(folder, 0700, error);
    }
    return rc;
}

// What was sealed for this node's key is written as it was read there.
static int write_bytes(const char *path, EVP_PKEY *key, const char *name, const uint8_t *bytes,
                       size_t n, struct kt_error *error)
{
    size_t end = strlen(name);
    int is_public = end >= 8 && strcmp(name + end - 8, "cert.pem") == 0, rc;
    struct kt_secret *text = NULL;

    if (!kt_seal_is_for_newcomer(name, n))
        return kt_file_replace(path, bytes, n, is_public ? 0644 : 0600, error);
    rc = kt_unseal(key, KT_SEAL_NEWCOMER, name, bytes, n, &text);
    if (rc)
        return broken(error, "a file that is not sealed for this node");
    rc = kt_file_replace(path, kt_secret_text(text), kt_secret_len(text), is_public ? 0644 : 0600,
                         error);
    kt_secret_free(text);
    return rc;
}

static int write_file(const struct kt_paths *paths, EVP_PKEY *key, const char *name,
                      const char *base64, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    size_t len = strlen(base64), size = len / 4 * 3 + 3, n = size;
    int rc;
    uint8_t *bytes = NULL;

    if (check_name(name) != 0 || n > FILE_MAX)
        return broken(error, "a file that a node does not take");
    bytes = malloc(size);
    if (!bytes)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    rc = kt_base64_decode(base64, len, bytes, &n);
    if (rc)
        rc = broken(error, "a file that is not base64");
    if (rc == 0)
        rc = make_folders(paths, name, error);
    if (rc == 0)
        rc = kt_path_join(path, sizeof(path), paths->confdir, name);
    if (rc == 0)
        rc = write_bytes(path, key, name, bytes, n, error);
    kt_wipe(bytes, size);
    free(bytes);
    return rc;
}

// The one that the token names.
static int find_named(const struct kta_join *join, X509 *offered, X509 **named)
{
    uint8_t sha256[KT_SHA256_LEN];

    for (size_t i = 0; i < kt_pki_ca_count(offered); i++) {
        X509 *cert = kt_pki_ca_at(offered, i);
        if (kt_pki_cert_sha256(cert, sha256) == 0 &&
            memcmp(sha256, join->token.ca_sha256, sizeof(sha256)) == 0)
            return kt_pki_ca_make(&cert, 1, named);
    }
    return KT_ERR_PROTOCOL;
}

// The CA must be the one that the token names, whatever else was checked; beside it nothing but what
// it vouches for: what stands in the file is trusted.
static int take_ca(const struct kta_join *join, const json_t *files, X509 **ca,
                   struct kt_error *error)
{
    const char *text = json_string_value(json_object_get(files, "ca/cert.pem"));
    X509 *offered = NULL, *named = NULL;
    uint8_t pem[PEM_MAX];
    size_t n = sizeof(pem);
    int rc = text ? kt_base64_decode(text, strlen(text), pem, &n) : KT_ERR_PROTOCOL;

    if (rc == 0)
        rc = kt_pki_ca_from_pem(pem, n, &offered);
    if (rc == 0)
        rc = find_named(join, offered, &named);
    if (rc == 0)
        rc = kt_pki_ca_choose(named, offered, 1, ca);
    X509_free(offered);
    X509_free(named);
    return rc ? broken(error, "another CA than the token's") : 0;
}

static int write_files(const struct kta_join *join, const json_t *answer, X509 *ca,
                       struct kt_error *error)
{
    json_t *files = json_object_get(answer, "files"), *value;
    const struct kt_paths *paths = &join->base.paths;
    EVP_PKEY *key = NULL;
    const char *name;
    int rc = json_object_size(files) > FILES_MAX ? broken(error, "too many files")
                                                 : make_folders(paths, "ca/cert.pem", error);

    if (rc == 0)
        rc = kt_pki_key_load(paths->node_key, &key, error);
    if (rc == 0)
        rc = kt_pki_ca_save(paths->ca_cert, ca, error);
    json_object_foreach(files, name, value)
    {
        if (rc == 0 && kt_path_is_shared(name) && strcmp(name, "ca/cert.pem") != 0)
            rc = json_is_string(value)
                     ? write_file(paths, key, name, json_string_value(value), error)
                     : broken(error, "a file that is no text");
    }
    EVP_PKEY_free(key);
    return rc;
}

// --- settings that must be equal, the identity, the other nodes ---

static int set_one(struct kt_settings *settings, const char *name, const char *text,
                   struct kt_error *error)
{
    for (int id = 0; id < KT_SET_COUNT; id++) {
        const struct kt_setting_info *info = kt_setting_info((enum kt_setting)id);
        char full[128];
        snprintf(full, sizeof(full), "%s.%s", info->section, info->name);
        if (strcmp(full, name) == 0)
            return kt_settings_set(settings, (enum kt_setting)id, text, error);
    }
    return broken(error, "a setting that is not known here");
}

static int take_settings(struct kta_join *join, const json_t *answer, struct kt_error *error)
{
    json_t *settings = json_object_get(answer, "settings"), *value;
    const char *name;
    int rc = 0, there;

    json_object_foreach(settings, name, value)
    {
        if (rc == 0)
            rc = json_is_string(value)
                     ? set_one(join->base.settings, name, json_string_value(value), error)
                     : broken(error, "a setting that is no text");
    }
    return rc ? rc : kta_init_settings(&join->base, &there, error);
}

static int take_identity(struct kta_join *join, const json_t *answer, struct kt_error *error)
{
    const json_t *cluster = json_object_get(answer, "cluster");
    const char *id = json_string_value(json_object_get(cluster, "cluster_id")),
               *fingerprint = json_string_value(json_object_get(cluster, "openpgp_fingerprint"));
    struct kt_uuid uuid;

    if (!id || kt_uuid_parse(id, &uuid) != 0 || !fingerprint ||
        strlen(fingerprint) >= KT_OPENPGP_FINGERPRINT_TEXT)
        return broken(error, "no identity of the cluster");
    json_object_set_new(join->state, "cluster_id", json_string(id));
    json_object_set_new(join->state, "openpgp_fingerprint", json_string(fingerprint));
    return 0;
}

// The others, and this node itself.
static int take_peers(struct kta_join *join, const json_t *answer, X509 *cert,
                      struct kt_error *error)
{
    struct kt_peers peers = {0}, self = {.count = 1};
    int rc = kt_peers_from_json(json_object_get(answer, "peers"), &peers, error);

    if (rc == 0)
        rc = kt_pki_cert_sha256(cert, join->self.cert_sha256);
    if (rc)
        return broken(error, "a list of nodes that cannot be read");
    self.peers[0] = join->self;
    if (kt_peers_merge(&peers, &self) < 0)
        return kt_error_set(error, KT_ERR_TOO_LARGE, "remove one first",
                            "the cluster has as many nodes as there may be");
    return kt_peers_save(join->base.paths.peers, &peers, error);
}

// This node's, for its key, of the CA.
static int take_certificate(struct kta_join *join, const json_t *answer, X509 *ca, X509 **cert,
                            struct kt_error *error)
{
    const char *pem = json_string_value(json_object_get(answer, "node_cert"));
    EVP_PKEY *key = NULL;
    int rc = kt_pki_key_load(join->base.paths.node_key, &key, error);

    if (rc)
        return rc;
    if (!pem || kt_pki_cert_from_pem(pem, strlen(pem), cert) != 0)
        rc = broken(error, "no certificate");
    else if (kt_pki_cert_check(*cert, ca, kt_time_now()) != 0 ||
             X509_check_private_key(*cert, key) != 1 || !kt_pki_is_node(*cert, join->self.member))
        rc = broken(error, "a certificate that is not this node's, or not good by this clock");
    EVP_PKEY_free(key);
    return rc;
}

// The certificate last: with it all else is there.
static int take_answer(struct kta_join *join, const json_t *answer, struct kt_error *error)
{
    X509 *cert = NULL, *ca = NULL;
    int rc = take_ca(join, json_object_get(answer, "files"), &ca, error);

    if (rc == 0)
        rc = take_certificate(join, answer, ca, &cert, error);
    if (rc == 0)
        rc = write_files(join, answer, ca, error);
    if (rc == 0)
        rc = take_identity(join, answer, error);
    if (rc == 0)
        rc = take_settings(join, answer, error);
    if (rc == 0)
        rc = take_peers(join, answer, cert, error);
    if (rc == 0) {
        json_object_set_new(join->state, "registered",
                            json_boolean(!json_is_false(json_object_get(answer, "registered"))));
        rc = kta_join_state_save(join, error);
    }
    if (rc == 0)
        rc = kt_pki_cert_save(join->base.paths.node_cert, cert, ca, error);
    X509_free(cert);
    X509_free(ca);
    return rc;
}

static int make_request(const struct kta_join *join, json_t **args, struct kt_error *error)
{
    struct kt_buf csr = KT_BUF_INIT(PEM_MAX);
    EVP_PKEY *key = NULL;
    int rc = kt_pki_key_load(join->base.paths.node_key, &key, error);

    if (rc)
        return rc;
    rc = kt_pki_csr_make(key, &csr);
    if (rc == 0) {
        *args = json_pack("{s:s, s:s, s:s%, s:s, s:i, s:i, s:i}", "node", join->base.info.node,
                          "member", join->self.member, "csr", (const char *)kt_buf_ptr(&csr),
                          kt_buf_left(&csr), "address", join->self.address, "agent_port",
                          (int)join->self.agent_port, "database_port",
                          (int)join->self.database_port, "https_port", (int)join->self.https_port);
        rc = *args ? 0 : KT_ERR_NO_MEMORY;
    }
    if (rc)
        kt_error_set(error, rc, NULL, "cannot make the request");
    EVP_PKEY_free(key);
    kt_buf_free(&csr);
    return rc;
}

// The node may be at work on somebody else's order; it says so before it uses the token. And
// it may not have noticed yet that the node of this name is removed, or dead: the token is
// good for the same newcomer again.
static int ask(const struct kta_join *join, struct kt_node *node, json_t **answer,
               struct kt_error *error)
{
    int64_t begun = kt_monotonic_now(), until = begun + BUSY_US;
    int64_t known = begun + (join->restores ? DEAD_US : REMOVED_US);
    json_t *args = NULL;
    int rc = make_request(join, &args, error);

    while (rc == 0) {
        rc = kt_node_call(node, "join.begin", json_incref(args), CONNECT_MS, ADMIT_MS, answer,
                          error);
        if ((rc != KT_ERR_BUSY || kt_monotonic_now() > until) &&
            (rc != KT_ERR_EXISTS || kt_monotonic_now() > known))
            break;
        kta_pause_ms(BUSY_PAUSE_MS);
        rc = 0;
    }
    json_decref(args);
    return rc;
}

// So that the next run may be given another name.
static void note_refused(struct kta_join *join)
{
    json_object_set_new(join->state, "refused", json_true());
    (void)!kta_join_state_save(join, NULL);
}

int kta_join_admit(struct kta_join *join, int *done, struct kt_error *error)
{
    const struct kt_node_credentials credentials = {.ca_sha256 = join->token.ca_sha256,
                                                    .token = join->token_text};
    struct kt_node *node = NULL;
    json_t *answer = NULL;
    int rc;

    *done = kt_file_exists(join->base.paths.node_cert);
    if (*done)
        return 0;
    rc = kt_node_remote(join->token.host, join->token.port, &credentials, &node, error);
    if (rc == 0)
        rc = ask(join, node, &answer, error);
    if (rc == 0)
        rc = take_answer(join, answer, error);
    else if (rc == KT_ERR_EXISTS || rc == KT_ERR_INVALID)
        note_refused(join);
    json_decref(answer);
    kt_node_free(node);
    return rc;
}

int kta_join_server(struct kta_join *join, int *done, struct kt_error *error)
{
    return kta_init_server(&join->base, done, error);
}

// cluster.json, then that the OpenPGP key which came is the one it names.
int kta_join_identity(struct kta_join *join, int *done, struct kt_error *error)
{
    struct kt_cluster_info *info = &join->base.info;
    const char *id = json_string_value(json_object_get(join->state, "cluster_id")),
               *fingerprint =
                   json_string_value(json_object_get(join->state, "openpgp_fingerprint"));
    int there, rc;

    if (!id || !fingerprint || kt_uuid_parse(id, &info->cluster_id) != 0)
        return kt_error_set(error, KT_ERR_NOT_OURS, "remove the folder and join again",
                            "'%s' has no cluster", KTA_JOIN_NOTE);
    snprintf(info->openpgp_fingerprint, sizeof(info->openpgp_fingerprint), "%s", fingerprint);
    rc = kta_init_cluster_info(&join->base, done, error);
    if (rc == 0) // with the file there it only looks
        rc = kta_init_openpgp(&join->base, &there, error);
    if (rc == 0 && strcmp(info->openpgp_fingerprint, fingerprint) != 0)
        rc = broken(error, "another OpenPGP key than it names");
    return rc;
}
