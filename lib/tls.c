// SPDX-License-Identifier: Apache-2.0
// The server's TLS context: whom it asks for a certificate, what it resumes, what it tells of it.
#include "lib/tls.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "lib/buf.h"
#include "lib/file.h"
#include "lib/pki.h"

#define TICKET_NAME_LEN 16
#define TICKET_MAC_LEN  32
#define SECURITY_LEVEL  2 // 112 bits, whatever openssl.cnf says
#define CIPHERS_TLS12   "ECDHE+AESGCM:ECDHE+CHACHA20"
#define GROUPS          "X25519:P-256:P-384"
// Of the keys that there are. Anybody may send a certificate, and it is the sender's key that its
// proof is checked with: a large RSA key would cost milliseconds each time.
#define SIGNATURES "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ed25519"

// Between a client's certificate and our CA stands nothing.
#define CHAIN_DEPTH 0
#define PEM_MAX     (64 * 1024)
#define CHAIN_MAX   (16 * 1024) // bytes that a client may send as its chain

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int tickets_index = -1; // ex_data of SSL_CTX: const struct kt_tls_tickets *

static void make_index(void)
{
    tickets_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

void kt_tls_error_text(char *out, size_t size)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags);
    const char *reason = NULL;
    if (code == 0)
        reason = "no reason given";
    else if (ERR_SYSTEM_ERROR(code))
        reason = strerror(ERR_GET_REASON(code));
    else
        reason = ERR_reason_error_string(code);
    if (data != NULL && (flags & ERR_TXT_STRING) && data[0] != '\0')
        snprintf(out, size, "%s (%s)", reason ? reason : "unknown reason", data);
    else
        snprintf(out, size, "%s", reason ? reason : "unknown reason");
    ERR_clear_error();
}

static int crypto_error(struct kt_error *error, const char *what)
{
    char text[256];
    kt_tls_error_text(text, sizeof(text));
    return kt_error_set(error, KT_ERR_CRYPTO, NULL, "%s: %s", what, text);
}

// Lets every handshake finish, so that the answer can be a status and a reason instead of a broken
// connection. OpenSSL's own callback stops at the first error; that error stays the verdict: it is
// what SSL_get_verify_result gives, and it is stored in the session and its ticket.
static int verify_and_go_on(X509_STORE_CTX *ctx, void *arg)
{
    (void)arg;
    if (X509_verify_cert(ctx) <= 0 && X509_STORE_CTX_get_error(ctx) == X509_V_OK)
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED); // never a failure without an error
    return 1;
}

static void set_options(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    // Sessions live in tickets only, which all workers can read.
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH);
    SSL_CTX_set_max_cert_list(ctx, CHAIN_MAX);
    SSL_CTX_set_cert_verify_callback(ctx, verify_and_go_on, NULL);
}

// Without an id OpenSSL refuses resumption of sessions with a client certificate; with one per
// cluster, a session of another cluster is not taken over. And with one per set of roots, none that
// was let in by a root that has ended since.
static int set_session_id(SSL_CTX *ctx, const char *cluster_id, X509 *ca, struct kt_error *error)
{
    uint8_t seen[2][KT_SHA256_LEN], id[KT_SHA256_LEN];
    int rc = kt_sha256(cluster_id, strlen(cluster_id), id);
    for (size_t i = 0; rc == 0 && i < kt_pki_ca_count(ca); i++) {
        X509 *cert = kt_pki_ca_at(ca, i);
        if (i > 0 && !kt_pki_is_root(cert))
            continue;
        memcpy(seen[0], id, sizeof(id));
        rc = kt_pki_cert_sha256(cert, seen[1]);
        if (rc == 0)
            rc = kt_sha256(seen, sizeof(seen), id);
    }
    if (rc != 0)
        return kt_error_set(error, rc, NULL, "session id context cannot be made");
    return SSL_CTX_set_session_id_context(ctx, id, sizeof(id)) == 1
               ? 0
               : crypto_error(error, "TLS settings are refused");
}

static int set_protocol(SSL_CTX *ctx, struct kt_error *error)
{
    SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_max_early_data(ctx, 0) != 1 || // a replayed request is a request
        SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) != 1 ||
        SSL_CTX_set1_groups_list(ctx, GROUPS) != 1 ||
        SSL_CTX_set1_sigalgs_list(ctx, SIGNATURES) != 1 ||
        SSL_CTX_set1_client_sigalgs_list(ctx, SIGNATURES) != 1)
        return crypto_error(error, "TLS settings are refused");
    return 0;
}

// Without a callback OpenSSL would ask for the passphrase of an encrypted key on the terminal.
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

// The first certificate is the server's, those behind it its chain.
static int use_certificates(SSL_CTX *ctx, BIO *bio)
{
    X509 *cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    int ok = cert != NULL && SSL_CTX_use_certificate(ctx, cert) == 1;

    X509_free(cert);
    while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
        ok = SSL_CTX_add0_chain_cert(ctx, cert) == 1; // takes it over
        if (!ok)
            X509_free(cert);
    }
    if (ok)
        ERR_clear_error(); // the end of the input is an error to PEM_read_bio_X509
    return ok;
}

static int use_own_certificate(SSL_CTX *ctx, const struct kt_tls_pem *pem, struct kt_error *error)
{
    BIO *cert = BIO_new_mem_buf(pem->cert, (int)pem->cert_len);
    BIO *secret = BIO_new_mem_buf(pem->key, (int)pem->key_len);
    EVP_PKEY *key = NULL;
    int rc = 0;

    if (cert == NULL || secret == NULL || !use_certificates(ctx, cert)) {
        rc = crypto_error(error, "server certificate");
        goto out;
    }
    key = PEM_read_bio_PrivateKey(secret, NULL, no_passphrase, NULL);
    if (key == NULL || SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        rc = crypto_error(error, "server key");
out:
    EVP_PKEY_free(key);
    BIO_free(cert);
    BIO_free(secret);
    return rc;
}

// Behind a certificate of the cluster's own: links before roots, or OpenSSL would end the path at a
// root that the client does not know.
static int put_chain(SSL_CTX *ctx, X509 *ca, struct kt_error *error)
{
    int ok = SSL_CTX_clear_chain_certs(ctx) == 1;
    for (int roots = 0; roots <= 1; roots++) {
        for (size_t i = 0; ok && i < kt_pki_ca_count(ca); i++) {
            X509 *cert = kt_pki_ca_at(ca, i);
            if (kt_pki_link_kind(cert) == KT_PKI_LINK_FORTH && kt_pki_is_root(cert) == roots)
                ok = SSL_CTX_add1_chain_cert(ctx, cert) == 1;
        }
    }
    return ok ? 0 : crypto_error(error, "certificate chain is refused");
}

// Peers are checked against the roots alone: a link would make a longer path than is allowed.
static int trust_ca(SSL_CTX *ctx, const struct kt_tls_pem *pem, const char *cluster_id,
                    struct kt_error *error)
{
    X509 *ca = NULL;
    int rc = kt_pki_ca_from_pem(pem->ca, pem->ca_len, &ca);
    if (rc != 0)
        return kt_error_set(error, rc, NULL, "no CA certificate");
    if (SSL_CTX_add_client_CA(ctx, ca) != 1)
        rc = crypto_error(error, "CA certificate is refused");
    for (size_t i = 0; rc == 0 && i < kt_pki_ca_count(ca); i++) {
        X509 *cert = kt_pki_ca_at(ca, i);
        if ((i == 0 || kt_pki_is_root(cert)) &&
            X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) != 1)
            rc = crypto_error(error, "CA certificate is refused");
    }
    if (rc == 0 && kt_pki_ca_count(ca) > 1 &&
        kt_pki_cert_check(SSL_CTX_get0_certificate(ctx), ca, 0) != KT_ERR_CERTIFICATE_UNKNOWN_CA)
        rc = put_chain(ctx, ca, error);
    if (rc == 0)
        rc = set_session_id(ctx, cluster_id, ca, error);
    X509_free(ca);
    return rc;
}

int kt_tls_server_new_pem(const struct kt_tls_pem *pem, const char *cluster_id, SSL_CTX **ctx,
                          struct kt_error *error)
{
    int rc = 0;
    SSL_CTX *made = SSL_CTX_new(TLS_server_method());
    pthread_once(&once, make_index);
    if (made == NULL || tickets_index < 0) {
        rc = crypto_error(error, "TLS context cannot be made");
        goto out;
    }
    set_options(made);
    if ((rc = set_protocol(made, error)) != 0 ||
        (rc = use_own_certificate(made, pem, error)) != 0 ||
        (rc = trust_ca(made, pem, cluster_id, error)) != 0)
        goto out;
    *ctx = made;
    made = NULL;
out:
    SSL_CTX_free(made);
    return rc;
}

int kt_tls_server_new(const char *cert_file, const char *key_file, const char *ca_file,
                      const char *cluster_id, SSL_CTX **ctx, struct kt_error *error)
{
    struct kt_buf cert = KT_BUF_INIT(PEM_MAX), key = KT_BUF_INIT(PEM_MAX),
                  ca = KT_BUF_INIT(PEM_MAX);
    struct kt_error why = {0};
    int rc = 0;

    if (kt_file_read(cert_file, &cert, &why) != 0) {
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "no certificate: %s", why.message);
        goto out;
    }
    if ((rc = kt_file_check_private(key_file, 1, error)) != 0 ||
        (rc = kt_file_read(key_file, &key, error)) != 0 ||
        (rc = kt_file_read(ca_file, &ca, error)) != 0)
        goto out;
    const struct kt_tls_pem pem = {
        .cert = kt_buf_ptr(&cert),
        .cert_len = kt_buf_left(&cert),
        .key = kt_buf_ptr(&key),
        .key_len = kt_buf_left(&key),
        .ca = kt_buf_ptr(&ca),
        .ca_len = kt_buf_left(&ca),
    };
    rc = kt_tls_server_new_pem(&pem, cluster_id, ctx, &why);
    if (rc != 0)
        kt_error_set(error, rc, NULL, "certificate '%s' with key '%s' and CA '%s': %s", cert_file,
                     key_file, ca_file, why.message);
out:
    kt_buf_free(&cert);
    kt_buf_free(&key); // wipes
    kt_buf_free(&ca);
    return rc;
}

static int init_ticket(const uint8_t *key, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                       EVP_MAC_CTX *mac, int enc)
{
    char digest[] = "SHA256";
    uint8_t mac_key[TICKET_MAC_LEN];
    memcpy(mac_key, key + TICKET_NAME_LEN, sizeof(mac_key));
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, mac_key, sizeof(mac_key)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    int ok = EVP_CipherInit_ex2(cipher, EVP_aes_256_cbc(), key + TICKET_NAME_LEN + TICKET_MAC_LEN,
                                iv, enc, NULL) == 1 &&
             EVP_MAC_CTX_set_params(mac, params) == 1;
    OPENSSL_cleanse(mac_key, sizeof(mac_key));
    return ok;
}

// Returns as SSL_CTX_set_tlsext_ticket_key_evp_cb(3) says: 1 go on, 2 go on and send a new ticket,
// 0 full handshake, -1 error.
static int ticket_key(SSL *ssl, unsigned char name[TICKET_NAME_LEN],
                      unsigned char iv[EVP_MAX_IV_LENGTH], EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                      int enc)
{
    const struct kt_tls_tickets *tickets = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tickets_index);
    if (tickets == NULL)
        return -1;
    if (enc) {
        memcpy(name, tickets->current, TICKET_NAME_LEN);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            return -1;
        return init_ticket(tickets->current, iv, cipher, mac, 1) ? 1 : -1;
    }
    if (memcmp(name, tickets->current, TICKET_NAME_LEN) == 0) {
        // A TLS 1.3 client uses a ticket once: without a new one it could resume only once.
        int answer = SSL_version(ssl) >= TLS1_3_VERSION ? 2 : 1;
        return init_ticket(tickets->current, iv, cipher, mac, 0) ? answer : -1;
    }
    if (memcmp(name, tickets->previous, TICKET_NAME_LEN) == 0)
        return init_ticket(tickets->previous, iv, cipher, mac, 0) ? 2 : -1;
    return 0;
}

void kt_tls_server_set_tickets(SSL_CTX *ctx, const struct kt_tls_tickets *tickets)
{
    union {
        const struct kt_tls_tickets *in;
        void *out; // ex_data takes no const; the callback gives it back as const
    } pointer = {.in = tickets};
    if (SSL_CTX_set_ex_data(ctx, tickets_index, pointer.out) == 1)
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
}

int kt_tls_peer_error(SSL *ssl, int64_t now_us)
{
    int64_t begin = 0, end = 0;
    X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert == NULL)
        return KT_ERR_CERTIFICATE_MISSING;
    long verdict = SSL_get_verify_result(ssl);
    if (verdict == X509_V_ERR_CERT_HAS_EXPIRED || verdict == X509_V_ERR_CERT_NOT_YET_VALID)
        return KT_ERR_CERTIFICATE_EXPIRED;
    if (verdict != X509_V_OK || kt_pki_cert_validity(cert, &begin, &end) != 0)
        return KT_ERR_CERTIFICATE_UNKNOWN_CA;
    return now_us > end ? KT_ERR_CERTIFICATE_EXPIRED : 0;
}

int kt_tls_peer_sha256(SSL *ssl, uint8_t out[KT_SHA256_LEN])
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    return cert != NULL ? kt_pki_cert_sha256(cert, out) : KT_ERR_CERTIFICATE_MISSING;
}
