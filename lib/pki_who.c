// SPDX-License-Identifier: Apache-2.0
// Whose a certificate is, by the subject that the CA put there.
#include "lib/pki.h"

#include <string.h>

#include <openssl/objects.h>

// The one field of that kind is exactly `text`.
static int is_field(const X509 *cert, int nid, const char *text)
{
    const X509_NAME *name = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(name, nid, -1);
    const ASN1_STRING *value;

    if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0)
        return 0;
    value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    return (size_t)ASN1_STRING_length(value) == strlen(text) &&
           memcmp(ASN1_STRING_get0_data(value), text, strlen(text)) == 0;
}

static int has_organisation(const X509 *cert)
{
    return X509_NAME_get_index_by_NID(X509_get_subject_name(cert), NID_organizationName, -1) >= 0;
}

static void copy_field(const X509 *cert, int nid, char out[KT_PKI_NAME_TEXT])
{
    const X509_NAME *name = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(name, nid, -1);
    const ASN1_STRING *value =
        at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    int n = value ? ASN1_STRING_length(value) : 0;

    out[0] = '\0';
    if (n <= 0 || n >= KT_PKI_NAME_TEXT)
        return;
    memcpy(out, ASN1_STRING_get0_data(value), (size_t)n);
    out[n] = '\0';
}

void kt_pki_who(const X509 *cert, char organisation[KT_PKI_NAME_TEXT], char name[KT_PKI_NAME_TEXT])
{
    copy_field(cert, NID_organizationName, organisation);
    copy_field(cert, NID_commonName, name);
}

int kt_pki_is_node(const X509 *cert, const char *member)
{
    return is_field(cert, NID_organizationalUnitName, "keytrustee node") &&
           !has_organisation(cert) && (!member || is_field(cert, NID_commonName, member));
}

int kt_pki_is_operator(const X509 *cert, const char *name)
{
    return is_field(cert, NID_organizationalUnitName, "keytrustee client") &&
           !has_organisation(cert) && is_field(cert, NID_commonName, name);
}
