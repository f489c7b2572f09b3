// SPDX-License-Identifier: Apache-2.0
// Framed messages between the server's processes.
#include "kts/link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/encode.h"

#define HEADER     16
#define READ_STEP  (256u << 10) // a length that was announced buys no memory before its bytes come
#define READ_BOUND (1u << 20)   // one busy link must not keep the loop from the others
#define QUEUE_MAX  (64u << 20)
#define KEEP_MAX   (1u << 20) // storage kept between messages

struct kts_link {
    int fd;
    size_t max; // payload
    int broken; // KT_ERR_PROTOCOL: the other side broke the framing; KT_ERR_NETWORK: nothing can be
                // sent any more, but what has arrived can still be read
    struct kt_buf in;
    size_t seen; // bytes at the front of `in` of the message that is being handled
    struct kt_buf out;
};

int kts_link_new(int fd, struct kts_link **link)
{
    struct kts_link *fresh;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
        return KT_ERR_SYSTEM;
    fresh = calloc(1, sizeof(*fresh));
    if (!fresh)
        return KT_ERR_NO_MEMORY;
    fresh->fd = fd;
    fresh->max = KTS_MESSAGE_MAX;
    fresh->in = (struct kt_buf)KT_BUF_INIT(HEADER + KTS_MESSAGE_MAX + READ_STEP);
    fresh->out = (struct kt_buf)KT_BUF_INIT(QUEUE_MAX + HEADER + KTS_MESSAGE_MAX);
    *link = fresh;
    return 0;
}

void kts_link_free(struct kts_link *link)
{
    if (!link)
        return;
    close(link->fd);
    kt_buf_free(&link->in);
    kt_buf_free(&link->out);
    free(link);
}

void kts_link_bound(struct kts_link *link, size_t max)
{
    link->max = max;
}

int kts_link_fd(const struct kts_link *link)
{
    return link->fd;
}

static uint64_t number_at(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static void number_to(uint8_t *p, size_t n, uint64_t v)
{
    for (size_t i = n; i > 0; i--, v >>= 8)
        p[i - 1] = (uint8_t)v;
}

// The message before has been handled. On these links go auth codes, tokens, and the keys that nodes
// hand each other: no process is to hold them longer than it needs them.
static void forget_last(struct kts_link *link)
{
    (void)!kt_buf_consume_wiped(&link->in, link->seen);
    link->seen = 0;
}

// One recv of at most READ_STEP bytes: the count, 0 at the end of the stream, or an error.
static int receive_step(struct kts_link *link, size_t *got)
{
    uint8_t *where;
    ssize_t n;
    int rc = kt_buf_reserve(&link->in, READ_STEP, &where);

    if (rc)
        return rc;
    do
        n = recv(link->fd, where, READ_STEP, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? KT_ERR_AGAIN : KT_ERR_NETWORK;
    kt_buf_commit(&link->in, (size_t)n);
    *got = (size_t)n;
    return n == 0 ? KT_ERR_NETWORK : 0;
}

int kts_link_receive(struct kts_link *link)
{
    size_t total = 0;

    if (link->broken == KT_ERR_PROTOCOL)
        return link->broken;
    forget_last(link);
    if (kt_buf_left(&link->in) == 0 && link->in.cap > KEEP_MAX)
        kt_buf_free(&link->in);
    // With that much a whole message is here (or its length is a lie): the caller takes it out.
    while (total < READ_BOUND && kt_buf_left(&link->in) < HEADER + link->max) {
        size_t got = 0;
        int rc = receive_step(link, &got);
        if (rc == KT_ERR_AGAIN)
            return 0;
        if (rc && total > 0)
            return 0; // what came before the end is served first; the next call says it again
        if (rc)
            return rc;
        total += got;
        if (got < READ_STEP)
            return 0;
    }
    return 0;
}

int kts_link_next(struct kts_link *link, struct kts_message *message)
{
    const uint8_t *head;
    size_t left, n;

    forget_last(link);
    head = kt_buf_ptr(&link->in);
    left = kt_buf_left(&link->in);
    if (link->broken == KT_ERR_PROTOCOL)
        return link->broken;
    if (left < HEADER)
        return 0;
    n = (size_t)number_at(head, 4);
    if (n > link->max || number_at(head + 6, 2) != 0) {
        link->broken = KT_ERR_PROTOCOL;
        return KT_ERR_PROTOCOL;
    }
    if (left < HEADER + n)
        return 0;
    message->type = (uint16_t)number_at(head + 4, 2);
    message->id = number_at(head + 8, 8);
    message->payload = (struct kt_buf){link->in.data + link->in.off + HEADER, n, n, 0, n};
    link->seen = HEADER + n;
    return 1;
}

// Writes header and payload without copying when nothing is queued before them.
static int send_direct(struct kts_link *link, uint8_t *header, const void *payload, size_t n,
                       size_t *sent)
{
    void *bytes;
    memcpy(&bytes, &payload, sizeof(bytes)); // sendmsg wants it without const and only reads it
    struct iovec parts[2] = {{header, HEADER}, {bytes, n}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = n > 0 ? 2 : 1};
    ssize_t w;

    do
        w = sendmsg(link->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (w < 0 && errno == EINTR);
    if (w < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return KT_ERR_NETWORK;
    *sent = w < 0 ? 0 : (size_t)w;
    return 0;
}

int kts_link_send(struct kts_link *link, uint16_t type, uint64_t id, const void *payload, size_t n)
{
    uint8_t header[HEADER] = {0};
    size_t sent = 0;
    int rc;

    if (n > KTS_MESSAGE_MAX)
        return KT_ERR_TOO_LARGE;
    if (link->broken)
        return link->broken;
    if (kt_buf_left(&link->out) > QUEUE_MAX)
        return KT_ERR_BUSY;
    number_to(header, 4, n);
    number_to(header + 4, 2, type);
    number_to(header + 8, 8, id);
    if (kt_buf_left(&link->out) == 0) {
        rc = send_direct(link, header, payload, n, &sent);
        if (rc) {
            link->broken = rc;
            return rc;
        }
    }
    rc = 0;
    if (sent < HEADER)
        rc = kt_buf_put(&link->out, header + sent, HEADER - sent);
    if (rc == 0 && sent < HEADER + n) {
        size_t skip = sent > HEADER ? sent - HEADER : 0;
        rc = kt_buf_put(&link->out, (const uint8_t *)payload + skip, n - skip);
    }
    if (rc) { // half a message is out, or its header is queued: no way back
        link->broken = KT_ERR_NETWORK;
        shutdown(link->fd, SHUT_RDWR); // both sides then read the end, and take a new link
        return rc;
    }
    rc = kts_link_flush(link);
    return rc == KT_ERR_AGAIN ? 0 : rc;
}

int kts_link_flush(struct kts_link *link)
{
    if (link->broken == KT_ERR_NETWORK)
        return link->broken;
    while (kt_buf_left(&link->out) > 0) {
        ssize_t w = send(link->fd, kt_buf_ptr(&link->out), kt_buf_left(&link->out),
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return KT_ERR_AGAIN;
        if (w < 0 || kt_buf_consume_wiped(&link->out, (size_t)w)) {
            link->broken = KT_ERR_NETWORK;
            return KT_ERR_NETWORK;
        }
    }
    if (link->out.cap > KEEP_MAX)
        kt_buf_free(&link->out);
    return 0;
}

int kts_link_wants_write(const struct kts_link *link)
{
    return kt_buf_left(&link->out) > 0;
}

// Waits until the link can be read (or written, when something is queued), or the deadline.
static int wait_until(struct kts_link *link, int64_t deadline_us)
{
    struct pollfd p = {.fd = link->fd, .events = POLLIN};
    int64_t left_ms = (deadline_us - kt_monotonic_now() + 999) / 1000;
    int n;

    if (kts_link_wants_write(link))
        p.events |= POLLOUT;
    if (left_ms <= 0)
        return KT_ERR_TIMEOUT;
    n = poll(&p, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
    if (n < 0 && errno != EINTR)
        return KT_ERR_SYSTEM;
    return n == 0 ? KT_ERR_TIMEOUT : 0;
}

int kts_link_call(struct kts_link *link, uint16_t type, uint64_t id, const void *payload, size_t n,
                  uint16_t answer_type, int timeout_ms, struct kts_message *answer)
{
    int64_t deadline = kt_monotonic_now() + (int64_t)timeout_ms * 1000;
    int rc = kts_link_send(link, type, id, payload, n);

    while (rc == 0) {
        rc = kts_link_flush(link);
        if (rc && rc != KT_ERR_AGAIN)
            return rc;
        rc = kts_link_next(link, answer);
        if (rc < 0)
            return rc;
        if (rc == 1 && answer->type == answer_type && answer->id == id)
            return 0;
        if (rc == 1 && answer->type == answer_type && answer->id < id) {
            rc = 0; // the late answer to a call that was given up
            continue;
        }
        if (rc == 1)
            return KT_ERR_PROTOCOL;
        rc = wait_until(link, deadline);
        if (rc == 0)
            rc = kts_link_receive(link);
    }
    return rc;
}
