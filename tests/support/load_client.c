// SPDX-License-Identifier: Apache-2.0
// A client for the load tests: many idle connections, many requests on one, or a slow sender.
//
//   load_client PORT CONFDIR get COUNT PATH    COUNT fetches on one connection, one after the other
//   load_client PORT CONFDIR idle COUNT        COUNT connections without a word; when a line comes
//                                              on stdin, one health request on each
//   load_client PORT CONFDIR slow MILLISECONDS one byte of a request head each MILLISECONDS
// CONFDIR is a client's: ca.pem, client-cert.pem, client-key.pem. Prints one line of result.
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/encode.h"

static void die(const char *what)
{
    fprintf(stderr, "load_client: %s\n", what);
    exit(1);
}

static SSL_CTX *context(const char *confdir)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    char path[512];

    if (ctx == NULL)
        die("no TLS context");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    snprintf(path, sizeof(path), "%s/ca.pem", confdir);
    if (SSL_CTX_load_verify_locations(ctx, path, NULL) != 1)
        die("cannot load ca.pem");
    snprintf(path, sizeof(path), "%s/client-cert.pem", confdir);
    if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1)
        die("cannot load client-cert.pem");
    snprintf(path, sizeof(path), "%s/client-key.pem", confdir);
    if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1)
        die("cannot load client-key.pem");
    return ctx;
}

static SSL *connect_one(SSL_CTX *ctx, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SSL *ssl = SSL_new(ctx);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || ssl == NULL || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        die("cannot connect");
    SSL_set_fd(ssl, fd);
    SSL_set_tlsext_host_name(ssl, "keytrustee");
    SSL_set1_host(ssl, "keytrustee");
    if (SSL_connect(ssl) != 1)
        die("no handshake");
    return ssl;
}

static void close_one(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    SSL_free(ssl);
    close(fd);
}

// Reads one answer; its status, 0 when the connection ended.
static int read_answer(SSL *ssl)
{
    static char buf[65536];
    size_t have = 0, length = 0, head = 0;

    for (;;) {
        int n = SSL_read(ssl, buf + have, (int)(sizeof(buf) - 1 - have));
        char *end, *field;

        if (n <= 0)
            return 0;
        have += (size_t)n;
        buf[have] = 0;
        if (head == 0 && (end = strstr(buf, "\r\n\r\n")) != NULL) {
            head = (size_t)(end - buf) + 4;
            field = strstr(buf, "Content-Length: ");
            length = field ? strtoul(field + 16, NULL, 10) : 0;
        }
        if (head != 0 && have >= head + length)
            return (int)strtol(buf + 9, NULL, 10);
        if (have >= sizeof(buf) - 1)
            die("answer too large");
    }
}

static int request(SSL *ssl, const char *path)
{
    char text[1024];
    int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: keytrustee\r\n\r\n", path);

    return SSL_write(ssl, text, n) == n ? read_answer(ssl) : 0;
}

static int run_get(SSL_CTX *ctx, int port, int count, const char *path)
{
    SSL *ssl = connect_one(ctx, port);
    int64_t began = kt_monotonic_now();
    int good = 0;

    for (int i = 0; i < count; i++)
        good += request(ssl, path) == 200;
    printf("%d of %d answered 200, %.0f a second\n", good, count,
           count * 1e6 / (double)(kt_monotonic_now() - began));
    close_one(ssl);
    return good == count ? 0 : 1;
}

static int run_idle(SSL_CTX *ctx, int port, int count)
{
    struct rlimit limit = {(rlim_t)count + 64, (rlim_t)count + 64};
    SSL **all = calloc((size_t)count, sizeof(*all));
    char line[16];
    int good = 0;

    if (all == NULL || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("cannot have that many connections");
    for (int i = 0; i < count; i++)
        all[i] = connect_one(ctx, port);
    printf("%d connections are open\n", count);
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL)
        die("nobody says go");
    for (int i = 0; i < count; i++)
        good += request(all[i], "/v1/health") == 200;
    printf("%d of %d idle connections still answered\n", good, count);
    for (int i = 0; i < count; i++)
        close_one(all[i]);
    free(all);
    return good == count ? 0 : 1;
}

static int run_slow(SSL_CTX *ctx, int port, int ms)
{
    SSL *ssl = connect_one(ctx, port);
    int64_t began = kt_monotonic_now();
    int status = 0;

    SSL_write(ssl, "GET /v1/health HTTP/1.1\r\nX: ", 28);
    for (int sent = 0; sent < 100000; sent++) {
        struct pollfd p = {.fd = SSL_get_fd(ssl), .events = POLLIN};

        // session tickets come first: only an answer or the end counts
        if (poll(&p, 1, ms) > 0) {
            status = read_answer(ssl);
            break;
        }
        if (SSL_write(ssl, "a", 1) != 1)
            break;
    }
    printf("cut off after %.1f s with status %d\n", (double)(kt_monotonic_now() - began) / 1e6,
           status);
    close_one(ssl);
    return 0;
}

int main(int argc, char **argv)
{
    SSL_CTX *ctx;
    int port, n, status;

    if (argc < 5)
        die("usage: PORT CONFDIR get COUNT PATH | idle COUNT | slow MILLISECONDS");
    signal(SIGPIPE, SIG_IGN);
    ctx = context(argv[2]);
    port = (int)strtol(argv[1], NULL, 10);
    n = (int)strtol(argv[4], NULL, 10);
    if (strcmp(argv[3], "get") == 0 && argc == 6)
        status = run_get(ctx, port, n, argv[5]);
    else if (strcmp(argv[3], "idle") == 0)
        status = run_idle(ctx, port, n);
    else
        status = run_slow(ctx, port, n);
    SSL_CTX_free(ctx);
    return status;
}
