// SPDX-License-Identifier: Apache-2.0
// Replacing the cluster's CA: the files of <confdir>/ca.
#include "lib/ca.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/encode.h"
#include "lib/file.h"
#include "lib/pki.h"

#define CLOCK_SLACK_US INT64_C(3600000000) // validity begins so long before the making

const char *kt_ca_phase_name(enum kt_ca_phase phase)
{
    static const char *const NAMES[] = {"one", "begun", "both"};

    return NAMES[phase];
}

static int fits(X509 *cert, EVP_PKEY *key)
{
    return EVP_PKEY_eq(X509_get0_pubkey(cert), key) == 1;
}

// The root of the set with that key, and its place; NULL.
static X509 *root_of(X509 *set, EVP_PKEY *key, size_t *place)
{
    for (size_t i = 0; i < kt_pki_ca_count(set); i++) {
        X509 *cert = kt_pki_ca_at(set, i);
        if (kt_pki_is_root(cert) && fits(cert, key)) {
            *place = i;
            return cert;
        }
    }
    return NULL;
}

// Both outputs are the caller's; *next is NULL when nothing has begun. A next key without its root
// is what a run has left that was killed before it wrote the certificates: it counts for nothing.
static int load(const struct kt_paths *paths, X509 **set, EVP_PKEY **next, struct kt_error *error)
{
    EVP_PKEY *key = NULL;
    X509 *ca = NULL;
    size_t place = 0;
    int rc = kt_pki_ca_load(paths->ca_cert, &ca, error);

    if (rc == 0 && kt_file_exists(paths->ca_next_key))
        rc = kt_pki_key_load(paths->ca_next_key, &key, error);
    if (rc == 0 && key && !root_of(ca, key, &place)) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    if (rc) {
        X509_free(ca);
        EVP_PKEY_free(key);
        return rc;
    }
    *set = ca;
    *next = key;
    return 0;
}

static int is_linked(X509 *set, X509 *by, X509 *root)
{
    for (size_t i = 0; i < kt_pki_ca_count(set); i++) {
        if (kt_pki_link_check(KT_PKI_LINK_FORTH, kt_pki_ca_at(set, i), by, root) == 0)
            return 1;
    }
    return 0;
}

// One that the root that signs leads to, without its key (the caller has looked): a kill between the
// files, when another next CA was taken in place of one whose rotation never ended.
static int is_left_over(X509 *set, X509 *root)
{
    return is_linked(set, set, root);
}

static int has_older(X509 *set)
{
    for (size_t i = 1; i < kt_pki_ca_count(set); i++) {
        X509 *cert = kt_pki_ca_at(set, i);
        if (kt_pki_is_root(cert) && !is_left_over(set, cert))
            return 1;
    }
    return 0;
}

int kt_ca_look(const struct kt_paths *paths, enum kt_ca_phase *phase, int64_t *since_us,
               int64_t *until_us, struct kt_error *error)
{
    int64_t newest = 0, first_end = 0;
    EVP_PKEY *next = NULL;
    X509 *set = NULL;
    int rc = load(paths, &set, &next, error);

    for (size_t i = 0; rc == 0 && i < kt_pki_ca_count(set); i++) {
        int64_t from = 0, to = 0;
        if (i > 0 && !kt_pki_is_root(kt_pki_ca_at(set, i)))
            continue;
        rc = kt_pki_cert_validity(kt_pki_ca_at(set, i), &from, &to);
        newest = from > newest ? from : newest;
        first_end = first_end == 0 || to < first_end ? to : first_end;
    }
    if (rc == 0) {
        *phase = next ? KT_CA_BEGUN : has_older(set) ? KT_CA_BOTH : KT_CA_ONE;
        *since_us = newest + CLOCK_SLACK_US;
        *until_us = first_end;
    }
    X509_free(set);
    EVP_PKEY_free(next);
    return rc;
}

int kt_ca_newest(const struct kt_paths *paths, uint8_t sha256[KT_SHA256_LEN],
                 struct kt_error *error)
{
    EVP_PKEY *next = NULL;
    X509 *set = NULL;
    size_t place = 0;
    int rc = load(paths, &set, &next, error);

    if (rc == 0 && kt_pki_cert_sha256(next ? root_of(set, next, &place) : set, sha256))
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "the CA certificate cannot be read");
    X509_free(set);
    EVP_PKEY_free(next);
    return rc;
}

// --- beginning ---

// The key first: certificates that nobody has the key of would be for nothing.
static int save(const struct kt_paths *paths, EVP_PKEY *key, X509 *const *list, size_t n,
                struct kt_error *error)
{
    X509 *set = NULL;
    int rc = kt_pki_ca_make(list, n, &set);

    if (rc)
        kt_error_set(error, rc, NULL, "the CA's certificates: %s", kt_err_text(rc));
    if (rc == 0)
        rc = kt_pki_key_save(paths->ca_next_key, key, error);
    if (rc == 0)
        rc = kt_pki_ca_save(paths->ca_cert, set, error);
    X509_free(set);
    return rc;
}

// One that has ended is kept, for the receipts of its time.
static int check_none_counts(X509 *set, struct kt_error *error)
{
    for (size_t i = 1; i < kt_pki_ca_count(set); i++) {
        X509 *cert = kt_pki_ca_at(set, i);
        char text[KT_TIME_TEXT];
        int64_t from = 0, to = 0;
        if (!kt_pki_is_root(cert) || is_left_over(set, cert) ||
            kt_pki_cert_validity(cert, &from, &to) != 0 || to < kt_time_now())
            continue;
        kt_time_format(to, text);
        return kt_error_set(error, KT_ERR_EXISTS, "ktadmin rotate --ca --finish ends the older one",
                            "the CA was replaced already, and the older one counts until %s", text);
    }
    return 0;
}

// What stays beside the next root: all but links to older roots, which that one makes itself.
static int vouch_for_all(X509 *set, EVP_PKEY *next, X509 *root, X509 **list, size_t *n)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < kt_pki_ca_count(set); i++) {
        X509 *cert = kt_pki_ca_at(set, i), *back = NULL;
        int is_root = i == 0 || kt_pki_is_root(cert);
        if ((!is_root && kt_pki_link_kind(cert) == KT_PKI_LINK_BACK) ||
            (i > 0 && is_root && is_left_over(set, cert)))
            continue;
        if (*n + 2 > KT_PKI_CA_CERTS_MAX)
            return KT_ERR_TOO_LARGE;
        if (is_root && (rc = kt_pki_make_link(KT_PKI_LINK_BACK, next, root, cert, &back)) == 0)
            list[(*n)++] = back;
        if (rc == 0 && i > 0 && X509_up_ref(cert) == 1)
            list[(*n)++] = cert;
    }
    return rc;
}

static int make_next(const struct kt_paths *paths, X509 *set, const char *cluster_id,
                     int64_t lifetime_s, struct kt_error *error)
{
    X509 *list[KT_PKI_CA_CERTS_MAX] = {set}; // from 1 on ours
    EVP_PKEY *key = NULL, *next = NULL;
    size_t n = 1;
    int rc = kt_pki_key_load(paths->ca_key, &key, error);

    if (rc)
        return rc;
    rc = kt_pki_new_p256(&next);
    if (rc == 0)
        rc = kt_pki_make_ca(next, cluster_id, lifetime_s, &list[1]);
    if (rc == 0)
        rc = kt_pki_make_link(KT_PKI_LINK_FORTH, key, set, list[1], &list[2]);
    n += (list[1] != NULL) + (list[2] != NULL);
    if (rc == 0)
        rc = vouch_for_all(set, next, list[1], list, &n);
    if (rc)
        kt_error_set(error, rc, NULL, "the next CA cannot be made: %s", kt_err_text(rc));
    else
        rc = save(paths, next, list, n, error);
    EVP_PKEY_free(key);
    EVP_PKEY_free(next);
    while (n > 1)
        X509_free(list[--n]);
    return rc;
}

int kt_ca_begin(const struct kt_paths *paths, const char *cluster_id, int64_t lifetime_s,
                struct kt_error *error)
{
    EVP_PKEY *next = NULL;
    X509 *set = NULL;
    int rc = kt_ca_mend(paths, error);

    if (rc == 0)
        rc = load(paths, &set, &next, error);
    if (rc == 0 && !next)
        rc = check_none_counts(set, error);
    if (rc == 0 && !next)
        rc = make_next(paths, set, cluster_id, lifetime_s, error);
    X509_free(set);
    EVP_PKEY_free(next);
    return rc;
}

// --- taking what another node has made ---

int kt_ca_take(const struct kt_paths *paths, EVP_PKEY *key, X509 *set, struct kt_error *error)
{
    X509 *list[KT_PKI_CA_CERTS_MAX], *own = NULL, *chosen = NULL, *root;
    EVP_PKEY *next = NULL;
    size_t place = 0, n = 0;
    int rc = kt_ca_mend(paths, error);

    if (rc == 0)
        rc = load(paths, &own, &next, error);
    if (rc)
        return rc;
    root = root_of(set, key, &place);
    if (fits(own, key) || (root && next && fits(root, next)))
        goto out; // it has it
    // What is beside the root that is meant must be vouched for as well: all of it is trusted.
    if (!root || !is_linked(set, own, root) || kt_pki_ca_choose(own, set, 1, &chosen) != 0) {
        rc =
            kt_error_set(error, KT_ERR_SIGNATURE,
                         "it was away for too long, or is of another cluster: remove it and let it "
                         "join anew",
                         "the next CA is not linked to the CA that this node has");
        goto out;
    }
    list[n++] = own;
    list[n++] = root;
    for (size_t i = 0; i < kt_pki_ca_count(chosen); i++) {
        X509 *cert = kt_pki_ca_at(chosen, i);
        if (X509_cmp(cert, root) != 0 && X509_cmp(cert, own) != 0 && n < KT_PKI_CA_CERTS_MAX)
            list[n++] = cert;
    }
    rc = save(paths, key, list, n, error);
out:
    X509_free(own);
    X509_free(chosen);
    EVP_PKEY_free(next);
    return rc;
}

// --- using ---

// Over the old key, which is gone by it.
static int move_key(const struct kt_paths *paths, struct kt_error *error)
{
    char folder[KT_PATH_MAX];
    char *slash;

    snprintf(folder, sizeof(folder), "%s", paths->ca_key);
    slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    // Gone: another process has mended it meanwhile.
    if (rename(paths->ca_next_key, paths->ca_key) && errno != ENOENT)
        return kt_error_errno(error, "cannot rename '%s'", paths->ca_next_key);
    return kt_dir_sync(folder, error);
}

int kt_ca_mend(const struct kt_paths *paths, struct kt_error *error)
{
    EVP_PKEY *next = NULL;
    X509 *set = NULL;
    int rc;

    if (!kt_file_exists(paths->ca_next_key))
        return 0;
    rc = load(paths, &set, &next, error);
    if (rc == 0 && next && fits(set, next))
        rc = move_key(paths, error);
    X509_free(set);
    EVP_PKEY_free(next);
    return rc;
}

int kt_ca_use(const struct kt_paths *paths, struct kt_error *error)
{
    X509 *list[KT_PKI_CA_CERTS_MAX], *set = NULL, *fresh = NULL;
    EVP_PKEY *next = NULL;
    size_t place = 0, n = 0;
    int rc = kt_ca_mend(paths, error);

    if (rc == 0)
        rc = load(paths, &set, &next, error);
    if (rc)
        return rc;
    if (!next) {
        rc = kt_pki_ca_count(set) > 1
                 ? 0
                 : kt_error_set(error, KT_ERR_NOT_FOUND, "run ktadmin rotate --ca",
                                "this node has no other CA to use");
        goto out;
    }
    list[n++] = root_of(set, next, &place);
    for (size_t i = 0; i < kt_pki_ca_count(set); i++) {
        if (i != place)
            list[n++] = kt_pki_ca_at(set, i);
    }
    rc = kt_pki_ca_make(list, n, &fresh);
    if (rc)
        kt_error_set(error, rc, NULL, "the CA's certificates: %s", kt_err_text(rc));
    if (rc == 0)
        rc = kt_pki_ca_save(paths->ca_cert, fresh, error);
    if (rc == 0) // killed before this: kt_ca_mend
        rc = move_key(paths, error);
out:
    X509_free(set);
    X509_free(fresh);
    EVP_PKEY_free(next);
    return rc;
}
