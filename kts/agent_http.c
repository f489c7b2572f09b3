// SPDX-License-Identifier: Apache-2.0
// The agent's HTTPS door for other nodes and operators: its port, its certificate, who may connect.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kts/agent_http_inner.h"
#include "kts/master.h"
#include "kts/worker.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/pki.h"

// A node or an operator gets in however many strangers there are: of those the oldest goes when a
// new one comes, and listed ones have room of their own.
#define STRANGERS_MAX 64
#define CONNS_MAX     128
#define BATCH         8 // accepted before others get their turn
#define BACKLOG       64
#define AGAIN_MS      5000 // when the port could not be opened
#define PAUSE_MS      200  // when there are no descriptors left
#define SUMMARY_MS    1000
#define PEM_MAX       65536

// --- certificate ---

// The chain ends in the CA's certificate: who has nothing but a token's fingerprint finds it there.
static int put_chain(struct kts_agent *agent, struct kt_buf *pem, struct kt_error *error)
{
    X509 *cert = NULL;
    int rc = kt_pki_cert_load(agent->start->paths->node_cert, &cert, error);

    if (rc)
        return rc;
    rc = kt_pki_cert_to_pem(cert, pem);
    if (rc == 0)
        rc = kt_pki_cert_to_pem(agent->ca_cert, pem);
    X509_free(cert);
    return rc ? kt_error_set(error, rc, NULL, "the node's certificate: %s", kt_err_text(rc)) : 0;
}

static int make_context(struct kts_agent *agent, SSL_CTX **ctx, struct kt_error *error)
{
    struct kt_buf cert = KT_BUF_INIT(PEM_MAX), ca = KT_BUF_INIT(PEM_MAX);
    struct kt_secret *key = NULL;
    char cluster_id[KT_UUID_TEXT];
    int rc = put_chain(agent, &cert, error);

    if (rc == 0)
        rc = kt_secret_from_file(agent->start->paths->node_key, PEM_MAX, 0, &key, error);
    if (rc == 0 && kt_pki_cert_to_pem(agent->ca_cert, &ca))
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc == 0) {
        const struct kt_tls_pem pem = {
            .cert = kt_buf_ptr(&cert),
            .cert_len = kt_buf_left(&cert),
            .key = kt_secret_data(key),
            .key_len = kt_secret_len(key),
            .ca = kt_buf_ptr(&ca),
            .ca_len = kt_buf_left(&ca),
        };
        kt_uuid_format(&agent->start->info->cluster_id, cluster_id);
        rc = kt_tls_server_new_pem(&pem, cluster_id, ctx, error);
    }
    // Nobody here speaks less, and nobody resumes.
    if (rc == 0 && (SSL_CTX_set_min_proto_version(*ctx, TLS1_3_VERSION) != 1 ||
                    SSL_CTX_set_num_tickets(*ctx, 0) != 1))
        rc = kt_error_set(error, KT_ERR_CRYPTO, NULL, "TLS 1.3 cannot be asked for");
    kt_secret_free(key);
    kt_buf_free(&cert);
    kt_buf_free(&ca);
    return rc;
}

void kts_https_reload(struct kts_agent *agent)
{
    struct kts_https *https = agent->https;
    struct kt_error why = {0};
    SSL_CTX *fresh = NULL;

    if (!https || !https->tls)
        return; // read when the port is opened
    if (make_context(agent, &fresh, &why)) {
        kt_log_error(&why, "the agent's port keeps its certificate");
        SSL_CTX_free(fresh);
        return;
    }
    SSL_CTX_free(https->tls); // open connections have their own reference
    https->tls = fresh;
}

// --- who may connect ---

// Strangers from one address; 0 when this one is none, or is being answered.
static size_t from_the_same(const struct kts_https *https, const struct kts_http_conn *as)
{
    size_t n, count = 0;
    const char *port = strrchr(as->io.peer, ':');

    if (as->is_known || as->is_asked)
        return 0;
    n = port ? (size_t)(port - as->io.peer) + 1 : strlen(as->io.peer);
    for (const struct kts_http_conn *conn = https->conns; conn; conn = conn->next)
        count += !conn->is_known && strncmp(conn->io.peer, as->io.peer, n) == 0;
    return count;
}

// A node in its handshake is a stranger too: any one goes of those of the address that holds most,
// not the oldest, which is what a flood of new ones would have go.
static struct kts_http_conn *any_of_the_greediest(struct kts_https *https)
{
    struct kts_http_conn *found = NULL;
    size_t most = 1, candidates = 0;

    for (struct kts_http_conn *conn = https->conns; conn; conn = conn->next) {
        size_t count = from_the_same(https, conn);
        uint32_t number = 0;
        if (count < most)
            continue;
        candidates = count > most ? 1 : candidates + 1;
        most = count;
        if (kt_random(&number, sizeof(number)) || number % candidates == 0)
            found = conn;
    }
    return found;
}

// Closing it loses no request: its answer is out, or there was none.
static int has_nothing_to_lose(const struct kts_conn *io)
{
    return io->state == KTS_CONN_DRAINING || kts_conn_is_idle(io);
}

static struct kts_http_conn *oldest_idle(struct kts_https *https)
{
    struct kts_http_conn *found = NULL;

    for (struct kts_http_conn *conn = https->conns; conn; conn = conn->next) {
        // A stranger that is in the middle of a request goes too; a call under way is let alone.
        int may_go = conn->is_known ? has_nothing_to_lose(&conn->io) : !conn->is_asked;
        if (may_go)
            found = conn; // the newest come first
    }
    return found;
}

// 1 when there is room for one more, which is a stranger until it has shown a certificate.
static int make_room(struct kts_https *https)
{
    struct kts_http_conn *victim = NULL;

    if (https->stranger_count >= STRANGERS_MAX)
        victim = any_of_the_greediest(https);
    else if (https->count >= CONNS_MAX)
        victim = oldest_idle(https);
    else
        return 1;
    if (victim)
        kts_http_conn_free(victim);
    return victim != NULL;
}

static void pause_accepting(struct kts_https *https, const char *why)
{
    struct timeval t = kts_milliseconds(PAUSE_MS);

    kt_log(KT_LOG_WARNING, "the agent's port pauses: %s", why);
    event_del(https->listener);
    event_add(https->timer, &t);
}

static void on_connection(evutil_socket_t listen_fd, short what, void *arg)
{
    struct kts_https *https = arg;

    (void)what;
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t n = sizeof(peer);
        int on = 1;
        int fd =
            accept4((int)listen_fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                pause_accepting(https, strerror(errno));
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (make_room(https))
            kts_http_conn_new(https, fd, (struct sockaddr *)&peer);
        else
            close(fd);
    }
}

// --- the port ---

static int open_port(struct kts_https *https, struct kt_error *error)
{
    struct kts_agent *agent = https->agent;
    const struct kt_settings *settings = agent->start->settings;
    int rc = 0;

    if (!https->tls)
        rc = make_context(agent, &https->tls, error);
    if (rc == 0)
        rc = kts_listen(kt_settings_text(settings, KT_SET_HTTPS_ADDRESS),
                        (int)kt_settings_number(settings, KT_SET_AGENT_PORT), BACKLOG, "agent.port",
                        &https->fd, error);
    if (rc)
        return rc;
    https->listener = event_new(agent->base, https->fd, EV_READ | EV_PERSIST, on_connection, https);
    if (!https->listener || event_add(https->listener, NULL))
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct timeval t = kts_milliseconds(AGAIN_MS);
    struct kts_https *https = arg;
    struct kt_error why = {0};

    (void)fd;
    (void)what;
    if (https->listener) {
        event_add(https->listener, NULL);
        return;
    }
    if (open_port(https, &why) == 0) {
        if (https->has_complained)
            kt_log(KT_LOG_NOTICE, "the agent's port is open now");
        return;
    }
    // Without it the node serves its clients, but no other node reaches it.
    if (!https->has_complained)
        kt_log_error(&why, "the agent's port cannot be opened, it is tried again");
    https->has_complained = 1;
    event_add(https->timer, &t);
}

static void on_summary(evutil_socket_t fd, short what, void *arg)
{
    struct kts_https *https = arg;

    (void)fd;
    (void)what;
    kts_agent_audit(https->agent,
                    json_pack("{s:s, s:s, s:I}", "event", "audit.skipped", "result", "denied",
                              "count", (json_int_t)https->strangers.skipped));
    https->strangers.skipped = 0;
}

int kts_https_start(struct kts_agent *agent, struct kt_error *error)
{
    struct kts_https *https = calloc(1, sizeof(*https));

    agent->https = https;
    if (https) {
        https->agent = agent;
        https->fd = -1;
        https->timer = evtimer_new(agent->base, on_timer, https);
        https->strangers.timer = evtimer_new(agent->base, on_summary, https);
    }
    if (!https || !https->timer || !https->strangers.timer)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    on_timer(-1, 0, https);
    return 0;
}

void kts_https_unlisten(struct kts_agent *agent)
{
    struct kts_https *https = agent->https;
    struct kts_http_conn *next;

    if (!https)
        return;
    https->is_closed = 1;
    event_del(https->timer);
    if (https->listener)
        event_free(https->listener);
    https->listener = NULL;
    if (https->fd >= 0)
        close(https->fd);
    https->fd = -1;
    for (struct kts_http_conn *conn = https->conns; conn; conn = next) {
        next = conn->next;
        if (!conn->is_asked)
            kts_http_conn_free(conn);
    }
}

void kts_https_stop(struct kts_agent *agent)
{
    struct kts_https *https = agent->https;

    if (!https)
        return;
    if (https->timer)
        kts_https_unlisten(agent);
    while (https->conns)
        kts_http_conn_free(https->conns);
    if (https->timer)
        event_free(https->timer);
    if (https->strangers.timer)
        event_free(https->strangers.timer);
    SSL_CTX_free(https->tls);
    free(https);
    agent->https = NULL;
}
