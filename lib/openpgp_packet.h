// SPDX-License-Identifier: Apache-2.0
// Packet headers and fields of OpenPGP, shared by openpgp.c and openpgp_key.c only.
#ifndef KT_OPENPGP_PACKET_H
#define KT_OPENPGP_PACKET_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

// Packet tags (RFC 4880 section 4.3, RFC 9580 section 5; 20 is GnuPG's).
enum kt_packet_tag {
    KT_TAG_PKESK = 1,
    KT_TAG_SIGNATURE = 2,
    KT_TAG_SKESK = 3,
    KT_TAG_ONE_PASS = 4,
    KT_TAG_SECRET_KEY = 5,
    KT_TAG_PUBLIC_KEY = 6,
    KT_TAG_SECRET_SUBKEY = 7,
    KT_TAG_COMPRESSED = 8,
    KT_TAG_ENCRYPTED = 9,
    KT_TAG_MARKER = 10,
    KT_TAG_LITERAL = 11,
    KT_TAG_USER_ID = 13,
    KT_TAG_PUBLIC_SUBKEY = 14,
    KT_TAG_USER_ATTRIBUTE = 17,
    KT_TAG_SEIPD = 18,
    KT_TAG_AEAD = 20,
};

// Unread bytes of the input, or of a packet's body.
struct kt_packet_reader {
    const uint8_t *at;
    size_t left;
};

struct kt_packet {
    unsigned tag;
    const uint8_t *body; // points into the input
    size_t len;          // bytes at `body`: the whole body, or its first part
    size_t total;        // bytes of all parts
    const char *problem; // why the header was refused, or NULL
    const char *hint;    // for `problem`, or NULL
};

// Reads one packet and moves behind it; all its bytes are there. KT_ERR_INVALID or
// KT_ERR_TRUNCATED with `problem` set; `tag` is right as soon as a first byte was one of a packet.
int kt_packet_next(struct kt_packet_reader *reader, struct kt_packet *packet) KT_MUST_CHECK;

// Fields of a body. KT_ERR_TRUNCATED when there are fewer bytes.
struct kt_packet_reader kt_packet_body(const struct kt_packet *packet);
int kt_packet_skip(struct kt_packet_reader *body, size_t n) KT_MUST_CHECK;
int kt_packet_u8(struct kt_packet_reader *body, unsigned *value) KT_MUST_CHECK;
// Skips a length octet and that many bytes; 0 and 255 are refused (reserved in RFC 6637).
int kt_packet_skip_short(struct kt_packet_reader *body) KT_MUST_CHECK;
// Skips `count` multiprecision integers (RFC 4880 section 3.2) of 1 to 16384 bits.
int kt_packet_skip_mpis(struct kt_packet_reader *body, int count) KT_MUST_CHECK;
// The eight bytes of a key id.
uint64_t kt_packet_key_id(const uint8_t *bytes);

// 1 when the input is ASCII armor rather than packets.
int kt_packet_is_armor(const void *bytes, size_t n);

#endif
