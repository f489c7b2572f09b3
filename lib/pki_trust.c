// SPDX-License-Identifier: Apache-2.0
// Which roots may be trusted beside those that are, and which not any more: what the newest of them
// says by a link.
#include "lib/encode.h"
#include "lib/pki.h"

struct certs {
    X509 *list[KT_PKI_CA_CERTS_MAX]; // not owned
    size_t count;
};

// What is found out from an offer.
struct trust {
    X509 *known, *offered;
    struct certs line;    // the newest root that is trusted, and those that it leads to, in turn
    struct certs trusted; // all roots
    struct certs ends;    // links that tell of an end
};

static int has(const struct certs *certs, const X509 *cert)
{
    for (size_t i = 0; i < certs->count; i++) {
        if (X509_cmp(certs->list[i], cert) == 0)
            return 1;
    }
    return 0;
}

static void add(struct certs *certs, X509 *cert)
{
    if (certs->count < KT_PKI_CA_CERTS_MAX && !has(certs, cert))
        certs->list[certs->count++] = cert;
}

static int counts_now(const X509 *cert)
{
    int64_t from = 0, to = 0, now = kt_time_now();

    return kt_pki_cert_validity(cert, &from, &to) == 0 && from <= now && now <= to;
}

static int is_same_key(X509 *a, X509 *b)
{
    return EVP_PKEY_eq(X509_get0_pubkey(a), X509_get0_pubkey(b)) == 1;
}

// By its key: a root may be made anew, with another validity.
static int has_ended(const struct trust *trust, X509 *root)
{
    for (size_t i = 0; i < trust->ends.count; i++) {
        if (is_same_key(trust->ends.list[i], root))
            return 1;
    }
    return 0;
}

// A root that counts now vouches for it, by a link that does. A root that is over proves nothing but
// old receipts: its link may be over with it, but not who signed that.
static int is_vouched_for(const struct trust *trust, enum kt_pki_link kind, X509 *by, X509 *root)
{
    for (size_t i = 0; i < kt_pki_ca_count(trust->offered); i++) {
        X509 *link = kt_pki_ca_at(trust->offered, i);
        if ((!counts_now(root) || counts_now(link)) && counts_now(by) &&
            kt_pki_link_check(kind, link, by, root) == 0)
            return 1;
    }
    return 0;
}

// From the newest root that is trusted to newer ones. Who has an older root's key cannot step in.
static void follow_line(struct trust *trust)
{
    size_t before;

    do {
        before = trust->line.count;
        for (size_t i = 0; i < kt_pki_ca_count(trust->offered); i++) {
            X509 *root = kt_pki_ca_at(trust->offered, i);
            if (!has(&trust->line, root) && !has_ended(trust, root) &&
                is_vouched_for(trust, KT_PKI_LINK_FORTH, trust->line.list[before - 1], root)) {
                add(&trust->line, root);
                break;
            }
        }
    } while (trust->line.count > before);
}

// The `place`th of the line does not end itself, nor what is newer: its key may be the stolen one.
static int is_end_by(const struct trust *trust, X509 *link, size_t place)
{
    for (size_t i = place; i < trust->line.count; i++) {
        if (is_same_key(link, trust->line.list[i]))
            return 0;
    }
    return kt_pki_link_check(KT_PKI_LINK_END, link, trust->line.list[place], NULL) == 0;
}

// Those of roots that are trusted here in any case. Others, of which a client has not heard that they
// ever were, as long as there is room: they must not be in the way of those.
static void take_ends(struct trust *trust, int of_known)
{
    for (size_t i = 0; i < kt_pki_ca_count(trust->offered); i++) {
        X509 *link = kt_pki_ca_at(trust->offered, i);
        if (kt_pki_is_known(trust->known, link) != of_known ||
            (!of_known && trust->ends.count >= KT_PKI_ENDS_MAX))
            continue;
        for (size_t k = 0; k < trust->line.count && !has_ended(trust, link); k++) {
            if (is_end_by(trust, link, k))
                add(&trust->ends, link);
        }
    }
}

// The newest first, then what it vouches for, and what was trusted before.
static int gather(struct trust *trust)
{
    for (size_t k = trust->line.count; k-- > 0;) {
        if (!has_ended(trust, trust->line.list[k]))
            add(&trust->trusted, trust->line.list[k]);
    }
    for (size_t i = 0; i < kt_pki_ca_count(trust->known); i++) {
        X509 *root = kt_pki_ca_at(trust->known, i);
        if ((i == 0 || kt_pki_is_root(root)) && !has_ended(trust, root))
            add(&trust->trusted, root);
    }
    for (size_t i = 0; i < kt_pki_ca_count(trust->offered); i++) {
        X509 *root = kt_pki_ca_at(trust->offered, i);
        int is_good = has(&trust->trusted, root) || !kt_pki_is_root(root) || has_ended(trust, root);
        for (size_t k = 0; k < trust->line.count && !is_good; k++) {
            is_good = is_vouched_for(trust, KT_PKI_LINK_BACK, trust->line.list[k], root);
            if (is_good)
                add(&trust->trusted, root);
        }
        if (!is_good)
            return KT_ERR_SIGNATURE;
    }
    return 0;
}

// 1 when it is one of the roots again, signed by another of them; or by one that has ended: it leads
// who was away for long to the one that signs.
static int is_link_between(const struct trust *trust, X509 *link)
{
    for (size_t i = 0; i < trust->trusted.count; i++) {
        X509 *root = trust->trusted.list[i];
        if (kt_pki_link_kind(link) == KT_PKI_LINK_FORTH && is_same_key(link, root) &&
            kt_pki_is_of_ended(link, trust->offered))
            return 1;
        for (size_t k = 0; k < trust->trusted.count; k++) {
            X509 *by = trust->trusted.list[k];
            if (kt_pki_link_check(KT_PKI_LINK_FORTH, link, by, root) == 0 ||
                kt_pki_link_check(KT_PKI_LINK_BACK, link, by, root) == 0)
                return 1;
        }
    }
    return 0;
}

static int make_set(const struct trust *trust, int is_node, X509 **set)
{
    struct certs chosen = {.count = 0};
    size_t ends = 0;

    for (size_t i = 0; is_node && i < kt_pki_ca_count(trust->offered); i++) {
        if (has(&trust->trusted, kt_pki_ca_at(trust->offered, i)))
            add(&chosen, kt_pki_ca_at(trust->offered, i));
    }
    for (size_t i = 0; i < trust->trusted.count; i++)
        add(&chosen, trust->trusted.list[i]);
    for (size_t i = 0; is_node && i < kt_pki_ca_count(trust->offered); i++) {
        if (is_link_between(trust, kt_pki_ca_at(trust->offered, i)))
            add(&chosen, kt_pki_ca_at(trust->offered, i));
    }
    // What is new comes first in the file, so that the oldest has no place any more.
    for (int is_old = 0; is_old < 2; is_old++) {
        for (size_t i = 0; i < trust->ends.count && ends < KT_PKI_ENDS_MAX; i++) {
            X509 *link = trust->ends.list[i];
            if (kt_pki_has_ended(trust->known, link) != is_old)
                continue;
            add(&chosen, link);
            ends++;
        }
    }
    return chosen.count == KT_PKI_CA_CERTS_MAX ? KT_ERR_TOO_LARGE
                                               : kt_pki_ca_make(chosen.list, chosen.count, set);
}

int kt_pki_ca_choose(X509 *known, X509 *offered, int is_node, X509 **set)
{
    struct trust trust = {.known = known, .offered = offered};
    int rc;

    for (size_t i = 1; i < kt_pki_ca_count(known); i++) {
        if (kt_pki_link_kind(kt_pki_ca_at(known, i)) == KT_PKI_LINK_END)
            add(&trust.ends, kt_pki_ca_at(known, i));
    }
    if (has_ended(&trust, known))
        return KT_ERR_SIGNATURE;
    add(&trust.line, known);
    follow_line(&trust);
    take_ends(&trust, 1);
    take_ends(&trust, 0);
    rc = gather(&trust);
    return rc ? rc : make_set(&trust, is_node, set);
}
