// SPDX-License-Identifier: Apache-2.0
// The CA's file as a set: the root that signs, and what stands behind it while it is replaced.
#include <pthread.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "lib/digest.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/pki.h"

#define FILE_MAX (64 * 1024)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int others_index = -1; // ex_data of X509: STACK_OF(X509), owned by the first of the set

static void free_others(void *parent, void *others, CRYPTO_EX_DATA *data, int index, long argl,
                        void *argp)
{
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    sk_X509_pop_free(others, X509_free);
}

static void make_index(void)
{
    others_index = X509_get_ex_new_index(0, NULL, NULL, NULL, free_others);
}

static STACK_OF(X509) * others_of(const X509 *ca)
{
    return others_index < 0 ? NULL : X509_get_ex_data(ca, others_index);
}

size_t kt_pki_ca_count(const X509 *ca)
{
    int n = sk_X509_num(others_of(ca)); // -1 without a stack

    return n > 0 ? 1 + (size_t)n : 1;
}

X509 *kt_pki_ca_at(X509 *ca, size_t i)
{
    return i == 0 ? ca : i < kt_pki_ca_count(ca) ? sk_X509_value(others_of(ca), (int)i - 1) : NULL;
}

// Without a callback OpenSSL would ask for a passphrase on the terminal.
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

// Puts `others` behind the first; the stack is taken over.
static int set_others(X509 *ca, STACK_OF(X509) * others)
{
    pthread_once(&once, make_index);
    if (others_index >= 0 && X509_set_ex_data(ca, others_index, others) == 1)
        return 0;
    sk_X509_pop_free(others, X509_free);
    return KT_ERR_CRYPTO;
}

int kt_pki_ca_from_pem(const void *pem, size_t n, X509 **ca)
{
    STACK_OF(X509) *others = NULL;
    X509 *first = NULL, *cert = NULL;
    int rc = n > FILE_MAX ? KT_ERR_TOO_LARGE : 0;
    BIO *bio = rc == 0 ? BIO_new_mem_buf(n > 0 ? pem : "", (int)n) : NULL;

    if (rc == 0 && (bio == NULL || (others = sk_X509_new_null()) == NULL))
        rc = KT_ERR_NO_MEMORY;
    while (rc == 0 && (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
        if (first == NULL) {
            first = cert;
        } else if (sk_X509_num(others) + 1 >= KT_PKI_CA_CERTS_MAX ||
                   sk_X509_push(others, cert) <= 0) {
            X509_free(cert);
            rc = KT_ERR_TOO_LARGE;
        }
    }
    // The end is "no start line"; any other reason is a certificate that cannot be read.
    if (rc == 0 && (first == NULL || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE))
        rc = KT_ERR_INVALID;
    ERR_clear_error();
    BIO_free(bio);
    if (rc == 0) {
        rc = set_others(first, others);
        others = NULL;
    }
    sk_X509_pop_free(others, X509_free);
    if (rc == 0)
        *ca = first;
    else
        X509_free(first);
    return rc;
}

int kt_pki_ca_load(const char *path, X509 **ca, struct kt_error *error)
{
    struct kt_buf buf = KT_BUF_INIT(FILE_MAX);
    int rc = kt_file_read(path, &buf, error);

    if (rc == 0 && (rc = kt_pki_ca_from_pem(kt_buf_ptr(&buf), kt_buf_left(&buf), ca)) != 0)
        rc = kt_error_set(error, rc, NULL, "no certificate in '%s', or one that cannot be read",
                          path);
    kt_buf_free(&buf);
    return rc;
}

int kt_pki_ca_make(X509 *const *list, size_t n, X509 **ca)
{
    STACK_OF(X509) *others = sk_X509_new_null();
    X509 *first = n > 0 ? X509_dup(list[0]) : NULL; // a set of its own, whatever list[0] leads
    int rc = others == NULL || first == NULL ? KT_ERR_NO_MEMORY : 0;

    if (rc == 0 && n > KT_PKI_CA_CERTS_MAX)
        rc = KT_ERR_TOO_LARGE;
    for (size_t i = 1; rc == 0 && i < n; i++) {
        X509 *copy = X509_dup(list[i]);
        if (copy == NULL || sk_X509_push(others, copy) <= 0) {
            X509_free(copy);
            rc = KT_ERR_NO_MEMORY;
        }
    }
    if (rc == 0) {
        rc = set_others(first, others);
        others = NULL;
    }
    sk_X509_pop_free(others, X509_free);
    if (rc == 0)
        *ca = first;
    else
        X509_free(first);
    return rc;
}

int kt_pki_is_root(X509 *cert)
{
    int is_root = X509_self_signed(cert, 1) == 1 && X509_check_ca(cert) == 1;

    ERR_clear_error();
    return is_root;
}

// `only_cas`: a link that signs nothing leads to no root.
static int put(X509 *ca, int wants_roots, int only_cas, struct kt_buf *buf)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < kt_pki_ca_count(ca); i++) {
        X509 *cert = kt_pki_ca_at(ca, i);
        // The first is the CA, whatever else can be said of it.
        if ((i == 0 || kt_pki_is_root(cert)) == wants_roots &&
            (!only_cas || i == 0 || kt_pki_link_kind(cert) == KT_PKI_LINK_FORTH))
            rc = kt_pki_cert_to_pem(cert, buf);
    }
    return rc;
}

int kt_pki_ca_to_pem(X509 *ca, struct kt_buf *buf)
{
    int rc = put(ca, 1, 0, buf);

    return rc ? rc : put(ca, 0, 0, buf);
}

int kt_pki_chain_to_pem(X509 *ca, struct kt_buf *buf)
{
    int rc = put(ca, 0, 1, buf);

    return rc ? rc : put(ca, 1, 1, buf);
}

int kt_pki_ca_save(const char *path, X509 *ca, struct kt_error *error)
{
    struct kt_buf buf = KT_BUF_INIT(FILE_MAX);
    int rc = kt_pki_ca_to_pem(ca, &buf);

    if (rc)
        kt_error_set(error, rc, NULL, "certificates for '%s' cannot be encoded", path);
    else
        rc = kt_file_replace(path, kt_buf_ptr(&buf), kt_buf_left(&buf), 0644, error);
    kt_buf_free(&buf);
    return rc;
}

int kt_pki_ca_mark(const void *pem, size_t n, char out[KT_PKI_CA_MARK_TEXT])
{
    uint8_t sha256[KT_SHA256_LEN];
    int rc = kt_sha256(pem, n, sha256);

    if (rc == 0)
        kt_hex_encode(sha256, sizeof(sha256) / 2, out);
    return rc;
}
