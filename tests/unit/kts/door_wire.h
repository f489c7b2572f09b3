// SPDX-License-Identifier: Apache-2.0
// Speaking to the door by hand: TLS connections, and bytes on them. Include behind agent_fixture.h.
#ifndef KT_TEST_DOOR_WIRE_H
#define KT_TEST_DOOR_WIRE_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#define HEAD " HTTP/1.1\r\nHost: keytrustee\r\n"
#define JSON "Content-Type: application/json\r\n"

struct wire {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static inline int connect_from(const char *source)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture.port)};
    int fd = -1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 500; i++) {
        struct sockaddr_in own = {.sin_family = AF_INET};
        assert_int_equal(inet_pton(AF_INET, source, &own.sin_addr), 1);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            return fd;
        close(fd);
        usleep(10000);
    }
    fail_msg("nobody listens");
    return -1;
}

static inline int connect_fd(void)
{
    return connect_from("127.0.0.1");
}

static inline void open_wire(struct wire *wire, const char *who, int version)
{
    char path[512];

    wire->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(wire->ctx, version);
    if (who) {
        snprintf(path, sizeof(path), "%s/%s.pem", temp_dir, who);
        assert_int_equal(SSL_CTX_use_certificate_file(wire->ctx, path, SSL_FILETYPE_PEM), 1);
        snprintf(path, sizeof(path), "%s/%s-key.pem", temp_dir, who);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(wire->ctx, path, SSL_FILETYPE_PEM), 1);
    }
    wire->ssl = SSL_new(wire->ctx);
    wire->fd = connect_fd();
    SSL_set_fd(wire->ssl, wire->fd);
}

static inline void close_wire(struct wire *wire)
{
    SSL_free(wire->ssl);
    SSL_CTX_free(wire->ctx);
    close(wire->fd);
    ERR_clear_error();
}

// Sends the text and gives the status of the answer; 0: closed without one.
static inline int say(struct wire *wire, const char *text, size_t n)
{
    char answer[4096] = "";
    size_t got = 0, sent = 0;
    int status = 0, length = 0;

    if (n && SSL_write_ex(wire->ssl, text, n, &sent) != 1)
        return 0;
    for (;;) {
        size_t more = 0;
        if (SSL_read_ex(wire->ssl, answer + got, sizeof(answer) - 1 - got, &more) != 1)
            break;
        got += more;
        answer[got] = '\0';
        char *end = strstr(answer, "\r\n\r\n"), *field = strstr(answer, "Content-Length: ");
        if (end && field && sscanf(field, "Content-Length: %d", &length) == 1 &&
            answer + got >= end + 4 + length)
            break;
    }
    sscanf(answer, "HTTP/1.1 %d ", &status);
    return status;
}

#endif
