// SPDX-License-Identifier: Apache-2.0
// The form of encrypted OpenPGP messages that do not fit into memory.
#include "lib/openpgp_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/openpgp_packet.h"

#define HEAD_MAX    ((size_t)256 * 1024) // session keys of all recipients that are allowed
#define HEAD_BLOCK  ((size_t)64 * 1024)
#define LENGTH_MAX  5   // bytes of a length
#define PARTIAL_MIN 512 // RFC 4880 section 4.2.2.4
#define DATA_SHOWN  512 // bytes of the data packet that are looked at

enum state {
    HEAD, // session keys, and the beginning of the data packet
    BODY, // inside of the data packet
    WHOLE,
};

struct kt_openpgp_stream {
    enum state state;
    struct kt_openpgp_message message;
    uint8_t *head; // HEAD_MAX bytes and room for what kt_openpgp_check_message is shown
    size_t head_len;
    size_t at;                  // of the first packet of the head that was not walked over
    uint64_t left;              // of the present part of the data packet
    int is_partial;             // another part follows
    uint8_t length[LENGTH_MAX]; // the beginning of the next part's length
    size_t length_len;
};

struct header {
    unsigned tag;
    size_t size; // of the header itself
    uint64_t len;
    int is_partial;
};

static int not_ciphertext(struct kt_error *error, const char *hint, const char *what)
{
    return kt_error_set(error, KT_ERR_NOT_CIPHERTEXT, hint, "not an encrypted OpenPGP message: %s",
                        what);
}

static int truncated(struct kt_error *error)
{
    return not_ciphertext(error, "send all of the file", "truncated");
}

static uint64_t number(const uint8_t *at, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum = sum << 8 | at[i];
    return sum;
}

// RFC 4880 section 4.2.2. KT_ERR_AGAIN when more bytes are needed.
static int read_length(const uint8_t *at, size_t n, struct header *header)
{
    header->is_partial = 0;
    if (n == 0)
        return KT_ERR_AGAIN;
    header->size = at[0] < 192 ? 1 : at[0] < 224 ? 2 : at[0] < 255 ? 1 : 5;
    if (n < header->size)
        return KT_ERR_AGAIN;
    if (at[0] < 192) {
        header->len = at[0];
    } else if (at[0] < 224) {
        header->len = ((uint64_t)(at[0] - 192) << 8) + at[1] + 192;
    } else if (at[0] < 255) {
        header->len = (uint64_t)1 << (at[0] & 0x1f);
        header->is_partial = 1;
    } else {
        header->len = number(at + 1, 4);
    }
    return 0;
}

// RFC 4880 section 4.2. KT_ERR_AGAIN, or KT_ERR_INVALID for what kt_packet_next refuses, too.
static int read_header(const uint8_t *at, size_t n, struct header *header)
{
    size_t octets;
    int rc;

    if (n == 0)
        return KT_ERR_AGAIN;
    if (!(at[0] & 0x80))
        return KT_ERR_INVALID;
    if (at[0] & 0x40) {
        header->tag = at[0] & 0x3f;
        rc = read_length(at + 1, n - 1, header);
        header->size++;
        return rc;
    }
    header->tag = (at[0] >> 2) & 0x0f;
    header->is_partial = 0;
    if ((at[0] & 3) == 3)
        return KT_ERR_INVALID;
    octets = (size_t)1 << (at[0] & 3);
    header->size = 1 + octets;
    if (n < header->size)
        return KT_ERR_AGAIN;
    header->len = number(at + 1, octets);
    return 0;
}

// kt_openpgp_check_message has the rules and the words. It is shown all session keys and the
// beginning of the data packet, as a packet of just that length.
static int check_head(struct kt_openpgp_stream *stream, const struct header *data,
                      struct kt_error *error)
{
    size_t shown = data->len < DATA_SHOWN ? (size_t)data->len : DATA_SHOWN;
    const uint8_t packet[] = {(uint8_t)(0xc0 | data->tag), 255,           0, 0,
                              (uint8_t)(shown >> 8),       (uint8_t)shown};
    uint8_t *copy;
    int rc;

    if (data->is_partial && data->len < PARTIAL_MIN)
        return not_ciphertext(error, NULL, "a first part of less than 512 bytes");
    copy = malloc(stream->at + sizeof(packet) + shown);
    if (!copy)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory for a message");
    memcpy(copy, stream->head, stream->at);
    memcpy(copy + stream->at, packet, sizeof(packet));
    memcpy(copy + stream->at + sizeof(packet), stream->head + stream->at + data->size, shown);
    rc = kt_openpgp_check_message(copy, stream->at + sizeof(packet) + shown, &stream->message,
                                  error);
    free(copy);
    return rc;
}

// The head so far is refused by kt_openpgp_check_message, too: it says why.
static int refuse_head(struct kt_openpgp_stream *stream, struct kt_error *error)
{
    struct kt_openpgp_message ignored;
    int rc = kt_openpgp_check_message(stream->head, stream->head_len, &ignored, error);

    return rc != 0 ? rc : not_ciphertext(error, NULL, "a malformed packet");
}

static int put_body(struct kt_openpgp_stream *stream, const uint8_t *bytes, size_t n,
                    struct kt_error *error)
{
    struct header header;

    while (n > 0 && stream->state == BODY) {
        size_t part = stream->left < n ? (size_t)stream->left : n;
        stream->left -= part;
        bytes += part;
        n -= part;
        if (stream->left == 0 && !stream->is_partial)
            stream->state = WHOLE;
        if (n == 0 || stream->state == WHOLE)
            break;
        stream->length[stream->length_len++] = *bytes++;
        n--;
        if (read_length(stream->length, stream->length_len, &header) == 0) {
            stream->length_len = 0;
            stream->left = header.len;
            stream->is_partial = header.is_partial;
            if (header.len == 0 && !header.is_partial)
                stream->state = WHOLE;
        }
    }
    if (n > 0)
        return not_ciphertext(error, "send the message alone", "bytes behind its end");
    return 0;
}

// Walks over the packets that have come as a whole, up to the data packet.
static int walk_head(struct kt_openpgp_stream *stream, struct kt_error *error)
{
    struct header header = {0};
    size_t have;
    int rc;

    for (;;) {
        have = stream->head_len - stream->at;
        rc = read_header(stream->head + stream->at, have, &header);
        if (rc == KT_ERR_INVALID)
            return refuse_head(stream, error);
        if (rc == KT_ERR_AGAIN && have == 0)
            return 0;
        if (header.tag == KT_TAG_SEIPD || header.tag == KT_TAG_AEAD) {
            if (rc == KT_ERR_AGAIN ||
                have - header.size < (header.len < DATA_SHOWN ? header.len : DATA_SHOWN))
                return 0;
            break;
        }
        if (header.tag != KT_TAG_PKESK && header.tag != KT_TAG_SKESK && header.tag != KT_TAG_MARKER)
            return refuse_head(stream, error);
        if (rc == KT_ERR_AGAIN)
            return 0;
        if (header.is_partial)
            return refuse_head(stream, error);
        if (header.len > HEAD_MAX)
            return not_ciphertext(error, NULL, "a malformed session key");
        if (have - header.size < header.len)
            return 0;
        stream->at += header.size + (size_t)header.len;
    }
    rc = check_head(stream, &header, error);
    if (rc != 0)
        return rc;
    stream->state = header.len == 0 && !header.is_partial ? WHOLE : BODY;
    stream->left = header.len;
    stream->is_partial = header.is_partial;
    have -= header.size;
    return put_body(stream, stream->head + stream->at + header.size, have, error);
}

int kt_openpgp_stream_new(struct kt_openpgp_stream **stream)
{
    struct kt_openpgp_stream *made = calloc(1, sizeof(*made));

    if (made)
        made->head = malloc(HEAD_MAX);
    if (!made || !made->head) {
        free(made);
        return KT_ERR_NO_MEMORY;
    }
    *stream = made;
    return 0;
}

void kt_openpgp_stream_free(struct kt_openpgp_stream *stream)
{
    if (stream)
        free(stream->head);
    free(stream);
}

int kt_openpgp_stream_put(struct kt_openpgp_stream *stream, const void *bytes, size_t n,
                          struct kt_error *error)
{
    const uint8_t *at = bytes;

    while (n > 0 && stream->state == HEAD) {
        size_t part = HEAD_MAX - stream->head_len;
        int rc;
        if (part == 0)
            return kt_error_set(error, KT_ERR_TOO_LARGE, NULL,
                                "the message's session keys are larger than %zu bytes", HEAD_MAX);
        if (part > n)
            part = n;
        memcpy(stream->head + stream->head_len, at, part);
        stream->head_len += part;
        at += part;
        n -= part;
        rc = walk_head(stream, error);
        if (rc != 0)
            return rc;
    }
    return put_body(stream, at, n, error);
}

int kt_openpgp_stream_is_whole(const struct kt_openpgp_stream *stream)
{
    return stream->state == WHOLE;
}

const struct kt_openpgp_message *kt_openpgp_stream_message(const struct kt_openpgp_stream *stream)
{
    return &stream->message;
}

int kt_openpgp_stream_end(struct kt_openpgp_stream *stream, struct kt_error *error)
{
    if (stream->state == HEAD)
        return refuse_head(stream, error);
    return stream->state == BODY ? truncated(error) : 0;
}

// Reads some bytes at `offset`; 0 at the end.
static int read_at(int fd, uint8_t *bytes, size_t size, off_t offset, size_t *n,
                   struct kt_error *error)
{
    ssize_t got;

    do
        got = pread(fd, bytes, size, offset);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return kt_error_errno(error, "cannot read the message");
    *n = (size_t)got;
    return 0;
}

int kt_openpgp_check_file(int fd, struct kt_openpgp_message *message, struct kt_error *error)
{
    struct kt_openpgp_stream *stream = NULL;
    uint8_t *block = malloc(HEAD_BLOCK);
    struct stat st;
    uint64_t offset = 0, size;
    int rc = kt_openpgp_stream_new(&stream);

    if (rc != 0 || block == NULL) {
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory for a message");
        goto out;
    }
    if (fstat(fd, &st) != 0) {
        rc = kt_error_errno(error, "cannot look at the message");
        goto out;
    }
    size = (uint64_t)st.st_size;
    while (rc == 0 && offset < size) {
        size_t n = 0;
        if (stream->state == BODY && stream->left > LENGTH_MAX) {
            // All but the last byte: that there is one shows when it is read.
            uint64_t part = stream->left - 1 < size - offset ? stream->left - 1 : size - offset;
            stream->left -= part;
            offset += part;
            continue;
        }
        rc = read_at(fd, block, stream->state == HEAD ? HEAD_BLOCK : LENGTH_MAX + 1, (off_t)offset,
                     &n, error);
        if (rc == 0 && n == 0)
            break;
        if (rc == 0)
            rc = kt_openpgp_stream_put(stream, block, n, error);
        offset += n;
    }
    if (rc == 0)
        rc = kt_openpgp_stream_end(stream, error);
    if (rc == 0)
        *message = stream->message;
out:
    kt_openpgp_stream_free(stream);
    free(block);
    return rc;
}
