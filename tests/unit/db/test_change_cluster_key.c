// SPDX-License-Identifier: Apache-2.0
// Which statement about a cluster's key is listed, on a real PostgreSQL. Signatures are looked at by who
// asks for the change, and by each client.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/writer.h"
#include "lib/key_statement.h"
#include "lib/receipt_key.h"
#include "tests/unit/db/real_cluster.h"

#define MS     20000
#define SECOND "2222222222222222222222222222222222222222"
#define THIRD  "3333333333333333333333333333333333333333"
#define THIEF  "9999999999999999999999999999999999999999"

static struct db_target target;
static struct kt_secret *secret;
static EVP_PKEY *ca_key;
static X509 *ca;
static struct kt_receipt_pair pair;
static struct db_writer *writer;
static struct kt_error error;

static void run_as_owner(const char *sql)
{
    struct db_target owner = {0};
    PGconn *conn = NULL;
    int rc;

    db_target_owner(&real.paths, real.settings, "keytrustee", &owner);
    rc = db_pg_connect(&owner, MS, &conn, &error);
    if (rc == 0)
        rc = db_pg_run(conn, MS, sql, &error);
    PQfinish(conn);
    if (rc)
        fail_msg("%s: %s", sql, error.message);
}

static int set_up_all(void **state)
{
    int rc = real_setup(state);

    if (rc || kt_pki_new_p256(&ca_key) || kt_pki_make_ca(ca_key, "cluster", 864000, &ca) ||
        kt_receipt_pair_make(ca_key, ca, 86400, &pair, &error))
        return -1;
    return db_target_load(&real.paths, real.settings, DB_ROLE_WRITER, &target, &secret, NULL);
}

static int tear_down_all(void **state)
{
    kt_secret_free(secret);
    kt_receipt_pair_free(&pair);
    EVP_PKEY_free(ca_key);
    X509_free(ca);
    return real_teardown(state);
}

static int set_up(void **state)
{
    char sql[300];
    struct db_writer_settings settings = {
        .receipt_key = pair.key,
        .ca_cert_pem = "",
        .info = &real.info,
        .incarnation = {1, 0x0123456789abcdefULL},
        .epoch = 1,
        .timeout_ms = 5000,
    };

    (void)state;
    memset(&error, 0, sizeof(error));
    snprintf(sql, sizeof(sql),
             "DELETE FROM cluster_keys; DELETE FROM receipt_keys; INSERT INTO receipt_keys"
             " (key_id, certificate, created_at) VALUES (decode('%s', 'hex'), 'x', now())",
             pair.id);
    run_as_owner(sql);
    return db_writer_open(&target, &settings, &writer, &error);
}

static int tear_down(void **state)
{
    (void)state;
    db_writer_close(writer);
    writer = NULL;
    return 0;
}

// As it is kept, with no signature that would verify; the caller frees.
static char *statement_of(const char *key, const char *next, uint32_t number, const char *before)
{
    struct kt_key_statement made = {
        .cluster_id = real.info.cluster_id, .number = number, .incarnation = {1, 1}, .time_us = 1};
    struct kt_buf out = KT_BUF_INIT(4096);
    char *text;

    memcpy(made.key, key, sizeof(made.key));
    memcpy(made.next, next, sizeof(made.next));
    if (before)
        assert_int_equal(kt_sha256(before, strlen(before), made.before), 0);
    assert_int_equal(kt_buf_putf(&out, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"), 0);
    assert_int_equal(kt_key_statement_format(&made, &out), 0);
    assert_int_equal(kt_buf_putf(&out, "-----BEGIN PGP SIGNATURE-----\n"), 0);
    text = strndup((const char *)kt_buf_ptr(&out), kt_buf_left(&out));
    kt_buf_free(&out);
    return text;
}

// The outcome of the change alone.
static int add(const char *key, const char *next, const char *text, int *repeated)
{
    struct kt_change made = {.kind = KT_CHANGE_CLUSTER_KEY_ADD, .actor = "root (uid 0)"};
    struct db_member member = {.change = &made};
    int rc;

    memcpy(made.name, key, KT_OPENPGP_FINGERPRINT_TEXT);
    memcpy(made.fingerprint, next, KT_OPENPGP_FINGERPRINT_TEXT);
    if (text) {
        made.openpgp = (uint8_t *)strdup(text);
        made.openpgp_len = strlen(text);
    }
    assert_int_equal(db_group_check(writer, &member, 1, &error), 0);
    assert_int_equal(db_group_plan(writer, &member, 1), 0);
    assert_int_equal(db_group_write(writer, &member, 1, &error), 0);
    rc = member.outcome.code;
    if (repeated)
        *repeated = member.outcome.repeated;
    db_member_free(&member);
    kt_change_free(&made);
    return rc;
}

static void keys_follow_each_other_in_one_line(void **state)
{
    const char *first = real.info.openpgp_fingerprint;
    char *one = statement_of(first, SECOND, 1, NULL), *two = statement_of(SECOND, THIRD, 2, one),
         *fork = statement_of(first, THIEF, 2, one), *gap = statement_of(SECOND, THIRD, 3, one),
         *loose = statement_of(SECOND, THIRD, 2, two);
    int repeated = 1;

    (void)state;
    assert_int_equal(add(first, SECOND, one, &repeated), 0);
    assert_int_equal(repeated, 0);
    assert_int_equal(add(first, SECOND, one, &repeated), 0);
    assert_int_equal(repeated, 1);
    assert_int_equal(add(first, THIEF, fork, NULL), KT_ERR_EXISTS);
    assert_int_equal(add(SECOND, THIRD, gap, NULL), KT_ERR_EXISTS);
    assert_int_equal(add(SECOND, THIRD, loose, NULL), KT_ERR_EXISTS);
    assert_int_equal(add(SECOND, THIRD, two, NULL), 0);
    free(one);
    free(two);
    free(fork);
    free(gap);
    free(loose);
}

static void what_does_not_name_the_key_is_refused(void **state)
{
    const char *first = real.info.openpgp_fingerprint;
    char *one = statement_of(first, SECOND, 1, NULL), *other = statement_of(THIEF, SECOND, 1, NULL);

    (void)state;
    assert_int_equal(add(first, SECOND, NULL, NULL), KT_ERR_INVALID);
    assert_int_equal(add(first, SECOND, "x", NULL), KT_ERR_INVALID);
    assert_int_equal(add(first, THIEF, one, NULL), KT_ERR_INVALID);
    assert_int_equal(add(THIEF, SECOND, one, NULL), KT_ERR_INVALID);
    assert_int_equal(add(THIEF, SECOND, other, NULL), KT_ERR_EXISTS); // not by the cluster's
    free(one);
    free(other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(keys_follow_each_other_in_one_line),
        CASE(what_does_not_name_the_key_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
