// SPDX-License-Identifier: Apache-2.0
// Enrolment: repeatable with the same keys, and only with the cluster the auth code names.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_cluster.h"

static struct keytrustee_error error;
static const char *const servers[] = {"one", "two:443", NULL};

static int enrol(const char *code, const char *name)
{
    struct keytrustee_registration wanted = {
        .size = sizeof wanted, .servers = servers, .auth_code = code, .name = name};

    return keytrustee_register(client, &wanted, &error);
}

static void read_file(const char *name, struct kt_buf *buf)
{
    struct kt_error why = {0};

    kt_buf_reset(buf);
    assert_int_equal(kt_file_read(fake_path(name), buf, &why), 0);
}

static void a_registration_leaves_all_that_is_needed(void **state)
{
    static const char *const files[] = {"client.json", "client-key.pem", "gnupg", "receipts",
                                        "pending"};
    struct stat st;
    struct ktc_state disk;
    char key[64];

    (void)state;
    must_work(enrol(fake.auth_code, "host-1"), &error);
    assert_int_equal(stat(fake_path(""), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_int_equal(stat(fake_path(files[i]), &st), 0);
        assert_int_equal(st.st_mode & 077, 0);
    }
    assert_true(kt_file_exists(fake_path("client-cert.pem")));
    assert_true(kt_file_exists(fake_path("ca.pem")));
    snprintf(key, sizeof key, "receipt-keys/%s.pem", fake.receipt_key_id);
    assert_true(kt_file_exists(fake_path(key)));
    assert_int_equal(ktc_state_load(fake_path("client.json"), &disk, NULL), 0);
    assert_string_equal(disk.client, fake.client);
    assert_string_equal(disk.organisation, "org");
    assert_string_equal(disk.name, "host-1");
    assert_int_equal(disk.server_count, 2);
    assert_int_equal(disk.epoch, 1);
    assert_int_equal(strlen(disk.fingerprint), 40);
}

static int nobody_answers(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)server, (void)request;
    *sent = 1; // acted on: only the answer is lost
    return KT_ERR_NETWORK;
}

static void an_interrupted_registration_goes_on_with_the_same_keys(void **state)
{
    struct kt_buf before = KT_BUF_INIT(65536), after = KT_BUF_INIT(65536);
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT], certificate[8192];

    (void)state;
    fake.network = nobody_answers;
    assert_int_equal(enrol(fake.auth_code, "host-1"), KEYTRUSTEE_UNAVAILABLE);
    read_file("client-key.pem", &before);
    snprintf(fingerprint, sizeof fingerprint, "%s", client->state.fingerprint);
    snprintf(certificate, sizeof certificate, "%s", fake.certificate);
    keytrustee_close(client);
    fake_open(2000);
    fake.network = NULL;
    must_work(enrol(fake.auth_code, "host-1"), &error);
    read_file("client-key.pem", &after);
    assert_int_equal(kt_buf_left(&before), kt_buf_left(&after));
    assert_memory_equal(kt_buf_ptr(&before), kt_buf_ptr(&after), kt_buf_left(&after));
    assert_string_equal(client->state.fingerprint, fingerprint);
    assert_string_equal(fake.certificate, certificate);
    must_work(enrol(fake.auth_code, NULL), &error); // and once more
    assert_string_equal(client->state.name, "host-1");
    kt_buf_free(&before);
    kt_buf_free(&after);
}

static void a_key_left_by_a_killed_run_is_used(void **state)
{
    char fingerprint[KT_OPENPGP_FINGERPRINT_TEXT];
    struct kt_error why = {0};

    (void)state;
    fake.network = nobody_answers;
    assert_int_equal(enrol(fake.auth_code, "host-1"), KEYTRUSTEE_UNAVAILABLE);
    snprintf(fingerprint, sizeof fingerprint, "%s", client->state.fingerprint);
    // As if killed before the fingerprint was saved.
    client->state.fingerprint[0] = '\0';
    assert_int_equal(ktc_state_save(fake_path("client.json"), &client->state, &why), 0);
    keytrustee_close(client);
    fake_open(2000);
    fake.network = NULL;
    must_work(enrol(fake.auth_code, "host-1"), &error);
    assert_string_equal(client->state.fingerprint, fingerprint);
}

static void wrong_arguments_are_refused(void **state)
{
    static const char *const none[] = {NULL};
    static const char *const bad[] = {"https://host", NULL};
    struct keytrustee_registration wanted = {
        .size = sizeof wanted, .servers = none, .auth_code = fake.auth_code};

    (void)state;
    assert_int_equal(keytrustee_register(client, &wanted, &error), KEYTRUSTEE_USAGE);
    wanted.servers = bad;
    assert_int_equal(keytrustee_register(client, &wanted, &error), KEYTRUSTEE_USAGE);
    assert_int_equal(enrol(fake.auth_code, "a b"), KEYTRUSTEE_USAGE);
    assert_int_equal(enrol(fake.auth_code, ""), KEYTRUSTEE_USAGE);
    assert_int_equal(enrol("no code", "host-1"), KEYTRUSTEE_REFUSED);
    assert_int_equal(enrol(NULL, "host-1"), KEYTRUSTEE_REFUSED);
    assert_int_equal(fake.requests, 0);
}

static int refusal;

static void refuse(const char *server, const struct kt_http_request *request,
                   struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_error(answer, refusal);
}

static void a_refused_code_is_said_by_the_first_server(void **state)
{
    (void)state;
    fake.meddle = refuse;
    refusal = KT_ERR_AUTH_CODE_USED_UP;
    assert_int_equal(enrol(fake.auth_code, "host-1"), KEYTRUSTEE_REFUSED);
    assert_string_equal(error.name, "auth_code_used_up");
    assert_int_equal(fake.requests, 1);
    assert_string_equal(client->state.client, "");
}

static void one_is_passive(const char *server, const struct kt_http_request *request,
                           struct kt_http_answer *answer)
{
    (void)request;
    if (strcmp(server, "one") == 0)
        fake_error(answer, KT_ERR_PASSIVE);
}

static void the_next_server_registers(void **state)
{
    (void)state;
    fake.meddle = one_is_passive;
    must_work(enrol(fake.auth_code, "host-1"), &error);
}

// Changes one member of the answer; `value` is stolen.
static const char *member;
static json_t *value;

static void change_member(const char *server, const struct kt_http_request *request,
                          struct kt_http_answer *answer)
{
    json_t *object = NULL;

    (void)server;
    if (strcmp(request->path, "/v1/clients") != 0)
        return;
    assert_int_equal(
        kt_json_parse_object(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), &object, NULL),
        0);
    json_object_set(object, member, value);
    fake_json(answer, 201, object);
}

static void refused_with(const char *name, json_t *changed, int result)
{
    member = name;
    value = changed;
    fake.meddle = change_member;
    assert_int_equal(enrol(fake.auth_code, "host-1"), result);
    assert_string_equal(client->state.client, "");
    json_decref(changed);
    fake.meddle = NULL;
}

static void an_answer_of_another_ca_is_refused(void **state)
{
    EVP_PKEY *key = NULL;
    X509 *ca = NULL;
    char pem[8192];

    (void)state;
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_make_ca(key, "evil", 86400, &ca), 0);
    fake_pem(ca, pem, sizeof pem);
    refused_with("ca", json_string(pem), KEYTRUSTEE_INTEGRITY);
    refused_with("certificate", json_string(pem), KEYTRUSTEE_INTEGRITY);
    refused_with("receipt_keys",
                 json_pack("[{s:s, s:s}]", "id", "0011223344556677", "certificate", pem),
                 KEYTRUSTEE_INTEGRITY);
    X509_free(ca);
    EVP_PKEY_free(key);
}

static void a_receipt_key_under_another_id_is_refused(void **state)
{
    char pem[8192];

    (void)state;
    fake_pem(fake.receipt_cert, pem, sizeof pem);
    refused_with("receipt_keys",
                 json_pack("[{s:s, s:s}]", "id", "0011223344556677", "certificate", pem),
                 KEYTRUSTEE_INTEGRITY);
}

static void a_certificate_for_another_key_is_refused(void **state)
{
    struct kt_pki_subject subject = {.role = KT_PKI_CLIENT,
                                     .common_name = fake.client,
                                     .organisation = "org",
                                     .lifetime_s = 86400};
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    char pem[8192];

    (void)state;
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_sign(fake.ca_key, fake.ca, key, &subject, &cert), 0);
    fake_pem(cert, pem, sizeof pem);
    refused_with("certificate", json_string(pem), KEYTRUSTEE_INTEGRITY);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void a_malformed_answer_is_refused(void **state)
{
    (void)state;
    refused_with("client", json_string("../../x"), KEYTRUSTEE_FAILURE);
    assert_string_equal(error.name, "protocol");
    refused_with("client", json_integer(1), KEYTRUSTEE_FAILURE);
    refused_with("cluster", json_null(), KEYTRUSTEE_FAILURE);
    refused_with("ca", json_string("x"), KEYTRUSTEE_FAILURE);
    refused_with("receipt_keys", json_array(), KEYTRUSTEE_FAILURE);
    refused_with("receipt_keys",
                 json_pack("[{s:s, s:s}]", "id", "../../../../evil", "certificate", "x"),
                 KEYTRUSTEE_FAILURE);
}

static void a_confdir_of_another_cluster_is_left_alone(void **state)
{
    EVP_PKEY *key = NULL;
    X509 *other = NULL, *kept = NULL;

    (void)state;
    must_work(enrol(fake.auth_code, "host-1"), &error);
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pki_make_ca(key, "another", 86400, &other), 0);
    assert_int_equal(kt_pki_ca_save(fake_path("ca.pem"), other, NULL), 0);
    assert_int_equal(enrol(fake.auth_code, "host-1"), KEYTRUSTEE_FAILURE);
    assert_string_equal(error.name, "exists");
    assert_int_equal(kt_pki_ca_load(fake_path("ca.pem"), &kept, NULL), 0);
    assert_int_equal(X509_cmp(kept, other), 0);
    EVP_PKEY_free(key);
    X509_free(other);
    X509_free(kept);
}

static void a_failed_registration_leaves_a_working_client_as_it_was(void **state)
{
    static const char *const others[] = {"wrong", NULL};
    struct keytrustee_registration wanted = {
        .size = sizeof wanted, .servers = others, .auth_code = fake.auth_code, .name = "host-2"};
    char *before = NULL, *after = NULL;

    (void)state;
    must_work(enrol(fake.auth_code, "host-1"), &error);
    assert_int_equal(kt_file_read_text(fake_path("client.json"), 65536, &before, NULL), 0);
    fake.meddle = refuse;
    refusal = KT_ERR_AUTH_CODE_USED_UP;
    assert_int_equal(keytrustee_register(client, &wanted, &error), KEYTRUSTEE_REFUSED);
    member = "cluster";
    value = json_null();
    fake.meddle = change_member;
    assert_int_equal(keytrustee_register(client, &wanted, &error), KEYTRUSTEE_FAILURE);
    json_decref(value);
    fake.meddle = NULL;
    assert_int_equal(kt_file_read_text(fake_path("client.json"), 65536, &after, NULL), 0);
    assert_string_equal(after, before);
    assert_string_equal(client->state.servers[0], servers[0]);
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    must_work(keytrustee_register(client, &wanted, &error), &error);
    assert_string_equal(client->state.servers[0], "wrong");
    assert_string_equal(client->state.name, "host-2");
    free(before);
    free(after);
}

// A newer root of the fake cluster, with the link that leads to it.
static struct {
    EVP_PKEY *key;
    X509 *root, *link;
} newer;

static void make_newer(void)
{
    assert_int_equal(kt_pki_new_p256(&newer.key), 0);
    assert_int_equal(kt_pki_make_ca(newer.key, "fake", 864000, &newer.root), 0);
    assert_int_equal(
        kt_pki_make_link(KT_PKI_LINK_FORTH, fake.ca_key, fake.ca, newer.root, &newer.link), 0);
}

static void drop_newer(void)
{
    EVP_PKEY_free(newer.key);
    X509_free(newer.root);
    X509_free(newer.link);
}

static size_t known_roots(X509 **first)
{
    size_t count;

    X509_free(*first);
    *first = NULL;
    assert_int_equal(kt_pki_ca_load(fake_path("ca.pem"), first, NULL), 0);
    count = kt_pki_ca_count(*first);
    return count;
}

static void an_older_auth_code_does_not_take_a_newer_root_away(void **state)
{
    X509 *list[2] = {NULL, fake.ca}, *both = NULL, *kept = NULL;

    (void)state;
    must_work(enrol(fake.auth_code, "host-1"), &error);
    make_newer();
    list[0] = newer.root;
    assert_int_equal(kt_pki_ca_make(list, 2, &both), 0);
    assert_int_equal(kt_pki_ca_save(fake_path("ca.pem"), both, NULL), 0);
    must_work(enrol(fake.auth_code, NULL), &error); // the node has not heard of the newer one
    assert_int_equal(known_roots(&kept), 2);
    assert_int_equal(X509_cmp(kept, newer.root), 0);
    X509_free(kept);
    X509_free(both);
    drop_newer();
}

// Both roots; and a certificate that is none of ours.
static void tell_of_both_and_certify_nothing(const char *server,
                                             const struct kt_http_request *request,
                                             struct kt_http_answer *answer)
{
    X509 *list[3] = {newer.root, fake.ca, newer.link}, *set = NULL;
    struct kt_buf pem = KT_BUF_INIT(32768);
    json_t *object = NULL;

    (void)server;
    if (strcmp(request->path, "/v1/clients") != 0)
        return;
    assert_int_equal(kt_pki_ca_make(list, 3, &set), 0);
    assert_int_equal(kt_pki_ca_to_pem(set, &pem), 0);
    assert_int_equal(
        kt_json_parse_object(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), &object, NULL),
        0);
    json_object_set_new(object, "ca",
                        json_stringn((const char *)kt_buf_ptr(&pem), kt_buf_left(&pem)));
    if (value != NULL)
        json_object_set(object, "certificate", value);
    fake_json(answer, 200, object);
    kt_buf_free(&pem);
    X509_free(set);
}

static void a_refused_answer_leaves_the_ca_as_it_was(void **state)
{
    X509 *kept = NULL;
    char pem[8192];

    (void)state;
    must_work(enrol(fake.auth_code, "host-1"), &error);
    make_newer();
    fake_pem(newer.root, pem, sizeof pem);
    value = json_string(pem);
    fake.meddle = tell_of_both_and_certify_nothing;
    assert_int_equal(enrol(fake.auth_code, NULL), KEYTRUSTEE_INTEGRITY);
    assert_int_equal(known_roots(&kept), 1);
    assert_int_equal(X509_cmp(kept, fake.ca), 0);
    json_decref(value);
    value = NULL;
    must_work(enrol(fake.auth_code, NULL), &error);
    assert_int_equal(known_roots(&kept), 2);
    assert_int_equal(X509_cmp(kept, newer.root), 0);
    X509_free(kept);
    drop_newer();
}

static void an_answer_of_another_cluster_id_is_refused(void **state)
{
    (void)state;
    must_work(enrol(fake.auth_code, "host-1"), &error);
    member = "cluster";
    value = json_pack("{s:s, s:s, s:s, s:i}", "id", "99999999-2222-4333-8444-555555555555",
                      "openpgp_fingerprint", "89ABCDEF0123456789ABCDEF0123456789ABCDEF",
                      "incarnation", fake.incarnation, "epoch", 1);
    fake.meddle = change_member;
    assert_int_equal(enrol(fake.auth_code, NULL), KEYTRUSTEE_FAILURE);
    assert_string_equal(error.name, "exists");
    assert_string_equal(client->state.cluster, FAKE_CLUSTER_ID);
    assert_string_equal(client->state.cluster_fingerprint, fake_fingerprint);
    json_decref(value);
}

static void what_others_saw_of_the_history_survives_a_registration(void **state)
{
    struct ktc_state disk = {0};

    (void)state;
    must_work(enrol(fake.auth_code, "host-1"), &error);
    assert_int_equal(ktc_state_load(fake_path("client.json"), &disk, NULL), 0);
    disk.epoch = 7; // another process has seen it
    assert_int_equal(ktc_state_save(fake_path("client.json"), &disk, NULL), 0);
    assert_int_equal(enrol(fake.auth_code, "host-1"), KEYTRUSTEE_UNAVAILABLE);
    assert_string_equal(error.name, "fenced");
    fake.epoch = 7;
    must_work(enrol(fake.auth_code, "host-1"), &error);
}

static void a_client_that_waits_for_approval_is_registered(void **state)
{
    (void)state;
    fake.state = "pending";
    must_work(enrol(fake.auth_code, "host-1"), &error);
    assert_string_equal(client->state.client, fake.client);
}

static void a_confdir_too_deep_for_gpg_is_refused(void **state)
{
    struct keytrustee *deep = NULL;
    char confdir[256];
    struct keytrustee_options options = {.size = sizeof options, .confdir = confdir};
    struct keytrustee_registration wanted = {
        .size = sizeof wanted, .servers = servers, .auth_code = fake.auth_code};

    (void)state;
    snprintf(confdir, sizeof confdir, "%s/%090d", fake_folder, 0);
    must_work(keytrustee_open(&options, &deep, &error), &error);
    assert_int_equal(keytrustee_register(deep, &wanted, &error), KEYTRUSTEE_FAILURE);
    assert_non_null(strstr(error.hint, "shorter"));
    assert_int_equal(fake.requests, 0);
    keytrustee_close(deep);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_registration_leaves_all_that_is_needed),
        CASE(an_interrupted_registration_goes_on_with_the_same_keys),
        CASE(a_key_left_by_a_killed_run_is_used),
        CASE(wrong_arguments_are_refused),
        CASE(a_refused_code_is_said_by_the_first_server),
        CASE(the_next_server_registers),
        CASE(an_answer_of_another_ca_is_refused),
        CASE(a_receipt_key_under_another_id_is_refused),
        CASE(a_certificate_for_another_key_is_refused),
        CASE(a_malformed_answer_is_refused),
        CASE(a_confdir_of_another_cluster_is_left_alone),
        CASE(a_failed_registration_leaves_a_working_client_as_it_was),
        CASE(an_older_auth_code_does_not_take_a_newer_root_away),
        CASE(a_refused_answer_leaves_the_ca_as_it_was),
        CASE(an_answer_of_another_cluster_id_is_refused),
        CASE(what_others_saw_of_the_history_survives_a_registration),
        CASE(a_client_that_waits_for_approval_is_registered),
        CASE(a_confdir_too_deep_for_gpg_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
