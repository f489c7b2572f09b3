// SPDX-License-Identifier: Apache-2.0
// The form, fingerprint and key ids of an OpenPGP public key (RFC 4880 sections 11.1 and 12.2).
#include "lib/openpgp.h"

#include <string.h>

#include <openssl/evp.h>

#include "lib/openpgp_packet.h"

#define KEY_IDS_MAX (sizeof(((struct kt_openpgp_key *)0)->key_ids) / sizeof(uint64_t))

// What algorithm and signatures say of a part.
struct part {
    int can_encrypt; // its algorithm can
    int has_flags, flags;
    int is_revoked;
};

struct walk {
    struct kt_openpgp_key key;
    struct part parts[KEY_IDS_MAX]; // in the order of key.key_ids
    int user_ids;
    int in_subkeys;      // user ids stand before the first subkey
    int needs_signature; // the user id or subkey before has none yet
};

static int invalid(struct kt_error *error, const char *hint, const char *what)
{
    return kt_error_set(error, KT_ERR_OPENPGP_KEY_INVALID, hint, "not an OpenPGP public key: %s",
                        what);
}

// Key material by algorithm (RFC 9580 section 5.5.5): it must fill the body.
static int check_material(struct kt_packet_reader *body, unsigned algorithm)
{
    int rc = 0;
    switch (algorithm) {
    case 1: // RSA
    case 2:
    case 3:
        rc = kt_packet_skip_mpis(body, 2);
        break;
    case 16: // Elgamal
        rc = kt_packet_skip_mpis(body, 3);
        break;
    case 17: // DSA
        rc = kt_packet_skip_mpis(body, 4);
        break;
    case 18: // ECDH: curve, point, KDF parameters
    case 19: // ECDSA
    case 22: // EdDSA
        rc = kt_packet_skip_short(body);
        if (rc == 0)
            rc = kt_packet_skip_mpis(body, 1);
        if (rc == 0 && algorithm == 18)
            rc = kt_packet_skip_short(body);
        break;
    case 25: // X25519
    case 27: // Ed25519
        rc = kt_packet_skip(body, 32);
        break;
    case 26: // X448
        rc = kt_packet_skip(body, 56);
        break;
    case 28: // Ed448
        rc = kt_packet_skip(body, 57);
        break;
    default:
        return KT_ERR_INVALID;
    }
    return rc == 0 && body->left > 0 ? KT_ERR_INVALID : rc;
}

// Signature types of RFC 4880 section 5.2.1 and the subpacket "key flags" (section 5.2.3.21).
enum {
    SIGNATURE_KEY_REVOKED = 0x20,
    SIGNATURE_SUBKEY_REVOKED = 0x28,
    SUBPACKET_KEY_FLAGS = 27,
    FLAGS_ENCRYPT = 0x04 | 0x08, // of communications, of storage
};

// The length of a subpacket (RFC 4880 section 5.2.3.1).
static int subpacket_length(struct kt_packet_reader *at, size_t *length)
{
    unsigned first = 0, next = 0;
    int rc = kt_packet_u8(at, &first);

    *length = first;
    if (rc == 0 && first >= 192 && first < 255) {
        rc = kt_packet_u8(at, &next);
        *length = ((size_t)(first - 192) << 8) + next + 192;
    } else if (rc == 0 && first == 255) {
        *length = 0;
        for (int i = 0; i < 4 && rc == 0; i++) {
            rc = kt_packet_u8(at, &next);
            *length = *length << 8 | next;
        }
    }
    return rc == 0 && *length > at->left ? KT_ERR_TRUNCATED : rc;
}

// What a signature says of the part before it. One that cannot be read says nothing.
static void read_signature(struct walk *walk, const struct kt_packet *packet)
{
    struct part *part = &walk->parts[walk->key.key_id_count - 1];
    struct kt_packet_reader body = kt_packet_body(packet), area;
    unsigned version = 0, type = 0, high = 0, low = 0;
    size_t length = 0;

    if (kt_packet_u8(&body, &version) != 0 || version != 4 || kt_packet_u8(&body, &type) != 0 ||
        kt_packet_skip(&body, 2) != 0 || kt_packet_u8(&body, &high) != 0 ||
        kt_packet_u8(&body, &low) != 0 || (high << 8 | low) > body.left)
        return;
    if (type == SIGNATURE_KEY_REVOKED)
        walk->parts[0].is_revoked = 1;
    if (type == SIGNATURE_SUBKEY_REVOKED)
        part->is_revoked = 1;
    area = (struct kt_packet_reader){body.at, high << 8 | low}; // those that are signed
    while (area.left > 0 && subpacket_length(&area, &length) == 0 && length > 0) {
        if ((area.at[0] & 0x7f) == SUBPACKET_KEY_FLAGS && length >= 2) {
            part->has_flags = 1;
            part->flags |= area.at[1];
        }
        area.at += length;
        area.left -= length;
    }
}

static void find_encryption_ids(struct walk *walk)
{
    struct kt_openpgp_key *key = &walk->key;

    for (size_t i = 0; i < key->key_id_count; i++) {
        const struct part *part = &walk->parts[i];
        if (part->can_encrypt && !part->is_revoked && !walk->parts[0].is_revoked &&
            (!part->has_flags || part->flags & FLAGS_ENCRYPT))
            key->encryption_ids[key->encryption_count++] = key->key_ids[i];
    }
}

// RSA for both, Elgamal, ECDH, X25519, X448.
static int can_encrypt(unsigned algorithm)
{
    return algorithm == 1 || algorithm == 2 || algorithm == 16 || algorithm == 18 ||
           algorithm == 25 || algorithm == 26;
}

// SHA-1 of 0x99, the body's length in two octets, and the body. SHA-1 is what version 4 defines;
// a second preimage, which alone would help an attacker here, is not known for it.
static int fingerprint(const struct kt_packet *packet, uint8_t out[KT_OPENPGP_FINGERPRINT_LEN])
{
    uint8_t head[3] = {0x99, (uint8_t)(packet->len >> 8), (uint8_t)packet->len};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = ctx != NULL && EVP_DigestInit_ex2(ctx, EVP_sha1(), NULL) == 1 &&
             EVP_DigestUpdate(ctx, head, sizeof(head)) == 1 &&
             EVP_DigestUpdate(ctx, packet->body, packet->len) == 1 &&
             EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : KT_ERR_CRYPTO;
}

static int read_key(struct walk *walk, const struct kt_packet *packet, struct kt_error *error)
{
    struct kt_packet_reader body = kt_packet_body(packet);
    uint8_t print[KT_OPENPGP_FINGERPRINT_LEN];
    unsigned version = 0, algorithm = 0;
    int rc = kt_packet_u8(&body, &version);
    if (rc == 0 && version != 4)
        return kt_error_set(error, KT_ERR_OPENPGP_KEY_INVALID, "send a version 4 key",
                            "OpenPGP key of version %u", version);
    if (rc == 0)
        rc = kt_packet_skip(&body, 4); // time of creation
    if (rc == 0)
        rc = kt_packet_u8(&body, &algorithm);
    if (rc == 0)
        rc = check_material(&body, algorithm);
    if (rc != 0 || packet->len > UINT16_MAX)
        return invalid(error, NULL, "malformed or of an unknown algorithm");
    if (walk->key.key_id_count == KEY_IDS_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "more than %zu subkeys",
                            KEY_IDS_MAX - 1);
    rc = fingerprint(packet, print);
    if (rc != 0)
        return kt_error_set(error, rc, NULL, "SHA-1 is not available");
    if (walk->key.key_id_count == 0)
        memcpy(walk->key.fingerprint, print, sizeof(print));
    walk->parts[walk->key.key_id_count] = (struct part){.can_encrypt = can_encrypt(algorithm)};
    walk->key.key_ids[walk->key.key_id_count++] = kt_packet_key_id(print + 12);
    return 0;
}

// One packet behind the primary key.
static int read_part(struct walk *walk, const struct kt_packet *packet, struct kt_error *error)
{
    switch (packet->tag) {
    case KT_TAG_SIGNATURE:
        walk->needs_signature = 0;
        read_signature(walk, packet);
        return 0;
    case KT_TAG_USER_ID:
    case KT_TAG_USER_ATTRIBUTE:
        if (walk->in_subkeys)
            return invalid(error, NULL, "a user id behind a subkey");
        if (walk->needs_signature)
            return invalid(error, NULL, "a user id without a signature");
        if (packet->tag == KT_TAG_USER_ID)
            walk->user_ids++;
        walk->needs_signature = 1;
        return 0;
    case KT_TAG_PUBLIC_SUBKEY:
        if (walk->needs_signature)
            return invalid(error, NULL, "a part without a signature");
        walk->in_subkeys = 1;
        walk->needs_signature = 1;
        return read_key(walk, packet, error);
    case KT_TAG_PUBLIC_KEY:
        return invalid(error, "export one key: gpg --export FINGERPRINT", "more than one key");
    case KT_TAG_SECRET_KEY:
    case KT_TAG_SECRET_SUBKEY:
        return invalid(error, "never send it; export the public key: gpg --export FINGERPRINT",
                       "it holds a secret key");
    default:
        return invalid(error, NULL, "a packet that has no place in one");
    }
}

int kt_openpgp_read_key(const void *bytes, size_t n, struct kt_openpgp_key *key,
                        struct kt_error *error)
{
    struct walk walk = {0};
    struct kt_packet_reader reader = {bytes, n};
    if (n == 0)
        return invalid(error, NULL, "empty");
    if (kt_packet_is_armor(bytes, n))
        return invalid(error, "send it in binary form: gpg --export without --armor", "armored");
    while (reader.left > 0) {
        struct kt_packet packet;
        int rc = kt_packet_next(&reader, &packet);
        // A secret key is named as such even when it is cut short.
        if (packet.tag == KT_TAG_SECRET_KEY || packet.tag == KT_TAG_SECRET_SUBKEY)
            return read_part(&walk, &packet, error);
        if (rc != 0)
            return invalid(error, packet.hint, packet.problem);
        if (packet.total != packet.len)
            return invalid(error, NULL, "partial lengths");
        if (walk.key.key_id_count > 0)
            rc = read_part(&walk, &packet, error);
        else if (packet.tag == KT_TAG_PUBLIC_KEY)
            rc = read_key(&walk, &packet, error);
        else
            rc = invalid(error, NULL, "it does not begin with a public key packet");
        if (rc != 0)
            return rc;
    }
    if (walk.user_ids == 0)
        return invalid(error, NULL, "no user id");
    if (walk.needs_signature)
        return invalid(error, NULL, "its last part has no signature");
    find_encryption_ids(&walk);
    *key = walk.key;
    return 0;
}
