// SPDX-License-Identifier: Apache-2.0
// Which certificate a port shows to who connects.
#include "lib/tls_shown.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/pki.h"
#include "lib/tls.h"

static int open_socket(const char *host, uint16_t port, int timeout_ms)
{
    const struct timeval limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[8];
    int fd = -1;

    snprintf(service, sizeof(service), "%u", (unsigned)port);
    if (getaddrinfo(host, service, &hints, &found))
        return -1;
    for (const struct addrinfo *one = found; one && fd < 0; one = one->ai_next) {
        fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
            connect(fd, one->ai_addr, one->ai_addrlen)) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

// PostgreSQL's protocol, SSLRequest: answered by one byte.
static int ask_for_tls(int fd)
{
    static const uint8_t REQUEST[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
    char answer = 0;

    return send(fd, REQUEST, sizeof(REQUEST), MSG_NOSIGNAL) == sizeof(REQUEST) &&
                   recv(fd, &answer, 1, 0) == 1 && answer == 'S'
               ? 0
               : KT_ERR_NETWORK;
}

int kt_tls_shown(const char *host, uint16_t port, int is_database, int timeout_ms,
                 uint8_t sha256[KT_SHA256_LEN], struct kt_error *error)
{
    int fd = open_socket(host, port, timeout_ms), rc = KT_ERR_NETWORK;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = ctx ? SSL_new(ctx) : NULL;

    if (fd < 0)
        kt_error_set(error, rc, NULL, "nobody answers at '%s' port %u", host, (unsigned)port);
    else if (!ssl || (is_database && ask_for_tls(fd)) || SSL_set_fd(ssl, fd) != 1 ||
             SSL_connect(ssl) != 1)
        kt_error_set(error, rc, NULL, "no TLS at '%s' port %u", host, (unsigned)port);
    else
        rc = kt_tls_peer_sha256(ssl, sha256);
    if (rc && rc != KT_ERR_NETWORK)
        kt_error_set(error, rc, NULL, "no certificate at '%s' port %u", host, (unsigned)port);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    if (fd >= 0)
        close(fd);
    return rc;
}
