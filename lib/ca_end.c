// SPDX-License-Identifier: Apache-2.0
// The end of the CA's older root: its file without it, with the link that says so.
#include "lib/ca.h"
#include "lib/file.h"
#include "lib/pki.h"

// Puts links of `from` that tell of an end behind `list`, unless `but` (or NULL) has one for that root.
static void add_ends(X509 **list, size_t *n, size_t *room, X509 *from, X509 *but)
{
    for (size_t i = 1; i < kt_pki_ca_count(from); i++) {
        X509 *link = kt_pki_ca_at(from, i);
        if (kt_pki_link_kind(link) != KT_PKI_LINK_END || (but && kt_pki_has_ended(but, link)) ||
            *room == 0 || *n == KT_PKI_CA_CERTS_MAX)
            continue;
        list[(*n)++] = link;
        (*room)--;
    }
}

// The set without what the links of `ends` say has ended, then those links, then the earlier ones.
static int without_ended(X509 *set, X509 *const *ends, size_t count, X509 **fresh)
{
    X509 *list[KT_PKI_CA_CERTS_MAX], *told = NULL;
    size_t n = 0, room = KT_PKI_ENDS_MAX;
    int rc;

    list[n++] = set;
    for (size_t i = 0; i < count && n < KT_PKI_CA_CERTS_MAX; i++)
        list[n++] = ends[i];
    rc = kt_pki_ca_make(list, n, &told);
    n = 1;
    for (size_t i = 1; rc == 0 && i < kt_pki_ca_count(set); i++) {
        X509 *cert = kt_pki_ca_at(set, i);
        if (kt_pki_link_kind(cert) != KT_PKI_LINK_END && !kt_pki_has_ended(told, cert))
            list[n++] = cert;
    }
    if (rc == 0) {
        add_ends(list, &n, &room, told, NULL);
        add_ends(list, &n, &room, set, told);
        rc = kt_pki_ca_make(list, n, fresh);
    }
    X509_free(told);
    return rc;
}

static int save(const struct kt_paths *paths, X509 *set, X509 *const *ends, size_t count,
                struct kt_error *error)
{
    X509 *fresh = NULL;
    int rc = without_ended(set, ends, count, &fresh);

    if (rc)
        kt_error_set(error, rc, NULL, "the CA's certificates: %s", kt_err_text(rc));
    else
        rc = kt_pki_ca_save(paths->ca_cert, fresh, error);
    X509_free(fresh);
    return rc;
}

// --- by its own key ---

static int count_roots(X509 *set)
{
    int count = 1;

    for (size_t i = 1; i < kt_pki_ca_count(set); i++)
        count += kt_pki_is_root(kt_pki_ca_at(set, i));
    return count;
}

// For each other root; and what an earlier root has said of others is said again by this one, which
// is the one that is believed.
static int make_ends(X509 *set, EVP_PKEY *key, X509 **ends, size_t *count)
{
    int rc = 0;

    for (int told = 0; told < 2; told++) {
        for (size_t i = 1; rc == 0 && i < kt_pki_ca_count(set); i++) {
            X509 *cert = kt_pki_ca_at(set, i);
            int is_told = kt_pki_link_kind(cert) == KT_PKI_LINK_END;
            if (is_told != told || (!told && !kt_pki_is_root(cert)) ||
                *count == KT_PKI_CA_CERTS_MAX)
                continue;
            rc = kt_pki_make_link(KT_PKI_LINK_END, key, set, cert, &ends[*count]);
            *count += rc == 0;
        }
    }
    return rc;
}

int kt_ca_end(const struct kt_paths *paths, struct kt_error *error)
{
    X509 *ends[KT_PKI_CA_CERTS_MAX], *set = NULL;
    EVP_PKEY *key = NULL;
    size_t count = 0;
    int rc = kt_ca_mend(paths, error);

    if (rc == 0)
        rc = kt_pki_ca_load(paths->ca_cert, &set, error);
    if (rc == 0)
        rc = kt_pki_key_load(paths->ca_key, &key, error);
    if (rc == 0 && X509_check_private_key(set, key) == 1 && count_roots(set) == 1) {
        for (size_t i = 1; i < kt_pki_ca_count(set); i++)
            count += kt_pki_link_kind(kt_pki_ca_at(set, i)) == KT_PKI_LINK_END;
        rc = count > 0
                 ? 0
                 : kt_error_set(error, KT_ERR_NOT_FOUND, "ktadmin rotate --ca makes a next CA",
                                "there is no older CA to end");
        count = 0;
        goto out;
    }
    if (rc == 0 && kt_file_exists(paths->ca_next_key))
        rc = kt_error_set(error, KT_ERR_NOT_PROVEN, "run ktadmin rotate --ca, which ends it",
                          "a replacement of the CA has begun and not ended");
    if (rc == 0 && (rc = make_ends(set, key, ends, &count)) != 0)
        kt_error_set(error, rc, NULL, "the older CA cannot be ended: %s", kt_err_text(rc));
    if (rc == 0)
        rc = save(paths, set, ends, count, error);
out:
    while (count > 0)
        X509_free(ends[--count]);
    EVP_PKEY_free(key);
    X509_free(set);
    return rc;
}

// --- by another node's word ---

static int is_news(X509 *own, X509 *link)
{
    for (size_t i = 1; i < kt_pki_ca_count(own); i++) {
        X509 *cert = kt_pki_ca_at(own, i);
        // A root or a link of that name and key: more than one must not be left.
        if (EVP_PKEY_eq(X509_get0_pubkey(cert), X509_get0_pubkey(link)) == 1 &&
            kt_pki_link_kind(cert) != KT_PKI_LINK_END)
            return 1;
    }
    return !kt_pki_has_ended(own, link);
}

static int is_among(X509 *const *ends, size_t count, X509 *link)
{
    for (size_t i = 0; i < count; i++) {
        if (EVP_PKEY_eq(X509_get0_pubkey(ends[i]), X509_get0_pubkey(link)) == 1)
            return 1;
    }
    return 0;
}

static int check_phase(const struct kt_paths *paths, struct kt_error *error)
{
    enum kt_ca_phase phase = KT_CA_ONE;
    int64_t since_us = 0, until_us = 0;
    int rc = kt_ca_mend(paths, error);

    if (rc == 0)
        rc = kt_ca_look(paths, &phase, &since_us, &until_us, error);
    return rc || phase != KT_CA_BEGUN
               ? rc
               : kt_error_set(error, KT_ERR_NOT_PROVEN,
                              "run ktadmin rotate --ca on the active, which ends it",
                              "a replacement of the CA has begun here and not ended");
}

int kt_ca_hear_end(const struct kt_paths *paths, X509 *set, struct kt_error *error)
{
    X509 *ends[KT_PKI_CA_CERTS_MAX], *own = NULL;
    size_t count = 0, news = 0;
    int rc = check_phase(paths, error);

    if (rc == 0)
        rc = kt_pki_ca_load(paths->ca_cert, &own, error);
    for (size_t i = 0; rc == 0 && i < kt_pki_ca_count(set); i++) {
        X509 *link = kt_pki_ca_at(set, i);
        if (count == KT_PKI_CA_CERTS_MAX || is_among(ends, count, link) ||
            kt_pki_link_check(KT_PKI_LINK_END, link, own, NULL) != 0 || !kt_pki_is_known(own, link))
            continue;
        news += (size_t)is_news(own, link);
        ends[count++] = link;
    }
    if (rc == 0 && news > 0)
        rc = save(paths, own, ends, count, error);
    X509_free(own);
    return rc;
}
