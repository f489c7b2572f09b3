// SPDX-License-Identifier: Apache-2.0
// Making certificates: the cluster's CA, and what it signs for servers, nodes and clients.
#include "lib/pki.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "lib/encode.h"
#include "lib/epoch.h"

#define SERIAL_BITS    127 // positive, and at most 16 octets in DER
#define CLOCK_SLACK_S  3600
#define LIFETIME_MAX_S (100LL * 366 * 86400)

// What each role of kt_pki.h has in its certificate.
struct role {
    const char *unit;     // OU, or NULL
    const char *basic;    // basicConstraints
    const char *usage;    // keyUsage
    const char *extended; // extendedKeyUsage, or NULL
    int has_names;        // subjectAltName
    int is_node;          // with the names that only nodes have
};

static const struct role roles[] = {
    [KT_PKI_CA] = {"keytrustee CA", "critical,CA:TRUE,pathlen:0", "critical,keyCertSign", NULL, 0},
    [KT_PKI_SERVER] = {"keytrustee server", "critical,CA:FALSE", "critical,digitalSignature",
                       "serverAuth", 1},
    [KT_PKI_NODE] = {"keytrustee node", "critical,CA:FALSE", "critical,digitalSignature",
                     "serverAuth,clientAuth", 1, 1},
    [KT_PKI_CLIENT] = {"keytrustee client", "critical,CA:FALSE", "critical,digitalSignature",
                       "clientAuth", 0},
    [KT_PKI_RECEIPT] = {"keytrustee receipt key", "critical,CA:FALSE", "critical,digitalSignature",
                        NULL, 0},
    [KT_PKI_WITNESS] = {"keytrustee CA", "critical,CA:FALSE", "critical,digitalSignature", NULL, 0},
};

// NULL for keys whose signature scheme brings its own digest.
static const EVP_MD *digest_for(EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
}

static int set_serial(X509 *cert)
{
    int rc = KT_ERR_CRYPTO;
    BIGNUM *number = BN_new();
    if (number != NULL && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
        !BN_is_zero(number) && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL)
        rc = 0;
    BN_free(number);
    return rc;
}

// Texts longer than X.520 allows (64 characters) are refused by OpenSSL.
static int add_name(X509_NAME *name, const char *field, const char *text)
{
    if (text == NULL)
        return 0;
    if (text[0] == '\0' || X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                                      (const unsigned char *)text, -1, -1, 0) != 1)
        return KT_ERR_INVALID;
    return 0;
}

// From an hour before now to `lifetime_s` after it, but not beyond the CA's end (`ca_cert` NULL
// when this is the CA).
static int set_validity(X509 *cert, const X509 *ca_cert, int64_t lifetime_s, const ASN1_TIME *from)
{
    time_t now = time(NULL);
    if (from != NULL && lifetime_s == 0)
        return X509_set1_notBefore(cert, from) == 1 && X509_set1_notAfter(cert, from) == 1
                   ? 0
                   : KT_ERR_CRYPTO;
    if (lifetime_s <= 0 || lifetime_s > LIFETIME_MAX_S)
        return KT_ERR_INVALID;
    time_t end = now + (time_t)lifetime_s;
    if (X509_time_adj_ex(X509_getm_notBefore(cert), 0, -CLOCK_SLACK_S, &now) == NULL ||
        X509_time_adj_ex(X509_getm_notAfter(cert), 0, 0, &end) == NULL ||
        (from != NULL && X509_set1_notBefore(cert, from) != 1))
        return KT_ERR_CRYPTO;
    if (ca_cert == NULL)
        return 0;
    const ASN1_TIME *ca_end = X509_get0_notAfter(ca_cert);
    if (X509_cmp_time(ca_end, &now) <= 0)
        return KT_ERR_CERTIFICATE_EXPIRED;
    if (ASN1_TIME_compare(X509_get0_notAfter(cert), ca_end) > 0 &&
        X509_set1_notAfter(cert, ca_end) != 1)
        return KT_ERR_CRYPTO;
    return 0;
}

// `value` is always text of this file, never of a request.
static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    int ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok ? 0 : KT_ERR_CRYPTO;
}

// A DNS name of plain characters. Names are built as structures, not through OpenSSL's config
// text, where a comma would begin another one.
static int check_dns_name(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    size_t n = strlen(name);
    return n > 0 && n <= 253 && strspn(name, letters) == n ? 0 : KT_ERR_INVALID;
}

static int add_alt_name(GENERAL_NAMES *names, const char *text)
{
    int rc = KT_ERR_NO_MEMORY;
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(text);
    ASN1_IA5STRING *host = NULL;
    if (name == NULL)
        goto out;
    if (address != NULL) {
        GENERAL_NAME_set0_value(name, GEN_IPADD, address);
        address = NULL; // now the name's
    } else {
        rc = check_dns_name(text);
        host = rc == 0 ? ASN1_IA5STRING_new() : NULL;
        if (rc != 0)
            goto out;
        if (host == NULL || ASN1_STRING_set(host, text, -1) != 1) {
            rc = KT_ERR_NO_MEMORY;
            goto out;
        }
        GENERAL_NAME_set0_value(name, GEN_DNS, host);
        host = NULL;
    }
    rc = sk_GENERAL_NAME_push(names, name) > 0 ? 0 : KT_ERR_NO_MEMORY;
    if (rc == 0)
        name = NULL;
out:
    ERR_clear_error(); // a2i_IPADDRESS leaves one for every host name
    ASN1_IA5STRING_free(host);
    ASN1_OCTET_STRING_free(address);
    GENERAL_NAME_free(name);
    return rc;
}

// What every server and node answers to.
static const char *const always[] = {KT_PKI_SERVICE_NAME, "localhost", "127.0.0.1", "::1", NULL};

// A name by which nodes are known to each other.
static int is_for_nodes(const char *name)
{
    return strcasecmp(name, KT_PKI_NODE_SERVICE_NAME) == 0 || kt_member_check(name) == 0;
}

static int add_alt_names(X509 *cert, const struct role *role, const char *member,
                         const char *const *more)
{
    const char *const of_node[] = {KT_PKI_NODE_SERVICE_NAME,
                                   check_dns_name(member) == 0 ? member : NULL, NULL};
    int rc = 0;
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    if (names == NULL)
        return KT_ERR_NO_MEMORY;
    for (const char *const *name = always; rc == 0 && *name != NULL; name++)
        rc = add_alt_name(names, *name);
    for (const char *const *name = of_node; rc == 0 && role->is_node && *name != NULL; name++)
        rc = add_alt_name(names, *name);
    for (const char *const *name = more; rc == 0 && name != NULL && *name != NULL; name++)
        rc = is_for_nodes(*name) && !role->is_node ? KT_ERR_INVALID : add_alt_name(names, *name);
    if (rc == 0 && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) != 1)
        rc = KT_ERR_CRYPTO;
    GENERAL_NAMES_free(names);
    return rc;
}

static int is_of_role(const char *name)
{
    for (const char *const *one = always; *one; one++) {
        if (strcasecmp(*one, name) == 0)
            return 1;
    }
    return is_for_nodes(name);
}

// 1 when it is one of those that can be asked for.
static int name_text(const GENERAL_NAME *name, char out[256])
{
    const ASN1_STRING *value = name->type == GEN_DNS     ? name->d.dNSName
                               : name->type == GEN_IPADD ? name->d.iPAddress
                                                         : NULL;
    int n = value ? ASN1_STRING_length(value) : 0;

    if (name->type == GEN_IPADD)
        return (n == 4 || n == 16) &&
               inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), out, 256);
    if (n <= 0 || n > 253)
        return 0;
    memcpy(out, ASN1_STRING_get0_data(value), (size_t)n);
    out[n] = '\0';
    return strlen(out) == (size_t)n && check_dns_name(out) == 0;
}

int kt_pki_cert_names(const X509 *cert, char ***names)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int n = all ? sk_GENERAL_NAME_num(all) : 0, count = 0, rc = 0;
    char **list = calloc((size_t)n + 1, sizeof(*list)), text[256];

    if (!list)
        rc = KT_ERR_NO_MEMORY;
    for (int i = 0; i < n && rc == 0; i++) {
        if (!name_text(sk_GENERAL_NAME_value(all, i), text) || is_of_role(text))
            continue;
        list[count] = strdup(text);
        if (!list[count++])
            rc = KT_ERR_NO_MEMORY;
    }
    GENERAL_NAMES_free(all);
    if (rc)
        kt_pki_names_free(list);
    else
        *names = list;
    return rc;
}

void kt_pki_names_free(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}

static int add_extensions(X509 *cert, X509 *issuer, const struct role *role,
                          const struct kt_pki_subject *subject)
{
    int rc = add_extension(cert, issuer, NID_basic_constraints, role->basic);
    if (rc == 0)
        rc = add_extension(cert, issuer, NID_key_usage, role->usage);
    if (rc == 0 && role->extended != NULL)
        rc = add_extension(cert, issuer, NID_ext_key_usage, role->extended);
    if (rc == 0)
        rc = add_extension(cert, issuer, NID_subject_key_identifier, "hash");
    if (rc == 0)
        rc = add_extension(cert, issuer, NID_authority_key_identifier, "keyid:always");
    if (rc == 0 && role->has_names)
        rc = add_alt_names(cert, role, subject->common_name, subject->names);
    return rc;
}

// `ca_cert` is NULL for the CA's own certificate, which `ca_key` then signs for itself. Validity
// begins at `from` and ends with the subject's lifetime, unless that is NULL; or there, without one.
static int make(EVP_PKEY *ca_key, X509 *ca_cert, EVP_PKEY *public_key,
                const struct kt_pki_subject *subject, const ASN1_TIME *from, X509 **out)
{
    const struct role *role = &roles[subject->role];
    int rc = KT_ERR_CRYPTO;
    X509 *cert = X509_new();
    X509_NAME *name = X509_NAME_new();
    if (cert == NULL || name == NULL || X509_set_version(cert, X509_VERSION_3) != 1 ||
        X509_set_pubkey(cert, public_key) != 1)
        goto out;
    if ((rc = set_serial(cert)) != 0 ||
        (rc = set_validity(cert, ca_cert, subject->lifetime_s, from)) != 0 ||
        (rc = add_name(name, "O", subject->organisation)) != 0 ||
        (rc = add_name(name, "OU", role->unit)) != 0 ||
        (rc = add_name(name, "CN", subject->common_name)) != 0)
        goto out;
    rc = KT_ERR_CRYPTO;
    if (X509_set_subject_name(cert, name) != 1 ||
        X509_set_issuer_name(cert, ca_cert ? X509_get_subject_name(ca_cert) : name) != 1)
        goto out;
    rc = add_extensions(cert, ca_cert ? ca_cert : cert, role, subject);
    if (rc != 0)
        goto out;
    rc = X509_sign(cert, ca_key, digest_for(ca_key)) > 0 ? 0 : KT_ERR_CRYPTO;
    if (rc == 0) {
        *out = cert;
        cert = NULL;
    }
out:
    X509_NAME_free(name);
    X509_free(cert);
    if (rc != 0)
        ERR_clear_error();
    return rc;
}

int kt_pki_make_ca(EVP_PKEY *key, const char *cluster_id, int64_t lifetime_s, X509 **cert)
{
    // The cluster's id is in the name, so that CAs of two clusters cannot be taken for each other.
    struct kt_pki_subject subject = {
        .role = KT_PKI_CA, .common_name = cluster_id, .lifetime_s = lifetime_s};
    return make(key, NULL, key, &subject, NULL, cert);
}

int kt_pki_sign(EVP_PKEY *ca_key, X509 *ca_cert, EVP_PKEY *public_key,
                const struct kt_pki_subject *subject, X509 **cert)
{
    if (subject->role == KT_PKI_CA || subject->role == KT_PKI_WITNESS ||
        (size_t)subject->role >= sizeof(roles) / sizeof(roles[0]) || subject->common_name == NULL)
        return KT_ERR_INVALID;
    if (X509_check_private_key(ca_cert, ca_key) != 1) {
        ERR_clear_error();
        return KT_ERR_INVALID;
    }
    return make(ca_key, ca_cert, public_key, subject, NULL, cert);
}

// Receipt keys' only: what is signed again must not become more than it was.
int kt_pki_sign_again(EVP_PKEY *ca_key, X509 *ca_cert, X509 *cert, X509 **again)
{
    char unit[KT_PKI_NAME_TEXT] = "", name[KT_PKI_NAME_TEXT] = "";
    struct kt_pki_subject subject = {.role = KT_PKI_RECEIPT, .common_name = name};
    X509_NAME *of = X509_get_subject_name(cert);
    int64_t from = 0, to = 0;
    int rc = kt_pki_cert_validity(ca_cert, &from, &to);

    X509_NAME_get_text_by_NID(of, NID_organizationalUnitName, unit, sizeof(unit));
    X509_NAME_get_text_by_NID(of, NID_commonName, name, sizeof(name));
    if (rc != 0)
        return rc;
    if (strcmp(unit, roles[KT_PKI_RECEIPT].unit) != 0 || name[0] == '\0' ||
        X509_check_private_key(ca_cert, ca_key) != 1) {
        ERR_clear_error();
        return KT_ERR_INVALID;
    }
    subject.lifetime_s = to / 1000000 - (int64_t)time(NULL);
    return make(ca_key, ca_cert, X509_get0_pubkey(cert), &subject, X509_get0_notBefore(cert),
                again);
}

int kt_pki_make_link(enum kt_pki_link kind, EVP_PKEY *by_key, X509 *by, X509 *root, X509 **link)
{
    char name[KT_PKI_NAME_TEXT] = "";
    int64_t begin = 0, end = 0;
    struct kt_pki_subject subject = {.role = kind == KT_PKI_LINK_FORTH ? KT_PKI_CA : KT_PKI_WITNESS,
                                     .common_name = name};
    ASN1_TIME *now = kind == KT_PKI_LINK_END ? ASN1_TIME_set(NULL, time(NULL)) : NULL;
    X509 *made = NULL;
    int rc = kt_pki_cert_validity(root, &begin, &end);

    X509_NAME_get_text_by_NID(X509_get_subject_name(root), NID_commonName, name, sizeof(name));
    if (rc == 0 && kind == KT_PKI_LINK_END && now == NULL)
        rc = KT_ERR_NO_MEMORY;
    if (kind != KT_PKI_LINK_END)
        subject.lifetime_s = end / 1000000 - (int64_t)time(NULL);
    // One that has ended by itself is vouched for too: for what it has signed in its time.
    if (kind == KT_PKI_LINK_BACK && subject.lifetime_s <= 0)
        subject.lifetime_s = 1;
    if (rc == 0 && kind != KT_PKI_LINK_END && subject.lifetime_s <= 0)
        rc = KT_ERR_CERTIFICATE_EXPIRED;
    if (rc == 0 && (name[0] == '\0' || X509_check_private_key(by, by_key) != 1 ||
                    X509_NAME_cmp(X509_get_subject_name(by), X509_get_subject_name(root)) != 0))
        rc = KT_ERR_INVALID;
    if (rc == 0)
        rc = make(by_key, by, X509_get0_pubkey(root), &subject, now, &made);
    if (rc == 0)
        rc = kt_pki_link_check(kind, made, by, kind == KT_PKI_LINK_END ? NULL : root);
    ASN1_TIME_free(now);
    ERR_clear_error();
    if (rc != 0)
        X509_free(made);
    else
        *link = made;
    return rc;
}
