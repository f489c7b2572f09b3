// SPDX-License-Identifier: Apache-2.0
// Replacing the CA: the phases of its files, what is vouched for by a link, and runs that were killed.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h> // cmocka.h needs it

#include <cmocka.h>

#include "lib/ca.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/pki.h"

#define CLUSTER "0aa1c2d3-0000-4000-8000-00000000c0de"
#define DAY_S   86400

static char dir[64];
static struct kt_paths node[2];

static void make_node(struct kt_paths *paths, const char *name, EVP_PKEY *key, X509 *ca)
{
    char confdir[KT_PATH_MAX], folder[KT_PATH_MAX];

    memset(paths, 0, sizeof(*paths));
    snprintf(confdir, sizeof(confdir), "%s/%s", dir, name);
    snprintf(folder, sizeof(folder), "%.200s/ca", confdir);
    assert_int_equal(mkdir(confdir, 0700), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(paths->ca_key, sizeof(paths->ca_key), "%.200s/key.pem", folder);
    snprintf(paths->ca_cert, sizeof(paths->ca_cert), "%.200s/cert.pem", folder);
    snprintf(paths->ca_next_key, sizeof(paths->ca_next_key), "%.200s/next-key.pem", folder);
    assert_int_equal(kt_pki_key_save(paths->ca_key, key, NULL), 0);
    assert_int_equal(kt_pki_ca_save(paths->ca_cert, ca, NULL), 0);
}

static int setup(void **state)
{
    EVP_PKEY *key = NULL;
    X509 *ca = NULL;

    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/kt-test-ca-XXXXXX");
    if (!mkdtemp(dir) || kt_pki_new_p256(&key) || kt_pki_make_ca(key, CLUSTER, 100 * DAY_S, &ca))
        return -1;
    make_node(&node[0], "a", key, ca);
    make_node(&node[1], "b", key, ca);
    EVP_PKEY_free(key);
    X509_free(ca);
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static enum kt_ca_phase phase_of(const struct kt_paths *paths)
{
    enum kt_ca_phase phase = KT_CA_ONE;
    int64_t since = 0, until = 0;

    assert_int_equal(kt_ca_look(paths, &phase, &since, &until, NULL), 0);
    assert_true(until > kt_time_now());
    return phase;
}

static X509 *set_of(const struct kt_paths *paths)
{
    X509 *set = NULL;

    assert_int_equal(kt_pki_ca_load(paths->ca_cert, &set, NULL), 0);
    return set;
}

static int key_fits(const struct kt_paths *paths)
{
    EVP_PKEY *key = NULL;
    X509 *set = set_of(paths);
    int is_so;

    assert_int_equal(kt_pki_key_load(paths->ca_key, &key, NULL), 0);
    is_so = X509_check_private_key(set, key) == 1;
    EVP_PKEY_free(key);
    X509_free(set);
    return is_so;
}

static void begin(const struct kt_paths *paths)
{
    struct kt_error error = {0};

    if (kt_ca_begin(paths, CLUSTER, 200 * DAY_S, &error))
        fail_msg("%s", error.message);
}

static int take(const struct kt_paths *to, const struct kt_paths *from, const char *key_path)
{
    struct kt_error error = {0};
    EVP_PKEY *key = NULL;
    X509 *set = set_of(from);
    int rc;

    assert_int_equal(kt_pki_key_load(key_path, &key, NULL), 0);
    rc = kt_ca_take(to, key, set, &error);
    EVP_PKEY_free(key);
    X509_free(set);
    return rc;
}

static void a_begun_rotation_trusts_both_and_signs_with_the_old(void **state)
{
    X509 *before = set_of(&node[0]), *set;

    (void)state;
    assert_int_equal(phase_of(&node[0]), KT_CA_ONE);
    begin(&node[0]);
    assert_int_equal(phase_of(&node[0]), KT_CA_BEGUN);
    set = set_of(&node[0]);
    assert_int_equal(X509_cmp(set, before), 0);
    assert_int_equal(kt_pki_ca_count(set), 4);
    assert_true(key_fits(&node[0]));
    X509_free(before);
    X509_free(set);
}

static void beginning_again_goes_on_with_what_there_is(void **state)
{
    X509 *first, *second;

    (void)state;
    begin(&node[0]);
    first = set_of(&node[0]);
    begin(&node[0]);
    second = set_of(&node[0]);
    assert_int_equal(X509_cmp(kt_pki_ca_at(first, 1), kt_pki_ca_at(second, 1)), 0);
    X509_free(first);
    X509_free(second);
}

static void using_it_puts_the_next_root_first_and_drops_the_old_key(void **state)
{
    X509 *before = set_of(&node[0]), *set;

    (void)state;
    assert_int_equal(kt_ca_use(&node[0], NULL), KT_ERR_NOT_FOUND);
    begin(&node[0]);
    assert_int_equal(kt_ca_use(&node[0], NULL), 0);
    assert_int_equal(kt_ca_use(&node[0], NULL), 0);
    assert_int_equal(phase_of(&node[0]), KT_CA_BOTH);
    set = set_of(&node[0]);
    assert_int_not_equal(X509_cmp(set, before), 0);
    assert_int_equal(X509_cmp(kt_pki_ca_at(set, 1), before), 0);
    assert_true(key_fits(&node[0]));
    assert_false(kt_file_exists(node[0].ca_next_key));
    X509_free(before);
    X509_free(set);
}

static void no_third_ca_while_the_older_one_counts(void **state)
{
    struct kt_error error = {0};

    (void)state;
    begin(&node[0]);
    assert_int_equal(kt_ca_use(&node[0], NULL), 0);
    assert_int_equal(kt_ca_begin(&node[0], CLUSTER, DAY_S, &error), KT_ERR_EXISTS);
    assert_string_not_equal(error.hint, "");
}

static void a_use_that_was_killed_between_its_files_is_mended(void **state)
{
    char kept[KT_PATH_MAX], key[KT_PATH_MAX];

    (void)state;
    begin(&node[0]);
    snprintf(kept, sizeof(kept), "%.200s/next", dir);
    snprintf(key, sizeof(key), "%.200s/key", dir);
    assert_int_equal(link(node[0].ca_next_key, kept), 0);
    assert_int_equal(link(node[0].ca_key, key), 0);
    assert_int_equal(kt_ca_use(&node[0], NULL), 0);
    assert_int_equal(rename(key, node[0].ca_key), 0); // as before the second step
    assert_int_equal(rename(kept, node[0].ca_next_key), 0);
    assert_false(key_fits(&node[0]));
    assert_int_equal(kt_ca_mend(&node[0], NULL), 0);
    assert_true(key_fits(&node[0]));
    assert_int_equal(phase_of(&node[0]), KT_CA_BOTH);
}

static void a_key_whose_root_was_never_written_counts_for_nothing(void **state)
{
    EVP_PKEY *key = NULL;

    (void)state;
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_key_save(node[0].ca_next_key, key, NULL), 0);
    assert_int_equal(phase_of(&node[0]), KT_CA_ONE);
    assert_int_equal(kt_ca_mend(&node[0], NULL), 0);
    assert_true(key_fits(&node[0]));
    begin(&node[0]);
    assert_int_equal(phase_of(&node[0]), KT_CA_BEGUN);
    EVP_PKEY_free(key);
}

static void another_node_takes_it_in_either_phase(void **state)
{
    X509 *a, *b;

    (void)state;
    begin(&node[0]);
    assert_int_equal(take(&node[1], &node[0], node[0].ca_next_key), 0);
    assert_int_equal(phase_of(&node[1]), KT_CA_BEGUN);
    assert_int_equal(kt_ca_use(&node[0], NULL), 0);
    assert_int_equal(take(&node[1], &node[0], node[0].ca_key), 0);
    assert_int_equal(kt_ca_use(&node[1], NULL), 0);
    assert_int_equal(take(&node[1], &node[0], node[0].ca_key), 0);
    assert_true(key_fits(&node[1]));
    a = set_of(&node[0]);
    b = set_of(&node[1]);
    assert_int_equal(X509_cmp(a, b), 0);
    X509_free(a);
    X509_free(b);
}

static void a_node_that_was_away_takes_what_is_in_use_already(void **state)
{
    (void)state;
    begin(&node[0]);
    assert_int_equal(kt_ca_use(&node[0], NULL), 0);
    assert_int_equal(take(&node[1], &node[0], node[0].ca_key), 0);
    assert_int_equal(phase_of(&node[1]), KT_CA_BEGUN);
    assert_true(key_fits(&node[1]));
    assert_int_equal(kt_ca_use(&node[1], NULL), 0);
    assert_true(key_fits(&node[1]));
}

static void a_root_that_its_own_does_not_vouch_for_is_not_taken(void **state)
{
    struct kt_paths stranger;
    EVP_PKEY *key = NULL;
    X509 *ca = NULL, *set, *mixed = NULL, *own = set_of(&node[1]), *list[4];

    (void)state;
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_make_ca(key, CLUSTER, 100 * DAY_S, &ca), 0);
    make_node(&stranger, "stranger", key, ca);
    begin(&stranger);
    assert_int_equal(take(&node[1], &stranger, stranger.ca_next_key), KT_ERR_SIGNATURE);
    // nor when the node's own root stands beside it
    set = set_of(&stranger);
    list[0] = own;
    for (size_t i = 1; i < 4; i++)
        list[i] = kt_pki_ca_at(set, i);
    assert_int_equal(kt_pki_ca_make(list, 4, &mixed), 0);
    assert_int_equal(kt_pki_ca_save(stranger.ca_cert, mixed, NULL), 0);
    assert_int_equal(take(&node[1], &stranger, stranger.ca_next_key), KT_ERR_SIGNATURE);
    assert_int_equal(phase_of(&node[1]), KT_CA_ONE);
    EVP_PKEY_free(key);
    X509_free(ca);
    X509_free(set);
    X509_free(mixed);
    X509_free(own);
}

static void what_either_root_has_signed_verifies_with_the_set(void **state)
{
    const struct kt_pki_subject subject = {
        .role = KT_PKI_SERVER, .common_name = "kts-01", .lifetime_s = DAY_S};
    EVP_PKEY *ca_key = NULL, *key = NULL;
    X509 *set, *older = NULL, *newer = NULL, *first = NULL;

    (void)state;
    assert_int_equal(kt_pki_new_p256(&key), 0);
    begin(&node[0]);
    set = set_of(&node[0]);
    assert_int_equal(kt_pki_key_load(node[0].ca_key, &ca_key, NULL), 0);
    assert_int_equal(kt_pki_sign(ca_key, set, key, &subject, &older), 0);
    EVP_PKEY_free(ca_key);
    X509_free(set);
    assert_int_equal(kt_ca_use(&node[0], NULL), 0);
    set = set_of(&node[0]);
    assert_int_equal(kt_pki_key_load(node[0].ca_key, &ca_key, NULL), 0);
    assert_int_equal(kt_pki_sign(ca_key, set, key, &subject, &newer), 0);
    assert_int_equal(kt_pki_cert_check(older, set, kt_time_now()), 0);
    assert_int_equal(kt_pki_cert_check(newer, set, kt_time_now()), 0);
    assert_int_equal(kt_pki_ca_make(&set, 1, &first), 0);
    assert_int_equal(kt_pki_cert_check(older, first, kt_time_now()), KT_ERR_CERTIFICATE_UNKNOWN_CA);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    X509_free(set);
    X509_free(older);
    X509_free(newer);
    X509_free(first);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_begun_rotation_trusts_both_and_signs_with_the_old),
        CASE(beginning_again_goes_on_with_what_there_is),
        CASE(using_it_puts_the_next_root_first_and_drops_the_old_key),
        CASE(no_third_ca_while_the_older_one_counts),
        CASE(a_use_that_was_killed_between_its_files_is_mended),
        CASE(a_key_whose_root_was_never_written_counts_for_nothing),
        CASE(another_node_takes_it_in_either_phase),
        CASE(a_node_that_was_away_takes_what_is_in_use_already),
        CASE(a_root_that_its_own_does_not_vouch_for_is_not_taken),
        CASE(what_either_root_has_signed_verifies_with_the_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
