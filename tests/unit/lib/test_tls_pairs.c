// SPDX-License-Identifier: Apache-2.0
// Renewing the pairs of key and certificate: whatever step a kill comes at, each key fits its
// certificate, and the next run finishes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/encode.h"
#include "lib/file.h"
#include "lib/pki.h"
#include "lib/tls_pairs.h"
#include "tests/unit/lib/temp_dir.h"

#define KILLED    77
#define STEPS_MAX 200

static struct kt_paths paths;
static struct kt_error error;
static EVP_PKEY *ca_key;
static X509 *ca;

// --- what changes a folder goes through here: the process ends before step number `left` ---

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

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    step();
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int symlink(const char *to, const char *path)
{
    step();
    return (int)syscall(SYS_symlinkat, to, AT_FDCWD, path);
}

int unlink(const char *path)
{
    step();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int mkdir(const char *path, mode_t mode)
{
    step();
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int rmdir(const char *path)
{
    step();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

// --- pairs ---

static int64_t lifetime_s = 86400;

static void sign(EVP_PKEY **key, X509 **cert, enum kt_pki_role role)
{
    struct kt_pki_subject subject = {
        .role = role, .common_name = "kts-01.1a2b3c4d", .lifetime_s = lifetime_s};

    assert_int_equal(kt_pki_new_p256(key), 0);
    assert_int_equal(kt_pki_sign(ca_key, ca, *key, &subject, cert), 0);
}

static void save_pair(enum kt_pair pair, enum kt_pki_role role)
{
    char path[KT_PATH_MAX];
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;

    sign(&key, &cert, role);
    assert_int_equal(kt_pair_path(&paths, pair, 0, 1, path), 0);
    assert_int_equal(kt_pki_key_save(path, key, &error), 0);
    assert_int_equal(kt_pair_path(&paths, pair, 0, 0, path), 0);
    assert_int_equal(kt_pki_cert_save(path, cert, ca, &error), 0);
    EVP_PKEY_free(key);
    X509_free(cert);
}

static int setup(void **state)
{
    char dir[512];

    left = -1;
    lifetime_s = 86400;
    memset(&error, 0, sizeof(error));
    if (temp_dir_setup(state))
        return -1;
    snprintf(paths.confdir, sizeof(paths.confdir), "%s", temp_dir);
    snprintf(dir, sizeof(dir), "%s", temp_path("tls"));
    if (mkdir(dir, 0700) || kt_pki_new_p256(&ca_key) ||
        kt_pki_make_ca(ca_key, "cluster", 864000, &ca))
        return -1;
    save_pair(KT_PAIR_NODE, KT_PKI_NODE);
    save_pair(KT_PAIR_SERVER, KT_PKI_SERVER);
    return 0;
}

static int teardown(void **state)
{
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    ca = NULL;
    ca_key = NULL;
    return temp_dir_teardown(state);
}

// SHA-256 of the certificate in use; each key is that of its certificate.
static void look(enum kt_pair pair, uint8_t sha256[KT_SHA256_LEN])
{
    char path[KT_PATH_MAX];
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;

    assert_int_equal(kt_pair_path(&paths, pair, 0, 1, path), 0);
    assert_int_equal(kt_pki_key_load(path, &key, &error), 0);
    assert_int_equal(kt_pair_path(&paths, pair, 0, 0, path), 0);
    assert_int_equal(kt_pki_cert_load(path, &cert, &error), 0);
    assert_int_equal(X509_check_private_key(cert, key), 1);
    assert_int_equal(kt_pki_cert_sha256(cert, sha256), 0);
    EVP_PKEY_free(key);
    X509_free(cert);
}

static int stage(int node, int server)
{
    EVP_PKEY *keys[KT_PAIRS] = {NULL};
    X509 *certs[KT_PAIRS] = {NULL};
    int rc;

    if (node)
        sign(&keys[KT_PAIR_NODE], &certs[KT_PAIR_NODE], KT_PKI_NODE);
    if (server)
        sign(&keys[KT_PAIR_SERVER], &certs[KT_PAIR_SERVER], KT_PKI_SERVER);
    rc = kt_pairs_stage(&paths, keys, certs, ca, &error);
    for (int i = 0; i < KT_PAIRS; i++) {
        EVP_PKEY_free(keys[i]);
        X509_free(certs[i]);
    }
    return rc;
}

// As ktadmin rotate goes on with whatever there is.
static int renew(void)
{
    int rc = kt_pairs_is_begun(&paths, NULL) ? 0 : stage(1, 1);

    if (rc == 0)
        rc = kt_pairs_use(&paths, &error);
    return rc ? rc : kt_pairs_end(&paths, &error);
}

static int count_in_tls(void)
{
    char command[KT_PATH_MAX + 64];
    int count = -1;
    FILE *out;

    snprintf(command, sizeof(command), "ls -A '%s/tls' | wc -l", paths.confdir);
    out = popen(command, "r");
    assert_non_null(out);
    assert_int_equal(fscanf(out, "%d", &count), 1);
    pclose(out);
    return count;
}

// Four names, `current`, one folder.
#define LEFT 6

static void all_are_renewed_and_nothing_is_left_behind(void **state)
{
    uint8_t old[KT_PAIRS][KT_SHA256_LEN], now[KT_SHA256_LEN];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < KT_PAIRS; i++)
            look((enum kt_pair)i, old[i]);
        assert_int_equal(renew(), 0);
        for (int i = 0; i < KT_PAIRS; i++) {
            look((enum kt_pair)i, now);
            assert_memory_not_equal(now, old[i], sizeof(now));
        }
        assert_int_equal(count_in_tls(), LEFT);
        assert_int_equal(kt_pairs_is_begun(&paths, NULL), 0);
    }
}

static void a_pair_that_is_not_renewed_stays(void **state)
{
    uint8_t old[KT_PAIRS][KT_SHA256_LEN], now[KT_SHA256_LEN];

    (void)state;
    look(KT_PAIR_NODE, old[KT_PAIR_NODE]);
    look(KT_PAIR_SERVER, old[KT_PAIR_SERVER]);
    assert_int_equal(stage(0, 1), 0);
    assert_int_equal(kt_pairs_use(&paths, &error), 0);
    assert_int_equal(kt_pairs_end(&paths, &error), 0);
    look(KT_PAIR_NODE, now);
    assert_memory_equal(now, old[KT_PAIR_NODE], sizeof(now));
    look(KT_PAIR_SERVER, now);
    assert_memory_not_equal(now, old[KT_PAIR_SERVER], sizeof(now));
}

static void run_shell(const char *text)
{
    char command[2 * KT_PATH_MAX];

    snprintf(command, sizeof(command), "cd '%s/tls' && %s", paths.confdir, text);
    assert_int_equal(system(command), 0);
}

// As a zip archive has it: what the links led to, in their places.
#define RESTORE "cp -rL ../tls ../restored && rm -r ../tls && mv ../restored ../tls"
// The names are links still, and `current` is a folder.
#define FOLDER "cp -rL current copy && rm current && mv copy current"

// Once with plain files, as init and join write them, and once with links, as a renewal leaves
// them; then `change` is done.
static void kill_at_every_step(int has_links, const char *change)
{
    uint8_t old[KT_SHA256_LEN], now[KT_PAIRS][KT_SHA256_LEN];
    int status = 0, n;

    for (n = 0; n < STEPS_MAX; n++) {
        void *state = NULL;
        assert_int_equal(setup(&state), 0);
        if (has_links)
            assert_int_equal(renew(), 0);
        run_shell(change);
        look(KT_PAIR_NODE, old);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            left = n;
            _exit(renew() ? 1 : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        look(KT_PAIR_NODE, now[KT_PAIR_NODE]);
        look(KT_PAIR_SERVER, now[KT_PAIR_SERVER]);
        if (WEXITSTATUS(status) == KILLED) {
            assert_int_equal(renew(), 0);
            look(KT_PAIR_NODE, now[KT_PAIR_NODE]);
            look(KT_PAIR_SERVER, now[KT_PAIR_SERVER]);
        }
        assert_memory_not_equal(now[KT_PAIR_NODE], old, sizeof(old));
        // A folder of a killed run, with a file that was being written, may be left, and no more.
        assert_in_range(count_in_tls(), LEFT, LEFT + 2);
        teardown(&state);
        if (WEXITSTATUS(status) == 0)
            break;
        assert_int_equal(WEXITSTATUS(status), KILLED);
    }
    assert_in_range(n, 10, STEPS_MAX - 1); // the steps were counted
}

static void killed_at_any_step_of_the_first_renewal_the_pairs_fit(void **state)
{
    (void)state;
    kill_at_every_step(0, ":");
}

static void killed_at_any_step_of_a_later_renewal_the_pairs_fit(void **state)
{
    (void)state;
    kill_at_every_step(1, ":");
}

static void killed_at_any_step_after_a_restore_the_pairs_fit(void **state)
{
    (void)state;
    kill_at_every_step(1, RESTORE);
    kill_at_every_step(1, FOLDER);
    kill_at_every_step(1, FOLDER " && cp -rL current next");
}

static void a_renewal_that_has_begun_is_not_begun_again(void **state)
{
    int is_used = 1;

    (void)state;
    assert_int_equal(stage(1, 1), 0);
    assert_int_equal(kt_pairs_is_begun(&paths, &is_used), 1);
    assert_int_equal(is_used, 0);
    assert_int_equal(stage(1, 1), KT_ERR_EXISTS);
    assert_int_equal(kt_pairs_end(&paths, &error), KT_ERR_INVALID);
    assert_int_equal(kt_pairs_use(&paths, &error), 0);
    assert_int_equal(kt_pairs_is_begun(&paths, &is_used), 1);
    assert_int_equal(is_used, 1);
    assert_int_equal(kt_pairs_use(&paths, &error), 0);
    assert_int_equal(kt_pairs_end(&paths, &error), 0);
}

static void without_a_renewal_there_is_nothing_to_use_or_to_end(void **state)
{
    (void)state;
    assert_int_equal(kt_pairs_use(&paths, &error), KT_ERR_NOT_FOUND);
    assert_non_null(strstr(error.hint, "ktadmin rotate"));
    assert_int_equal(kt_pairs_end(&paths, &error), 0);
}

static void a_key_that_is_not_its_certificates_is_not_used(void **state)
{
    uint8_t old[KT_SHA256_LEN], now[KT_SHA256_LEN];
    char path[KT_PATH_MAX];
    EVP_PKEY *key = NULL;

    (void)state;
    look(KT_PAIR_SERVER, old);
    assert_int_equal(stage(1, 1), 0);
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kt_pair_path(&paths, KT_PAIR_SERVER, 1, 1, path), 0);
    assert_int_equal(kt_pki_key_save(path, key, &error), 0);
    EVP_PKEY_free(key);
    assert_int_equal(kt_pairs_use(&paths, &error), KT_ERR_CRYPTO);
    assert_non_null(strstr(error.hint, "remove the link"));
    look(KT_PAIR_SERVER, now);
    assert_memory_equal(now, old, sizeof(now));
}

static void files_that_were_put_back_by_hand_count(void **state)
{
    uint8_t restored[KT_SHA256_LEN], now[KT_SHA256_LEN];

    (void)state;
    assert_int_equal(renew(), 0);
    save_pair(KT_PAIR_NODE, KT_PKI_NODE); // replaces the links
    look(KT_PAIR_NODE, restored);
    assert_int_equal(stage(0, 1), 0);
    assert_int_equal(kt_pairs_use(&paths, &error), 0);
    assert_int_equal(kt_pairs_end(&paths, &error), 0);
    look(KT_PAIR_NODE, now);
    assert_memory_equal(now, restored, sizeof(now));
    assert_int_equal(count_in_tls(), LEFT);
}

static void folders_in_the_place_of_links_are_no_hindrance(void **state)
{
    static const char *const CHANGES[] = {RESTORE, FOLDER};
    uint8_t old[KT_SHA256_LEN], now[KT_SHA256_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(CHANGES) / sizeof(CHANGES[0]); i++) {
        assert_int_equal(renew(), 0);
        assert_int_equal(stage(1, 1), 0); // there is a `next` too
        run_shell(CHANGES[i]);
        look(KT_PAIR_NODE, old);
        assert_int_equal(renew(), 0);
        look(KT_PAIR_NODE, now);
        assert_memory_not_equal(now, old, sizeof(now));
        assert_int_equal(count_in_tls(), LEFT);
    }
}

// Neither before it is used, nor between that and the end.
static void a_pair_that_is_put_there_meanwhile_is_not_destroyed(void **state)
{
    uint8_t own[KT_SHA256_LEN], now[KT_SHA256_LEN];

    (void)state;
    for (int is_used = 0; is_used < 2; is_used++) {
        assert_int_equal(stage(1, 1), 0);
        if (is_used)
            assert_int_equal(kt_pairs_use(&paths, &error), 0);
        save_pair(KT_PAIR_NODE, KT_PKI_NODE);
        look(KT_PAIR_NODE, own);
        assert_int_equal(kt_pairs_use(&paths, &error), KT_ERR_EXISTS);
        assert_non_null(strstr(error.hint, "tls/next"));
        run_shell("rm next");
        assert_int_equal(stage(0, 1), 0);
        assert_int_equal(kt_pairs_use(&paths, &error), 0);
        assert_int_equal(kt_pairs_end(&paths, &error), 0);
        look(KT_PAIR_NODE, now);
        assert_memory_equal(now, own, sizeof(now));
    }
    // The same content is nobody's own.
    assert_int_equal(stage(1, 1), 0);
    run_shell("cp -L node-cert.pem x && mv x node-cert.pem");
    assert_int_equal(kt_pairs_use(&paths, &error), 0);
}

static void a_certificate_that_has_expired_is_not_taken_into_use(void **state)
{
    uint8_t old[KT_SHA256_LEN], now[KT_SHA256_LEN];
    int is_used = 0;

    (void)state;
    look(KT_PAIR_NODE, old);
    lifetime_s = 1;
    save_pair(KT_PAIR_SERVER, KT_PKI_SERVER); // one that is not renewed is no hindrance
    assert_int_equal(stage(1, 0), 0);
    for (int64_t until = kt_time_now() + 2100000; kt_time_now() < until;)
        usleep(50000);
    assert_int_equal(kt_pairs_use(&paths, &error), KT_ERR_CERTIFICATE_EXPIRED);
    assert_int_equal(kt_pairs_drop(&paths, &error), 0);
    assert_int_equal(kt_pairs_is_begun(&paths, NULL), 0);
    lifetime_s = 86400;
    assert_int_equal(stage(1, 0), 0);
    assert_int_equal(kt_pairs_use(&paths, &error), 0);
    assert_int_equal(kt_pairs_is_begun(&paths, &is_used), 1);
    assert_true(is_used);
    assert_int_equal(kt_pairs_drop(&paths, &error), KT_ERR_INVALID);
    look(KT_PAIR_NODE, now);
    assert_memory_not_equal(now, old, sizeof(now));
}

static void keys_are_for_their_owner_only(void **state)
{
    char path[KT_PATH_MAX];
    struct stat st;

    (void)state;
    assert_int_equal(renew(), 0);
    for (int i = 0; i < KT_PAIRS; i++) {
        assert_int_equal(kt_pair_path(&paths, (enum kt_pair)i, 0, 1, path), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(all_are_renewed_and_nothing_is_left_behind),
        CASE(a_pair_that_is_not_renewed_stays),
        cmocka_unit_test(killed_at_any_step_of_the_first_renewal_the_pairs_fit),
        cmocka_unit_test(killed_at_any_step_of_a_later_renewal_the_pairs_fit),
        cmocka_unit_test(killed_at_any_step_after_a_restore_the_pairs_fit),
        CASE(a_renewal_that_has_begun_is_not_begun_again),
        CASE(without_a_renewal_there_is_nothing_to_use_or_to_end),
        CASE(a_key_that_is_not_its_certificates_is_not_used),
        CASE(files_that_were_put_back_by_hand_count),
        CASE(folders_in_the_place_of_links_are_no_hindrance),
        CASE(a_pair_that_is_put_there_meanwhile_is_not_destroyed),
        CASE(a_certificate_that_has_expired_is_not_taken_into_use),
        CASE(keys_are_for_their_owner_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
