// SPDX-License-Identifier: Apache-2.0
// Packet headers and fields of OpenPGP (RFC 4880 section 4.2): every length is checked.
#include "lib/openpgp_packet.h"

#include <string.h>

#define PARTIAL_FIRST_MIN 512 // RFC 4880 section 4.2.2.4
#define MPI_BITS_MAX      16384

static int refuse(struct kt_packet *packet, int code, const char *problem, const char *hint)
{
    packet->problem = problem;
    packet->hint = hint;
    return code;
}

static int truncated(struct kt_packet *packet)
{
    return refuse(packet, KT_ERR_TRUNCATED, "truncated", "send all of the file");
}

static int read_number(struct kt_packet_reader *reader, size_t octets, size_t *value)
{
    size_t sum = 0;
    if (reader->left < octets)
        return KT_ERR_TRUNCATED;
    for (size_t i = 0; i < octets; i++)
        sum = sum << 8 | reader->at[i];
    reader->at += octets;
    reader->left -= octets;
    *value = sum;
    return 0;
}

// RFC 4880 section 4.2.2. *partial = 1 when another part follows.
static int new_length(struct kt_packet_reader *reader, size_t *len, int *partial)
{
    size_t first = 0, more = 0;
    *partial = 0;
    if (read_number(reader, 1, &first) != 0)
        return KT_ERR_TRUNCATED;
    if (first < 192) {
        *len = first;
    } else if (first < 224) {
        if (read_number(reader, 1, &more) != 0)
            return KT_ERR_TRUNCATED;
        *len = ((first - 192) << 8) + more + 192;
    } else if (first < 255) {
        *len = (size_t)1 << (first & 0x1f);
        *partial = 1;
    } else {
        return read_number(reader, 4, len);
    }
    return 0;
}

// Walks over the parts behind the first one.
static int following_parts(struct kt_packet_reader *reader, struct kt_packet *packet)
{
    int partial = 1;
    while (partial) {
        size_t len = 0;
        if (new_length(reader, &len, &partial) != 0 || len > reader->left)
            return truncated(packet);
        packet->total += len;
        reader->at += len;
        reader->left -= len;
    }
    return 0;
}

static int may_be_partial(unsigned tag)
{
    return tag == KT_TAG_COMPRESSED || tag == KT_TAG_ENCRYPTED || tag == KT_TAG_LITERAL ||
           tag == KT_TAG_SEIPD || tag == KT_TAG_AEAD;
}

int kt_packet_next(struct kt_packet_reader *reader, struct kt_packet *packet)
{
    int partial = 0;
    size_t head = 0, len = 0;
    *packet = (struct kt_packet){0};
    if (read_number(reader, 1, &head) != 0)
        return truncated(packet);
    if (!(head & 0x80))
        return refuse(packet, KT_ERR_INVALID, "no OpenPGP packet", NULL);
    if (head & 0x40) {
        packet->tag = head & 0x3f;
        if (new_length(reader, &len, &partial) != 0)
            return truncated(packet);
    } else {
        packet->tag = (head >> 2) & 0x0f;
        if ((head & 3) == 3)
            return refuse(packet, KT_ERR_INVALID, "a packet of indeterminate length",
                          "its end cannot be checked; make the message with a current gpg");
        if (read_number(reader, (size_t)1 << (head & 3), &len) != 0)
            return truncated(packet);
    }
    if (partial && !may_be_partial(packet->tag))
        return refuse(packet, KT_ERR_INVALID, "partial lengths outside a data packet", NULL);
    if (partial && len < PARTIAL_FIRST_MIN)
        return refuse(packet, KT_ERR_INVALID, "a first part of less than 512 bytes", NULL);
    if (len > reader->left)
        return truncated(packet);
    packet->body = reader->at;
    packet->len = len;
    packet->total = len;
    reader->at += len;
    reader->left -= len;
    return partial ? following_parts(reader, packet) : 0;
}

struct kt_packet_reader kt_packet_body(const struct kt_packet *packet)
{
    return (struct kt_packet_reader){packet->body, packet->len};
}

int kt_packet_skip(struct kt_packet_reader *body, size_t n)
{
    if (body->left < n)
        return KT_ERR_TRUNCATED;
    body->at += n;
    body->left -= n;
    return 0;
}

int kt_packet_u8(struct kt_packet_reader *body, unsigned *value)
{
    size_t number = 0;
    int rc = read_number(body, 1, &number);
    *value = (unsigned)number;
    return rc;
}

int kt_packet_skip_short(struct kt_packet_reader *body)
{
    unsigned len = 0;
    int rc = kt_packet_u8(body, &len);
    if (rc != 0)
        return rc;
    return len == 0 || len == 255 ? KT_ERR_INVALID : kt_packet_skip(body, len);
}

int kt_packet_skip_mpis(struct kt_packet_reader *body, int count)
{
    for (int i = 0; i < count; i++) {
        size_t bits = 0;
        int rc = read_number(body, 2, &bits);
        if (rc != 0)
            return rc;
        if (bits == 0 || bits > MPI_BITS_MAX)
            return KT_ERR_INVALID;
        rc = kt_packet_skip(body, (bits + 7) / 8);
        if (rc != 0)
            return rc;
    }
    return 0;
}

uint64_t kt_packet_key_id(const uint8_t *bytes)
{
    uint64_t id = 0;
    for (int i = 0; i < 8; i++)
        id = id << 8 | bytes[i];
    return id;
}

int kt_packet_is_armor(const void *bytes, size_t n)
{
    static const char begin[] = "-----BEGIN PGP";
    const char *text = bytes;
    while (n > 0 && (*text == ' ' || *text == '\t' || *text == '\r' || *text == '\n')) {
        text++;
        n--;
    }
    return n >= sizeof(begin) - 1 && memcmp(text, begin, sizeof(begin) - 1) == 0;
}
