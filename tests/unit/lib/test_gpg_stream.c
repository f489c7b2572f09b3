// SPDX-License-Identifier: Apache-2.0
// Encrypting and decrypting streams of any length, and what ends them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/openpgp_file.h"
#include "tests/unit/lib/gpg_homes.h"

static int refuse_all(void *arg, const void *bytes, size_t n, struct kt_error *error)
{
    (void)arg, (void)bytes, (void)n;
    return kt_error_set(error, KT_ERR_STORAGE_FULL, NULL, "the disk is full");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_of_every_length_come_back),
        cmocka_unit_test(a_stream_through_pipes_goes_to_exactly_its_recipients),
        cmocka_unit_test(what_the_sink_says_ends_the_stream),
        cmocka_unit_test(what_gpg_refuses_to_encrypt_to_is_an_error),
        cmocka_unit_test(a_gpg_that_is_killed_is_an_error),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
