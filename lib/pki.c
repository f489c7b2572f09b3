// SPDX-License-Identifier: Apache-2.0
// Keys, certificate requests, and certificates in files and as bytes.
#include "lib/pki.h"

#include <limits.h>
#include <string.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>

#include "lib/file.h"

#define FILE_MAX (64 * 1024) // a key, or a certificate with its chain

// Without a callback OpenSSL would ask for the passphrase of an encrypted file on the terminal.
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static int made(EVP_PKEY *key, EVP_PKEY **out)
{
    if (key == NULL) {
        ERR_clear_error();
        return KT_ERR_CRYPTO;
    }
    *out = key;
    return 0;
}

int kt_pki_new_p256(EVP_PKEY **key)
{
    return made(EVP_EC_gen("P-256"), key);
}

int kt_pki_new_ed25519(EVP_PKEY **key)
{
    return made(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), key);
}

int kt_pki_key_to_pem(EVP_PKEY *key, struct kt_buf *buf)
{
    char *text = NULL;
    int rc = KT_ERR_CRYPTO;
    BIO *bio = BIO_new(BIO_s_secmem());
    if (bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
        long n = BIO_get_mem_data(bio, &text);
        rc = kt_buf_put(buf, text, (size_t)n);
    }
    ERR_clear_error();
    BIO_free(bio); // wipes
    return rc;
}

int kt_pki_key_save(const char *path, EVP_PKEY *key, struct kt_error *error)
{
    struct kt_buf buf = KT_BUF_INIT(FILE_MAX);
    int rc = kt_pki_key_to_pem(key, &buf);
    if (rc != 0)
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "key for '%s' cannot be encoded", path);
    else
        rc = kt_file_replace(path, kt_buf_ptr(&buf), kt_buf_left(&buf), 0600, error);
    kt_buf_free(&buf); // wipes
    return rc;
}

int kt_pki_key_from_pem(const void *pem, size_t n, EVP_PKEY **key)
{
    if (n > FILE_MAX)
        return KT_ERR_TOO_LARGE;
    BIO *bio = BIO_new_mem_buf(n > 0 ? pem : "", (int)n);
    EVP_PKEY *read = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    return made(read, key);
}

int kt_pki_key_load(const char *path, EVP_PKEY **key, struct kt_error *error)
{
    struct kt_buf buf = KT_BUF_INIT(FILE_MAX);
    int rc = kt_file_check_private(path, 1, error);
    if (rc == 0)
        rc = kt_file_read(path, &buf, error);
    if (rc == 0 && kt_pki_key_from_pem(kt_buf_ptr(&buf), kt_buf_left(&buf), key) != 0)
        rc = kt_error_set(error, KT_ERR_CRYPTO, "it must be a PEM file without a passphrase",
                          "no private key in '%s'", path);
    kt_buf_free(&buf);
    return rc;
}

int kt_pki_cert_save(const char *path, X509 *cert, X509 *chain, struct kt_error *error)
{
    struct kt_buf buf = KT_BUF_INIT(FILE_MAX);
    int rc = kt_pki_cert_to_pem(cert, &buf);
    if (rc == 0 && chain != NULL)
        rc = kt_pki_chain_to_pem(chain, &buf);
    if (rc != 0)
        rc = kt_error_set(error, rc, NULL, "certificate for '%s' cannot be encoded", path);
    else
        rc = kt_file_replace(path, kt_buf_ptr(&buf), kt_buf_left(&buf), 0644, error);
    kt_buf_free(&buf);
    return rc;
}

int kt_pki_cert_load(const char *path, X509 **cert, struct kt_error *error)
{
    struct kt_buf buf = KT_BUF_INIT(FILE_MAX);
    int rc = kt_file_read(path, &buf, error);
    if (rc == 0) {
        rc = kt_pki_cert_from_pem(kt_buf_ptr(&buf), kt_buf_left(&buf), cert);
        if (rc != 0)
            rc = kt_error_set(error, rc, NULL, "no certificate in '%s'", path);
    }
    kt_buf_free(&buf);
    return rc;
}

int kt_pki_cert_from_pem(const void *pem, size_t n, X509 **cert)
{
    if (n > FILE_MAX)
        return KT_ERR_TOO_LARGE;
    BIO *bio = BIO_new_mem_buf(n > 0 ? pem : "", (int)n);
    X509 *read = bio != NULL ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    if (read == NULL) {
        ERR_clear_error();
        return KT_ERR_INVALID;
    }
    *cert = read;
    return 0;
}

int kt_pki_cert_from_der(const void *der, size_t n, X509 **cert)
{
    const unsigned char *at = der, *begin = der;
    if (n > FILE_MAX)
        return KT_ERR_TOO_LARGE;
    X509 *read = d2i_X509(NULL, &at, (long)n);
    if (read == NULL || at != begin + n) {
        X509_free(read);
        ERR_clear_error();
        return KT_ERR_INVALID;
    }
    *cert = read;
    return 0;
}

int kt_pki_cert_to_pem(X509 *cert, struct kt_buf *buf)
{
    char *text = NULL;
    int rc = KT_ERR_CRYPTO;
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio != NULL && PEM_write_bio_X509(bio, cert) == 1) {
        long n = BIO_get_mem_data(bio, &text);
        rc = kt_buf_put(buf, text, (size_t)n);
    }
    BIO_free(bio);
    return rc;
}

int kt_pki_cert_to_der(X509 *cert, struct kt_buf *buf)
{
    unsigned char *der = NULL;
    int n = i2d_X509(cert, &der);
    if (n <= 0)
        return KT_ERR_CRYPTO;
    int rc = kt_buf_put(buf, der, (size_t)n);
    OPENSSL_free(der);
    return rc;
}

int kt_pki_cert_sha256(const X509 *cert, uint8_t out[KT_SHA256_LEN])
{
    return X509_digest(cert, EVP_sha256(), out, NULL) == 1 ? 0 : KT_ERR_CRYPTO;
}

static int time_us(const ASN1_TIME *when, int64_t *us)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(when, &tm) != 1)
        return KT_ERR_INVALID;
    *us = (int64_t)timegm(&tm) * 1000000;
    return 0;
}

int kt_pki_cert_validity(const X509 *cert, int64_t *not_before_us, int64_t *not_after_us)
{
    int64_t begin = 0, end = 0;
    int rc = time_us(X509_get0_notBefore(cert), &begin);
    if (rc == 0)
        rc = time_us(X509_get0_notAfter(cert), &end);
    if (rc == 0) {
        *not_before_us = begin;
        *not_after_us = end;
    }
    return rc;
}

int kt_pki_csr_make(EVP_PKEY *key, struct kt_buf *pem)
{
    char *text = NULL;
    int rc = KT_ERR_CRYPTO;
    const EVP_MD *md = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
    X509_REQ *req = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    if (req != NULL && bio != NULL && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
        X509_REQ_set_pubkey(req, key) == 1 && X509_REQ_sign(req, key, md) > 0 &&
        PEM_write_bio_X509_REQ(bio, req) == 1) {
        long n = BIO_get_mem_data(bio, &text);
        rc = kt_buf_put(pem, text, (size_t)n);
    }
    BIO_free(bio);
    X509_REQ_free(req);
    if (rc != 0)
        ERR_clear_error();
    return rc;
}

// P-256 or P-384 by name (not as explicit parameters, which may hide a weak curve), or Ed25519.
static int key_is_accepted(EVP_PKEY *key)
{
    char group[32];
    size_t n = 0;
    int is_explicit = 0;
    if (EVP_PKEY_is_a(key, "ED25519"))
        return 1;
    if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof(group), &n) != 1)
        return 0;
    if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                               &is_explicit) == 1 &&
        is_explicit)
        return 0;
    int nid = OBJ_txt2nid(group);
    return nid == NID_X9_62_prime256v1 || nid == NID_secp384r1;
}

int kt_pki_csr_key(const void *pem, size_t n, EVP_PKEY **public_key, struct kt_error *error)
{
    int rc = KT_ERR_CSR_INVALID;
    if (n > FILE_MAX)
        return kt_error_set(error, rc, NULL, "certificate request over %d bytes", FILE_MAX);
    BIO *bio = BIO_new_mem_buf(n > 0 ? pem : "", (int)n);
    X509_REQ *req = bio != NULL ? PEM_read_bio_X509_REQ(bio, NULL, no_passphrase, NULL) : NULL;
    EVP_PKEY *key = req != NULL ? X509_REQ_get0_pubkey(req) : NULL;
    if (key == NULL) {
        kt_error_set(error, rc, "send a PKCS#10 request in PEM form",
                     "not a certificate request, or without a usable key");
    } else if (!key_is_accepted(key)) {
        kt_error_set(error, rc, "make the key with curve P-256, P-384 or Ed25519",
                     "certificate request for a key of type '%s'",
                     EVP_PKEY_get0_type_name(key) ? EVP_PKEY_get0_type_name(key) : "unknown");
    } else if (X509_REQ_verify(req, key) != 1) {
        kt_error_set(error, rc, NULL, "signature of the certificate request does not verify");
    } else if (EVP_PKEY_up_ref(key) != 1) {
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "key cannot be shared");
    } else {
        *public_key = key;
        rc = 0;
    }
    X509_REQ_free(req);
    BIO_free(bio);
    ERR_clear_error();
    return rc;
}

int kt_pki_key_sha256(EVP_PKEY *key, uint8_t out[KT_SHA256_LEN])
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(key, &der);
    if (n <= 0) {
        ERR_clear_error();
        return KT_ERR_CRYPTO;
    }
    int rc = kt_sha256(der, (size_t)n, out);
    OPENSSL_free(der);
    return rc;
}
