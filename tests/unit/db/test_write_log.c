// SPDX-License-Identifier: Apache-2.0
// The log of deposits on a real PostgreSQL: what the writer writes, what the functions of the schema
// prove, and the rules of lib/merkle.h on it. More than 70,000 rows, so that there are tiles of two
// levels.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/writer.h"
#include "lib/digest.h"
#include "lib/merkle.h"
#include "lib/pki.h"
#include "tests/unit/db/real_cluster.h"

#define MS     60000
#define ROWS   70100 // by SQL; the next tile is full with 70144
#define MOST   71000
#define LEN    KT_SHA256_LEN
#define ORG    "'22222222-2222-4222-8222-222222222222'"
#define CLIENT "'11111111-1111-4111-8111-111111111111'"

static EVP_PKEY *receipt_key;
static uint8_t public_key[KT_ED25519_PUB_LEN];
static struct db_target target;
static struct kt_secret *secret;
static PGconn *owner, *reader;
static uint8_t leaves[MOST][LEN]; // as C computes them
static uint8_t roots[MOST + 1][LEN];
static struct kt_merkle edge;

// One row as `conn`; the caller clears.
static PGresult *ask(PGconn *conn, const char *sql)
{
    struct kt_error error = {0};
    PGresult *result = NULL;

    if (db_pg_query(conn, MS, sql, 0, NULL, &result, &error))
        fail_msg("%s: %s", sql, error.message);
    return result;
}

static void run(const char *sql)
{
    struct kt_error error = {0};

    if (db_pg_run(owner, MS, sql, &error))
        fail_msg("%s: %s", sql, error.message);
}

static void bytes_of(const PGresult *result, int row, int column, uint8_t *out, size_t n)
{
    const char *text = PQgetvalue(result, row, column);

    if (strncmp(text, "\\x", 2) != 0 || kt_hex_decode(text + 2, out, n) != 0)
        fail_msg("not %zu bytes: '%s'", n, text);
}

static uint64_t number_of(const PGresult *result, int row, int column)
{
    uint64_t n = 0;

    assert_int_equal(kt_u64_parse(PQgetvalue(result, row, column), 0, INT64_MAX, &n), 0);
    return n;
}

// --- rows, and what C makes of them ---

static void insert_rows(void)
{
    char sql[1024];

    snprintf(
        sql, sizeof(sql),
        "INSERT INTO deposits SELECT gen_random_uuid(), " ORG ", " CLIENT ", 'h/' || n, 1,"
        " 'application/pgp-encrypted', 'x', sha256(n::text::bytea), n, NULL, n, 1, 1 + n / 999,"
        " timestamptz '2026-01-01 00:00:00.000001+03' + n * interval '1.000003 s', 0,"
        " (SELECT key_id FROM receipt_keys LIMIT 1), decode(repeat('00', 64), 'hex')"
        " FROM generate_series(1, %d) n",
        ROWS);
    run("INSERT INTO organisations (organisation_id, name, created_at, created_by)"
        " VALUES (" ORG ", 'acme', now(), 'x')");
    run("INSERT INTO clients (client_id, organisation_id, name, state, created_at)"
        " VALUES (" CLIENT ", " ORG ", 'host-1', 'active', now())");
    run("INSERT INTO client_certificates (sha256, client_id, key_sha256, certificate, not_after,"
        " created_at) VALUES (decode(repeat('ab', 32), 'hex'), " CLIENT ","
        " decode(repeat('00', 32), 'hex'), 'x', 'infinity', now())");
    run("INSERT INTO grants (grant_id, organisation_id, object, prefix, access, created_at,"
        " created_by) VALUES (gen_random_uuid(), " ORG ", 'prefix', '', 'deposit', now(), 'x')");
    run(sql);
    run("SELECT log_fill()");
    run("ANALYZE");
}

static void grow(const struct kt_leaf *leaf)
{
    char text[KT_LEAF_TEXT];
    uint64_t at = leaf->log_index;

    assert_int_equal(at, edge.size + 1);
    kt_leaf_format(leaf, text);
    assert_int_equal(kt_merkle_leaf(text, strlen(text), leaves[at - 1]), 0);
    assert_int_equal(kt_merkle_append(&edge, leaves[at - 1], NULL), 0);
    assert_int_equal(kt_merkle_root(&edge, roots[at]), 0);
}

// The rows as the writer would have made them; whether the database computes the same hash.
static void read_rows(void)
{
    PGresult *r =
        ask(owner, "SELECT d.epoch, d.log_index, d.deposit_id, d.client_id, d.handle, d.version,"
                   " d.sha256, d.size, (extract(epoch FROM d.deposited_at) * 1000000)::bigint,"
                   " l.hash FROM deposits d JOIN (SELECT * FROM unnest(log_leaves(0, 1 << 20))"
                   " WITH ORDINALITY AS x (hash, n)) l ON l.n = d.log_index"
                   " ORDER BY d.log_index");
    struct kt_leaf leaf = {.incarnation = {1, 0x0123456789abcdefULL}};
    uint8_t hash[LEN];

    assert_int_equal(PQntuples(r), ROWS);
    for (int i = 0; i < ROWS; i++) {
        leaf.epoch = number_of(r, i, 0);
        leaf.log_index = number_of(r, i, 1);
        assert_int_equal(kt_uuid_parse(PQgetvalue(r, i, 2), &leaf.deposit_id), 0);
        assert_int_equal(kt_uuid_parse(PQgetvalue(r, i, 3), &leaf.client_id), 0);
        assert_int_equal(
            kt_sha256(PQgetvalue(r, i, 4), strlen(PQgetvalue(r, i, 4)), leaf.handle_hash), 0);
        leaf.version = (uint32_t)number_of(r, i, 5);
        bytes_of(r, i, 6, leaf.sha256, LEN);
        leaf.size = number_of(r, i, 7);
        leaf.time_us = (int64_t)number_of(r, i, 8);
        grow(&leaf);
        bytes_of(r, i, 9, hash, LEN);
        assert_memory_equal(hash, leaves[i], LEN);
    }
    PQclear(r);
}

static int set_up_all(void **state)
{
    uint8_t id[KT_KEY_ID_LEN];
    char hex[2 * KT_KEY_ID_LEN + 1], sql[256];
    struct kt_secret *reader_secret = NULL;
    struct db_target other;
    int rc = real_setup(state);

    if (rc || kt_pki_new_ed25519(&receipt_key) || kt_ed25519_public(receipt_key, public_key) ||
        kt_ed25519_key_id(public_key, id) ||
        db_target_load(&real.paths, real.settings, DB_ROLE_WRITER, &target, &secret, NULL) ||
        db_target_load(&real.paths, real.settings, DB_ROLE_READER, &other, &reader_secret, NULL) ||
        db_pg_connect(&other, MS, &reader, NULL))
        return -1;
    kt_secret_free(reader_secret);
    db_target_owner(&real.paths, real.settings, "keytrustee", &other);
    if (db_pg_connect(&other, MS, &owner, NULL))
        return -1;
    kt_hex_encode(id, KT_KEY_ID_LEN, hex);
    snprintf(sql, sizeof(sql),
             "INSERT INTO receipt_keys (key_id, certificate, created_at)"
             " VALUES (decode('%s', 'hex'), 'x', now())",
             hex);
    run(sql);
    insert_rows();
    read_rows();
    return 0;
}

static int tear_down_all(void **state)
{
    PQfinish(owner);
    PQfinish(reader);
    kt_secret_free(secret);
    EVP_PKEY_free(receipt_key);
    return real_teardown(state);
}

// --- the writer ---

static int open_writer(struct db_writer **writer, struct kt_error *error)
{
    struct db_writer_settings settings = {
        .receipt_key = receipt_key,
        .ca_cert_pem = "",
        .info = &real.info,
        .incarnation = {1, 0x0123456789abcdefULL},
        .epoch = 1,
        .timeout_ms = 20000,
    };

    *writer = NULL;
    memset(error, 0, sizeof(*error));
    return db_writer_open(&target, &settings, writer, error);
}

#define GROUP_MAX 200

// Deposits `count` at once; `spoilt` of them (if not 0) are of a version that there is. Gives what
// came of the group.
static int deposit(struct db_writer *writer, size_t count, size_t spoilt)
{
    static struct kt_change changes[GROUP_MAX];
    static struct db_member members[GROUP_MAX];
    static uint8_t body[] = "body";
    static int serial;
    struct kt_error error = {0};
    int rc;

    memset(changes, 0, sizeof(changes));
    memset(members, 0, sizeof(members));
    for (size_t i = 0; i < count; i++) {
        changes[i].kind = KT_CHANGE_DEPOSIT;
        memset(changes[i].certificate_sha256, 0xab, LEN);
        assert_int_equal(kt_uuid_random(&changes[i].deposit_id), 0);
        snprintf(changes[i].handle, sizeof(changes[i].handle), "new/%d", serial++);
        strcpy(changes[i].content_type, "application/pgp-encrypted");
        changes[i].body = body;
        changes[i].body_len = sizeof(body);
        members[i].change = &changes[i];
    }
    rc = db_group_check(writer, members, count, &error);
    for (size_t i = 0; i < spoilt && rc == 0; i++)
        strcpy(changes[count - 1 - i].handle, "h/1"); // behind the check: a key is violated
    if (rc == 0)
        rc = db_group_plan(writer, members, count);
    if (rc == 0)
        rc = db_group_write(writer, members, count, &error);
    for (size_t i = 0; i < count && rc == 0; i++) {
        assert_int_equal(members[i].outcome.code, 0);
        grow(&members[i].outcome.receipt.leaf);
    }
    return rc;
}

// The head in the table: signed, of the whole log, with the root that C has.
static void head_covers_all(void)
{
    PGresult *r = ask(reader, "SELECT size, root, (extract(epoch FROM made_at) * 1000000)::bigint,"
                              " receipt_key_id, signature, epoch FROM tree_heads");
    struct kt_tree_head head = {.incarnation = {1, 0x0123456789abcdefULL}};

    assert_int_equal(PQntuples(r), 1);
    head.size = number_of(r, 0, 0);
    bytes_of(r, 0, 1, head.root, LEN);
    head.time_us = (int64_t)number_of(r, 0, 2);
    bytes_of(r, 0, 3, head.key_id, KT_KEY_ID_LEN);
    bytes_of(r, 0, 4, head.signature, KT_ED25519_SIG_LEN);
    head.epoch = number_of(r, 0, 5);
    PQclear(r);
    assert_int_equal(head.size, edge.size);
    assert_memory_equal(head.root, roots[edge.size], LEN);
    assert_int_equal(kt_tree_head_verify(&head, public_key), 0);
}

// --- the functions of the schema, as the workers call them ---

static size_t ask_proof(const char *call, uint64_t first, uint64_t second, uint8_t *proof)
{
    char sql[256];
    PGresult *r;
    size_t n;

    snprintf(sql, sizeof(sql), "SELECT unnest(%s(%llu, %llu))", call, (unsigned long long)first,
             (unsigned long long)second);
    r = ask(reader, sql);
    n = (size_t)PQntuples(r);
    assert_in_range(n, 0, KT_MERKLE_PROOF);
    for (size_t i = 0; i < n; i++)
        bytes_of(r, (int)i, 0, proof + i * LEN, LEN);
    PQclear(r);
    return n;
}

static void inclusion_holds(uint64_t index, uint64_t size)
{
    uint8_t proof[KT_MERKLE_PROOF * LEN];
    size_t n = ask_proof("log_inclusion", index, size, proof);

    if (kt_merkle_check_inclusion(index - 1, size, leaves[index - 1], roots[size], proof, n) != 0)
        fail_msg("no inclusion of %d in %d", (int)index, (int)size);
}

static void consistency_holds(uint64_t from, uint64_t to)
{
    uint8_t proof[KT_MERKLE_PROOF * LEN];
    size_t n = ask_proof("log_consistency", from, to, proof);

    if (kt_merkle_check_consistency(from, to, roots[from], roots[to], proof, n) != 0)
        fail_msg("no consistency from %d to %d", (int)from, (int)to);
}

// All tiles that a log of that size has, and no others. Its leaves were compared when they were read.
static void tiles_are_right(uint64_t size)
{
    PGresult *r = ask(reader, "SELECT level, position, hash FROM log_tiles");
    struct kt_merkle part;
    uint8_t hash[LEN], root[LEN];

    assert_int_equal(PQntuples(r), size / 256 + size / 65536);
    for (int i = 0; i < PQntuples(r); i++) {
        uint64_t width = UINT64_C(1) << 8 * number_of(r, i, 0), at = number_of(r, i, 1) * width;

        memset(&part, 0, sizeof(part));
        for (uint64_t k = at; k < at + width; k++)
            assert_int_equal(kt_merkle_append(&part, leaves[k], NULL), 0);
        assert_int_equal(kt_merkle_root(&part, root), 0);
        bytes_of(r, i, 2, hash, LEN);
        assert_memory_equal(hash, root, LEN);
    }
    PQclear(r);
}

static void database_and_program_agree_on_every_leaf_and_tile(void **state)
{
    (void)state;
    assert_int_equal(edge.size, ROWS);
    tiles_are_right(ROWS);
}

static void proofs_of_all_small_trees_hold(void **state)
{
    (void)state;
    for (uint64_t size = 1; size <= 20; size++) {
        for (uint64_t i = 1; i <= size; i++) {
            inclusion_holds(i, size);
            consistency_holds(i, size);
        }
    }
}

static void proofs_across_tiles_hold(void **state)
{
    static const uint64_t at[] = {1,     2,     128,   255,   256,   257,   511,   512,
                                  513,   1000,  4096,  33333, 65535, 65536, 65537, 65791,
                                  65792, 66000, 69888, 69889, 69999, ROWS};
    size_t count = sizeof(at) / sizeof(at[0]);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = i; k < count; k++) {
            inclusion_holds(at[i], at[k]);
            consistency_holds(at[i], at[k]);
        }
    }
}

static void what_there_is_no_proof_of_gives_none_and_no_error(void **state)
{
    static const char *const calls[] = {"log_inclusion(0, 5)",
                                        "log_inclusion(6, 5)",
                                        "log_inclusion(-1, 5)",
                                        "log_inclusion(NULL, 5)",
                                        "log_inclusion(1, 70101)",
                                        "log_inclusion(1, 9223372036854775807)",
                                        "log_consistency(0, 5)",
                                        "log_consistency(6, 5)",
                                        "log_consistency(5, 70101)",
                                        "log_consistency(1, 9223372036854775807)",
                                        "log_consistency(5, NULL)",
                                        "log_inclusion(1, 9007199254740991)",
                                        "log_node(5, 5)",
                                        "log_node(-1, 1)",
                                        "log_node(0, 9223372036854775807)"};
    char sql[256];

    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        PGresult *r;

        snprintf(sql, sizeof(sql), "SELECT %s IS NULL", calls[i]);
        r = ask(reader, sql);
        if (strcmp(PQgetvalue(r, 0, 0), "t") != 0)
            fail_msg("%s gives something", calls[i]);
        PQclear(r);
    }
}

static void every_group_brings_its_tiles_and_the_head_over_all(void **state)
{
    static const size_t groups[] = {1, 43, 1, 200, 56, 3};
    struct db_writer *writer;
    struct kt_error error;

    (void)state;
    if (open_writer(&writer, &error))
        fail_msg("%s", error.message);
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        assert_int_equal(deposit(writer, groups[i], 0), 0);
        head_covers_all();
        inclusion_holds(edge.size, edge.size);
        consistency_holds(ROWS, edge.size);
    }
    db_writer_close(writer);
    tiles_are_right(edge.size);
}

static void group_that_failed_leaves_nothing_in_the_log(void **state)
{
    struct db_writer *writer;
    struct kt_error error;

    (void)state;
    assert_int_equal(open_writer(&writer, &error), 0);
    assert_int_equal(deposit(writer, 2, 0), 0);
    assert_int_equal(deposit(writer, 5, 1), KT_ERR_DATABASE);
    head_covers_all();
    assert_int_equal(deposit(writer, 3, 0), 0);
    head_covers_all();
    consistency_holds(ROWS, edge.size);
    db_writer_close(writer);
}

static void writer_that_opens_again_goes_on_with_the_same_log(void **state)
{
    struct db_writer *writer;
    struct kt_error error;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(open_writer(&writer, &error), 0);
        assert_int_equal(deposit(writer, 1, 0), 0);
        db_writer_close(writer);
        head_covers_all();
    }
}

// As a superuser can, past the triggers.
static void tamper(const char *sql)
{
    run("SET session_replication_role = replica");
    run(sql);
    run("SET session_replication_role = origin");
}

static void writer_signs_nothing_over_a_changed_row(void **state)
{
    struct db_writer *writer;
    struct kt_error error;

    (void)state;
    tamper("UPDATE deposits SET epoch = 2 WHERE log_index = (SELECT max(log_index) FROM deposits)");
    assert_int_equal(open_writer(&writer, &error), KT_ERR_SIGNATURE);
    assert_non_null(strstr(error.message, "tree head"));
    tamper("UPDATE deposits SET epoch = 1 WHERE log_index = (SELECT max(log_index) FROM deposits)");
    assert_int_equal(open_writer(&writer, &error), 0);
    db_writer_close(writer);
}

static void writer_does_not_open_a_log_that_is_not_whole(void **state)
{
    struct db_writer *writer;
    struct kt_error error;

    (void)state;
    run("DELETE FROM log_tiles WHERE level = 1 AND position = 270");
    assert_int_equal(open_writer(&writer, &error), KT_ERR_DATABASE);
    run("SELECT log_fill()");
    assert_int_equal(open_writer(&writer, &error), 0);
    db_writer_close(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(database_and_program_agree_on_every_leaf_and_tile),
        cmocka_unit_test(proofs_of_all_small_trees_hold),
        cmocka_unit_test(proofs_across_tiles_hold),
        cmocka_unit_test(what_there_is_no_proof_of_gives_none_and_no_error),
        cmocka_unit_test(every_group_brings_its_tiles_and_the_head_over_all),
        cmocka_unit_test(group_that_failed_leaves_nothing_in_the_log),
        cmocka_unit_test(writer_that_opens_again_goes_on_with_the_same_log),
        cmocka_unit_test(writer_signs_nothing_over_a_changed_row),
        cmocka_unit_test(writer_does_not_open_a_log_that_is_not_whole),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
