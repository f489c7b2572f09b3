// SPDX-License-Identifier: Apache-2.0
// What a join token lets in, and what it does not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/seal.h"
#include "tests/unit/kts/door_fixture.h"

static json_t *join_args_with(EVP_PKEY *key, const char *node, const char *member)
{
    struct kt_buf csr = KT_BUF_INIT(8192);
    json_t *args;

    assert_int_equal(kt_pki_csr_make(key, &csr), 0);
    args = json_pack("{s:s, s:s, s:s#, s:s, s:i, s:i, s:i}", "node", node, "member", member, "csr",
                     kt_buf_ptr(&csr), (int)kt_buf_left(&csr), "address", "10.0.0.9", "agent_port",
                     11372, "database_port", 11381, "https_port", 11371);
    kt_buf_free(&csr);
    assert_non_null(args);
    return args;
}

static json_t *join_args(const char *node, const char *member)
{
    EVP_PKEY *key = NULL;
    json_t *args;

    assert_int_equal(kt_pki_new_p256(&key), 0);
    args = join_args_with(key, node, member);
    EVP_PKEY_free(key);
    return args;
}

// For the newcomer's key, under the file's own name.
static void assert_sealed(const json_t *files, EVP_PKEY *key, const char *name, const char *wanted)
{
    const char *text = json_string_value(json_object_get(files, name));
    struct kt_secret *opened = NULL;
    uint8_t bytes[4096];
    size_t n = sizeof(bytes);

    assert_non_null(text);
    assert_int_equal(kt_base64_decode(text, strlen(text), bytes, &n), 0);
    assert_int_equal(kt_unseal(key, KT_SEAL_NEWCOMER, "another", bytes, n, &opened),
                     KT_ERR_SIGNATURE);
    assert_int_equal(kt_unseal(fixture.ca_key, KT_SEAL_NEWCOMER, name, bytes, n, &opened),
                     KT_ERR_SIGNATURE);
    assert_int_equal(kt_unseal(key, KT_SEAL_NEWCOMER, name, bytes, n, &opened), 0);
    assert_string_equal(kt_secret_text(opened), wanted);
    kt_secret_free(opened);
}

static void a_token_lets_one_newcomer_in_and_hands_over_the_keys(void **state)
{
    json_t *result = NULL, *files;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    const char *pem;

    (void)state;
    assert_int_equal(kt_pki_new_p256(&key), 0);
    temp_text(".keytrustee/cluster.json", "{}");
    temp_text(".keytrustee/keytrustee.conf", "");
    temp_text(".keytrustee/init.lock", "");
    temp_text(".keytrustee/gpg.conf", "");
    temp_text(".keytrustee/ca/key.pem", "the key of the CA");
    temp_text(".keytrustee/ca/key.pem~", ""); // somebody's copy
    assert_int_equal(mkdir(temp_path(".keytrustee/secrets"), 0700), 0);
    temp_text(".keytrustee/secrets/role", "{}");
    assert_int_equal(
        ask(NULL, token, "join.begin", join_args_with(key, "kts-04", "kts-04.0000000a"), &result),
        0);
    files = json_object_get(result, "files");
    assert_non_null(json_object_get(files, "ca/cert.pem"));
    assert_sealed(files, key, "secrets/role", "{}");
    assert_sealed(files, key, "ca/key.pem", "the key of the CA");
    assert_null(json_object_get(files, "cluster.json"));
    assert_null(json_object_get(files, "gpg.conf"));
    assert_null(json_object_get(files, "ca/key.pem~"));
    assert_null(json_object_get(files, "tls/node-key.pem"));
    assert_null(json_object_get(files, "keytrustee.conf"));
    assert_null(json_object_get(files, "init.lock"));
    pem = json_string_value(json_object_get(result, "node_cert"));
    assert_int_equal(kt_pki_cert_from_pem(pem, strlen(pem), &cert), 0);
    assert_int_equal(kt_pki_cert_check(cert, fixture.ca, kt_time_now()), 0);
    X509_free(cert);
    // No active is in sight here: the newcomer is known to this node at least.
    assert_true(json_is_null(json_object_get(result, "active")));
    assert_true(json_is_false(json_object_get(result, "registered")));
    assert_int_equal(json_array_size(json_object_get(result, "peers")), 4);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(result, "settings"), "database.name")),
        "keytrustee");
    json_decref(result);
    // The same one again with its key: the same use. Another key, or another one: not.
    assert_int_equal(
        ask(NULL, token, "join.begin", join_args_with(key, "kts-04", "kts-04.0000000a"), NULL), 0);
    EVP_PKEY_free(key);
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     KT_ERR_TOKEN_INVALID);
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-05", "kts-05.0000000b"), NULL),
                     KT_ERR_TOKEN_INVALID);
}

static void a_token_is_void_once_its_member_has_a_vote(void **state)
{
    const uint8_t key[KT_SHA256_LEN] = {7};
    struct kt_epoch_row row = {.epoch = 1, .sequence = 1, .active = "kts-01.00000001", .count = 1};
    struct kts_view view = {.rows = {.rows = &row, .count = 1}};
    struct kt_join_token parsed;
    struct kt_error why = {0};

    (void)state;
    fixture.agent.view = &view;
    snprintf(row.members[0], sizeof(row.members[0]), "kts-05.00000005");
    assert_int_equal(kt_join_token_parse(token, &parsed), 0);
    assert_int_equal(kts_token_use(&fixture.agent, &parsed, "kts-04.0000000a", key, &why), 0);
    assert_int_equal(kts_token_check(&fixture.agent, &parsed, &why), 0);
    snprintf(row.members[0], sizeof(row.members[0]), "kts-04.0000000a");
    assert_int_equal(kts_token_check(&fixture.agent, &parsed, &why), KT_ERR_TOKEN_INVALID);
    fixture.agent.view = NULL;
}

// What the list of nodes would not be read with costs neither the token nor the list.
static void an_address_that_no_list_holds_is_refused(void **state)
{
    static const char *const WRONG[] = {"fe80::1%eth0", "-10.0.0.9"};
    struct kt_peers peers;
    json_t *args;

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        args = join_args("kts-04", "kts-04.0000000a");
        json_object_set_new(args, "address", json_string(WRONG[i]));
        assert_int_equal(ask(NULL, token, "join.begin", args, NULL), KT_ERR_BAD_REQUEST);
    }
    assert_int_equal(kt_peers_load(fixture.paths.peers, &peers, NULL), 0);
    assert_int_equal(peers.count, 3);
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     0);
}

static void nobody_is_let_in_without_a_record(void **state)
{
    (void)state;
    atomic_store(&fixture.status->audit_open, 0); // shared with the agent
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     KT_ERR_AUDIT_UNAVAILABLE);
    assert_int_equal(ask("operator", NULL, "token.new", NULL, NULL), KT_ERR_AUDIT_UNAVAILABLE);
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_AUDIT_UNAVAILABLE);
    atomic_store(&fixture.status->audit_open, 1); // the token is as it was
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     0);
}

// Of the only one; until the next call.
static const char *token_state(void)
{
    static char text[16];
    json_t *list = NULL;

    assert_int_equal(ask("operator", NULL, "token.list", NULL, &list), 0);
    snprintf(text, sizeof(text), "%s",
             json_string_value(json_object_get(json_array_get(list, 0), "state")));
    json_decref(list);
    return text;
}

static void a_newcomer_cannot_take_the_place_of_another(void **state)
{
    (void)state;
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-02", PEER), NULL),
                     KT_ERR_EXISTS);
}

static void a_newcomer_cannot_have_the_name_of_this_node(void **state)
{
    (void)state;
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-01", "kts-01.0000000c"), NULL),
                     KT_ERR_EXISTS);
}

static void a_name_that_is_refused_does_not_use_the_token(void **state)
{
    (void)state;
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-01", "kts-01.0000000c"), NULL),
                     KT_ERR_EXISTS);
    assert_string_equal(token_state(), "open");
    assert_int_equal(ask(NULL, token, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     0);
    assert_string_equal(token_state(), "used");
}

static void a_token_serves_for_joining_only(void **state)
{
    (void)state;
    assert_int_equal(ask(NULL, token, "token.list", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask(NULL, token, "node.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask(NULL, token, "no.such", NULL, NULL), KT_ERR_NOT_MEMBER);
}

static void a_token_with_another_secret_is_refused(void **state)
{
    struct kt_join_token parsed;
    char text[KT_TOKEN_TEXT];

    (void)state;
    assert_int_equal(kt_join_token_parse(token, &parsed), 0);
    parsed.secret[3] ^= 1;
    assert_int_equal(kt_join_token_format(&parsed, text), 0);
    assert_int_equal(ask(NULL, text, "join.begin", join_args("kts-04", "kts-04.0000000a"), NULL),
                     KT_ERR_TOKEN_INVALID);
    assert_int_equal(ask(NULL, "nonsense", "join.begin", NULL, NULL), KT_ERR_TOKEN_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_token_lets_one_newcomer_in_and_hands_over_the_keys),
        CASE(a_token_is_void_once_its_member_has_a_vote),
        CASE(an_address_that_no_list_holds_is_refused),
        CASE(nobody_is_let_in_without_a_record),
        CASE(a_newcomer_cannot_take_the_place_of_another),
        CASE(a_newcomer_cannot_have_the_name_of_this_node),
        CASE(a_name_that_is_refused_does_not_use_the_token),
        CASE(a_token_serves_for_joining_only),
        CASE(a_token_with_another_secret_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
