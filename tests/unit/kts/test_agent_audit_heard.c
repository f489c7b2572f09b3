// SPDX-License-Identifier: Apache-2.0
// What a node believes of its own audit log when others speak of it: what it has signed itself.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kts/agent_audit_inner.h"
#include "lib/log.h"
#include "tests/unit/kts/agent_fixture.h"

#define SIGNED_SEQ 5

static struct kt_error error;
static const uint8_t HASH[KT_SHA256_LEN] = {7};

// "audit" of node.state; the caller frees `state`.
static const json_t *audit_of(json_t *state)
{
    kts_agent_audit_state(&fixture.agent, state);
    return json_object_get(state, "audit");
}

static int has_signed(void)
{
    json_t *state = json_object();
    int signed_one = json_object_get(audit_of(state), "head") != NULL;

    json_decref(state);
    return signed_one;
}

// An agent that has signed record 5 of its log.
static int set_up(void **state)
{
    if (fixture_set_up(state))
        return -1;
    fixture.info.cluster_id.bytes[0] = 1;
    snprintf(fixture.paths.node_key, KT_PATH_MAX, "%s/.keytrustee/tls/node-key.pem", temp_dir);
    assert_int_equal(mkdir(fixture.paths.audit, 0700), 0);
    kts_status_set_head(&fixture.audit_pages.writable->head, 1, SIGNED_SEQ, HASH);
    assert_int_equal(kts_agent_peers_start(&fixture.agent, &error), 0);
    assert_int_equal(kts_agent_audit_start(&fixture.agent, &error), 0);
    for (int turn = 0; turn < 1000 && !has_signed(); turn++)
        assert_int_equal(event_base_loop(fixture.agent.base, EVLOOP_ONCE), 0);
    return 0;
}

static int tear_down(void **state)
{
    kts_agent_audit_stop(&fixture.agent);
    return fixture_tear_down(state);
}

// What the peer says to know of this node's log: record `seq`, and in the text `said` in its place.
// Gives 1 when it is believed.
static int is_believed(uint64_t seq, const char *said)
{
    struct kt_audit_head head = {
        .cluster = fixture.info.cluster_id, .member = OWN, .file = 1, .time_us = kt_time_now()};
    json_t *state = json_object(), *theirs;
    char text[KT_AUDIT_HEAD_TEXT], number[32];
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    char *at;
    int believed;

    head.seq = seq;
    assert_int_equal(kt_pki_key_load(fixture.paths.node_key, &key, &error), 0);
    assert_int_equal(kt_pki_cert_load(fixture.paths.node_cert, &cert, &error), 0);
    assert_int_equal(kt_audit_head_sign(&head, key, cert), 0);
    assert_int_equal(kt_audit_head_format(&head, text), 0);
    snprintf(number, sizeof(number), "seq %llu", (unsigned long long)seq);
    at = strstr(text, number);
    assert_non_null(at);
    memcpy(at + 4, said, strlen(said)); // as many digits
    theirs = json_pack("{s:{s:s}}", "heads", OWN, text);
    kts_agent_audit_hear(&fixture.agent, PEER, theirs);
    believed = json_object_get(audit_of(state), "behind") != NULL;
    json_decref(theirs);
    json_decref(state);
    EVP_PKEY_free(key);
    X509_free(cert);
    return believed;
}

static void the_head_is_signed_from_the_page(void **state)
{
    json_t *own = json_object();
    const json_t *audit = audit_of(own);

    (void)state;
    assert_non_null(strstr(json_string_value(json_object_get(audit, "head")), "\nseq 5\n"));
    assert_non_null(json_object_get(json_object_get(own, "heads"), OWN));
    json_decref(own);
}

static void a_number_that_this_node_has_not_signed_is_not_believed(void **state)
{
    json_t *number = json_pack("{s:{s:i}}", "heads", OWN, 9);

    (void)state;
    kts_agent_audit_hear(&fixture.agent, PEER, number);
    json_decref(number);
    assert_false(is_believed(4, "9"));
    assert_false(is_believed(4, "4")); // signed, and known here
    assert_false(is_believed(5, "5"));
}

static void a_record_that_this_node_has_signed_and_lost_is_told(void **state)
{
    (void)state;
    assert_true(is_believed(9, "9"));
}

// A head that the peer shows as its own, with another record than it has signed.
static json_t *unsigned_head(const char *member, uint64_t seq)
{
    struct kt_audit_head head = {
        .cluster = fixture.info.cluster_id, .file = 1, .time_us = kt_time_now()};
    char text[KT_AUDIT_HEAD_TEXT];
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;

    snprintf(head.member, sizeof(head.member), "%s", member);
    assert_int_equal(kt_pki_key_load(fixture.paths.node_key, &key, &error), 0);
    assert_int_equal(kt_pki_cert_load(fixture.paths.node_cert, &cert, &error), 0);
    assert_int_equal(kt_audit_head_sign(&head, key, cert), 0);
    head.seq = seq;
    assert_int_equal(kt_audit_head_format(&head, text), 0);
    EVP_PKEY_free(key);
    X509_free(cert);
    return json_pack("{s:{s:s}}", "audit", "head", text);
}

static int warnings(void)
{
    char *text = NULL;
    int n = 0;

    assert_int_equal(kt_file_read_text(temp_path("log"), 1 << 20, &text, NULL), 0);
    for (const char *at = text; (at = strstr(at, "that it has not signed")) != NULL; at++)
        n++;
    free(text);
    return n;
}

static void a_head_that_was_not_signed_is_warned_of_once(void **state)
{
    json_t *first = unsigned_head(PEER, 7), *second = unsigned_head(PEER, 8),
           *other = unsigned_head(REMOVED, 7);

    (void)state;
    assert_int_equal(kt_log_open("test", KT_LOG_INFO, temp_path("log")), 0);
    for (int i = 0; i < 5; i++)
        kts_agent_audit_hear(&fixture.agent, PEER, first);
    assert_int_equal(warnings(), 1);
    kts_agent_audit_hear(&fixture.agent, REMOVED, other);
    assert_int_equal(warnings(), 2);
    // another one each time fills the log no faster than once a minute
    for (int i = 0; i < 5; i++) {
        kts_agent_audit_hear(&fixture.agent, PEER, second);
        kts_agent_audit_hear(&fixture.agent, PEER, first);
    }
    assert_int_equal(warnings(), 2);
    fixture.agent.audit_heads->unsigned_heads[0].told_us -= 61000000;
    for (int i = 0; i < 5; i++)
        kts_agent_audit_hear(&fixture.agent, PEER, second);
    assert_int_equal(warnings(), 3);
    // and that minute makes the same one no news
    fixture.agent.audit_heads->unsigned_heads[0].told_us -= 61000000;
    kts_agent_audit_hear(&fixture.agent, PEER, second);
    assert_int_equal(warnings(), 3);
    assert_int_equal(kt_log_open("test", KT_LOG_INFO, NULL), 0);
    json_decref(first);
    json_decref(second);
    json_decref(other);
}

static void warnings_of_more_members_than_there_are_places_go_on(void **state)
{
    char member[KT_MEMBER_TEXT];

    (void)state;
    assert_int_equal(kt_log_open("test", KT_LOG_INFO, temp_path("log")), 0);
    for (int i = 0; i < KT_PEERS_MAX + 5; i++) {
        snprintf(member, sizeof(member), "kts-09.%08x", (unsigned)i);
        json_t *said = unsigned_head(member, 7);
        kts_agent_audit_hear(&fixture.agent, member, said);
        json_decref(said);
    }
    assert_int_equal(warnings(), KT_PEERS_MAX + 5);
    assert_int_equal(kt_log_open("test", KT_LOG_INFO, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_head_is_signed_from_the_page, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_number_that_this_node_has_not_signed_is_not_believed,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_record_that_this_node_has_signed_and_lost_is_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_head_that_was_not_signed_is_warned_of_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(warnings_of_more_members_than_there_are_places_go_on,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
