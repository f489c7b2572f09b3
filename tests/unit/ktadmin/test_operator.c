// SPDX-License-Identifier: Apache-2.0
// Operators' bundles: written, read, and refused when they are something else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ktadmin/operator.h"
#include "lib/file.h"
#include "lib/pki.h"

#define CERT "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

static char dir[64], path[96];
static char servers[KTA_BUNDLE_SERVERS_MAX][KT_HOST_MAX + 16];
static size_t count;

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/kta-operator-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/bundle", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void save(void)
{
    struct kt_peers peers = {.count = 3};
    EVP_PKEY *key = NULL;

    snprintf(peers.peers[0].address, sizeof(peers.peers[0].address), "10.0.0.1");
    peers.peers[0].agent_port = 11372;
    snprintf(peers.peers[1].address, sizeof(peers.peers[1].address), "2001:db8::1");
    peers.peers[1].agent_port = 11372;
    snprintf(peers.peers[2].address, sizeof(peers.peers[2].address), "gone.example");
    peers.peers[2].removed = 1;
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kta_bundle_save(path, "title\n", &peers, CERT, CERT, key, NULL), 0);
    EVP_PKEY_free(key);
}

static void a_bundle_names_the_nodes_and_is_the_owners_alone(void **state)
{
    struct kt_error error = {0};
    struct stat st;

    (void)state;
    save();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(kta_bundle_check(path, servers, &count, &error), 0);
    assert_int_equal(count, 2); // not the one that was removed
    assert_string_equal(servers[0], "10.0.0.1:11372");
    assert_string_equal(servers[1], "[2001:db8::1]:11372");
}

static void its_key_can_be_read_back(void **state)
{
    EVP_PKEY *key = NULL;

    (void)state;
    save();
    assert_int_equal(kt_pki_key_load(path, &key, NULL), 0);
    EVP_PKEY_free(key);
}

static void a_file_that_is_there_is_not_replaced(void **state)
{
    struct kt_peers peers = {.count = 0};
    EVP_PKEY *key = NULL;

    (void)state;
    assert_int_equal(kt_file_replace(path, "x", 1, 0600, NULL), 0);
    assert_int_equal(kt_pki_new_p256(&key), 0);
    assert_int_equal(kta_bundle_save(path, "", &peers, CERT, CERT, key, NULL), KT_ERR_EXISTS);
    EVP_PKEY_free(key);
}

static void a_bundle_that_others_can_read_is_refused(void **state)
{
    (void)state;
    save();
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(kta_bundle_check(path, servers, &count, NULL), KT_ERR_PERMISSION);
}

static void another_file_is_refused(void **state)
{
    static const char *const TEXTS[] = {"", "hello\n", CERT, "server: \n" CERT "PRIVATE KEY-----",
                                        "server: a b\n" CERT "PRIVATE KEY-----"};

    (void)state;
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        assert_int_equal(kt_file_replace(path, TEXTS[i], strlen(TEXTS[i]), 0600, NULL), 0);
        assert_int_equal(kta_bundle_check(path, servers, &count, NULL), KT_ERR_INVALID);
    }
    unlink(path);
    assert_int_equal(kta_bundle_check(path, servers, &count, NULL), KT_ERR_NOT_FOUND);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest cases[] = {
        CASE(a_bundle_names_the_nodes_and_is_the_owners_alone),
        CASE(its_key_can_be_read_back),
        CASE(a_file_that_is_there_is_not_replaced),
        CASE(a_bundle_that_others_can_read_is_refused),
        CASE(another_file_is_refused),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
