// SPDX-License-Identifier: Apache-2.0
// Certificates of the internal CA: what is in them, and what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "lib/encode.h"
#include "lib/pki.h"

#define CLUSTER "0e37df36-f698-41e6-88dd-2c1f2e5c2f5b"
#define CLIENT  "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
#define DAY_S   86400
#define SECOND  1000000LL

struct fixture {
    char dir[32];
    EVP_PKEY *ca_key;
    X509 *ca;
    EVP_PKEY *key;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return -1;
    snprintf(f->dir, sizeof(f->dir), "/tmp/kt-pki-XXXXXX");
    if (mkdtemp(f->dir) == NULL || kt_pki_new_p256(&f->ca_key) != 0 ||
        kt_pki_make_ca(f->ca_key, CLUSTER, 100 * DAY_S, &f->ca) != 0 ||
        kt_pki_new_p256(&f->key) != 0)
        return -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY_free(f->ca_key);
    EVP_PKEY_free(f->key);
    X509_free(f->ca);
    rmdir(f->dir);
    free(f);
    return 0;
}

static X509 *sign(struct fixture *f, enum kt_pki_role role, const char *name,
                  const char *const *names)
{
    struct kt_pki_subject subject = {.role = role,
                                     .common_name = name,
                                     .names = names,
                                     .organisation = role == KT_PKI_CLIENT ? "acme" : NULL,
                                     .lifetime_s = DAY_S};
    X509 *cert = NULL;
    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &subject, &cert), 0);
    return cert;
}

static void assert_field(X509 *cert, int nid, const char *expected)
{
    char text[128] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), nid, text, sizeof(text));
    assert_string_equal(text, expected);
}

static void assert_critical(X509 *cert, int nid)
{
    int at = X509_get_ext_by_NID(cert, nid, -1);
    assert_true(at >= 0);
    assert_true(X509_EXTENSION_get_critical(X509_get_ext(cert, at)));
}

static void ca_signs_itself_and_nothing_below_signs(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(X509_self_signed(f->ca, 1), 1);
    assert_true(X509_check_ca(f->ca) == 1);
    assert_int_equal(X509_get_pathlen(f->ca), 0);
    assert_int_equal(X509_get_key_usage(f->ca), KU_KEY_CERT_SIGN);
    assert_critical(f->ca, NID_basic_constraints);
    assert_critical(f->ca, NID_key_usage);
    assert_non_null(X509_get0_subject_key_id(f->ca));
    assert_field(f->ca, NID_commonName, CLUSTER);
    assert_int_equal(kt_pki_cert_check(f->ca, f->ca, kt_time_now()), 0);
}

static void client_certificate_says_who_and_is_for_clients_only(void **state)
{
    struct fixture *f = *state;
    X509 *cert = sign(f, KT_PKI_CLIENT, CLIENT, NULL);
    assert_field(cert, NID_commonName, CLIENT);
    assert_field(cert, NID_organizationName, "acme");
    assert_field(cert, NID_organizationalUnitName, "keytrustee client");
    assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_CLIENT);
    assert_int_equal(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
    assert_critical(cert, NID_basic_constraints);
    assert_critical(cert, NID_key_usage);
    assert_int_equal(X509_check_ca(cert), 0);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 0), 1);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 0);
    assert_int_equal(
        ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(cert), X509_get0_subject_key_id(f->ca)),
        0);
    assert_int_equal(kt_pki_cert_check(cert, f->ca, kt_time_now()), 0);
    X509_free(cert);
}

static void server_and_node_certificates_carry_the_service_name(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"kts-01.example.com", "192.0.2.7", "2001:db8::1", NULL};
    static const enum kt_pki_role roles[] = {KT_PKI_SERVER, KT_PKI_NODE};
    for (int i = 0; i < 2; i++) {
        X509 *cert = sign(f, roles[i], "kts-01", names);
        assert_int_equal(X509_check_host(cert, KT_PKI_SERVICE_NAME, 0, 0, NULL), 1);
        assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
        assert_int_equal(X509_check_host(cert, names[0], 0, 0, NULL), 1);
        assert_int_equal(X509_check_host(cert, "kts-02.example.com", 0, 0, NULL), 0);
        assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
        assert_int_equal(X509_check_ip_asc(cert, "::1", 0), 1);
        assert_int_equal(X509_check_ip_asc(cert, names[1], 0), 1);
        assert_int_equal(X509_check_ip_asc(cert, names[2], 0), 1);
        assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 1);
        assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 0), i);
        X509_free(cert);
    }
}

// A server's key is held where the network is faced: nothing makes it a node's.
static void only_nodes_have_the_names_of_nodes(void **state)
{
    struct fixture *f = *state;
    static const char *const TAKEN[] = {"keytrustee-node", "KeyTrustee-Node", "kts-01.0a1b2c3d"};
    X509 *node = sign(f, KT_PKI_NODE, "kts-01.0a1b2c3d", NULL),
         *server = sign(f, KT_PKI_SERVER, "kts-01", NULL), *none = NULL;

    assert_int_equal(X509_check_host(node, KT_PKI_NODE_SERVICE_NAME, 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(node, "kts-01.0a1b2c3d", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(node, "kts-02.0a1b2c3d", 0, 0, NULL), 0);
    assert_int_equal(X509_check_host(server, KT_PKI_NODE_SERVICE_NAME, 0, 0, NULL), 0);
    X509_free(node);
    X509_free(server);
    for (size_t i = 0; i < sizeof(TAKEN) / sizeof(TAKEN[0]); i++) {
        const char *names[] = {TAKEN[i], NULL};
        const struct kt_pki_subject subject = {
            .role = KT_PKI_SERVER, .common_name = "kts-01", .names = names, .lifetime_s = DAY_S};
        assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &subject, &none), KT_ERR_INVALID);
    }
}

static void a_certificate_tells_whose_it_is(void **state)
{
    struct fixture *f = *state;
    const struct kt_pki_subject subject = {
        .role = KT_PKI_CLIENT, .common_name = "ada", .lifetime_s = DAY_S};
    X509 *node = sign(f, KT_PKI_NODE, "kts-01.0a1b2c3d", NULL),
         *server = sign(f, KT_PKI_SERVER, "ada", NULL),
         *client = sign(f, KT_PKI_CLIENT, "ada", NULL), *ada = NULL;

    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &subject, &ada), 0);
    assert_true(kt_pki_is_node(node, "kts-01.0a1b2c3d"));
    assert_true(kt_pki_is_node(node, NULL));
    assert_false(kt_pki_is_node(node, "kts-02.0a1b2c3d"));
    assert_false(kt_pki_is_node(server, NULL));
    assert_false(kt_pki_is_node(client, NULL));
    assert_true(kt_pki_is_operator(ada, "ada"));
    assert_false(kt_pki_is_operator(ada, "eve"));
    assert_false(kt_pki_is_operator(client, "ada")); // of an organisation
    assert_false(kt_pki_is_operator(server, "ada"));
    assert_false(kt_pki_is_operator(node, "kts-01.0a1b2c3d"));
    X509_free(node);
    X509_free(server);
    X509_free(client);
    X509_free(ada);
}

static void receipt_certificate_is_for_no_connection(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    struct kt_pki_subject subject = {
        .role = KT_PKI_RECEIPT, .common_name = "56475aa75463474c", .lifetime_s = DAY_S};
    assert_int_equal(kt_pki_new_ed25519(&key), 0);
    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, key, &subject, &cert), 0);
    assert_int_equal(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
    assert_field(cert, NID_organizationalUnitName, "keytrustee receipt key");
    assert_int_equal(kt_pki_cert_check(cert, f->ca, kt_time_now()), 0);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void ed25519_ca_signs_too(void **state)
{
    struct fixture *f = *state;
    struct kt_pki_subject subject = {
        .role = KT_PKI_CLIENT, .common_name = CLIENT, .lifetime_s = DAY_S};
    EVP_PKEY *key = NULL;
    X509 *ca = NULL, *cert = NULL;
    assert_int_equal(kt_pki_new_ed25519(&key), 0);
    assert_int_equal(kt_pki_make_ca(key, CLUSTER, DAY_S, &ca), 0);
    assert_int_equal(kt_pki_sign(key, ca, f->key, &subject, &cert), 0);
    assert_int_equal(kt_pki_cert_check(cert, ca, kt_time_now()), 0);
    // Same name, other key.
    assert_int_equal(kt_pki_cert_check(cert, f->ca, kt_time_now()), KT_ERR_CERTIFICATE_UNKNOWN_CA);
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(key);
}

static void serial_numbers_are_positive_and_differ(void **state)
{
    struct fixture *f = *state;
    X509 *one = sign(f, KT_PKI_CLIENT, CLIENT, NULL), *two = sign(f, KT_PKI_CLIENT, CLIENT, NULL);
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(one), NULL);
    assert_true(!BN_is_negative(number) && BN_num_bits(number) <= 127);
    assert_true(BN_num_bits(number) > 64);
    assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(one), X509_get0_serialNumber(two)),
                         0);
    BN_free(number);
    X509_free(one);
    X509_free(two);
}

static void validity_begins_an_hour_ago_and_ends_with_the_ca(void **state)
{
    struct fixture *f = *state;
    struct kt_pki_subject subject = {
        .role = KT_PKI_CLIENT, .common_name = CLIENT, .lifetime_s = 1000 * DAY_S};
    int64_t begin = 0, end = 0, ca_begin = 0, ca_end = 0, now = kt_time_now();
    X509 *cert = sign(f, KT_PKI_CLIENT, CLIENT, NULL);
    assert_int_equal(kt_pki_cert_validity(cert, &begin, &end), 0);
    assert_true(begin <= now - 3590 * SECOND && begin >= now - 3720 * SECOND);
    assert_true(end >= now + (DAY_S - 120) * SECOND && end <= now + (DAY_S + 1) * SECOND);
    assert_int_equal(kt_pki_cert_check(cert, f->ca, end), 0);
    assert_int_equal(kt_pki_cert_check(cert, f->ca, end + SECOND), KT_ERR_CERTIFICATE_EXPIRED);
    assert_int_equal(kt_pki_cert_check(cert, f->ca, begin), 0);
    assert_int_equal(kt_pki_cert_check(cert, f->ca, begin - SECOND), KT_ERR_CERTIFICATE_EXPIRED);
    X509_free(cert);
    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &subject, &cert), 0);
    assert_int_equal(kt_pki_cert_validity(cert, &begin, &end), 0);
    assert_int_equal(kt_pki_cert_validity(f->ca, &ca_begin, &ca_end), 0);
    assert_true(end == ca_end);
    X509_free(cert);
}

static void expired_ca_signs_nothing(void **state)
{
    struct fixture *f = *state;
    struct kt_pki_subject subject = {
        .role = KT_PKI_CLIENT, .common_name = CLIENT, .lifetime_s = DAY_S};
    X509 *old = X509_dup(f->ca), *cert = NULL;
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(old), -60));
    assert_true(X509_sign(old, f->ca_key, EVP_sha256()) > 0);
    assert_int_equal(kt_pki_sign(f->ca_key, old, f->key, &subject, &cert),
                     KT_ERR_CERTIFICATE_EXPIRED);
    X509_free(old);
}

static void wrong_subjects_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const bad_names[] = {"a,DNS:evil.example.com", NULL};
    char long_name[80];
    X509 *cert = NULL;
    struct kt_pki_subject good = {.role = KT_PKI_SERVER,
                                  .common_name = "kts-01",
                                  .lifetime_s = DAY_S},
                          bad;
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    bad = good, bad.names = bad_names;
    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &bad, &cert), KT_ERR_INVALID);
    bad = good, bad.common_name = long_name;
    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &bad, &cert), KT_ERR_INVALID);
    bad = good, bad.common_name = NULL;
    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &bad, &cert), KT_ERR_INVALID);
    bad = good, bad.organisation = "";
    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &bad, &cert), KT_ERR_INVALID);
    bad = good, bad.lifetime_s = 0;
    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &bad, &cert), KT_ERR_INVALID);
    bad = good, bad.lifetime_s = INT64_MAX;
    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &bad, &cert), KT_ERR_INVALID);
    bad = good, bad.role = KT_PKI_CA;
    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &bad, &cert), KT_ERR_INVALID);
    // A CA key that is not the CA's.
    assert_int_equal(kt_pki_sign(f->key, f->ca, f->key, &good, &cert), KT_ERR_INVALID);
}

static void certificate_of_another_ca_is_unknown(void **state)
{
    struct fixture *f = *state;
    X509 *cert = sign(f, KT_PKI_CLIENT, CLIENT, NULL), *other = NULL;
    assert_int_equal(kt_pki_make_ca(f->key, "another", DAY_S, &other), 0);
    assert_int_equal(kt_pki_cert_check(cert, other, kt_time_now()), KT_ERR_CERTIFICATE_UNKNOWN_CA);
    // A changed signature, with all names and key identifiers right.
    struct kt_buf der = KT_BUF_INIT(8192);
    X509 *changed = NULL;
    assert_int_equal(kt_pki_cert_to_der(cert, &der), 0);
    der.data[der.len - 1] ^= 1;
    assert_int_equal(kt_pki_cert_from_der(der.data, der.len, &changed), 0);
    assert_int_equal(kt_pki_cert_check(changed, f->ca, kt_time_now()),
                     KT_ERR_CERTIFICATE_UNKNOWN_CA);
    X509_free(changed);
    kt_buf_free(&der);
    // A client's certificate signs nothing, whatever its names say.
    assert_int_equal(kt_pki_cert_check(cert, cert, kt_time_now()), KT_ERR_CERTIFICATE_UNKNOWN_CA);
    X509_free(other);
    X509_free(cert);
}

static void keys_are_saved_privately_and_loaded(void **state)
{
    struct fixture *f = *state;
    char path[64];
    struct stat st;
    struct kt_error error = {0};
    EVP_PKEY *key = NULL;
    snprintf(path, sizeof(path), "%s/key.pem", f->dir);
    assert_int_equal(kt_pki_key_load(path, &key, &error), KT_ERR_NOT_FOUND);
    assert_int_equal(kt_pki_key_save(path, f->key, &error), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(kt_pki_key_load(path, &key, &error), 0);
    assert_int_equal(EVP_PKEY_eq(key, f->key), 1);
    EVP_PKEY_free(key);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(kt_pki_key_load(path, &key, &error), KT_ERR_PERMISSION);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 60), 0);
    assert_int_equal(kt_pki_key_load(path, &key, &error), KT_ERR_CRYPTO);
    unlink(path);
}

static void key_with_a_passphrase_is_refused_without_asking(void **state)
{
    struct fixture *f = *state;
    char path[64];
    EVP_PKEY *key = NULL;
    struct kt_error error = {0};
    snprintf(path, sizeof(path), "%s/locked.pem", f->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(
        PEM_write_PKCS8PrivateKey(file, f->key, EVP_aes_256_cbc(), "secret", 6, NULL, NULL), 1);
    fclose(file);
    chmod(path, 0600);
    assert_int_equal(kt_pki_key_load(path, &key, &error), KT_ERR_CRYPTO);
    unlink(path);
}

static void certificates_are_saved_with_their_chain_and_loaded(void **state)
{
    struct fixture *f = *state;
    char path[64];
    uint8_t a[KT_SHA256_LEN], b[KT_SHA256_LEN];
    struct kt_error error = {0};
    X509 *cert = sign(f, KT_PKI_SERVER, "kts-01", NULL), *loaded = NULL;
    snprintf(path, sizeof(path), "%s/cert.pem", f->dir);
    assert_int_equal(kt_pki_cert_load(path, &loaded, &error), KT_ERR_NOT_FOUND);
    assert_int_equal(kt_pki_cert_save(path, cert, f->ca, &error), 0);
    assert_int_equal(kt_pki_cert_load(path, &loaded, &error), 0);
    assert_int_equal(kt_pki_cert_sha256(cert, a), 0);
    assert_int_equal(kt_pki_cert_sha256(loaded, b), 0);
    assert_memory_equal(a, b, sizeof(a));
    X509_free(loaded);
    loaded = NULL;
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(kt_pki_cert_load(path, &loaded, &error), KT_ERR_INVALID);
    unlink(path);
    X509_free(cert);
}

static void certificates_are_read_from_bytes(void **state)
{
    struct fixture *f = *state;
    struct kt_buf pem = KT_BUF_INIT(8192), der = KT_BUF_INIT(8192);
    uint8_t a[KT_SHA256_LEN], b[KT_SHA256_LEN];
    X509 *cert = NULL;
    assert_int_equal(kt_pki_cert_to_pem(f->ca, &pem), 0);
    assert_int_equal(kt_pki_cert_to_der(f->ca, &der), 0);
    assert_int_equal(kt_pki_cert_from_pem(kt_buf_ptr(&pem), kt_buf_left(&pem), &cert), 0);
    assert_int_equal(X509_cmp(cert, f->ca), 0);
    X509_free(cert);
    assert_int_equal(kt_pki_cert_from_der(kt_buf_ptr(&der), kt_buf_left(&der), &cert), 0);
    assert_int_equal(kt_pki_cert_sha256(cert, a), 0);
    assert_int_equal(kt_sha256(kt_buf_ptr(&der), kt_buf_left(&der), b), 0);
    assert_memory_equal(a, b, sizeof(a));
    X509_free(cert);
    for (size_t n = 0; n < kt_buf_left(&der); n++)
        assert_int_equal(kt_pki_cert_from_der(kt_buf_ptr(&der), n, &cert), KT_ERR_INVALID);
    assert_int_equal(kt_buf_put_u8(&der, 0), 0);
    assert_int_equal(kt_pki_cert_from_der(kt_buf_ptr(&der), kt_buf_left(&der), &cert),
                     KT_ERR_INVALID);
    assert_int_equal(kt_pki_cert_from_pem("", 0, &cert), KT_ERR_INVALID);
    assert_int_equal(kt_pki_cert_from_pem("hello", 5, &cert), KT_ERR_INVALID);
    assert_int_equal(kt_pki_cert_from_pem("", 1 << 20, &cert), KT_ERR_TOO_LARGE);
    assert_int_equal(kt_pki_cert_from_der("", 1 << 20, &cert), KT_ERR_TOO_LARGE);
    kt_buf_free(&pem);
    kt_buf_free(&der);
}

static int request_key(EVP_PKEY *key, EVP_PKEY **found, struct kt_error *error)
{
    struct kt_buf pem = KT_BUF_INIT(8192);
    assert_int_equal(kt_pki_csr_make(key, &pem), 0);
    int rc = kt_pki_csr_key(kt_buf_ptr(&pem), kt_buf_left(&pem), found, error);
    kt_buf_free(&pem);
    return rc;
}

static void a_set_is_told_from_another_by_its_mark(void **state)
{
    char mark[KT_PKI_CA_MARK_TEXT], other[KT_PKI_CA_MARK_TEXT];

    (void)state;
    assert_int_equal(kt_pki_ca_mark("abc", 3, mark), 0);
    assert_string_equal(mark, "ba7816bf8f01cfea414140de5dae2223"); // FIPS 180-4, half of it
    assert_int_equal(kt_pki_ca_mark("abd", 3, other), 0);
    assert_string_not_equal(mark, other);
}

static void requests_for_good_keys_are_accepted(void **state)
{
    struct fixture *f = *state;
    uint8_t a[KT_SHA256_LEN], b[KT_SHA256_LEN];
    EVP_PKEY *keys[3] = {NULL}, *found = NULL;
    (void)f;
    assert_int_equal(kt_pki_new_p256(&keys[0]), 0);
    assert_int_equal(kt_pki_new_ed25519(&keys[1]), 0);
    keys[2] = EVP_EC_gen("P-384");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(request_key(keys[i], &found, NULL), 0);
        assert_int_equal(EVP_PKEY_eq(found, keys[i]), 1);
        assert_int_equal(kt_pki_key_sha256(found, a), 0);
        assert_int_equal(kt_pki_key_sha256(keys[i], b), 0);
        assert_memory_equal(a, b, sizeof(a));
        EVP_PKEY_free(found);
        EVP_PKEY_free(keys[i]);
    }
}

static void requests_for_other_keys_are_refused(void **state)
{
    (void)state;
    EVP_PKEY *keys[4], *found = NULL;
    keys[0] = EVP_RSA_gen(2048);
    keys[1] = EVP_EC_gen("P-521");
    keys[2] = EVP_EC_gen("secp256k1");
    keys[3] = EVP_EC_gen("P-256");
    // P-256 spelt out as parameters instead of by its name.
    assert_int_equal(EVP_PKEY_set_utf8_string_param(keys[3], "encoding", "explicit"), 1);
    for (int i = 0; i < 4; i++) {
        struct kt_error error = {0};
        assert_int_equal(request_key(keys[i], &found, &error), KT_ERR_CSR_INVALID);
        assert_true(strlen(error.hint) > 0);
        EVP_PKEY_free(keys[i]);
    }
}

static void malformed_requests_are_refused(void **state)
{
    struct fixture *f = *state;
    struct kt_buf pem = KT_BUF_INIT(8192);
    EVP_PKEY *found = NULL;
    char *text = NULL;
    assert_int_equal(kt_pki_csr_make(f->key, &pem), 0);
    for (size_t n = 0; n + 1 < kt_buf_left(&pem); n++) // the last newline may be missing
        assert_int_equal(kt_pki_csr_key(kt_buf_ptr(&pem), n, &found, NULL), KT_ERR_CSR_INVALID);
    assert_int_equal(kt_pki_csr_key("", 0, &found, NULL), KT_ERR_CSR_INVALID);
    assert_int_equal(kt_pki_csr_key("x", 1 << 20, &found, NULL), KT_ERR_CSR_INVALID);
    // Signed by another key than the one in it.
    X509_REQ *req = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(X509_REQ_set_pubkey(req, f->ca_key), 1);
    assert_true(X509_REQ_sign(req, f->key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_bio_X509_REQ(bio, req), 1);
    long n = BIO_get_mem_data(bio, &text);
    assert_int_equal(kt_pki_csr_key(text, (size_t)n, &found, NULL), KT_ERR_CSR_INVALID);
    BIO_free(bio);
    X509_REQ_free(req);
    kt_buf_free(&pem);
}

static void further_names_are_those_that_were_asked_for(void **state)
{
    static const char *const NAMES[] = {"kts.example.com", "10.0.0.7", "fd00::7", NULL};
    const struct kt_pki_subject server = {
        .role = KT_PKI_SERVER, .common_name = "kts-01", .names = NAMES, .lifetime_s = DAY_S};
    struct fixture *f = *state;
    X509 *cert = NULL, *node = sign(f, KT_PKI_NODE, "kts-01.0a1b2c3d", NULL),
         *client = sign(f, KT_PKI_CLIENT, "ada", NULL);
    char **names = NULL;

    assert_int_equal(kt_pki_sign(f->ca_key, f->ca, f->key, &server, &cert), 0);
    assert_int_equal(kt_pki_cert_names(cert, &names), 0);
    for (int i = 0; NAMES[i]; i++)
        assert_string_equal(names[i], NAMES[i]);
    assert_null(names[3]);
    kt_pki_names_free(names);
    assert_int_equal(kt_pki_cert_names(node, &names), 0);
    assert_null(names[0]);
    kt_pki_names_free(names);
    assert_int_equal(kt_pki_cert_names(client, &names), 0);
    assert_null(names[0]);
    kt_pki_names_free(names);
    kt_pki_names_free(NULL);
    X509_free(cert);
    X509_free(node);
    X509_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ca_signs_itself_and_nothing_below_signs),
        cmocka_unit_test(client_certificate_says_who_and_is_for_clients_only),
        cmocka_unit_test(server_and_node_certificates_carry_the_service_name),
        cmocka_unit_test(only_nodes_have_the_names_of_nodes),
        cmocka_unit_test(a_certificate_tells_whose_it_is),
        cmocka_unit_test(receipt_certificate_is_for_no_connection),
        cmocka_unit_test(ed25519_ca_signs_too),
        cmocka_unit_test(serial_numbers_are_positive_and_differ),
        cmocka_unit_test(validity_begins_an_hour_ago_and_ends_with_the_ca),
        cmocka_unit_test(expired_ca_signs_nothing),
        cmocka_unit_test(wrong_subjects_are_refused),
        cmocka_unit_test(certificate_of_another_ca_is_unknown),
        cmocka_unit_test(keys_are_saved_privately_and_loaded),
        cmocka_unit_test(key_with_a_passphrase_is_refused_without_asking),
        cmocka_unit_test(certificates_are_saved_with_their_chain_and_loaded),
        cmocka_unit_test(certificates_are_read_from_bytes),
        cmocka_unit_test(a_set_is_told_from_another_by_its_mark),
        cmocka_unit_test(requests_for_good_keys_are_accepted),
        cmocka_unit_test(requests_for_other_keys_are_refused),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(further_names_are_those_that_were_asked_for),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
