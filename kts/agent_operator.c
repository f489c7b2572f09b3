// SPDX-License-Identifier: Apache-2.0
// Operators' certificates, with which they speak to the agents of all nodes: signed here, listed by
// the writer, revoked.
#include <string.h>

#include "kts/agent.h"
#include "lib/json.h"
#include "lib/pki.h"

#define LIFETIME_S     (365LL * 24 * 3600)
#define LIFETIME_MAX_S (3650LL * 24 * 3600)

static int take_name(const json_t *args, char out[KT_ORG_NAME_MAX + 1], struct kt_error *error)
{
    const char *name = NULL;
    int rc = kt_json_string(args, "name", 1, KT_ORG_NAME_MAX, &name, error);

    if (rc)
        return rc;
    if (kt_name_check(name, KT_ORG_NAME_MAX))
        return kt_error_set(error, KT_ERR_INVALID,
                            "a name begins with a letter and has up to 63 of a-z, 0-9 and -",
                            "'%s' is not a name for an operator", name);
    memcpy(out, name, strlen(name) + 1);
    return 0;
}

// Signs, and fills in what is to be listed.
static int sign(const struct kts_agent *agent, const char *csr, struct kt_change *change,
                struct kt_buf *pem, struct kt_error *error)
{
    // No organisation: a client's certificate has one.
    const struct kt_pki_subject subject = {
        .role = KT_PKI_CLIENT, .common_name = change->name, .lifetime_s = change->lifetime_s};
    int64_t not_before, not_after = 0;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int rc = kt_pki_csr_key(csr, strlen(csr), &key, error);

    if (rc)
        return rc;
    rc = kt_pki_sign(agent->ca_key, agent->ca_cert, key, &subject, &cert);
    if (rc == 0)
        rc = kt_pki_cert_sha256(cert, change->certificate_sha256);
    if (rc == 0)
        rc = kt_pki_cert_validity(cert, &not_before, &not_after);
    if (rc == 0)
        rc = kt_pki_cert_to_pem(cert, pem);
    if (rc == 0)
        rc = kt_buf_put(pem, "", 1);
    memcpy(change->sha256, agent->ca_sha256, sizeof(change->sha256));
    change->lifetime_s = (not_after - kt_time_now()) / 1000000;
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc ? kt_error_set(error, rc, NULL, "the certificate cannot be made: %s", kt_err_text(rc))
              : 0;
}

static int run_add(struct kts_call *call, const json_t *args, json_t **result,
                   struct kt_error *error)
{
    static const char *const MEMBERS[] = {"name", "csr", "lifetime_s", NULL};
    struct kt_change change = {.kind = KT_CHANGE_OPERATOR_ADD, .lifetime_s = LIFETIME_S};
    struct kt_buf pem = KT_BUF_INIT(KT_CERT_PEM_MAX);
    const char *csr = NULL;
    json_t *shown = NULL;
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = take_name(args, change.name, error);
    if (rc == 0)
        rc = kt_json_string(args, "csr", 1, KT_CSR_MAX, &csr, error);
    if (rc == 0)
        rc = kt_json_integer(args, "lifetime_s", 60, LIFETIME_MAX_S, 0, &change.lifetime_s, error);
    if (rc == 0)
        rc = sign(kts_call_agent(call), csr, &change, &pem, error);
    if (rc == 0)
        shown = json_pack("{s:s}", "cert", (const char *)kt_buf_ptr(&pem));
    kt_buf_free(&pem);
    return rc ? rc : kts_agent_change_showing(call, &change, shown, error);
}

static int run_revoke(struct kts_call *call, const json_t *args, json_t **result,
                      struct kt_error *error)
{
    static const char *const MEMBERS[] = {"name", NULL};
    struct kt_change change = {.kind = KT_CHANGE_OPERATOR_REVOKE};
    int rc = kt_json_only(args, MEMBERS, error);

    (void)result;
    if (rc == 0)
        rc = take_name(args, change.name, error);
    return rc ? rc : kts_agent_change(call, &change, NULL, error);
}

// The writer makes their records: it knows the outcome.
const struct kts_verb kts_operator_verbs[] = {
    {"operator.add", KTS_CALLER_LOCAL, 0, run_add, NULL, NULL},
    {"operator.revoke", KTS_CALLER_LOCAL, 0, run_revoke, NULL, NULL},
    {NULL, 0, 0, NULL, NULL, NULL},
};
