// SPDX-License-Identifier: Apache-2.0
// Whom a client takes for the server beyond the CA file: exactly the CA whose fingerprint an auth code
// or token carries, or a server whose own certificate is one of a few.
#include "lib/tls.h"

#include <pthread.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "lib/pki.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int pin_index = -1; // ex_data of SSL_CTX: struct pins, owned by the context

struct pins {
    int has_ca;
    uint8_t ca[KT_SHA256_LEN];
    size_t peer_count; // 0: any server that the CA has certified
    uint8_t peers[KT_TLS_PEERS_MAX][KT_SHA256_LEN];
};

static void free_pins(void *parent, void *pins, CRYPTO_EX_DATA *data, int index, long argl,
                      void *argp)
{
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    OPENSSL_free(pins);
}

static void make_index(void)
{
    pin_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_pins);
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
static int verify_by_ca(X509_STORE_CTX *ctx, const uint8_t *pin)
{
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

static int is_one_of(X509 *cert, const struct pins *pins)
{
    uint8_t sha256[KT_SHA256_LEN];

    for (size_t i = 0; cert && i < pins->peer_count; i++) {
        if (kt_pki_cert_sha256(cert, sha256) == 0 &&
            memcmp(sha256, pins->peers[i], KT_SHA256_LEN) == 0)
            return 1;
    }
    return 0;
}

// What is asked of the server's own certificate comes on top of chain, purpose, times and name.
static int verify_pinned(X509_STORE_CTX *ctx, void *arg)
{
    const struct pins *pins = arg;
    int ok = pins->has_ca ? verify_by_ca(ctx, pins->ca) : X509_verify_cert(ctx) == 1;

    if (ok && pins->peer_count && !is_one_of(X509_STORE_CTX_get0_cert(ctx), pins)) {
        X509_STORE_CTX_set_error(ctx, KT_TLS_NOT_LISTED);
        ok = 0;
    }
    return ok;
}

// The context's own, made at the first call.
static int pins_of(SSL_CTX *ctx, struct pins **pins)
{
    struct pins *made;

    pthread_once(&once, make_index);
    *pins = pin_index >= 0 ? SSL_CTX_get_ex_data(ctx, pin_index) : NULL;
    if (*pins)
        return 0;
    made = OPENSSL_zalloc(sizeof(*made));
    if (made == NULL)
        return KT_ERR_NO_MEMORY;
    if (pin_index < 0 || SSL_CTX_set_ex_data(ctx, pin_index, made) != 1) {
        OPENSSL_free(made);
        ERR_clear_error();
        return KT_ERR_CRYPTO;
    }
    SSL_CTX_set_cert_verify_callback(ctx, verify_pinned, made);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    *pins = made;
    return 0;
}

int kt_tls_pin_ca(SSL_CTX *ctx, const uint8_t ca_sha256[KT_SHA256_LEN])
{
    struct pins *pins = NULL;
    int rc = pins_of(ctx, &pins);

    if (rc)
        return rc;
    memcpy(pins->ca, ca_sha256, KT_SHA256_LEN);
    pins->has_ca = 1;
    return 0;
}

int kt_tls_pin_peer(SSL_CTX *ctx, const uint8_t (*sha256)[KT_SHA256_LEN], size_t count)
{
    struct pins *pins = NULL;
    int rc = count == 0 || count > KT_TLS_PEERS_MAX ? KT_ERR_INVALID : pins_of(ctx, &pins);

    if (rc)
        return rc;
    memcpy(pins->peers, sha256, count * KT_SHA256_LEN);
    pins->peer_count = count;
    // A resumed session shows no certificate: nothing would be asked of it.
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return 0;
}
