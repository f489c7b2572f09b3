// SPDX-License-Identifier: Apache-2.0
// Real handshakes in memory: the verdict on a client, resumption, and the pinned CA.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "lib/encode.h"
#include "lib/pki.h"
#include "lib/tls.h"

#define CLUSTER "0e37df36-f698-41e6-88dd-2c1f2e5c2f5b"
#define CLIENT  "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
#define DAY_S   86400
#define YEAR_US (366LL * DAY_S * 1000000)

static char dir[] = "/tmp/kt-tls-XXXXXX";
static char cert_file[64], key_file[64], ca_file[64];
static EVP_PKEY *ca_key, *other_key, *key;
static X509 *ca, *other_ca, *good, *foreign, *expired, *server;
static uint8_t pin[KT_SHA256_LEN];
static struct kt_tls_tickets tickets;

static X509 *issue(EVP_PKEY *issuer_key, X509 *issuer, enum kt_pki_role role)
{
    struct kt_pki_subject subject = {.role = role, .common_name = CLIENT, .lifetime_s = DAY_S};
    X509 *cert = NULL;
    if (kt_pki_sign(issuer_key, issuer, key, &subject, &cert) != 0)
        return NULL;
    return cert;
}

// Ends a minute ago.
static X509 *make_expired(X509 *cert)
{
    if (cert == NULL || X509_gmtime_adj(X509_getm_notAfter(cert), -60) == NULL ||
        X509_sign(cert, ca_key, EVP_sha256()) <= 0)
        return NULL;
    return cert;
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL || kt_pki_new_p256(&ca_key) != 0 || kt_pki_new_p256(&other_key) != 0 ||
        kt_pki_new_p256(&key) != 0 || kt_pki_make_ca(ca_key, CLUSTER, 2 * DAY_S, &ca) != 0 ||
        kt_pki_make_ca(other_key, CLUSTER, 2 * DAY_S, &other_ca) != 0 ||
        kt_pki_cert_sha256(ca, pin) != 0)
        return -1;
    good = issue(ca_key, ca, KT_PKI_CLIENT);
    foreign = issue(other_key, other_ca, KT_PKI_CLIENT);
    expired = make_expired(issue(ca_key, ca, KT_PKI_CLIENT));
    server = issue(ca_key, ca, KT_PKI_SERVER);
    snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", dir);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", dir);
    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", dir);
    if (!good || !foreign || !expired || !server ||
        kt_pki_cert_save(cert_file, server, ca, NULL) != 0 ||
        kt_pki_key_save(key_file, key, NULL) != 0 || kt_pki_cert_save(ca_file, ca, NULL, NULL) != 0)
        return -1;
    return kt_random(&tickets, sizeof(tickets));
}

static int tear_down(void **state)
{
    (void)state;
    X509 *certs[] = {ca, other_ca, good, foreign, expired, server};
    for (size_t i = 0; i < sizeof(certs) / sizeof(certs[0]); i++)
        X509_free(certs[i]);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(other_key);
    EVP_PKEY_free(key);
    unlink(cert_file);
    unlink(key_file);
    unlink(ca_file);
    return rmdir(dir);
}

static SSL_CTX *new_server(const char *cluster, const struct kt_tls_tickets *keys)
{
    SSL_CTX *ctx = NULL;
    struct kt_error error = {0};
    assert_int_equal(kt_tls_server_new(cert_file, key_file, ca_file, cluster, &ctx, &error), 0);
    if (keys != NULL)
        kt_tls_server_set_tickets(ctx, keys);
    return ctx;
}

static SSL_CTX *new_client(X509 *cert, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(ctx);
    assert_int_equal(kt_tls_pin_ca(ctx, pin), 0);
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    if (cert != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    }
    return ctx;
}

struct link {
    SSL *client, *server;
    int connected;
};

// 1 when the call failed for good.
static int is_broken(SSL *ssl, int rc)
{
    int reason = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, rc);
    return reason != SSL_ERROR_NONE && reason != SSL_ERROR_WANT_READ &&
           reason != SSL_ERROR_WANT_WRITE;
}

// A handshake to the end or to the first failure; on success one byte goes to the client, so that
// it has read the tickets before it.
static struct link link_up(SSL_CTX *client, SSL_CTX *server_ctx, const char *host,
                           SSL_SESSION *session)
{
    struct link link = {SSL_new(client), SSL_new(server_ctx), 0};
    BIO *a = NULL, *b = NULL;
    char byte = 'x';
    assert_non_null(link.client);
    assert_non_null(link.server);
    assert_int_equal(BIO_new_bio_pair(&a, 64 * 1024, &b, 64 * 1024), 1);
    SSL_set_bio(link.client, a, a);
    SSL_set_bio(link.server, b, b);
    SSL_set_connect_state(link.client);
    SSL_set_accept_state(link.server);
    assert_int_equal(SSL_set1_host(link.client, host), 1);
    if (session != NULL)
        assert_int_equal(SSL_set_session(link.client, session), 1);
    for (int turn = 0; turn < 20; turn++) {
        ERR_clear_error();
        int c = SSL_do_handshake(link.client);
        if (is_broken(link.client, c))
            break;
        ERR_clear_error();
        int s = SSL_do_handshake(link.server);
        if (is_broken(link.server, s))
            break;
        if (c == 1 && s == 1) {
            link.connected =
                SSL_write(link.server, &byte, 1) == 1 && SSL_read(link.client, &byte, 1) == 1;
            break;
        }
    }
    ERR_clear_error();
    return link;
}

static void link_down(struct link *link)
{
    SSL_shutdown(link->client); // else the session is taken for a broken one
    SSL_free(link->client);
    SSL_free(link->server);
    ERR_clear_error();
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

// Connects in both versions and compares the verdict.
static void assert_verdict(X509 *cert, int expected)
{
    for (int i = 0; i < 2; i++) {
        SSL_CTX *s = new_server(CLUSTER, &tickets), *c = new_client(cert, versions[i]);
        struct link link = link_up(c, s, KT_PKI_SERVICE_NAME, NULL);
        uint8_t sent[KT_SHA256_LEN], seen[KT_SHA256_LEN];
        assert_true(link.connected);
        assert_int_equal(SSL_version(link.server), versions[i]);
        assert_int_equal(kt_tls_peer_error(link.server, kt_time_now()), expected);
        if (cert != NULL) {
            assert_int_equal(kt_pki_cert_sha256(cert, sent), 0);
            assert_int_equal(kt_tls_peer_sha256(link.server, seen), 0);
            assert_memory_equal(sent, seen, sizeof(sent));
        } else {
            assert_int_equal(kt_tls_peer_sha256(link.server, seen), KT_ERR_CERTIFICATE_MISSING);
        }
        link_down(&link);
        SSL_CTX_free(c);
        SSL_CTX_free(s);
    }
}

static void client_without_certificate_connects_and_is_told_apart(void **state)
{
    (void)state;
    assert_verdict(NULL, KT_ERR_CERTIFICATE_MISSING);
}

static void good_certificate_is_good(void **state)
{
    (void)state;
    assert_verdict(good, 0);
}

static void certificate_of_another_ca_is_unknown(void **state)
{
    (void)state;
    assert_verdict(foreign, KT_ERR_CERTIFICATE_UNKNOWN_CA);
}

static void expired_certificate_is_expired(void **state)
{
    (void)state;
    assert_verdict(expired, KT_ERR_CERTIFICATE_EXPIRED);
}

static void expired_certificate_of_another_ca_is_unknown(void **state)
{
    (void)state;
    X509 *cert = X509_dup(foreign);
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), -60));
    assert_true(X509_sign(cert, other_key, EVP_sha256()) > 0);
    assert_verdict(cert, KT_ERR_CERTIFICATE_UNKNOWN_CA);
    X509_free(cert);
}

static void server_certificate_is_none_for_a_client(void **state)
{
    (void)state;
    assert_verdict(server, KT_ERR_CERTIFICATE_UNKNOWN_CA);
}

// Its proof would be checked with its sender's key, which may be as costly as the
// sender likes: it is not asked for.
static void certificate_for_an_rsa_key_is_none(void **state)
{
    (void)state;
    EVP_PKEY *rsa = EVP_RSA_gen(2048);
    X509 *cert = X509_dup(good);
    assert_non_null(rsa);
    assert_int_equal(X509_set_pubkey(cert, rsa), 1);
    assert_true(X509_sign(cert, ca_key, EVP_sha256()) > 0);
    for (int i = 0; i < 2; i++) {
        SSL_CTX *s = new_server(CLUSTER, &tickets), *c = new_client(NULL, versions[i]);
        assert_int_equal(SSL_CTX_use_certificate(c, cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(c, rsa), 1);
        struct link link = link_up(c, s, KT_PKI_SERVICE_NAME, NULL);
        assert_int_equal(kt_tls_peer_error(link.server, kt_time_now()), KT_ERR_CERTIFICATE_MISSING);
        link_down(&link);
        SSL_CTX_free(c);
        SSL_CTX_free(s);
    }
    X509_free(cert);
    EVP_PKEY_free(rsa);
}

static void certificate_with_a_changed_byte_is_unknown(void **state)
{
    (void)state;
    struct kt_buf der = KT_BUF_INIT(8192);
    X509 *cert = NULL;
    assert_int_equal(kt_pki_cert_to_der(good, &der), 0);
    der.data[der.len - 1] ^= 1; // in the signature
    assert_int_equal(kt_pki_cert_from_der(der.data, der.len, &cert), 0);
    assert_verdict(cert, KT_ERR_CERTIFICATE_UNKNOWN_CA);
    X509_free(cert);
    kt_buf_free(&der);
}

static void certificate_expires_while_connected(void **state)
{
    (void)state;
    SSL_CTX *s = new_server(CLUSTER, &tickets), *c = new_client(good, TLS1_3_VERSION);
    struct link link = link_up(c, s, KT_PKI_SERVICE_NAME, NULL);
    assert_int_equal(kt_tls_peer_error(link.server, kt_time_now()), 0);
    assert_int_equal(kt_tls_peer_error(link.server, kt_time_now() + YEAR_US),
                     KT_ERR_CERTIFICATE_EXPIRED);
    link_down(&link);
    SSL_CTX_free(c);
    SSL_CTX_free(s);
}

static void client_is_asked_for_a_certificate_of_our_ca_only(void **state)
{
    (void)state;
    SSL_CTX *s = new_server(CLUSTER, NULL), *c = new_client(NULL, TLS1_3_VERSION);
    struct link link = link_up(c, s, KT_PKI_SERVICE_NAME, NULL);
    const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(link.client);
    assert_int_equal(sk_X509_NAME_num(names), 1);
    assert_int_equal(X509_NAME_cmp(sk_X509_NAME_value(names, 0), X509_get_subject_name(ca)), 0);
    link_down(&link);
    SSL_CTX_free(c);
    SSL_CTX_free(s);
}

static int ticket_differs(const SSL_SESSION *a, const SSL_SESSION *b)
{
    const unsigned char *one = NULL, *two = NULL;
    size_t n_one = 0, n_two = 0;
    SSL_SESSION_get0_ticket(a, &one, &n_one);
    SSL_SESSION_get0_ticket(b, &two, &n_two);
    return n_one != n_two || memcmp(one, two, n_one) != 0;
}

// A first connection at `first`, a second one with its session at `second`. Returns 1 when the
// second one was resumed; its verdict must be `expected` all the same.
static int resume(X509 *cert, int version, SSL_CTX *first, SSL_CTX *second, int expected)
{
    SSL_CTX *c = new_client(cert, version);
    struct link link = link_up(c, first, KT_PKI_SERVICE_NAME, NULL);
    uint8_t sent[KT_SHA256_LEN], seen[KT_SHA256_LEN];
    assert_true(link.connected);
    assert_false(SSL_session_reused(link.server));
    SSL_SESSION *session = SSL_get1_session(link.client);
    link_down(&link);
    link = link_up(c, second, KT_PKI_SERVICE_NAME, session);
    assert_true(link.connected);
    int reused = SSL_session_reused(link.server);
    assert_int_equal(kt_tls_peer_error(link.server, kt_time_now()), expected);
    if (cert != NULL) {
        assert_int_equal(kt_pki_cert_sha256(cert, sent), 0);
        assert_int_equal(kt_tls_peer_sha256(link.server, seen), 0);
        assert_memory_equal(sent, seen, sizeof(sent));
        if (expected == 0)
            assert_int_equal(kt_tls_peer_error(link.server, kt_time_now() + YEAR_US),
                             KT_ERR_CERTIFICATE_EXPIRED);
    }
    SSL_SESSION *next = SSL_get1_session(link.client);
    if (reused && version == TLS1_3_VERSION)
        assert_true(ticket_differs(session, next)); // its clients use a ticket once
    SSL_SESSION_free(session);
    session = next;
    link_down(&link);
    if (reused) { // and once more, with the ticket of the resumed connection
        link = link_up(c, first, KT_PKI_SERVICE_NAME, session);
        assert_true(link.connected && SSL_session_reused(link.server));
        assert_int_equal(kt_tls_peer_error(link.server, kt_time_now()), expected);
        link_down(&link);
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(c);
    return reused;
}

static void resumed_session_keeps_certificate_and_verdict(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        SSL_CTX *one = new_server(CLUSTER, &tickets), *two = new_server(CLUSTER, &tickets);
        assert_true(resume(good, versions[i], one, two, 0));
        assert_true(resume(foreign, versions[i], one, two, KT_ERR_CERTIFICATE_UNKNOWN_CA));
        assert_true(resume(expired, versions[i], one, two, KT_ERR_CERTIFICATE_EXPIRED));
        assert_true(resume(NULL, versions[i], one, two, KT_ERR_CERTIFICATE_MISSING));
        SSL_CTX_free(one);
        SSL_CTX_free(two);
    }
}

static void tickets_of_the_key_before_are_taken(void **state)
{
    (void)state;
    struct kt_tls_tickets rotated = tickets;
    memcpy(rotated.previous, tickets.current, sizeof(rotated.previous));
    assert_int_equal(kt_random(rotated.current, sizeof(rotated.current)), 0);
    for (int i = 0; i < 2; i++) {
        SSL_CTX *one = new_server(CLUSTER, &tickets), *two = new_server(CLUSTER, &rotated);
        SSL_CTX *c = new_client(good, versions[i]);
        struct link link = link_up(c, one, KT_PKI_SERVICE_NAME, NULL);
        SSL_SESSION *session = SSL_get1_session(link.client);
        link_down(&link);
        link = link_up(c, two, KT_PKI_SERVICE_NAME, session);
        assert_true(link.connected && SSL_session_reused(link.server));
        assert_int_equal(kt_tls_peer_error(link.server, kt_time_now()), 0);
        SSL_SESSION_free(session);
        link_down(&link);
        SSL_CTX_free(c);
        SSL_CTX_free(one);
        SSL_CTX_free(two);
    }
}

static void tickets_of_other_keys_mean_a_full_handshake(void **state)
{
    (void)state;
    struct kt_tls_tickets others;
    assert_int_equal(kt_random(&others, sizeof(others)), 0);
    for (int i = 0; i < 2; i++) {
        SSL_CTX *one = new_server(CLUSTER, &tickets), *two = new_server(CLUSTER, &others);
        assert_false(resume(good, versions[i], one, two, 0));
        SSL_CTX_free(one);
        SSL_CTX_free(two);
    }
}

// The ticket says that the certificate was good, and so it was.
static void sessions_are_not_resumed_when_a_root_has_ended(void **state)
{
    X509 *list[] = {ca, other_ca}, *both = NULL;

    (void)state;
    assert_int_equal(kt_pki_ca_make(list, 2, &both), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kt_pki_ca_save(ca_file, both, NULL), 0);
        SSL_CTX *one = new_server(CLUSTER, &tickets), *same = new_server(CLUSTER, &tickets);
        assert_int_equal(kt_pki_ca_save(ca_file, ca, NULL), 0);
        SSL_CTX *two = new_server(CLUSTER, &tickets);
        assert_true(resume(foreign, versions[i], one, same, 0));
        assert_false(resume(foreign, versions[i], one, two, KT_ERR_CERTIFICATE_UNKNOWN_CA));
        assert_false(resume(good, versions[i], one, two, 0));
        SSL_CTX_free(one);
        SSL_CTX_free(same);
        SSL_CTX_free(two);
    }
    X509_free(both);
}

static void sessions_of_another_cluster_are_not_resumed(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        SSL_CTX *one = new_server(CLUSTER, &tickets), *two = new_server("another", &tickets);
        assert_false(resume(good, versions[i], one, two, 0));
        SSL_CTX_free(one);
        SSL_CTX_free(two);
    }
}

// OpenSSL's buffers are freed as they are.
static void what_was_read_is_wiped(void **state)
{
    SSL_CTX *s = new_server(CLUSTER, &tickets);

    (void)state;
    assert_true(SSL_CTX_get_options(s) & SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_free(s);
}

static void old_versions_and_suites_are_refused(void **state)
{
    (void)state;
    static const char *const suites[] = {"ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA",
                                         "AES128-GCM-SHA256"};
    SSL_CTX *s = new_server(CLUSTER, &tickets), *c = new_client(NULL, TLS1_1_VERSION);
    // OpenSSL's own defaults refuse some of this too; these are ours.
    assert_int_equal(SSL_CTX_get_min_proto_version(s), TLS1_2_VERSION);
    assert_true(SSL_CTX_get_options(s) & SSL_OP_NO_RENEGOTIATION);
    assert_true(SSL_CTX_get_options(s) & SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_security_level(c, 0);
    struct link link = link_up(c, s, KT_PKI_SERVICE_NAME, NULL);
    assert_false(link.connected);
    link_down(&link);
    SSL_CTX_free(c);
    for (int i = 0; i < 3; i++) {
        c = new_client(NULL, TLS1_2_VERSION);
        assert_int_equal(SSL_CTX_set_cipher_list(c, suites[i]), 1);
        link = link_up(c, s, KT_PKI_SERVICE_NAME, NULL);
        assert_false(link.connected);
        link_down(&link);
        SSL_CTX_free(c);
    }
    SSL_CTX_free(s);
}

static void renegotiation_is_refused(void **state)
{
    (void)state;
    SSL_CTX *s = new_server(CLUSTER, NULL), *c = new_client(good, TLS1_2_VERSION);
    struct link link = link_up(c, s, KT_PKI_SERVICE_NAME, NULL);
    char byte = 0;
    int refused = 0;
    assert_true(link.connected);
    assert_int_equal(SSL_renegotiate(link.client), 1);
    for (int turn = 0; turn < 5 && !refused; turn++) {
        refused = is_broken(link.client, SSL_do_handshake(link.client));
        SSL_read(link.server, &byte, 1);
        ERR_clear_error();
    }
    assert_true(refused);
    link_down(&link);
    SSL_CTX_free(c);
    SSL_CTX_free(s);
}

static void wrong_server_files_are_refused(void **state)
{
    (void)state;
    SSL_CTX *ctx = NULL;
    struct kt_error error = {0};
    char other[64];
    snprintf(other, sizeof(other), "%s/other.pem", dir);
    assert_int_equal(kt_tls_server_new(other, key_file, ca_file, CLUSTER, &ctx, &error),
                     KT_ERR_CRYPTO);
    assert_non_null(strstr(error.message, other));
    assert_int_equal(kt_tls_server_new(cert_file, other, ca_file, CLUSTER, &ctx, &error),
                     KT_ERR_NOT_FOUND);
    assert_int_equal(kt_tls_server_new(cert_file, key_file, other, CLUSTER, &ctx, &error),
                     KT_ERR_NOT_FOUND);
    assert_int_equal(kt_pki_key_save(other, other_key, &error), 0);
    assert_int_equal(kt_tls_server_new(cert_file, other, ca_file, CLUSTER, &ctx, &error),
                     KT_ERR_CRYPTO);
    unlink(other);
    assert_int_equal(chmod(key_file, 0644), 0);
    assert_int_equal(kt_tls_server_new(cert_file, key_file, ca_file, CLUSTER, &ctx, &error),
                     KT_ERR_PERMISSION);
    assert_int_equal(chmod(key_file, 0600), 0);
}

// A server that is not ours: any certificate, any chain behind it.
static SSL_CTX *strange_server(X509 *cert, X509 *chain)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(ctx);
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    if (chain != NULL)
        assert_int_equal(SSL_CTX_add1_chain_cert(ctx, chain), 1);
    return ctx;
}

static int connects(SSL_CTX *client, SSL_CTX *server_ctx, const char *host)
{
    struct link link = link_up(client, server_ctx, host, NULL);
    int connected = link.connected;
    link_down(&link);
    return connected;
}

static void pinned_client_checks_the_host_name(void **state)
{
    (void)state;
    SSL_CTX *s = new_server(CLUSTER, NULL), *c = new_client(NULL, TLS1_3_VERSION);
    assert_true(connects(c, s, KT_PKI_SERVICE_NAME));
    assert_true(connects(c, s, "localhost"));
    assert_false(connects(c, s, "other.example.com"));
    SSL_CTX_free(c);
    SSL_CTX_free(s);
}

static void pinned_client_accepts_exactly_its_ca(void **state)
{
    (void)state;
    uint8_t other_pin[KT_SHA256_LEN], leaf_pin[KT_SHA256_LEN];
    SSL_CTX *s = new_server(CLUSTER, NULL), *c = new_client(NULL, TLS1_3_VERSION);
    assert_int_equal(kt_pki_cert_sha256(other_ca, other_pin), 0);
    assert_int_equal(kt_pki_cert_sha256(server, leaf_pin), 0);
    assert_true(connects(c, s, KT_PKI_SERVICE_NAME));
    // The context's own store does not count.
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(c), ca), 1);
    assert_int_equal(kt_tls_pin_ca(c, other_pin), 0);
    assert_false(connects(c, s, KT_PKI_SERVICE_NAME));
    // Nor does a server's own certificate serve as the CA.
    assert_int_equal(kt_tls_pin_ca(c, leaf_pin), 0);
    assert_false(connects(c, s, KT_PKI_SERVICE_NAME));
    assert_int_equal(kt_tls_pin_ca(c, pin), 0);
    assert_true(connects(c, s, KT_PKI_SERVICE_NAME));
    SSL_CTX_free(c);
    SSL_CTX_free(s);
}

static void pinned_client_refuses_other_servers(void **state)
{
    (void)state;
    SSL_CTX *c = new_client(NULL, TLS1_3_VERSION);
    X509 *theirs = issue(other_key, other_ca, KT_PKI_SERVER);
    X509 *old = make_expired(issue(ca_key, ca, KT_PKI_SERVER));
    struct {
        X509 *cert, *chain;
    } cases[] = {
        {server, NULL},                 // without its CA: nothing to compare
        {theirs, ca},                   // another CA's, with our CA sent along
        {theirs, other_ca}, {good, ca}, // a client of ours poses as a server
        {old, ca},
    };
    SSL_CTX *s = strange_server(server, ca);
    assert_true(connects(c, s, KT_PKI_SERVICE_NAME)); // the harness itself works
    SSL_CTX_free(s);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        s = strange_server(cases[i].cert, cases[i].chain);
        assert_false(connects(c, s, KT_PKI_SERVICE_NAME));
        SSL_CTX_free(s);
    }
    X509_free(theirs);
    X509_free(old);
    SSL_CTX_free(c);
}

// Chain, name and times are good in all of them: it is another certificate.
static void only_a_listed_certificate_of_the_server_is_accepted(void **state)
{
    (void)state;
    uint8_t listed[2][KT_SHA256_LEN] = {{0}};
    SSL_CTX *s = new_server(CLUSTER, &tickets), *c = new_client(NULL, TLS1_3_VERSION);
    X509 *twin = issue(ca_key, ca, KT_PKI_SERVER);
    struct link link;
    assert_int_equal(kt_pki_cert_sha256(twin, listed[0]), 0);
    link = link_up(c, s, KT_PKI_SERVICE_NAME, NULL);
    assert_true(link.connected);
    link_down(&link);
    assert_int_equal(kt_tls_pin_peer(c, (const uint8_t(*)[KT_SHA256_LEN])listed, 0),
                     KT_ERR_INVALID);
    assert_int_equal(kt_tls_pin_peer(c, (const uint8_t(*)[KT_SHA256_LEN])listed, 1), 0);
    assert_int_equal(SSL_CTX_get_session_cache_mode(c), SSL_SESS_CACHE_OFF);
    link = link_up(c, s, KT_PKI_SERVICE_NAME, NULL);
    assert_false(link.connected);
    assert_int_equal(SSL_get_verify_result(link.client), KT_TLS_NOT_LISTED);
    link_down(&link);
    // the second one of the list, and the name is asked for all the same
    assert_int_equal(kt_pki_cert_sha256(server, listed[1]), 0);
    assert_int_equal(kt_tls_pin_peer(c, (const uint8_t(*)[KT_SHA256_LEN])listed, 2), 0);
    assert_true(connects(c, s, KT_PKI_SERVICE_NAME));
    assert_false(connects(c, s, "other.example.com"));
    X509_free(twin);
    SSL_CTX_free(c);
    SSL_CTX_free(s);
}

// What is listed does not stand in for the CA.
static void a_listed_certificate_of_another_ca_is_refused(void **state)
{
    (void)state;
    uint8_t listed[1][KT_SHA256_LEN];
    X509 *theirs = issue(other_key, other_ca, KT_PKI_SERVER);
    SSL_CTX *s = strange_server(theirs, other_ca), *c = new_client(NULL, TLS1_3_VERSION);
    assert_int_equal(kt_pki_cert_sha256(theirs, listed[0]), 0);
    assert_int_equal(kt_tls_pin_peer(c, (const uint8_t(*)[KT_SHA256_LEN])listed, 1), 0);
    assert_false(connects(c, s, KT_PKI_SERVICE_NAME));
    X509_free(theirs);
    SSL_CTX_free(c);
    SSL_CTX_free(s);
}

static void error_text_says_the_first_reason_and_clears(void **state)
{
    (void)state;
    char text[128];
    ERR_clear_error();
    kt_tls_error_text(text, sizeof(text));
    assert_string_equal(text, "no reason given");
    ERR_raise_data(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER, "first");
    ERR_raise_data(ERR_LIB_SSL, SSL_R_BAD_LENGTH, "second");
    kt_tls_error_text(text, sizeof(text));
    assert_string_equal(text, "no shared cipher (first)");
    assert_true(ERR_peek_error() == 0);
    ERR_raise(ERR_LIB_SYS, 2);
    kt_tls_error_text(text, sizeof(text));
    assert_string_equal(text, "No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_without_certificate_connects_and_is_told_apart),
        cmocka_unit_test(good_certificate_is_good),
        cmocka_unit_test(certificate_of_another_ca_is_unknown),
        cmocka_unit_test(expired_certificate_is_expired),
        cmocka_unit_test(expired_certificate_of_another_ca_is_unknown),
        cmocka_unit_test(server_certificate_is_none_for_a_client),
        cmocka_unit_test(certificate_for_an_rsa_key_is_none),
        cmocka_unit_test(certificate_with_a_changed_byte_is_unknown),
        cmocka_unit_test(certificate_expires_while_connected),
        cmocka_unit_test(client_is_asked_for_a_certificate_of_our_ca_only),
        cmocka_unit_test(resumed_session_keeps_certificate_and_verdict),
        cmocka_unit_test(tickets_of_the_key_before_are_taken),
        cmocka_unit_test(tickets_of_other_keys_mean_a_full_handshake),
        cmocka_unit_test(sessions_are_not_resumed_when_a_root_has_ended),
        cmocka_unit_test(sessions_of_another_cluster_are_not_resumed),
        cmocka_unit_test(what_was_read_is_wiped),
        cmocka_unit_test(old_versions_and_suites_are_refused),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(wrong_server_files_are_refused),
        cmocka_unit_test(pinned_client_checks_the_host_name),
        cmocka_unit_test(pinned_client_accepts_exactly_its_ca),
        cmocka_unit_test(pinned_client_refuses_other_servers),
        cmocka_unit_test(only_a_listed_certificate_of_the_server_is_accepted),
        cmocka_unit_test(a_listed_certificate_of_another_ca_is_refused),
        cmocka_unit_test(error_text_says_the_first_reason_and_clears),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
