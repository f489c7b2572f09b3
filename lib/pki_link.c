// SPDX-License-Identifier: Apache-2.0
// Who has signed a certificate: a root of the CA, a root that has ended, or one root for another.
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "lib/pki.h"

// Names, key identifiers and the CA's usage first, then the signature itself.
static int is_signed_by(X509 *cert, X509 *root)
{
    EVP_PKEY *key = X509_get0_pubkey(root);
    int is_signed =
        key != NULL && X509_check_issued(root, cert) == X509_V_OK && X509_verify(cert, key) == 1;
    ERR_clear_error();
    return is_signed;
}

enum kt_pki_link kt_pki_link_kind(X509 *link)
{
    if (X509_check_ca(link) == 1)
        return KT_PKI_LINK_FORTH;
    return ASN1_TIME_compare(X509_get0_notBefore(link), X509_get0_notAfter(link)) == 0
               ? KT_PKI_LINK_END
               : KT_PKI_LINK_BACK;
}

// The key and the name are all that a CA is; whether it may be one its extensions say.
static int is_same_ca(X509 *a, X509 *b)
{
    return X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b)) == 0 &&
           EVP_PKEY_eq(X509_get0_pubkey(a), X509_get0_pubkey(b)) == 1;
}

int kt_pki_link_check(enum kt_pki_link kind, X509 *link, X509 *by, X509 *root)
{
    if (kt_pki_link_kind(link) != kind || is_same_ca(link, by) ||
        X509_NAME_cmp(X509_get_subject_name(link), X509_get_subject_name(by)) != 0)
        return KT_ERR_SIGNATURE;
    if (root != NULL ? !is_same_ca(link, root) || !kt_pki_is_root(root) : kind != KT_PKI_LINK_END)
        return KT_ERR_SIGNATURE;
    return is_signed_by(link, by) ? 0 : KT_ERR_SIGNATURE;
}

int kt_pki_has_ended(X509 *ca, X509 *root)
{
    for (size_t i = 1; i < kt_pki_ca_count(ca); i++) {
        X509 *link = kt_pki_ca_at(ca, i);
        if (kt_pki_link_kind(link) == KT_PKI_LINK_END && is_same_ca(link, root))
            return 1;
    }
    return 0;
}

int kt_pki_is_known(X509 *ca, X509 *root)
{
    int is_known = 0;

    for (size_t i = 0; !is_known && i < kt_pki_ca_count(ca); i++) {
        X509 *cert = kt_pki_ca_at(ca, i);
        is_known = is_same_ca(cert, root) ||
                   (kt_pki_link_kind(cert) == KT_PKI_LINK_FORTH &&
                    X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(root)) == 0 &&
                    X509_verify(cert, X509_get0_pubkey(root)) == 1);
    }
    ERR_clear_error();
    return is_known;
}

// The link is no CA's, so that no library lets it sign: its key is asked directly.
int kt_pki_is_of_ended(X509 *cert, X509 *ca)
{
    int is_so = 0;

    for (size_t i = 1; !is_so && i < kt_pki_ca_count(ca); i++) {
        X509 *link = kt_pki_ca_at(ca, i);
        is_so = kt_pki_link_kind(link) == KT_PKI_LINK_END &&
                X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(link)) == 0 &&
                X509_verify(cert, X509_get0_pubkey(link)) == 1;
    }
    ERR_clear_error();
    return is_so;
}

int kt_pki_cert_check(X509 *cert, X509 *ca_cert, int64_t now_us)
{
    int64_t begin = 0, end = 0;
    int ours = is_signed_by(cert, ca_cert);
    for (size_t i = 1; !ours && i < kt_pki_ca_count(ca_cert); i++)
        ours = kt_pki_is_root(kt_pki_ca_at(ca_cert, i)) &&
               is_signed_by(cert, kt_pki_ca_at(ca_cert, i));
    if (!ours)
        return KT_ERR_CERTIFICATE_UNKNOWN_CA;
    int rc = kt_pki_cert_validity(cert, &begin, &end);
    if (rc != 0)
        return rc;
    return now_us < begin || now_us > end ? KT_ERR_CERTIFICATE_EXPIRED : 0;
}
