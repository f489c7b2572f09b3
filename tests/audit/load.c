// SPDX-License-Identifier: Apache-2.0
// Clients for the audit log's tests.
//
//   audit_load run PORT CONFDIR CIPHER OUT READERS WRITERS
//       fetches and deposits until SIGTERM; notes in OUT the request id of each answer that came
//       whole and gave or took a deposit: "get ID" and "put ID"
//   audit_load bench PORT CONFDIR PATH CONNECTIONS SECONDS
//       fetches PATH on so many connections at once; prints how many a second
// CONFDIR is a client's. CIPHER is a deposit of that client.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/digest.h"
#include "lib/encode.h"
#include "tests/chaos/wire.h"

#define THREADS_MAX 128
#define CIPHER_MAX  65536

static SSL_CTX *tls;
static int port, out_fd = -1;
static const char *path;
static unsigned char cipher[CIPHER_MAX];
static size_t cipher_length;
static char cipher_hash[KT_SHA256_TEXT];
static atomic_int stopping;
static atomic_ulong answered;

static void die(const char *what)
{
    fprintf(stderr, "audit_load: %s\n", what);
    exit(2);
}

static void stop(int signal)
{
    (void)signal;
    atomic_store(&stopping, 1);
}

static void note(const char *what, const struct chaos_answer *answer)
{
    char id[64], line[96];
    int n;

    chaos_answer_field(answer, "KT-Request-Id", id, sizeof(id));
    n = snprintf(line, sizeof(line), "%s %s\n", what, id[0] ? id : "none");
    if (write(out_fd, line, (size_t)n) != n)
        die("cannot write the notes");
}

static void pause_ms(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

static struct chaos_wire *new_wire(void)
{
    struct chaos_wire *wire = calloc(1, sizeof(*wire));

    if (!wire)
        die("out of memory");
    *wire = (struct chaos_wire){.ctx = tls, .host = "127.0.0.1", .port = port, .timeout_ms = 5000};
    return wire;
}

static void fetch(struct chaos_wire *wire, struct chaos_answer *answer)
{
    char head[512];

    snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: keytrustee\r\n\r\n", path);
    chaos_wire_ask(wire, head, NULL, 0, answer);
}

static void *reader(void *arg)
{
    struct chaos_answer *answer = calloc(1, sizeof(*answer));
    struct chaos_wire *wire = new_wire();

    (void)arg;
    while (answer && !atomic_load(&stopping)) {
        fetch(wire, answer);
        if (answer->status == 200)
            note("get", answer);
        else
            pause_ms(20);
    }
    chaos_wire_close(wire);
    free(wire);
    free(answer);
    return NULL;
}

static void *writer(void *arg)
{
    struct chaos_answer *answer = calloc(1, sizeof(*answer));
    struct chaos_wire *wire = new_wire();
    char head[1024], id[KT_UUID_TEXT];
    struct kt_uuid uuid;

    (void)arg;
    while (answer && !atomic_load(&stopping) && kt_uuid_random(&uuid) == 0) {
        kt_uuid_format(&uuid, id);
        snprintf(head, sizeof(head),
                 "PUT /v1/deposits/load-%s HTTP/1.1\r\nHost: keytrustee\r\n"
                 "Content-Type: application/pgp-encrypted\r\nKT-Deposit-Id: %s\r\n"
                 "KT-SHA256: %s\r\nContent-Length: %zu\r\n\r\n",
                 id, id, cipher_hash, cipher_length);
        chaos_wire_ask(wire, head, cipher, cipher_length, answer);
        if (answer->status == 200 || answer->status == 201)
            note("put", answer);
        pause_ms(answer->status ? 5 : 20);
    }
    chaos_wire_close(wire);
    free(wire);
    free(answer);
    return NULL;
}

static void *measurer(void *arg)
{
    struct chaos_answer *answer = calloc(1, sizeof(*answer));
    struct chaos_wire *wire = new_wire();

    (void)arg;
    while (answer && !atomic_load(&stopping)) {
        fetch(wire, answer);
        if (answer->status == 200)
            atomic_fetch_add_explicit(&answered, 1, memory_order_relaxed);
    }
    chaos_wire_close(wire);
    free(wire);
    free(answer);
    return NULL;
}

static void load_cipher(const char *file)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, cipher, sizeof(cipher));
    uint8_t hash[KT_SHA256_LEN];

    if (n <= 0 || kt_sha256(cipher, (size_t)n, hash) != 0)
        die("cannot read the deposit");
    cipher_length = (size_t)n;
    kt_hex_encode(hash, sizeof(hash), cipher_hash);
    close(fd);
}

static int count_of(const char *text)
{
    uint64_t n = 0;

    if (kt_u64_parse(text, 0, 1000000, &n) != 0)
        die("not a number");
    return (int)n;
}

static void run_threads(int readers, int writers, void *(*read_one)(void *), int seconds)
{
    pthread_t threads[THREADS_MAX];
    int count = readers + writers;

    if (count > THREADS_MAX)
        die("too many clients");
    for (int i = 0; i < count; i++) {
        if (pthread_create(&threads[i], NULL, i < readers ? read_one : writer, NULL) != 0)
            die("cannot start a client");
    }
    if (seconds > 0) {
        int64_t begun, took;
        unsigned long before;
        pause_ms(500); // handshakes
        before = atomic_load(&answered);
        begun = kt_monotonic_now();
        pause_ms(seconds * 1000L);
        took = kt_monotonic_now() - begun;
        printf("%.0f\n", (double)(atomic_load(&answered) - before) * 1e6 / (double)took);
        atomic_store(&stopping, 1);
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = stop};

    if (argc < 7)
        die("run PORT CONFDIR CIPHER OUT READERS WRITERS | bench PORT CONFDIR PATH N SECONDS");
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &action, NULL);
    port = count_of(argv[2]);
    tls = chaos_wire_context(argv[3]);
    if (!tls)
        die("cannot read the client's files");
    if (strcmp(argv[1], "run") == 0 && argc == 8) {
        load_cipher(argv[4]);
        path = "/v1/deposits/before";
        out_fd = open(argv[5], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (out_fd < 0)
            die("cannot open the notes");
        run_threads(count_of(argv[6]), count_of(argv[7]), reader, 0);
    } else if (strcmp(argv[1], "bench") == 0) {
        path = argv[4];
        run_threads(count_of(argv[5]), 0, measurer, count_of(argv[6]));
    } else {
        die("run or bench");
    }
    return 0;
}
