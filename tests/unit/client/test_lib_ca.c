// SPDX-License-Identifier: Apache-2.0
// Which roots a client takes over: what the one that it trusts vouches for, and nothing else.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <setjmp.h> // cmocka.h needs it

#include <cmocka.h>

#include "client/client.h"
#include "lib/pki.h"

#define CLUSTER "0aa1c2d3-0000-4000-8000-00000000c0de"
#define DAY_S   86400

struct root {
    EVP_PKEY *key;
    X509 *cert;
};
static struct root older, newer, stranger;

static void make(struct root *root)
{
    assert_int_equal(kt_pki_new_p256(&root->key), 0);
    assert_int_equal(kt_pki_make_ca(root->key, CLUSTER, 100 * DAY_S, &root->cert), 0);
}

static void drop(struct root *root)
{
    EVP_PKEY_free(root->key);
    X509_free(root->cert);
}

static int setup(void **state)
{
    (void)state;
    make(&older);
    make(&newer);
    make(&stranger);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    drop(&older);
    drop(&newer);
    drop(&stranger);
    return 0;
}

// `root` signed by `by`.
static X509 *link_of(const struct root *by, const struct root *root)
{
    X509 *link = NULL;

    assert_int_equal(kt_pki_make_link(root == &older ? KT_PKI_LINK_BACK : KT_PKI_LINK_FORTH,
                                      by->key, by->cert, root->cert, &link),
                     0);
    return link;
}

static void end(X509 *cert, EVP_PKEY *signed_by)
{
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), -60));
    assert_true(X509_sign(cert, signed_by, EVP_sha256()) > 0);
}

// The set that comes of it, or NULL when it is refused. Takes over `link`.
static X509 *choose(X509 *known, X509 *first, X509 *link, X509 *second)
{
    X509 *list[3] = {first}, *offered = NULL, *set = NULL;
    struct kt_error error = {0};
    size_t n = 1;
    int rc;

    if (second)
        list[n++] = second;
    if (link)
        list[n++] = link;
    assert_int_equal(kt_pki_ca_make(list, n, &offered), 0);
    rc = ktc_ca_choose(known, offered, &set, &error);
    X509_free(offered);
    X509_free(link);
    if (rc != 0) {
        assert_int_equal(rc, KT_ERR_SIGNATURE);
        assert_null(set);
    }
    return set;
}

static void a_root_that_the_known_one_vouches_for_is_taken_and_comes_first(void **state)
{
    X509 *set = choose(older.cert, newer.cert, link_of(&older, &newer), older.cert);

    (void)state;
    assert_non_null(set);
    assert_int_equal(kt_pki_ca_count(set), 2);
    assert_int_equal(X509_cmp(kt_pki_ca_at(set, 0), newer.cert), 0);
    assert_int_equal(X509_cmp(kt_pki_ca_at(set, 1), older.cert), 0);
    X509_free(set);
}

static void a_known_root_stays_when_the_server_does_not_offer_it(void **state)
{
    X509 *set = choose(older.cert, newer.cert, link_of(&older, &newer), NULL);

    (void)state;
    assert_non_null(set);
    assert_int_equal(kt_pki_ca_count(set), 2);
    X509_free(set);
}

static void a_root_without_a_link_is_refused(void **state)
{
    (void)state;
    assert_null(choose(older.cert, newer.cert, NULL, older.cert));
}

static void a_link_that_another_root_has_signed_is_refused(void **state)
{
    (void)state;
    assert_null(choose(older.cert, newer.cert, link_of(&stranger, &newer), older.cert));
    assert_null(choose(older.cert, newer.cert, link_of(&newer, &older), older.cert));
}

static void a_link_to_another_root_is_refused(void **state)
{
    (void)state;
    assert_null(choose(older.cert, stranger.cert, link_of(&older, &newer), older.cert));
}

static void a_certificate_that_is_no_ca_is_no_link(void **state)
{
    const struct kt_pki_subject subject = {
        .role = KT_PKI_SERVER, .common_name = CLUSTER, .lifetime_s = DAY_S};
    X509 *leaf = NULL;

    (void)state;
    assert_int_equal(kt_pki_sign(older.key, older.cert, newer.key, &subject, &leaf), 0);
    assert_null(choose(older.cert, newer.cert, leaf, older.cert));
}

static void a_link_that_has_ended_is_refused(void **state)
{
    X509 *link = link_of(&older, &newer);

    (void)state;
    end(link, older.key);
    assert_null(choose(older.cert, newer.cert, link, older.cert));
}

static void a_root_that_has_ended_vouches_for_nothing(void **state)
{
    X509 *link = link_of(&older, &newer);

    (void)state;
    end(older.cert, older.key);
    assert_null(choose(older.cert, newer.cert, link, older.cert));
}

static void an_older_root_that_has_ended_is_taken_for_its_receipts(void **state)
{
    X509 *link = link_of(&newer, &older), *set;

    (void)state;
    end(link, newer.key);
    end(older.cert, older.key);
    set = choose(newer.cert, newer.cert, link, older.cert);
    assert_non_null(set);
    assert_int_equal(kt_pki_ca_count(set), 2);
    X509_free(set);
}

// --- the end of a root ---

static X509 *end_of(const struct root *by, const struct root *root)
{
    X509 *link = NULL;

    assert_int_equal(kt_pki_make_link(KT_PKI_LINK_END, by->key, by->cert, root->cert, &link), 0);
    return link;
}

static X509 *made(X509 *a, X509 *b, X509 *c)
{
    X509 *list[3] = {a}, *set = NULL;
    size_t n = 1;

    if (b)
        list[n++] = b;
    if (c)
        list[n++] = c;
    assert_int_equal(kt_pki_ca_make(list, n, &set), 0);
    return set;
}

static int has_root(X509 *set, const X509 *root)
{
    for (size_t i = 0; i < kt_pki_ca_count(set); i++) {
        if (X509_cmp(kt_pki_ca_at(set, i), root) == 0)
            return 1;
    }
    return 0;
}

// What a client that knew both trusts when it has heard of the end.
static X509 *told(void)
{
    X509 *known = made(newer.cert, older.cert, NULL), *link = end_of(&newer, &older);
    X509 *set = choose(known, newer.cert, link, NULL);

    assert_non_null(set);
    X509_free(known);
    return set;
}

static void a_root_is_dropped_when_the_newest_tells_of_its_end(void **state)
{
    X509 *set = told();

    (void)state;
    assert_int_equal(X509_cmp(set, newer.cert), 0);
    assert_false(has_root(set, older.cert));
    assert_true(kt_pki_has_ended(set, older.cert));
    assert_int_equal(kt_pki_cert_check(older.cert, set, kt_time_now()),
                     KT_ERR_CERTIFICATE_UNKNOWN_CA);
    X509_free(set);
}

static void who_knows_the_older_root_only_goes_to_the_newer_and_drops_it(void **state)
{
    X509 *offered, *forth = link_of(&older, &newer), *gone = end_of(&newer, &older), *set = NULL;

    (void)state;
    offered = made(newer.cert, forth, gone);
    assert_int_equal(kt_pki_ca_choose(older.cert, offered, 0, &set), 0);
    assert_int_equal(X509_cmp(set, newer.cert), 0);
    assert_false(has_root(set, older.cert));
    X509_free(set);
    X509_free(offered);
    X509_free(forth);
    X509_free(gone);
}

// A machine that joins then: its file says as much as those of the others.
static void a_newcomer_takes_the_links_that_a_root_has_left(void **state)
{
    X509 *offered, *forth = link_of(&older, &newer), *gone = end_of(&newer, &older), *set = NULL;

    (void)state;
    offered = made(newer.cert, forth, gone);
    assert_int_equal(kt_pki_ca_choose(newer.cert, offered, 1, &set), 0);
    assert_int_equal(kt_pki_ca_count(set), 3);
    assert_int_equal(X509_cmp(set, newer.cert), 0);
    assert_true(kt_pki_has_ended(set, older.cert));
    X509_free(set);
    X509_free(offered);
    X509_free(forth);
    X509_free(gone);
}

static void a_root_that_has_ended_is_never_taken_back(void **state)
{
    struct root again = {.key = older.key};
    X509 *set = told(), *after;

    (void)state;
    after = choose(set, newer.cert, link_of(&newer, &older), older.cert);
    assert_non_null(after);
    assert_false(has_root(after, older.cert));
    X509_free(after);
    // made anew with the same key, and vouched for by the long link of before
    assert_int_equal(kt_pki_make_ca(again.key, CLUSTER, 200 * DAY_S, &again.cert), 0);
    after = choose(set, newer.cert, link_of(&newer, &older), again.cert);
    assert_non_null(after);
    assert_false(has_root(after, again.cert));
    assert_int_equal(kt_pki_ca_count(after), 2);
    X509_free(after);
    X509_free(again.cert);
    X509_free(set);
}

static void a_root_that_has_ended_leads_to_no_other(void **state)
{
    X509 *set = told();

    (void)state;
    assert_null(choose(set, stranger.cert, link_of(&older, &stranger), older.cert));
    assert_null(choose(set, stranger.cert, link_of(&older, &stranger), newer.cert));
    X509_free(set);
}

// Whoever has the older key by then has it for nothing.
static void an_older_root_leads_to_no_other_for_who_knows_the_newer(void **state)
{
    X509 *known = made(newer.cert, older.cert, NULL), *back = NULL;

    (void)state;
    assert_null(choose(known, stranger.cert, link_of(&older, &stranger), older.cert));
    assert_int_equal(
        kt_pki_make_link(KT_PKI_LINK_BACK, older.key, older.cert, stranger.cert, &back), 0);
    assert_null(choose(known, older.cert, back, stranger.cert));
    X509_free(known);
}

static void an_older_root_cannot_end_the_newer(void **state)
{
    X509 *known = made(newer.cert, older.cert, NULL), *set;

    (void)state;
    set = choose(known, older.cert, end_of(&older, &newer), newer.cert);
    assert_non_null(set);
    assert_int_equal(X509_cmp(set, newer.cert), 0);
    assert_true(has_root(set, older.cert));
    assert_int_equal(kt_pki_ca_count(set), 2);
    X509_free(set);
    X509_free(known);
}

static void a_stranger_cannot_end_a_root(void **state)
{
    X509 *known = made(newer.cert, older.cert, NULL), *set;

    (void)state;
    set = choose(known, newer.cert, end_of(&stranger, &older), older.cert);
    assert_non_null(set);
    assert_true(has_root(set, older.cert));
    assert_int_equal(kt_pki_ca_count(set), 2);
    X509_free(set);
    X509_free(known);
}

static void a_link_that_is_over_tells_of_no_end(void **state)
{
    X509 *known = made(newer.cert, older.cert, NULL), *link = link_of(&newer, &older), *set;

    (void)state;
    end(link, newer.key);
    set = choose(known, newer.cert, link, older.cert);
    assert_non_null(set);
    assert_true(has_root(set, older.cert));
    X509_free(set);
    X509_free(known);
}

// `known` when it has heard of the end of `count` roots that were never there.
static X509 *told_of_others(X509 *known, size_t count)
{
    X509 *list[KT_PKI_CA_CERTS_MAX] = {newer.cert}, *offered = NULL, *set = NULL;

    for (size_t i = 1; i <= count; i++) {
        struct root other;
        make(&other);
        list[i] = end_of(&newer, &other);
        drop(&other);
    }
    assert_int_equal(kt_pki_ca_make(list, count + 1, &offered), 0);
    assert_int_equal(kt_pki_ca_choose(known, offered, 0, &set), 0);
    while (count > 0)
        X509_free(list[count--]);
    X509_free(offered);
    return set;
}

static void ends_of_others_are_bounded_and_keep_no_end_of_a_known_root_away(void **state)
{
    X509 *known = made(newer.cert, older.cert, NULL), *gone = end_of(&newer, &older), *offered;
    X509 *first = told_of_others(known, KT_PKI_CA_CERTS_MAX - 1), *second, *set = NULL;

    (void)state;
    second = told_of_others(first, KT_PKI_CA_CERTS_MAX - 1);
    assert_int_equal(kt_pki_ca_count(second), 2 + KT_PKI_ENDS_MAX);
    offered = made(newer.cert, gone, NULL);
    assert_int_equal(kt_pki_ca_choose(second, offered, 0, &set), 0);
    assert_true(kt_pki_has_ended(set, older.cert));
    assert_false(has_root(set, older.cert));
    assert_int_equal(kt_pki_ca_count(set), 1 + KT_PKI_ENDS_MAX);
    X509_free(known);
    X509_free(gone);
    X509_free(offered);
    X509_free(first);
    X509_free(second);
    X509_free(set);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_root_that_the_known_one_vouches_for_is_taken_and_comes_first),
        CASE(a_known_root_stays_when_the_server_does_not_offer_it),
        CASE(a_root_without_a_link_is_refused),
        CASE(a_link_that_another_root_has_signed_is_refused),
        CASE(a_link_to_another_root_is_refused),
        CASE(a_certificate_that_is_no_ca_is_no_link),
        CASE(a_link_that_has_ended_is_refused),
        CASE(a_root_that_has_ended_vouches_for_nothing),
        CASE(an_older_root_that_has_ended_is_taken_for_its_receipts),
        CASE(a_root_is_dropped_when_the_newest_tells_of_its_end),
        CASE(who_knows_the_older_root_only_goes_to_the_newer_and_drops_it),
        CASE(a_newcomer_takes_the_links_that_a_root_has_left),
        CASE(a_root_that_has_ended_is_never_taken_back),
        CASE(a_root_that_has_ended_leads_to_no_other),
        CASE(an_older_root_leads_to_no_other_for_who_knows_the_newer),
        CASE(an_older_root_cannot_end_the_newer),
        CASE(a_stranger_cannot_end_a_root),
        CASE(a_link_that_is_over_tells_of_no_end),
        CASE(ends_of_others_are_bounded_and_keep_no_end_of_a_known_root_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
