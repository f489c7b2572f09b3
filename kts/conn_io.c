// SPDX-License-Identifier: Apache-2.0
// What all connections share: begin and end, bytes through TLS without waiting, on libevent events;
// and who is at the other end.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>

#include "kts/conn_inner.h"
#include "kts/worker.h"
#include "lib/log.h"
#include "lib/pki.h"
#include "lib/tls.h"

#define DRAIN_MAX (32u << 20)

int kts_conn_open(struct kts_conn *conn, const struct kts_conn_owner *owner)
{
    conn->ssl = SSL_new(owner->tls);
    conn->read_event =
        event_new(owner->base, conn->fd, EV_READ | EV_PERSIST, owner->on_event, owner->arg);
    conn->write_event = event_new(owner->base, conn->fd, EV_WRITE, owner->on_event, owner->arg);
    conn->timer = evtimer_new(owner->base, owner->on_timer, owner->arg);
    if (!conn->ssl || !conn->read_event || !conn->write_event || !conn->timer ||
        SSL_set_fd(conn->ssl, conn->fd) != 1)
        return KT_ERR_NO_MEMORY;
    SSL_set_accept_state(conn->ssl);
    return 0;
}

static void free_event(struct event *event)
{
    if (event)
        event_free(event);
}

void kts_conn_close(struct kts_conn *conn)
{
    free_event(conn->read_event);
    free_event(conn->write_event);
    free_event(conn->timer);
    SSL_free(conn->ssl);
    close(conn->fd);
    kt_buf_free(&conn->in);
    kt_buf_free(&conn->out);
}

int kts_conn_is_idle(const struct kts_conn *conn)
{
    return conn->state == KTS_CONN_HANDSHAKE || (conn->state == KTS_CONN_HEAD && !conn->head_begun);
}

void kts_conn_deadline(struct kts_conn *conn, int64_t ms)
{
    struct timeval t = kts_milliseconds(ms);

    event_add(conn->timer, &t);
}

void kts_conn_watch_reads(struct kts_conn *conn, int on)
{
    if (on == conn->reading)
        return;
    conn->reading = on;
    if (on)
        event_add(conn->read_event, NULL);
    else
        event_del(conn->read_event);
}

// What an SSL call that did not go through waits for. 0: an event is added; else conn->dead.
static void wait_for(struct kts_conn *conn, int result, const char *what)
{
    char text[256];

    switch (SSL_get_error(conn->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        kts_conn_watch_reads(conn, 1);
        return;
    case SSL_ERROR_WANT_WRITE:
        event_add(conn->write_event, NULL);
        return;
    case SSL_ERROR_ZERO_RETURN: // a proper end: it may still read an answer
        conn->peer_done = 1;
        if (conn->state != KTS_CONN_WORKING && conn->state != KTS_CONN_QUEUED)
            conn->dead = 1;
        conn->close_after = 1;
        kts_conn_watch_reads(conn, 0);
        return;
    case SSL_ERROR_SSL:
        kt_tls_error_text(text, sizeof(text));
        kt_log(KT_LOG_DEBUG, "connection from '%s' ended in %s: %s", conn->peer, what, text);
        break;
    default: // the system's: reset, or closed without the proper end
        break;
    }
    conn->dead = 1;
}

int kts_conn_shake(struct kts_conn *conn)
{
    int n;

    ERR_clear_error();
    n = SSL_do_handshake(conn->ssl);
    if (n == 1)
        return 1;
    wait_for(conn, n, "handshake");
    // While the kernel has no room for our flight, reads would only wake us in vain.
    if (!conn->dead && SSL_want_write(conn->ssl))
        kts_conn_watch_reads(conn, 0);
    return 0;
}

int kts_conn_resize(struct kts_conn *conn, size_t size)
{
    struct kt_buf fresh = KT_BUF_INIT(size); // its bound keeps the storage from being doubled
    uint8_t *where;
    int rc = kt_buf_reserve(&fresh, size, &where);

    if (rc == 0)
        rc = kt_buf_put(&fresh, kt_buf_ptr(&conn->in), kt_buf_left(&conn->in));
    if (rc) {
        kt_buf_free(&fresh);
        return rc;
    }
    fresh.max = conn->in.max;
    kt_buf_free(&conn->in);
    conn->in = fresh;
    return 0;
}

int kts_conn_fill(struct kts_conn *conn, size_t want)
{
    uint8_t *where;
    size_t got = 0;
    int n;

    if (conn->peer_done)
        return 0;
    if (kt_buf_reserve(&conn->in, want, &where)) {
        conn->dead = 1;
        return 0;
    }
    ERR_clear_error();
    n = SSL_read_ex(conn->ssl, where, want, &got);
    if (n == 1) {
        kt_buf_commit(&conn->in, got);
        return 1;
    }
    wait_for(conn, n, "reading");
    return 0;
}

int kts_conn_fill_ahead(struct kts_conn *conn)
{
    if (kt_buf_left(&conn->in) >= KTS_CONN_AHEAD) {
        kts_conn_watch_reads(conn, 0);
        return 0;
    }
    return kts_conn_fill(conn, KTS_CONN_IN_STEP);
}

int kts_conn_write(struct kts_conn *conn)
{
    while (kt_buf_left(&conn->out) > 0) {
        size_t sent = 0;
        int n;
        ERR_clear_error();
        n = SSL_write_ex(conn->ssl, kt_buf_ptr(&conn->out), kt_buf_left(&conn->out), &sent);
        if (n != 1) {
            kts_conn_watch_reads(conn, 0);
            wait_for(conn, n, "writing");
            return 0;
        }
        if (kt_buf_consume_wiped(&conn->out, sent))
            conn->dead = 1;
    }
    return !conn->dead;
}

int kts_conn_continue(struct kts_conn *conn)
{
    if (!kts_conn_write(conn))
        return 0;
    conn->state = KTS_CONN_BODY;
    kts_conn_watch_reads(conn, 1);
    return 1;
}

void kts_conn_shut(struct kts_conn *conn)
{
    ERR_clear_error();
    if (SSL_is_init_finished(conn->ssl))
        SSL_shutdown(conn->ssl); // only ours; whether it goes out at once does not matter
    ERR_clear_error();
    shutdown(conn->fd, SHUT_WR);
}

void kts_conn_begin_drain(struct kts_conn *conn)
{
    conn->state = KTS_CONN_DRAINING;
    // Closed with unread bytes, the kernel would reset the connection and the client might lose the
    // answer.
    kts_conn_shut(conn);
    kts_conn_watch_reads(conn, 1);
    kts_conn_deadline(conn, KTS_CONN_DRAIN_MS);
}

int kts_conn_drain(struct kts_conn *conn)
{
    char rest[16384];
    ssize_t n = recv(conn->fd, rest, sizeof(rest), MSG_DONTWAIT);

    if (n > 0) {
        conn->drained += (size_t)n;
        conn->dead = conn->drained > DRAIN_MAX;
        return 0; // the event comes again as long as there is more
    }
    if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        conn->dead = 1;
    else
        kts_conn_watch_reads(conn, 1);
    return 0;
}

// --- the other end ---

void kts_conn_format_peer(const struct sockaddr *peer, char out[KT_PEER_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "";

    if (peer->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, peer, sizeof(v4));
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
        snprintf(out, KT_PEER_TEXT, "%s:%u", host, ntohs(v4.sin_port));
    } else if (peer->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, peer, sizeof(v6));
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
        snprintf(out, KT_PEER_TEXT, "[%s]:%u", host, ntohs(v6.sin6_port));
    } else {
        snprintf(out, KT_PEER_TEXT, "unknown");
    }
}

const char *kts_conn_peer(const struct kts_conn *conn)
{
    return conn->peer;
}

static uint64_t key_of(const char *text)
{
    uint8_t hash[KT_SHA256_LEN];
    uint64_t key = 0;

    if (kt_sha256(text, strlen(text), hash) == 0)
        memcpy(&key, hash, sizeof(key));
    return key;
}

// The CA has signed the names, or nothing is done in them.
static void find_keys(struct kts_conn *conn)
{
    char organisation[KT_PKI_NAME_TEXT], client[KT_PKI_NAME_TEXT];

    kt_pki_who(SSL_get0_peer_certificate(conn->ssl), organisation, client);
    conn->keys.organisation = organisation[0] ? key_of(organisation) : 0;
    conn->keys.client = key_of(client);
}

const struct kts_caller_keys *kts_conn_keys(struct kts_conn *conn)
{
    return &conn->keys;
}

const uint8_t *kts_conn_address(const struct kts_conn *conn)
{
    return conn->address;
}

// The roots may be others than at the handshake: one that has ended lets nobody in.
static int check_again(struct kts_conn *conn)
{
    X509 *cert = SSL_get0_peer_certificate(conn->ssl);
    int rc = kt_pki_cert_check(cert, conn->worker->ca, kt_time_now());

    if (rc == 0)
        conn->tls_age = conn->worker->tls_age;
    return rc;
}

int kts_conn_certificate(struct kts_conn *conn, uint8_t sha256[KT_SHA256_LEN])
{
    int rc = kt_tls_peer_error(conn->ssl, kt_time_now());

    if (rc == KT_ERR_CERTIFICATE_MISSING)
        return rc;
    if (rc == 0 && conn->worker && conn->tls_age != conn->worker->tls_age)
        rc = check_again(conn);
    if (!conn->certificate_known && kt_tls_peer_sha256(conn->ssl, conn->certificate))
        return KT_ERR_CERTIFICATE_MISSING;
    if (!conn->certificate_known)
        find_keys(conn);
    conn->certificate_known = 1;
    memcpy(sha256, conn->certificate, KT_SHA256_LEN);
    return rc;
}
