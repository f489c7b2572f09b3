// SPDX-License-Identifier: Apache-2.0
// A crowd at a server's door, on loopback only: idle connections, slow senders and readers, guessers,
// and clients who only want to be served. One process, one loop, a bounded number and time.
//
//   crowd PORT [--seconds N] [--addresses N] [--first ADDRESS]
//              [--idle N] [--slow N]                    nobody in particular, from these addresses
//              [--guess N --body FILE]                  registrations, as fast as they go
//              [--flood N --flooder DIR PATH]           fetches of one client, answered or not
//              [--stall N]                              the flooder's fetches, not read for N seconds
//              [--load N --client DIR PATH]             fetches that must all be answered
// It says "there" when all of idle and slow are connected (or were once), runs for so many seconds
// from then on, and prints a line for each kind. With "--hold yes" it ends with its standard input.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/encode.h"

#define ACTORS_MAX    20000
#define SECONDS_MAX   600
#define SHAKING_MAX   128 // handshakes at one time, beside those of the load
#define DRIP_US       INT64_C(1000000)
#define AGAIN_US      INT64_C(200000)
#define LATENCIES_MAX 4000000
#define REQUEST_MAX   16384

enum kind { IDLE, SLOW, GUESS, FLOOD, STALL, LOAD, KINDS };
enum state { AWAY, SHAKING, ASKING, READING, HOLDING };

struct actor {
    enum kind kind;
    enum state state;
    int fd;
    SSL *ssl;
    int64_t next_us; // when it comes, or does its next thing
    int64_t begun_us;
    size_t sent, got, head, length;
    char answer[1024]; // its beginning
    int was_there;
};

struct crew {
    const char *name;
    int count, there;
    SSL_CTX *ctx;
    char request[REQUEST_MAX];
    size_t request_len;
    uint64_t answers, good, refused, limited, failed, ended;
};

static struct crew crews[KINDS] = {
    {.name = "idle"},  {.name = "slow"},  {.name = "guess"},
    {.name = "flood"}, {.name = "stall"}, {.name = "load"},
};
static struct actor *actors;
static int holds, actor_count, shaking, epoll_fd, port, addresses = 1, said_there;
static int64_t seconds = 10, stall_s = 5;
static uint32_t first_address = 0x7f000001;
static uint32_t *latencies; // microseconds, of LOAD
static size_t latency_count;

static void die(const char *what)
{
    fprintf(stderr, "crowd: %s\n", what);
    exit(2);
}

static void leave(struct actor *a, int64_t pause_us)
{
    shaking -= a->state == SHAKING && a->kind != LOAD;
    if (a->fd >= 0)
        close(a->fd);
    SSL_free(a->ssl);
    a->fd = -1;
    a->ssl = NULL;
    a->state = AWAY;
    a->next_us = kt_monotonic_now() + pause_us;
}

static void come(struct actor *a)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, to = from;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = a};
    int on = 1, small = 4096;

    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from.sin_addr.s_addr = htonl(a->kind == LOAD || a->kind >= FLOOD
                                     ? INADDR_LOOPBACK
                                     : first_address + (uint32_t)((a - actors) % addresses));
    a->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0)
        die("no socket");
    setsockopt(a->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (a->kind == STALL)
        setsockopt(a->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    if (bind(a->fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
        (connect(a->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, a->fd, &event) != 0)
        die("cannot connect");
    a->ssl = SSL_new(crews[a->kind].ctx);
    if (a->ssl == NULL || SSL_set_fd(a->ssl, a->fd) != 1)
        die("no memory");
    SSL_set_tlsext_host_name(a->ssl, "keytrustee");
    SSL_set_connect_state(a->ssl);
    a->state = SHAKING;
    shaking += a->kind != LOAD;
    a->begun_us = kt_monotonic_now();
}

// 1: that went; 0: later; -1: the connection has ended.
static int verdict(struct actor *a, int result)
{
    int error;

    if (result > 0)
        return 1;
    error = SSL_get_error(a->ssl, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static void ended(struct actor *a)
{
    struct crew *crew = &crews[a->kind];

    crew->ended++;
    if (a->kind == LOAD)
        crew->failed++; // whatever it was: a client that is in order was not served
    leave(a, AGAIN_US);
}

static void ask(struct actor *a)
{
    a->state = ASKING;
    a->sent = a->got = a->head = a->length = 0;
    a->begun_us = kt_monotonic_now();
}

static void arrived(struct actor *a)
{
    struct crew *crew = &crews[a->kind];

    shaking -= a->kind != LOAD;
    crew->there += !a->was_there;
    a->was_there = 1;
    if (a->kind != IDLE) {
        ask(a);
        return;
    }
    a->state = HOLDING;
    a->next_us = INT64_MAX;
}

static void answered(struct actor *a)
{
    struct crew *crew = &crews[a->kind];
    long status = strtol(a->answer + 9, NULL, 10);
    int closes = strstr(a->answer, "Connection: close") != NULL;

    crew->answers++;
    crew->good += status == 200 || status == 201;
    crew->refused += status == 403 || status == 408;
    crew->limited += status == 429;
    if (a->kind == LOAD) {
        crew->failed += status != 200;
        if (latency_count < LATENCIES_MAX)
            latencies[latency_count++] = (uint32_t)(kt_monotonic_now() - a->begun_us);
    }
    if (closes)
        leave(a, a->kind == SLOW ? AGAIN_US : 0);
    else
        ask(a);
}

static void take(struct actor *a, const char *bytes, size_t n)
{
    size_t room = sizeof(a->answer) - 1 - a->got;
    char *end, *field;

    if (a->got < sizeof(a->answer) - 1) {
        memcpy(a->answer + a->got, bytes, n < room ? n : room);
        a->answer[a->got + (n < room ? n : room)] = '\0';
    }
    a->got += n;
    if (a->head == 0 && (end = strstr(a->answer, "\r\n\r\n")) != NULL) {
        a->head = (size_t)(end - a->answer) + 4;
        field = strstr(a->answer, "Content-Length: ");
        a->length = field ? strtoul(field + 16, NULL, 10) : 0;
    }
}

// 1: something was done, go on.
static int read_some(struct actor *a)
{
    char bytes[16384];
    int n = SSL_read(a->ssl, bytes, sizeof(bytes)), v = verdict(a, n);

    if (v < 0)
        ended(a);
    if (v <= 0)
        return 0;
    take(a, bytes, (size_t)n);
    if (a->head == 0 || a->got < a->head + a->length)
        return 1;
    answered(a);
    return a->state == ASKING;
}

static int write_some(struct actor *a)
{
    const struct crew *crew = &crews[a->kind];
    int n, v;

    if (a->sent < crew->request_len) {
        n = SSL_write(a->ssl, crew->request + a->sent, (int)(crew->request_len - a->sent));
        v = verdict(a, n);
        if (v < 0)
            ended(a);
        if (v <= 0)
            return 0;
        a->sent += (size_t)n;
        return 1;
    }
    a->state = a->kind == SLOW || a->kind == STALL ? HOLDING : READING;
    a->next_us = kt_monotonic_now() + (a->kind == STALL ? stall_s * INT64_C(1000000) : DRIP_US);
    return 1;
}

static int step(struct actor *a)
{
    int v;

    switch (a->state) {
    case SHAKING:
        v = verdict(a, SSL_do_handshake(a->ssl));
        if (v > 0)
            arrived(a);
        else if (v < 0)
            ended(a);
        return v > 0;
    case ASKING:
        return write_some(a);
    case READING:
        return read_some(a);
    case HOLDING: // tickets come first; then only an answer or the end
        return a->kind == STALL ? 0 : read_some(a);
    case AWAY:
        break;
    }
    return 0;
}

static void due(struct actor *a)
{
    int v;

    if (a->state == AWAY) {
        if (a->kind == LOAD || shaking < SHAKING_MAX)
            come(a);
        return;
    }
    if (a->kind == STALL) { // has looked away long enough: what is left to read?
        a->state = READING;
        a->next_us = INT64_MAX;
    } else {
        v = verdict(a, SSL_write(a->ssl, "a", 1));
        a->next_us = kt_monotonic_now() + DRIP_US;
        if (v < 0)
            ended(a);
    }
    while (step(a))
        ;
}

static SSL_CTX *context(const char *confdir)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    char path[512];

    if (ctx == NULL)
        die("no TLS context");
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (confdir == NULL)
        return ctx;
    snprintf(path, sizeof(path), "%s/client-cert.pem", confdir);
    if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1)
        die("cannot load client-cert.pem");
    snprintf(path, sizeof(path), "%s/client-key.pem", confdir);
    if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1)
        die("cannot load client-key.pem");
    return ctx;
}

static void be_client(enum kind kind, const char *confdir, const char *path)
{
    struct crew *crew = &crews[kind];

    crew->ctx = context(confdir);
    crew->request_len = (size_t)snprintf(crew->request, REQUEST_MAX,
                                         "GET %.512s HTTP/1.1\r\nHost: keytrustee\r\n\r\n", path);
}

static void be_guesser(const char *file)
{
    struct crew *crew = &crews[GUESS];
    char body[REQUEST_MAX - 512];
    FILE *in = fopen(file, "r");
    size_t n = in ? fread(body, 1, sizeof(body), in) : 0;

    if (n == 0 || n == sizeof(body))
        die("cannot use the body");
    fclose(in);
    crew->request_len = (size_t)snprintf(crew->request, REQUEST_MAX,
                                         "POST /v1/clients HTTP/1.1\r\nHost: keytrustee\r\n"
                                         "Content-Type: application/json\r\n"
                                         "Content-Length: %zu\r\n\r\n%.*s",
                                         n, (int)n, body);
}

static long number(const char *text, long most)
{
    char *end = NULL;
    long n = text ? strtol(text, &end, 10) : -1;

    if (n < 0 || n > most || *end != '\0')
        die("a number is missing or out of range");
    return n;
}

static int take_option(char **argv)
{
    struct in_addr address;

    if (strcmp(argv[0], "--seconds") == 0)
        seconds = number(argv[1], SECONDS_MAX);
    else if (strcmp(argv[0], "--hold") == 0)
        holds = 1;
    else if (strcmp(argv[0], "--addresses") == 0)
        addresses = (int)number(argv[1], 65536);
    else if (strcmp(argv[0], "--body") == 0 && argv[1])
        be_guesser(argv[1]);
    else if (strcmp(argv[0], "--first") == 0 && argv[1] && inet_aton(argv[1], &address) &&
             ntohl(address.s_addr) >> 24 == 127)
        first_address = ntohl(address.s_addr);
    else if (strcmp(argv[0], "--stall-seconds") == 0)
        stall_s = number(argv[1], SECONDS_MAX);
    else if (strcmp(argv[0], "--flooder") == 0 && argv[1] && argv[2]) {
        be_client(FLOOD, argv[1], argv[2]);
        be_client(STALL, argv[1], argv[2]);
        return 3;
    } else if (strcmp(argv[0], "--client") == 0 && argv[1] && argv[2]) {
        be_client(LOAD, argv[1], argv[2]);
        return 3;
    } else {
        for (int kind = 0; kind < KINDS; kind++) {
            if (strncmp(argv[0], "--", 2) == 0 && strcmp(argv[0] + 2, crews[kind].name) == 0) {
                crews[kind].count = (int)number(argv[1], ACTORS_MAX);
                return 2;
            }
        }
        die("unknown option");
    }
    return 2;
}

static void gather(void)
{
    static const char DRIP[] = "GET /v1/health HTTP/1.1\r\nHost: keytrustee\r\nX: ";

    memcpy(crews[SLOW].request, DRIP, sizeof(DRIP));
    crews[SLOW].request_len = sizeof(DRIP) - 1;
    for (int kind = 0; kind < KINDS; kind++)
        actor_count += crews[kind].count;
    if (actor_count > ACTORS_MAX || actor_count == 0)
        die("nobody, or too many");
    actors = calloc((size_t)actor_count, sizeof(*actors));
    latencies = calloc(LATENCIES_MAX, sizeof(*latencies));
    if (actors == NULL || latencies == NULL)
        die("no memory");
    for (int kind = 0, at = 0; kind < KINDS; kind++) {
        if (crews[kind].ctx == NULL)
            crews[kind].ctx = context(NULL);
        for (int i = 0; i < crews[kind].count; i++, at++)
            actors[at] = (struct actor){.kind = (enum kind)kind, .fd = -1};
    }
}

static int all_there(void)
{
    return crews[IDLE].there == crews[IDLE].count && crews[SLOW].there == crews[SLOW].count;
}

static int stdin_ended(void)
{
    struct pollfd p = {.fd = 0, .events = POLLIN};
    char byte;

    return poll(&p, 1, 0) > 0 && read(0, &byte, 1) <= 0;
}

static void run(void)
{
    int64_t until = kt_monotonic_now() + SECONDS_MAX * INT64_C(1000000), looked = 0;

    while (kt_monotonic_now() < until) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll_fd, events, 256, 20);
        int64_t now;

        for (int i = 0; i < n; i++) {
            struct actor *a = events[i].data.ptr;
            int turns = 0;
            while (a->fd >= 0 && turns++ < 64 && step(a))
                ;
        }
        now = kt_monotonic_now();
        if (now - looked < 10000)
            continue;
        looked = now;
        for (int i = 0; i < actor_count; i++) {
            if ((actors[i].state == AWAY || actors[i].state == HOLDING) && actors[i].next_us <= now)
                due(&actors[i]);
        }
        if (!said_there && all_there()) {
            printf("there\n");
            fflush(stdout);
            said_there = 1;
            until = now + seconds * INT64_C(1000000);
        }
        if (holds && stdin_ended())
            break;
    }
}

static int compare(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double at(double part)
{
    return latency_count ? latencies[(size_t)(part * (double)(latency_count - 1))] / 1e3 : 0;
}

static void report(double took)
{
    qsort(latencies, latency_count, sizeof(*latencies), compare);
    for (int kind = 0; kind < KINDS; kind++) {
        const struct crew *c = &crews[kind];
        if (c->count > 0)
            printf("%s: %d came, %llu answers, %llu good, %llu refused, %llu limited, %llu ended, "
                   "%llu failed\n",
                   c->name, c->there, (unsigned long long)c->answers, (unsigned long long)c->good,
                   (unsigned long long)c->refused, (unsigned long long)c->limited,
                   (unsigned long long)c->ended, (unsigned long long)c->failed);
    }
    if (crews[LOAD].count > 0)
        printf("latency: %.0f a second, p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, most %.2f ms\n",
               (double)latency_count / took, at(0.5), at(0.99), at(0.999), at(1));
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    int64_t begun;

    if (argc < 4)
        die("usage: see the head of tests/support/crowd.c");
    signal(SIGPIPE, SIG_IGN);
    port = (int)number(argv[1], 65535);
    for (int i = 2; i < argc;)
        i += take_option(argv + i);
    gather();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        if (limit.rlim_max < (rlim_t)actor_count + 64 || setrlimit(RLIMIT_NOFILE, &limit) != 0)
            die("the limit of open files is too low (ulimit -Hn)");
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("no epoll");
    begun = kt_monotonic_now();
    run();
    report((double)(kt_monotonic_now() - begun) / 1e6);
    return crews[LOAD].failed > 0 || !said_there;
}
