// SPDX-License-Identifier: Apache-2.0
// Bytes over TLS as they are, and handshakes that a good client does not make.
//
//   raw_tls ADDRESS PORT [NAME=VALUE]...
// What comes on stdin is sent as it comes; what the server sends goes to stdout. After the end of
// stdin the server's close is waited for. Names:
//   cert=PREFIX      shows PREFIX-cert.pem with PREFIX-key.pem
//   from=ADDRESS     connects from there
//   max=1.0 .. 1.3   highest version offered; the lowest is 1.0
//   ciphers=LIST     of TLS 1.2 and below
//   sni=NAME alpn=NAME
//   session-in=FILE session-out=FILE   resumes a session, keeps the last ticket that came
//   early=yes        sends stdin as early data
//   renegotiate=yes  asks for a new handshake before anything is sent
//   plain=yes        no TLS at all
//   deaf=yes         reads nothing, once stdin has ended, until the server has gone
//   wait=MS          how long silence is taken (1500)
// The last line on stderr says how it ended: "handshake refused", "early data refused", "resumed" or
// "not resumed" with "closed" or "open". Exit code 0 when the handshake succeeded, 1 when not, 2 when
// nothing could be tried.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/encode.h"

#define NAMES_MAX 16

static struct {
    const char *name, *value;
} given[NAMES_MAX];
static int given_count;
static const char *session_out;

static void die(const char *what)
{
    fprintf(stderr, "raw_tls: %s\n", what);
    exit(2);
}

static const char *option(const char *name)
{
    for (int i = 0; i < given_count; i++)
        if (strncmp(given[i].name, name, strlen(name)) == 0 && given[i].name[strlen(name)] == '=')
            return given[i].value;
    return NULL;
}

static uint64_t number_of(const char *text, uint64_t max)
{
    uint64_t number = 0;

    if (kt_u64_parse(text, 0, max, &number) != 0)
        die("not a number, or too large a one");
    return number;
}

static int connect_to(const char *address, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in from = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
        die("no socket, or no address");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (option("from") && (inet_pton(AF_INET, option("from"), &from.sin_addr) != 1 ||
                           bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0))
        die("cannot connect from there");
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        die("no connection");
    return fd;
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    FILE *file = fopen(session_out, "we");

    (void)ssl;
    if (file == NULL || PEM_write_SSL_SESSION(file, session) != 1)
        die("cannot keep the session");
    fclose(file);
    return 0;
}

static SSL_CTX *new_context(void)
{
    static const struct {
        const char *name;
        int version;
    } VERSIONS[] = {{"1.0", TLS1_VERSION},
                    {"1.1", TLS1_1_VERSION},
                    {"1.2", TLS1_2_VERSION},
                    {"1.3", TLS1_3_VERSION}};
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    char path[512];

    if (ctx == NULL)
        die("no TLS context");
    // What is tried is the server's floor, not this side's.
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    for (size_t i = 0; option("max") && i < 4; i++)
        if (strcmp(VERSIONS[i].name, option("max")) == 0)
            SSL_CTX_set_max_proto_version(ctx, VERSIONS[i].version);
    if (option("ciphers") && SSL_CTX_set_cipher_list(ctx, option("ciphers")) != 1)
        die("this OpenSSL has none of those ciphers");
    if (option("cert")) {
        snprintf(path, sizeof(path), "%s-cert.pem", option("cert"));
        if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1)
            die("cannot read the certificate");
        snprintf(path, sizeof(path), "%s-key.pem", option("cert"));
        if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1)
            die("cannot read the key");
    }
    if ((session_out = option("session-out")) != NULL) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(ctx, keep_session);
    }
    return ctx;
}

static void set_alpn(SSL *ssl, const char *name)
{
    unsigned char list[256];
    size_t n = strlen(name);

    if (n >= sizeof(list))
        die("name too long");
    list[0] = (unsigned char)n;
    memcpy(list + 1, name, n);
    if (SSL_set_alpn_protos(ssl, list, (unsigned)n + 1) != 0)
        die("cannot offer that protocol");
}

static void use_session(SSL *ssl)
{
    FILE *file = fopen(option("session-in"), "re");
    SSL_SESSION *session = file ? PEM_read_SSL_SESSION(file, NULL, NULL, NULL) : NULL;

    if (session == NULL || SSL_set_session(ssl, session) != 1)
        die("cannot use the session");
    SSL_SESSION_free(session);
    fclose(file);
}

// 0 when the server took them; a ticket that allows none is a refusal too.
static int send_early(SSL *ssl)
{
    unsigned char buf[4096];
    ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
    size_t sent = 0;

    if (n <= 0)
        die("nothing to send");
    if (SSL_write_early_data(ssl, buf, (size_t)n, &sent) != 1)
        return -1;
    return SSL_connect(ssl) == 1 && SSL_get_early_data_status(ssl) == SSL_EARLY_DATA_ACCEPTED ? 0
                                                                                              : -1;
}

// One direction at a time is enough: records are small, and the other side reads while it can.
struct line {
    SSL *ssl; // NULL: plain
    int fd;
};

// Waits until the socket may be written or read; -1 when it takes too long.
static int wait_for(const struct line *line, short events)
{
    struct pollfd p = {.fd = line->fd, .events = events};

    return poll(&p, 1, 30000) == 1 ? 0 : -1;
}

static int put(struct line *line, const unsigned char *bytes, int n)
{
    while (n > 0) {
        ssize_t done = line->ssl ? SSL_write(line->ssl, bytes, n)
                                 : send(line->fd, bytes, (size_t)n, MSG_NOSIGNAL);
        if (done <= 0) {
            int reason = line->ssl ? SSL_get_error(line->ssl, (int)done) : SSL_ERROR_SYSCALL;

            if (!line->ssl && errno == EAGAIN)
                reason = SSL_ERROR_WANT_WRITE;
            // A server that does not read while it is not read from is waited for as any sender would.
            if (reason != SSL_ERROR_WANT_WRITE || wait_for(line, POLLOUT) != 0)
                return -1;
            continue;
        }
        bytes += done;
        n -= (int)done;
    }
    return 0;
}

// -1 when the server has closed.
static int take(struct line *line)
{
    unsigned char buf[65536];
    ssize_t n;

    for (;;) {
        n = line->ssl ? SSL_read(line->ssl, buf, sizeof(buf)) : recv(line->fd, buf, sizeof(buf), 0);
        if (n <= 0) {
            int again = line->ssl ? SSL_get_error(line->ssl, (int)n) == SSL_ERROR_WANT_READ
                                  : n < 0 && errno == EAGAIN;

            return again ? 0 : -1;
        }
        if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n || fflush(stdout) != 0)
            die("cannot write");
    }
}

// 1: the server closed, 0: it is silent and the connection open.
static int talk(struct line *line, int wait_ms)
{
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = line->fd, .events = POLLIN}};
    unsigned char buf[16384];
    int deaf = option("deaf") != NULL;

    for (;;) {
        int n;

        if (fds[0].fd < 0 && deaf)
            fds[1].events = 0; // an error or a hang-up is told all the same
        n = poll(fds, 2, fds[0].fd < 0 ? wait_ms : 60000);
        if (n <= 0)
            return 0;
        if (deaf && fds[1].revents & (POLLHUP | POLLERR))
            return 1;
        if (fds[1].revents && !deaf && take(line) != 0)
            return 1;
        if (fds[0].revents) {
            ssize_t got = read(STDIN_FILENO, buf, sizeof(buf));
            if (got <= 0)
                fds[0].fd = -1;
            else if (put(line, buf, (int)got) != 0)
                fds[0].fd = -1; // what it had said before it closed is still there
        }
    }
}

static int run(struct line *line)
{
    if (option("sni"))
        SSL_set_tlsext_host_name(line->ssl, option("sni"));
    if (option("alpn"))
        set_alpn(line->ssl, option("alpn"));
    if (option("session-in"))
        use_session(line->ssl);
    SSL_set_fd(line->ssl, line->fd);
    if (option("early")) {
        if (send_early(line->ssl) == 0)
            return 0;
        fprintf(stderr, "early data refused\n");
        return 1;
    }
    if (SSL_connect(line->ssl) != 1) {
        fprintf(stderr, "handshake refused\n");
        return 1;
    }
    if (option("renegotiate") &&
        (SSL_renegotiate(line->ssl) != 1 || SSL_do_handshake(line->ssl) != 1 ||
         SSL_renegotiate_pending(line->ssl))) {
        fprintf(stderr, "handshake refused\n");
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    SSL_CTX *ctx = NULL;
    struct line line = {0};
    int rc = 0, wait_ms = 1500, closed;

    signal(SIGPIPE, SIG_IGN);
    if (argc < 3 || argc - 3 > NAMES_MAX)
        die("usage: raw_tls ADDRESS PORT [NAME=VALUE]...");
    for (int i = 3; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (equals == NULL)
            die("options are NAME=VALUE");
        given[given_count].name = argv[i];
        given[given_count++].value = equals + 1;
    }
    if (option("wait"))
        wait_ms = (int)number_of(option("wait"), 120000);
    line.fd = connect_to(argv[1], (int)number_of(argv[2], 65535));
    if (!option("plain")) {
        ctx = new_context();
        if ((line.ssl = SSL_new(ctx)) == NULL)
            die("no TLS");
        rc = run(&line);
    }
    if (rc == 0) {
        if (fcntl(line.fd, F_SETFL, O_NONBLOCK) != 0)
            die("no socket");
        closed = talk(&line, wait_ms);
        fprintf(stderr, "%s, %s\n",
                line.ssl && SSL_session_reused(line.ssl) ? "resumed" : "not resumed",
                closed ? "closed" : "open");
    }
    SSL_free(line.ssl);
    SSL_CTX_free(ctx);
    close(line.fd);
    return rc;
}
