// SPDX-License-Identifier: Apache-2.0
// Which receipt key signs, and how one is listed and retired, on a real PostgreSQL.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/writer.h"
#include "lib/receipt_key.h"
#include "tests/unit/db/real_cluster.h"

#define MS 20000

static struct db_target target;
static struct kt_secret *secret;
static EVP_PKEY *ca_key;
static X509 *ca;
static struct kt_receipt_pair first, second;
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

static int count_as_owner(const char *sql)
{
    struct db_target owner = {0};
    PGresult *result = NULL;
    PGconn *conn = NULL;
    int n;

    db_target_owner(&real.paths, real.settings, "keytrustee", &owner);
    assert_int_equal(db_pg_connect(&owner, MS, &conn, NULL), 0);
    assert_int_equal(db_pg_query(conn, MS, sql, 0, NULL, &result, NULL), 0);
    n = atoi(PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(conn);
    return n;
}

// Listed `ago` seconds ago; `retired`: and retired since.
static void list(const char *id, int ago, int retired)
{
    char sql[300];

    snprintf(sql, sizeof(sql),
             "INSERT INTO receipt_keys (key_id, certificate, created_at, retired_at)"
             " VALUES (decode('%s', 'hex'), 'x', now() - interval '%d s', %s)",
             id, ago, retired ? "now()" : "NULL");
    run_as_owner(sql);
}

static int set_up_all(void **state)
{
    int rc = real_setup(state);

    if (rc || kt_pki_new_p256(&ca_key) || kt_pki_make_ca(ca_key, "cluster", 864000, &ca) ||
        kt_receipt_pair_make(ca_key, ca, 86400, &first, &error) ||
        kt_receipt_pair_make(ca_key, ca, 86400, &second, &error))
        return -1;
    return db_target_load(&real.paths, real.settings, DB_ROLE_WRITER, &target, &secret, NULL);
}

static int tear_down_all(void **state)
{
    kt_secret_free(secret);
    kt_receipt_pair_free(&first);
    kt_receipt_pair_free(&second);
    EVP_PKEY_free(ca_key);
    X509_free(ca);
    return real_teardown(state);
}

static int set_up(void **state)
{
    (void)state;
    memset(&error, 0, sizeof(error));
    run_as_owner("DELETE FROM receipt_keys; DELETE FROM change_log");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_writer_close(writer);
    writer = NULL;
    return 0;
}

static int open_with(EVP_PKEY *key, EVP_PKEY *next)
{
    struct db_writer_settings settings = {
        .receipt_key = key,
        .next_receipt_key = next,
        .ca_cert_pem = "",
        .info = &real.info,
        .incarnation = {1, 0x0123456789abcdefULL},
        .epoch = 1,
        .timeout_ms = 5000,
    };

    return db_writer_open(&target, &settings, &writer, &error);
}

static void signs_by(const struct kt_receipt_pair *pair)
{
    char hex[KT_KEY_ID_TEXT];

    kt_hex_encode(db_writer_receipt_key_id(writer), KT_KEY_ID_LEN, hex);
    assert_string_equal(hex, pair->id);
}

// The outcome of a change alone; *repeated may be NULL.
static int change(enum kt_change_kind kind, const struct kt_receipt_pair *pair, X509 *cert,
                  int *repeated)
{
    struct kt_change made = {.kind = kind, .actor = "root (uid 0)"};
    struct db_member member = {.change = &made};
    struct kt_buf pem = KT_BUF_INIT(KT_CERT_PEM_MAX);
    int rc;

    memcpy(made.name, pair->id, sizeof(pair->id));
    if (cert) {
        assert_int_equal(kt_pki_cert_to_pem(cert, &pem), 0);
        made.csr = (uint8_t *)strndup((const char *)kt_buf_ptr(&pem), kt_buf_left(&pem));
        made.csr_len = kt_buf_left(&pem);
    }
    kt_buf_free(&pem);
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

static int add(const struct kt_receipt_pair *pair, int *repeated)
{
    return change(KT_CHANGE_RECEIPT_KEY_ADD, pair, pair->cert, repeated);
}

static int retire_others(const struct kt_receipt_pair *pair, int *repeated)
{
    return change(KT_CHANGE_RECEIPT_KEY_RETIRE, pair, NULL, repeated);
}

// --- at the opening ---

static void of_two_keys_the_newest_that_is_listed_signs(void **state)
{
    (void)state;
    list(first.id, 10, 0);
    list(second.id, 5, 0);
    assert_int_equal(open_with(first.key, second.key), 0);
    signs_by(&second);
    tear_down(state);
    assert_int_equal(open_with(second.key, first.key), 0);
    signs_by(&second);
}

static void a_key_that_is_not_listed_does_not_sign(void **state)
{
    (void)state;
    list(first.id, 10, 0);
    assert_int_equal(open_with(first.key, second.key), 0);
    signs_by(&first);
}

static void a_node_that_lacks_the_newest_key_signs_by_the_old_one_until_it_is_retired(void **state)
{
    (void)state;
    list(first.id, 10, 0);
    list(second.id, 5, 0);
    assert_int_equal(open_with(first.key, NULL), 0);
    signs_by(&first);
}

static void a_retired_key_signs_no_more_and_it_is_said_which_one_does(void **state)
{
    (void)state;
    list(first.id, 10, 1);
    list(second.id, 5, 0);
    assert_int_equal(open_with(first.key, NULL), KT_ERR_NOT_OURS);
    assert_non_null(strstr(error.message, first.id));
    assert_non_null(strstr(error.message, second.id));
    assert_non_null(strstr(error.message, "retired"));
    assert_non_null(strstr(error.hint, "rotate --receipt-key"));
    assert_int_equal(open_with(first.key, second.key), 0);
    signs_by(&second);
}

static void a_key_of_another_cluster_is_refused(void **state)
{
    (void)state;
    list(first.id, 10, 0);
    assert_int_equal(open_with(second.key, NULL), KT_ERR_NOT_OURS);
    assert_non_null(strstr(error.message, "not known"));
}

// --- while it runs ---

static void a_listed_key_is_used_between_two_groups(void **state)
{
    int signs = 1;

    (void)state;
    list(first.id, 10, 0);
    assert_int_equal(open_with(first.key, NULL), 0);
    assert_int_equal(db_writer_use_receipt_key(writer, second.key, &signs, &error), 0);
    assert_false(signs); // not listed yet
    signs_by(&first);
    assert_int_equal(add(&second, NULL), 0);
    signs_by(&first);
    assert_int_equal(db_writer_use_receipt_key(writer, second.key, &signs, &error), 0);
    assert_true(signs);
    signs_by(&second);
    assert_int_equal(db_writer_use_receipt_key(writer, first.key, &signs, &error), 0);
    assert_false(signs); // an older one
    signs_by(&second);
}

static void a_new_key_is_the_newest_whatever_the_clock_says(void **state)
{
    (void)state;
    list(first.id, -3600, 0); // by an active whose clock was ahead
    assert_int_equal(open_with(first.key, NULL), 0);
    assert_int_equal(add(&second, NULL), 0);
    tear_down(state);
    assert_int_equal(open_with(first.key, second.key), 0);
    signs_by(&second);
}

// --- changes ---

static void a_key_is_listed_once(void **state)
{
    int repeated = 1;

    (void)state;
    list(first.id, 10, 0);
    assert_int_equal(open_with(first.key, NULL), 0);
    assert_int_equal(add(&second, &repeated), 0);
    assert_false(repeated);
    assert_int_equal(add(&second, &repeated), 0);
    assert_true(repeated);
    assert_int_equal(count_as_owner("SELECT count(*) FROM receipt_keys"), 2);
    assert_int_equal(
        count_as_owner("SELECT count(*) FROM change_log"
                       " WHERE event = 'receipt_key.add' AND by_whom = 'root (uid 0)'"),
        1);
}

static void the_certificate_of_another_key_is_refused(void **state)
{
    (void)state;
    list(first.id, 10, 0);
    assert_int_equal(open_with(first.key, NULL), 0);
    assert_int_equal(change(KT_CHANGE_RECEIPT_KEY_ADD, &second, first.cert, NULL), KT_ERR_INVALID);
    assert_int_equal(change(KT_CHANGE_RECEIPT_KEY_ADD, &second, NULL, NULL), KT_ERR_INVALID);
    assert_int_equal(count_as_owner("SELECT count(*) FROM receipt_keys"), 1);
}

static void no_more_keys_are_listed_than_clients_take(void **state)
{
    (void)state;
    list(first.id, 10, 0);
    run_as_owner("INSERT INTO receipt_keys SELECT decode(lpad(n::text, 16, '0'), 'hex'), 'x',"
                 " now() - interval '1 day', now() FROM generate_series(1, 63) n");
    assert_int_equal(open_with(first.key, NULL), 0);
    assert_int_equal(add(&second, NULL), KT_ERR_TOO_LARGE);
    assert_int_equal(add(&first, NULL), 0); // listed already
}

static void a_retired_key_is_not_listed_again(void **state)
{
    (void)state;
    list(second.id, 10, 1);
    list(first.id, 5, 0);
    assert_int_equal(open_with(first.key, NULL), 0);
    assert_int_equal(add(&second, NULL), KT_ERR_EXISTS);
}

static void the_others_are_retired_by_a_writer_that_signs_by_the_one_that_stays(void **state)
{
    int repeated = 1;

    (void)state;
    list(first.id, 10, 0);
    list(second.id, 5, 0);
    assert_int_equal(open_with(first.key, NULL), 0);
    assert_int_equal(retire_others(&second, NULL), KT_ERR_BUSY);
    assert_int_equal(count_as_owner("SELECT count(*) FROM receipt_keys WHERE retired_at IS NULL"),
                     2);
    tear_down(state);
    assert_int_equal(open_with(first.key, second.key), 0);
    assert_int_equal(retire_others(&second, &repeated), 0);
    assert_false(repeated);
    assert_int_equal(retire_others(&second, &repeated), 0);
    assert_true(repeated);
    assert_int_equal(count_as_owner("SELECT count(*) FROM receipt_keys WHERE retired_at IS NULL"),
                     1);
    assert_int_equal(count_as_owner("SELECT count(*) FROM receipt_keys"), 2);
    assert_int_equal(retire_others(&first, NULL), KT_ERR_NOT_FOUND);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(of_two_keys_the_newest_that_is_listed_signs),
        CASE(a_key_that_is_not_listed_does_not_sign),
        CASE(a_node_that_lacks_the_newest_key_signs_by_the_old_one_until_it_is_retired),
        CASE(a_retired_key_signs_no_more_and_it_is_said_which_one_does),
        CASE(a_key_of_another_cluster_is_refused),
        CASE(a_listed_key_is_used_between_two_groups),
        CASE(a_new_key_is_the_newest_whatever_the_clock_says),
        CASE(a_key_is_listed_once),
        CASE(the_certificate_of_another_key_is_refused),
        CASE(no_more_keys_are_listed_than_clients_take),
        CASE(a_retired_key_is_not_listed_again),
        CASE(the_others_are_retired_by_a_writer_that_signs_by_the_one_that_stays),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
