// SPDX-License-Identifier: Apache-2.0
// The end of the CA's older root: what hangs on it still, the end itself, and nodes that are told of it.
#include <stdio.h>
#include <string.h>

#include "kts/agent_ca_rotate.h"
#include "lib/ca.h"
#include "lib/json.h"
#include "lib/pki.h"
#include "lib/receipt_key.h"

#define SET_MAX   32768
#define NAMES_MAX 5
#define ADMIN_MS  60000

static int check_active(const struct kts_job *job, struct kt_error *error)
{
    uint32_t role = atomic_load(&job->status->role);

    return role == KTS_ROLE_ACTIVE || role == KTS_ROLE_STANDALONE || role == KTS_ROLE_UNESTABLISHED
               ? 0
               : kt_error_set(error, KT_ERR_PASSIVE, NULL, "this node is not the active");
}

// --- what hangs on it ---

struct left {
    X509 *first; // the root that signs, alone
    json_t *names;
    json_int_t count;
    char last[KT_UUID_TEXT]; // of the clients that were counted
};

static int is_of(X509 *first, const char *pem)
{
    X509 *cert = NULL;
    int is_so = kt_pki_cert_from_pem(pem, strlen(pem), &cert) == 0 &&
                kt_pki_cert_check(cert, first, 0) != KT_ERR_CERTIFICATE_UNKNOWN_CA;

    X509_free(cert);
    return is_so;
}

static int look_at_client(void *arg, const char *client, const char *name, const char *pem)
{
    struct left *left = arg;

    if (strcmp(client, left->last) == 0 || is_of(left->first, pem))
        return 0;
    snprintf(left->last, sizeof(left->last), "%s", client);
    left->count++;
    if (json_array_size(left->names) < NAMES_MAX)
        json_array_append_new(left->names, json_string(name));
    return 0;
}

// Those of an older root, certified anew.
static int sign_again(const struct kts_job *job, X509 *first, const json_t *keys, json_t *again,
                      struct kt_error *error)
{
    json_t *one;
    size_t i;

    json_array_foreach(keys, i, one)
    {
        const char *pem = json_string_value(json_object_get(one, "certificate"));
        struct kt_buf text = KT_BUF_INIT(KT_CERT_PEM_MAX);
        X509 *cert = NULL, *fresh = NULL;
        int rc = 0;
        if (!pem || is_of(first, pem))
            continue;
        if (kt_pki_cert_from_pem(pem, strlen(pem), &cert) ||
            kt_pki_cert_check(cert, job->ca_cert, 0) == KT_ERR_CERTIFICATE_UNKNOWN_CA ||
            kt_pki_sign_again(job->ca_key, job->ca_cert, cert, &fresh) ||
            kt_pki_cert_to_pem(fresh, &text))
            rc = kt_error_set(error, KT_ERR_CRYPTO, NULL,
                              "the receipt key '%s' cannot be certified anew",
                              json_string_value(json_object_get(one, "id")));
        else
            json_array_append_new(again, json_pack("{s:O, s:s%}", "id", json_object_get(one, "id"),
                                                   "certificate", (const char *)kt_buf_ptr(&text),
                                                   kt_buf_left(&text)));
        X509_free(cert);
        X509_free(fresh);
        kt_buf_free(&text);
        if (rc)
            return rc;
    }
    return 0;
}

static int look_at_database(struct kts_job *job, struct left *left, int64_t since_us,
                            json_t **found, struct kt_error *error)
{
    struct db_cluster *cluster = NULL;
    struct db_admin *admin = NULL;
    uint8_t root[KT_SHA256_LEN];
    int rc = db_cluster_open(job->start->paths, job->start->settings, &cluster, error);

    if (rc == 0)
        rc = db_admin_open(cluster, ADMIN_MS, &admin, error);
    if (rc == 0)
        rc = db_admin_client_certificates(admin, look_at_client, left, error);
    if (rc == 0)
        rc = kt_pki_cert_sha256(left->first, root);
    if (rc == 0)
        rc = db_admin_of_older_root(admin, root, since_us, found, error);
    db_admin_close(admin);
    db_cluster_close(cluster);
    return rc;
}

static int job_left(struct kts_job *job, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    struct left left = {.names = json_array()};
    json_t *found = NULL, *again = json_array();
    enum kt_ca_phase phase = KT_CA_ONE;
    int64_t since_us = 0, until_us = 0;
    X509 *ca = job->ca_cert, *used = NULL;
    int rc = check_active(job, error);

    (void)args;
    if (rc == 0 && (!ca || !job->ca_key || kt_pki_ca_make(&ca, 1, &left.first)))
        rc = kt_error_set(error, KT_ERR_NOT_FOUND, NULL, "this node does not have the CA's key");
    if (rc == 0)
        rc = kt_ca_look(job->start->paths, &phase, &since_us, &until_us, error);
    if (rc == 0)
        rc = kt_pki_cert_load(job->start->paths->receipt_cert, &used, error);
    if (rc == 0)
        rc = look_at_database(job, &left, since_us, &found, error);
    if (rc == 0)
        rc = sign_again(job, left.first, json_object_get(found, "receipt_keys"), again, error);
    if (rc == 0)
        *result = json_pack("{s:{s:I, s:O}, s:O, s:O, s:O, s:b}", "clients", "count", left.count,
                            "names", left.names, "operators", json_object_get(found, "operators"),
                            "codes", json_object_get(found, "codes"), "receipt_keys", again,
                            "signs", kt_pki_cert_check(used, left.first, kt_time_now()) == 0);
    X509_free(used);
    X509_free(left.first);
    json_decref(left.names);
    json_decref(found);
    json_decref(again);
    return rc;
}

static int run_certify(struct kts_call *call, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    static const char *const MEMBERS[] = {"id", "certificate", NULL};
    struct kt_change change = {.kind = KT_CHANGE_RECEIPT_KEY_CERTIFY};
    const struct kts_agent *agent = kts_call_agent(call);
    char certified[KT_KEY_ID_TEXT] = "";
    const char *id = NULL, *pem = NULL;
    X509 *cert = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kt_json_string(args, "id", KT_KEY_ID_TEXT - 1, KT_KEY_ID_TEXT - 1, &id, error);
    if (rc == 0)
        rc = kt_json_string(args, "certificate", 1, KT_CERT_PEM_MAX - 1, &pem, error);
    if (rc == 0 &&
        (kt_pki_cert_from_pem(pem, strlen(pem), &cert) ||
         kt_receipt_cert_check(cert, agent->ca_cert, certified) || strcmp(certified, id) != 0))
        rc = kt_error_set(error, KT_ERR_BAD_REQUEST, NULL,
                          "that is no certificate of the CA for this receipt key");
    if (rc == 0 && !(change.csr = (uint8_t *)strdup(pem)))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0) {
        change.csr_len = strlen(pem);
        memcpy(change.name, certified, sizeof(certified));
        rc = kts_agent_change(call, &change, NULL, error);
    }
    X509_free(cert);
    kt_change_free(&change);
    return rc;
}

// --- the end ---

static int job_end(struct kts_job *job, const json_t *args, json_t **result, struct kt_error *error)
{
    int rc = check_active(job, error);

    (void)args;
    if (rc == 0)
        rc = kt_ca_end(job->start->paths, error);
    return kts_ca_done(job, rc, result, error);
}

static int job_ended(struct kts_job *job, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    const char *pem = json_string_value(json_object_get(args, "certificates"));
    X509 *set = NULL;
    int rc = pem ? kt_pki_ca_from_pem(pem, strlen(pem), &set) : KT_ERR_INVALID;

    if (rc)
        kt_error_set(error, KT_ERR_BAD_REQUEST, NULL, "the certificates cannot be read");
    else
        rc = kt_ca_hear_end(job->start->paths, set, error);
    X509_free(set);
    return kts_ca_done(job, rc, result, error);
}

// From any node: what counts is who has signed it.
static int run_ended(struct kts_call *call, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    static const char *const MEMBERS[] = {"certificates", NULL};
    const char *pem = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = kt_json_string(args, "certificates", 1, SET_MAX, &pem, error);
    return rc ? rc : kts_job_start(call, "ca.ended", job_ended, KTS_JOB_ALONE, args, error);
}

const struct kts_verb kts_ca_end_verbs[] = {
    {"ca.left", KTS_CALLER_LOCAL, 0, NULL, job_left, NULL},
    {"ca.certify", KTS_CALLER_LOCAL, 0, run_certify, NULL, NULL},
    {"ca.end", KTS_CALLER_LOCAL, KTS_JOB_ALONE | KTS_VERB_CLOSED, NULL, job_end, "ca.end"},
    {"ca.ended", KTS_CALLER_NODE, KTS_VERB_CLOSED, run_ended, NULL, "ca.ended"},
    {NULL, 0, 0, NULL, NULL, NULL},
};
