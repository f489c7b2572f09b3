// SPDX-License-Identifier: Apache-2.0
// Frames between door and agent: what was put in comes out, and nothing else is taken.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "kts/relay.h"

static const struct kts_relay_call GOOD = {
    .peer = "[2001:db8::1]:40000",
    .verb = "node.add",
    .cert = (const uint8_t *)"DER",
    .cert_len = 3,
    .link = (const uint8_t *)"LINK",
    .link_len = 4,
    .has_authorization = 1,
    .authorization = (const uint8_t *)"Keytrustee x",
    .authorization_len = 12,
    .body_len = UINT64_MAX,
};

// What the other side makes of it.
static int through(const struct kts_relay_call *call, struct kts_relay_call *read)
{
    static struct kt_buf out = KT_BUF_INIT(1 << 20);

    kt_buf_free(&out);
    assert_int_equal(kts_relay_call_encode(call, &out), 0);
    return kts_relay_call_decode(&out, read);
}

static void a_call_arrives_as_it_was(void **state)
{
    struct kts_relay_call read;

    (void)state;
    assert_int_equal(through(&GOOD, &read), 0);
    assert_string_equal(read.peer, GOOD.peer);
    assert_string_equal(read.verb, GOOD.verb);
    assert_int_equal(read.verdict, 0);
    assert_int_equal(read.cert_len, 3);
    assert_memory_equal(read.cert, "DER", 3);
    assert_int_equal(read.link_len, 4);
    assert_memory_equal(read.link, "LINK", 4);
    assert_true(read.has_authorization);
    assert_int_equal(read.authorization_len, 12);
    assert_memory_equal(read.authorization, "Keytrustee x", 12);
    assert_true(read.body_len == UINT64_MAX);
}

static void a_stranger_has_a_verdict_and_no_certificate(void **state)
{
    struct kts_relay_call call = {.peer = "192.0.2.1:1", .verb = "x"}, read;

    (void)state;
    call.verdict = KT_ERR_CERTIFICATE_EXPIRED;
    assert_int_equal(through(&call, &read), 0);
    assert_int_equal(read.verdict, KT_ERR_CERTIFICATE_EXPIRED);
    assert_int_equal(read.cert_len, 0);
}

#define REFUSED(...)                                                                               \
    do {                                                                                           \
        struct kts_relay_call call = GOOD, read;                                                   \
        __VA_ARGS__;                                                                               \
        assert_int_equal(through(&call, &read), KT_ERR_PROTOCOL);                                  \
    } while (0)

static void what_no_door_sends_is_refused(void **state)
{
    static uint8_t large[KTS_RELAY_CERT_MAX + 1];

    (void)state;
    REFUSED(strcpy(call.peer, ""));
    REFUSED(strcpy(call.peer, "192.0.2.1:1\n"));
    REFUSED(strcpy(call.peer, "host.example:1"));
    REFUSED(strcpy(call.verb, "Node"));
    REFUSED(strcpy(call.verb, "node add"));
    REFUSED(call.verdict = KT_ERR_CERTIFICATE_MISSING);     // and yet there is one
    REFUSED(call.cert_len = 0);                             // and yet it is good
    REFUSED(call.verdict = KT_ERR_BUSY, call.cert_len = 0); // no verdict
    REFUSED(call.has_authorization = 0);                    // and yet there is one
    REFUSED(call.verb[0] = '\0');                           // a greeting with a body
    REFUSED(call.cert = large, call.cert_len = sizeof(large));
    REFUSED(call.link = large, call.link_len = sizeof(large));
    REFUSED(call.verdict = KT_ERR_CERTIFICATE_MISSING, call.cert_len = 0); // and yet a link
    REFUSED(call.authorization = large, call.authorization_len = KTS_RELAY_AUTH_MAX + 1);
}

static void half_a_frame_and_one_with_an_end_are_refused(void **state)
{
    struct kt_buf out = KT_BUF_INIT(1 << 20);
    struct kts_relay_call read;
    size_t n;

    (void)state;
    assert_int_equal(kts_relay_call_encode(&GOOD, &out), 0);
    n = kt_buf_left(&out);
    for (size_t i = 0; i < n; i++) {
        struct kt_buf part = {out.data, i, i, 0, i};
        assert_int_equal(kts_relay_call_decode(&part, &read), KT_ERR_PROTOCOL);
    }
    assert_int_equal(kt_buf_put_u8(&out, 0), 0);
    assert_int_equal(kts_relay_call_decode(&out, &read), KT_ERR_PROTOCOL);
    kt_buf_free(&out);
}

static void an_answer_arrives_as_it_was_or_not_at_all(void **state)
{
    const struct kts_relay_answer sent = {KT_ERR_PASSIVE, (const uint8_t *)"{}", 2};
    struct kt_buf out = KT_BUF_INIT(1 << 20);
    struct kts_relay_answer read;

    (void)state;
    assert_int_equal(kts_relay_answer_encode(&sent, &out), 0);
    for (size_t i = 0; i < kt_buf_left(&out); i++) {
        struct kt_buf part = {out.data, i, i, 0, i};
        assert_int_equal(kts_relay_answer_decode(&part, &read), KT_ERR_PROTOCOL);
    }
    assert_int_equal(kts_relay_answer_decode(&out, &read), 0);
    assert_int_equal(read.code, KT_ERR_PASSIVE);
    assert_memory_equal(read.text, "{}", 2);
    kt_buf_reset(&out);
    assert_int_equal(kts_relay_answer_encode(&sent, &out), 0);
    assert_int_equal(kt_buf_put_u8(&out, 0), 0);
    assert_int_equal(kts_relay_answer_decode(&out, &read), KT_ERR_PROTOCOL);
    kt_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_arrives_as_it_was),
        cmocka_unit_test(a_stranger_has_a_verdict_and_no_certificate),
        cmocka_unit_test(what_no_door_sends_is_refused),
        cmocka_unit_test(half_a_frame_and_one_with_an_end_are_refused),
        cmocka_unit_test(an_answer_arrives_as_it_was_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
