// SPDX-License-Identifier: Apache-2.0
// This node's certificates renewed, in steps that ktadmin asks for one by one: made, used, loaded,
// ended. Each can be asked again, so that a killed run is finished by the next.
#include "kts/agent_cert.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>

#include "kts/agent_peers.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/pki.h"
#include "lib/tls_pairs.h"

#define DAY_US (24LL * 3600 * 1000000)

static const char *const NAMES[KT_PAIRS] = {[KT_PAIR_NODE] = "node", [KT_PAIR_SERVER] = "server"};

// --- making ---

struct fresh {
    EVP_PKEY *keys[KT_PAIRS];
    X509 *certs[KT_PAIRS];
};

static void fresh_free(struct fresh *fresh)
{
    for (int i = 0; i < KT_PAIRS; i++) {
        EVP_PKEY_free(fresh->keys[i]);
        X509_free(fresh->certs[i]);
    }
}

static int check_ca_key(const struct kt_paths *paths, struct kt_error *error)
{
    return kt_file_exists(paths->ca_key)
               ? 0
               : kt_error_set(error, KT_ERR_NOT_FOUND,
                              "put it back for the run: every node has the same one, and so has a "
                              "backup of the confdir (owner the service account, mode 0600)",
                              "this node does not have the CA's key '%s', which signs certificates",
                              paths->ca_key);
}

static int make_pair(const struct kts_job *job, struct fresh *fresh, enum kt_pair pair,
                     const char *common_name, char **names, struct kt_error *error)
{
    const struct kt_settings *settings = job->start->settings;
    struct kt_pki_subject subject = {
        .role = pair == KT_PAIR_NODE ? KT_PKI_NODE : KT_PKI_SERVER,
        .common_name = common_name,
        .names = (const char *const *)names,
        .lifetime_s = kt_settings_number(settings, KT_SET_NODE_CERTIFICATE_LIFETIME) / 1000,
    };
    int rc = kt_pki_new_p256(&fresh->keys[pair]);

    if (rc == 0)
        rc = kt_pki_sign(job->ca_key, job->ca_cert, fresh->keys[pair], &subject,
                         &fresh->certs[pair]);
    if (rc == KT_ERR_CERTIFICATE_EXPIRED)
        return kt_error_set(error, rc, "the cluster must be made anew: its CA is not renewed",
                            "the CA's certificate has expired");
    return rc ? kt_error_set(error, rc, NULL, "the certificate cannot be made: %s", kt_err_text(rc))
              : 0;
}

// One that somebody else has signed is not ours to renew.
static int is_of_ca(const struct kts_job *job, X509 *cert)
{
    int rc = kt_pki_cert_check(cert, job->ca_cert, kt_time_now());

    return rc == 0 || rc == KT_ERR_CERTIFICATE_EXPIRED;
}

static int make_server(const struct kts_job *job, struct fresh *fresh, struct kt_error *error)
{
    char **names = NULL;
    X509 *cert = NULL;
    int rc = kt_pki_cert_load(job->start->paths->server_cert, &cert, error);

    if (rc == 0 && is_of_ca(job, cert)) {
        rc = kt_pki_cert_names(cert, &names);
        if (rc)
            kt_error_set(error, rc, NULL, "the server certificate's names cannot be read");
        if (rc == 0)
            rc = make_pair(job, fresh, KT_PAIR_SERVER, job->start->info->node, names, error);
        kt_pki_names_free(names);
    }
    X509_free(cert);
    return rc;
}

static int make_node(const struct kts_job *job, struct fresh *fresh, struct kt_error *error)
{
    struct kt_promise promise;
    int rc = kt_promise_load(job->start->paths->promise, &promise, error);

    return rc ? rc : make_pair(job, fresh, KT_PAIR_NODE, promise.member, NULL, error);
}

static int stage(const struct kts_job *job, const json_t *args, struct kt_error *error)
{
    const struct kt_paths *paths = job->start->paths;
    struct fresh fresh = {{NULL}, {NULL}};
    int rc = check_ca_key(paths, error);

    if (rc == 0 && json_is_true(json_object_get(args, "node")))
        rc = make_node(job, &fresh, error);
    if (rc == 0 && json_is_true(json_object_get(args, "server")))
        rc = make_server(job, &fresh, error);
    if (rc == 0 && !fresh.keys[KT_PAIR_NODE] && !fresh.keys[KT_PAIR_SERVER])
        rc =
            kt_error_set(error, KT_ERR_NOT_OURS, "renew it where it was signed, then SIGHUP to kts",
                         "the server certificate is not of the cluster's CA");
    if (rc == 0)
        rc = kt_pairs_stage(paths, fresh.keys, fresh.certs, job->ca_cert, error);
    fresh_free(&fresh);
    return rc;
}

// --- what there is ---

static json_t *describe(X509 *cert)
{
    BIGNUM *number = cert ? ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL) : NULL;
    char *serial = number ? BN_bn2hex(number) : NULL;
    int64_t from = 0, to = 0;
    char not_after[KT_TIME_TEXT];
    json_t *object = NULL;

    if (serial && kt_pki_cert_validity(cert, &from, &to) == 0) {
        kt_time_format(to, not_after);
        object = json_pack("{s:s, s:I, s:s, s:b}", "serial", serial, "days",
                           (json_int_t)((to - kt_time_now()) / DAY_US), "not_after", not_after,
                           "expired", to < kt_time_now());
    }
    OPENSSL_free(serial);
    BN_free(number);
    return object ? object : json_null();
}

static int load(const struct kt_paths *paths, enum kt_pair pair, int is_next, X509 **cert,
                struct kt_error *error)
{
    char path[KT_PATH_MAX];

    if (kt_pair_path(paths, pair, is_next, 0, path))
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "a path in the confdir is too long");
    return kt_pki_cert_load(path, cert, error);
}

// {"name", "before", "after"}: before is null in a run that finishes another one.
static int report_pair(const struct kt_paths *paths, enum kt_pair pair, int is_used, json_t *list,
                       json_t *result, struct kt_error *error)
{
    struct kt_buf pem = KT_BUF_INIT(KT_CERT_PEM_MAX);
    char hex[KT_SHA256_TEXT], hex_before[KT_SHA256_TEXT];
    uint8_t now[KT_SHA256_LEN], next[KT_SHA256_LEN];
    X509 *cert = NULL, *fresh = NULL;
    int is_same, rc = load(paths, pair, 0, &cert, error);

    rc = rc ? rc : load(paths, pair, 1, &fresh, error);
    if (rc == 0 && (kt_pki_cert_sha256(cert, now) || kt_pki_cert_sha256(fresh, next) ||
                    kt_pki_cert_to_pem(fresh, &pem) || kt_buf_put(&pem, "", 1)))
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "a certificate cannot be read");
    if (rc)
        goto out;
    is_same = memcmp(now, next, sizeof(now)) == 0;
    json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "name", NAMES[pair], "before",
                                          is_used ? json_null() : describe(cert), "after",
                                          is_same && !is_used ? json_null() : describe(fresh)));
    if (pair == KT_PAIR_NODE) {
        kt_hex_encode(next, sizeof(next), hex);
        kt_hex_encode(now, sizeof(now), hex_before);
        json_object_set_new(result, "cert", json_string((const char *)kt_buf_ptr(&pem)));
        json_object_set_new(result, "sha256", json_string(hex));
        json_object_set_new(result, "before", is_same ? json_null() : json_string(hex_before));
    }
out:
    X509_free(cert);
    X509_free(fresh);
    kt_buf_free(&pem);
    return rc;
}

// 1 when what it has made is not worth going on with: a certificate that has expired, or, as long
// as it is not in use, a new one with less than half of its time left.
static int is_stale(const struct kt_paths *paths, int is_used)
{
    int is_late = 0;

    for (int pair = 0; pair < KT_PAIRS; pair++) {
        X509 *cert = NULL, *fresh = NULL;
        int64_t from = 0, to = 0;

        if (load(paths, (enum kt_pair)pair, 0, &cert, NULL) == 0 &&
            load(paths, (enum kt_pair)pair, 1, &fresh, NULL) == 0 &&
            kt_pki_cert_validity(fresh, &from, &to) == 0 && (is_used || X509_cmp(cert, fresh) != 0))
            is_late |= to - kt_time_now() < (is_used ? 0 : (to - from) / 2);
        X509_free(cert);
        X509_free(fresh);
    }
    return is_late;
}

static int job_make(struct kts_job *job, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    const struct kt_paths *paths = job->start->paths;
    int is_used = 0, was_begun = kt_pairs_is_begun(paths, &is_used), rc = 0;
    json_t *object = json_object(), *list = json_array();

    if (was_begun && is_stale(paths, is_used)) {
        rc = is_used ? kt_pairs_end(paths, error) : kt_pairs_drop(paths, error);
        was_begun = is_used = 0;
    }
    if (rc == 0 && !was_begun)
        rc = stage(job, args, error);
    for (int pair = 0; pair < KT_PAIRS && rc == 0; pair++)
        rc = report_pair(paths, (enum kt_pair)pair, is_used, list, object, error);
    if (rc) {
        json_decref(object);
        json_decref(list);
        return rc;
    }
    json_object_set_new(object, "certificates", list);
    json_object_set_new(object, "goes_on", json_boolean(was_begun));
    json_object_set_new(object, "used", json_boolean(is_used));
    *result = object;
    return 0;
}

// --- using ---

static int job_use(struct kts_job *job, const json_t *args, json_t **result, struct kt_error *error)
{
    struct db_cluster *cluster = NULL;
    int rc = kt_pairs_use(job->start->paths, error);

    (void)args;
    if (rc == 0)
        rc = db_cluster_open(job->start->paths, job->start->settings, &cluster, error);
    if (rc == 0)
        rc = db_reload_certificates(cluster, error);
    db_cluster_close(cluster);
    if (rc == 0)
        *result = json_object();
    return rc;
}

// The master reads the files and tells all its children, this one too.
static int run_load(struct kts_call *call, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    struct kts_agent *agent = kts_call_agent(call);
    int rc = kts_renew_own_entry(agent, error);

    (void)args;
    if (rc)
        return rc;
    rc = kts_control_send(agent->start->control_fd, KTS_CTL_RELOAD, NULL, 0, -1);
    if (rc)
        return kt_error_set(error, rc, "send SIGHUP to kts, then run it again",
                            "the master does not listen");
    *result = json_object();
    return 0;
}

static int job_end(struct kts_job *job, const json_t *args, json_t **result, struct kt_error *error)
{
    int rc = kt_pairs_end(job->start->paths, error);

    (void)args;
    if (rc == 0)
        *result = json_object();
    return rc;
}

const struct kts_verb kts_cert_verbs[] = {
    {"cert.make", KTS_CALLER_LOCAL, KTS_JOB_ALONE, NULL, job_make, "cert.make"},
    {"cert.use", KTS_CALLER_LOCAL, KTS_JOB_ALONE, NULL, job_use, "cert.use"},
    {"cert.load", KTS_CALLER_LOCAL, 0, run_load, NULL, NULL},
    {"cert.end", KTS_CALLER_LOCAL, KTS_JOB_ALONE, NULL, job_end, "cert.end"},
    {"node.renew", KTS_CALLER_NODE | KTS_CALLER_LOCAL, KTS_VERB_CLOSED | KTS_VERB_RECORDS,
     kts_run_node_renew, NULL, "node.renew"},
    {NULL, 0, 0, NULL, NULL, NULL},
};
