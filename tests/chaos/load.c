// SPDX-License-Identifier: Apache-2.0
// The clients of a fault campaign.
//
//   chaos_load run NODES CONFDIR CIPHER HISTORY WRITERS READERS SEED
//       deposits and reads until SIGTERM, and appends what it sees to HISTORY
//   chaos_load final NODES CONFDIR HISTORY
//       reads every deposit of HISTORY from every node, and appends that
// NODES has a line `name address port` for each node. CONFDIR is a client's. CIPHER is a deposit of
// that client; its last bytes are made other ones for each deposit.
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/digest.h"
#include "lib/encode.h"
#include "tests/chaos/history.h"
#include "tests/chaos/wire.h"

#define NODES_MAX   16
#define RECENT      512 // deposits that readers choose from
#define CIPHER_MAX  16384
#define UNIQUE_TAIL 24
#define RETRIES_MAX 4
#define CLIENTS_MAX 1000

struct node {
    char name[CHAOS_WORD], address[64];
    int port;
};

static struct node nodes[NODES_MAX];
static int node_count;
static SSL_CTX *tls;
static unsigned char cipher[CIPHER_MAX];
static size_t cipher_length;
static atomic_int stopping;

static int history_fd;
static pthread_mutex_t history_lock = PTHREAD_MUTEX_INITIALIZER;

// What was sent lately, also what nobody acknowledged: readers ask for it.
static char recent[RECENT][KT_UUID_TEXT];
static unsigned recent_count;
static pthread_mutex_t recent_lock = PTHREAD_MUTEX_INITIALIZER;

static void die(const char *what)
{
    fprintf(stderr, "chaos_load: %s\n", what);
    exit(2);
}

static void stop(int signal)
{
    (void)signal;
    atomic_store(&stopping, 1);
}

// Acknowledgements and positive reads are on disk before anything follows from them.
static void note(struct chaos_event *event)
{
    char line[1024];
    size_t n;

    pthread_mutex_lock(&history_lock);
    event->t = (uint64_t)kt_monotonic_now(); // in the lock: lines stand in the order of time
    chaos_event_format(event, line, sizeof(line) - 1);
    n = strlen(line);
    line[n++] = '\n';
    if (write(history_fd, line, n) != (ssize_t)n)
        die("cannot write the history");
    pthread_mutex_unlock(&history_lock);
    if (event->ev == CHAOS_OK && event->kind == CHAOS_PUT && fdatasync(history_fd) != 0)
        die("cannot write the history");
}

// --- one client: a thread with a connection to each node ---

struct client {
    char name[CHAOS_WORD];
    unsigned seed;
    uint64_t op;
    int at; // node that took the last deposit
    struct chaos_wire wires[NODES_MAX];
    struct chaos_answer answer;
    pthread_t thread;
};

static unsigned draw(struct client *client, unsigned below)
{
    return (unsigned)rand_r(&client->seed) % below;
}

static void pause_ms(unsigned ms)
{
    usleep(ms * 1000);
}

static void open_client(struct client *client, const char *kind, int number, unsigned seed)
{
    memset(client, 0, sizeof(*client));
    snprintf(client->name, sizeof(client->name), "%s%d", kind, number);
    client->seed = seed * 1000003u + (unsigned)number * 7919u + (unsigned char)*kind;
    for (int i = 0; i < node_count; i++)
        client->wires[i] = (struct chaos_wire){
            .ctx = tls, .host = nodes[i].address, .port = nodes[i].port, .timeout_ms = 4000};
}

static void close_client(struct client *client)
{
    for (int i = 0; i < node_count; i++)
        chaos_wire_close(&client->wires[i]);
}

static void begin(struct client *client, struct chaos_event *event, enum chaos_kind kind, int node,
                  const char *id)
{
    memset(event, 0, sizeof(*event));
    snprintf(event->process, sizeof(event->process), "%s", client->name);
    event->op = ++client->op;
    event->kind = kind;
    snprintf(event->node, sizeof(event->node), "%s", nodes[node].name);
    snprintf(event->id, sizeof(event->id), "%s", id);
}

static void hash_text(const void *bytes, size_t n, char out[CHAOS_WORD])
{
    uint8_t digest[KT_SHA256_LEN];

    if (kt_sha256(bytes, n, digest) != 0)
        die("no SHA-256");
    kt_hex_encode(digest, sizeof(digest), out);
}

static void take_code(const struct chaos_answer *answer, struct chaos_event *event)
{
    event->status = answer->status;
    if (answer->status >= 400)
        chaos_answer_field(answer, "KT-Error", event->code, sizeof(event->code));
}

// --- deposits ---

static int take_receipt(const struct chaos_answer *answer, struct chaos_event *event)
{
    json_t *root = json_loadb((const char *)answer->body, answer->length, 0, NULL);
    json_t *deposit = json_object_get(root, "deposit");
    const char *id = json_string_value(json_object_get(deposit, "id"));
    const char *sha = json_string_value(json_object_get(deposit, "sha256"));
    const char *incarnation = json_string_value(json_object_get(deposit, "incarnation"));
    const char *receipt = json_string_value(json_object_get(root, "receipt"));
    int good = id && sha && incarnation && receipt && strcmp(id, event->id) == 0;

    if (good) {
        snprintf(event->sha, sizeof(event->sha), "%s", sha);
        snprintf(event->incarnation, sizeof(event->incarnation), "%s", incarnation);
        event->epoch = (uint64_t)json_integer_value(json_object_get(deposit, "epoch"));
        event->index = (uint64_t)json_integer_value(json_object_get(deposit, "index"));
    }
    json_decref(root);
    return good ? 0 : -1;
}

struct deposit {
    char id[KT_UUID_TEXT], handle[64], sha[CHAOS_WORD];
    unsigned char body[CIPHER_MAX];
};

// One try at one node: the kind of its end.
static enum chaos_ev put_once(struct client *client, int node, const struct deposit *deposit)
{
    struct chaos_event event;
    char head[1024];

    begin(client, &event, CHAOS_PUT, node, deposit->id);
    snprintf(event.sha, sizeof(event.sha), "%s", deposit->sha);
    event.ev = CHAOS_INVOKE;
    note(&event);
    snprintf(head, sizeof(head),
             "PUT /v1/deposits/%s HTTP/1.1\r\nHost: keytrustee\r\n"
             "Content-Type: application/pgp-encrypted\r\nContent-Length: %zu\r\n"
             "KT-Deposit-Id: %s\r\nKT-SHA256: %s\r\n\r\n",
             deposit->handle, cipher_length, deposit->id, deposit->sha);
    chaos_wire_ask(&client->wires[node], head, deposit->body, cipher_length, &client->answer);
    take_code(&client->answer, &event);
    if (!client->answer.sent)
        event.ev = CHAOS_FAIL;
    else if ((event.status == 200 || event.status == 201) &&
             take_receipt(&client->answer, &event) == 0)
        event.ev = CHAOS_OK;
    else
        event.ev = event.status >= 400 && event.status < 500 ? CHAOS_FAIL : CHAOS_UNKNOWN;
    note(&event);
    return event.ev;
}

static void remember(const char *id)
{
    pthread_mutex_lock(&recent_lock);
    snprintf(recent[recent_count++ % RECENT], sizeof(recent[0]), "%s", id);
    pthread_mutex_unlock(&recent_lock);
}

static void make_deposit(struct client *client, struct deposit *deposit)
{
    struct kt_uuid uuid;

    memcpy(deposit->body, cipher, cipher_length);
    if (kt_uuid_random(&uuid) != 0 ||
        kt_random(deposit->body + cipher_length - UNIQUE_TAIL, UNIQUE_TAIL) != 0)
        die("no random bytes");
    kt_uuid_format(&uuid, deposit->id);
    // some are further versions under one handle
    if (draw(client, 5) == 0)
        snprintf(deposit->handle, sizeof(deposit->handle), "shared-%u", draw(client, 4));
    else
        snprintf(deposit->handle, sizeof(deposit->handle), "d-%s", deposit->id);
    hash_text(deposit->body, cipher_length, deposit->sha);
    remember(deposit->id);
}

// Deposits, where the last one was taken or anywhere; some of what is in doubt is tried again.
static void *write_on(void *arg)
{
    struct client *client = arg;

    while (!atomic_load(&stopping)) {
        struct deposit deposit;
        enum chaos_ev end = CHAOS_FAIL;

        make_deposit(client, &deposit);
        for (int try = 0; try < RETRIES_MAX && end != CHAOS_OK && !atomic_load(&stopping); try++) {
            int node = draw(client, 8) == 0 ? (int)draw(client, (unsigned)node_count) : client->at;

            end = put_once(client, node, &deposit);
            if (end == CHAOS_OK) {
                client->at = node;
            } else {
                client->at = (int)draw(client, (unsigned)node_count);
                pause_ms(10 + draw(client, 100));
                if (draw(client, 3) == 0)
                    break; // given up: whatever came of it
            }
        }
        pause_ms(draw(client, 20));
    }
    return NULL;
}

// --- reads ---

static void get_once(struct client *client, int node, const char *id, enum chaos_kind kind,
                     int barrier, struct chaos_event *event)
{
    char head[512];

    begin(client, event, kind, node, id);
    event->barrier = barrier;
    event->ev = CHAOS_INVOKE;
    note(event);
    snprintf(head, sizeof(head), "GET /v1/deposits/by-id/%s HTTP/1.1\r\nHost: keytrustee\r\n%s\r\n",
             id, barrier ? "KT-Freshness: barrier\r\n" : "");
    chaos_wire_ask(&client->wires[node], head, NULL, 0, &client->answer);
    take_code(&client->answer, event);
    if (event->status == 200) {
        event->ev = CHAOS_OK;
        event->found = 1;
        hash_text(client->answer.body, client->answer.length, event->sha);
    } else if (event->status == 404) {
        event->ev = CHAOS_OK;
    } else {
        event->ev = CHAOS_FAIL; // reads change nothing
    }
    note(event);
}

// Reads what was sent lately, and sometimes what nobody sent, from every node, isolated or not.
static void *read_on(void *arg)
{
    struct client *client = arg;

    while (!atomic_load(&stopping)) {
        char id[KT_UUID_TEXT] = "";
        struct chaos_event event;
        struct kt_uuid uuid;

        pthread_mutex_lock(&recent_lock);
        if (recent_count > 0) {
            unsigned from = recent_count < RECENT ? recent_count : RECENT;
            memcpy(id, recent[draw(client, from)], sizeof(id));
        }
        pthread_mutex_unlock(&recent_lock);
        if ((id[0] == 0 || draw(client, 20) == 0) && kt_uuid_random(&uuid) == 0)
            kt_uuid_format(&uuid, id);
        get_once(client, (int)draw(client, (unsigned)node_count), id, CHAOS_GET,
                 draw(client, 3) == 0, &event);
        pause_ms(draw(client, 10));
    }
    return NULL;
}

static int run(int writers, int readers, unsigned seed)
{
    int count = writers + readers;
    struct client *clients = calloc((size_t)count, sizeof(*clients));

    if (clients == NULL)
        die("no memory");
    for (int i = 0; i < count; i++) {
        open_client(&clients[i], i < writers ? "w" : "r", i, seed);
        if (pthread_create(&clients[i].thread, NULL, i < writers ? write_on : read_on,
                           &clients[i]) != 0)
            die("no thread");
    }
    for (int i = 0; i < count; i++) {
        pthread_join(clients[i].thread, NULL);
        close_client(&clients[i]);
    }
    free(clients);
    return 0;
}

// --- at the end ---

// Asks until the node answers, for ten seconds at most.
static void read_finally(struct client *client, int node, const char *id)
{
    struct chaos_event event;

    for (int try = 0; try < 100; try++) {
        get_once(client, node, id, CHAOS_FINAL, 0, &event);
        if (event.ev == CHAOS_OK)
            return;
        pause_ms(100);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

// The ids that were sent, in order; retries carry one again.
static char (*sent_ids(const char *path, size_t *count))[KT_UUID_TEXT]
{
    char(*ids)[KT_UUID_TEXT] = NULL, line[1100];
    size_t room = 0;
    FILE *file = fopen(path, "re");

    *count = 0;
    if (file == NULL)
        die("cannot read the history");
    while (fgets(line, sizeof(line), file) != NULL) {
        struct chaos_event event;

        if (chaos_event_parse(line, &event) != 0)
            die("the history has a line that is none");
        if (event.kind != CHAOS_PUT || event.ev != CHAOS_INVOKE)
            continue;
        if (*count == room && (ids = realloc(ids, (room = room * 2 + 1024) * sizeof(*ids))) == NULL)
            die("no memory");
        snprintf(ids[(*count)++], sizeof(*ids), "%.36s", event.id);
    }
    fclose(file);
    qsort(ids, *count, sizeof(*ids), by_text);
    return ids;
}

static int final(const char *path)
{
    size_t count;
    char(*ids)[KT_UUID_TEXT] = sent_ids(path, &count);
    struct client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        die("no memory");
    open_client(client, "final", 0, 1);
    for (size_t i = 0; i < count && !atomic_load(&stopping); i++)
        for (int node = 0; node < node_count && (i == 0 || strcmp(ids[i], ids[i - 1]) != 0); node++)
            read_finally(client, node, ids[i]);
    close_client(client);
    free(client);
    free(ids);
    return 0;
}

// --- start ---

static uint64_t number_of(const char *text, uint64_t max)
{
    uint64_t number = 0;

    if (kt_u64_parse(text, 0, max, &number) != 0)
        die("not a number, or too large a one");
    return number;
}

static void read_nodes(const char *path)
{
    FILE *file = fopen(path, "re");
    char port[8];

    while (file != NULL && node_count < NODES_MAX &&
           fscanf(file, "%71s %63s %7s", nodes[node_count].name, nodes[node_count].address, port) ==
               3)
        nodes[node_count++].port = (int)number_of(port, UINT16_MAX);
    if (file != NULL)
        fclose(file);
    if (node_count == 0)
        die("no nodes");
}

static void read_cipher(const char *path)
{
    FILE *file = fopen(path, "re");

    cipher_length = file ? fread(cipher, 1, sizeof(cipher), file) : 0;
    if (file != NULL)
        fclose(file);
    if (cipher_length <= UNIQUE_TAIL || cipher_length == sizeof(cipher))
        die("the cipher text is too short or too long");
}

int main(int argc, char **argv)
{
    int is_run = argc == 9 && strcmp(argv[1], "run") == 0;
    int is_final = argc == 5 && strcmp(argv[1], "final") == 0, status;
    const char *history;

    if (!is_run && !is_final)
        die("usage: run NODES CONFDIR CIPHER HISTORY WRITERS READERS SEED | "
            "final NODES CONFDIR HISTORY");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    read_nodes(argv[2]);
    history = argv[is_run ? 5 : 4];
    history_fd = open(history, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    tls = chaos_wire_context(argv[3]);
    if (history_fd < 0 || tls == NULL)
        die("cannot open the history, or the client's keys");
    if (is_run)
        read_cipher(argv[4]);
    status = is_run
                 ? run((int)number_of(argv[6], CLIENTS_MAX), (int)number_of(argv[7], CLIENTS_MAX),
                       (unsigned)number_of(argv[8], UINT_MAX))
                 : final(history);
    fsync(history_fd);
    close(history_fd);
    SSL_CTX_free(tls);
    return status;
}
