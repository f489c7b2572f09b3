// SPDX-License-Identifier: Apache-2.0
// Homes of gpg with keys of every kind, for a whole program; streams in memory. Include behind cmocka.h.
#ifndef KT_TEST_GPG_HOMES_H
#define KT_TEST_GPG_HOMES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/gpg_stream.h"
#include "lib/proc.h"
#include "tests/unit/lib/temp_dir.h"

#define MESSAGE_MAX (16 << 20)
#define ARGS(...)   ((const char *const[]){__VA_ARGS__, NULL})

static char home[300], other_home[300];
static struct kt_gpg *own;

static inline void must(int rc, const struct kt_error *error)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error->message);
}

static inline int gpg_in(const char *folder, const char *const *args, const void *input, size_t n,
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

static inline void revoke_key(const char *name)
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

static inline void make_keys(void)
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

static inline int set_up(void **state)
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

static inline void end_agent(const char *folder)
{
    struct kt_proc stop = {.argv = ARGS("gpgconf", "--homedir", folder, "--kill", "all"),
                           .timeout_ms = 20000};
    struct kt_error error = {0};

    must(kt_proc_run(&stop, NULL, &error), &error);
}

static inline int tear_down(void **state)
{
    kt_gpg_free(own);
    end_agent(home);
    end_agent(other_home);
    return temp_dir_teardown(state);
}

static inline void find(const char *text, struct kt_gpg_recipient *recipient)
{
    struct kt_error error = {0};

    must(kt_gpg_find_recipient(own, text, recipient, &error), &error);
}

// --- streams ---

static inline int collect(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    int rc = kt_buf_put(arg, bytes, n);

    return rc == 0 ? 0 : kt_error_set(error, rc, NULL, "too much");
}

static inline int memory_file(const void *bytes, size_t n)
{
    int fd = memfd_create("stream", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(kt_write_all(fd, bytes, n), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static inline int decrypt(struct kt_gpg *gpg, const void *bytes, size_t n, struct kt_buf *plain,
                          struct kt_error *error)
{
    int fd = memory_file(bytes, n);
    int rc = kt_gpg_decrypt_stream(gpg, fd, collect, plain, error);

    close(fd);
    return rc;
}

static inline uint8_t *noise(size_t n)
{
    uint8_t *bytes = malloc(n + 1);

    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 11);
    return bytes;
}

static inline void encrypt(const char *to, const void *bytes, size_t n, struct kt_buf *cipher)
{
    struct kt_gpg_recipient recipient;
    struct kt_error error = {0};
    int fd = memory_file(bytes, n);

    find(to, &recipient);
    must(kt_gpg_encrypt_stream(own, &recipient, 1, fd, collect, cipher, &error), &error);
    close(fd);
}

#endif
