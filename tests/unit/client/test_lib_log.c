// SPDX-License-Identifier: Apache-2.0
// keytrustee log check against a server that is honest, and against others.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <inttypes.h>

#include "tests/unit/client/fake_cluster.h"
#include "tests/unit/client/fake_statement.h"
#include "tests/unit/lib/naive_tree.h"

#define FIRST  "1.00000000000000ab"
#define SECOND "2.00000000000000cd"
#define THIRD  "3.00000000000000ef"

static struct keytrustee_error error;
static struct keytrustee_log told;
static char problems[1024]; // "1 at 7, " what was told of receipts

// The server's log: what it shows, and what it does wrong.
static struct {
    size_t size;             // of its head; 0: none
    const char *incarnation; // of its head
    uint64_t epoch;
    EVP_PKEY *key;
    int without_route;   // an old server
    int barriers;        // heads that were asked for behind a barrier
    int proofs;          // how many were asked for
    const char *proof;   // instead of the right one
    size_t leaf_changed; // the row of this log index is not what it was
} server;

// --- the server ---

static void add_leaf(const char *incarnation, uint64_t index, int own)
{
    struct kt_receipt receipt = {.leaf = {.epoch = 1, .log_index = index, .version = 1}};
    char text[KT_RECEIPT_TEXT], leaf[KT_LEAF_TEXT], name[100], id[KT_UUID_TEXT];

    assert_int_equal(kt_incarnation_parse(incarnation, &receipt.leaf.incarnation), 0);
    assert_int_equal(kt_uuid_random(&receipt.leaf.deposit_id), 0);
    assert_int_equal(kt_receipt_sign(&receipt, 0, fake.receipt_key), 0);
    kt_leaf_format(&receipt.leaf, leaf);
    assert_int_equal(kt_merkle_leaf(leaf, strlen(leaf), naive_leaves[index - 1]), 0);
    naive_forget();
    if (!own)
        return;
    kt_receipt_format(&receipt, text);
    kt_uuid_format(&receipt.leaf.deposit_id, id);
    snprintf(name, sizeof name, "receipts/%s.receipt", id);
    assert_int_equal(kt_file_replace(fake_path(name), text, strlen(text), 0600, NULL), 0);
}

// The log up to `size` in the incarnation; every third deposit is this host's.
static void grow(const char *incarnation, size_t size)
{
    for (size_t i = server.size + 1; i <= size; i++)
        add_leaf(incarnation, i, i % 3 == 0);
    server.size = size;
    server.incarnation = incarnation;
}

static void show_head(struct kt_http_answer *answer)
{
    struct kt_tree_head head = {
        .epoch = server.epoch, .size = server.size, .time_us = kt_time_now()};
    char text[KT_TREE_HEAD_TEXT];

    if (server.size == 0) {
        fake_json(answer, 200, json_pack("{s:n}", "head"));
        return;
    }
    assert_int_equal(kt_incarnation_parse(server.incarnation, &head.incarnation), 0);
    naive_root(0, server.size, head.root);
    assert_int_equal(kt_tree_head_sign(&head, server.key ? server.key : fake.receipt_key), 0);
    kt_tree_head_format(&head, text);
    fake_json(answer, 200, json_pack("{s:s}", "head", text));
}

static json_t *proof_json(const uint8_t *proof, size_t n)
{
    json_t *list = json_array();
    char hex[KT_SHA256_TEXT];

    for (size_t i = 0; i < n; i++) {
        kt_hex_encode(proof + i * NAIVE_LEN, NAIVE_LEN, hex);
        json_array_append_new(list, json_string(hex));
    }
    return list;
}

static void show_proof(const char *path, struct kt_http_answer *answer)
{
    uint8_t proof[KT_MERKLE_PROOF * NAIVE_LEN], leaf[NAIVE_LEN];
    size_t first = 0, second = 0, n;
    char hex[KT_SHA256_TEXT];

    server.proofs++;
    if (server.proof != NULL) {
        fake_body(answer, 200, server.proof, strlen(server.proof));
    } else if (sscanf(path, "/v1/log/proof?index=%zu&size=%zu", &first, &second) == 2 &&
               second <= server.size) {
        memcpy(leaf, naive_leaves[first - 1], sizeof leaf);
        leaf[0] ^= first == server.leaf_changed;
        kt_hex_encode(leaf, sizeof leaf, hex);
        n = naive_path(first - 1, 0, second, proof);
        fake_json(answer, 200, json_pack("{s:s, s:o}", "leaf", hex, "proof", proof_json(proof, n)));
    } else if (sscanf(path, "/v1/log/consistency?from=%zu&to=%zu", &first, &second) == 2 &&
               second <= server.size) {
        n = naive_subproof(first, 0, second, 1, proof);
        fake_json(answer, 200, json_pack("{s:o}", "proof", proof_json(proof, n)));
    } else {
        fake_error(answer, KT_ERR_DEPOSIT_NOT_FOUND);
    }
}

static void serve(const char *name, const struct kt_http_request *request,
                  struct kt_http_answer *answer)
{
    const char *fresh = fake_request_header(request, "KT-Freshness");

    (void)name;
    if (server.without_route || strncmp(request->path, "/v1/log/", 8) != 0)
        return;
    if (strcmp(request->path, "/v1/log/head") == 0) {
        server.barriers += fresh != NULL && strcmp(fresh, "barrier") == 0;
        show_head(answer);
    } else {
        show_proof(request->path, answer);
    }
}

// --- the client ---

static int set_up(void **state)
{
    fake_registered(state);
    memset(&server, 0, sizeof server);
    server.epoch = 1;
    fake.meddle = serve;
    client->timeout_ms = 500;
    return 0;
}

// A head of 7 deposits is known; the receipts are of 3 and 6.
static int set_up_known(void **state)
{
    set_up(state);
    grow(FIRST, 7);
    must_work(keytrustee_log_check(client, 0, NULL, NULL, &told, &error), &error);
    return 0;
}

static void note(void *arg, enum keytrustee_log_problem problem, const char *id, uint64_t index)
{
    size_t used = strlen(problems);

    (void)arg;
    assert_int_equal(strlen(id), KT_UUID_TEXT - 1);
    snprintf(problems + used, sizeof problems - used, "%d at %" PRIu64 ", ", (int)problem, index);
}

static int look(unsigned flags)
{
    problems[0] = '\0';
    memset(&told, 0, sizeof told);
    return keytrustee_log_check(client, flags, note, NULL, &told, &error);
}

// The size in a file of the confdir; 0: there is none.
static uint64_t kept(const char *name)
{
    struct kt_tree_head head = {.size = 0};
    char *text = NULL;

    if (!kt_file_exists(fake_path(name)))
        return 0;
    assert_int_equal(kt_file_read_text(fake_path(name), 4096, &text, NULL), 0);
    assert_int_equal(kt_tree_head_parse(text, strlen(text), &head), 0);
    free(text);
    return head.size;
}

static void found_out(unsigned flags, const char *words)
{
    assert_int_equal(look(flags), KEYTRUSTEE_INTEGRITY);
    assert_string_equal(error.name, "signature");
    if (strstr(error.message, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, error.message);
    assert_int_equal(kept("log-head"), 7);
    if (server.size > 0)
        assert_int_equal(kept("log-head.refused"), server.size);
}

static void an_empty_log_is_no_head(void **state)
{
    (void)state;
    must_work(look(KEYTRUSTEE_LOG_RECEIPTS), &error);
    assert_int_equal(told.size, 0);
    assert_string_equal(told.incarnation, "");
    assert_int_equal(kept("log-head"), 0);
}

static void the_head_is_asked_behind_a_barrier_and_kept(void **state)
{
    (void)state;
    assert_int_equal(server.barriers, 1);
    assert_int_equal(told.size, 7);
    assert_int_equal(told.known_size, 0);
    assert_int_equal(told.receipts, 2);
    assert_int_equal(told.proven, 0);
    assert_string_equal(told.incarnation, FIRST);
    assert_int_equal(kept("log-head"), 7);
    assert_int_equal(server.proofs, 0);
}

static void a_log_that_grows_is_well_from_any_size_to_any(void **state)
{
    (void)state;
    for (size_t size = 8; size < 40; size += size % 3 + 1) {
        grow(FIRST, size);
        server.epoch += size % 2;
        fake.epoch = server.epoch;
        must_work(look(KEYTRUSTEE_LOG_RECEIPTS), &error);
        assert_int_equal(told.size, size);
        assert_int_equal(told.receipts, size / 3);
        assert_int_equal(told.proven, size / 3);
        assert_int_equal(kept("log-head"), size);
        must_work(look(0), &error);
        assert_int_equal(told.known_size, size);
    }
    assert_int_equal(kept("log-head.refused"), 0);
}

static void a_smaller_log_was_rolled_back(void **state)
{
    (void)state;
    server.size = 6;
    found_out(0, "rolled back");
    server.epoch = 9; // also in a later epoch
    fake.epoch = 9;
    found_out(0, "rolled back");
    server.size = 0;
    found_out(0, "rolled back");
}

static void a_head_of_an_older_epoch_was_rolled_back(void **state)
{
    (void)state;
    server.epoch = fake.epoch = 3;
    must_work(look(0), &error);
    server.epoch = 2;
    found_out(0, "rolled back");
}

static void another_log_of_the_same_size_is_found_out(void **state)
{
    (void)state;
    naive_leaves[4][0] ^= 1;
    naive_forget();
    found_out(0, "rewritten");
}

static void a_longer_log_that_does_not_continue_the_known_one_is_found_out(void **state)
{
    (void)state;
    grow(FIRST, 11);
    naive_leaves[6][0] ^= 1;
    naive_forget();
    found_out(0, "rewritten");
}

static void a_proof_that_is_none_is_no_proof(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"proof\": null}",
        "{\"proof\": [7]}",
        "{\"proof\": [\"00\"]}",
        "{\"proof\": [\"zz00000000000000000000000000000000000000000000000000000000000000\"]}",
        "[]",
    };

    (void)state;
    grow(FIRST, 9);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        server.proof = bad[i];
        assert_int_equal(look(0), KEYTRUSTEE_FAILURE);
        assert_string_equal(error.name, "protocol");
        assert_int_equal(kept("log-head"), 7);
    }
    server.proof = "{\"proof\": []}";
    found_out(0, "rewritten");
}

static void a_head_by_a_key_that_the_ca_has_not_certified_is_refused(void **state)
{
    (void)state;
    grow(FIRST, 8);
    assert_int_equal(kt_pki_new_ed25519(&server.key), 0);
    found_out(0, "not certified");
    EVP_PKEY_free(server.key);
}

static void a_new_receipt_key_is_fetched(void **state)
{
    (void)state;
    fake_make_receipt_key();
    grow(FIRST, 8);
    must_work(look(KEYTRUSTEE_LOG_RECEIPTS), &error);
    assert_int_equal(told.proven, 2);
}

static void receipts_behind_the_end_of_the_log_are_told(void **state)
{
    (void)state;
    add_leaf(FIRST, 8, 1);
    add_leaf(FIRST, 9, 1);
    found_out(0, "2 deposits");
    assert_true(strcmp(problems, "2 at 8, 2 at 9, ") == 0 ||
                strcmp(problems, "2 at 9, 2 at 8, ") == 0);
    server.size = 9;
    must_work(look(0), &error);
}

static void a_receipt_that_is_not_in_the_log_is_told(void **state)
{
    (void)state;
    add_leaf(FIRST, 8, 1); // ours
    add_leaf(FIRST, 8, 0); // and what the server has in its place
    server.size = 8;
    must_work(look(0), &error);
    assert_int_equal(look(KEYTRUSTEE_LOG_RECEIPTS), KEYTRUSTEE_INTEGRITY);
    assert_string_equal(problems, "3 at 8, ");
}

static void a_row_that_was_changed_is_told(void **state)
{
    (void)state;
    server.leaf_changed = 6;
    found_out(KEYTRUSTEE_LOG_RECEIPTS, "1 deposits");
    assert_string_equal(problems, "4 at 6, ");
}

static void an_old_server_without_a_log_is_told(void **state)
{
    (void)state;
    server.without_route = 1;
    assert_int_equal(look(0), KEYTRUSTEE_FAILURE);
    assert_non_null(strstr(error.message, "does not show its log"));
}

static void a_damaged_head_or_receipt_is_told(void **state)
{
    static const char name[] = "receipts/00000000-0000-4000-8000-000000000000.receipt";

    (void)state;
    assert_int_equal(kt_file_replace(fake_path(name), "x", 1, 0600, NULL), 0);
    grow(FIRST, 8);
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY);
    assert_non_null(strstr(error.message, name));
    assert_int_equal(kept("log-head"), 8); // nothing is wrong with that
    assert_int_equal(kt_file_replace(fake_path("log-head"), "x", 1, 0600, NULL), 0);
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY);
    assert_non_null(strstr(error.message, "log-head"));
}

// --- restored clusters ---

// Restored with the first `last` deposits, nothing since.
static void restore(uint64_t last)
{
    if (last <= server.size)
        naive_root(0, last, fake_root);
    fake_restore(SECOND, FIRST, last);
    server.size = last;
    server.incarnation = FIRST;
}

static void what_a_restore_has_lost_is_told_once_and_its_receipts_always(void **state)
{
    (void)state;
    restore(5);
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY);
    assert_non_null(strstr(error.message, "1 deposits of this host are lost"));
    assert_non_null(strstr(warned, "2 of the 7 deposits that were in the log"));
    assert_string_equal(problems, "1 at 6, ");
    assert_int_equal(kept("log-head"), 5);
    assert_int_equal(kept("log-head." FIRST), 7);
    assert_int_equal(kept("log-head.refused"), 0);
    warned[0] = '\0';
    grow(SECOND, 9);
    assert_int_equal(look(KEYTRUSTEE_LOG_RECEIPTS), KEYTRUSTEE_INTEGRITY);
    assert_null(strstr(warned, "were in the log"));
    assert_string_equal(problems, "1 at 6, ");
    assert_int_equal(kept("log-head"), 9);
}

static void a_loss_of_others_is_told_once(void **state)
{
    (void)state;
    restore(6);
    assert_int_equal(look(KEYTRUSTEE_LOG_RECEIPTS), KEYTRUSTEE_INTEGRITY);
    assert_non_null(strstr(error.message, "1 deposits are lost"));
    assert_string_equal(problems, "");
    must_work(look(KEYTRUSTEE_LOG_RECEIPTS), &error);
    assert_int_equal(told.proven, 2);
}

static void a_restore_that_has_all_that_is_known_is_well(void **state)
{
    (void)state;
    restore(7);
    must_work(look(KEYTRUSTEE_LOG_RECEIPTS), &error);
    assert_int_equal(told.proven, 2);
    grow(SECOND, 12);
    must_work(look(KEYTRUSTEE_LOG_RECEIPTS), &error);
    assert_int_equal(told.proven, 4);
}

static void a_restored_log_that_is_not_that_of_the_statement_is_found_out(void **state)
{
    (void)state;
    restore(7);
    server.size = 6;
    found_out(0, "was restored with 7");
    server.size = 7;
    naive_leaves[2][0] ^= 1;
    naive_forget();
    found_out(0, "rewritten");
}

// Restored once more, from a backup with the first `last` deposits; each statement with the one before
// it. NULL hides it.
static void show_line(const char *second, const char *third)
{
    static const char FORM[] = "{s:s, s:s?}";
    json_t *object = json_pack("{s:[o, o, o]}", "incarnations",
                               json_pack(FORM, "incarnation", FIRST, "statement", NULL),
                               json_pack(FORM, "incarnation", SECOND, "statement", second),
                               json_pack(FORM, "incarnation", THIRD, "statement", third));
    char *text = kt_json_text(object);

    assert_true(strlen(text) < sizeof fake_incarnations_text);
    strcpy(fake_incarnations_text, text);
    fake.incarnations = fake_incarnations_text;
    fake.incarnation = THIRD;
    free(text);
    json_decref(object);
}

static void a_statement_that_is_hidden_is_found_out(void **state)
{
    struct kt_statement second = fake_statement(SECOND, FIRST, 7), third, other;
    char *texts[3];

    (void)state;
    naive_root(0, 7, second.root);
    texts[0] = fake_signed(&second);
    third = fake_statement(THIRD, SECOND, 7);
    memcpy(third.root, second.root, sizeof third.root);
    third.number = 2;
    assert_int_equal(kt_sha256(texts[0], strlen(texts[0]), third.before), 0);
    texts[1] = fake_signed(&third);
    other = second; // signed too, and not the one that the line goes on from
    other.log_index = 2;
    texts[2] = fake_signed(&other);

    show_line(texts[0], texts[1]);
    server.incarnation = FIRST;
    must_work(look(0), &error);
    show_line(texts[0], NULL);
    found_out(0, "hides the statement of incarnation " THIRD);
    show_line(NULL, texts[1]);
    found_out(0, "hides the statement of incarnation " SECOND);
    show_line(texts[2], texts[1]);
    found_out(0, "hides the statement of incarnation " SECOND);
    show_line(texts[0], texts[1]);
    grow(THIRD, 9);
    must_work(look(KEYTRUSTEE_LOG_RECEIPTS), &error);
    for (size_t i = 0; i < 3; i++)
        free(texts[i]);
}

static void statements_that_contradict_each_other_are_found_out(void **state)
{
    struct kt_statement second = fake_statement(SECOND, FIRST, 7), third;
    char *texts[2];

    (void)state;
    naive_root(0, 6, second.root); // of other deposits
    texts[0] = fake_signed(&second);
    third = fake_statement(THIRD, SECOND, 7);
    naive_root(0, 7, third.root);
    third.number = 2;
    assert_int_equal(kt_sha256(texts[0], strlen(texts[0]), third.before), 0);
    texts[1] = fake_signed(&third);
    show_line(texts[0], texts[1]);
    found_out(0, "different things of the log's first 7");
    free(texts[0]);
    free(texts[1]);
}

// A head of 7 and one of 12 are known.
static void know_two_heads(void)
{
    grow(FIRST, 12);
    must_work(look(0), &error);
    server.proofs = 0;
}

static void a_lossy_restore_is_compared_with_an_older_head_and_accepted(void **state)
{
    (void)state;
    know_two_heads();
    restore(10);
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY); // receipt 12 is lost, and so are two deposits
    assert_non_null(strstr(warned, "2 of the 12 deposits that were in the log"));
    assert_non_null(strstr(error.message, "1 deposits of this host are lost"));
    assert_string_equal(problems, "1 at 12, ");
    assert_int_equal(kept("log-head"), 10);
    assert_int_equal(kept("log-head.refused"), 0);
    assert_int_equal(server.proofs, 1 + 3); // of head 7, and of each receipt that is left
}

static void what_was_changed_before_a_lossy_restore_is_found_by_an_older_head(void **state)
{
    (void)state;
    know_two_heads();
    naive_leaves[1][0] ^= 1; // of nobody who asks
    naive_forget();
    restore(10);
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY);
    assert_non_null(strstr(error.message, "does not continue the 7 that had been signed before"));
    assert_int_equal(kept("log-head"), 12);
    assert_int_equal(kept("log-head.refused"), 10);
}

static void a_deposit_of_this_host_that_was_changed_before_a_lossy_restore_is_found(void **state)
{
    (void)state;
    naive_leaves[2][0] ^= 1; // with the receipt of index 3, and no head of before 7
    naive_forget();
    restore(5);
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY);
    assert_non_null(strstr(problems, "3 at 3, "));
    assert_int_equal(kept("log-head"), 7);
}

static void what_is_changed_behind_a_restore_is_found_by_its_statement(void **state)
{
    (void)state;
    restore(5);
    naive_leaves[1][0] ^= 1;
    naive_forget();
    found_out(0, "does not continue the 5 that it was restored with");
    server.size = 4; // and what is missing of it
    server.incarnation = SECOND;
    found_out(0, "restored with 5");
}

static void older_heads_are_thinned_and_reach_back(void **state)
{
    char *text = NULL;
    size_t heads = 0;

    (void)state;
    for (size_t size = 8; size < 140; size++) {
        grow(FIRST, size);
        must_work(look(0), &error);
    }
    assert_int_equal(kt_file_read_text(fake_path("log-heads"), 1 << 20, &text, NULL), 0);
    for (const char *at = text; (at = strstr(at, "keytrustee-tree-head")) != NULL; at++)
        heads++;
    assert_in_range(heads, 32, 64);
    assert_non_null(strstr(text, "\nsize 7\n"));
    assert_non_null(strstr(text, "\nsize 139\n"));
    free(text);
    assert_int_equal(kt_file_replace(fake_path("log-heads"), "x", 1, 0600, NULL), 0);
    grow(FIRST, 140);
    must_work(look(0), &error); // told, and begun anew
    assert_non_null(strstr(warned, "cannot be read"));
    grow(FIRST, 141);
    warned[0] = '\0';
    must_work(look(0), &error);
    assert_string_equal(warned, "");
}

// THIRD was restored from a backup of SECOND with `last` deposits, in which SECOND's own statement
// was left out: nothing leads back to FIRST.
static void cut_off(uint64_t last)
{
    if (last <= server.size)
        naive_root(0, last, fake_root);
    fake_restore(THIRD, SECOND, last);
    server.size = last;
    server.incarnation = FIRST;
}

static void a_line_that_is_cut_off_loses_nothing_that_the_log_has(void **state)
{
    (void)state;
    cut_off(7);
    must_work(look(0), &error);
    assert_int_equal(told.proven, 2); // without being asked to: no statement vouches for them
    assert_string_equal(problems, "");
    grow(THIRD, 12);
    must_work(look(0), &error);
    assert_int_equal(told.known_size, 7);
    server.leaf_changed = 6;
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY);
    assert_string_equal(problems, "4 at 6, ");
}

static void what_a_line_that_is_cut_off_does_not_tell_of_is_not_called_lost(void **state)
{
    (void)state;
    cut_off(5);
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY);
    assert_string_equal(problems, "5 at 6, ");
    assert_non_null(strstr(error.message, "history unknown: 1 deposits of this host"));
    assert_non_null(strstr(error.hint, "keep the receipts"));
    assert_non_null(strstr(warned, "history unknown: whether the 7 deposits"));
    assert_null(strstr(warned, "not in the restored cluster's"));
    assert_int_equal(kept("log-head"), 5);
    assert_int_equal(kept("log-head." FIRST), 7);
    grow(THIRD, 9); // something else is at its place
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY);
    assert_string_equal(problems, "5 at 6, ");
    assert_non_null(strstr(error.hint, "keep the receipts"));
}

static void a_log_that_a_cut_off_line_does_not_explain_is_told_once(void **state)
{
    (void)state;
    cut_off(6);
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY);
    assert_string_equal(problems, "");
    assert_non_null(strstr(error.message, "history unknown: the log does not continue the 7"));
    assert_int_equal(kept("log-head." FIRST), 7);
    must_work(look(0), &error);
}

static void a_head_of_before_a_cut_off_line_is_held_to_its_oldest_statement(void **state)
{
    (void)state;
    cut_off(5);
    server.size = 7;
    found_out(0, "was restored with 5");
}

static void what_the_statements_of_a_cut_off_line_lose_is_lost(void **state)
{
    (void)state;
    naive_root(0, 7, fake_root);
    fake_restore(SECOND, FIRST, 7);
    grow(SECOND, 12);
    must_work(look(0), &error);
    cut_off(10);
    server.incarnation = SECOND;
    assert_int_equal(look(0), KEYTRUSTEE_INTEGRITY);
    assert_string_equal(problems, "1 at 12, ");
    assert_non_null(strstr(error.message, "1 deposits of this host are lost"));
}

static void what_the_log_has_is_not_called_lost_whatever_a_statement_says(void **state)
{
    (void)state;
    restore(5);
    server.size = 7; // with what it had there before
    server.incarnation = SECOND;
    must_work(look(0), &error);
    assert_int_equal(told.proven, 1);
    assert_string_equal(problems, "");
    assert_null(strstr(warned, "were in the log"));
}

static void a_line_of_the_greatest_length_may_be_cut_off(void **state)
{
    struct ktc_line *line = calloc(1, sizeof *line);
    struct kt_incarnation older = {.number = 4}, sibling = {.number = 5, .bits = 1};

    (void)state;
    assert_non_null(line);
    line->count = KTC_LINE_MAX;
    for (uint32_t i = 0; i < KTC_LINE_MAX; i++)
        line->list[i].incarnation.number = KTC_LINE_MAX - i + 4;
    assert_int_equal(ktc_line_unknown(line, &older), 1);
    assert_int_equal(ktc_line_unknown(line, &sibling), 0);
    assert_int_equal(ktc_line_last(line, &sibling), 0);
    line->list[KTC_LINE_MAX - 1].incarnation.number = 1; // where the cluster began
    assert_int_equal(ktc_line_unknown(line, &older), 0);
    older.number = 0;
    assert_int_equal(ktc_line_unknown(line, &older), 0);
    free(line);
}

static void a_log_of_another_line_is_found_out(void **state)
{
    (void)state;
    server.incarnation = "1.00000000000000ff";
    found_out(0, "not in the cluster's line");
}

#define CASE(function)       cmocka_unit_test_setup_teardown(function, set_up, fake_teardown)
#define KNOWN_CASE(function) cmocka_unit_test_setup_teardown(function, set_up_known, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_empty_log_is_no_head),
        KNOWN_CASE(the_head_is_asked_behind_a_barrier_and_kept),
        KNOWN_CASE(a_log_that_grows_is_well_from_any_size_to_any),
        KNOWN_CASE(a_smaller_log_was_rolled_back),
        KNOWN_CASE(a_head_of_an_older_epoch_was_rolled_back),
        KNOWN_CASE(another_log_of_the_same_size_is_found_out),
        KNOWN_CASE(a_longer_log_that_does_not_continue_the_known_one_is_found_out),
        KNOWN_CASE(a_proof_that_is_none_is_no_proof),
        KNOWN_CASE(a_head_by_a_key_that_the_ca_has_not_certified_is_refused),
        KNOWN_CASE(a_new_receipt_key_is_fetched),
        KNOWN_CASE(receipts_behind_the_end_of_the_log_are_told),
        KNOWN_CASE(a_receipt_that_is_not_in_the_log_is_told),
        KNOWN_CASE(a_row_that_was_changed_is_told),
        KNOWN_CASE(an_old_server_without_a_log_is_told),
        KNOWN_CASE(a_damaged_head_or_receipt_is_told),
        KNOWN_CASE(what_a_restore_has_lost_is_told_once_and_its_receipts_always),
        KNOWN_CASE(a_loss_of_others_is_told_once),
        KNOWN_CASE(a_restore_that_has_all_that_is_known_is_well),
        KNOWN_CASE(a_restored_log_that_is_not_that_of_the_statement_is_found_out),
        KNOWN_CASE(a_statement_that_is_hidden_is_found_out),
        KNOWN_CASE(statements_that_contradict_each_other_are_found_out),
        KNOWN_CASE(a_lossy_restore_is_compared_with_an_older_head_and_accepted),
        KNOWN_CASE(what_was_changed_before_a_lossy_restore_is_found_by_an_older_head),
        KNOWN_CASE(a_deposit_of_this_host_that_was_changed_before_a_lossy_restore_is_found),
        KNOWN_CASE(what_is_changed_behind_a_restore_is_found_by_its_statement),
        KNOWN_CASE(older_heads_are_thinned_and_reach_back),
        KNOWN_CASE(a_line_that_is_cut_off_loses_nothing_that_the_log_has),
        KNOWN_CASE(what_a_line_that_is_cut_off_does_not_tell_of_is_not_called_lost),
        KNOWN_CASE(a_log_that_a_cut_off_line_does_not_explain_is_told_once),
        KNOWN_CASE(a_head_of_before_a_cut_off_line_is_held_to_its_oldest_statement),
        KNOWN_CASE(what_the_statements_of_a_cut_off_line_lose_is_lost),
        KNOWN_CASE(what_the_log_has_is_not_called_lost_whatever_a_statement_says),
        KNOWN_CASE(a_line_of_the_greatest_length_may_be_cut_off),
        KNOWN_CASE(a_log_of_another_line_is_found_out),
    };

    return cmocka_run_group_tests(tests, fake_key_make, fake_key_remove);
}
