// SPDX-License-Identifier: Apache-2.0
// Recipients, streams and signed text against a real gpg, in one home that lives as long as the test.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/encode.h"
#include "lib/file.h"
#include "lib/gpg_stream.h"
#include "lib/openpgp_file.h"
#include "lib/proc.h"
#include "tests/unit/lib/temp_dir.h"

#define MESSAGE_MAX (16 << 20)
#define ARGS(...)   ((const char *const[]){__VA_ARGS__, NULL})
#define DAY_US      INT64_C(86400000000)

static char home[300], other_home[300];
static struct kt_gpg *own;

static void must(int rc, const struct kt_error *error)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error->message);
}

static int gpg_in(const char *folder, const char *const *args, const void *input, size_t n,
                  struct kt_buf *out)
{
    const char *argv[48] = {"gpg",           "--batch", "--quiet",         "--no-tty",
                            "--homedir",     folder,    "--pinentry-mode", "loopback",
                            "--trust-model", "always",

                            "--passphrase",  ""};
    struct kt_buf errors = KT_BUF_INIT(4096);
    struct kt_proc proc = {.argv = argv,
                           .input = input,
                           .input_len = n,
                           .output = out,
                           .errors = &errors,
                           .timeout_ms = 60000};
    struct kt_error error = {0};
    size_t count = 12;
    int rc;

    while (*args && count < 47)
        argv[count++] = *args++;
    rc = kt_proc_run(&proc, NULL, &error);
    if (rc != 0)
        print_message("gpg: %s\n", error.message);
    kt_buf_free(&errors);
    return rc;
}

#define GPG(...) assert_int_equal(gpg_in(home, ARGS(__VA_ARGS__), NULL, 0, NULL), 0)

static const char *fingerprint_of(const char *folder, const char *name)
{
    static char found[4][KT_OPENPGP_FINGERPRINT_TEXT];
    static int next;
    struct kt_buf out = KT_BUF_INIT(65536);
    char *at;

    next = (next + 1) % 4;
    assert_int_equal(gpg_in(folder, ARGS("--with-colons", "--list-keys", name), NULL, 0, &out), 0);
    assert_int_equal(kt_buf_put_u8(&out, 0), 0);
    at = strstr((char *)out.data, "\nfpr:::::::::");
    assert_non_null(at);
    memcpy(found[next], at + 13, 40);
    kt_buf_free(&out);
    return found[next];
}

static void revoke_key(const char *name)
{
    const char *fingerprint = fingerprint_of(home, name);
    char path[512], *text = NULL;
    struct kt_error error = {0};

    snprintf(path, sizeof path, "%s/openpgp-revocs.d/%s.rev", home, fingerprint);
    must(kt_file_read_text(path, 65536, &text, &error), &error);
    char *block = strstr(text, ":-----BEGIN"); // the colon keeps it from being used by mistake
    assert_non_null(block);
    assert_int_equal(gpg_in(home, ARGS("--import"), block + 1, strlen(block + 1), NULL), 0);
    free(text);
}

static void make_keys(void)
{
    GPG("--quick-gen-key", "Backup Admin <admin@example.com>", "future-default", "default",
        "never");
    GPG("--quick-gen-key", "Escrow <escrow@example.com>", "rsa2048", "cert,sign,encr", "never");
    GPG("--quick-gen-key", "Other <x-john@example.com>", "future-default", "default", "never");
    GPG("--quick-gen-key", "John One <John@Example.com>", "future-default", "default", "never");
    GPG("--faked-system-time", "20200101T000000", "--quick-gen-key", "Old <old@example.com>",
        "future-default", "default", "1y");
    GPG("--quick-gen-key", "Gone <gone@example.com>", "future-default", "default", "never");
    revoke_key("gone@example.com");
    GPG("--quick-gen-key", "Signer <sign@example.com>", "ed25519", "sign", "never");
    GPG("--faked-system-time", "20200101T000000", "--quick-gen-key", "Half <half@example.com>",
        "ed25519", "sign", "never");
    GPG("--faked-system-time", "20200101T000000", "--quick-add-key",
        fingerprint_of(home, "half@example.com"), "cv25519", "encr", "1y");
    GPG("--quick-gen-key", "Soon <soon@example.com>", "ed25519", "sign", "90d");
    GPG("--quick-add-key", fingerprint_of(home, "soon@example.com"), "cv25519", "encr", "30d");
    GPG("--quick-gen-key", "New <same@example.com>", "future-default", "default", "never");
    GPG("--faked-system-time", "20200101T000000", "--quick-gen-key", "Before <same@example.com>",
        "future-default", "default", "1y");
}

static int set_up(void **state)
{
    struct kt_error error = {0};

    if (temp_dir_setup(state) != 0)
        return -1;
    snprintf(home, sizeof home, "%s/own", temp_dir);
    snprintf(other_home, sizeof other_home, "%s/other", temp_dir);
    assert_int_equal(mkdir(home, 0700), 0);
    assert_int_equal(mkdir(other_home, 0700), 0);
    make_keys();
    assert_int_equal(gpg_in(other_home,
                            ARGS("--quick-gen-key", "Stranger <stranger@example.com>",
                                 "future-default", "default", "never"),
                            NULL, 0, NULL),
                     0);
    must(kt_gpg_new_own(home, &own, &error), &error);
    return 0;
}

static void end_agent(const char *folder)
{
    struct kt_proc stop = {.argv = ARGS("gpgconf", "--homedir", folder, "--kill", "all"),
                           .timeout_ms = 20000};
    struct kt_error error = {0};

    must(kt_proc_run(&stop, NULL, &error), &error);
}

static int tear_down(void **state)
{
    kt_gpg_free(own);
    end_agent(home);
    end_agent(other_home);
    return temp_dir_teardown(state);
}

// --- recipients ---

static void find(const char *text, struct kt_gpg_recipient *recipient)
{
    struct kt_error error = {0};

    must(kt_gpg_find_recipient(own, text, recipient, &error), &error);
}

static void not_found_as(int code, const char *text, const char *words)
{
    struct kt_gpg_recipient recipient;
    struct kt_error error = {0};
    int rc = kt_gpg_find_recipient(own, text, &recipient, &error);

    if (rc != code || strstr(error.message, words) == NULL)
        fail_msg("\"%s\": %d %s", text, rc, error.message);
}

static void a_recipient_is_found_by_each_kind_of_name(void **state)
{
    const char *fingerprint = fingerprint_of(home, "admin@example.com");
    struct kt_gpg_recipient recipient;
    char spaced[64] = "";

    (void)state;
    for (size_t i = 0; i < 40; i++)
        snprintf(spaced + strlen(spaced), sizeof spaced - strlen(spaced), "%s%c",
                 i > 0 && i % 4 == 0 ? " " : "", fingerprint[i] | (fingerprint[i] > '9' ? 32 : 0));
    const char *const names[] = {fingerprint,         spaced,
                                 "admin@example.com", "ADMIN@example.COM",
                                 "backup ad",         "Backup Admin <admin@example.com>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        find(names[i], &recipient);
        assert_string_equal(recipient.fingerprint, fingerprint);
        assert_string_equal(recipient.user_id, "Backup Admin <admin@example.com>");
        assert_int_equal(recipient.key_id_count, 1);
        assert_int_equal(recipient.expires_us, 0);
    }
}

static void an_address_that_another_contains_is_not_that_one(void **state)
{
    struct kt_gpg_recipient recipient;

    (void)state;
    find("john@example.com", &recipient);
    assert_string_equal(recipient.user_id, "John One <John@Example.com>");
    find("x-john@example.com", &recipient);
    assert_string_equal(recipient.user_id, "Other <x-john@example.com>");
    not_found_as(KT_ERR_NOT_FOUND, "hn@example.com", "no OpenPGP key");
}

static void names_that_fit_no_key_or_many_are_refused(void **state)
{
    struct kt_gpg_recipient recipient;

    (void)state;
    not_found_as(KT_ERR_NOT_FOUND, "nobody@example.com", "no OpenPGP key");
    not_found_as(KT_ERR_NOT_FOUND, "0123456789012345678901234567890123456789", "no OpenPGP key");
    not_found_as(KT_ERR_INVALID, "", "empty");
    not_found_as(KT_ERR_INVALID, "john", "2 keys fit");
    not_found_as(KT_ERR_INVALID, "john", fingerprint_of(home, "x-john@example.com"));
    not_found_as(KT_ERR_INVALID, "john", "John One");
    find("same@example.com", &recipient); // the other one has expired
    assert_string_equal(recipient.user_id, "New <same@example.com>");
    GPG("--quick-gen-key", "John Two <john@example.com>", "future-default", "default", "never");
    not_found_as(KT_ERR_INVALID, "john@example.com", "2 keys fit");
    GPG("--yes", "--delete-secret-and-public-key", fingerprint_of(home, "John Two"));
}

static void keys_that_cannot_be_used_are_refused_with_the_reason(void **state)
{
    (void)state;
    not_found_as(KT_ERR_INVALID, "old@example.com", "it has expired");
    not_found_as(KT_ERR_INVALID, fingerprint_of(home, "old@example.com"), "it has expired");
    not_found_as(KT_ERR_INVALID, "gone@example.com", "it is revoked");
    not_found_as(KT_ERR_INVALID, "sign@example.com", "it has no key for encryption");
    not_found_as(KT_ERR_INVALID, "half@example.com", "its keys for encryption have expired");
}

static void the_end_of_a_recipient_is_the_earlier_of_its_keys(void **state)
{
    struct kt_gpg_recipient recipient;

    (void)state;
    find("soon@example.com", &recipient);
    assert_true(recipient.expires_us > kt_time_now() + 29 * DAY_US);
    assert_true(recipient.expires_us < kt_time_now() + 31 * DAY_US);
}

// --- streams ---

static int collect(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    int rc = kt_buf_put(arg, bytes, n);

    return rc == 0 ? 0 : kt_error_set(error, rc, NULL, "too much");
}

static int refuse_all(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    (void)arg, (void)bytes, (void)n;
    return kt_error_set(error, KT_ERR_STORAGE_FULL, NULL, "the disk is full");
}

static int memory_file(const void *bytes, size_t n)
{
    int fd = memfd_create("stream", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(kt_write_all(fd, bytes, n), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static int decrypt(struct kt_gpg *gpg, const void *bytes, size_t n, struct kt_buf *plain,
                   struct kt_error *error)
{
    int fd = memory_file(bytes, n);
    int rc = kt_gpg_decrypt_stream(gpg, fd, collect, plain, error);

    close(fd);
    return rc;
}

static uint8_t *noise(size_t n)
{
    uint8_t *bytes = malloc(n + 1);

    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 11);
    return bytes;
}

static void encrypt(const char *to, const void *bytes, size_t n, struct kt_buf *cipher)
{
    struct kt_gpg_recipient recipient;
    struct kt_error error = {0};
    int fd = memory_file(bytes, n);

    find(to, &recipient);
    must(kt_gpg_encrypt_stream(own, &recipient, 1, fd, collect, cipher, &error), &error);
    close(fd);
}

static void streams_of_every_length_come_back(void **state)
{
    static const size_t SIZES[] = {0, 1, 511, 8191, 8192, 8193, 65536, 1048576, 10000000};
    struct kt_error error = {0};

    (void)state;
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
        struct kt_openpgp_message message;
        uint8_t *bytes = noise(SIZES[i]);
        int fd;
        encrypt("admin@example.com", bytes, SIZES[i], &cipher);
        assert_true(kt_buf_left(&cipher) > SIZES[i]); // not compressed
        fd = memory_file(kt_buf_ptr(&cipher), kt_buf_left(&cipher));
        must(kt_openpgp_check_file(fd, &message, &error), &error);
        close(fd);
        must(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error), &error);
        assert_int_equal(kt_buf_left(&plain), SIZES[i]);
        if (SIZES[i] > 0)
            assert_memory_equal(kt_buf_ptr(&plain), bytes, SIZES[i]);
        free(bytes);
        kt_buf_free(&cipher);
        kt_buf_free(&plain);
    }
}

static void a_stream_through_pipes_goes_to_exactly_its_recipients(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_gpg_recipient to[2];
    struct kt_openpgp_message message;
    struct kt_error error = {0};
    uint8_t *bytes = noise(3000000);
    int ends[2], status = 0;

    (void)state;
    find("admin@example.com", &to[0]);
    find("escrow@example.com", &to[1]);
    // Someone else's option adds a recipient: it must not.
    temp_text("own/gpg.conf", "encrypt-to escrow@example.com\narmor\nthrow-keyids\nverbose\n");
    for (size_t count = 1; count <= 2; count++) {
        pid_t child;
        assert_int_equal(pipe(ends), 0);
        child = fork();
        if (child == 0) {
            close(ends[0]);
            _exit(kt_write_all(ends[1], bytes, 3000000) == 0 ? 0 : 1);
        }
        close(ends[1]);
        kt_buf_reset(&cipher);
        must(kt_gpg_encrypt_stream(own, to, count, ends[0], collect, &cipher, &error), &error);
        close(ends[0]);
        waitpid(child, &status, 0);
        assert_int_equal(status, 0);
        must(kt_openpgp_check_message(kt_buf_ptr(&cipher), kt_buf_left(&cipher), &message, &error),
             &error);
        assert_int_equal(message.recipients, count);
        assert_true(message.key_ids[0] == to[0].key_ids[0]);
    }
    assert_true(message.key_ids[1] == to[1].key_ids[0]);
    unlink(temp_path("own/gpg.conf"));

    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        _exit(kt_write_all(ends[1], kt_buf_ptr(&cipher), kt_buf_left(&cipher)) == 0 ? 0 : 1);
    }
    close(ends[1]);
    must(kt_gpg_decrypt_stream(own, ends[0], collect, &plain, &error), &error);
    close(ends[0]);
    waitpid(child, &status, 0);
    assert_int_equal(kt_buf_left(&plain), 3000000);
    assert_memory_equal(kt_buf_ptr(&plain), bytes, 3000000);
    free(bytes);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
}

static void what_the_sink_says_ends_the_stream(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_gpg_recipient to;
    struct kt_error error = {0};
    uint8_t *bytes = noise(3000000);
    int fd = memory_file(bytes, 3000000);

    (void)state;
    find("admin@example.com", &to);
    assert_int_equal(kt_gpg_encrypt_stream(own, &to, 1, fd, refuse_all, NULL, &error),
                     KT_ERR_STORAGE_FULL);
    assert_string_equal(error.message, "the disk is full");
    close(fd);
    encrypt("admin@example.com", bytes, 3000000, &cipher);
    fd = memory_file(kt_buf_ptr(&cipher), kt_buf_left(&cipher));
    assert_int_equal(kt_gpg_decrypt_stream(own, fd, refuse_all, NULL, &error), KT_ERR_STORAGE_FULL);
    close(fd);
    free(bytes);
    kt_buf_free(&cipher);
}

static void what_gpg_refuses_to_encrypt_to_is_an_error(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_gpg_recipient to = {.key_id_count = 1};
    struct kt_error error = {0};
    int fd = memory_file("text", 4);

    (void)state;
    assert_int_equal(kt_gpg_encrypt_stream(own, &to, 0, fd, collect, &cipher, &error),
                     KT_ERR_INVALID);
    static const char *const NAMES[] = {"old@example.com", "gone@example.com", "sign@example.com"};
    for (size_t i = 0; i < 3; i++) {
        memcpy(to.fingerprint, fingerprint_of(home, NAMES[i]), sizeof to.fingerprint);
        lseek(fd, 0, SEEK_SET);
        assert_int_equal(kt_gpg_encrypt_stream(own, &to, 1, fd, collect, &cipher, &error),
                         KT_ERR_CRYPTO);
        assert_int_equal(kt_buf_left(&cipher), 0);
    }
    close(fd);
    find("admin@example.com", &to);
    assert_int_equal(kt_gpg_encrypt_stream(own, &to, 1, -1, collect, &cipher, &error),
                     KT_ERR_SYSTEM);
    kt_buf_free(&cipher);
}

// A gpg that behaves as told stands in PATH only for children of gpgme_get_dirinfo's name, so the
// real one is killed: by its own sink, in the middle of the stream.
static int kill_gpg(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    char line[64] = "", path[64];
    FILE *children;
    long pid = 0;

    (void)bytes, (void)n, (void)error;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    children = fopen(path, "re");
    if (children && fgets(line, sizeof line, children))
        pid = strtol(line, NULL, 10);
    if (children)
        fclose(children);
    if (pid > 0 && kill((pid_t)pid, SIGKILL) == 0)
        ++*(int *)arg;
    return 0;
}

static void a_gpg_that_is_killed_is_an_error(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_gpg_recipient to;
    struct kt_error error = {0};
    uint8_t *bytes = noise(12000000);
    int fd = memory_file(bytes, 12000000), killed = 0;

    (void)state;
    find("admin@example.com", &to);
    assert_int_equal(kt_gpg_encrypt_stream(own, &to, 1, fd, kill_gpg, &killed, &error),
                     KT_ERR_CHILD);
    assert_true(killed > 0);
    close(fd);
    encrypt("admin@example.com", bytes, 12000000, &cipher);
    fd = memory_file(kt_buf_ptr(&cipher), kt_buf_left(&cipher));
    killed = 0;
    assert_int_equal(kt_gpg_decrypt_stream(own, fd, kill_gpg, &killed, &error), KT_ERR_CHILD);
    assert_true(killed > 0);
    close(fd);
    free(bytes);
    kt_buf_free(&cipher);
}

static void a_damaged_message_is_never_a_success(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_error error = {0};
    uint8_t *bytes = noise(40000), *copy;
    size_t n;

    (void)state;
    encrypt("admin@example.com", bytes, 40000, &cipher);
    n = kt_buf_left(&cipher);
    copy = malloc(n + 1000);
    memcpy(copy, kt_buf_ptr(&cipher), n);
    static const size_t CUTS[] = {1, 2, 22, 23, 100, 8192, 20000, 39900};
    for (size_t i = 0; i < sizeof CUTS / sizeof CUTS[0]; i++)
        assert_int_equal(decrypt(own, copy, n - CUTS[i], &plain, &error), KT_ERR_NOT_CIPHERTEXT);
    assert_int_equal(decrypt(own, copy, 0, &plain, &error), KT_ERR_NOT_CIPHERTEXT);
    memset(copy + n, 0, 1000);
    assert_int_equal(decrypt(own, copy, n + 1, &plain, &error), KT_ERR_NOT_CIPHERTEXT);
    memcpy(copy + n, copy, 1000);
    assert_int_equal(decrypt(own, copy, n + 1000, &plain, &error), KT_ERR_NOT_CIPHERTEXT);
    for (size_t at = n - 1; at > 200; at -= 3001) {
        int rc;
        copy[at] ^= 0x10;
        kt_buf_reset(&plain);
        rc = decrypt(own, copy, n, &plain, &error);
        // In the length of a part: it is no message any more.
        if (rc != KT_ERR_SIGNATURE && rc != KT_ERR_NOT_CIPHERTEXT)
            fail_msg("byte %zu: %d %s", at, rc, error.message);
        copy[at] ^= 0x10;
        if (at < 3001)
            break;
    }
    copy[60] ^= 0x10; // in the session key
    assert_true(decrypt(own, copy, n, &plain, &error) < 0);
    // An option with which gpg is content.
    temp_text("own/gpg.conf", "ignore-mdc-error\n");
    copy[60] ^= 0x10;
    copy[n - 1] ^= 1;
    assert_int_equal(decrypt(own, copy, n, &plain, &error), KT_ERR_SIGNATURE);
    unlink(temp_path("own/gpg.conf"));
    free(copy);
    free(bytes);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
}

static void what_is_no_encrypted_message_is_refused_before_gpg_sees_it(void **state)
{
    const struct {
        const char *const *args;
        const char *words;
    } CASES[] = {
        {ARGS("--sign", "--local-user", "sign@example.com"), "signed only"},
        {ARGS("--sign", "-z", "0", "--local-user", "sign@example.com"), "signed only"},
        {ARGS("--store"), "not an encrypted"},
        {ARGS("--symmetric", "--passphrase", "x"), "passphrase"},
        {ARGS("--encrypt", "--armor", "-r", "admin@example.com"), "armored"},
        {ARGS("--encrypt", "--hidden-recipient", "admin@example.com"), "hidden"},
        {ARGS("--export"), "public key"},
        // Version 3 of the old data packet: no modification detection code.
        {NULL, "no integrity protection"},
        {NULL, "plain text"},
    };
    struct kt_error error = {0};

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct kt_buf out = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
        if (CASES[i].args) {
            assert_int_equal(gpg_in(home, CASES[i].args, "some text", 9, &out), 0);
        } else if (strcmp(CASES[i].words, "plain text") == 0) {
            assert_int_equal(kt_buf_put(&out, "just text", 9), 0);
        } else { // the data packet, tag 18, becomes tag 9 without its version
            uint8_t *bytes;
            size_t at;
            encrypt("admin@example.com", "some text", 9, &out);
            bytes = out.data + out.off;
            // Behind the session key, whose header gpg writes in the old form.
            at = bytes[0] == 0x84 ? 2u + bytes[1] : 3u + (size_t)(bytes[1] << 8 | bytes[2]);
            assert_true(at < kt_buf_left(&out));
            assert_int_equal(bytes[at], 0xd2);
            bytes[at] = 0xc9;
        }
        int rc = decrypt(own, kt_buf_ptr(&out), kt_buf_left(&out), &plain, &error);
        if (rc != KT_ERR_NOT_CIPHERTEXT || !strstr(error.message, CASES[i].words))
            fail_msg("%zu (%s): %d %s", i, CASES[i].words, rc, error.message);
        assert_int_equal(kt_buf_left(&plain), 0);
        kt_buf_free(&out);
        kt_buf_free(&plain);
    }
}

static void without_the_secret_key_the_key_ids_are_named(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_gpg *other = NULL;
    struct kt_gpg_recipient to;
    struct kt_error error = {0};
    char id[20];
    uint64_t wrong = 1;

    (void)state;
    encrypt("admin@example.com", "text", 4, &cipher);
    find("admin@example.com", &to);
    snprintf(id, sizeof id, "%016llX", (unsigned long long)to.key_ids[0]);
    must(kt_gpg_new_own(other_home, &other, &error), &error);
    assert_int_equal(decrypt(other, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error),
                     KT_ERR_NOT_FOUND);
    if (!strstr(error.message, id))
        fail_msg("%s", error.message);
    assert_int_equal(kt_gpg_has_secret(own, to.key_ids, 1), 1);
    assert_int_equal(kt_gpg_has_secret(other, to.key_ids, 1), 0);
    assert_int_equal(kt_gpg_has_secret(own, &wrong, 1), 0);
    kt_gpg_free(other);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
}

static void one_of_several_secret_keys_is_enough(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_buf key = KT_BUF_INIT(65536);
    struct kt_error error = {0};

    (void)state;
    assert_int_equal(gpg_in(other_home, ARGS("--export", "stranger@example.com"), NULL, 0, &key),
                     0);
    assert_int_equal(gpg_in(home, ARGS("--import"), kt_buf_ptr(&key), kt_buf_left(&key), NULL), 0);
    assert_int_equal(gpg_in(home,
                            ARGS("--encrypt", "-r", "stranger@example.com", "-r",
                                 "admin@example.com", "-r", "escrow@example.com"),
                            "text", 4, &cipher),
                     0);
    must(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error), &error);
    assert_int_equal(kt_buf_left(&plain), 4);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
    kt_buf_free(&key);
}

static void an_agent_that_cannot_be_started_is_an_error(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_error error = {0};

    (void)state;
    encrypt("admin@example.com", "text", 4, &cipher);
    end_agent(home);
    temp_text("own/gpg.conf", "no-autostart\n");
    assert_true(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error) < 0);
    assert_int_equal(kt_buf_left(&plain), 0);
    unlink(temp_path("own/gpg.conf"));
    must(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error), &error);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
}

static void a_passphrase_is_given_and_a_wrong_one_refused(void **state)
{
    struct kt_buf cipher = KT_BUF_INIT(MESSAGE_MAX), plain = KT_BUF_INIT(MESSAGE_MAX);
    struct kt_buf text = KT_BUF_INIT(65536);
    struct kt_secret *good = NULL, *bad = NULL;
    struct kt_error error = {0};

    (void)state;
    GPG("--passphrase", "open sesame", "--quick-gen-key", "Locked <locked@example.com>",
        "future-default", "default", "never");
    end_agent(home); // it has the passphrase
    encrypt("locked@example.com", "text", 4, &cipher);
    assert_int_equal(kt_secret_from_bytes("wrong", 5, &bad), 0);
    assert_int_equal(kt_secret_from_bytes("open sesame", 11, &good), 0);
    kt_gpg_set_passphrase(own, bad);
    assert_int_equal(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error),
                     KT_ERR_CRYPTO);
    assert_non_null(strstr(error.hint, "passphrase"));
    assert_int_equal(
        kt_gpg_sign_text(own, fingerprint_of(home, "locked@example.com"), "a\n", &text, &error),
        KT_ERR_CRYPTO);
    kt_gpg_set_passphrase(own, good);
    must(kt_gpg_sign_text(own, fingerprint_of(home, "locked@example.com"), "a\n", &text, &error),
         &error);
    end_agent(home);
    must(decrypt(own, kt_buf_ptr(&cipher), kt_buf_left(&cipher), &plain, &error), &error);
    kt_gpg_set_passphrase(own, NULL);
    kt_secret_free(good);
    kt_secret_free(bad);
    kt_buf_free(&cipher);
    kt_buf_free(&plain);
    kt_buf_free(&text);
}

// --- homes ---

static void homes_that_are_none_are_refused(void **state)
{
    struct kt_gpg *gpg = NULL;
    struct kt_error error = {0};
    char before[300];

    (void)state;
    assert_int_equal(kt_gpg_new_own(temp_path("missing"), &gpg, &error), KT_ERR_SYSTEM);
    assert_int_equal(kt_gpg_new_own(temp_text("file", ""), &gpg, &error), KT_ERR_INVALID);
    snprintf(before, sizeof before, "%s", getenv("HOME"));
    unsetenv("GNUPGHOME");
    setenv("HOME", temp_dir, 1);
    must(kt_gpg_new_own(NULL, &gpg, &error), &error); // ~/.gnupg is made
    assert_int_equal(access(temp_path(".gnupg"), R_OK | W_OK | X_OK), 0);
    kt_gpg_free(gpg);
    setenv("GNUPGHOME", home, 1);
    must(kt_gpg_new_own(NULL, &gpg, &error), &error);
    assert_int_equal(kt_gpg_has_secret(gpg, NULL, 0), 0);
    kt_gpg_free(gpg);
    unsetenv("GNUPGHOME");
    setenv("HOME", "", 1);
    setenv("HOME", before, 1);
}

static void a_temporary_keyring_holds_one_key_and_leaves_nothing(void **state)
{
    struct kt_buf key = KT_BUF_INIT(65536), two = KT_BUF_INIT(65536), text = KT_BUF_INIT(65536);
    struct kt_gpg *gpg = NULL;
    struct kt_error error = {0};
    char found[KT_OPENPGP_FINGERPRINT_TEXT], folder[300];
    const char *fingerprint = fingerprint_of(home, "admin@example.com");

    (void)state;
    snprintf(folder, sizeof folder, "%s/temporary", temp_dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    setenv("TMPDIR", folder, 1);
    must(kt_gpg_export(own, fingerprint, &key, &error), &error);
    must(kt_gpg_new_temporary(kt_buf_ptr(&key), kt_buf_left(&key), &gpg, found, &error), &error);
    assert_string_equal(found, fingerprint);
    kt_gpg_free_temporary(gpg);
    must(kt_gpg_export_text(own, fingerprint, &text, &error), &error);
    assert_memory_equal(kt_buf_ptr(&text), "-----BEGIN PGP PUBLIC KEY BLOCK-----\n", 37);
    must(kt_gpg_new_temporary(kt_buf_ptr(&text), kt_buf_left(&text), &gpg, found, &error), &error);
    kt_gpg_free_temporary(gpg);
    must(kt_gpg_export(own, fingerprint, &two, &error), &error);
    must(kt_gpg_export(own, fingerprint_of(home, "escrow@example.com"), &two, &error), &error);
    assert_int_equal(kt_gpg_new_temporary(kt_buf_ptr(&two), kt_buf_left(&two), &gpg, found, &error),
                     KT_ERR_OPENPGP_KEY_INVALID);
    assert_int_equal(kt_gpg_new_temporary("no key", 6, &gpg, found, &error),
                     KT_ERR_OPENPGP_KEY_INVALID);
    kt_buf_reset(&two);
    assert_int_equal(gpg_in(home, ARGS("--export-secret-keys", "sign@example.com"), NULL, 0, &two),
                     0);
    assert_int_equal(kt_gpg_new_temporary(kt_buf_ptr(&two), kt_buf_left(&two), &gpg, found, &error),
                     KT_ERR_OPENPGP_KEY_INVALID);
    assert_int_equal(
        kt_gpg_export_text(own, "0000000000000000000000000000000000000000", &text, &error),
        KT_ERR_NOT_FOUND);
    assert_int_equal(kt_dir_is_empty(folder, &error), 1);
    unsetenv("TMPDIR");
    kt_gpg_free_temporary(NULL);
    kt_buf_free(&key);
    kt_buf_free(&two);
    kt_buf_free(&text);
}

// --- signed text ---

#define TEXT "keytrustee-backup 1\nkind files\n\nowner kts01\n"

static void sign(const char *who, const char *text, struct kt_buf *out)
{
    struct kt_error error = {0};

    must(kt_gpg_sign_text(own, fingerprint_of(home, who), text, out, &error), &error);
}

static int verify(const char *who, const void *bytes, size_t n, struct kt_buf *text)
{
    struct kt_error error = {0};
    size_t before = text->len;
    int rc = kt_gpg_verify_text(own, fingerprint_of(home, who), bytes, n, text, &error);

    if (rc != 0)
        assert_int_equal(text->len, before);
    return rc;
}

static void signed_text_comes_back_and_gpg_reads_it(void **state)
{
    struct kt_buf out = KT_BUF_INIT(65536), text = KT_BUF_INIT(65536);

    (void)state;
    sign("admin@example.com", TEXT, &out);
    assert_int_equal(verify("admin@example.com", kt_buf_ptr(&out), kt_buf_left(&out), &text), 0);
    assert_int_equal(kt_buf_left(&text), strlen(TEXT));
    assert_memory_equal(kt_buf_ptr(&text), TEXT, strlen(TEXT));
    assert_int_equal(gpg_in(home, ARGS("--verify"), kt_buf_ptr(&out), kt_buf_left(&out), NULL), 0);
    assert_int_equal(verify("escrow@example.com", kt_buf_ptr(&out), kt_buf_left(&out), &text),
                     KT_ERR_SIGNATURE);
    kt_buf_free(&out);
    kt_buf_free(&text);
}

static void text_that_a_signature_would_not_cover_is_not_signed(void **state)
{
    static const char *const TEXTS[] = {"",         "no end",     "-dash\n", "a\n-----BEGIN\n",
                                        "space \n", "tab\t\nb\n", "crlf\r\n"};
    struct kt_buf out = KT_BUF_INIT(65536);
    struct kt_error error = {0};

    (void)state;
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++)
        assert_int_equal(kt_gpg_sign_text(own, fingerprint_of(home, "admin@example.com"), TEXTS[i],
                                          &out, &error),
                         KT_ERR_INVALID);
    assert_int_equal(
        kt_gpg_sign_text(own, "0000000000000000000000000000000000000000", "a\n", &out, &error),
        KT_ERR_NOT_FOUND);
    assert_int_equal(kt_buf_left(&out), 0);
    kt_buf_free(&out);
}

// What stands for a piece of the signed text in its place.
static int verify_changed(const struct kt_buf *from, const char *piece, const char *with)
{
    struct kt_buf changed = KT_BUF_INIT(131072), text = KT_BUF_INIT(65536);
    const char *bytes = (const char *)kt_buf_ptr(from);
    size_t n = kt_buf_left(from);
    const char *at = memmem(bytes, n, piece, strlen(piece));
    int rc;

    assert_non_null(at);
    assert_int_equal(kt_buf_put(&changed, bytes, (size_t)(at - bytes)), 0);
    assert_int_equal(kt_buf_put(&changed, with, strlen(with)), 0);
    at += strlen(piece);
    assert_int_equal(kt_buf_put(&changed, at, n - (size_t)(at - bytes)), 0);
    rc = verify("admin@example.com", kt_buf_ptr(&changed), kt_buf_left(&changed), &text);
    kt_buf_free(&changed);
    kt_buf_free(&text);
    return rc;
}

static void nothing_around_or_in_the_text_can_be_changed(void **state)
{
    static const char *const CHANGES[][2] = {
        {"kind files", "kind filez"},
        {"kind files", "kind files "},
        {"kind files", "kind files\t"},
        {"kind files\n", "kind files\r\n"},
        {"kind files", "- kind files"},
        {"kind files\n", "kind files\n- -----BEGIN PGP SIGNATURE-----\n"},
        {"kind files\n\n", "kind files\n"},
        {"kts01\n", "kts01\n\n"},
        {"kts01\n", "kts01\nextra\n"},
        {"-----BEGIN PGP SIGNED", "\n-----BEGIN PGP SIGNED"},
        {"-----BEGIN PGP SIGNED", "hello\n-----BEGIN PGP SIGNED"},
        {"-----BEGIN PGP SIGNED", " -----BEGIN PGP SIGNED"},
        {"-----END PGP SIGNATURE-----\n", "-----END PGP SIGNATURE-----\nmore\n"},
        {"-----END PGP SIGNATURE-----\n", "-----END PGP SIGNATURE-----\n\n"},
        {"-----END PGP SIGNATURE-----\n", "-----END PGP SIGNATURE-----"},
        {"-----END PGP SIGNATURE-----\n", ""},
        {"Hash: ", "Evil: keytrustee-backup 1\nHash: "},
        {"Hash: ", "\nHash: "},
        {"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP SIGNATURE----- "},
        {"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----"},
    };
    struct kt_buf out = KT_BUF_INIT(65536), text = KT_BUF_INIT(65536);
    uint8_t *bytes;
    size_t n;

    (void)state;
    sign("admin@example.com", TEXT, &out);
    assert_int_equal(verify_changed(&out, "kind files", "kind files"), 0);
    for (size_t i = 0; i < sizeof CHANGES / sizeof CHANGES[0]; i++)
        if (verify_changed(&out, CHANGES[i][0], CHANGES[i][1]) != KT_ERR_SIGNATURE)
            fail_msg("accepted: \"%s\" for \"%s\"", CHANGES[i][1], CHANGES[i][0]);
    n = kt_buf_left(&out);
    bytes = malloc(2 * n);
    memcpy(bytes, kt_buf_ptr(&out), n);
    memcpy(bytes + n, kt_buf_ptr(&out), n); // a second block
    assert_int_equal(verify("admin@example.com", bytes, 2 * n, &text), KT_ERR_SIGNATURE);
    for (size_t i = 0; i < n; i += 1 + n / 60) { // whatever is changed, never another text
        bytes[i] ^= 1;
        kt_buf_reset(&text);
        if (verify("admin@example.com", bytes, n, &text) == 0) {
            assert_int_equal(kt_buf_left(&text), strlen(TEXT));
            assert_memory_equal(kt_buf_ptr(&text), TEXT, strlen(TEXT));
        }
        bytes[i] ^= 1;
    }
    assert_int_equal(verify("admin@example.com", bytes, 0, &text), KT_ERR_SIGNATURE);
    assert_int_equal(verify("admin@example.com", TEXT, strlen(TEXT), &text), KT_ERR_SIGNATURE);
    free(bytes);
    kt_buf_free(&out);
    kt_buf_free(&text);
}

static void a_signature_of_two_keys_or_of_a_revoked_one_is_refused(void **state)
{
    struct kt_buf out = KT_BUF_INIT(65536), text = KT_BUF_INIT(65536);

    (void)state;
    assert_int_equal(gpg_in(home,
                            ARGS("--clear-sign", "--local-user", "admin@example.com",
                                 "--local-user", "sign@example.com"),
                            TEXT, strlen(TEXT), &out),
                     0);
    assert_int_equal(verify("admin@example.com", kt_buf_ptr(&out), kt_buf_left(&out), &text),
                     KT_ERR_SIGNATURE);
    kt_buf_reset(&out);
    GPG("--quick-gen-key", "Lost <lost@example.com>", "ed25519", "sign", "never");
    sign("lost@example.com", TEXT, &out);
    assert_int_equal(verify("lost@example.com", kt_buf_ptr(&out), kt_buf_left(&out), &text), 0);
    kt_buf_reset(&text);
    revoke_key("lost@example.com");
    assert_int_equal(verify("lost@example.com", kt_buf_ptr(&out), kt_buf_left(&out), &text),
                     KT_ERR_SIGNATURE);
    kt_buf_free(&out);
    kt_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recipient_is_found_by_each_kind_of_name),
        cmocka_unit_test(an_address_that_another_contains_is_not_that_one),
        cmocka_unit_test(names_that_fit_no_key_or_many_are_refused),
        cmocka_unit_test(keys_that_cannot_be_used_are_refused_with_the_reason),
        cmocka_unit_test(the_end_of_a_recipient_is_the_earlier_of_its_keys),
        cmocka_unit_test(streams_of_every_length_come_back),
        cmocka_unit_test(a_stream_through_pipes_goes_to_exactly_its_recipients),
        cmocka_unit_test(what_the_sink_says_ends_the_stream),
        cmocka_unit_test(what_gpg_refuses_to_encrypt_to_is_an_error),
        cmocka_unit_test(a_gpg_that_is_killed_is_an_error),
        cmocka_unit_test(a_damaged_message_is_never_a_success),
        cmocka_unit_test(what_is_no_encrypted_message_is_refused_before_gpg_sees_it),
        cmocka_unit_test(without_the_secret_key_the_key_ids_are_named),
        cmocka_unit_test(one_of_several_secret_keys_is_enough),
        cmocka_unit_test(an_agent_that_cannot_be_started_is_an_error),
        cmocka_unit_test(a_passphrase_is_given_and_a_wrong_one_refused),
        cmocka_unit_test(homes_that_are_none_are_refused),
        cmocka_unit_test(a_temporary_keyring_holds_one_key_and_leaves_nothing),
        cmocka_unit_test(signed_text_comes_back_and_gpg_reads_it),
        cmocka_unit_test(text_that_a_signature_would_not_cover_is_not_signed),
        cmocka_unit_test(nothing_around_or_in_the_text_can_be_changed),
        cmocka_unit_test(a_signature_of_two_keys_or_of_a_revoked_one_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
