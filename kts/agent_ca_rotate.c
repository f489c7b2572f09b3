// SPDX-License-Identifier: Apache-2.0
// Replacing the CA: the active makes the next one; each node takes it only from the active that it
// knows, and only when its own CA vouches for it.
#include "kts/agent_ca_rotate.h"

#include <string.h>
#include <sys/stat.h>

#include "kts/agent_join.h"
#include "kts/agent_seal.h"
#include "lib/ca.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/pki.h"

#define SET_MAX 32768

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

static json_t *ended_json(X509 *ca)
{
    json_t *list = json_array();
    uint8_t sha256[KT_SHA256_LEN];
    char hex[KT_SHA256_TEXT];

    for (size_t i = 1; i < kt_pki_ca_count(ca); i++) {
        X509 *link = kt_pki_ca_at(ca, i);
        if (kt_pki_link_kind(link) != KT_PKI_LINK_END ||
            kt_pki_key_sha256(X509_get0_pubkey(link), sha256))
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
    return json_pack("{s:s, s:s, s:s, s:b, s:O?, s:O?, s:b, s:I}", "phase",
                     kt_ca_phase_name(agent->ca_phase), "since", since, "until", until, "renew",
                     agent->ca_outlived, "roots", agent->ca_roots, "ended", agent->ca_ended, "cut",
                     kts_ca_cut_is_done(agent), "sessions", agent->ca_cut.ended);
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
                        (kt_pki_cert_check(cert, ca, 0) != KT_ERR_CERTIFICATE_UNKNOWN_CA ||
                         kt_pki_is_of_ended(cert, ca));
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
    json_t *ended_before = agent->ca_ended;
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
    agent->ca_ended = ended_json(ca);
    agent->ca_not_after_us = not_after;
    agent->ca_file = st;
    agent->ca_phase = phase;
    agent->ca_since_us = since_us;
    agent->ca_until_us = until_us;
    agent->ca_outlived = uses_older(paths, ca);
    memcpy(agent->ca_sha256, sha256, sizeof(sha256));
    kts_ca_cut_want(agent, ended_before);
    json_decref(ended_before);
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

int kts_ca_done(const struct kts_job *job, int rc, json_t **result, struct kt_error *error)
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
    return kts_ca_done(job, rc, result, error);
}

static int job_use(struct kts_job *job, const json_t *args, json_t **result, struct kt_error *error)
{
    (void)args;
    return kts_ca_done(job, kt_ca_use(job->start->paths, error), result, error);
}

static int job_take(struct kts_job *job, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    const char *sealed = NULL, *set_pem = NULL;
    struct kt_secret *key_pem = NULL;
    EVP_PKEY *key = NULL;
    X509 *set = NULL;
    int rc = kt_json_string(args, "sealed", 1, KTS_SEALED_MAX, &sealed, error);

    if (rc == 0)
        rc = kt_json_string(args, "certificates", 1, SET_MAX, &set_pem, error);
    if (rc == 0)
        rc = kts_seal_open(job->start->paths, KTS_CA_SEALED, "", sealed, &key_pem, error);
    if (rc == 0 && (kt_pki_key_from_pem(kt_secret_text(key_pem), kt_secret_len(key_pem), &key) ||
                    kt_pki_ca_from_pem(set_pem, strlen(set_pem), &set)))
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "the next CA cannot be read");
    if (rc == 0)
        rc = kt_ca_take(job->start->paths, key, set, error);
    if (rc == 0 && json_is_true(json_object_get(args, "use"))) {
        rc = kt_ca_use(job->start->paths, error);
        if (rc == 0) // those that have ended meanwhile
            rc = kt_ca_hear_end(job->start->paths, set, error);
    }
    kt_secret_free(key_pem);
    EVP_PKEY_free(key);
    X509_free(set);
    return kts_ca_done(job, rc, result, error);
}

int kts_ca_check_from_active(struct kts_call *call, struct kt_error *error)
{
    int here = 0;
    const struct kt_peer *active = kts_join_find_active(kts_call_agent(call), &here);

    return here || !active || strcmp(active->member, kts_call_member(call)) != 0
               ? kt_error_set(error, KT_ERR_NOT_MEMBER, "run ktadmin rotate --ca on the active",
                              "a CA is taken from the active only, and '%s' is not known as that",
                              kts_call_member(call))
               : 0;
}

// From the active alone: any other listed node could put a CA of its own in place of the cluster's.
static int run_take(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    static const char *const MEMBERS[] = {"sealed", "certificates", "use", NULL};
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kts_ca_check_from_active(call, error);
    return rc ? rc : kts_job_start(call, "ca.take", job_take, KTS_JOB_ALONE, args, error);
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

// Numbers of inodes come again at once: a file that replaced another two times may have the first's.
static int is_other_file(const struct kts_agent *agent, struct stat *st)
{
    const struct stat *read = &agent->ca_file;

    return stat(agent->start->paths->ca_cert, st) == 0 && read->st_ino != 0 &&
           (st->st_ino != read->st_ino || st->st_size != read->st_size ||
            st->st_ctim.tv_sec != read->st_ctim.tv_sec ||
            st->st_ctim.tv_nsec != read->st_ctim.tv_nsec);
}

// Asked by another node, only when there is something to read: it is a new start for every process.
static int run_load(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    struct stat st;
    int is_here = !kts_call_member(call)[0];
    int rc = is_here || is_other_file(agent, &st) ? load_everywhere(agent, error) : 0;

    (void)args;
    if (rc == 0)
        *result = json_object();
    return rc;
}

void kts_ca_look(struct kts_agent *agent)
{
    struct kt_error why = {0};
    struct stat st = {0};

    if (!is_other_file(agent, &st))
        return;
    agent->ca_file = st; // whatever becomes of it: not again for the same file
    if (load_everywhere(agent, &why))
        kt_log_error(&why, "the CA stays as it was");
}

const struct kts_verb kts_ca_verbs[] = {
    {"ca.begin", KTS_CALLER_LOCAL, KTS_JOB_ALONE | KTS_VERB_CLOSED, NULL, job_begin, "ca.begin"},
    {"ca.hand", KTS_CALLER_LOCAL, KTS_VERB_CLOSED, kts_run_ca_hand, NULL, "ca.hand"},
    {"ca.take", KTS_CALLER_NODE, KTS_VERB_CLOSED | KTS_VERB_LISTED, run_take, NULL, "ca.take"},
    {"ca.use", KTS_CALLER_LOCAL, KTS_JOB_ALONE | KTS_VERB_CLOSED, NULL, job_use, "ca.use"},
    {"ca.load", KTS_CALLER_LOCAL | KTS_CALLER_NODE, 0, run_load, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
