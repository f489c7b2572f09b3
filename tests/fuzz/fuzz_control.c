// SPDX-License-Identifier: Apache-2.0
// Fuzz target: datagrams between master and children. What is refused leaves no descriptor open. The
// first byte says how many descriptors go with it.
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kts/process.h"
#include "tests/fuzz/fuzz.h"

#define FDS_MAX 3

static void send_with(int socket_fd, const uint8_t *bytes, size_t n, size_t fds)
{
    int given[FDS_MAX];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(given))];
    } space;
    uint8_t copy[2048];
    struct iovec part = {copy, n};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

    memcpy(copy, bytes, n);
    for (size_t i = 0; i < FDS_MAX; i++)
        given[i] = socket_fd;
    if (fds > 0) {
        memset(&space, 0, sizeof(space));
        msg.msg_control = space.bytes;
        msg.msg_controllen = CMSG_SPACE(fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fds * sizeof(int));
        memcpy(CMSG_DATA(c), given, fds * sizeof(int));
    }
    fuzz_must(sendmsg(socket_fd, &msg, MSG_DONTWAIT) == (ssize_t)n);
}

// The lowest number that is free: it grows when a descriptor is left behind.
static int lowest_free(void)
{
    int fd = dup(2);

    fuzz_must(fd >= 0);
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    size_t given = fuzz_byte(&input) % (FDS_MAX + 1);
    struct kt_buf storage = KT_BUF_INIT(KTS_CONTROL_MAX);
    struct kts_control_message message = {.fd = -1};
    int fds[2], before, rc;

    if (input.left == 0 || input.left > 2048)
        return 0;
    fuzz_must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    before = lowest_free();
    send_with(fds[0], input.at, input.left, given);
    rc = kts_control_receive(fds[1], &storage, &message);
    if (rc == 0) {
        fuzz_must(message.type >= KTS_CTL_LINK && message.type <= KTS_CTL_DATABASE_LOST);
        fuzz_must((message.fd >= 0) == (given == 1) && given <= 1);
        fuzz_must(kt_buf_left(&message.payload) + 4 == input.left);
    }
    if (rc == 0 && message.fd >= 0)
        close(message.fd);
    fuzz_must(lowest_free() == before);
    kt_buf_free(&storage);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
