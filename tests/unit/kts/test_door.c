// SPDX-License-Identifier: Apache-2.0
// The door, with this test in the agent's and the master's place: it relays, and nothing else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>

#include "kts/relay.h"
#include "tests/unit/kts/agent_fixture.h"
#include "tests/unit/kts/door_wire.h"

#define TEXT    "POST /v1/cluster/node.add" HEAD JSON "Content-Length: 2\r\n\r\n{}"
#define WAIT_MS 10000

static struct kts_link *agent;
static struct wire wire;

static void open_link(void)
{
    kts_link_free(agent);
    agent = NULL;
    assert_int_equal(kts_link_new(fixture_link_door(), &agent), 0);
}

static int set_up(void **state)
{
    if (fixture_set_up(state))
        return -1;
    signal(SIGPIPE, SIG_IGN);
    fixture.door = fixture_fork_door(".keytrustee/tls/node");
    return 0;
}

static int tear_down(void **state)
{
    kill(fixture.door, SIGKILL);
    waitpid(fixture.door, NULL, 0);
    close(fixture.door_control);
    kts_link_free(agent);
    agent = NULL;
    return fixture_tear_down(state);
}

// The door's next message; 0: it has closed the link.
static int next(struct kts_message *message)
{
    for (;;) {
        struct pollfd p = {.fd = kts_link_fd(agent), .events = POLLIN};
        int rc = kts_link_next(agent, message);
        if (rc)
            return rc;
        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        if (kts_link_receive(agent))
            return 0;
    }
}

static uint64_t expect(uint16_t type)
{
    struct kts_message message;

    assert_int_equal(next(&message), 1);
    assert_int_equal(message.type, type);
    return message.id;
}

static void tell(uint16_t type, uint64_t id, const void *payload, size_t n)
{
    assert_int_equal(kts_link_send(agent, type, id, payload, n), 0);
}

static void tell_answer(uint64_t id, int code, const char *text)
{
    const struct kts_relay_answer answer = {code, (const uint8_t *)text, strlen(text)};
    struct kt_buf out = KT_BUF_INIT(65536);

    assert_int_equal(kts_relay_answer_encode(&answer, &out), 0);
    tell(KTS_MSG_ANSWER, id, kt_buf_ptr(&out), kt_buf_left(&out));
    kt_buf_free(&out);
}

static void ask(const char *who, const char *text)
{
    size_t sent;

    open_wire(&wire, who, TLS1_3_VERSION);
    assert_int_equal(SSL_connect(wire.ssl), 1);
    assert_int_equal(SSL_write_ex(wire.ssl, text, strlen(text), &sent), 1);
}

// Its status at the client; 0: the connection was closed without one.
static int status(void)
{
    return say(&wire, "", 0);
}

static int ended(void)
{
    int how = 0;

    assert_int_equal(waitpid(fixture.door, &how, 0), fixture.door);
    fixture.door = fork(); // for tear_down
    if (fixture.door == 0)
        _exit(0);
    return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

static void a_request_is_relayed_and_its_answer_too(void **state)
{
    struct kts_relay_call call;
    struct kts_message message;
    uint8_t known = 1;
    uint64_t id;

    (void)state;
    open_link();
    ask("peer", TEXT);
    id = expect(KTS_MSG_GREETING);
    tell(KTS_MSG_KNOWN, id, &known, 1);
    assert_int_equal(next(&message), 1);
    assert_int_equal(message.type, KTS_MSG_CALL);
    assert_true(message.id != id);
    id = message.id;
    assert_int_equal(kts_relay_call_decode(&message.payload, &call), 0);
    assert_string_equal(call.verb, "node.add");
    assert_int_equal(strncmp(call.peer, "127.0.0.1:", 10), 0);
    assert_int_equal(call.verdict, 0);
    assert_int_equal(call.body_len, 2);
    assert_false(call.has_authorization);
    tell(KTS_MSG_LEAVE, id, NULL, 0);
    assert_int_equal(next(&message), 1);
    assert_int_equal(message.type, KTS_MSG_BODY);
    assert_true(message.id == id);
    assert_int_equal(kt_buf_left(&message.payload), 2);
    tell_answer(id + 100, 0, "{}"); // of no call: dropped
    tell_answer(id, KT_ERR_PASSIVE, "{\"error\":{}}");
    assert_int_equal(status(), 503);
    close_wire(&wire);
}

static void a_stranger_is_not_announced_and_its_body_stays_outside(void **state)
{
    struct kts_relay_call call;
    struct kts_message message;

    (void)state;
    open_link();
    ask(NULL, TEXT);
    assert_int_equal(next(&message), 1);
    assert_int_equal(message.type, KTS_MSG_CALL);
    assert_int_equal(kts_relay_call_decode(&message.payload, &call), 0);
    assert_int_equal(call.verdict, KT_ERR_CERTIFICATE_MISSING);
    tell_answer(message.id, KT_ERR_NOT_MEMBER, "{\"error\":{}}");
    assert_int_equal(status(), 403);
    close_wire(&wire);
    ask(NULL, TEXT);
    expect(KTS_MSG_CALL); // and not the body of the one before
    close_wire(&wire);
}

static void a_caller_that_goes_is_taken_back(void **state)
{
    uint64_t id;

    (void)state;
    open_link();
    ask("peer", TEXT);
    expect(KTS_MSG_GREETING);
    id = expect(KTS_MSG_CALL);
    close_wire(&wire); // before it was let in
    assert_true(expect(KTS_MSG_CANCEL) == id);
    ask("peer", TEXT);
    expect(KTS_MSG_GREETING);
    id = expect(KTS_MSG_CALL);
    tell(KTS_MSG_LEAVE, id, NULL, 0);
    assert_true(expect(KTS_MSG_BODY) == id);
    close_wire(&wire); // while it is worked on
    assert_true(expect(KTS_MSG_CANCEL) == id);
}

static void without_an_agent_it_says_so(void **state)
{
    (void)state;
    ask("peer", TEXT);
    assert_int_equal(status(), 503);
    close_wire(&wire);
}

static void with_its_link_the_door_ends(void **state)
{
    (void)state;
    open_link();
    ask("peer", TEXT);
    expect(KTS_MSG_GREETING);
    tell(KTS_MSG_LEAVE, expect(KTS_MSG_CALL), NULL, 0);
    expect(KTS_MSG_BODY);
    kts_link_free(agent);
    agent = NULL;
    assert_int_equal(status(), 0); // it may have been done
    assert_int_equal(ended(), 1);
    close_wire(&wire);
}

static void it_stops_behind_the_answer_that_is_waited_for(void **state)
{
    struct wire idle;
    uint64_t id;

    (void)state;
    open_link();
    open_wire(&idle, NULL, TLS1_3_VERSION);
    assert_int_equal(SSL_connect(idle.ssl), 1);
    ask("peer", TEXT);
    expect(KTS_MSG_GREETING);
    id = expect(KTS_MSG_CALL);
    tell(KTS_MSG_LEAVE, id, NULL, 0);
    expect(KTS_MSG_BODY);
    assert_int_equal(kts_control_send(fixture.door_control, KTS_CTL_STOP, NULL, 0, -1), 0);
    assert_int_equal(say(&idle, "", 0), 0); // closed, since nothing was under way
    close_wire(&idle);
    tell_answer(id, 0, "{}");
    assert_int_equal(status(), 200);
    assert_int_equal(ended(), 0);
    close_wire(&wire);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_is_relayed_and_its_answer_too),
        CASE(a_stranger_is_not_announced_and_its_body_stays_outside),
        CASE(a_caller_that_goes_is_taken_back),
        CASE(without_an_agent_it_says_so),
        CASE(with_its_link_the_door_ends),
        CASE(it_stops_behind_the_answer_that_is_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
