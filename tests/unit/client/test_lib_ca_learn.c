// SPDX-License-Identifier: Apache-2.0
// A client hears of another root by whatever it asks, and learns it.
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/client/fake_nodes.h"

static struct keytrustee_error error;
static EVP_PKEY *older_key, *newer_key;
static X509 *older, *newer; // the root of the registration, and the next one
static X509 *sets[8];
static size_t set_count;

static int set_up(void **state)
{
    fake_three(state);
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    older_key = fake.ca_key;
    older = fake.ca;
    assert_int_equal(kt_pki_new_p256(&newer_key), 0);
    assert_int_equal(kt_pki_make_ca(newer_key, "fake", 864000, &newer), 0);
    fake.selves_asked = 0;
    return 0;
}

static int tear_down(void **state)
{
    int signs_newer = fake.ca == newer;

    while (set_count > 0)
        X509_free(sets[--set_count]);
    EVP_PKEY_free(signs_newer ? older_key : newer_key);
    X509_free(signs_newer ? older : newer);
    return fake_teardown(state);
}

// A set that a server may have; freed behind the case.
static X509 *set_of(X509 *a, X509 *b, X509 *link)
{
    X509 *list[3] = {a};
    size_t n = 1;

    if (b != NULL)
        list[n++] = b;
    if (link != NULL)
        list[n++] = link;
    assert_int_equal(kt_pki_ca_make(list, n, &sets[set_count]), 0);
    X509_free(link);
    return sets[set_count++];
}

static X509 *link_of(enum kt_pki_link kind)
{
    int forth = kind == KT_PKI_LINK_FORTH;
    X509 *link = NULL;

    assert_int_equal(kt_pki_make_link(kind, forth ? older_key : newer_key, forth ? older : newer,
                                      forth ? newer : older, &link),
                     0);
    return link;
}

// The newer root signs from now on, and all nodes say so.
static void replace(void)
{
    fake.ca_set = set_of(newer, older, link_of(KT_PKI_LINK_FORTH));
    fake.ca = newer;
    fake.ca_key = newer_key;
}

static void get(void)
{
    struct keytrustee_secret *secret = NULL;

    must_work(keytrustee_get(client, "h", 1, &secret, NULL, &error), &error);
    keytrustee_free(secret);
}

// How many roots are trusted, and which is the newest.
static void trusts(size_t count, X509 *newest)
{
    X509 *ca = NULL;
    size_t roots = 0;

    assert_int_equal(kt_pki_ca_load(fake_path("ca.pem"), &ca, NULL), 0);
    for (size_t i = 0; i < kt_pki_ca_count(ca); i++)
        roots += (size_t)kt_pki_is_root(kt_pki_ca_at(ca, i));
    assert_int_equal(roots, count);
    assert_int_equal(X509_cmp(ca, newest), 0);
    X509_free(ca);
}

static void a_client_that_only_gets_learns_the_next_root_and_the_end_of_the_older(void **state)
{
    X509 *cert = NULL;

    (void)state;
    replace();
    get();
    trusts(2, newer);
    assert_int_equal(fake.renewals, 1);
    assert_int_equal(kt_pki_cert_load(fake_path("client-cert.pem"), &cert, NULL), 0);
    assert_int_equal(kt_pki_cert_check(cert, newer, kt_time_now()), 0);
    X509_free(cert);
    fake.ca_set = set_of(newer, NULL, link_of(KT_PKI_LINK_END));
    get();
    trusts(1, newer);
    assert_string_equal(warned, "");
}

static void a_root_that_does_not_sign_yet_costs_one_renewal_until_it_does(void **state)
{
    (void)state;
    fake.ca_set = set_of(older, newer, link_of(KT_PKI_LINK_FORTH));
    get();
    trusts(2, newer);
    assert_int_equal(fake.renewals, 1);
    for (int i = 0; i < 3; i++) {
        get();
        fake_reopen();
    }
    assert_int_equal(fake.renewals, 1);
    replace();
    get();
    assert_int_equal(fake.renewals, 2);
    get();
    assert_int_equal(fake.renewals, 2);
}

static void a_set_that_was_learned_is_not_asked_for_again_by_no_process(void **state)
{
    X509 *first = set_of(older, NULL, NULL), *second = NULL;

    (void)state;
    fake.ca_set = first;
    get(); // registration told of it
    assert_int_equal(fake.selves_asked, 0);
    replace();
    second = fake.ca_set;
    get();
    assert_int_equal(fake.selves_asked, 2); // and once for the renewal
    for (int i = 0; i < 4; i++) {
        fake.ca_set = i % 2 ? second : first; // one node is behind
        fake_reopen();
        get();
    }
    assert_int_equal(fake.selves_asked, 2);
    trusts(2, newer);
}

static void a_set_that_nothing_vouches_for_is_said_once_and_the_call_succeeds(void **state)
{
    (void)state;
    fake.ca_set = set_of(newer, older, NULL);
    get();
    get();
    assert_int_equal(fake.selves_asked, 1);
    trusts(1, older);
    assert_non_null(strstr(warned, "does not vouch for"));
    assert_null(strstr(strstr(warned, "does not vouch for") + 1, "does not vouch for"));
}

static int no_selves(const char *server, const struct kt_http_request *request, int *sent)
{
    *sent = 0;
    return strcmp(request->path, "/v1/clients/self") == 0 ? KT_ERR_NETWORK
                                                          : fake_reach(server, request, sent);
}

static void a_set_that_cannot_be_had_fails_nothing(void **state)
{
    (void)state;
    replace();
    fake.network = no_selves;
    get();
    trusts(1, older);
    assert_string_equal(warned, "");
    fake.network = fake_reach;
    fake_reopen();
    get();
    trusts(2, newer);
}

static void odd_mark(const char *server, const struct kt_http_request *request,
                     struct kt_http_answer *answer)
{
    fake_speak(server, request, answer);
    fake_header(answer, "KT-CA", "0123456789abcdef0123456789abcdef0");
}

static void a_malformed_mark_is_no_mark(void **state)
{
    (void)state;
    fake.meddle = odd_mark;
    get();
    assert_int_equal(fake.selves_asked, 0);
}

// Only the active has heard of the newer root.
static void two_and_three_are_behind(const char *server, const struct kt_http_request *request,
                                     struct kt_http_answer *answer)
{
    json_t *object = NULL;

    fake_speak(server, request, answer);
    if (strcmp(server, "one") == 0 || strcmp(request->path, "/v1/clients/self") != 0 ||
        answer->status != 200)
        return;
    assert_int_equal(
        kt_json_parse_object(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), &object, NULL),
        0);
    json_object_del(object, "ca");
    fake_json(answer, 200, object);
}

static void a_renewal_learns_the_root_of_the_node_that_signs(void **state)
{
    int64_t renew_us = 0, not_after_us = 0;
    X509 *cert = NULL;

    (void)state;
    replace();
    fake.meddle = two_and_three_are_behind;
    client->servers.preferred = 1;
    assert_int_equal(kt_pki_cert_load(fake_path("client-cert.pem"), &cert, NULL), 0);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -10 * 86400));
    assert_true(X509_sign(cert, older_key, EVP_sha256()) > 0);
    assert_int_equal(kt_pki_cert_save(fake_path("client-cert.pem"), cert, NULL, NULL), 0);
    X509_free(cert);
    client->ca_mark[0] = '\0';
    ktc_begin(client);
    ktc_certificate_renew(client);
    assert_string_equal(warned, "");
    trusts(2, newer);
    assert_int_equal(ktc_certificate_times(client, &renew_us, &not_after_us, NULL), 0);
    assert_true(renew_us > kt_time_now());
}

// A passive shows a key that no CA has certified.
static void two_shows_nonsense(const char *server, const struct kt_http_request *request,
                               struct kt_http_answer *answer)
{
    json_t *object = NULL;
    char pem[8192];

    fake_speak(server, request, answer);
    if (strcmp(server, "two") != 0 || strcmp(request->path, "/v1/clients/self") != 0 ||
        answer->status != 200)
        return;
    fake_pem(newer, pem, sizeof pem);
    assert_int_equal(
        kt_json_parse_object(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), &object, NULL),
        0);
    json_object_set_new(object, "receipt_keys",
                        json_pack("[{s:s, s:s}]", "id", "0011223344556677", "certificate", pem));
    fake_json(answer, 200, object);
}

static void where_one_node_shows_false_keys_the_active_is_asked(void **state)
{
    (void)state;
    fake_make_receipt_key();
    client->servers.preferred = 1;
    fake.meddle = two_shows_nonsense;
    must_work(keytrustee_put(client, "h", "t", 1, NULL, NULL, &error), &error);
    assert_int_equal(fake.selves_asked, 2);
}

// Holds the lock of the confdir, and learns the newer root before it lets go. Not 0: the other process
// was done before.
static int learn_under_lock(int ready, int done)
{
    struct pollfd is_done = {.fd = done, .events = POLLIN};
    X509 *both = set_of(newer, older, NULL);
    int fd = -1;

    if (ktc_lock(client, &fd, NULL) != 0 || write(ready, "", 1) != 1 ||
        poll(&is_done, 1, 500) != 0 || kt_pki_ca_save(fake_path("ca.pem"), both, NULL) != 0)
        return 1;
    close(fd);
    return 0;
}

static void what_another_process_learns_meanwhile_is_not_undone(void **state)
{
    int ready[2], done[2], status = 0;
    X509 *third = NULL, *back = NULL;
    EVP_PKEY *third_key = NULL;
    char byte;

    (void)state;
    get(); // which server answers is known from now on, and not saved again
    // an older root still, so that there is something to save
    assert_int_equal(kt_pki_new_p256(&third_key), 0);
    assert_int_equal(kt_pki_make_ca(third_key, "fake", 864000, &third), 0);
    assert_int_equal(kt_pki_make_link(KT_PKI_LINK_BACK, older_key, older, third, &back), 0);
    fake.ca_set = set_of(older, third, back);
    assert_int_equal(pipe(ready) | pipe(done), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(learn_under_lock(ready[1], done[0]));
    assert_int_equal(read(ready[0], &byte, 1), 1);
    get();
    assert_int_equal(write(done[1], "", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    trusts(2, newer); // it vouches for no root that is older still
    close(ready[0]), close(ready[1]), close(done[0]), close(done[1]);
    X509_free(third);
    EVP_PKEY_free(third_key);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_client_that_only_gets_learns_the_next_root_and_the_end_of_the_older),
        CASE(a_root_that_does_not_sign_yet_costs_one_renewal_until_it_does),
        CASE(a_set_that_was_learned_is_not_asked_for_again_by_no_process),
        CASE(a_set_that_nothing_vouches_for_is_said_once_and_the_call_succeeds),
        CASE(a_set_that_cannot_be_had_fails_nothing),
        CASE(a_malformed_mark_is_no_mark),
        CASE(a_renewal_learns_the_root_of_the_node_that_signs),
        CASE(where_one_node_shows_false_keys_the_active_is_asked),
        CASE(what_another_process_learns_meanwhile_is_not_undone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
