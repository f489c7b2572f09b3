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

    assert_int_equal(kt_pki_make_link(by->key, by->cert, root->cert, &link), 0);
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
    assert_null(choose(older.cert, newer.cert, link_of(&newer, &newer), older.cert));
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
