// SPDX-License-Identifier: Apache-2.0
// The control socket between master and child: one datagram a message, a descriptor may go with it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kts/process.h"

#define HEADER  4 // u16 type, u16 0
#define MAX_FDS 4 // room for more than the one we expect, so that strays can be closed

const char *kts_process_name(enum kts_process process)
{
    static const char *const NAMES[] = {
        [KTS_MASTER] = "master", [KTS_AUDIT] = "audit",   [KTS_AGENT] = "agent",
        [KTS_WRITER] = "writer", [KTS_WORKER] = "worker", [KTS_DOOR] = "door",
    };

    return (unsigned)process < KTS_PROCESS_COUNT ? NAMES[process] : "unknown";
}

int kts_control_send(int control_fd, enum kts_control_type type, const void *payload, size_t n,
                     int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } space;
    uint8_t header[HEADER] = {(uint8_t)((unsigned)type >> 8), (uint8_t)type, 0, 0};
    void *bytes;
    memcpy(&bytes, &payload, sizeof(bytes)); // sendmsg wants it without const and only reads it
    struct iovec parts[2] = {{header, HEADER}, {bytes, n}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = n > 0 ? 2 : 1};
    ssize_t w;

    if (n > KTS_CONTROL_MAX - HEADER)
        return KT_ERR_TOO_LARGE;
    if (fd >= 0) {
        memset(&space, 0, sizeof(space));
        msg.msg_control = space.bytes;
        msg.msg_controllen = sizeof(space.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    do
        w = sendmsg(control_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (w < 0 && errno == EINTR);
    if (w >= 0)
        return 0;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
        return KT_ERR_AGAIN;
    return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? KT_ERR_NETWORK
                                                                      : KT_ERR_SYSTEM;
}

// Takes the one descriptor out of the ancillary data; closes all and says 0 when there are more.
static int take_fd(struct msghdr *msg, int *fd)
{
    int fds[MAX_FDS];
    size_t count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n && count < MAX_FDS; i++)
            memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    *fd = count == 1 ? fds[0] : -1;
    if (count <= 1)
        return 1;
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    return 0;
}

int kts_control_receive(int control_fd, struct kt_buf *storage, struct kts_control_message *message)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
    } space;
    struct iovec part;
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = space.bytes,
                         .msg_controllen = sizeof(space.bytes)};
    uint8_t *where;
    ssize_t n;
    int fd = -1, rc, whole;

    kt_buf_reset(storage); // wipes: a reload carries the server key
    rc = kt_buf_reserve(storage, KTS_CONTROL_MAX, &where);
    if (rc)
        return rc;
    part = (struct iovec){where, KTS_CONTROL_MAX};
    do
        n = recvmsg(control_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? KT_ERR_AGAIN : KT_ERR_NETWORK;
    whole = take_fd(&msg, &fd) && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    if (n == 0) {
        if (fd >= 0)
            close(fd);
        return KT_ERR_NETWORK;
    }
    unsigned type = n >= HEADER ? (unsigned)where[0] << 8 | where[1] : 0;
    if (!whole || type < KTS_CTL_LINK || type > KTS_CTL_DATABASE_LOST || where[2] || where[3]) {
        if (fd >= 0)
            close(fd);
        return KT_ERR_PROTOCOL;
    }
    kt_buf_commit(storage, (size_t)n);
    size_t len = (size_t)n - HEADER;
    message->type = (enum kts_control_type)type;
    message->fd = fd;
    message->payload = (struct kt_buf){where + HEADER, len, len, 0, len};
    return 0;
}
