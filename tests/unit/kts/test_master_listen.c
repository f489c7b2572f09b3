// SPDX-License-Identifier: Apache-2.0
// The listening socket and the pid file: what is taken is said clearly.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kts/master.h"

static struct kt_settings *settings_for(const char *address, int port)
{
    struct kt_settings *settings = NULL;
    char text[16];

    snprintf(text, sizeof(text), "%d", port);
    assert_int_equal(kt_settings_new(&settings), 0);
    assert_int_equal(kt_settings_set(settings, KT_SET_HTTPS_ADDRESS, address, NULL), 0);
    assert_int_equal(kt_settings_set(settings, KT_SET_HTTPS_PORT, text, NULL), 0);
    return settings;
}

static int listen_at(const char *address, int port, int *fd, struct kt_error *error)
{
    struct kt_settings *settings = settings_for(address, port);
    int rc = kts_master_listen(settings, fd, error);

    kt_settings_free(settings);
    return rc;
}

// A port that was free a moment ago.
static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void connect_v4(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

static void socket_listens_without_blocking(void **state)
{
    int port = free_port(), fd = -1;

    (void)state;
    assert_int_equal(listen_at("127.0.0.1", port, &fd, NULL), 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    connect_v4(port);
    close(fd);
}

static void wildcard_of_ipv6_takes_ipv4_too(void **state)
{
    int port = free_port(), fd = -1;
    int probe = socket(AF_INET6, SOCK_STREAM, 0);

    (void)state;
    if (probe < 0)
        skip(); // a kernel without IPv6
    close(probe);
    assert_int_equal(listen_at("[::]", port, &fd, NULL), 0);
    connect_v4(port);
    close(fd);
}

static void taken_port_is_named_with_its_setting(void **state)
{
    struct kt_error error = {0};
    int port = free_port(), fd = -1, other = -1;
    char text[16];

    (void)state;
    snprintf(text, sizeof(text), "port %d", port);
    assert_int_equal(listen_at("127.0.0.1", port, &fd, NULL), 0);
    assert_int_equal(listen_at("127.0.0.1", port, &other, &error), KT_ERR_BUSY);
    assert_non_null(strstr(error.message, text));
    assert_non_null(strstr(error.hint, "https.port"));
    assert_int_equal(other, -1);
    close(fd);
}

static void foreign_address_is_named_with_its_setting(void **state)
{
    struct kt_error error = {0};
    int fd = -1;

    (void)state;
    assert_int_equal(listen_at("192.0.2.1", free_port(), &fd, &error), KT_ERR_SETTINGS);
    assert_non_null(strstr(error.hint, "https.address"));
    assert_int_equal(listen_at("no such address", free_port(), &fd, &error), KT_ERR_SETTINGS);
    assert_non_null(strstr(error.hint, "https.address"));
}

static void second_server_is_told_the_pid_of_the_first(void **state)
{
    char path[] = "/tmp/kts-pid-XXXXXX", text[32], expected[64];
    struct kt_error error = {0};
    int fd = -1, other = -1, made = mkstemp(path);
    ssize_t n;

    (void)state;
    assert_int_equal(write(made, "left over from a longer text\n", 29), 29);
    assert_int_equal(kts_master_lock(path, &fd, NULL), 0);
    n = pread(made, text, sizeof(text) - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    snprintf(expected, sizeof(expected), "%ld\n", (long)getpid());
    assert_string_equal(text, expected);
    assert_int_equal(kts_master_lock(path, &other, &error), KT_ERR_BUSY);
    snprintf(expected, sizeof(expected), "already running, pid %ld", (long)getpid());
    assert_string_equal(error.message, expected);
    close(fd);
    assert_int_equal(kts_master_lock(path, &fd, NULL), 0); // the lock ends with its holder
    close(fd);
    close(made);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(socket_listens_without_blocking),
        cmocka_unit_test(wildcard_of_ipv6_takes_ipv4_too),
        cmocka_unit_test(taken_port_is_named_with_its_setting),
        cmocka_unit_test(foreign_address_is_named_with_its_setting),
        cmocka_unit_test(second_server_is_told_the_pid_of_the_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
