// SPDX-License-Identifier: Apache-2.0
// Replacing the CA: the phases of its files, what is vouched for by a link, and runs that were killed.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
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

static void a_root_beside_it_that_nobody_vouches_for_is_not_taken(void **state)
{
    X509 *set, *list[KT_PKI_CA_CERTS_MAX], *other = NULL, *mixed = NULL;
    EVP_PKEY *key = NULL;
    size_t n = 0;

    (void)state;
    begin(&node[0]);
    set = set_of(&node[0]);
    for (; n < kt_pki_ca_count(set); n++)
        list[n] = kt_pki_ca_at(set, n);
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_make_ca(key, CLUSTER, 100 * DAY_S, &other), 0);
    list[n++] = other;
    assert_int_equal(kt_pki_ca_make(list, n, &mixed), 0);
    assert_int_equal(kt_pki_ca_save(node[0].ca_cert, mixed, NULL), 0);
    assert_int_equal(take(&node[1], &node[0], node[0].ca_next_key), KT_ERR_SIGNATURE);
    assert_int_equal(phase_of(&node[1]), KT_CA_ONE);
    EVP_PKEY_free(key);
    X509_free(other);
    X509_free(mixed);
    X509_free(set);
}

static void the_older_ca_is_not_taken_back(void **state)
{
    EVP_PKEY *older = NULL;
    X509 *set;

    (void)state;
    assert_int_equal(kt_pki_key_load(node[1].ca_key, &older, NULL), 0);
    begin(&node[0]);
    assert_int_equal(kt_ca_use(&node[0], NULL), 0);
    assert_int_equal(take(&node[1], &node[0], node[0].ca_key), 0);
    assert_int_equal(kt_ca_use(&node[1], NULL), 0);
    set = set_of(&node[0]);
    assert_int_equal(kt_ca_take(&node[1], older, set, NULL), KT_ERR_SIGNATURE);
    assert_int_equal(phase_of(&node[1]), KT_CA_BOTH);
    assert_true(key_fits(&node[1]));
    EVP_PKEY_free(older);
    X509_free(set);
}

static void what_a_kill_left_of_a_next_ca_without_its_key_is_replaced(void **state)
{
    EVP_PKEY *another = NULL;
    X509 *set;
    int roots = 0;

    (void)state;
    begin(&node[0]);
    assert_int_equal(take(&node[1], &node[0], node[0].ca_next_key), 0);
    assert_int_equal(kt_pki_new_p256(&another), 0);
    assert_int_equal(kt_pki_key_save(node[1].ca_next_key, another, NULL), 0);
    assert_int_equal(phase_of(&node[1]), KT_CA_ONE);
    begin(&node[1]);
    assert_int_equal(phase_of(&node[1]), KT_CA_BEGUN);
    set = set_of(&node[1]);
    for (size_t i = 0; i < kt_pki_ca_count(set); i++)
        roots += kt_pki_is_root(kt_pki_ca_at(set, i));
    assert_int_equal(roots, 2);
    assert_int_equal(kt_ca_use(&node[1], NULL), 0);
    assert_int_equal(phase_of(&node[1]), KT_CA_BOTH);
    assert_true(key_fits(&node[1]));
    EVP_PKEY_free(another);
    X509_free(set);
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

// --- the end of the older one ---

static void replace(const struct kt_paths *paths)
{
    begin(paths);
    assert_int_equal(kt_ca_use(paths, NULL), 0);
}

static int hear(const struct kt_paths *to, const struct kt_paths *from)
{
    X509 *set = set_of(from);
    int rc = kt_ca_hear_end(to, set, NULL);

    X509_free(set);
    return rc;
}

// What PostgreSQL, libpq and libcurl do with what stands in the file.
static int verifies(const struct kt_paths *paths, X509 *cert, X509 *set)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *sent = sk_X509_new_null();
    int is_good;

    assert_int_equal(X509_STORE_load_locations(store, paths->ca_cert, NULL), 1);
    assert_int_equal(X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN), 1);
    // links alone: at a root that is not trusted OpenSSL would look no further
    for (size_t i = 1; i < kt_pki_ca_count(set); i++)
        assert_true(kt_pki_is_root(kt_pki_ca_at(set, i)) ||
                    sk_X509_push(sent, kt_pki_ca_at(set, i)) > 0);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, cert, sent), 1);
    is_good = X509_verify_cert(ctx) == 1;
    sk_X509_free(sent);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return is_good;
}

static void nothing_that_the_older_has_signed_counts_after_its_end(void **state)
{
    const struct kt_pki_subject subject = {
        .role = KT_PKI_NODE, .common_name = "kts-01.0123abcd", .lifetime_s = DAY_S};
    X509 *older = set_of(&node[0]), *both, *set, *forged = NULL;
    EVP_PKEY *stolen = NULL, *key = NULL;

    (void)state;
    assert_int_equal(kt_pki_key_load(node[0].ca_key, &stolen, NULL), 0);
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_sign(stolen, older, key, &subject, &forged), 0);
    replace(&node[0]);
    both = set_of(&node[0]);
    assert_true(verifies(&node[0], forged, both)); // so that the next line means something
    assert_int_equal(kt_ca_end(&node[0], NULL), 0);
    assert_int_equal(phase_of(&node[0]), KT_CA_ONE);
    set = set_of(&node[0]);
    assert_int_equal(kt_pki_cert_check(forged, set, kt_time_now()), KT_ERR_CERTIFICATE_UNKNOWN_CA);
    assert_int_equal(kt_pki_is_of_ended(forged, set), 1);
    // whatever of the links that everybody has seen comes with it
    assert_false(verifies(&node[0], forged, both));
    assert_false(verifies(&node[0], forged, set));
    assert_true(key_fits(&node[0]));
    X509_free(older);
    X509_free(both);
    X509_free(set);
    X509_free(forged);
    EVP_PKEY_free(stolen);
    EVP_PKEY_free(key);
}

static void an_end_may_be_repeated_and_wants_an_older_root(void **state)
{
    X509 *first, *second;

    (void)state;
    assert_int_equal(kt_ca_end(&node[0], NULL), KT_ERR_NOT_FOUND);
    begin(&node[0]);
    assert_int_equal(kt_ca_end(&node[0], NULL), KT_ERR_NOT_PROVEN);
    assert_int_equal(kt_ca_use(&node[0], NULL), 0);
    assert_int_equal(kt_ca_end(&node[0], NULL), 0);
    first = set_of(&node[0]);
    assert_int_equal(kt_ca_end(&node[0], NULL), 0);
    second = set_of(&node[0]);
    assert_int_equal(kt_pki_ca_count(first), kt_pki_ca_count(second));
    X509_free(first);
    X509_free(second);
}

static void a_next_ca_can_be_made_after_an_end(void **state)
{
    X509 *oldest = set_of(&node[0]), *middle, *set;

    (void)state;
    for (int i = 0; i < 10; i++) {
        replace(&node[0]);
        assert_int_equal(phase_of(&node[0]), KT_CA_BOTH);
        assert_int_equal(kt_ca_end(&node[0], NULL), 0);
        if (i == 0)
            middle = set_of(&node[0]);
    }
    set = set_of(&node[0]);
    assert_int_equal(phase_of(&node[0]), KT_CA_ONE);
    assert_int_equal(kt_pki_has_ended(set, oldest), 1);
    assert_int_equal(kt_pki_has_ended(set, middle), 1);
    assert_int_equal(kt_pki_has_ended(set, set), 0);
    X509_free(oldest);
    X509_free(middle);
    X509_free(set);
}

static void another_node_ends_it_by_the_link_of_its_own_first_root(void **state)
{
    X509 *a, *b;

    (void)state;
    replace(&node[0]);
    assert_int_equal(take(&node[1], &node[0], node[0].ca_key), 0);
    assert_int_equal(kt_ca_use(&node[1], NULL), 0);
    assert_int_equal(hear(&node[1], &node[0]), 0);
    assert_int_equal(phase_of(&node[1]), KT_CA_BOTH);
    assert_int_equal(kt_ca_end(&node[0], NULL), 0);
    assert_int_equal(hear(&node[1], &node[0]), 0);
    assert_int_equal(phase_of(&node[1]), KT_CA_ONE);
    a = set_of(&node[0]);
    b = set_of(&node[1]);
    assert_int_equal(kt_pki_ca_count(a), kt_pki_ca_count(b));
    X509_free(a);
    X509_free(b);
}

static void a_node_that_was_away_all_the_time_takes_it_and_the_end(void **state)
{
    (void)state;
    replace(&node[0]);
    assert_int_equal(kt_ca_end(&node[0], NULL), 0);
    assert_int_equal(hear(&node[1], &node[0]), 0); // of no root that it knows
    assert_int_equal(phase_of(&node[1]), KT_CA_ONE);
    assert_int_equal(take(&node[1], &node[0], node[0].ca_key), 0);
    assert_int_equal(kt_ca_use(&node[1], NULL), 0);
    assert_int_equal(hear(&node[1], &node[0]), 0);
    assert_int_equal(phase_of(&node[1]), KT_CA_ONE);
    assert_true(key_fits(&node[1]));
}

static void an_older_root_ends_nothing_on_a_node(void **state)
{
    X509 *older = set_of(&node[0]), *set, *link = NULL, *list[2], *offered = NULL, *after;
    EVP_PKEY *stolen = NULL;

    (void)state;
    assert_int_equal(kt_pki_key_load(node[0].ca_key, &stolen, NULL), 0);
    replace(&node[0]);
    set = set_of(&node[0]);
    assert_int_equal(kt_pki_make_link(KT_PKI_LINK_END, stolen, older, set, &link), 0);
    list[0] = older;
    list[1] = link;
    assert_int_equal(kt_pki_ca_make(list, 2, &offered), 0);
    assert_int_equal(kt_ca_hear_end(&node[0], offered, NULL), 0);
    assert_int_equal(phase_of(&node[0]), KT_CA_BOTH);
    after = set_of(&node[0]);
    assert_int_equal(kt_pki_ca_count(after), kt_pki_ca_count(set));
    assert_int_equal(kt_pki_has_ended(after, set), 0);
    X509_free(after);
    X509_free(older);
    X509_free(set);
    X509_free(link);
    X509_free(offered);
    EVP_PKEY_free(stolen);
}

static size_t count_ends(const struct kt_paths *paths)
{
    X509 *set = set_of(paths);
    size_t count = 0;

    for (size_t i = 1; i < kt_pki_ca_count(set); i++)
        count += kt_pki_link_kind(kt_pki_ca_at(set, i)) == KT_PKI_LINK_END;
    X509_free(set);
    return count;
}

// The node's first root tells of the end of as many roots as a set holds, with links to itself that
// they have signed: all nodes have its key, and one of them may be a thief's.
static X509 *junk(const struct kt_paths *paths)
{
    X509 *list[KT_PKI_CA_CERTS_MAX], *own = set_of(paths), *set = NULL;
    EVP_PKEY *key = NULL;
    size_t n = 0;

    assert_int_equal(kt_pki_key_load(paths->ca_key, &key, NULL), 0);
    for (list[n++] = own; n + 1 < KT_PKI_CA_CERTS_MAX; n += 2) {
        EVP_PKEY *other = NULL;
        X509 *root = NULL;
        assert_int_equal(kt_pki_new_p256(&other), 0);
        assert_int_equal(kt_pki_make_ca(other, CLUSTER, DAY_S, &root), 0);
        assert_int_equal(kt_pki_make_link(KT_PKI_LINK_END, key, own, root, &list[n]), 0);
        assert_int_equal(kt_pki_make_link(KT_PKI_LINK_FORTH, other, root, own, &list[n + 1]), 0);
        EVP_PKEY_free(other);
        X509_free(root);
    }
    assert_int_equal(kt_pki_ca_make(list, n, &set), 0);
    while (n > 0)
        X509_free(list[--n]);
    EVP_PKEY_free(key);
    return set;
}

static void ends_of_roots_that_it_never_knew_fill_no_nodes_set(void **state)
{
    X509 *offered;

    (void)state;
    for (int i = 0; i < 2; i++) {
        offered = junk(&node[0]);
        assert_int_equal(kt_ca_hear_end(&node[0], offered, NULL), 0);
        assert_int_equal(count_ends(&node[0]), i);
        X509_free(offered);
        replace(&node[0]);
        assert_int_equal(kt_ca_end(&node[0], NULL), 0);
    }
    assert_int_equal(count_ends(&node[0]), 2);
}

// The older root signs then, and the next one stands beside it as if it were one to end.
static void an_end_is_not_heard_of_while_a_replacement_has_begun(void **state)
{
    X509 *set, *link = NULL, *list[2], *offered = NULL;
    EVP_PKEY *stolen = NULL;

    (void)state;
    begin(&node[0]);
    set = set_of(&node[0]);
    assert_int_equal(kt_pki_key_load(node[0].ca_key, &stolen, NULL), 0);
    for (size_t i = 1; i < kt_pki_ca_count(set) && !link; i++) {
        if (kt_pki_is_root(kt_pki_ca_at(set, i)))
            assert_int_equal(
                kt_pki_make_link(KT_PKI_LINK_END, stolen, set, kt_pki_ca_at(set, i), &link), 0);
    }
    list[0] = set;
    list[1] = link;
    assert_int_equal(kt_pki_ca_make(list, 2, &offered), 0);
    assert_int_equal(kt_ca_hear_end(&node[0], offered, NULL), KT_ERR_NOT_PROVEN);
    assert_int_equal(phase_of(&node[0]), KT_CA_BEGUN);
    assert_int_equal(kt_ca_use(&node[0], NULL), 0);
    assert_int_equal(count_ends(&node[0]), 0);
    X509_free(set);
    X509_free(link);
    X509_free(offered);
    EVP_PKEY_free(stolen);
}

static void the_newest_ends_are_kept_on_each_node_and_leave_room(void **state)
{
    X509 *oldest = set_of(&node[0]), *last = NULL, *a, *b;

    (void)state;
    for (int i = 0; i < KT_PKI_CA_CERTS_MAX; i++) {
        X509_free(last);
        last = set_of(&node[0]);
        replace(&node[0]);
        assert_int_equal(take(&node[1], &node[0], node[0].ca_key), 0);
        assert_int_equal(kt_ca_use(&node[1], NULL), 0);
        assert_int_equal(kt_ca_end(&node[0], NULL), 0);
        assert_int_equal(hear(&node[1], &node[0]), 0);
    }
    a = set_of(&node[0]);
    b = set_of(&node[1]);
    assert_int_equal(count_ends(&node[0]), KT_PKI_ENDS_MAX);
    assert_int_equal(kt_pki_has_ended(a, last), 1);
    assert_int_equal(kt_pki_has_ended(a, oldest), 0);
    assert_int_equal(kt_pki_ca_count(a), kt_pki_ca_count(b));
    for (size_t i = 0; i < kt_pki_ca_count(a); i++)
        assert_int_equal(X509_cmp(kt_pki_ca_at(a, i), kt_pki_ca_at(b, i)), 0);
    X509_free(oldest);
    X509_free(last);
    X509_free(a);
    X509_free(b);
}

// Receipts of years are verified by it, and by nothing that ends.
static void a_receipt_key_is_signed_again_with_its_beginning(void **state)
{
    const struct kt_pki_subject subjects[] = {
        {.role = KT_PKI_RECEIPT, .common_name = "receipt", .lifetime_s = 50 * DAY_S},
        {.role = KT_PKI_CLIENT, .common_name = "client", .lifetime_s = 50 * DAY_S}};
    EVP_PKEY *ca_key = NULL, *next = NULL, *key = NULL;
    X509 *older = set_of(&node[0]), *set, *cert = NULL, *client = NULL, *again = NULL;
    ASN1_TIME *long_ago = ASN1_TIME_set(NULL, time(NULL) - 90 * DAY_S);

    (void)state;
    assert_int_equal(kt_pki_new_ed25519(&key), 0);
    assert_int_equal(kt_pki_key_load(node[0].ca_key, &ca_key, NULL), 0);
    assert_int_equal(kt_pki_sign(ca_key, older, key, &subjects[0], &cert), 0);
    assert_int_equal(kt_pki_sign(ca_key, older, key, &subjects[1], &client), 0);
    assert_int_equal(X509_set1_notBefore(cert, long_ago), 1);
    assert_true(X509_sign(cert, ca_key, EVP_sha256()) > 0);
    replace(&node[0]);
    assert_int_equal(kt_ca_end(&node[0], NULL), 0);
    set = set_of(&node[0]);
    assert_int_equal(kt_pki_key_load(node[0].ca_key, &next, NULL), 0);
    assert_int_equal(kt_pki_sign_again(next, set, client, &again), KT_ERR_INVALID);
    assert_int_equal(kt_pki_sign_again(ca_key, set, cert, &again), KT_ERR_INVALID);
    assert_int_equal(kt_pki_sign_again(next, set, cert, &again), 0);
    assert_int_equal(kt_pki_cert_check(again, set, kt_time_now() - INT64_C(80) * DAY_S * 1000000),
                     0);
    assert_int_equal(kt_pki_cert_check(again, set, kt_time_now()), 0);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(again), key), 1);
    assert_int_equal(X509_NAME_cmp(X509_get_subject_name(again), X509_get_subject_name(cert)), 0);
    ASN1_TIME_free(long_ago);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(next);
    EVP_PKEY_free(key);
    X509_free(older);
    X509_free(set);
    X509_free(cert);
    X509_free(client);
    X509_free(again);
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
        CASE(a_root_beside_it_that_nobody_vouches_for_is_not_taken),
        CASE(the_older_ca_is_not_taken_back),
        CASE(what_a_kill_left_of_a_next_ca_without_its_key_is_replaced),
        CASE(what_either_root_has_signed_verifies_with_the_set),
        CASE(nothing_that_the_older_has_signed_counts_after_its_end),
        CASE(an_end_may_be_repeated_and_wants_an_older_root),
        CASE(a_next_ca_can_be_made_after_an_end),
        CASE(another_node_ends_it_by_the_link_of_its_own_first_root),
        CASE(a_node_that_was_away_all_the_time_takes_it_and_the_end),
        CASE(an_older_root_ends_nothing_on_a_node),
        CASE(ends_of_roots_that_it_never_knew_fill_no_nodes_set),
        CASE(an_end_is_not_heard_of_while_a_replacement_has_begun),
        CASE(the_newest_ends_are_kept_on_each_node_and_leave_room),
        CASE(a_receipt_key_is_signed_again_with_its_beginning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
