// SPDX-License-Identifier: Apache-2.0
// Legitimate clients beside an attack: they put and get all the time, and nothing may fail them.
//
//   attack_load NODES CONFDIR CIPHER WRITERS READERS
// NODES has a line `name address port` for each node, the active first. CONFDIR is a client's, CIPHER
// a deposit of that client, whose last bytes are made other ones for each deposit. Runs until SIGTERM;
// then a line "puts N gets N failed N", and before it one for each of the first failures.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/digest.h"
#include "lib/encode.h"
#include "tests/chaos/wire.h"

#define NODES_MAX   8
#define CLIENTS_MAX 64
#define CIPHER_MAX  16384
#define UNIQUE_TAIL 24
#define KEPT        64 // deposits that are fetched again and again
#define SHOWN_MAX   20 // failures that are told in words
#define PAUSE_MS    20 // between two requests of a client: the attacker gets a turn, too
#define PATIENCE_MS 10000

static struct node {
    char name[32], address[64];
    int port;
} nodes[NODES_MAX];
static int node_count;
static SSL_CTX *tls;
static unsigned char cipher[CIPHER_MAX];
static size_t cipher_length;
static atomic_int stopping;
static atomic_uint puts_done, gets_done, failures;

// What every node has: readers fetch it. Written before they start.
static struct kept {
    char handle[64];
    unsigned char body[CIPHER_MAX];
} * kept;

struct client {
    unsigned number;
    unsigned seed;
    struct chaos_wire wires[NODES_MAX];
    struct chaos_answer answer;
    unsigned char body[CIPHER_MAX];
    pthread_t thread;
};

static void die(const char *what)
{
    fprintf(stderr, "attack_load: %s\n", what);
    exit(2);
}

static void stop(int signal)
{
    (void)signal;
    atomic_store(&stopping, 1);
}

static void failed(const struct client *client, const char *what, const char *node)
{
    char code[64];

    if (atomic_fetch_add(&failures, 1) >= SHOWN_MAX)
        return;
    chaos_answer_field(&client->answer, "KT-Error", code, sizeof(code));
    printf("failed: %s at %s: %d %s\n", what, node, client->answer.status, code);
    fflush(stdout);
}

// An idle connection may have been closed by the server in the very moment: that is asked once more, as
// every HTTP client does. Puts carry an id, so that this is safe.
static void ask(struct client *client, int node, const char *head, const void *body, size_t length)
{
    struct chaos_wire *wire = &client->wires[node];
    int was_open = wire->ssl != NULL;

    chaos_wire_ask(wire, head, body, length, &client->answer);
    if (was_open && client->answer.status == 0)
        chaos_wire_ask(wire, head, body, length, &client->answer);
}

static int put(struct client *client, const char *handle, const unsigned char *body)
{
    char id[KT_UUID_TEXT], sha[KT_SHA256_LEN * 2 + 1], head[1024];
    uint8_t digest[KT_SHA256_LEN];
    struct kt_uuid uuid;

    if (kt_uuid_random(&uuid) != 0 || kt_sha256(body, cipher_length, digest) != 0)
        die("no random bytes, or no SHA-256");
    kt_uuid_format(&uuid, id);
    kt_hex_encode(digest, sizeof(digest), sha);
    snprintf(head, sizeof(head),
             "PUT /v1/deposits/%s HTTP/1.1\r\nHost: keytrustee\r\n"
             "Content-Type: application/pgp-encrypted\r\nContent-Length: %zu\r\n"
             "KT-Deposit-Id: %s\r\nKT-SHA256: %s\r\n\r\n",
             handle, cipher_length, id, sha);
    ask(client, 0, head, body, cipher_length);
    return client->answer.status == 201 && strstr((char *)client->answer.body, id) ? 0 : -1;
}

static int get(struct client *client, int node, const char *handle, const unsigned char *body)
{
    char head[512];

    snprintf(head, sizeof(head), "GET /v1/deposits/%s HTTP/1.1\r\nHost: keytrustee\r\n\r\n",
             handle);
    ask(client, node, head, NULL, 0);
    return client->answer.status == 200 && client->answer.length == cipher_length &&
                   memcmp(client->answer.body, body, cipher_length) == 0
               ? 0
               : -1;
}

static void make_body(unsigned char *body)
{
    memcpy(body, cipher, cipher_length);
    if (kt_random(body + cipher_length - UNIQUE_TAIL, UNIQUE_TAIL) != 0)
        die("no random bytes");
}

static void *write_on(void *arg)
{
    struct client *client = arg;
    char handle[64];

    for (unsigned n = 0; !atomic_load(&stopping); n++) {
        snprintf(handle, sizeof(handle), "load-%u-%u", client->number, n);
        make_body(client->body);
        if (put(client, handle, client->body) != 0)
            failed(client, "put", nodes[0].name);
        else
            atomic_fetch_add(&puts_done, 1);
        if (get(client, 0, handle, client->body) != 0)
            failed(client, "get of what was just put", nodes[0].name);
        else
            atomic_fetch_add(&gets_done, 1);
        usleep(PAUSE_MS * 1000);
    }
    return NULL;
}

static void *read_on(void *arg)
{
    struct client *client = arg;

    while (!atomic_load(&stopping)) {
        const struct kept *one = &kept[(unsigned)rand_r(&client->seed) % KEPT];
        int node = rand_r(&client->seed) % node_count;

        if (get(client, node, one->handle, one->body) != 0)
            failed(client, "get", nodes[node].name);
        else
            atomic_fetch_add(&gets_done, 1);
        usleep(PAUSE_MS * 1000);
    }
    return NULL;
}

static void open_client(struct client *client, unsigned number)
{
    client->number = client->seed = number;
    for (int i = 0; i < node_count; i++)
        client->wires[i] = (struct chaos_wire){
            .ctx = tls, .host = nodes[i].address, .port = nodes[i].port, .timeout_ms = PATIENCE_MS};
}

// A passive shows what was acknowledged a moment later: the load begins when it does.
static void prepare(struct client *client)
{
    if ((kept = calloc(KEPT, sizeof(*kept))) == NULL)
        die("no memory");
    for (int i = 0; i < KEPT; i++) {
        int tries = 0;

        snprintf(kept[i].handle, sizeof(kept[i].handle), "kept-%d", i);
        make_body(kept[i].body);
        if (put(client, kept[i].handle, kept[i].body) != 0)
            die("the first deposits are not taken");
        for (int node = 0; node < node_count; node++)
            while (get(client, node, kept[i].handle, kept[i].body) != 0) {
                if (++tries > 200)
                    die("the first deposits are not served");
                usleep(50000);
            }
    }
    printf("ready\n");
    fflush(stdout);
}

static void read_nodes(const char *path)
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        die("cannot read the list of nodes");
    while (node_count < NODES_MAX &&
           fscanf(file, "%31s %63s %d", nodes[node_count].name, nodes[node_count].address,
                  &nodes[node_count].port) == 3)
        node_count++;
    fclose(file);
    if (node_count == 0)
        die("no nodes");
}

static void read_cipher(const char *path)
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        die("cannot read the deposit");
    cipher_length = fread(cipher, 1, sizeof(cipher), file);
    fclose(file);
    if (cipher_length <= UNIQUE_TAIL || cipher_length == sizeof(cipher))
        die("a deposit of that size is not made");
}

static unsigned count_of(const char *text)
{
    uint64_t number = 0;

    if (kt_u64_parse(text, 0, CLIENTS_MAX / 2, &number) != 0)
        die("not a number of clients");
    return (unsigned)number;
}

int main(int argc, char **argv)
{
    struct client *clients;
    unsigned writers, count;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    if (argc != 6)
        die("usage: attack_load NODES CONFDIR CIPHER WRITERS READERS");
    read_nodes(argv[1]);
    if ((tls = chaos_wire_context(argv[2])) == NULL)
        die("cannot read the client's folder");
    read_cipher(argv[3]);
    writers = count_of(argv[4]);
    count = writers + count_of(argv[5]);
    if (count == 0 || (clients = calloc(count, sizeof(*clients))) == NULL)
        die("no clients");
    for (unsigned i = 0; i < count; i++)
        open_client(&clients[i], i);
    prepare(&clients[0]);
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&clients[i].thread, NULL, i < writers ? write_on : read_on,
                           &clients[i]) != 0)
            die("no thread");
    for (unsigned i = 0; i < count; i++) {
        pthread_join(clients[i].thread, NULL);
        for (int node = 0; node < node_count; node++)
            chaos_wire_close(&clients[i].wires[node]);
    }
    printf("puts %u gets %u failed %u\n", atomic_load(&puts_done), atomic_load(&gets_done),
           atomic_load(&failures));
    free(clients);
    free(kept);
    SSL_CTX_free(tls);
    return atomic_load(&failures) == 0 ? 0 : 1;
}
