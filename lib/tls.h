// SPDX-License-Identifier: Apache-2.0
// TLS contexts: the server's (asks for a client certificate) and the verification of a pinned CA.
#ifndef KT_TLS_H
#define KT_TLS_H

#include <openssl/ssl.h>

#include "lib/digest.h"
#include "lib/err.h"

// Ticket keys, made by the master, shared by the workers, rotated hourly: the second is the one
// before. Layout of each: 16 bytes name, 32 bytes HMAC-SHA-256 key, 32 bytes AES-256 key.
#define KT_TLS_TICKET_KEY_LEN 80
struct kt_tls_tickets {
    uint8_t current[KT_TLS_TICKET_KEY_LEN];
    uint8_t previous[KT_TLS_TICKET_KEY_LEN];
};

// A server context: TLS 1.3, and 1.2 with ECDHE AEAD suites only; no compression, no renegotiation;
// read-ahead; the certificate file's chain; asks for a client certificate of `ca_file` without
// insisting (kt_tls_peer_error gives the verdict); session id context of `cluster_id`. Every root of
// `ca_file` counts; when it has links, they and the roots are the chain.
int kt_tls_server_new(const char *cert_file, const char *key_file, const char *ca_file,
                      const char *cluster_id, SSL_CTX **ctx, struct kt_error *error) KT_MUST_CHECK;
// The same from PEM bytes, for processes that can open no files. The key has no passphrase.
struct kt_tls_pem {
    const void *cert; // the server's, then its chain
    size_t cert_len;
    const void *key;
    size_t key_len;
    const void *ca;
    size_t ca_len;
};
int kt_tls_server_new_pem(const struct kt_tls_pem *pem, const char *cluster_id, SSL_CTX **ctx,
                          struct kt_error *error) KT_MUST_CHECK;
// `tickets` must outlive the context; its content may be changed between handshakes.
void kt_tls_server_set_tickets(SSL_CTX *ctx, const struct kt_tls_tickets *tickets);

// What verification said of the peer's certificate: 0 when one was sent and is good,
// KT_ERR_CERTIFICATE_MISSING, _UNKNOWN_CA, _EXPIRED. Right on resumed sessions too: the chain's
// verdict is kept in the session, notAfter is compared with `now_us` at each call.
int kt_tls_peer_error(SSL *ssl, int64_t now_us);
// SHA-256 of the peer's certificate; KT_ERR_CERTIFICATE_MISSING.
int kt_tls_peer_sha256(SSL *ssl, uint8_t out[KT_SHA256_LEN]) KT_MUST_CHECK;

// For clients: makes `ctx` accept exactly the chains that end in a self-signed certificate with
// this SHA-256 (first contact, by auth code or token), purpose sslserver. The name is checked by
// the caller's host-name setting as usual.
int kt_tls_pin_ca(SSL_CTX *ctx, const uint8_t ca_sha256[KT_SHA256_LEN]) KT_MUST_CHECK;
// For clients: makes `ctx` accept only a server whose own certificate has one of `count` SHA-256s, in
// addition to all else that is asked of it. The verdict on another one is KT_TLS_NOT_LISTED. Keeps no
// sessions. KT_ERR_INVALID: none, or more than KT_TLS_PEERS_MAX.
#define KT_TLS_PEERS_MAX  2
#define KT_TLS_NOT_LISTED X509_V_ERR_APPLICATION_VERIFICATION
int kt_tls_pin_peer(SSL_CTX *ctx, const uint8_t (*sha256)[KT_SHA256_LEN],
                    size_t count) KT_MUST_CHECK;

// The first error of OpenSSL's queue as text (the queue is cleared).
void kt_tls_error_text(char *out, size_t size);

#endif
