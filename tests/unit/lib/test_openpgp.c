// SPDX-License-Identifier: Apache-2.0
// The form of OpenPGP messages and keys: what gpg makes, every way to cut it, and made-up packets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/encode.h"
#include "lib/openpgp.h"
#include "lib/proc.h"

#define MESSAGE_MAX (1 << 20)
#define LONG_TEXT   100000 // makes gpg write partial lengths

static char home[] = "/tmp/kt-pgp-XXXXXX";
static char long_text[LONG_TEXT];

// Runs gpg in the test's home with `args` (NULL-terminated); appends its output to `out`.
static int gpg(const char *const *args, const void *input, size_t n, struct kt_buf *out)
{
    const char *argv[40] = {
        "gpg",    "--batch",         "--quiet",  "--no-tty",     "--homedir", home, "--trust-model",
        "always", "--pinentry-mode", "loopback", "--passphrase", "x",         NULL};
    size_t count = 12;
    while (*args != NULL && count < 39)
        argv[count++] = *args++;
    argv[count] = NULL;
    struct kt_buf errors = KT_BUF_INIT(4096);
    struct kt_proc proc = {.argv = argv,
                           .input = input,
                           .input_len = n,
                           .output = out,
                           .errors = &errors,
                           .timeout_ms = 60000};
    struct kt_error error = {0};
    int rc = kt_proc_run(&proc, NULL, &error);
    if (rc != 0)
        print_error("%s\n", error.message);
    kt_buf_free(&errors);
    return rc;
}

static void gpg_ok(const char *const *args, const void *input, size_t n, struct kt_buf *out)
{
    assert_int_equal(gpg(args, input, n, out), 0);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static int set_up(void **state)
{
    (void)state;
    memset(long_text, 'k', sizeof(long_text));
    for (size_t i = 0; i < sizeof(long_text); i++)
        long_text[i] = (char)(i * 2654435761u >> 13); // does not compress
    if (mkdtemp(home) == NULL)
        return -1;
    // Without a passphrase: the one of gpg() is for messages to a passphrase.
    return gpg(ARGS("--passphrase", "", "--quick-gen-key", "curve <c@x>", "future-default",
                    "default", "never"),
               NULL, 0, NULL) != 0 ||
           gpg(ARGS("--passphrase", "", "--quick-gen-key", "rsa <r@x>", "rsa2048", "encr,sign,cert",
                    "never"),
               NULL, 0, NULL) != 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct kt_proc stop = {.argv = ARGS("gpgconf", "--homedir", home, "--kill", "all"),
                           .timeout_ms = 10000};
    struct kt_proc clear = {.argv = ARGS("rm", "-rf", home), .timeout_ms = 10000};
    int rc = kt_proc_run(&stop, NULL, NULL);
    int rc_clear = kt_proc_run(&clear, NULL, NULL);
    return rc != 0 ? rc : rc_clear;
}

static void refused(const void *bytes, size_t n, const char *what)
{
    struct kt_openpgp_message message;
    struct kt_error error = {0};
    assert_int_equal(kt_openpgp_check_message(bytes, n, &message, &error), KT_ERR_NOT_CIPHERTEXT);
    assert_int_equal(error.code, KT_ERR_NOT_CIPHERTEXT);
    if (strstr(error.message, what) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.message, what);
}

static void accepted(const void *bytes, size_t n, size_t recipients, size_t passphrases)
{
    struct kt_openpgp_message message;
    struct kt_error error = {0};
    if (kt_openpgp_check_message(bytes, n, &message, &error) != 0)
        fail_msg("%s", error.message);
    assert_int_equal(message.recipients, recipients);
    assert_int_equal(message.passphrases, passphrases);
}

// Each shorter input, from an allocation of just its size so that sanitizers see a step too far.
static void every_truncation_is_refused(const uint8_t *bytes, size_t n)
{
    struct kt_openpgp_message message;
    for (size_t len = 0; len < n; len++) {
        uint8_t *copy = malloc(len > 0 ? len : 1);
        assert_non_null(copy);
        memcpy(copy, bytes, len);
        assert_int_equal(kt_openpgp_check_message(copy, len, &message, NULL),
                         KT_ERR_NOT_CIPHERTEXT);
        free(copy);
    }
}

static void messages_of_gpg_are_accepted(void **state)
{
    (void)state;
    static const char text[] = "a secret";
    struct {
        const char *const *args;
        size_t n, recipients, passphrases;
    } cases[] = {
        {ARGS("-e", "-r", "c@x"), sizeof(text), 1, 0},
        {ARGS("-e", "-r", "r@x"), sizeof(text), 1, 0},
        {ARGS("-e", "-r", "c@x", "-r", "r@x"), sizeof(text), 2, 0},
        {ARGS("-s", "-e", "-u", "c@x", "-r", "r@x"), sizeof(text), 1, 0},
        {ARGS("-c", "-e", "-r", "c@x"), sizeof(text), 1, 1},
        {ARGS("-e", "-z", "0", "-r", "c@x"), LONG_TEXT, 1, 0},
        {ARGS("-e", "--cipher-algo", "3DES", "-r", "r@x"), sizeof(text), 1, 0},
        {ARGS("-e", "-r", "c@x"), 0, 1, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);
        const char *input = cases[i].n == LONG_TEXT ? long_text : text;
        gpg_ok(cases[i].args, input, cases[i].n, &out);
        accepted(kt_buf_ptr(&out), kt_buf_left(&out), cases[i].recipients, cases[i].passphrases);
        assert_int_equal(kt_buf_put_u8(&out, 0), 0);
        refused(kt_buf_ptr(&out), kt_buf_left(&out), "1 bytes behind its end");
        if (cases[i].n != LONG_TEXT)
            every_truncation_is_refused(kt_buf_ptr(&out), kt_buf_left(&out) - 1);
        kt_buf_free(&out);
    }
}

static void every_truncation_of_a_message_in_parts_is_refused(void **state)
{
    (void)state;
    struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);
    gpg_ok(ARGS("-e", "-z", "0", "-r", "c@x"), long_text, 20000, &out);
    accepted(kt_buf_ptr(&out), kt_buf_left(&out), 1, 0);
    every_truncation_is_refused(kt_buf_ptr(&out), kt_buf_left(&out));
    kt_buf_free(&out);
}

static void two_messages_are_refused(void **state)
{
    (void)state;
    struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);
    gpg_ok(ARGS("-e", "-r", "c@x"), "a", 1, &out);
    gpg_ok(ARGS("-e", "-r", "c@x"), "b", 1, &out);
    refused(kt_buf_ptr(&out), kt_buf_left(&out), "bytes behind its end");
    kt_buf_free(&out);
}

static void what_gpg_makes_otherwise_is_refused(void **state)
{
    (void)state;
    struct {
        const char *const *args;
        const char *what;
    } cases[] = {
        {ARGS("--armor", "-e", "-r", "c@x"), "armored"},
        {ARGS("-e", "-R", "c@x"), "a hidden recipient"},
        {ARGS("-e", "--throw-keyids", "-r", "c@x"), "a hidden recipient"},
        {ARGS("-e", "-r", "c@x", "-R", "r@x"), "a hidden recipient"},
        {ARGS("-c"), "encrypted to a passphrase only"},
        {ARGS("-s", "-u", "c@x"), "compressed or signed only"},
        {ARGS("-s", "-z", "0", "-u", "c@x"), "signed only"},
        {ARGS("-b", "-u", "c@x"), "signed only"},
        {ARGS("--clearsign", "-u", "c@x"), "armored"},
        {ARGS("--store", "-z", "0"), "literal data in the clear"},
        {ARGS("--export", "c@x"), "a public key"},
        {ARGS("--export-secret-keys", "c@x"), "a secret key"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);
        gpg_ok(cases[i].args, "a secret", 8, &out);
        refused(kt_buf_ptr(&out), kt_buf_left(&out), cases[i].what);
        kt_buf_free(&out);
    }
}

static void key_ids_are_those_of_the_recipients(void **state)
{
    (void)state;
    struct kt_openpgp_message message;
    struct kt_openpgp_key curve, rsa;
    struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX), key = KT_BUF_INIT(MESSAGE_MAX);
    gpg_ok(ARGS("-e", "-r", "r@x", "-r", "c@x"), "a", 1, &out);
    assert_int_equal(kt_openpgp_check_message(kt_buf_ptr(&out), kt_buf_left(&out), &message, NULL),
                     0);
    gpg_ok(ARGS("--export", "c@x"), NULL, 0, &key);
    assert_int_equal(kt_openpgp_read_key(kt_buf_ptr(&key), kt_buf_left(&key), &curve, NULL), 0);
    kt_buf_reset(&key);
    gpg_ok(ARGS("--export", "r@x"), NULL, 0, &key);
    assert_int_equal(kt_openpgp_read_key(kt_buf_ptr(&key), kt_buf_left(&key), &rsa, NULL), 0);
    assert_int_equal(curve.key_id_count, 2);
    assert_int_equal(rsa.key_id_count, 1);
    assert_true(message.key_ids[0] == rsa.key_ids[0]);
    assert_true(message.key_ids[1] == curve.key_ids[1]); // the subkey
    kt_buf_free(&out);
    kt_buf_free(&key);
}

static void what_is_no_packet_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"password", "{\"key\": 1}", "\n", "\x7f"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        refused(texts[i], strlen(texts[i]), "plain text");
    refused("", 0, "empty");
    refused("\r\n-----BEGIN PGP MESSAGE-----", 28, "armored");
    refused("\xc0\x01\x00", 3, "no OpenPGP packet");
    refused("\x80\x01\x00", 3, "no OpenPGP packet");
    refused("\xff\x01\x00", 3, "no place");
    refused("\xc3\xa4rger", 6, "truncated"); // UTF-8 text may begin like a packet
    refused("\xd5\x05hello", 7, "no place"); // padding could carry anything
}

// --- made-up packets ---

struct packets {
    uint8_t bytes[4096];
    size_t n;
};

static void put(struct packets *p, const void *bytes, size_t n)
{
    assert_true(p->n + n <= sizeof(p->bytes));
    memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
}

// A packet with a new header and one length octet (or two).
static void put_packet(struct packets *p, unsigned tag, const void *body, size_t n)
{
    uint8_t head[3] = {(uint8_t)(0xc0 | tag), (uint8_t)n, 0};
    size_t octets = 2;
    if (n >= 192) {
        head[1] = (uint8_t)(((n - 192) >> 8) + 192);
        head[2] = (uint8_t)(n - 192);
        octets = 3;
    }
    put(p, head, octets);
    put(p, body, n);
}

// Version 3, key id 1..8, RSA with an MPI of nine bits.
static const uint8_t pkesk3[] = {3, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 9, 1, 0xff};
static const uint8_t seipd1[64] = {1};
static const uint8_t seipd2[80] = {2, 9, 2, 6}; // AES-256, OCB
static const uint8_t aead[80] = {1, 9, 2, 16};  // of GnuPG 2.3

// Version 6, X25519, for a key of version 4 or 6 whose fingerprint is 1, 2, 3 …
static size_t make_pkesk6(uint8_t *out, unsigned key_version)
{
    size_t n = 0, print = key_version == 4 ? 20 : 32;
    out[n++] = 6;
    out[n++] = (uint8_t)(print + 1);
    out[n++] = (uint8_t)key_version;
    for (size_t i = 0; i < print; i++)
        out[n++] = (uint8_t)(i + 1);
    out[n++] = 25;
    memset(out + n, 0x55, 32);
    n += 32;
    out[n++] = 40;
    memset(out + n, 0x66, 40);
    return n + 40;
}

static void messages_of_rfc_9580_are_accepted(void **state)
{
    (void)state;
    static const uint64_t expected[] = {0x0d0e0f1011121314ULL, 0x0102030405060708ULL};
    static const unsigned versions[] = {4, 6};
    for (int i = 0; i < 2; i++) {
        struct packets p = {.n = 0};
        struct kt_openpgp_message message;
        uint8_t body[128];
        put_packet(&p, 1, body, make_pkesk6(body, versions[i]));
        put_packet(&p, 18, seipd2, sizeof(seipd2));
        assert_int_equal(kt_openpgp_check_message(p.bytes, p.n, &message, NULL), 0);
        assert_true(message.key_ids[0] == expected[i]);
        every_truncation_is_refused(p.bytes, p.n);
    }
}

static void messages_of_gnupg_2_3_are_accepted(void **state)
{
    (void)state;
    struct packets p = {.n = 0};
    put_packet(&p, 1, pkesk3, sizeof(pkesk3));
    put_packet(&p, 20, aead, sizeof(aead));
    accepted(p.bytes, p.n, 1, 0);
    every_truncation_is_refused(p.bytes, p.n);
}

static void marker_packets_are_skipped_but_hold_nothing(void **state)
{
    (void)state;
    struct packets p = {.n = 0}, bad = {.n = 0};
    put_packet(&p, 10, "PGP", 3);
    put_packet(&p, 1, pkesk3, sizeof(pkesk3));
    put_packet(&p, 10, "PGP", 3);
    put_packet(&p, 18, seipd1, sizeof(seipd1));
    accepted(p.bytes, p.n, 1, 0);
    put_packet(&bad, 10, "password", 8);
    refused(bad.bytes, bad.n, "a malformed marker packet");
}

// What stands behind one good session key of version 3.
static void refused_data(unsigned tag, const void *body, size_t n, const char *what)
{
    struct packets p = {.n = 0};
    put_packet(&p, 1, pkesk3, sizeof(pkesk3));
    put_packet(&p, tag, body, n);
    refused(p.bytes, p.n, what);
}

static void wrong_data_packets_are_refused(void **state)
{
    (void)state;
    static const uint8_t cipher[80] = {1, 5, 2, 16}, mode[80] = {1, 9, 3, 16},
                         chunk[80] = {1, 9, 2, 57};
    static const uint8_t version[64] = {3};
    struct packets p = {.n = 0};
    uint8_t body[128];
    refused_data(9, seipd1, sizeof(seipd1), "no integrity protection");
    refused_data(11, "b\0\0\0\0\0x", 7, "literal data in the clear");
    refused_data(18, seipd1, 32, "a malformed data packet");
    refused_data(18, version, sizeof(version), "a malformed data packet");
    refused_data(18, "", 0, "a malformed data packet");
    refused_data(18, seipd2, sizeof(seipd2), "a malformed data packet"); // needs a version 6 key
    refused_data(20, aead, 51, "a malformed data packet");
    refused_data(20, cipher, sizeof(cipher), "a malformed data packet");
    refused_data(20, mode, sizeof(mode), "a malformed data packet");
    refused_data(20, chunk, sizeof(chunk), "a malformed data packet");
    put_packet(&p, 1, body, make_pkesk6(body, 6));
    put_packet(&p, 18, seipd1, sizeof(seipd1)); // version 1 data under a version 6 key
    refused(p.bytes, p.n, "a malformed data packet");
    p.n = 0;
    put_packet(&p, 18, seipd1, sizeof(seipd1));
    refused(p.bytes, p.n, "no session key");
}

static void wrong_session_keys_are_refused(void **state)
{
    (void)state;
    uint8_t body[128];
    struct packets p;
    size_t n = make_pkesk6(body, 6);
    struct {
        size_t at;
        uint8_t value;
        const char *what;
    } cases[] = {
        {0, 2, "a malformed session key"},    // version
        {9, 17, "a malformed session key"},   // DSA does not encrypt
        {9, 16, "a malformed session key"},   // Elgamal needs a second number
        {10, 255, "a malformed session key"}, // number too long
        {11, 0, "a malformed session key"},   // number of no bits
        {11, 1, "a malformed session key"},   // number shorter than the body
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t copy[sizeof(pkesk3)];
        memcpy(copy, pkesk3, sizeof(copy));
        copy[cases[i].at] = cases[i].value;
        p.n = 0;
        put_packet(&p, 1, copy, sizeof(copy));
        refused(p.bytes, p.n, cases[i].what);
    }
    body[1] = 32; // not the length of a version 6 fingerprint
    p.n = 0;
    put_packet(&p, 1, body, n);
    refused(p.bytes, p.n, "a malformed session key");
    body[0] = 6, body[1] = 0; // anonymous
    memmove(body + 2, body + 35, n - 35);
    p.n = 0;
    put_packet(&p, 1, body, n - 33);
    refused(p.bytes, p.n, "a hidden recipient");
    p.n = 0;
    put_packet(&p, 3, "\x07\x09\x03\x08", 4);
    refused(p.bytes, p.n, "a malformed session key for a passphrase");
}

static void more_than_64_recipients_are_too_many(void **state)
{
    (void)state;
    struct packets p = {.n = 0};
    struct kt_openpgp_message message;
    for (int i = 0; i < KT_OPENPGP_RECIPIENTS_MAX; i++)
        put_packet(&p, 1, pkesk3, sizeof(pkesk3));
    size_t before = p.n;
    put_packet(&p, 18, seipd1, sizeof(seipd1));
    accepted(p.bytes, p.n, KT_OPENPGP_RECIPIENTS_MAX, 0);
    p.n = before;
    put_packet(&p, 1, pkesk3, sizeof(pkesk3));
    put_packet(&p, 18, seipd1, sizeof(seipd1));
    assert_int_equal(kt_openpgp_check_message(p.bytes, p.n, &message, NULL), KT_ERR_TOO_LARGE);
}

// A data packet of a first part of 2^power bytes and a last one of 10.
static void put_parts(struct packets *p, unsigned power)
{
    uint8_t head[2] = {0xd2, (uint8_t)(0xe0 | power)}, body[1024] = {1};
    put(p, head, 2);
    put(p, body, (size_t)1 << power);
    head[0] = 10;
    put(p, head, 1);
    put(p, body, 10);
}

static void parts_begin_with_512_bytes_and_only_of_data(void **state)
{
    (void)state;
    struct packets p = {.n = 0};
    put_packet(&p, 1, pkesk3, sizeof(pkesk3));
    size_t before = p.n;
    put_parts(&p, 9);
    accepted(p.bytes, p.n, 1, 0);
    every_truncation_is_refused(p.bytes, p.n);
    p.n = before;
    put_parts(&p, 8);
    refused(p.bytes, p.n, "less than 512 bytes");
    p.n = 0;
    put_parts(&p, 9);
    p.bytes[0] = 0xc1;
    refused(p.bytes, p.n, "partial lengths outside a data packet");
    p.n = 0;
    put_packet(&p, 1, pkesk3, sizeof(pkesk3));
    put(&p, "\xd2\xfe", 2); // a first part of 2^30 bytes that aren't there
    refused(p.bytes, p.n, "truncated");
}

static void old_headers_of_unknown_length_are_refused(void **state)
{
    (void)state;
    struct packets p = {.n = 0};
    put(&p, "\x87", 1); // tag 1, indeterminate
    put(&p, pkesk3, sizeof(pkesk3));
    refused(p.bytes, p.n, "indeterminate length");
    p.bytes[0] = 0xa3; // what gpg --store makes
    refused(p.bytes, p.n, "compressed or signed only");
}

static void long_lengths_do_not_overflow(void **state)
{
    (void)state;
    refused("\xc1\xff\xff\xff\xff\xff", 6, "truncated");
    refused("\xc1\xff\xff\xff", 4, "truncated");
    refused("\x86\xff\xff\xff\xff\x03", 6, "truncated");
}

// --- keys ---

static void key_refused(const void *bytes, size_t n, const char *what)
{
    struct kt_openpgp_key key;
    struct kt_error error = {0};
    assert_int_equal(kt_openpgp_read_key(bytes, n, &key, &error), KT_ERR_OPENPGP_KEY_INVALID);
    if (strstr(error.message, what) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.message, what);
}

static void fingerprint_is_what_gpg_says(void **state)
{
    (void)state;
    static const char *const names[] = {"c@x", "r@x"};
    for (int i = 0; i < 2; i++) {
        struct kt_buf key = KT_BUF_INIT(MESSAGE_MAX), list = KT_BUF_INIT(MESSAGE_MAX);
        struct kt_openpgp_key read;
        char hex[KT_OPENPGP_FINGERPRINT_TEXT], expected[KT_OPENPGP_FINGERPRINT_TEXT];
        gpg_ok(ARGS("--export", names[i]), NULL, 0, &key);
        gpg_ok(ARGS("--with-colons", "--list-keys", names[i]), NULL, 0, &list);
        assert_int_equal(kt_buf_put_u8(&list, 0), 0);
        const char *line = strstr((const char *)kt_buf_ptr(&list), "\nfpr:");
        assert_non_null(line);
        assert_int_equal(sscanf(line, "\nfpr:::::::::%40[0-9A-F]", expected), 1);
        assert_int_equal(kt_openpgp_read_key(kt_buf_ptr(&key), kt_buf_left(&key), &read, NULL), 0);
        kt_hex_encode(read.fingerprint, sizeof(read.fingerprint), hex);
        assert_int_equal(strcasecmp(hex, expected), 0);
        kt_buf_free(&key);
        kt_buf_free(&list);
    }
}

// Version 4, a time, Ed25519 of RFC 9580.
static const uint8_t key4[38] = {4, 1, 2, 3, 4, 27, 9};

static void parts_that_encrypt_are_those_that_gpg_encrypts_to(void **state)
{
    (void)state;
    static const char *const names[] = {"c@x", "r@x"};
    for (int i = 0; i < 2; i++) {
        struct kt_buf key = KT_BUF_INIT(MESSAGE_MAX), out = KT_BUF_INIT(MESSAGE_MAX);
        struct kt_openpgp_key read;
        struct kt_openpgp_message message;
        gpg_ok(ARGS("--export", names[i]), NULL, 0, &key);
        gpg_ok(ARGS("-e", "-r", names[i]), "a", 1, &out);
        assert_int_equal(kt_openpgp_read_key(kt_buf_ptr(&key), kt_buf_left(&key), &read, NULL), 0);
        assert_int_equal(
            kt_openpgp_check_message(kt_buf_ptr(&out), kt_buf_left(&out), &message, NULL), 0);
        assert_int_equal(read.encryption_count, 1);
        assert_true(read.encryption_ids[0] == message.key_ids[0]);
        kt_buf_free(&key);
        kt_buf_free(&out);
    }
}

// A version 4 signature of `type` with one signed subpacket "key flags".
static void put_flags(struct packets *p, uint8_t type, uint8_t flags)
{
    const uint8_t signature[] = {4, type, 22, 8, 0, 3, 2, 27, flags};

    put_packet(p, 2, signature, sizeof(signature));
}

static void flags_and_revocations_say_what_encrypts(void **state)
{
    (void)state;
    static const uint8_t x25519[38] = {4, 1, 2, 3, 4, 25, 7};
    static const struct {
        uint8_t type, flags;
        size_t count;
    } cases[] = {{0x18, 0x04, 1}, {0x18, 0x08, 1}, {0x18, 0x02, 0}, {0x28, 0x0c, 0}};
    struct kt_openpgp_key key;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct packets p = {.n = 0};
        put_packet(&p, 6, key4, sizeof(key4));
        put_packet(&p, 13, "c@x", 3);
        put_flags(&p, 0x13, 0x0f); // an algorithm that signs only
        put_packet(&p, 14, x25519, sizeof(x25519));
        put_flags(&p, cases[i].type, cases[i].flags);
        assert_int_equal(kt_openpgp_read_key(p.bytes, p.n, &key, NULL), 0);
        assert_int_equal(key.encryption_count, cases[i].count);
        if (cases[i].count)
            assert_true(key.encryption_ids[0] == key.key_ids[1]);
    }
    // No flags: the algorithm alone. A revoked key: nothing.
    struct packets p = {.n = 0};
    put_packet(&p, 6, key4, sizeof(key4));
    put_packet(&p, 13, "c@x", 3);
    put_packet(&p, 2, "\x04", 1);
    put_packet(&p, 14, x25519, sizeof(x25519));
    put_packet(&p, 2, "\x04\x18\x16\x08\xff\xff", 6); // longer than it is
    assert_int_equal(kt_openpgp_read_key(p.bytes, p.n, &key, NULL), 0);
    assert_int_equal(key.encryption_count, 1);
    p.n = 0;
    put_packet(&p, 6, key4, sizeof(key4));
    put_flags(&p, 0x20, 0);
    put_packet(&p, 13, "c@x", 3);
    put_packet(&p, 2, "\x04", 1);
    put_packet(&p, 14, x25519, sizeof(x25519));
    put_packet(&p, 2, "\x04", 1);
    assert_int_equal(kt_openpgp_read_key(p.bytes, p.n, &key, NULL), 0);
    assert_int_equal(key.encryption_count, 0);
}

static void every_truncation_of_a_key_is_refused(void **state)
{
    (void)state;
    struct kt_buf key = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_openpgp_key read;
    size_t accepted_at = 0, times = 0;
    gpg_ok(ARGS("--export", "c@x"), NULL, 0, &key);
    for (size_t n = 0; n < kt_buf_left(&key); n++)
        if (kt_openpgp_read_key(kt_buf_ptr(&key), n, &read, NULL) == 0) {
            accepted_at = n;
            times++;
        }
    // One place in between is a whole key: behind the user id's signature, before the subkey.
    assert_int_equal(times, 1);
    assert_int_equal(kt_buf_ptr(&key)[accepted_at] >> 2 & 0xf, 14);
    kt_buf_free(&key);
}

static void what_is_no_public_key_is_refused(void **state)
{
    (void)state;
    struct {
        const char *const *args;
        const char *what;
    } cases[] = {
        {ARGS("--armor", "--export", "c@x"), "armored"},
        {ARGS("--export-secret-keys", "c@x"), "holds a secret key"},
        {ARGS("--export-secret-subkeys", "c@x"), "holds a secret key"},
        {ARGS("--export", "c@x", "r@x"), "more than one key"},
        {ARGS("-e", "-r", "c@x"), "does not begin with a public key"},
        {ARGS("-b", "-u", "c@x"), "does not begin with a public key"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX);
        gpg_ok(cases[i].args, "a", 1, &out);
        key_refused(kt_buf_ptr(&out), kt_buf_left(&out), cases[i].what);
        kt_buf_free(&out);
    }
    key_refused("", 0, "empty");
    key_refused("hello", 5, "no OpenPGP packet");
    key_refused("\xc5", 1, "holds a secret key");
}

static void made_up_keys_are_refused(void **state)
{
    (void)state;
    static const uint8_t key6[42] = {6, 1, 2, 3, 4, 27}, unknown[38] = {4, 1, 2, 3, 4, 99};
    struct packets p = {.n = 0};
    struct kt_openpgp_key key;
    put_packet(&p, 6, key6, sizeof(key6));
    key_refused(p.bytes, p.n, "version 6");
    p.n = 0;
    put_packet(&p, 6, unknown, sizeof(unknown));
    key_refused(p.bytes, p.n, "unknown algorithm");
    p.n = 0;
    put_packet(&p, 6, key4, sizeof(key4) - 1);
    key_refused(p.bytes, p.n, "malformed");
    p.n = 0;
    put_packet(&p, 6, key4, sizeof(key4));
    key_refused(p.bytes, p.n, "no user id");
    put_packet(&p, 13, "c@x", 3);
    key_refused(p.bytes, p.n, "no signature");
    put_packet(&p, 13, "d@x", 3);
    key_refused(p.bytes, p.n, "without a signature");
    p.n -= 5;
    put_packet(&p, 2, "\x04", 1);
    assert_int_equal(kt_openpgp_read_key(p.bytes, p.n, &key, NULL), 0);
    size_t before = p.n;
    put_packet(&p, 14, key4, sizeof(key4));
    put_packet(&p, 2, "\x04", 1);
    put_packet(&p, 13, "d@x", 3);
    key_refused(p.bytes, p.n, "a user id behind a subkey");
    p.n = before;
    put_packet(&p, 11, "text", 4);
    key_refused(p.bytes, p.n, "no place");
    p.n = before;
    for (int i = 0; i < 15; i++) {
        put_packet(&p, 14, key4, sizeof(key4));
        put_packet(&p, 2, "\x04", 1);
    }
    assert_int_equal(kt_openpgp_read_key(p.bytes, p.n, &key, NULL), 0);
    assert_int_equal(key.key_id_count, 16);
    put_packet(&p, 14, key4, sizeof(key4));
    put_packet(&p, 2, "\x04", 1);
    assert_int_equal(kt_openpgp_read_key(p.bytes, p.n, &key, NULL), KT_ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_gpg_are_accepted),
        cmocka_unit_test(every_truncation_of_a_message_in_parts_is_refused),
        cmocka_unit_test(two_messages_are_refused),
        cmocka_unit_test(what_gpg_makes_otherwise_is_refused),
        cmocka_unit_test(key_ids_are_those_of_the_recipients),
        cmocka_unit_test(what_is_no_packet_is_refused),
        cmocka_unit_test(messages_of_rfc_9580_are_accepted),
        cmocka_unit_test(messages_of_gnupg_2_3_are_accepted),
        cmocka_unit_test(marker_packets_are_skipped_but_hold_nothing),
        cmocka_unit_test(wrong_data_packets_are_refused),
        cmocka_unit_test(wrong_session_keys_are_refused),
        cmocka_unit_test(more_than_64_recipients_are_too_many),
        cmocka_unit_test(parts_begin_with_512_bytes_and_only_of_data),
        cmocka_unit_test(old_headers_of_unknown_length_are_refused),
        cmocka_unit_test(long_lengths_do_not_overflow),
        cmocka_unit_test(fingerprint_is_what_gpg_says),
        cmocka_unit_test(parts_that_encrypt_are_those_that_gpg_encrypts_to),
        cmocka_unit_test(flags_and_revocations_say_what_encrypts),
        cmocka_unit_test(every_truncation_of_a_key_is_refused),
        cmocka_unit_test(what_is_no_public_key_is_refused),
        cmocka_unit_test(made_up_keys_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
