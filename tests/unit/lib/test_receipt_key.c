// SPDX-License-Identifier: Apache-2.0
// The receipt keys on disk: at whatever step a kill comes a usable key is there, the next run finishes,
// and of the old key nothing is left.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/pki.h"
#include "lib/receipt_key.h"
#include "tests/unit/lib/temp_dir.h"

#define KILLED    77
#define STEPS_MAX 100

static struct kt_paths paths;
static struct kt_error error;
static EVP_PKEY *ca_key;
static X509 *ca;
static struct kt_receipt_pair old, next;

// --- what changes a folder or a file goes through here: the process ends before step number `left` ---

static int left = -1;

static void step(void)
{
    if (left >= 0 && left-- == 0)
        _exit(KILLED);
}

int rename(const char *from, const char *to)
{
    step();
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int link(const char *from, const char *to)
{
    step();
    return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
    step();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int fsync(int fd)
{
    step();
    return (int)syscall(SYS_fsync, fd);
}

// --- keys ---

static void make(struct kt_receipt_pair *pair)
{
    assert_int_equal(kt_receipt_pair_make(ca_key, ca, 86400, pair, &error), 0);
}

static int setup(void **state)
{
    left = -1;
    memset(&error, 0, sizeof(error));
    if (temp_dir_setup(state) || mkdir(temp_path("conf"), 0700) ||
        mkdir(temp_path("conf/.keytrustee"), 0700) ||
        mkdir(temp_path("conf/.keytrustee/receipt"), 0700) ||
        kt_paths_resolve(temp_path("conf"), &paths, &error) || kt_pki_new_p256(&ca_key) ||
        kt_pki_make_ca(ca_key, "cluster", 864000, &ca))
        return -1;
    make(&old);
    make(&next);
    return kt_pki_key_save(paths.receipt_key, old.key, &error) ||
           kt_pki_cert_save(paths.receipt_cert, old.cert, NULL, &error);
}

static int teardown(void **state)
{
    kt_receipt_pair_free(&old);
    kt_receipt_pair_free(&next);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    ca = NULL;
    ca_key = NULL;
    return temp_dir_teardown(state);
}

static void in_use_is(const char *id)
{
    struct kt_receipt_pair pair = {.key = NULL};

    assert_int_equal(kt_receipt_pair_load(&paths, 0, &pair, &error), 0);
    assert_string_equal(pair.id, id);
    kt_receipt_pair_free(&pair);
}

static void next_is(const char *id)
{
    char now[KT_KEY_ID_TEXT];

    kt_receipt_key_id_of(&paths, 1, now);
    assert_string_equal(now, id);
}

static int count_in_folder(void)
{
    char command[KT_PATH_MAX + 64];
    int count = -1;
    FILE *out;

    snprintf(command, sizeof(command), "ls -A '%s/receipt' | wc -l", paths.confdir);
    out = popen(command, "r");
    assert_non_null(out);
    assert_int_equal(fscanf(out, "%d", &count), 1);
    pclose(out);
    return count;
}

static void the_next_key_takes_the_place_of_the_old_one(void **state)
{
    (void)state;
    assert_int_equal(kt_receipt_next_save(&paths, &next, &error), 0);
    in_use_is(old.id);
    next_is(next.id);
    assert_int_equal(kt_receipt_next_use(&paths, &error), 0);
    in_use_is(next.id);
    next_is("");
    assert_int_equal(count_in_folder(), 2);
    assert_int_equal(kt_receipt_next_use(&paths, &error), KT_ERR_NOT_FOUND);
    assert_int_equal(kt_file_check_private(paths.receipt_key, 1, &error), 0);
}

// Through a descriptor that was open before: the name leads elsewhere by then.
static void the_old_key_is_overwritten_on_disk(void **state)
{
    char bytes[4096];
    int fd = open(paths.receipt_key, O_RDONLY);
    ssize_t n;

    (void)state;
    assert_int_equal(kt_receipt_next_save(&paths, &next, &error), 0);
    assert_int_equal(kt_receipt_next_use(&paths, &error), 0);
    n = pread(fd, bytes, sizeof(bytes), 0);
    assert_in_range(n, 50, sizeof(bytes));
    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(bytes[i], 0);
    close(fd);
}

static void a_next_key_that_is_replaced_or_dropped_is_overwritten(void **state)
{
    char bytes[64] = "";
    int fd;

    (void)state;
    assert_int_equal(kt_receipt_next_save(&paths, &old, &error), 0);
    fd = open(paths.receipt_next, O_RDONLY);
    assert_int_equal(kt_receipt_next_save(&paths, &next, &error), 0);
    assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
    assert_int_equal(bytes[0], 0);
    close(fd);
    next_is(next.id);
    fd = open(paths.receipt_next, O_RDONLY);
    assert_int_equal(kt_receipt_next_drop(&paths, &error), 0);
    assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
    assert_int_equal(bytes[0], 0);
    close(fd);
    assert_int_equal(kt_receipt_next_drop(&paths, &error), 0); // nothing there
    in_use_is(old.id);
    assert_int_equal(count_in_folder(), 2);
}

// Runs in a child that ends before its step number `at`. 1 when it came so far.
static int killed_at(int at, int (*act)(const struct kt_paths *, struct kt_error *))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        left = at;
        _exit(act(&paths, &error) ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == KILLED || WEXITSTATUS(status) == 0);
    return WEXITSTATUS(status) == KILLED;
}

// The writer finds the old key or the new one.
static void one_is_usable(void)
{
    char used[KT_KEY_ID_TEXT];

    kt_receipt_key_id_of(&paths, 0, used);
    if (strcmp(used, next.id) == 0)
        return;
    assert_string_equal(used, old.id);
    next_is(next.id);
}

// A run that ends before its step number `at`, and one behind it that ends before its step `again`.
// 1 when the first came so far.
static int kill_twice(void **state, int at, int again)
{
    int killed;

    assert_int_equal(setup(state), 0);
    assert_int_equal(kt_receipt_next_save(&paths, &next, &error), 0);
    killed = killed_at(at, kt_receipt_next_use);
    one_is_usable();
    if (kt_file_exists(paths.receipt_next)) {
        killed_at(again, kt_receipt_next_use);
        one_is_usable();
    }
    if (kt_file_exists(paths.receipt_next))
        assert_int_equal(kt_receipt_next_use(&paths, &error), 0);
    else
        assert_int_equal(kt_receipt_next_drop(&paths, &error), 0);
    in_use_is(next.id);
    assert_int_equal(count_in_folder(), 2);
    assert_int_equal(teardown(state), 0);
    return killed;
}

static void a_kill_at_any_step_leaves_a_key_and_the_next_run_finishes(void **state)
{
    int at = 0;

    while (at < STEPS_MAX && kill_twice(state, at, at) && kill_twice(state, at, 2) &&
           kill_twice(state, at, 4) && kill_twice(state, at, 6))
        at++;
    assert_in_range(at, 8, STEPS_MAX - 1);
    assert_int_equal(setup(state), 0);
}

static int save_next(const struct kt_paths *where, struct kt_error *why)
{
    return kt_receipt_next_save(where, &next, why);
}

static void a_kill_while_the_next_key_is_kept_leaves_none_or_a_whole_one(void **state)
{
    int at = 0;

    (void)state;
    for (; at < STEPS_MAX && killed_at(at, save_next); at++) {
        struct kt_receipt_pair pair = {.key = NULL};
        int rc = kt_receipt_pair_load(&paths, 1, &pair, &error);

        assert_true(rc == 0 || rc == KT_ERR_NOT_FOUND);
        kt_receipt_pair_free(&pair);
        in_use_is(old.id);
    }
    assert_in_range(at, 3, STEPS_MAX - 1);
    next_is(next.id);
    assert_int_equal(kt_receipt_next_use(&paths, &error), 0);
    assert_int_equal(count_in_folder(), 2);
}

static void text_of_a_pair_is_read_back(void **state)
{
    struct kt_receipt_pair read = {.key = NULL};
    struct kt_secret *text = NULL;

    (void)state;
    assert_int_equal(kt_receipt_pair_text(&next, &text), 0);
    assert_int_equal(
        kt_receipt_pair_parse(kt_secret_text(text), kt_secret_len(text), &read, &error), 0);
    assert_string_equal(read.id, next.id);
    assert_int_equal(
        kt_receipt_pair_parse(kt_secret_text(text), kt_secret_len(text) / 2, &read, &error),
        KT_ERR_CRYPTO);
    kt_receipt_pair_free(&read);
    kt_secret_free(text);
}

static void a_key_with_the_certificate_of_another_is_no_pair(void **state)
{
    struct kt_receipt_pair mixed = {.key = old.key, .cert = next.cert}, read = {.key = NULL};
    struct kt_secret *text = NULL;

    (void)state;
    assert_int_equal(kt_receipt_pair_text(&mixed, &text), 0);
    assert_int_equal(
        kt_receipt_pair_parse(kt_secret_text(text), kt_secret_len(text), &read, &error),
        KT_ERR_CRYPTO);
    assert_null(read.key);
    kt_secret_free(text);
    assert_int_equal(kt_pki_cert_save(paths.receipt_cert, next.cert, NULL, &error), 0);
    assert_int_equal(kt_receipt_pair_load(&paths, 0, &read, &error), KT_ERR_CRYPTO);
}

static void certificate_of_another_role_or_ca_is_refused(void **state)
{
    const struct kt_pki_subject client = {.role = KT_PKI_CLIENT,
                                          .common_name = "receipt key",
                                          .organisation = "acme",
                                          .lifetime_s = 3600};
    EVP_PKEY *other_key = NULL;
    X509 *other = NULL, *cert = NULL;
    char id[KT_KEY_ID_TEXT];

    (void)state;
    assert_int_equal(kt_receipt_cert_check(next.cert, ca, id), 0);
    assert_string_equal(id, next.id);
    assert_int_equal(kt_pki_sign(ca_key, ca, next.key, &client, &cert), 0);
    assert_int_equal(kt_receipt_cert_check(cert, ca, id), KT_ERR_INVALID);
    X509_free(cert);
    assert_int_equal(kt_pki_new_p256(&other_key), 0);
    assert_int_equal(kt_pki_make_ca(other_key, "cluster", 864000, &other), 0);
    assert_int_equal(kt_receipt_cert_check(next.cert, other, id), KT_ERR_CERTIFICATE_UNKNOWN_CA);
    X509_free(other);
    EVP_PKEY_free(other_key);
}

static void file_that_others_can_read_is_refused(void **state)
{
    struct kt_receipt_pair pair = {.key = NULL};

    (void)state;
    assert_int_equal(kt_receipt_next_save(&paths, &next, &error), 0);
    assert_int_equal(chmod(paths.receipt_next, 0644), 0);
    assert_int_equal(kt_receipt_pair_load(&paths, 1, &pair, &error), KT_ERR_PERMISSION);
    next_is("");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_next_key_takes_the_place_of_the_old_one),
        CASE(the_old_key_is_overwritten_on_disk),
        CASE(a_next_key_that_is_replaced_or_dropped_is_overwritten),
        cmocka_unit_test_teardown(a_kill_at_any_step_leaves_a_key_and_the_next_run_finishes,
                                  teardown),
        CASE(a_kill_while_the_next_key_is_kept_leaves_none_or_a_whole_one),
        CASE(text_of_a_pair_is_read_back),
        CASE(a_key_with_the_certificate_of_another_is_no_pair),
        CASE(certificate_of_another_role_or_ca_is_refused),
        CASE(file_that_others_can_read_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
