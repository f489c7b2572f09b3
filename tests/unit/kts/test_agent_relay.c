// SPDX-License-Identifier: Apache-2.0
// Who may ask for what through the door for nodes and operators.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/kts/door_fixture.h"

static void who_has_no_certificate_is_no_member(void **state)
{
    (void)state;
    assert_int_equal(ask(NULL, NULL, "token.list", NULL, NULL), KT_ERR_NOT_MEMBER);
}

static void a_clients_certificate_is_no_members(void **state)
{
    (void)state;
    assert_int_equal(ask("client", NULL, "token.list", NULL, NULL), KT_ERR_NOT_MEMBER);
}

// The writer lists clients and has their certificates signed: that makes nobody more than a client.
static void who_is_listed_as_what_the_ca_did_not_sign_is_refused(void **state)
{
    (void)state;
    assert_int_equal(ask("operator", NULL, "token.list", NULL, NULL), 0);
    assert_int_equal(ask("eve", NULL, "token.new", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("impostor", NULL, "node.state", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("eve", NULL, "node.removed", NULL, NULL), KT_ERR_NOT_MEMBER);
}

static void a_removed_nodes_certificate_is_refused(void **state)
{
    (void)state;
    assert_int_equal(ask("removed", NULL, "node.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("removed", NULL, "no.such", NULL, NULL), KT_ERR_NOT_MEMBER);
    // but it is told so, by a node that knows its rows
    assert_int_equal(ask("removed", NULL, "node.removed", NULL, NULL), KT_ERR_DATABASE_UNAVAILABLE);
}

static void an_expired_certificate_is_refused(void **state)
{
    int64_t until = kt_monotonic_now() + 10 * 1000000LL;
    int rc = KT_ERR_NOT_MEMBER;

    (void)state;
    while (rc == KT_ERR_NOT_MEMBER && kt_monotonic_now() < until) // it is good for a second
        rc = ask("expired", NULL, "node.add", NULL, NULL);
    assert_int_equal(rc, KT_ERR_CERTIFICATE_EXPIRED);
}

static void a_node_may_ask_for_what_nodes_may(void **state)
{
    (void)state;
    // Let in, and then asked for what is missing.
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
    assert_int_equal(ask("peer", NULL, "token.new", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("peer", NULL, "org.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("peer", NULL, "no.such", NULL, NULL), KT_ERR_ROUTE_UNKNOWN);
}

static json_t *renewal(const char *member, const char *name, const char *before)
{
    struct kt_buf pem = KT_BUF_INIT(KT_CERT_PEM_MAX);
    json_t *args;

    assert_int_equal(kt_file_read(temp_path(name), &pem, NULL), 0);
    args = json_pack("{s:s, s:s%, s:s*}", "member", member, "cert", (const char *)kt_buf_ptr(&pem),
                     (size_t)kt_buf_left(&pem), "before", before);
    kt_buf_free(&pem);
    return args;
}

static void a_renewal_is_asked_for_by_the_node_itself_and_listed_by_the_table_only(void **state)
{
    static struct kt_peers peers;
    char before[KT_SHA256_TEXT];
    uint8_t sha256[KT_SHA256_LEN];

    (void)state;
    assert_int_equal(kt_peers_load(fixture.paths.peers, &peers, NULL), 0);
    kt_hex_encode(kt_peers_by_member(&peers, PEER)->cert_sha256, KT_SHA256_LEN, before);
    fixture_cert("fresh", KT_PKI_NODE, PEER, 3600, sha256);
    fixture_cert("other", KT_PKI_NODE, "kts-09.00000009", 3600, sha256);
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(PEER, "fresh.pem", before), NULL),
                     KT_ERR_PASSIVE);
    atomic_store(&fixture.status->role, KTS_ROLE_ACTIVE);
    // its own only, of its own name, and nobody else's
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(OWN, "fresh.pem", before), NULL),
                     KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(PEER, "other.pem", before), NULL),
                     KT_ERR_INVALID);
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(PEER, "client.pem", before), NULL),
                     KT_ERR_INVALID);
    assert_int_equal(ask("operator", NULL, "node.renew", renewal(PEER, "fresh.pem", before), NULL),
                     KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("fresh", NULL, "node.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    // There is no database here: what the table does not take changes no list.
    assert_int_not_equal(ask("peer", NULL, "node.renew", renewal(PEER, "fresh.pem", before), NULL),
                         0);
    assert_int_equal(ask("fresh", NULL, "node.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
}

// Both are let in, and with the old one nothing is undone.
static void in_a_renewal_the_old_certificate_does_not_come_back(void **state)
{
    static struct kt_peers peers;
    char fresh[KT_SHA256_TEXT];

    (void)state;
    assert_int_equal(kt_peers_load(fixture.paths.peers, &peers, NULL), 0);
    kt_hex_encode(kt_peers_by_member(&peers, PEER)->cert_sha256, KT_SHA256_LEN, fresh);
    atomic_store(&fixture.status->role, KTS_ROLE_ACTIVE);
    assert_int_equal(ask("fresh", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(PEER, "peer.pem", NULL), NULL),
                     KT_ERR_INVALID);
    assert_int_equal(ask("peer", NULL, "node.renew", renewal(PEER, "peer.pem", fresh), NULL),
                     KT_ERR_INVALID);
    assert_int_not_equal(ask("fresh", NULL, "node.renew", renewal(PEER, "fresh.pem", NULL), NULL),
                         KT_ERR_INVALID);
}

static void an_operator_may_make_and_revoke_tokens(void **state)
{
    json_t *result = NULL;
    const char *id;

    (void)state;
    assert_int_equal(
        ask("operator", NULL, "token.new", json_pack("{s:i}", "expires_s", 60), &result), 0);
    id = json_string_value(json_object_get(result, "id"));
    assert_non_null(id);
    assert_int_equal(ask("operator", NULL, "token.revoke", json_pack("{s:s}", "id", id), NULL), 0);
    assert_int_equal(ask("operator", NULL, "token.revoke", json_pack("{s:s}", "id", id), NULL),
                     KT_ERR_NOT_FOUND);
    json_decref(result);
    assert_int_equal(ask("operator", NULL, "token.list", NULL, &result), 0);
    assert_int_equal(json_array_size(result), 1);
    assert_null(json_object_get(json_array_get(result, 0), "sha256"));
    json_decref(result);
    assert_int_equal(ask("operator", NULL, "node.add", NULL, NULL), KT_ERR_NOT_MEMBER);
    assert_int_equal(ask("operator", NULL, "token.new", json_pack("{s:i}", "expires_s", 0), NULL),
                     KT_ERR_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(who_has_no_certificate_is_no_member),
        CASE(a_clients_certificate_is_no_members),
        cmocka_unit_test_setup_teardown(who_is_listed_as_what_the_ca_did_not_sign_is_refused,
                                        set_up_impostors, tear_down),
        CASE(a_removed_nodes_certificate_is_refused),
        CASE(an_expired_certificate_is_refused),
        CASE(a_node_may_ask_for_what_nodes_may),
        CASE(a_renewal_is_asked_for_by_the_node_itself_and_listed_by_the_table_only),
        cmocka_unit_test_setup_teardown(in_a_renewal_the_old_certificate_does_not_come_back,
                                        set_up_renewal, tear_down),
        CASE(an_operator_may_make_and_revoke_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
