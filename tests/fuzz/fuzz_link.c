// SPDX-License-Identifier: Apache-2.0
// Fuzz target: what another process of the server sends through a link. Whole and in pieces it is
// the same messages, and what is sent on is read as it was. The first byte chooses the pieces.
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kts/link.h"
#include "lib/digest.h"
#include "tests/fuzz/fuzz.h"

#define BYTES_MAX 65536

// A summary of what came: number of messages, hash over all of them, and how it ended.
struct seen {
    int count;
    uint8_t hash[KT_SHA256_LEN];
    int broken;
};

static void take(struct seen *seen, const struct kts_message *message)
{
    size_t n = kt_buf_left(&message->payload);
    uint8_t *all = malloc(KT_SHA256_LEN + 10 + n);

    fuzz_must(all != NULL && n <= KTS_MESSAGE_MAX);
    memcpy(all, seen->hash, KT_SHA256_LEN);
    memcpy(all + KT_SHA256_LEN, &message->type, 2);
    memcpy(all + KT_SHA256_LEN + 2, &message->id, 8);
    if (n > 0)
        memcpy(all + KT_SHA256_LEN + 10, kt_buf_ptr(&message->payload), n);
    fuzz_must(kt_sha256(all, KT_SHA256_LEN + 10 + n, seen->hash) == 0);
    seen->count++;
    free(all);
}

static void receive(struct kts_link *link, struct kts_link *echo, struct seen *seen)
{
    struct kts_message message;
    int rc = kts_link_receive(link);

    while (seen->broken == 0 && (rc = kts_link_next(link, &message)) == 1) {
        take(seen, &message);
        if (echo != NULL)
            fuzz_must(kts_link_send(echo, message.type, message.id, kt_buf_ptr(&message.payload),
                                    kt_buf_left(&message.payload)) == 0);
    }
    if (rc < 0 && seen->broken == 0) {
        fuzz_must(rc == KT_ERR_PROTOCOL || rc == KT_ERR_NETWORK);
        seen->broken = rc;
    }
}

static void run(const uint8_t *bytes, size_t n, size_t piece, struct kts_link *echo,
                struct seen *seen)
{
    struct kts_link *link = NULL;
    int fds[2];

    fuzz_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    fuzz_must(kts_link_new(fds[0], &link) == 0);
    for (size_t at = 0; at < n && seen->broken == 0; at += piece) {
        if (piece > n - at)
            piece = n - at;
        fuzz_must(send(fds[1], bytes + at, piece, MSG_DONTWAIT) == (ssize_t)piece);
        receive(link, echo, seen);
    }
    kts_link_free(link);
    close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct seen whole = {0}, pieces = {0}, echoed = {0};
    struct kts_link *to = NULL, *from = NULL;
    size_t piece = 1 + fuzz_byte(&input);
    int fds[2];

    if (input.left > BYTES_MAX)
        return 0;
    if (piece < input.left / 512)
        piece = input.left / 512;
    fuzz_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    fuzz_must(kts_link_new(fds[0], &to) == 0 && kts_link_new(fds[1], &from) == 0);
    run(input.at, input.left, input.left + 1, to, &whole);
    run(input.at, input.left, piece, NULL, &pieces);
    fuzz_must(whole.count == pieces.count && whole.broken == pieces.broken);
    fuzz_same(whole.hash, KT_SHA256_LEN, pieces.hash, KT_SHA256_LEN);
    while (kts_link_flush(to) == KT_ERR_AGAIN || echoed.count < whole.count)
        receive(from, NULL, &echoed);
    fuzz_same(whole.hash, KT_SHA256_LEN, echoed.hash, KT_SHA256_LEN);
    kts_link_free(to);
    kts_link_free(from);
    return 0;
}
