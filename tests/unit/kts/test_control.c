// SPDX-License-Identifier: Apache-2.0
// Control messages with their descriptors, reloads, and signing requests.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kts/process.h"
#include "kts/reload.h"

struct pair {
    int a, b;
    struct kt_buf storage;
};

static int set_up(void **state)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
    *pair = (struct pair){fds[0], fds[1], KT_BUF_INIT(KTS_CONTROL_MAX)};
    *state = pair;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;

    if (pair->a >= 0)
        close(pair->a);
    close(pair->b);
    kt_buf_free(&pair->storage);
    free(pair);
    return 0;
}

static int open_descriptors(void)
{
    int n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void message_arrives_with_its_descriptor(void **state)
{
    struct pair *pair = *state;
    struct kts_control_message m;
    int pipe_fds[2];
    char byte = 0;

    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(kts_control_send(pair->a, KTS_CTL_LINK, "\x04\x03\x00\x01", 4, pipe_fds[1]),
                     0);
    close(pipe_fds[1]);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), 0);
    assert_int_equal(m.type, KTS_CTL_LINK);
    assert_int_equal(kt_buf_left(&m.payload), 4);
    assert_memory_equal(kt_buf_ptr(&m.payload), "\x04\x03\x00\x01", 4);
    assert_true(m.fd >= 0);
    assert_true(fcntl(m.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(m.fd, "x", 1), 1);
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(m.fd);
    close(pipe_fds[0]);
}

static void message_without_descriptor_and_payload_arrives(void **state)
{
    struct pair *pair = *state;
    struct kts_control_message m;

    assert_int_equal(kts_control_send(pair->a, KTS_CTL_STOP, NULL, 0, -1), 0);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), 0);
    assert_int_equal(m.type, KTS_CTL_STOP);
    assert_int_equal(m.fd, -1);
    assert_int_equal(kt_buf_left(&m.payload), 0);
}

static void messages_keep_their_borders(void **state)
{
    struct pair *pair = *state;
    struct kts_control_message m;

    assert_int_equal(kts_control_send(pair->a, KTS_CTL_READY, "\x01", 1, -1), 0);
    assert_int_equal(kts_control_send(pair->a, KTS_CTL_DATABASE_LOST, NULL, 0, -1), 0);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), 0);
    assert_int_equal(m.type, KTS_CTL_READY);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), 0);
    assert_int_equal(m.type, KTS_CTL_DATABASE_LOST);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), KT_ERR_AGAIN);
}

static void largest_message_arrives_and_a_larger_one_is_refused(void **state)
{
    struct pair *pair = *state;
    const size_t most = KTS_CONTROL_MAX - 4;
    uint8_t *bytes = calloc(1, most + 1);
    struct kts_control_message m;

    assert_int_equal(kts_control_send(pair->a, KTS_CTL_RELOAD, bytes, most + 1, -1),
                     KT_ERR_TOO_LARGE);
    assert_int_equal(kts_control_send(pair->a, KTS_CTL_RELOAD, bytes, most, -1), 0);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), 0);
    assert_int_equal(kt_buf_left(&m.payload), most);
    free(bytes);
}

static void full_socket_says_again(void **state)
{
    struct pair *pair = *state;
    uint8_t bytes[1024] = {0};
    int rc, sent = 0;

    while ((rc = kts_control_send(pair->a, KTS_CTL_RELOAD, bytes, sizeof(bytes), -1)) == 0)
        assert_true(++sent < 100000);
    assert_int_equal(rc, KT_ERR_AGAIN);
}

static void end_of_the_master_is_told(void **state)
{
    struct pair *pair = *state;
    struct kts_control_message m;

    close(pair->a);
    pair->a = -1;
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), KT_ERR_NETWORK);
    assert_int_equal(kts_control_send(pair->b, KTS_CTL_READY, NULL, 0, -1), KT_ERR_NETWORK);
}

static void send_raw(int fd, const void *bytes, size_t n, const int *fds, size_t count)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(8 * sizeof(int))];
    } control;
    char copy[64];
    struct iovec part = {copy, n};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

    memcpy(copy, bytes, n);
    if (count > 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &msg, 0), n);
}

static void unknown_type_is_refused_and_its_descriptor_closed(void **state)
{
    struct pair *pair = *state;
    struct kts_control_message m;
    int before = open_descriptors();

    send_raw(pair->a, "\x00\x63\x00\x00", 4, &(int){1}, 1);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), KT_ERR_PROTOCOL);
    send_raw(pair->a, "\x00", 1, NULL, 0);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), KT_ERR_PROTOCOL);
    send_raw(pair->a, "\x00\x01\x00\x07", 4, NULL, 0);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), KT_ERR_PROTOCOL);
    assert_int_equal(open_descriptors(), before);
}

static void several_descriptors_are_refused_and_closed(void **state)
{
    struct pair *pair = *state;
    struct kts_control_message m;
    const int fds[8] = {0, 1, 2, 0, 1, 2, 0, 1};
    int before = open_descriptors();

    send_raw(pair->a, "\x00\x01\x00\x00", 4, fds, 2);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), KT_ERR_PROTOCOL);
    send_raw(pair->a, "\x00\x01\x00\x00", 4, fds, 8);
    assert_int_equal(kts_control_receive(pair->b, &pair->storage, &m), KT_ERR_PROTOCOL);
    assert_int_equal(open_descriptors(), before);
}

static void processes_have_names(void **state)
{
    (void)state;
    assert_string_equal(kts_process_name(KTS_AUDIT), "audit");
    assert_string_equal(kts_process_name(KTS_WORKER), "worker");
    assert_string_equal(kts_process_name(KTS_DOOR), "door");
    assert_string_equal(kts_process_name(KTS_PROCESS_COUNT), "unknown");
}

// --- reload ---

static void reload_carries_settings_and_tls_files(void **state)
{
    struct kt_buf out = KT_BUF_INIT(KTS_CONTROL_MAX), cert = KT_BUF_INIT(64), ca = KT_BUF_INIT(64);
    struct kt_settings *settings = NULL;
    struct kt_secret *key = NULL;
    struct kts_reload reload;

    (void)state;
    assert_int_equal(kt_settings_new(&settings), 0);
    assert_int_equal(kt_settings_set(settings, KT_SET_TIMEOUT_WRITE, "7s", NULL), 0);
    assert_int_equal(kt_settings_set(settings, KT_SET_LOG_LEVEL, "debug", NULL), 0);
    assert_int_equal(kt_buf_put(&cert, "cert", 4), 0);
    assert_int_equal(kt_buf_put(&ca, "ca", 2), 0);
    assert_int_equal(kt_secret_from_bytes("key", 3, &key), 0);
    struct kts_reload_source source = {settings, &cert, key, &ca};
    assert_int_equal(kts_reload_encode(&source, &out), 0);
    assert_int_equal(kts_reload_decode(&out, &reload, NULL), 0);
    assert_int_equal(kt_settings_number(reload.settings, KT_SET_TIMEOUT_WRITE), 7000);
    assert_int_equal(kts_log_level(reload.settings), KT_LOG_DEBUG);
    assert_false(kt_settings_is_set(reload.settings, KT_SET_TIMEOUT_READ));
    assert_int_equal(reload.cert_len, 4);
    assert_memory_equal(reload.cert, "cert", 4);
    assert_memory_equal(reload.key, "key", 3);
    assert_int_equal(reload.ca_len, 2);
    kt_settings_free(reload.settings);
    kt_settings_free(settings);
    kt_secret_free(key);
    kt_buf_free(&cert);
    kt_buf_free(&ca);
    kt_buf_free(&out);
}

static void malformed_reload_is_refused(void **state)
{
    static const char *const TEXTS[] = {"no equals sign\n", "https.nothing=1\n",
                                        "log.level=loud\n"};
    struct kts_reload reload;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct kt_buf in = KT_BUF_INIT(1024);
        assert_int_equal(kt_buf_put_cstr(&in, TEXTS[i]), 0);
        for (int n = 0; n < 3; n++)
            assert_int_equal(kt_buf_put_cstr(&in, NULL), 0);
        assert_int_not_equal(kts_reload_decode(&in, &reload, NULL), 0);
        kt_buf_free(&in);
    }
    struct kt_buf cut = KT_BUF_INIT(1024);
    assert_int_equal(kt_buf_put_cstr(&cut, ""), 0);
    assert_int_equal(kts_reload_decode(&cut, &reload, NULL), KT_ERR_PROTOCOL);
    kt_buf_free(&cut);
}

// --- signing requests ---

static void signing_request_comes_back_as_it_was(void **state)
{
    struct kts_sign_request in = {.common_name = "e6b2a4f0-0000-4000-8000-000000000001",
                                  .organisation = "acme",
                                  .lifetime_s = 3600,
                                  .csr = (const uint8_t *)"PEM",
                                  .csr_len = 3};
    struct kt_buf buf = KT_BUF_INIT(65536);
    struct kts_sign_request out;

    (void)state;
    assert_int_equal(kts_sign_encode(&in, &buf), 0);
    assert_int_equal(kts_sign_decode(&buf, &out), 0);
    assert_string_equal(out.common_name, in.common_name);
    assert_string_equal(out.organisation, "acme");
    assert_int_equal(out.lifetime_s, 3600);
    assert_int_equal(out.csr_len, 3);
    assert_memory_equal(out.csr, "PEM", 3);
    kt_buf_free(&buf);
}

static void malformed_signing_request_is_refused(void **state)
{
    struct kts_sign_request in = {.common_name = "x", .organisation = "acme", .lifetime_s = 1};
    struct kt_buf buf = KT_BUF_INIT(65536);
    struct kts_sign_request out;

    (void)state;
    assert_int_equal(kts_sign_encode(&in, &buf), 0);
    assert_int_equal(kt_buf_put_u8(&buf, 0), 0); // a byte behind it
    assert_int_equal(kts_sign_decode(&buf, &out), KT_ERR_PROTOCOL);
    kt_buf_reset(&buf);
    in.lifetime_s = 0;
    assert_int_equal(kts_sign_encode(&in, &buf), 0);
    assert_int_equal(kts_sign_decode(&buf, &out), KT_ERR_PROTOCOL);
    kt_buf_reset(&buf);
    assert_int_equal(kts_sign_decode(&buf, &out), KT_ERR_PROTOCOL);
    kt_buf_free(&buf);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(message_arrives_with_its_descriptor),
        CASE(message_without_descriptor_and_payload_arrives),
        CASE(messages_keep_their_borders),
        CASE(largest_message_arrives_and_a_larger_one_is_refused),
        CASE(full_socket_says_again),
        CASE(end_of_the_master_is_told),
        CASE(unknown_type_is_refused_and_its_descriptor_closed),
        CASE(several_descriptors_are_refused_and_closed),
        cmocka_unit_test(processes_have_names),
        cmocka_unit_test(reload_carries_settings_and_tls_files),
        cmocka_unit_test(malformed_reload_is_refused),
        cmocka_unit_test(signing_request_comes_back_as_it_was),
        cmocka_unit_test(malformed_signing_request_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
