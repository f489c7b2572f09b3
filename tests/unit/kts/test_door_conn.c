// SPDX-License-Identifier: Apache-2.0
// Connections to the door, spoken by hand: malformed, slow and many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/kts/door_fixture.h"
#include "tests/unit/kts/door_wire.h"

// What a stranger or `who` is answered to one text.
static int status_of(const char *who, const char *text)
{
    struct wire wire;
    int status;

    open_wire(&wire, who, TLS1_3_VERSION);
    assert_int_equal(SSL_connect(wire.ssl), 1);
    status = say(&wire, text, strlen(text));
    close_wire(&wire);
    return status;
}

static void malformed_requests_get_a_clear_answer(void **state)
{
    (void)state;
    assert_int_equal(status_of("peer", "GARBAGE\r\n\r\n"), 400);
    assert_int_equal(status_of("peer", "POST /v1/cluster/node.add HTTP/2.0\r\n\r\n"), 505);
    assert_int_equal(status_of("peer", "GET /v1/cluster/node.add" HEAD "\r\n"), 405);
    assert_int_equal(status_of("peer", "POST /v1/deposits/x" HEAD "\r\n"), 404);
    assert_int_equal(status_of("peer", "POST /v1/cluster/Node" HEAD "\r\n"), 404);
    assert_int_equal(status_of("peer", "POST /v1/cluster/node.add?x=1" HEAD "\r\n"), 404);
    assert_int_equal(status_of("peer", "POST /v1/cluster/node.add" HEAD "\r\n"), 411);
    assert_int_equal(
        status_of("peer", "POST /v1/cluster/node.add" HEAD "Content-Length: 2\r\n\r\n{}"), 415);
    assert_int_equal(
        status_of("peer", "POST /v1/cluster/node.add" HEAD JSON "Content-Length: 2\r\n\r\n[]"),
        400);
    assert_int_equal(
        status_of("peer", "POST /v1/cluster/node.add" HEAD JSON "Content-Length: 1048577\r\n\r\n"),
        413);
    assert_int_equal(
        status_of(NULL, "POST /v1/cluster/node.add" HEAD JSON "Content-Length: 1048577\r\n\r\n"),
        403);
    assert_int_equal(status_of(NULL, "POST /v1/cluster/join.begin" HEAD JSON
                                     "Authorization: Basic abc\r\nContent-Length: 2\r\n\r\n{}"),
                     400);
}

static void a_header_that_is_too_large_is_refused(void **state)
{
    static char text[20000];

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "POST /", 6);
    assert_int_equal(status_of("peer", text), 431);
}

static void a_connection_serves_several_requests(void **state)
{
    static const char TEXT[] = "POST /v1/cluster/node.add" HEAD JSON "Content-Length: 2\r\n\r\n{}";
    struct wire wire;

    (void)state;
    open_wire(&wire, "peer", TLS1_3_VERSION);
    assert_int_equal(SSL_connect(wire.ssl), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(say(&wire, TEXT, strlen(TEXT)), 400);
    close_wire(&wire);
}

static void older_tls_is_not_spoken(void **state)
{
    struct wire wire;

    (void)state;
    open_wire(&wire, "peer", TLS1_2_VERSION);
    assert_int_not_equal(SSL_connect(wire.ssl), 1);
    close_wire(&wire);
}

static void what_is_not_tls_is_dropped(void **state)
{
    char byte;
    int fd = connect_fd();

    (void)state;
    assert_int_equal(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    while (recv(fd, &byte, 1, 0) > 0)
        ;
    close(fd);
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
}

static void a_slow_sender_is_cut_and_keeps_nobody_waiting(void **state)
{
    int64_t until = kt_monotonic_now() + 20 * 1000000LL;
    struct wire wire;
    int asked = 0;

    (void)state;
    open_wire(&wire, "peer", TLS1_3_VERSION);
    assert_int_equal(SSL_connect(wire.ssl), 1);
    for (;;) {
        struct pollfd p = {.fd = wire.fd, .events = POLLIN};
        size_t sent;
        if (poll(&p, 1, 100) > 0) // the answer
            break;
        assert_true(kt_monotonic_now() < until);
        assert_int_equal(SSL_write_ex(wire.ssl, "P", 1, &sent), 1);
        if (!asked++)
            assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
    }
    assert_int_equal(say(&wire, "", 0), 408);
    close_wire(&wire);
}

// Long before the first of them is cut for saying nothing.
static void strangers_that_hold_connections_keep_no_node_out(void **state)
{
    int64_t begun_us;
    int fds[80];

    (void)state;
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        fds[i] = connect_fd();
    begun_us = kt_monotonic_now();
    assert_int_equal(ask("peer", NULL, "node.add", NULL, NULL), KT_ERR_BAD_REQUEST);
    assert_true(kt_monotonic_now() - begun_us < 3000000);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        close(fds[i]);
}

// What makes a handshake of a node so short that no flood comes in between is not for it to choose.
static void a_flood_from_elsewhere_ends_no_handshake(void **state)
{
    static const char FLOODED[] = "POST /v1/cluster/Node" HEAD "\r\n";
    struct wire wire;
    int fds[160];

    (void)state;
    open_wire(&wire, "peer", TLS1_3_VERSION);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        fds[i] = connect_from("127.0.0.2");
    usleep(200000); // all of them are accepted
    assert_int_equal(SSL_connect(wire.ssl), 1);
    assert_int_equal(say(&wire, FLOODED, strlen(FLOODED)), 404);
    close_wire(&wire);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(malformed_requests_get_a_clear_answer),
        CASE(a_header_that_is_too_large_is_refused),
        CASE(a_connection_serves_several_requests),
        CASE(older_tls_is_not_spoken),
        CASE(what_is_not_tls_is_dropped),
        CASE(a_slow_sender_is_cut_and_keeps_nobody_waiting),
        CASE(strangers_that_hold_connections_keep_no_node_out),
        CASE(a_flood_from_elsewhere_ends_no_handshake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
