// SPDX-License-Identifier: Apache-2.0
// The keys that init makes: CA, server, node, receipts, OpenPGP. What exists is kept.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktadmin/init.h"
#include "lib/ca.h"
#include "lib/cluster_key.h"
#include "lib/file.h"
#include "lib/gpg.h"
#include "lib/pki.h"

#define NAMES_MAX 64

static int same_key(X509 *cert, EVP_PKEY *key)
{
    uint8_t of_cert[KT_SHA256_LEN], of_key[KT_SHA256_LEN];
    EVP_PKEY *public_key = X509_get0_pubkey(cert);

    return public_key && kt_pki_key_sha256(public_key, of_cert) == 0 &&
           kt_pki_key_sha256(key, of_key) == 0 && memcmp(of_cert, of_key, sizeof(of_key)) == 0;
}

int kta_init_check_pair(const struct kt_paths *paths, const char *key_path, const char *cert_path,
                        struct kt_error *error)
{
    X509 *cert = NULL, *ca = NULL;
    EVP_PKEY *key = NULL;
    int rc = kt_pki_key_load(key_path, &key, error);

    if (rc == 0)
        rc = kt_pki_cert_load(cert_path, &cert, error);
    if (rc == 0)
        rc = kt_pki_ca_load(paths->ca_cert, &ca, error);
    if (rc)
        goto out;
    if (!same_key(cert, key)) {
        rc = kt_error_set(error, KT_ERR_CRYPTO, "restore both from a backup of the confdir",
                          "'%s' is not the key of '%s'", key_path, cert_path);
        goto out;
    }
    rc = kt_pki_cert_check(cert, ca, kt_time_now());
    if (rc == KT_ERR_CERTIFICATE_EXPIRED)
        rc = 0; // said by config check; it is still the right one
    else if (rc)
        rc = kt_error_set(error, rc, "restore both from a backup of the confdir",
                          "'%s' was not signed by the cluster's CA", cert_path);
out:
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(key);
    return rc;
}

// The key of `path`, made when it is missing.
static int have_key(const char *path, int (*make)(EVP_PKEY **key), EVP_PKEY **key,
                    struct kt_error *error)
{
    int rc;

    if (kt_file_exists(path))
        return kt_pki_key_load(path, key, error);
    rc = make(key);
    if (rc)
        return kt_error_set(error, rc, NULL, "cannot make a key for '%s'", path);
    return kt_pki_key_save(path, *key, error);
}

// Key first, then certificate: with the key there, a killed run goes on with it. A certificate
// without its key is not replaced: somebody lost the key.
static int check_half(const char *key_path, const char *cert_path, int *done,
                      struct kt_error *error)
{
    *done = kt_file_exists(cert_path);
    if (*done && !kt_file_exists(key_path))
        return kt_error_set(error, KT_ERR_NOT_FOUND, "restore it from a backup of the confdir",
                            "the key '%s' is missing, its certificate is there", key_path);
    return 0;
}

int kta_init_ca(struct kta_init *init, int *done, struct kt_error *error)
{
    const struct kt_paths *paths = &init->paths;
    char id[KT_UUID_TEXT];
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int rc = check_half(paths->ca_key, paths->ca_cert, done, error);

    // Out of a backup: of the moment between its two files, perhaps.
    if (rc == 0 && *done)
        rc = kt_ca_mend(paths, error);
    if (rc == 0 && *done)
        return kta_init_check_pair(paths, paths->ca_key, paths->ca_cert, error);
    if (rc == 0)
        rc = have_key(paths->ca_key, kt_pki_new_p256, &key, error);
    if (rc)
        goto out;
    kt_uuid_format(&init->info.cluster_id, id);
    rc = kt_pki_make_ca(key, id, KT_CA_LIFETIME_S, &cert);
    if (rc)
        kt_error_set(error, rc, NULL, "cannot make the certificate of the CA");
    else
        rc = kt_pki_cert_save(paths->ca_cert, cert, NULL, error);
out:
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

// One key with its certificate, signed by the CA; `chained` puts the CA's certificate behind it.
static int make_pair(struct kta_init *init, const char *key_path, const char *cert_path,
                     int (*make)(EVP_PKEY **key), const struct kt_pki_subject *subject, int chained,
                     int *done, struct kt_error *error)
{
    const struct kt_paths *paths = &init->paths;
    EVP_PKEY *key = NULL, *ca_key = NULL;
    X509 *cert = NULL, *ca = NULL;
    int rc = check_half(key_path, cert_path, done, error);

    if (rc == 0 && *done)
        return kta_init_check_pair(paths, key_path, cert_path, error);
    if (rc == 0)
        rc = kt_pki_key_load(paths->ca_key, &ca_key, error);
    if (rc == 0)
        rc = kt_pki_ca_load(paths->ca_cert, &ca, error);
    if (rc == 0)
        rc = have_key(key_path, make, &key, error);
    if (rc)
        goto out;
    rc = kt_pki_sign(ca_key, ca, key, subject, &cert);
    if (rc)
        kt_error_set(error, rc, NULL, "cannot make the certificate '%s'", cert_path);
    else
        rc = kt_pki_cert_save(cert_path, cert, chained ? ca : NULL, error);
out:
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    return rc;
}

static int64_t node_lifetime_s(const struct kta_init *init)
{
    return kt_settings_number(init->settings, KT_SET_NODE_CERTIFICATE_LIFETIME) / 1000;
}

int kta_init_server(struct kta_init *init, int *done, struct kt_error *error)
{
    const char *names[NAMES_MAX + 1] = {NULL};
    struct kt_pki_subject subject = {.role = KT_PKI_SERVER,
                                     .common_name = init->info.node,
                                     .names = names,
                                     .lifetime_s = node_lifetime_s(init)};
    int n = kt_cli_count(init->run, "external-name");

    if (n > NAMES_MAX)
        return kt_error_set(error, KT_ERR_USAGE, NULL, "more than %d external names", NAMES_MAX);
    for (int i = 0; i < n; i++)
        names[i] = kt_cli_nth(init->run, "external-name", i);
    return make_pair(init, init->paths.server_key, init->paths.server_cert, kt_pki_new_p256,
                     &subject, 1, done, error);
}

int kta_init_node(struct kta_init *init, int *done, struct kt_error *error)
{
    struct kt_pki_subject subject = {
        // The member id: the name of its role in other nodes' PostgreSQL.
        .role = KT_PKI_NODE,
        .common_name = init->promise.member,
        .lifetime_s = node_lifetime_s(init)};

    return make_pair(init, init->paths.node_key, init->paths.node_cert, kt_pki_new_p256, &subject,
                     1, done, error);
}

int kta_init_receipt(struct kta_init *init, int *done, struct kt_error *error)
{
    // Clients verify receipts for as long as they keep them: as long-lived as the CA.
    struct kt_pki_subject subject = {
        .role = KT_PKI_RECEIPT, .common_name = "receipt key", .lifetime_s = KT_CA_LIFETIME_S};

    return make_pair(init, init->paths.receipt_key, init->paths.receipt_cert, kt_pki_new_ed25519,
                     &subject, 0, done, error);
}

// The one that `fingerprint` names, when it names one: in the middle of a rotation there are two. Else
// the first.
static int find_secret(struct kt_gpg *gpg, const char *user_id,
                       char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT], struct kt_error *error)
{
    struct kt_gpg_named list[KT_CLUSTER_KEYS_MAX];
    size_t count = 0;
    int rc = kt_gpg_list_named(gpg, user_id, 1, list, KT_CLUSTER_KEYS_MAX, &count, error);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (strcmp(list[i].fingerprint, fingerprint) == 0)
            return 0;
    }
    return rc ? rc : kt_gpg_find_secret(gpg, user_id, fingerprint, error);
}

int kta_init_openpgp(struct kta_init *init, int *done, struct kt_error *error)
{
    char user_id[KT_CLUSTER_USER_ID];
    struct kt_gpg *gpg = NULL;
    int rc = kt_gpg_new(init->paths.gnupg, &gpg, error);

    if (rc)
        return rc;
    kt_cluster_key_user_id(&init->info.cluster_id, user_id);
    rc = find_secret(gpg, user_id, init->info.openpgp_fingerprint, error);
    *done = rc == 0;
    if (rc == KT_ERR_NOT_FOUND && kt_file_exists(init->paths.cluster))
        rc = kt_error_set(error, rc, "restore it from a backup of the confdir",
                          "the cluster's OpenPGP key is not in '%s'", init->paths.gnupg);
    else if (rc == KT_ERR_NOT_FOUND)
        rc = kt_gpg_generate(gpg, KT_GPG_CLUSTER, user_id, init->info.openpgp_fingerprint, error);
    kt_gpg_free(gpg);
    return rc;
}
