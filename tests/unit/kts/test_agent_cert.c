// SPDX-License-Identifier: Apache-2.0
// The first step of renewing this node's certificates: made, or found as a killed run has left
// them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/tls_pairs.h"
#include "tests/unit/kts/agent_fixture.h"

static struct kt_error error;

static void sign(enum kt_pki_role role, int64_t lifetime_s, EVP_PKEY **key, X509 **cert)
{
    const struct kt_pki_subject subject = {
        .role = role, .common_name = OWN, .lifetime_s = lifetime_s};

    assert_int_equal(kt_pki_new_p256(key), 0);
    assert_int_equal(kt_pki_sign(fixture.ca_key, fixture.ca, *key, &subject, cert), 0);
}

static int set_up(void **state)
{
    static const enum kt_pki_role ROLES[KT_PAIRS] = {KT_PKI_NODE, KT_PKI_SERVER};
    char path[KT_PATH_MAX];

    if (fixture_set_up(state))
        return -1;
    assert_int_equal(kt_pki_key_save(fixture.paths.ca_key, fixture.ca_key, &error), 0);
    for (int i = 0; i < KT_PAIRS; i++) {
        EVP_PKEY *key = NULL;
        X509 *cert = NULL;
        sign(ROLES[i], 3600, &key, &cert);
        assert_int_equal(kt_pair_path(&fixture.paths, (enum kt_pair)i, 0, 1, path), 0);
        assert_int_equal(kt_pki_key_save(path, key, &error), 0);
        assert_int_equal(kt_pair_path(&fixture.paths, (enum kt_pair)i, 0, 0, path), 0);
        assert_int_equal(kt_pki_cert_save(path, cert, fixture.ca, &error), 0);
        EVP_PKEY_free(key);
        X509_free(cert);
    }
    return 0;
}

// What a run has left that was killed: its certificate is good for so long, and an hour of that is
// over.
static void leave(int64_t lifetime_s)
{
    EVP_PKEY *keys[KT_PAIRS] = {NULL};
    X509 *certs[KT_PAIRS] = {NULL};

    sign(KT_PKI_NODE, lifetime_s, &keys[KT_PAIR_NODE], &certs[KT_PAIR_NODE]);
    assert_int_equal(kt_pairs_stage(&fixture.paths, keys, certs, fixture.ca, &error), 0);
    EVP_PKEY_free(keys[KT_PAIR_NODE]);
    X509_free(certs[KT_PAIR_NODE]);
}

// cert.make: the days that its node certificate is good for.
static int make(int *goes_on, int *is_used)
{
    struct kts_job job = {
        .start = &fixture.start, .ca_key = fixture.ca_key, .ca_cert = fixture.ca, .fd = -1};
    json_t *args = json_pack("{s:b, s:b}", "node", 1, "server", 1), *result = NULL;
    X509 *cert = NULL;
    int64_t from = 0, to = 0;
    const char *pem;

    assert_int_equal(kts_verb_find("cert.make")->job(&job, args, &result, &error), 0);
    *goes_on = json_is_true(json_object_get(result, "goes_on"));
    *is_used = json_is_true(json_object_get(result, "used"));
    pem = json_string_value(json_object_get(result, "cert"));
    assert_int_equal(kt_pki_cert_from_pem(pem, strlen(pem), &cert), 0);
    assert_int_equal(kt_pki_cert_validity(cert, &from, &to), 0);
    X509_free(cert);
    json_decref(result);
    json_decref(args);
    return (int)((to - kt_time_now()) / 1000000);
}

static void what_a_killed_run_has_made_is_used(void **state)
{
    int goes_on = 0, is_used = 0;

    (void)state;
    leave(7000);
    assert_in_range(make(&goes_on, &is_used), 6900, 7000);
    assert_true(goes_on && !is_used);
    assert_int_equal(kt_pairs_use(&fixture.paths, &error), 0);
    assert_in_range(make(&goes_on, &is_used), 6900, 7000);
    assert_true(goes_on && is_used);
}

static void what_has_lain_there_for_long_or_has_expired_is_made_anew(void **state)
{
    int goes_on = 1, is_used = 1;

    (void)state;
    leave(600);
    assert_true(make(&goes_on, &is_used) > 3600);
    assert_false(goes_on || is_used);
    assert_int_equal(kt_pairs_drop(&fixture.paths, &error), 0);
    leave(1);
    assert_int_equal(kt_pairs_use(&fixture.paths, &error), 0);
    for (int64_t until = kt_time_now() + 2100000; kt_time_now() < until;)
        usleep(50000);
    assert_true(make(&goes_on, &is_used) > 3600);
    assert_false(goes_on || is_used);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_a_killed_run_has_made_is_used),
        CASE(what_has_lain_there_for_long_or_has_expired_is_made_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
