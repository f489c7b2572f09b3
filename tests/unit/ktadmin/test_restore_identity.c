// SPDX-License-Identifier: Apache-2.0
// Which statement a restore makes: behind the one before it, or the first of a line; and when it must
// make none.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ktadmin/restore.h"
#include "lib/file.h"
#include "lib/gpg.h"
#include "lib/pki.h"
#include "lib/statement.h"
#include "tests/unit/lib/temp_dir.h"

#define MEMBER "kts-01.0a1b2c3d"

static struct kt_cli_run quiet;
static struct kta_restore *restore;
static struct kt_error error;

static void must(int rc)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error.message);
}

static void make_certificate(const struct kt_paths *paths)
{
    const struct kt_pki_subject subject = {
        .role = KT_PKI_NODE, .common_name = MEMBER, .lifetime_s = 86400};
    EVP_PKEY *key = NULL;
    X509 *ca = NULL, *cert = NULL;

    must(kt_pki_new_p256(&key));
    must(kt_pki_make_ca(key, "test", 86400, &ca));
    must(kt_pki_sign(key, ca, key, &subject, &cert));
    must(kt_pki_cert_save(paths->node_cert, cert, NULL, &error));
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(key);
}

// As far as a restore has come that is about to write its rows.
static int set_up(void **state)
{
    static struct kt_peers peers = {.count = 1};
    struct kt_gpg *gpg = NULL;
    struct kta_init *init;

    if (temp_dir_setup(state) != 0)
        return -1;
    restore = calloc(1, sizeof(*restore));
    assert_non_null(restore);
    restore->init.run = &quiet;
    init = &restore->init;
    must(kt_paths_resolve(temp_path(".keytrustee"), &init->paths, &error));
    assert_int_equal(mkdir(init->paths.confdir, 0700), 0);
    assert_int_equal(mkdir(temp_path(".keytrustee/tls"), 0700), 0);
    assert_int_equal(mkdir(init->paths.node, 0700), 0);
    must(kt_uuid_random(&init->info.cluster_id));
    must(kt_gpg_new(init->paths.gnupg, &gpg, &error));
    must(kt_gpg_generate(gpg, KT_GPG_CLUSTER, "cluster", init->info.openpgp_fingerprint, &error));
    kt_gpg_free(gpg);
    strcpy(init->promise.member, MEMBER);
    strcpy(peers.peers[0].member, MEMBER);
    strcpy(peers.peers[0].address, "127.0.0.1");
    peers.peers[0].agent_port = peers.peers[0].database_port = peers.peers[0].https_port = 1;
    peers.peers[0].revision = 1;
    must(kt_peers_save(init->paths.peers, &peers, &error));
    make_certificate(&init->paths);
    return 0;
}

static int tear_down(void **state)
{
    free(restore);
    return temp_dir_teardown(state);
}

// The statement of incarnation `number` behind `before` (may be NULL); the caller frees.
static int state_of(uint32_t number, char *before, char **text)
{
    const struct kt_incarnation previous = {.number = number - 1, .bits = 7};
    const struct db_line line = {.statement = before};
    struct db_restored rows;
    struct kt_peer self;

    *text = NULL;
    error = (struct kt_error){0};
    restore->incarnation = (struct kt_incarnation){.number = number, .bits = 9};
    restore->epoch = number;
    return kta_restore_rows(restore, &previous, number, &line, "note", &rows, &self, text, &error);
}

static struct kt_statement read_statement(const char *text)
{
    struct kt_statement statement;

    assert_non_null(text);
    must(kt_statement_verify(restore->init.info.openpgp_fingerprint, text, strlen(text), &statement,
                             &error));
    return statement;
}

static void a_statement_follows_the_one_before_it(void **state)
{
    char *first = NULL, *second = NULL;
    uint8_t hash[KT_SHA256_LEN];
    struct kt_statement parsed;

    (void)state;
    must(state_of(2, NULL, &first));
    assert_int_equal(read_statement(first).number, 1);
    must(state_of(3, first, &second));
    parsed = read_statement(second);
    assert_int_equal(parsed.number, 2);
    must(kt_sha256(first, strlen(first), hash));
    assert_memory_equal(parsed.before, hash, sizeof(hash));
    free(first);
    free(second);
}

static void what_is_no_statement_of_the_clusters_is_left_out(void **state)
{
    char rubbish[] = "-----BEGIN PGP SIGNED MESSAGE-----\nrubbish\n", *text = NULL, *changed = NULL;

    (void)state;
    must(state_of(3, rubbish, &text));
    assert_int_equal(read_statement(text).number, 1);
    *strchr(strstr(text, "epoch "), '3') = '4';
    must(state_of(4, text, &changed));
    assert_int_equal(read_statement(changed).number, 1);
    free(text);
    free(changed);
}

// There is no room for the keyring by which a statement is checked.
static void one_that_cannot_be_checked_fails_the_restore(void **state)
{
    const char *before = getenv("TMPDIR");
    char *first = NULL, *second = NULL, *kept = before ? strdup(before) : NULL;
    int rc;

    (void)state;
    must(state_of(2, NULL, &first));
    setenv("TMPDIR", temp_path("there-is-none"), 1);
    rc = state_of(3, first, &second);
    if (kept)
        setenv("TMPDIR", kept, 1);
    else
        unsetenv("TMPDIR");
    assert_int_not_equal(rc, 0);
    assert_int_equal(rc, error.code);
    assert_null(second);
    assert_non_null(strstr(error.message, "incarnation before cannot be checked"));
    assert_non_null(strstr(error.message, "there-is-none"));
    assert_string_not_equal(error.hint, "");
    free(first);
    free(kept);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_statement_follows_the_one_before_it),
        cmocka_unit_test(what_is_no_statement_of_the_clusters_is_left_out),
        cmocka_unit_test(one_that_cannot_be_checked_fails_the_restore),
    };

    return cmocka_run_group_tests(cases, set_up, tear_down);
}
