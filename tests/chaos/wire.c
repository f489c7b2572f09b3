// SPDX-License-Identifier: Apache-2.0
// HTTPS by hand, so that it is known what was sent.
#include "tests/chaos/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/encode.h"

SSL_CTX *chaos_wire_context(const char *confdir)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    char ca[512], cert[512], key[512];

    snprintf(ca, sizeof(ca), "%s/ca.pem", confdir);
    snprintf(cert, sizeof(cert), "%s/client-cert.pem", confdir);
    snprintf(key, sizeof(key), "%s/client-key.pem", confdir);
    if (ctx == NULL || SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1 ||
        SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return ctx;
}

void chaos_wire_close(struct chaos_wire *wire)
{
    if (wire->ssl == NULL)
        return;
    close(SSL_get_fd(wire->ssl));
    SSL_free(wire->ssl);
    wire->ssl = NULL;
}

// A connected socket whose reads and writes end after the timeout, or -1.
static int connect_in_time(const struct chaos_wire *wire)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)wire->port)};
    struct timeval limit = {wire->timeout_ms / 1000, wire->timeout_ms % 1000 * 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), problem = 0, on = 1;
    socklen_t size = sizeof(problem);
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    if (fd < 0 || inet_pton(AF_INET, wire->host, &to.sin_addr) != 1)
        goto failed;
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
        goto failed;
    if (poll(&p, 1, 1000) != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) != 0 ||
        problem != 0 || fcntl(fd, F_SETFL, 0) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0)
        goto failed;
    return fd;
failed:
    if (fd >= 0)
        close(fd);
    return -1;
}

static int open_wire(struct chaos_wire *wire)
{
    int fd = connect_in_time(wire);

    if (fd < 0)
        return -1;
    wire->ssl = SSL_new(wire->ctx);
    if (wire->ssl == NULL) {
        close(fd);
        return -1;
    }
    SSL_set_fd(wire->ssl, fd);
    SSL_set_tlsext_host_name(wire->ssl, "keytrustee");
    SSL_set1_host(wire->ssl, "keytrustee");
    if (SSL_connect(wire->ssl) == 1)
        return 0;
    chaos_wire_close(wire);
    return -1;
}

void chaos_answer_field(const struct chaos_answer *answer, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);

    *out = 0;
    for (const char *at = strstr(answer->head, "\r\n"); at; at = strstr(at + 2, "\r\n")) {
        if (strncasecmp(at + 2, name, n) == 0 && at[2 + n] == ':') {
            const char *value = at + 3 + n + strspn(at + 3 + n, " ");
            size_t length = strcspn(value, "\r\n");

            if (length >= size)
                length = size - 1;
            memcpy(out, value, length);
            out[length] = 0;
            return;
        }
    }
}

// Reads head and body; 0 when the answer is whole.
static int read_answer(SSL *ssl, struct chaos_answer *answer)
{
    uint64_t want = 0, status = 0;
    size_t have = 0;
    char *end, length[24], code[4];
    int n;

    do {
        n = SSL_read(ssl, answer->head + have, (int)(sizeof(answer->head) - 1 - have));
        if (n <= 0)
            return -1;
        have += (size_t)n;
        answer->head[have] = 0;
    } while ((end = strstr(answer->head, "\r\n\r\n")) == NULL && have < sizeof(answer->head) - 1);
    if (end == NULL)
        return -1;
    answer->length = have - (size_t)(end + 4 - answer->head);
    memcpy(answer->body, end + 4, answer->length);
    end[2] = 0;
    chaos_answer_field(answer, "Content-Length", length, sizeof(length));
    if ((length[0] && kt_u64_parse(length, 0, sizeof(answer->body) - 1, &want) != 0) ||
        answer->length > want)
        return -1;
    for (; answer->length < want; answer->length += (size_t)n) {
        n = SSL_read(ssl, answer->body + answer->length, (int)(want - answer->length));
        if (n <= 0)
            return -1;
    }
    answer->body[want] = 0;
    if (strncmp(answer->head, "HTTP/1.1 ", 9) != 0)
        return -1;
    snprintf(code, sizeof(code), "%.3s", answer->head + 9);
    if (kt_u64_parse(code, 100, 599, &status) != 0)
        return -1;
    answer->status = (int)status;
    return 0;
}

void chaos_wire_ask(struct chaos_wire *wire, const char *head, const void *body, size_t length,
                    struct chaos_answer *answer)
{
    char closing[16];

    answer->status = answer->sent = 0;
    answer->length = 0;
    *answer->head = 0;
    if (wire->ssl == NULL && open_wire(wire) != 0)
        return;
    answer->sent = 1;
    if (SSL_write(wire->ssl, head, (int)strlen(head)) <= 0 ||
        (length > 0 && SSL_write(wire->ssl, body, (int)length) <= 0) ||
        read_answer(wire->ssl, answer) != 0) {
        answer->status = 0;
        chaos_wire_close(wire);
        return;
    }
    chaos_answer_field(answer, "Connection", closing, sizeof(closing));
    if (strcmp(closing, "close") == 0)
        chaos_wire_close(wire);
}
