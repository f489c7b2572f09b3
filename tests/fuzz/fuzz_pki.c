// SPDX-License-Identifier: Apache-2.0
// Fuzz target: certificate requests and certificates. The first byte chooses PEM request, PEM
// certificate or DER certificate. What is accepted can be written, and read again as the same.
#include <stdlib.h>
#include <string.h>

#include "lib/pki.h"
#include "tests/fuzz/fuzz.h"

static void check_request(const uint8_t *pem, size_t n)
{
    uint8_t hash[KT_SHA256_LEN];
    struct kt_error error = {0};
    EVP_PKEY *key = NULL;

    if (kt_pki_csr_key(pem, n, &key, &error) == 0)
        fuzz_must(kt_pki_key_sha256(key, hash) == 0);
    else
        fuzz_must(key == NULL && error.message[0] != '\0');
    EVP_PKEY_free(key);
}

static void check_certificate(X509 *cert)
{
    uint8_t hash[KT_SHA256_LEN], hash_again[KT_SHA256_LEN];
    struct kt_buf pem = KT_BUF_INIT(1 << 20);
    int64_t from = 0, to = 0;
    char **names = NULL;
    X509 *again = NULL;

    (void)!kt_pki_cert_validity(cert, &from, &to);
    (void)kt_pki_is_node(cert, "kts-01.01234567");
    (void)kt_pki_is_node(cert, NULL);
    (void)kt_pki_is_operator(cert, "ann");
    fuzz_must(kt_pki_cert_check(cert, cert, 0) != 0); // nothing was good in 1970
    if (kt_pki_cert_names(cert, &names) == 0)
        kt_pki_names_free(names);
    fuzz_must(kt_pki_cert_sha256(cert, hash) == 0);
    if (kt_pki_cert_to_pem(cert, &pem) == 0) {
        fuzz_must(kt_pki_cert_from_pem(kt_buf_ptr(&pem), kt_buf_left(&pem), &again) == 0);
        fuzz_must(kt_pki_cert_sha256(again, hash_again) == 0);
        fuzz_same(hash, sizeof(hash), hash_again, sizeof(hash_again));
    }
    X509_free(again);
    kt_buf_free(&pem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    unsigned which = fuzz_byte(&input) % 3;
    X509 *cert = NULL;
    int rc = KT_ERR_INVALID;

    if (which == 0)
        check_request(input.at, input.left);
    else if (which == 1)
        rc = kt_pki_cert_from_pem(input.at, input.left, &cert);
    else
        rc = kt_pki_cert_from_der(input.at, input.left, &cert);
    fuzz_must((rc == 0) == (cert != NULL));
    if (cert != NULL)
        check_certificate(cert);
    X509_free(cert);
    return 0;
}
