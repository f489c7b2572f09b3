// SPDX-License-Identifier: Apache-2.0
// The CA key's only use in a running server: certificates for clients, asked for by the writer.
#include "kts/agent.h"
#include "lib/log.h"
#include "lib/pki.h"

void kts_agent_load_server_cert(struct kts_agent *agent)
{
    int64_t not_before, not_after = 0;
    struct kt_error why = {0};
    X509 *cert = NULL;

    if (kt_pki_cert_load(agent->start->paths->server_cert, &cert, &why) ||
        kt_pki_cert_validity(cert, &not_before, &not_after))
        kt_log_error(&why, "the server certificate cannot be read");
    else
        atomic_store(&agent->start->status->server_certificate_not_after_us, not_after);
    X509_free(cert);
}

// The writer is trusted to have checked the auth code, not to name anybody but a client.
static int check_request(const struct kts_agent *agent, struct kts_sign_request *request)
{
    int64_t most =
        kt_settings_number(agent->start->settings, KT_SET_CLIENT_CERTIFICATE_LIFETIME) / 1000;
    struct kt_uuid id;

    if (kt_uuid_parse(request->common_name, &id) ||
        kt_name_check(request->organisation, KT_ORG_NAME_MAX))
        return KT_ERR_PROTOCOL;
    if (request->lifetime_s > most)
        request->lifetime_s = most;
    return 0;
}

static int sign(struct kts_agent *agent, struct kt_buf *payload, struct kt_buf *pem,
                struct kt_error *why)
{
    struct kts_sign_request request;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int rc = kts_sign_decode(payload, &request);

    if (rc == 0)
        rc = check_request(agent, &request);
    if (rc == 0)
        rc = kt_pki_csr_key(request.csr, request.csr_len, &key, why);
    if (rc == 0) {
        struct kt_pki_subject subject = {
            .role = KT_PKI_CLIENT,
            .common_name = request.common_name,
            .organisation = request.organisation,
            .lifetime_s = request.lifetime_s,
        };
        rc = kt_pki_sign(agent->ca_key, agent->ca_cert, key, &subject, &cert);
    }
    if (rc == 0)
        rc = kt_pki_cert_to_pem(cert, pem);
    if (rc == 0)
        kt_log(KT_LOG_INFO, "signed a certificate for client '%s' of '%s'", request.common_name,
               request.organisation);
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

void kts_agent_sign(struct kts_agent *agent, struct kts_message *message)
{
    struct kt_buf pem = KT_BUF_INIT(KT_CERT_PEM_MAX), answer = KT_BUF_INIT(KT_CERT_PEM_MAX + 16);
    struct kt_error why = {0};
    int rc = message->type == KTS_MSG_SIGN ? sign(agent, &message->payload, &pem, &why)
                                           : KT_ERR_PROTOCOL;

    if (rc)
        kt_log_code(KT_LOG_WARNING, rc, "a certificate was not signed");
    if (kt_buf_put_u32(&answer, (uint32_t)-rc) == 0 &&
        kt_buf_put_block(&answer, kt_buf_ptr(&pem), rc ? 0 : kt_buf_left(&pem)) == 0 &&
        kts_agent_send(&agent->signing, KTS_MSG_SIGNED, message->id, kt_buf_ptr(&answer),
                       kt_buf_left(&answer)))
        kt_log(KT_LOG_WARNING, "the writer went away before its certificate was signed");
    kt_buf_free(&pem);
    kt_buf_free(&answer);
}
