// SPDX-License-Identifier: Apache-2.0
// The state of a client, and the renewal of its certificate.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_cluster.h"

static struct keytrustee_error error;

static int one_is_down(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)request;
    *sent = 0;
    return strcmp(server, "one") == 0 ? KT_ERR_NETWORK : 0;
}

static void status_tells_client_node_and_servers(void **state)
{
    struct keytrustee_status *status = NULL;

    (void)state;
    fake.network = one_is_down;
    must_work(keytrustee_status(client, &status, &error), &error);
    assert_string_equal(status->client, fake.client);
    assert_string_equal(status->name, "host-1");
    assert_string_equal(status->organisation, "org");
    assert_string_equal(status->state, "active");
    assert_string_equal(status->node, "kts-01");
    assert_string_equal(status->node_role, "standalone");
    assert_int_equal(status->node_w, 0);
    assert_int_equal(status->certificate_days_left, 0);    // a day, less a moment
    assert_int_equal(status->certificate_expires_soon, 0); // it is made for a day, and new
    assert_int_equal(status->grant_count, 2);
    assert_string_equal(status->grants[1].right, "browse");
    assert_string_equal(status->grants[1].prefix, "a/");
    assert_string_equal(status->grants[0].prefix, "");
    assert_int_equal(status->server_count, 2);
    assert_int_equal(status->servers[0].reachable, 0);
    assert_non_null(strstr(status->servers[0].problem, "scripted"));
    assert_int_equal(status->servers[1].reachable, 1);
    assert_string_equal(status->servers[1].problem, "");
    assert_string_equal(status->servers[1].node, "kts-01");
    assert_string_equal(status->servers[1].role, "standalone");
    assert_int_equal(status->servers[1].epoch, 1);
    assert_int_equal(status->servers[1].is_active, 1);
    assert_int_equal(status->servers[0].is_active, 0);
    assert_int_equal(status->pending_puts, 0);
    keytrustee_status_free(status);
}

// Two names the active, which nobody registered, and one is of an epoch that was replaced.
static void old_and_learned(const char *server, const struct kt_http_request *request,
                            struct kt_http_answer *answer)
{
    if (strcmp(request->path, "/v1/health") != 0)
        return;
    fake_json(answer, 200,
              json_pack("{s:s, s:s, s:i}", "node", "kts-09", "role",
                        strcmp(server, "two") == 0 ? "passive" : "active", "epoch",
                        strcmp(server, "one") == 0 ? 4 : 5));
    fake_header(answer, "KT-Epoch", strcmp(server, "one") == 0 ? "4" : "5");
    if (strcmp(server, "two") == 0)
        fake_header(answer, "KT-Active", "three:443");
}

static void status_tells_which_server_is_the_active(void **state)
{
    struct keytrustee_status *status = NULL;

    (void)state;
    fake.epoch = 5;
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    fake.meddle = old_and_learned;
    must_work(keytrustee_status(client, &status, &error), &error);
    assert_int_equal(status->server_count, 3);
    assert_string_equal(status->servers[0].role, "active"); // it does not know yet
    assert_int_equal(status->servers[0].is_active, 0);
    assert_non_null(strstr(status->servers[0].problem, "epoch 4"));
    assert_int_equal(status->servers[0].reachable, 1);
    assert_string_equal(status->servers[1].role, "passive");
    assert_int_equal(status->servers[1].is_active, 0);
    assert_string_equal(status->servers[2].name, "three:443");
    assert_int_equal(status->servers[2].learned, 1);
    assert_int_equal(status->servers[2].is_active, 1);
    assert_int_equal(client->servers.active, 2); // as two named it
    keytrustee_status_free(status);
}

static void all_are_pending(const char *server, const struct kt_http_request *request,
                            struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_error(answer, KT_ERR_CLIENT_REVOKED);
}

static void a_revoked_client_is_told(void **state)
{
    struct keytrustee_status *status = NULL;

    (void)state;
    fake.meddle = all_are_pending;
    assert_int_equal(keytrustee_status(client, &status, &error), KEYTRUSTEE_REFUSED);
    assert_null(status);
}

static void a_fresh_certificate_is_not_renewed(void **state)
{
    struct keytrustee_status *status = NULL;

    (void)state;
    must_work(keytrustee_status(client, &status, &error), &error);
    keytrustee_status_free(status);
    assert_int_equal(fake.renewals, 0);
}

// Its validity begins an hour before now, so that the last third of 80 minutes has come.
static int registered_with_an_old_certificate(void **state)
{
    static const char *const servers[] = {"one", NULL};
    struct keytrustee_registration wanted = {
        .size = sizeof wanted, .servers = servers, .name = "host-1"};

    fake_setup(state);
    fake.certificate_lifetime_s = 20 * 60;
    wanted.auth_code = fake.auth_code;
    fake.renewals = -1; // the registration's own call ends with a renewal
    must_work(keytrustee_register(client, &wanted, &error), &error);
    assert_int_equal(fake.renewals, 0);
    return 0;
}

static void a_certificate_in_its_last_third_is_renewed(void **state)
{
    int64_t renew_us = 0, not_after_us = 0;

    (void)state;
    fake.certificate_lifetime_s = 864000;
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    assert_int_equal(fake.renewals, 1);
    assert_int_equal(ktc_certificate_times(client, &renew_us, &not_after_us, NULL), 0);
    assert_true(renew_us > kt_time_now());
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    assert_int_equal(fake.renewals, 1);
}

static void no_renewal(const char *server, const struct kt_http_request *request,
                       struct kt_http_answer *answer)
{
    (void)server;
    if (strstr(request->path, "renew") != NULL)
        fake_error(answer, KT_ERR_AGENT_UNAVAILABLE);
}

static void foreign_certificate(const char *server, const struct kt_http_request *request,
                                struct kt_http_answer *answer)
{
    char pem[8192];

    (void)server;
    if (strstr(request->path, "renew") == NULL)
        return;
    fake_pem(fake.ca, pem, sizeof pem);
    fake_json(answer, 200, json_pack("{s:s}", "certificate", pem));
}

static void a_failed_renewal_only_warns(void **state)
{
    struct kt_buf before = KT_BUF_INIT(65536), after = KT_BUF_INIT(65536);

    (void)state;
    fake.meddle = no_renewal;
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    assert_non_null(strstr(warned, "cannot renew"));
    warned[0] = '\0';
    assert_int_equal(kt_file_read(fake_path("client-cert.pem"), &before, NULL), 0);
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    assert_string_equal(warned, ""); // a client says so once
    keytrustee_close(client);
    fake_open(2000);
    fake.meddle = foreign_certificate;
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    assert_non_null(strstr(warned, "cannot renew"));
    assert_int_equal(kt_file_read(fake_path("client-cert.pem"), &after, NULL), 0);
    assert_int_equal(kt_buf_left(&before), kt_buf_left(&after));
    assert_memory_equal(kt_buf_ptr(&before), kt_buf_ptr(&after), kt_buf_left(&after));
    kt_buf_free(&before);
    kt_buf_free(&after);
}

// Gives the client a certificate that began and ends so many days from now.
static void certify_for(int64_t begin_days, int64_t end_days)
{
    X509 *cert = NULL;

    assert_int_equal(kt_pki_cert_load(fake_path("client-cert.pem"), &cert, NULL), 0);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), begin_days * 86400));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), end_days * 86400 + 60));
    assert_true(X509_sign(cert, fake.ca_key, EVP_sha256()) > 0);
    assert_int_equal(kt_pki_cert_save(fake_path("client-cert.pem"), cert, NULL, NULL), 0);
    X509_free(cert);
}

static int nobody_answers(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)server, (void)request;
    *sent = 0;
    return KT_ERR_NETWORK;
}

static size_t warnings_of(const char *words)
{
    size_t count = 0;

    for (const char *at = warned; (at = strstr(at, words)) != NULL; at++)
        count++;
    return count;
}

static void a_certificate_that_is_about_to_expire_is_told_once_where_it_is_not_renewed(void **state)
{
    static const struct {
        int64_t begin, end;
        const char *words; // NULL: nothing is said
    } cases[] = {
        {-367, 31, NULL},
        {-368, 29, "certificate expires in 29 days"},
        {-397, 0, "certificate expires in 0 days"},
        {-398, -1, "certificate has expired"},
        {-1, 20, NULL}, // it is made for that
        {-15, 5, "certificate expires in 5 days"},
    };

    (void)state;
    fake.network = nobody_answers;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        keytrustee_close(client);
        fake_open(300);
        warned[0] = '\0';
        certify_for(cases[i].begin, cases[i].end);
        assert_int_equal(keytrustee_delete(client, "h", 0, NULL, &error), KEYTRUSTEE_UNAVAILABLE);
        assert_int_equal(keytrustee_delete(client, "h", 0, NULL, &error), KEYTRUSTEE_UNAVAILABLE);
        assert_int_equal(warnings_of("certificate"), cases[i].words != NULL);
        if (cases[i].words != NULL)
            assert_non_null(strstr(warned, cases[i].words));
    }
}

static void status_tells_that_the_certificate_is_about_to_expire(void **state)
{
    struct keytrustee_status *status = NULL;

    (void)state;
    certify_for(-368, 29);
    fake.meddle = no_renewal;
    must_work(keytrustee_status(client, &status, &error), &error);
    assert_int_equal(status->certificate_days_left, 29);
    assert_int_equal(status->certificate_expires_soon, 1);
    assert_int_equal(warnings_of("certificate"), 1);
    keytrustee_status_free(status);
    fake.meddle = NULL;
    fake.certificate_lifetime_s = 864000;
    must_work(keytrustee_status(client, &status, &error), &error); // and renews it itself
    assert_int_equal(status->certificate_days_left, 9);
    assert_int_equal(status->certificate_expires_soon, 0); // nor is it due again
    keytrustee_status_free(status);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_registered, fake_teardown)
#define OLD(function)                                                                              \
    cmocka_unit_test_setup_teardown(function, registered_with_an_old_certificate, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(status_tells_client_node_and_servers),
        CASE(status_tells_which_server_is_the_active),
        CASE(a_revoked_client_is_told),
        CASE(a_fresh_certificate_is_not_renewed),
        OLD(a_certificate_in_its_last_third_is_renewed),
        OLD(a_failed_renewal_only_warns),
        CASE(a_certificate_that_is_about_to_expire_is_told_once_where_it_is_not_renewed),
        CASE(status_tells_that_the_certificate_is_about_to_expire),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
