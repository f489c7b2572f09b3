// SPDX-License-Identifier: Apache-2.0
// The agent's side of the door's link, with a door that was taken over at the other end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kts/relay.h"
#include "lib/json.h"
#include "tests/unit/kts/agent_fixture.h"

#define FOREIGN "kts-08.00000008"
#define EXPIRED "kts-09.00000009"
#define FORGED  "kts-07.00000007"

#define OWN_CERT ".keytrustee/tls/node"

static struct kts_link *door;
static uint64_t last_id;
static int answer_code;
static const char *link_name; // of what the door sends as the link of a certificate

// --- standing in the door's place ---

static void open_link(void)
{
    int fds[2];

    kts_link_free(door);
    door = NULL;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(kts_agent_attach(&fixture.agent.door, fds[0]), 0);
    kts_link_bound(fixture.agent.door.link, KTS_RELAY_FRAME_MAX);
    assert_int_equal(kts_link_new(fds[1], &door), 0);
}

static void save(const char *name, X509 *cert)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s.pem", temp_dir, name);
    assert_int_equal(kt_pki_cert_save(path, cert, NULL, NULL), 0);
}

// As if a client's certificate were a CA.
static void sign_as_client(uint8_t sha256[KT_SHA256_LEN])
{
    char path[512];

    snprintf(path, sizeof(path), "%s/client-key.pem", temp_dir);
    assert_int_equal(kt_pki_key_load(path, &fixture.ca_key, NULL), 0);
    snprintf(path, sizeof(path), "%s/client.pem", temp_dir);
    assert_int_equal(kt_pki_cert_load(path, &fixture.ca, NULL), 0);
    fixture_cert("forged", KT_PKI_NODE, FORGED, 3600, sha256);
    EVP_PKEY_free(fixture.ca_key);
    X509_free(fixture.ca);
}

// Listed, by whoever writes lists: certificates of another CA, to which this one has made a link, and
// of a client; and one that is good for a second.
static void list_bad_ones(void)
{
    static struct kt_peers peers;
    X509 *link = NULL;
    EVP_PKEY *own_key = fixture.ca_key;
    uint8_t sha256[KT_SHA256_LEN];
    X509 *own = fixture.ca;

    assert_int_equal(kt_peers_load(fixture.paths.peers, &peers, NULL), 0);
    fixture_cert("expired", KT_PKI_NODE, EXPIRED, 1, sha256);
    fixture_peer(&peers, EXPIRED, 1, sha256, 0);
    assert_int_equal(kt_pki_new_p256(&fixture.ca_key), 0);
    assert_int_equal(kt_pki_make_ca(fixture.ca_key, "test", 7200, &fixture.ca), 0);
    fixture_cert("foreign", KT_PKI_NODE, FOREIGN, 3600, sha256);
    fixture_peer(&peers, FOREIGN, 1, sha256, 0);
    assert_int_equal(kt_pki_make_link(KT_PKI_LINK_FORTH, own_key, own, fixture.ca, &link), 0);
    save("link", link);
    save("root", fixture.ca);
    X509_free(link);
    EVP_PKEY_free(fixture.ca_key);
    X509_free(fixture.ca);
    sign_as_client(sha256);
    fixture_peer(&peers, FORGED, 1, sha256, 0);
    fixture.ca_key = own_key;
    fixture.ca = own;
    assert_int_equal(kt_peers_save(fixture.paths.peers, &peers, NULL), 0);
}

static int set_up(void **state)
{
    uint8_t sha256[KT_SHA256_LEN];
    struct kt_error why = {0};

    if (fixture_set_up(state))
        return -1;
    signal(SIGPIPE, SIG_IGN);
    link_name = NULL;
    fixture_cert("client", KT_PKI_CLIENT, "a client", 3600, sha256);
    list_bad_ones();
    if (kts_agent_peers_start(&fixture.agent, &why) || kts_relay_start(&fixture.agent, &why))
        return -1;
    open_link();
    return 0;
}

static int tear_down(void **state)
{
    kts_relay_stop(&fixture.agent);
    kts_link_free(door);
    door = NULL;
    return fixture_tear_down(state);
}

// The next message of the agent; 0 when there is none and what it had to read is read.
static int next(struct kts_message *message)
{
    for (int i = 0; i < 20; i++) {
        event_base_loop(fixture.agent.base, EVLOOP_NONBLOCK);
        if (kts_link_receive(door))
            return 0;
        int rc = kts_link_next(door, message);
        assert_true(rc >= 0);
        if (rc == 1)
            return 1;
    }
    return 0;
}

static void send_frame(uint16_t type, uint64_t id, const void *payload, size_t n)
{
    assert_int_equal(kts_link_send(door, type, id, payload, n), 0);
}

static void send_call(uint16_t type, const char *who, const char *verb, uint64_t body_len)
{
    struct kts_relay_call call = {.peer = "192.0.2.1:1", .body_len = body_len};
    struct kt_buf pem = KT_BUF_INIT(16384), der = KT_BUF_INIT(16384), out = KT_BUF_INIT(65536),
                  link = KT_BUF_INIT(16384);
    X509 *cert = NULL;

    snprintf(call.verb, sizeof(call.verb), "%s", verb);
    if (!who) {
        call.verdict = KT_ERR_CERTIFICATE_MISSING;
    } else {
        fixture_read_pem(who, &pem);
        assert_int_equal(kt_pki_cert_from_pem(kt_buf_ptr(&pem), kt_buf_left(&pem), &cert), 0);
        assert_int_equal(kt_pki_cert_to_der(cert, &der), 0);
        call.cert = kt_buf_ptr(&der);
        call.cert_len = kt_buf_left(&der);
    }
    if (link_name) {
        X509_free(cert);
        kt_buf_free(&pem);
        fixture_read_pem(link_name, &pem);
        assert_int_equal(kt_pki_cert_from_pem(kt_buf_ptr(&pem), kt_buf_left(&pem), &cert), 0);
        assert_int_equal(kt_pki_cert_to_der(cert, &link), 0);
        call.link = kt_buf_ptr(&link);
        call.link_len = kt_buf_left(&link);
    }
    assert_int_equal(kts_relay_call_encode(&call, &out), 0);
    send_frame(type, ++last_id, kt_buf_ptr(&out), kt_buf_left(&out));
    X509_free(cert);
    kt_buf_free(&pem);
    kt_buf_free(&der);
    kt_buf_free(&link);
    kt_buf_free(&out);
}

static void let_in(void)
{
    struct kts_message message;

    assert_int_equal(next(&message), 1);
    assert_int_equal(message.type, KTS_MSG_LEAVE);
    assert_true(message.id == last_id);
}

// The code of the answer to the last call.
static int answered(void)
{
    struct kts_relay_answer answer;
    struct kts_message message;

    assert_int_equal(next(&message), 1);
    assert_int_equal(message.type, KTS_MSG_ANSWER);
    assert_true(message.id == last_id);
    assert_int_equal(kts_relay_answer_decode(&message.payload, &answer), 0);
    assert_int_equal(answer.text[0], '{');
    return answer.code;
}

// 0: answer_code says why not. What is let in is taken back.
static int is_let_in(void)
{
    struct kts_relay_answer answer;
    struct kts_message message;

    assert_int_equal(next(&message), 1);
    assert_true(message.id == last_id);
    answer_code = 0;
    if (message.type == KTS_MSG_LEAVE) {
        send_frame(KTS_MSG_CANCEL, last_id, NULL, 0);
        return 1;
    }
    assert_int_equal(kts_relay_answer_decode(&message.payload, &answer), 0);
    answer_code = answer.code;
    return 0;
}

static int is_known(const char *who)
{
    struct kts_message message;
    uint8_t known = 9;

    send_call(KTS_MSG_GREETING, who, "", 0);
    assert_int_equal(next(&message), 1);
    assert_int_equal(message.type, KTS_MSG_KNOWN);
    assert_int_equal(kt_buf_get_u8(&message.payload, &known), 0);
    return known;
}

// --- who ---

static void listed_ones_are_known_and_strangers_are_not(void **state)
{
    (void)state;
    assert_int_equal(is_known("peer"), 1);
    assert_int_equal(is_known("removed"), 0);
    assert_int_equal(is_known("client"), 0);
    assert_int_equal(is_known("foreign"), 0);
    assert_int_equal(is_known(OWN_CERT), 0);
    assert_int_equal(is_known(NULL), 0);
}

// TLS cannot have found them good: it is the door that says so.
static void a_certificate_that_the_door_calls_good_is_looked_at(void **state)
{
    int64_t until = kt_monotonic_now() + 10 * 1000000LL;

    (void)state;
    send_call(KTS_MSG_CALL, "peer", "node.add", 0);
    let_in();
    send_call(KTS_MSG_CALL, "foreign", "node.add", 0);
    assert_int_equal(answered(), KT_ERR_CERTIFICATE_UNKNOWN_CA);
    do
        send_call(KTS_MSG_CALL, "expired", "node.add", 0);
    while (kt_monotonic_now() < until && is_let_in());
    assert_int_equal(answer_code, KT_ERR_CERTIFICATE_EXPIRED);
}

// A door that was taken over has it at hand.
static void this_nodes_own_certificate_is_nobodys(void **state)
{
    static const char *const VERBS[] = {"node.state",   "node.add", "receipt.state", "receipt.hand",
                                        "receipt.take", "ca.take",  "node.removed"};

    (void)state;
    for (size_t i = 0; i < sizeof(VERBS) / sizeof(VERBS[0]); i++) {
        send_call(KTS_MSG_CALL, OWN_CERT, VERBS[i], 2);
        assert_int_equal(answered(), KT_ERR_NOT_MEMBER);
    }
}

static void a_link_of_this_ca_lets_in_who_the_next_has_signed_and_no_other_does(void **state)
{
    (void)state;
    link_name = "link";
    send_call(KTS_MSG_CALL, "foreign", "node.add", 0);
    let_in();
    send_call(KTS_MSG_CALL, "forged", "node.add", 0);
    assert_int_equal(answered(), KT_ERR_CERTIFICATE_UNKNOWN_CA);
    link_name = "root"; // which vouches for itself
    send_call(KTS_MSG_CALL, "foreign", "node.add", 0);
    assert_int_equal(answered(), KT_ERR_CERTIFICATE_UNKNOWN_CA);
    link_name = "client"; // signed by this CA, and no CA
    send_call(KTS_MSG_CALL, "forged", "node.add", 0);
    assert_int_equal(answered(), KT_ERR_CERTIFICATE_UNKNOWN_CA);
}

static void bytes_that_are_no_certificate_are_nobodys(void **state)
{
    const struct kts_relay_call call = {
        .peer = "192.0.2.1:1", .verb = "node.add", .cert = (const uint8_t *)"x", .cert_len = 1};
    struct kt_buf out = KT_BUF_INIT(65536);

    (void)state;
    assert_int_equal(kts_relay_call_encode(&call, &out), 0);
    send_frame(KTS_MSG_CALL, ++last_id, kt_buf_ptr(&out), kt_buf_left(&out));
    assert_int_equal(answered(), KT_ERR_NOT_MEMBER);
    kt_buf_free(&out);
}

// --- what ---

static void a_call_is_let_in_and_answered(void **state)
{
    (void)state;
    send_call(KTS_MSG_CALL, "peer", "node.add", 2);
    let_in();
    assert_int_equal(fixture.agent.call_count, 0);
    send_frame(KTS_MSG_BODY, last_id, "{}", 2);
    assert_int_equal(answered(), KT_ERR_BAD_REQUEST);
    assert_int_equal(fixture.agent.call_count, 0);
    send_call(KTS_MSG_CALL, "peer", "node.add", 2);
    let_in();
    send_frame(KTS_MSG_BODY, last_id, "[]", 2);
    assert_int_equal(answered(), KT_ERR_BAD_REQUEST);
}

static void a_body_over_its_bound_is_not_let_in(void **state)
{
    (void)state;
    send_call(KTS_MSG_CALL, "peer", "node.add", KTS_RELAY_BODY_MAX);
    let_in();
    send_call(KTS_MSG_CALL, "peer", "node.add", KTS_RELAY_BODY_MAX + 1);
    assert_int_equal(answered(), KT_ERR_BODY_TOO_LARGE);
    send_call(KTS_MSG_CALL, "removed", "node.removed", KTS_RELAY_STRANGER_MAX);
    let_in();
    send_call(KTS_MSG_CALL, "removed", "node.removed", KTS_RELAY_STRANGER_MAX + 1);
    assert_int_equal(answered(), KT_ERR_BODY_TOO_LARGE);
}

// Of a job; 1 when an answer came.
static int job_is_answered(int cancels)
{
    struct kts_message message;

    send_call(KTS_MSG_CALL, "peer", "member.floor", 2);
    let_in();
    send_frame(KTS_MSG_BODY, last_id, "{}", 2);
    if (cancels)
        send_frame(KTS_MSG_CANCEL, last_id, NULL, 0);
    event_base_loop(fixture.agent.base, EVLOOP_ONCE);
    while (fixture.agent.jobs)
        event_base_loop(fixture.agent.base, EVLOOP_ONCE);
    assert_int_equal(fixture.agent.call_count, 0);
    return next(&message);
}

static void a_call_that_was_cancelled_is_forgotten(void **state)
{
    (void)state;
    assert_int_equal(job_is_answered(0), 1);
    assert_int_equal(job_is_answered(1), 0);
    // One whose answer has gone already is none.
    send_frame(KTS_MSG_CANCEL, last_id, NULL, 0);
    assert_int_equal(is_known("peer"), 1);
}

static void with_the_link_its_calls_are_forgotten(void **state)
{
    (void)state;
    send_call(KTS_MSG_CALL, "peer", "member.floor", 2);
    let_in();
    send_frame(KTS_MSG_BODY, last_id, "{}", 2);
    kts_link_free(door);
    door = NULL;
    while (fixture.agent.door.link)
        event_base_loop(fixture.agent.base, EVLOOP_ONCE);
    assert_int_equal(fixture.agent.call_count, 0);
    open_link();
    assert_int_equal(is_known("peer"), 1);
}

// --- what no door sends ---

static void ends_the_link(void)
{
    struct kts_message message;

    while (next(&message))
        ;
    assert_null(fixture.agent.door.link);
    assert_int_equal(fixture.agent.call_count, 0);
    open_link();
}

static void a_frame_that_no_door_sends_ends_the_link(void **state)
{
    (void)state;
    send_frame(KTS_MSG_CHANGE, 1, "x", 1);
    ends_the_link();
    send_frame(KTS_MSG_SIGN, 1, "x", 1);
    ends_the_link();
    send_frame(KTS_MSG_CALL, 1, "x", 1);
    ends_the_link();
    send_frame(KTS_MSG_BODY, 77, "{}", 2); // of no call
    ends_the_link();
    send_frame(KTS_MSG_CANCEL, 77, "x", 1);
    ends_the_link();
    send_call(KTS_MSG_GREETING, "peer", "node.add", 0);
    ends_the_link();
    send_call(KTS_MSG_CALL, "peer", "", 0);
    ends_the_link();
}

static void a_body_that_was_not_let_in_ends_the_link(void **state)
{
    (void)state;
    send_call(KTS_MSG_CALL, NULL, "node.add", 2); // refused
    send_frame(KTS_MSG_BODY, last_id, "{}", 2);
    ends_the_link();
    send_call(KTS_MSG_CALL, "peer", "node.add", 2); // longer than it said
    send_frame(KTS_MSG_BODY, last_id, "{ }", 3);
    ends_the_link();
    send_call(KTS_MSG_CALL, "peer", "member.floor", 2); // twice
    send_frame(KTS_MSG_BODY, last_id, "{}", 2);
    send_frame(KTS_MSG_BODY, last_id, "{}", 2);
    ends_the_link();
    send_call(KTS_MSG_CALL, "peer", "node.add", 2); // the same id twice
    last_id--;
    send_call(KTS_MSG_CALL, "peer", "node.add", 2);
    ends_the_link();
}

static void a_frame_over_the_bound_ends_the_link(void **state)
{
    static uint8_t large[KTS_RELAY_FRAME_MAX + 1];

    (void)state;
    send_frame(KTS_MSG_BODY, 1, large, sizeof(large));
    ends_the_link();
}

static void more_calls_than_a_door_has_end_the_link(void **state)
{
    (void)state;
    for (int i = 0; i < KTS_RELAY_CALLS_MAX; i++) {
        send_call(KTS_MSG_CALL, "peer", "node.add", 2);
        let_in();
    }
    send_call(KTS_MSG_CALL, "peer", "node.add", 2);
    ends_the_link();
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(listed_ones_are_known_and_strangers_are_not),
        CASE(a_certificate_that_the_door_calls_good_is_looked_at),
        CASE(this_nodes_own_certificate_is_nobodys),
        CASE(a_link_of_this_ca_lets_in_who_the_next_has_signed_and_no_other_does),
        CASE(bytes_that_are_no_certificate_are_nobodys),
        CASE(a_call_is_let_in_and_answered),
        CASE(a_body_over_its_bound_is_not_let_in),
        CASE(a_call_that_was_cancelled_is_forgotten),
        CASE(with_the_link_its_calls_are_forgotten),
        CASE(a_frame_that_no_door_sends_ends_the_link),
        CASE(a_body_that_was_not_let_in_ends_the_link),
        CASE(a_frame_over_the_bound_ends_the_link),
        CASE(more_calls_than_a_door_has_end_the_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
