// SPDX-License-Identifier: Apache-2.0
// First contact of a client: trust exactly the CA whose fingerprint an auth code or token carries.
#include "lib/tls.h"

#include <pthread.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "lib/pki.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int pin_index = -1; // ex_data of SSL_CTX: the fingerprint, owned by the context

static void free_pin(void *parent, void *pin, CRYPTO_EX_DATA *data, int index, long argl,
                     void *argp)
{
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    OPENSSL_free(pin);
}

static void make_index(void)
{
    pin_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_pin);
}

// The self-signed certificate with the fingerprint among what the peer sent, or NULL.
static X509 *find_pinned(STACK_OF(X509) * sent, const uint8_t *pin)
{
    for (int i = 0; i < sk_X509_num(sent); i++) {
        X509 *cert = sk_X509_value(sent, i);
        uint8_t sha256[KT_SHA256_LEN];
        if (kt_pki_cert_sha256(cert, sha256) == 0 && memcmp(sha256, pin, KT_SHA256_LEN) == 0 &&
            X509_self_signed(cert, 1) == 1)
            return cert;
    }
    return NULL;
}

// Verifies as OpenSSL would (purpose, times, the host name of the connection's parameters are in
// `ctx` already), but with the pinned CA as the only trusted certificate: the context's own store
// is not asked.
static int verify_pinned(X509_STORE_CTX *ctx, void *arg)
{
    const uint8_t *pin = arg;
    X509 *ca = find_pinned(X509_STORE_CTX_get0_untrusted(ctx), pin);
    STACK_OF(X509) *trusted = sk_X509_new_null();
    int ok = 0;
    if (ca == NULL) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
    } else if (trusted == NULL || sk_X509_push(trusted, ca) <= 0) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_OUT_OF_MEM);
    } else {
        X509_STORE_CTX_set0_trusted_stack(ctx, trusted);
        ok = X509_verify_cert(ctx) == 1;
        X509_STORE_CTX_set0_trusted_stack(ctx, NULL);
    }
    sk_X509_free(trusted); // the certificates are the context's
    return ok;
}

int kt_tls_pin_ca(SSL_CTX *ctx, const uint8_t ca_sha256[KT_SHA256_LEN])
{
    pthread_once(&once, make_index);
    uint8_t *pin = OPENSSL_memdup(ca_sha256, KT_SHA256_LEN);
    if (pin == NULL)
        return KT_ERR_NO_MEMORY;
    uint8_t *old = pin_index >= 0 ? SSL_CTX_get_ex_data(ctx, pin_index) : NULL;
    if (pin_index < 0 || SSL_CTX_set_ex_data(ctx, pin_index, pin) != 1) {
        OPENSSL_free(pin);
        ERR_clear_error();
        return KT_ERR_CRYPTO;
    }
    OPENSSL_free(old);
    SSL_CTX_set_cert_verify_callback(ctx, verify_pinned, pin);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return 0;
}
