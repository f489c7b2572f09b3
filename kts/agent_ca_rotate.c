// SPDX-License-Identifier: Apache-2.0
// Replacing the CA: the active makes the next one and hands it to the other nodes; each takes it
// only from the active that it knows, and only when its own CA vouches for it.
#include "kts/agent_ca_rotate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "kts/agent_join.h"
#include "kts/agent_peers.h"
#include "lib/ca.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/pki.h"
#include "lib/secret.h"

#define KEY_MAX       4096
#define SET_MAX       32768
#define CONNECT_MS    1000
#define TAKE_MS       15000
#define BUSY_US       10000000 // a node that is at work on something else is asked again so long
#define BUSY_MS       200
#define HAND_AGAIN_US 5000000 // between attempts to hand it to a node that was away

// --- what this node has ---

static json_t *roots_json(X509 *ca)
{
    json_t *list = json_array();
    uint8_t sha256[KT_SHA256_LEN];
    char hex[KT_SHA256_TEXT];

    for (size_t i = 0; i < kt_pki_ca_count(ca); i++) {
        X509 *cert = kt_pki_ca_at(ca, i);
        if ((i > 0 && !kt_pki_is_root(cert)) || kt_pki_cert_sha256(cert, sha256))
            continue;
        kt_hex_encode(sha256, sizeof(sha256), hex);
        json_array_append_new(list, json_string(hex));
    }
    return list;
}

json_t *kts_ca_state(const struct kts_agent *agent)
{
    char since[KT_TIME_TEXT], until[KT_TIME_TEXT];

    kt_time_format(agent->ca_since_us, since);
    kt_time_format(agent->ca_until_us, until);
    return json_pack("{s:s, s:s, s:s, s:b, s:O?}", "phase", kt_ca_phase_name(agent->ca_phase),
                     "since", since, "until", until, "renew", agent->ca_outlived, "roots",
                     agent->ca_roots);
}

// 1 when one of the node's certificates is of an older root than the one that signs. One of another
// CA is not ours to renew.
static int uses_older(const struct kt_paths *paths, X509 *ca)
{
    const char *const files[] = {paths->node_cert, paths->server_cert};
    X509 *first = NULL;
    int is_older = 0;

    if (kt_pki_ca_count(ca) == 1 || kt_pki_ca_make(&ca, 1, &first))
        return 0;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        X509 *cert = NULL;
        if (kt_pki_cert_load(files[i], &cert, NULL) == 0)
            is_older |= kt_pki_cert_check(cert, first, 0) == KT_ERR_CERTIFICATE_UNKNOWN_CA &&
                        kt_pki_cert_check(cert, ca, 0) != KT_ERR_CERTIFICATE_UNKNOWN_CA;
        X509_free(cert);
    }
    X509_free(first);
    return is_older;
}

int kts_agent_load_ca(struct kts_agent *agent, struct kt_error *error)
{
    const struct kt_paths *paths = agent->start->paths;
    int64_t not_before, not_after = 0, since_us = 0, until_us = 0;
    uint8_t sha256[KT_SHA256_LEN];
    enum kt_ca_phase phase = KT_CA_ONE;
    EVP_PKEY *key = NULL;
    X509 *ca = NULL;
    struct stat st = {0};
    int rc = kt_ca_mend(paths, error);

    (void)!stat(paths->ca_cert, &st); // before it is read
    if (rc == 0)
        rc = kt_pki_key_load(paths->ca_key, &key, error);
    if (rc == 0)
        rc = kt_pki_ca_load(paths->ca_cert, &ca, error);
    if (rc == 0)
        rc = kt_ca_look(paths, &phase, &since_us, &until_us, error);
    if (rc == 0 &&
        (kt_pki_cert_sha256(ca, sha256) || kt_pki_cert_validity(ca, &not_before, &not_after)))
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "the CA certificate cannot be read");
    if (rc) {
        EVP_PKEY_free(key);
        X509_free(ca);
        return rc;
    }
    EVP_PKEY_free(agent->ca_key);
    X509_free(agent->ca_cert);
    json_decref(agent->ca_roots);
    agent->ca_key = key;
    agent->ca_cert = ca;
    agent->ca_roots = roots_json(ca);
    agent->ca_not_after_us = not_after;
    agent->ca_inode = st.st_ino;
    agent->ca_phase = phase;
    agent->ca_since_us = since_us;
    agent->ca_until_us = until_us;
    agent->ca_outlived = uses_older(paths, ca);
    memcpy(agent->ca_sha256, sha256, sizeof(sha256));
    return 0;
}

// --- files, and PostgreSQL, which reads them too ---

static int reload_database(const struct kts_job *job, struct kt_error *error)
{
    struct db_cluster *cluster = NULL;
    int rc = db_cluster_open(job->start->paths, job->start->settings, &cluster, error);

    if (rc == 0)
        rc = db_reload_certificates(cluster, error);
    db_cluster_close(cluster);
    return rc;
}

static int done(const struct kts_job *job, int rc, json_t **result, struct kt_error *error)
{
    if (rc == 0)
        rc = reload_database(job, error);
    if (rc == 0)
        *result = json_object();
    return rc;
}

static int job_begin(struct kts_job *job, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    uint32_t role = atomic_load(&job->status->role);
    char cluster_id[KT_UUID_TEXT];
    int rc = 0;

    (void)args;
    if (role != KTS_ROLE_ACTIVE && role != KTS_ROLE_STANDALONE && role != KTS_ROLE_UNESTABLISHED)
        rc = kt_error_set(error, KT_ERR_PASSIVE, NULL, "this node is not the active");
    kt_uuid_format(&job->start->info->cluster_id, cluster_id);
    if (rc == 0)
        rc = kt_ca_begin(job->start->paths, cluster_id, KT_CA_LIFETIME_S, error);
    return done(job, rc, result, error);
}

static int job_use(struct kts_job *job, const json_t *args, json_t **result, struct kt_error *error)
{
    (void)args;
    return done(job, kt_ca_use(job->start->paths, error), result, error);
}

static int job_take(struct kts_job *job, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    const char *key_pem = NULL, *set_pem = NULL;
    EVP_PKEY *key = NULL;
    X509 *set = NULL;
    int rc = kt_json_string(args, "key", 1, KEY_MAX, &key_pem, error);

    if (rc == 0)
        rc = kt_json_string(args, "certificates", 1, SET_MAX, &set_pem, error);
    if (rc == 0 && (kt_pki_key_from_pem(key_pem, strlen(key_pem), &key) ||
                    kt_pki_ca_from_pem(set_pem, strlen(set_pem), &set)))
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "the next CA cannot be read");
    if (rc == 0)
        rc = kt_ca_take(job->start->paths, key, set, error);
    if (rc == 0 && json_is_true(json_object_get(args, "use")))
        rc = kt_ca_use(job->start->paths, error);
    EVP_PKEY_free(key);
    X509_free(set);
    return done(job, rc, result, error);
}

// From the active alone: any other listed node could put a CA of its own in place of the cluster's.
static int run_take(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {"key", "certificates", "use", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    const struct kt_peer *active;
    int here = 0, rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc)
        return rc;
    active = kts_join_find_active(agent, &here);
    if (here || !active || strcmp(active->member, kts_call_member(call)) != 0)
        return kt_error_set(error, KT_ERR_NOT_MEMBER, "run ktadmin rotate --ca on the active",
                            "a CA is taken from the active only, and '%s' is not known as that",
                            kts_call_member(call));
    return kts_job_start(call, "ca.take", job_take, KTS_JOB_ALONE, args, error);
}

// This process, and by the master all others.
static int load_everywhere(struct kts_agent *agent, struct kt_error *error)
{
    int rc = kts_agent_load_ca(agent, error);

    if (rc == 0 && kts_control_send(agent->start->control_fd, KTS_CTL_RELOAD, NULL, 0, -1))
        rc = kt_error_set(error, KT_ERR_NOT_RUNNING, "send SIGHUP to kts, then run it again",
                          "the master does not listen");
    return rc;
}

static int run_load(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    int rc = load_everywhere(kts_call_agent(call), error);

    (void)args;
    if (rc == 0)
        *result = json_object();
    return rc;
}

void kts_ca_look(struct kts_agent *agent)
{
    struct kt_error why = {0};
    struct stat st = {0};

    if (stat(agent->start->paths->ca_cert, &st) || agent->ca_inode == 0 ||
        st.st_ino == agent->ca_inode)
        return;
    agent->ca_inode = st.st_ino; // whatever becomes of it: not again for the same file
    if (load_everywhere(agent, &why))
        kt_log_error(&why, "the CA stays as it was");
}

// --- handing it over ---

// What ca.take is asked with. The key is that of the newest root, which is next-key.pem until it is
// in use. NULL: no memory, or no key.
static json_t *take_args(const struct kt_paths *paths, int use, struct kt_error *error)
{
    const char *file = kt_file_exists(paths->ca_next_key) ? paths->ca_next_key : paths->ca_key;
    struct kt_secret *key = NULL;
    json_t *args = NULL;
    char *set = NULL;

    if (kt_secret_from_file(file, KEY_MAX, 0, &key, error) == 0 &&
        kt_file_read_text(paths->ca_cert, SET_MAX, &set, error) == 0)
        args = json_pack("{s:s, s:s, s:b}", "key", kt_secret_text(key), "certificates", set, "use",
                         use);
    kt_secret_free(key);
    free(set);
    return args;
}

static int ask(struct kt_node *node, const char *verb, const json_t *args, struct kt_error *error)
{
    int64_t until_us = kt_monotonic_now() + BUSY_US;

    for (;;) {
        const struct timespec pause = {.tv_nsec = BUSY_MS * 1000000};
        json_t *answer = NULL;
        int rc =
            kt_node_call(node, verb, json_deep_copy(args), CONNECT_MS, TAKE_MS, &answer, error);
        json_decref(answer);
        if (rc != KT_ERR_BUSY || kt_monotonic_now() > until_us)
            return rc;
        nanosleep(&pause, NULL);
    }
}

static int hand_to(const struct kts_job *job, const struct kt_peer *peer, const json_t *take,
                   struct kt_error *error)
{
    struct kt_node_credentials credentials = job->credentials;
    struct kt_node *node = NULL;
    json_t *nothing = json_object();
    int rc;

    credentials.member = peer->member;
    rc = kt_node_remote(peer->address, peer->agent_port, &credentials, &node, error);
    if (rc == 0)
        rc = ask(node, "ca.take", take, error);
    if (rc == 0)
        rc = ask(node, "ca.load", nothing, error);
    json_decref(nothing);
    kt_node_free(node);
    return rc;
}

// Arguments: "peers", "use". The answer: {"failed": [{"member", "why"}]}.
static int job_hand(struct kts_job *job, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static struct kt_peers peers;
    json_t *failed = json_array();
    json_t *take = take_args(job->start->paths, json_is_true(json_object_get(args, "use")), error);
    int rc = take          ? kt_peers_from_json(json_object_get(args, "peers"), &peers, error)
             : error->code ? error->code
                           : KT_ERR_NO_MEMORY;

    for (size_t i = 0; rc == 0 && i < peers.count; i++) {
        struct kt_error why = {0};
        if (hand_to(job, &peers.peers[i], take, &why) == 0)
            continue;
        kt_log_error(&why, "the next CA is not handed to '%s'", peers.peers[i].member);
        json_array_append_new(
            failed, json_pack("{s:s, s:s}", "member", peers.peers[i].member, "why", why.message));
    }
    json_decref(take);
    if (rc == 0)
        *result = json_pack("{s:O}", "failed", failed);
    json_decref(failed);
    return rc;
}

static int is_left_out(const json_t *without, const char *member)
{
    char node[KT_NODE_NAME_MAX + 1];
    json_t *one;
    size_t i;

    kt_member_node(member, node);
    json_array_foreach(without, i, one)
    {
        const char *name = json_string_value(one);
        if (name && (strcmp(name, node) == 0 || strcmp(name, member) == 0))
            return 1;
    }
    return 0;
}

// Every listed node but this one and those of `without`; or that member alone, unless NULL.
static json_t *hand_args(const struct kts_agent *agent, const json_t *without, const char *only,
                         int use)
{
    const struct kt_peer *own = kts_agent_own_peer(agent);
    const struct kt_peers *list = kts_agent_peers(agent);
    static struct kt_peers to;

    to.count = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct kt_peer *peer = &list->peers[i];
        if (peer->removed || (own && strcmp(peer->member, own->member) == 0) ||
            is_left_out(without, peer->member) || (only && strcmp(only, peer->member) != 0))
            continue;
        to.peers[to.count++] = *peer;
    }
    return json_pack("{s:o, s:b}", "peers", kt_peers_to_json(&to), "use", use);
}

static int run_hand(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {"without", "use", NULL};
    struct kts_agent *agent = kts_call_agent(call);
    json_t *with;
    int here = 0, rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc)
        return rc;
    (void)!kts_join_find_active(agent, &here);
    if (!here)
        return kt_error_set(error, KT_ERR_PASSIVE, NULL, "this node is not the active");
    with = hand_args(agent, json_object_get(args, "without"), NULL,
                     json_is_true(json_object_get(args, "use")));
    rc = with ? kts_job_start(call, "ca.hand", job_hand, KTS_JOB_ALONE, with, error)
              : kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    json_decref(with);
    return rc;
}

void kts_ca_hear(struct kts_agent *agent, const char *member, const json_t *state)
{
    static int64_t tried_us;
    const json_t *theirs = json_object_get(json_object_get(state, "ca"), "roots");
    struct kt_error why = {0};
    json_t *args;
    int here = 0;

    if (agent->ca_phase != KT_CA_BOTH || !theirs || json_equal(theirs, agent->ca_roots) ||
        kt_monotonic_now() < tried_us + HAND_AGAIN_US)
        return;
    (void)!kts_join_find_active(agent, &here);
    if (!here)
        return;
    tried_us = kt_monotonic_now();
    args = hand_args(agent, NULL, member, 1);
    if (args && kts_job_start_own(agent, "the agent", "ca.hand", job_hand, 0, args, &why))
        kt_log_error(&why, "'%s' has not heard of the cluster's CA", member);
    json_decref(args);
}

const struct kts_verb kts_ca_verbs[] = {
    {"ca.begin", KTS_CALLER_LOCAL, KTS_JOB_ALONE | KTS_VERB_CLOSED, NULL, job_begin, "ca.begin"},
    {"ca.hand", KTS_CALLER_LOCAL, KTS_VERB_CLOSED, run_hand, NULL, "ca.hand"},
    {"ca.take", KTS_CALLER_NODE, KTS_VERB_CLOSED, run_take, NULL, "ca.take"},
    {"ca.use", KTS_CALLER_LOCAL, KTS_JOB_ALONE | KTS_VERB_CLOSED, NULL, job_use, "ca.use"},
    {"ca.load", KTS_CALLER_LOCAL | KTS_CALLER_NODE, 0, run_load, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
