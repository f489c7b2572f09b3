// SPDX-License-Identifier: Apache-2.0
// This client's certificate: kept, looked at, renewed.
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/pki.h"

#define RENEW_TIMEOUT_MS 10000
#define DAY_US           ((int64_t)86400 * 1000000)
#define EXPIRES_SOON_US  (30 * DAY_US)

static int load_key(const struct keytrustee *client, EVP_PKEY **key, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, "client-key.pem", path);

    return rc != 0 ? rc : kt_pki_key_load(path, key, error);
}

static int check(const struct keytrustee *client, X509 *cert, X509 *ca, struct kt_error *error)
{
    EVP_PKEY *key = NULL;
    int rc = load_key(client, &key, error);

    if (rc != 0)
        return rc;
    rc = kt_pki_cert_check(cert, ca, kt_time_now());
    if (rc == KT_ERR_CERTIFICATE_EXPIRED)
        rc = kt_error_set(error, rc, "compare this host's clock with the server's",
                          "the new certificate is outside its validity by this host's clock");
    else if (rc != 0 || X509_check_private_key(cert, key) != 1)
        rc = kt_error_set(error, KT_ERR_SIGNATURE, NULL,
                          "the new certificate is not of this cluster's CA for this client's key");
    EVP_PKEY_free(key);
    return rc;
}

int ktc_certificate_check(const struct keytrustee *client, const char *pem, X509 *ca, X509 **cert,
                          struct kt_error *error)
{
    X509 *read = NULL;
    int rc = kt_pki_cert_from_pem(pem, strlen(pem), &read);

    if (rc != 0)
        return kt_error_set(error, KT_ERR_PROTOCOL, NULL,
                            "the server's certificate for us is malformed");
    rc = check(client, read, ca, error);
    if (rc == 0)
        *cert = read;
    else
        X509_free(read);
    return rc;
}

int ktc_certificate_save(const struct keytrustee *client, X509 *cert, struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int rc = ktc_path(client, "client-cert.pem", path);

    return rc != 0 ? rc : kt_pki_cert_save(path, cert, NULL, error);
}

// A certificate of a CA that is being replaced is renewed at once.
int ktc_certificate_times(const struct keytrustee *client, int64_t *renew_us, int64_t *not_after_us,
                          struct kt_error *error)
{
    char path[KT_PATH_MAX];
    int64_t from = 0, to = 0;
    X509 *cert = NULL;
    int rc = ktc_path(client, "client-cert.pem", path);

    if (rc == 0)
        rc = kt_pki_cert_load(path, &cert, error);
    if (rc == 0)
        rc = kt_pki_cert_validity(cert, &from, &to);
    if (rc == 0) {
        *renew_us = ktc_ca_is_older(client, cert) ? kt_time_now() : to - (to - from) / 3;
        *not_after_us = to;
    }
    X509_free(cert);
    return rc;
}

int ktc_certificate_request(const struct keytrustee *client, char **pem, struct kt_error *error)
{
    struct kt_buf text = KT_BUF_INIT(16384);
    EVP_PKEY *key = NULL;
    int rc = load_key(client, &key, error);

    if (rc == 0)
        rc = kt_pki_csr_make(key, &text);
    if (rc == 0) {
        *pem = strndup((const char *)kt_buf_ptr(&text), kt_buf_left(&text));
        rc = *pem ? 0 : KT_ERR_NO_MEMORY;
    }
    EVP_PKEY_free(key);
    kt_buf_free(&text);
    return rc;
}

// Before the new certificate, which another CA may have signed: as the active has it, which signs.
static int learn_ca(struct keytrustee *client, struct kt_error *error)
{
    struct ktc_call call = {.method = "GET", .path = "/v1/clients/self", .barrier = 1};
    struct ktc_answer answer = {0};
    json_t *self = NULL;
    int rc = ktc_call_json(client, &call, &answer, &self, error);

    if (rc == 0)
        rc = ktc_ca_learn(client, self, error);
    json_decref(self);
    ktc_answer_free(&answer);
    return rc;
}

static int renew(struct keytrustee *client, struct kt_error *error)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    struct ktc_call call = {.method = "POST",
                            .path = "/v1/clients/self/renew",
                            .headers = headers,
                            .has_body = 1,
                            .change = 1,
                            .once = 1};
    struct ktc_answer answer = {0};
    json_t *request = NULL, *object = NULL;
    char *pem = NULL, *body = NULL;
    const char *certificate = NULL;
    X509 *ca = NULL, *cert = NULL;
    int rc = learn_ca(client, error);

    if (rc == 0)
        rc = ktc_certificate_request(client, &pem, error);
    if (rc != 0)
        goto out;
    request = json_pack("{s:s}", "csr", pem);
    body = request ? kt_json_text(request) : NULL;
    if (body == NULL) {
        rc = KT_ERR_NO_MEMORY;
        goto out;
    }
    call.body = body;
    call.body_len = strlen(body);
    rc = ktc_call_json(client, &call, &answer, &object, error);
    if (rc == 0)
        rc = kt_json_string(object, "certificate", 1, 16384, &certificate, error);
    if (rc == 0)
        rc = ktc_ca_load(client, &ca, error);
    if (rc == 0)
        rc = ktc_certificate_check(client, certificate, ca, &cert, error);
    if (rc == 0)
        rc = ktc_certificate_save(client, cert, error);
    if (rc == 0 && ktc_ca_is_older(client, cert)) // it is what we had: not again for each call
        rc = ktc_ca_is_early(client, error);
    if (rc == 0)
        ktc_servers_disconnect(client); // the next connection shows the new one
out:
    X509_free(ca);
    X509_free(cert);
    json_decref(request);
    json_decref(object);
    ktc_answer_free(&answer);
    free(pem);
    free(body);
    return rc;
}

int ktc_certificate_expires_soon(int64_t renew_us, int64_t not_after_us)
{
    int64_t now = kt_time_now();

    return now >= renew_us && not_after_us - now < EXPIRES_SOON_US;
}

// A command that makes many calls says it once; a process that goes on for months, each day.
static int is_to_be_told(struct keytrustee *client)
{
    int64_t now = kt_monotonic_now();

    if (client->expiry_told_us != 0 && now - client->expiry_told_us < DAY_US)
        return 0;
    client->expiry_told_us = now;
    return 1;
}

void ktc_certificate_renew(struct keytrustee *client)
{
    struct kt_error why = {0};
    int64_t renew_us = 0, not_after_us = 0;

    if (client->state.client[0] == '\0' ||
        ktc_certificate_times(client, &renew_us, &not_after_us, NULL) != 0 ||
        kt_time_now() < renew_us)
        return;
    ktc_begin(client);
    if (client->timeout_ms > RENEW_TIMEOUT_MS) // the call itself is done: do not hold it up
        client->deadline = kt_monotonic_now() + (int64_t)RENEW_TIMEOUT_MS * 1000;
    int rc = renew(client, &why);
    if (rc != 0 && is_to_be_told(client))
        ktc_warn(client, why.hint, "cannot renew the certificate, which ends in %lld days: %s",
                 (long long)((not_after_us - kt_time_now()) / DAY_US),
                 why.code == rc && why.message[0] ? why.message : kt_err_text(rc));
}

void ktc_certificate_warn(struct keytrustee *client)
{
    int64_t renew_us = 0, not_after_us = 0, now = kt_time_now();
    char until[KT_TIME_TEXT];

    if (client->state.client[0] == '\0' ||
        ktc_certificate_times(client, &renew_us, &not_after_us, NULL) != 0 ||
        !ktc_certificate_expires_soon(renew_us, not_after_us) || !is_to_be_told(client))
        return;
    kt_time_format(not_after_us, until);
    if (now >= not_after_us)
        ktc_warn(client, "register this client again, with a new auth code: it keeps its keys",
                 "this client's certificate has expired, at %s", until);
    else
        ktc_warn(client, KTC_HINT_RENEW, "this client's certificate expires in %lld days, at %s",
                 (long long)((not_after_us - now) / DAY_US), until);
}
