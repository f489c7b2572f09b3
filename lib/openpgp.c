// SPDX-License-Identifier: Apache-2.0
// The form of an encrypted OpenPGP message: session-key packets, then one protected data packet.
#include "lib/openpgp.h"

#include <string.h>

#include "lib/openpgp_packet.h"

#define HINT_ENCRYPT "encrypt it first: gpg --encrypt --recipient KEY FILE"
#define SKESK_MAX    256 // bytes; the longest one of RFC 9580 is well below

// What the walk has seen. Session keys of RFC 4880 (versions 3 to 5) go with data packets of
// RFC 4880 and GnuPG, those of RFC 9580 (version 6) with its version 2 data packet; never mixed.
struct walk {
    struct kt_openpgp_message message;
    int has_old;
    int has_new;
};

static int not_ciphertext(struct kt_error *error, const char *hint, const char *what)
{
    return kt_error_set(error, KT_ERR_NOT_CIPHERTEXT, hint, "not an encrypted OpenPGP message: %s",
                        what);
}

// Packets that say what was sent instead. NULL for packets that may stand in a message.
static const char *wrong_packet(unsigned tag, const char **hint)
{
    *hint = HINT_ENCRYPT;
    switch (tag) {
    case KT_TAG_SIGNATURE:
    case KT_TAG_ONE_PASS:
        return "signed only";
    case KT_TAG_COMPRESSED:
        return "compressed or signed only";
    case KT_TAG_LITERAL:
        return "literal data in the clear";
    case KT_TAG_SECRET_KEY:
    case KT_TAG_SECRET_SUBKEY:
        return "a secret key";
    case KT_TAG_PUBLIC_KEY:
    case KT_TAG_PUBLIC_SUBKEY:
        return "a public key";
    case KT_TAG_ENCRYPTED:
        *hint = "it would not show tampering; encrypt again with a current gpg";
        return "no integrity protection";
    case KT_TAG_PKESK:
    case KT_TAG_SKESK:
    case KT_TAG_MARKER:
    case KT_TAG_SEIPD:
    case KT_TAG_AEAD:
        return NULL;
    default:
        return "a packet that has no place in one";
    }
}

// The encrypted session key, by public-key algorithm (RFC 9580 section 5.1): it must fill `body`.
static int check_session_key(struct kt_packet_reader *body)
{
    unsigned algorithm = 0;
    int rc = kt_packet_u8(body, &algorithm);
    if (rc != 0)
        return rc;
    switch (algorithm) {
    case 1: // RSA
    case 2:
        rc = kt_packet_skip_mpis(body, 1);
        break;
    case 16: // Elgamal
        rc = kt_packet_skip_mpis(body, 2);
        break;
    case 18: // ECDH
        rc = kt_packet_skip_mpis(body, 1);
        if (rc == 0)
            rc = kt_packet_skip_short(body);
        break;
    case 25: // X25519
    case 26: // X448
        rc = kt_packet_skip(body, algorithm == 25 ? 32 : 56);
        if (rc == 0)
            rc = kt_packet_skip_short(body);
        break;
    default:
        return KT_ERR_INVALID;
    }
    return rc == 0 && body->left > 0 ? KT_ERR_INVALID : rc;
}

// The recipient of a version 6 packet: 0 when hidden. RFC 9580 section 5.1.2.
static int read_recipient_v6(struct kt_packet_reader *body, uint64_t *key_id)
{
    unsigned len = 0, key_version = 0;
    int rc = kt_packet_u8(body, &len);
    *key_id = 0;
    if (rc != 0 || len == 0)
        return rc;
    rc = kt_packet_u8(body, &key_version);
    if (rc != 0)
        return rc;
    if (!(key_version == 4 && len == 21) && !(key_version == 6 && len == 33))
        return KT_ERR_INVALID;
    if (body->left < len - 1)
        return KT_ERR_TRUNCATED;
    // The key id is the end of a version 4 fingerprint, the beginning of a version 6 one.
    *key_id = kt_packet_key_id(key_version == 4 ? body->at + 12 : body->at);
    return kt_packet_skip(body, len - 1);
}

static int read_pkesk(struct walk *walk, const struct kt_packet *packet, struct kt_error *error)
{
    struct kt_packet_reader body = kt_packet_body(packet);
    unsigned version = 0;
    uint64_t key_id = 0;
    int rc = kt_packet_u8(&body, &version);
    if (rc == 0 && version == 3) {
        walk->has_old = 1;
        if (body.left >= 8)
            key_id = kt_packet_key_id(body.at);
        rc = kt_packet_skip(&body, 8);
    } else if (rc == 0 && version == 6) {
        walk->has_new = 1;
        rc = read_recipient_v6(&body, &key_id);
    } else {
        rc = KT_ERR_INVALID;
    }
    if (rc == 0)
        rc = check_session_key(&body);
    if (rc != 0)
        return not_ciphertext(error, NULL, "a malformed session key");
    if (key_id == 0)
        return not_ciphertext(error, "encrypt it without --hidden-recipient and --throw-keyids",
                              "a hidden recipient");
    if (walk->message.recipients == KT_OPENPGP_RECIPIENTS_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "more than %d recipients",
                            KT_OPENPGP_RECIPIENTS_MAX);
    walk->message.key_ids[walk->message.recipients++] = key_id;
    return 0;
}

static int read_skesk(struct walk *walk, const struct kt_packet *packet, struct kt_error *error)
{
    struct kt_packet_reader body = kt_packet_body(packet);
    unsigned version = 0;
    int rc = kt_packet_u8(&body, &version);
    if (rc != 0 || version < 4 || version > 6 || body.left < 3 || body.left > SKESK_MAX)
        return not_ciphertext(error, NULL, "a malformed session key for a passphrase");
    if (version == 6)
        walk->has_new = 1;
    else
        walk->has_old = 1;
    if (walk->message.passphrases == KT_OPENPGP_RECIPIENTS_MAX)
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "more than %d passphrases",
                            KT_OPENPGP_RECIPIENTS_MAX);
    walk->message.passphrases++;
    return 0;
}

static int known_cipher(unsigned id)
{
    return (id >= 1 && id <= 4) || (id >= 7 && id <= 13);
}

// Cipher, AEAD mode and chunk size; nonce lengths are 16 (EAX), 15 (OCB), 12 (GCM).
static int check_aead_head(struct kt_packet_reader *body, unsigned chunk_max, unsigned mode_max,
                           unsigned *mode)
{
    unsigned cipher = 0, chunk = 0;
    if (kt_packet_u8(body, &cipher) != 0 || kt_packet_u8(body, mode) != 0 ||
        kt_packet_u8(body, &chunk) != 0)
        return KT_ERR_TRUNCATED;
    if (!known_cipher(cipher) || *mode < 1 || *mode > mode_max || chunk > chunk_max)
        return KT_ERR_INVALID;
    return 0;
}

// The head of the data packet and the shortest length that can hold what must be in it.
static int check_data(const struct walk *walk, const struct kt_packet *packet)
{
    struct kt_packet_reader body = kt_packet_body(packet);
    unsigned version = 0, mode = 0;
    if (kt_packet_u8(&body, &version) != 0)
        return KT_ERR_TRUNCATED;
    if (packet->tag == KT_TAG_AEAD) { // version, head, nonce, one octet and tag, final tag
        if (version != 1 || walk->has_new || check_aead_head(&body, 56, 2, &mode) != 0)
            return KT_ERR_INVALID;
        return packet->total < 4u + (mode == 1 ? 16u : 15u) + 1 + 16 + 16 ? KT_ERR_TRUNCATED : 0;
    }
    if (version == 1) { // version, one cipher block and two octets, modification detection code
        if (walk->has_new)
            return KT_ERR_INVALID;
        return packet->total < 1 + 8 + 2 + 22 ? KT_ERR_TRUNCATED : 0;
    }
    if (version == 2) { // version, head, salt, one octet and tag, final tag
        if (walk->has_old || check_aead_head(&body, 16, 3, &mode) != 0)
            return KT_ERR_INVALID;
        return packet->total < 4 + 32 + 1 + 16 + 16 ? KT_ERR_TRUNCATED : 0;
    }
    return KT_ERR_INVALID;
}

static int read_data(struct walk *walk, const struct kt_packet *packet, size_t left,
                     struct kt_error *error)
{
    if (walk->message.recipients == 0 && walk->message.passphrases == 0)
        return not_ciphertext(error, HINT_ENCRYPT, "no session key");
    if (walk->message.recipients == 0)
        return not_ciphertext(error, HINT_ENCRYPT, "encrypted to a passphrase only");
    if (check_data(walk, packet) != 0)
        return not_ciphertext(error, NULL, "a malformed data packet");
    if (left > 0)
        return kt_error_set(error, KT_ERR_NOT_CIPHERTEXT, "send the message alone",
                            "not an encrypted OpenPGP message: %zu bytes behind its end", left);
    return 0;
}

static int read_packet(struct walk *walk, const struct kt_packet *packet, size_t left, int *done,
                       struct kt_error *error)
{
    switch (packet->tag) {
    case KT_TAG_PKESK:
        return read_pkesk(walk, packet, error);
    case KT_TAG_SKESK:
        return read_skesk(walk, packet, error);
    case KT_TAG_MARKER:
        // Only its fixed content is skipped: no room for bytes in the clear.
        if (packet->len != 3 || memcmp(packet->body, "PGP", 3) != 0)
            return not_ciphertext(error, NULL, "a malformed marker packet");
        return 0;
    default: // the data packet: wrong_packet() has refused all others
        *done = 1;
        return read_data(walk, packet, left, error);
    }
}

int kt_openpgp_check_message(const void *bytes, size_t n, struct kt_openpgp_message *message,
                             struct kt_error *error)
{
    struct walk walk = {0};
    struct kt_packet_reader reader = {bytes, n};
    int done = 0;
    if (n == 0)
        return not_ciphertext(error, HINT_ENCRYPT, "empty");
    if (kt_packet_is_armor(bytes, n))
        return not_ciphertext(error, "send it in binary form: gpg without --armor", "armored");
    if (!(reader.at[0] & 0x80))
        return not_ciphertext(error, HINT_ENCRYPT, "plain text or another format");
    while (!done) {
        struct kt_packet packet;
        const char *hint = NULL;
        if (reader.left == 0)
            return not_ciphertext(error, "send all of the file", "truncated before the data");
        int rc = kt_packet_next(&reader, &packet);
        const char *wrong = packet.tag != 0 ? wrong_packet(packet.tag, &hint) : NULL;
        if (wrong != NULL)
            return not_ciphertext(error, hint, wrong);
        if (rc != 0)
            return not_ciphertext(error, packet.hint, packet.problem);
        if (packet.tag == 0)
            return not_ciphertext(error, HINT_ENCRYPT, "no OpenPGP packet");
        rc = read_packet(&walk, &packet, reader.left, &done, error);
        if (rc != 0)
            return rc;
    }
    *message = walk.message;
    return 0;
}
