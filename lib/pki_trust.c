// SPDX-License-Identifier: Apache-2.0
// Which roots may be trusted beside those that are: what one of them vouches for by a link.
#include "lib/encode.h"
#include "lib/pki.h"

struct roots {
    X509 *list[KT_PKI_CA_CERTS_MAX]; // not owned
    size_t count;
};

static int has(const struct roots *roots, const X509 *cert)
{
    for (size_t i = 0; i < roots->count; i++) {
        if (X509_cmp(roots->list[i], cert) == 0)
            return 1;
    }
    return 0;
}

static void add(struct roots *roots, X509 *cert)
{
    if (roots->count < KT_PKI_CA_CERTS_MAX && !has(roots, cert))
        roots->list[roots->count++] = cert;
}

static int counts_now(const X509 *cert)
{
    int64_t from = 0, to = 0, now = kt_time_now();

    return kt_pki_cert_validity(cert, &from, &to) == 0 && from <= now && now <= to;
}

// A root that counts now vouches for it, by a link that does. A root that has ended proves nothing
// but old receipts: its link may have ended with it, but not who signed that.
static int is_vouched_for(X509 *root, X509 *offered, const struct roots *trusted)
{
    for (size_t i = 0; i < kt_pki_ca_count(offered); i++) {
        X509 *link = kt_pki_ca_at(offered, i);
        if (counts_now(root) && !counts_now(link))
            continue;
        for (size_t k = 0; k < trusted->count; k++) {
            if (counts_now(trusted->list[k]) &&
                kt_pki_link_check(link, trusted->list[k], root) == 0)
                return 1;
        }
    }
    return 0;
}

// Adds to `trusted` what it vouches for, and what that vouches for.
static void follow_links(X509 *offered, struct roots *trusted)
{
    size_t before;

    do {
        before = trusted->count;
        for (size_t i = 0; i < kt_pki_ca_count(offered); i++) {
            X509 *root = kt_pki_ca_at(offered, i);
            if (!has(trusted, root) && kt_pki_is_root(root) &&
                is_vouched_for(root, offered, trusted))
                add(trusted, root);
        }
    } while (trusted->count > before);
}

// 1 when it is one of the roots again, signed by another of them.
static int is_link_between(X509 *link, const struct roots *roots)
{
    for (size_t i = 0; i < roots->count; i++) {
        for (size_t k = 0; k < roots->count; k++) {
            if (i != k && kt_pki_link_check(link, roots->list[i], roots->list[k]) == 0)
                return 1;
        }
    }
    return 0;
}

int kt_pki_ca_choose(X509 *known, X509 *offered, int with_links, X509 **set)
{
    struct roots trusted = {.count = 0}, chosen = {.count = 0};

    for (size_t i = 0; i < kt_pki_ca_count(known); i++) {
        if (i == 0 || kt_pki_is_root(kt_pki_ca_at(known, i)))
            add(&trusted, kt_pki_ca_at(known, i));
    }
    follow_links(offered, &trusted);
    // In the order of the offer: the first is the one that signs now.
    for (size_t i = 0; i < kt_pki_ca_count(offered); i++) {
        X509 *root = kt_pki_ca_at(offered, i);
        if (!has(&trusted, root) && kt_pki_is_root(root))
            return KT_ERR_SIGNATURE;
        if (has(&trusted, root))
            add(&chosen, root);
    }
    for (size_t i = 0; i < trusted.count; i++)
        add(&chosen, trusted.list[i]);
    for (size_t i = 0; with_links && i < kt_pki_ca_count(offered); i++) {
        if (is_link_between(kt_pki_ca_at(offered, i), &trusted))
            add(&chosen, kt_pki_ca_at(offered, i));
    }
    return kt_pki_ca_make(chosen.list, chosen.count, set);
}
