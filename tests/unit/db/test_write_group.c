// SPDX-License-Identifier: Apache-2.0
// The writer's gates (P1, P2): what is acknowledged was prepared cleanly, proven, and committed.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "lib/pki.h"
#include "tests/support/fake_pq.h"

#define CLIENT "11111111-1111-4111-8111-111111111111"
#define OTHER  "33333333-3333-4333-8333-333333333333"
#define ORG    "22222222-2222-4222-8222-222222222222"

// A known, active client; no deposit of this id; the handle is new; granted.
#define CHECK_OK                                                                                   \
    {                                                                                              \
        .expect = "check_deposit", .columns = 33, .row = {                                         \
            CLIENT,                                                                                \
            ORG,                                                                                   \
            "acme",                                                                                \
            "active",                                                                              \
            "f",                                                                                   \
            "f",                                                                                   \
            "f",                                                                                   \
            [23] = "t",                                                                            \
            [24] = "t"                                                                             \
        }                                                                                          \
    }
#define BEGIN_OK                                                                                   \
    {                                                                                              \
        .expect = "BEGIN"                                                                          \
    }
#define SAFE_OK                                                                                    \
    {                                                                                              \
        .expect = "guard", .columns = 1, .row = { "1" }                                            \
    }
#define WRITE_OK                                                                                   \
    {                                                                                              \
        .expect = "write_deposit", .tag = "1"                                                      \
    }
#define LOG_OK                                                                                     \
    {                                                                                              \
        .expect = "write_log", .tag = "1"                                                          \
    }
#define PREPARED                                                                                   \
    {                                                                                              \
        .expect = "PREPARE TRANSACTION 'kt:1.00000000000000aa:7:1000'"                             \
    }
#define PROVEN(n)                                                                                  \
    {                                                                                              \
        .expect = "prove", .columns = 3, .row = { "t", "0/3000060", n }                            \
    }
#define COMMITTED                                                                                  \
    {                                                                                              \
        .expect = "COMMIT PREPARED 'kt:1.00000000000000aa:7:1000'"                                 \
    }
#define ROLLED_BACK                                                                                \
    {                                                                                              \
        .expect = "ROLLBACK", .notices = 1                                                         \
    }
#define END                                                                                        \
    {                                                                                              \
        .expect = NULL                                                                             \
    }

static char counted[] = "{}";
static uint8_t body[] = "ciphertext";

struct fixture {
    struct db_writer writer;
    struct kt_change changes[3];
    struct db_member members[3];
};

static void noticed(void *arg)
{
    ((struct fixture *)arg)->writer.notices++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->writer.main = fake_pq_main;
    f->writer.commit = fake_pq_commit;
    f->writer.settings.timeout_ms = 150;
    f->writer.state =
        (struct db_writer_state){.incarnation = {1, 0xaa}, .epoch = 7, .log_index = 41};
    f->writer.next_group = 1000;
    for (uint8_t i = 0; i < 41; i++) {
        const uint8_t leaf[KT_SHA256_LEN] = {i};

        assert_int_equal(kt_merkle_append(&f->writer.log, leaf, NULL), 0);
    }
    f->writer.counted = counted;
    assert_int_equal(kt_pki_new_ed25519(&f->writer.settings.receipt_key), 0);
    for (int i = 0; i < 3; i++) {
        struct kt_change *c = &f->changes[i];

        c->kind = KT_CHANGE_DEPOSIT;
        c->deposit_id.bytes[0] = (uint8_t)(i + 1);
        c->handle[0] = (char)('a' + i);
        c->body = body;
        c->body_len = sizeof(body);
        f->members[i].change = c;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    EVP_PKEY_free(f->writer.settings.receipt_key);
    free(f);
    return 0;
}

// Check, plan and write of the first `count` members, by `script`.
static int run(struct fixture *f, size_t count, const struct fake_answer *script)
{
    struct kt_error error = {0};
    int r;

    fake_pq_script(script, noticed, f);
    r = db_group_check(&f->writer, f->members, count, &error);
    if (r == 0)
        r = db_group_plan(&f->writer, f->members, count);
    return r != 0 ? r : db_group_write(&f->writer, f->members, count, &error);
}

static void clean_group_is_prepared_proven_then_committed(void **state)
{
    const struct fake_answer script[] = {CHECK_OK, BEGIN_OK,    SAFE_OK,   WRITE_OK, LOG_OK,
                                         PREPARED, PROVEN("0"), COMMITTED, END};
    struct fixture *f = *state;

    assert_int_equal(run(f, 1, script), 0);
    assert_int_equal(f->members[0].outcome.code, 0);
    assert_int_equal(f->members[0].outcome.receipt.leaf.log_index, 42);
    assert_int_equal(f->writer.state.log_index, 42);
    assert_string_equal(fake_pq_statement(fake_pq_sent() - 1),
                        "COMMIT PREPARED 'kt:1.00000000000000aa:7:1000'");
    assert_ptr_equal(fake_pq_connection(fake_pq_sent() - 1), fake_pq_commit);
    assert_ptr_equal(fake_pq_connection(fake_pq_sent() - 2), fake_pq_main);
}

static void warning_at_the_prepare_leaves_the_group_in_doubt(void **state)
{
    const struct fake_answer script[] = {
        CHECK_OK,    BEGIN_OK,  SAFE_OK,
        WRITE_OK,    LOG_OK,    {.expect = "PREPARE TRANSACTION", .notices = 1},
        PROVEN("0"), COMMITTED, END};
    struct fixture *f = *state;

    assert_int_equal(run(f, 1, script), KT_ERR_IN_DOUBT);
    assert_false(fake_pq_was_sent("COMMIT PREPARED"));
    assert_false(fake_pq_was_sent("ROLLBACK"));
}

static void connection_lost_at_the_prepare_leaves_the_group_in_doubt(void **state)
{
    const struct fake_answer script[] = {
        CHECK_OK,  BEGIN_OK, SAFE_OK,
        WRITE_OK,  LOG_OK,   {.expect = "PREPARE TRANSACTION", .kind = FAKE_GONE},
        COMMITTED, END};

    assert_int_equal(run(*state, 1, script), KT_ERR_IN_DOUBT);
    assert_false(fake_pq_was_sent("COMMIT PREPARED"));
}

static void silence_at_the_prepare_ends_in_doubt_within_the_deadline(void **state)
{
    const struct fake_answer script[] = {
        CHECK_OK,  BEGIN_OK, SAFE_OK,
        WRITE_OK,  LOG_OK,   {.expect = "PREPARE TRANSACTION", .kind = FAKE_SILENT},
        COMMITTED, END};
    int64_t began = kt_monotonic_now();

    assert_int_equal(run(*state, 1, script), KT_ERR_IN_DOUBT);
    assert_true(kt_monotonic_now() - began < 2000000);
    assert_false(fake_pq_was_sent("COMMIT PREPARED"));
}

static void group_without_its_quorum_is_not_committed(void **state)
{
    struct fake_answer script[100] = {CHECK_OK, BEGIN_OK, SAFE_OK, WRITE_OK, LOG_OK, PREPARED};
    struct fixture *f = *state;

    f->writer.state.w = f->writer.row.w = 1;
    for (size_t i = 6; i < 99; i++)
        script[i] = (struct fake_answer)PROVEN("0");
    f->writer.settings.timeout_ms = 40;
    assert_int_equal(run(f, 1, script), KT_ERR_IN_DOUBT);
    assert_false(fake_pq_was_sent("COMMIT PREPARED"));
}

static void group_with_its_quorum_is_committed(void **state)
{
    const struct fake_answer script[] = {CHECK_OK, BEGIN_OK,    SAFE_OK,     WRITE_OK,  LOG_OK,
                                         PREPARED, PROVEN("0"), PROVEN("1"), COMMITTED, END};
    struct fixture *f = *state;

    f->writer.state.w = f->writer.row.w = 1;
    assert_int_equal(run(f, 1, script), 0);
    assert_int_equal(f->members[0].outcome.receipt.w, 1);
}

// Too few members are connected: what an answer would wait for cannot come.
static int no_quorum(void *arg)
{
    (void)arg;
    return 0;
}

static void prepare_that_waits_for_members_that_are_gone_is_given_up_at_once(void **state)
{
    const struct fake_answer script[] = {
        CHECK_OK,  BEGIN_OK, SAFE_OK,
        WRITE_OK,  LOG_OK,   {.expect = "PREPARE TRANSACTION", .kind = FAKE_SILENT},
        COMMITTED, END};
    struct fixture *f = *state;
    int64_t began = kt_monotonic_now();

    f->writer.settings.timeout_ms = 10000;
    f->writer.settings.quorum = no_quorum;
    assert_int_equal(run(f, 1, script), KT_ERR_IN_DOUBT);
    assert_true(kt_monotonic_now() - began < 500000);
    assert_false(fake_pq_was_sent("COMMIT PREPARED"));
    assert_false(fake_pq_was_sent("ROLLBACK"));
}

static int64_t quorum_until_us;

static int quorum_for_a_while(void *arg)
{
    (void)arg;
    return kt_monotonic_now() < quorum_until_us;
}

static void member_that_is_only_slow_is_waited_for(void **state)
{
    const struct fake_answer script[] = {
        CHECK_OK, BEGIN_OK, SAFE_OK,
        WRITE_OK, LOG_OK,   {.expect = "PREPARE TRANSACTION", .kind = FAKE_SILENT},
        END};
    struct fixture *f = *state;
    int64_t began = kt_monotonic_now();

    quorum_until_us = INT64_MAX;
    f->writer.settings.timeout_ms = 400;
    f->writer.settings.quorum = quorum_for_a_while;
    assert_int_equal(run(f, 1, script), KT_ERR_IN_DOUBT);
    assert_true(kt_monotonic_now() - began >= 400000);
}

static void weakened_settings_refuse_the_group_before_anything_is_prepared(void **state)
{
    const struct fake_answer script[] = {
        CHECK_OK,    BEGIN_OK, {.expect = "guard", .kind = FAKE_ERROR, .sqlstate = "22012"},
        WRITE_OK,    LOG_OK,   PREPARED,
        ROLLED_BACK, END};
    struct fixture *f = *state;

    assert_int_equal(run(f, 1, script), KT_ERR_UNSAFE_SETTINGS);
    assert_int_equal(f->writer.state.log_index, 41);
    assert_false(fake_pq_was_sent("COMMIT PREPARED"));
}

static void settings_weakened_after_the_prepare_leave_the_group_in_doubt(void **state)
{
    const struct fake_answer script[] = {
        CHECK_OK,
        BEGIN_OK,
        SAFE_OK,
        WRITE_OK,
        LOG_OK,
        PREPARED,
        {.expect = "prove", .columns = 3, .row = {"f", "0/0", "0"}},
        COMMITTED,
        END};

    assert_int_equal(run(*state, 1, script), KT_ERR_IN_DOUBT);
    assert_false(fake_pq_was_sent("COMMIT PREPARED"));
}

static void failed_insert_is_rolled_back_and_its_index_used_again(void **state)
{
    const struct fake_answer full[] = {
        CHECK_OK,    BEGIN_OK,
        SAFE_OK,     {.expect = "write_deposit", .kind = FAKE_ERROR, .sqlstate = "53100"},
        LOG_OK,      PREPARED,
        ROLLED_BACK, END};
    const struct fake_answer clean[] = {CHECK_OK,    BEGIN_OK,
                                        SAFE_OK,     WRITE_OK,
                                        LOG_OK,      {.expect = "PREPARE TRANSACTION"},
                                        PROVEN("0"), {.expect = "COMMIT PREPARED"},
                                        END};
    struct fixture *f = *state;

    assert_int_equal(run(f, 1, full), KT_ERR_STORAGE_FULL);
    assert_int_equal(f->writer.state.log_index, 41);
    assert_int_equal(run(f, 1, clean), 0);
    assert_int_equal(f->members[0].outcome.receipt.leaf.log_index, 42);
}

static void connection_lost_at_the_commit_leaves_the_group_in_doubt(void **state)
{
    const struct fake_answer script[] = {
        CHECK_OK, BEGIN_OK, SAFE_OK,     WRITE_OK,
        LOG_OK,   PREPARED, PROVEN("0"), {.expect = "COMMIT PREPARED", .kind = FAKE_GONE},
        END};

    assert_int_equal(run(*state, 1, script), KT_ERR_IN_DOUBT);
}

static void second_change_of_a_handle_waits_for_the_next_group(void **state)
{
    const struct fake_answer script[] = {CHECK_OK, CHECK_OK,    CHECK_OK,  BEGIN_OK,
                                         SAFE_OK,  WRITE_OK,    WRITE_OK,  LOG_OK,
                                         PREPARED, PROVEN("0"), COMMITTED, END};
    struct fixture *f = *state;

    strcpy(f->changes[2].handle, f->changes[0].handle);
    assert_int_equal(run(f, 3, script), 0);
    assert_int_equal(f->members[0].wait, 0);
    assert_int_equal(f->members[1].wait, 0);
    assert_int_equal(f->members[2].wait, 1);
    assert_int_equal(f->writer.state.log_index, 43);
}

static void repeated_deposit_is_answered_from_its_row_and_writes_nothing(void **state)
{
    static const char zeros[] =
        "\\x0000000000000000000000000000000000000000000000000000000000000000";
    static const char sig[] = "\\x"
                              "11111111111111111111111111111111"
                              "11111111111111111111111111111111"
                              "11111111111111111111111111111111"
                              "11111111111111111111111111111111";
    const struct fake_answer script[] = {
        {.expect = "check_deposit", .columns = 33, .row = {CLIENT, ORG,
                                                           "acme", "active",
                                                           "f",    "f",
                                                           "f",    OTHER,
                                                           CLIENT, "a",
                                                           zeros,  "11",
                                                           "3",    "40",
                                                           "1",    "\\x00000000000000aa",
                                                           "7",    "1700000000000000",
                                                           "0",    "\\x0102030405060708",
                                                           sig,    "3",
                                                           CLIENT, "t",
                                                           "t"}},
        END};
    struct fixture *f = *state;

    assert_int_equal(run(f, 1, script), 0);
    assert_int_equal(f->members[0].outcome.repeated, 1);
    assert_int_equal(f->members[0].outcome.receipt.leaf.log_index, 40);
    assert_int_equal(f->members[0].outcome.receipt.leaf.version, 3);
    assert_int_equal(f->writer.state.log_index, 41);
}

static void deposit_id_of_another_body_is_a_conflict(void **state)
{
    const struct fake_answer script[] = {
        {.expect = "check_deposit",
         .columns = 33,
         .row = {CLIENT, ORG, "acme", "active", "f", "f", "f", OTHER, CLIENT, "a",
                 "\\x0100000000000000000000000000000000000000000000000000000000000000", "11", "3"}},
        END};
    struct fixture *f = *state;

    assert_int_equal(run(f, 1, script), 0);
    assert_int_equal(f->members[0].outcome.code, KT_ERR_DEPOSIT_ID_CONFLICT);
}

static void refuse_with(struct fixture *f, const struct fake_answer *check, int code)
{
    struct fake_answer script[] = {*check, END};

    assert_int_equal(run(f, 1, script), 0);
    assert_int_equal(f->members[0].outcome.code, code);
    assert_int_equal(f->writer.state.log_index, 41);
    memset(&f->members[0].outcome, 0, sizeof(f->members[0].outcome));
}

static void deposits_without_the_right_are_refused(void **state)
{
    struct fake_answer check = CHECK_OK;
    struct fixture *f = *state;

    check.columns = 0;
    refuse_with(f, &check, KT_ERR_CERTIFICATE_UNKNOWN);
    check = (struct fake_answer)CHECK_OK;
    check.row[3] = "revoked";
    refuse_with(f, &check, KT_ERR_CLIENT_REVOKED);
    check.row[3] = "pending";
    refuse_with(f, &check, KT_ERR_CLIENT_PENDING);
    check.row[3] = "active";
    check.row[4] = "t";
    refuse_with(f, &check, KT_ERR_CERTIFICATE_REVOKED);
    check.row[4] = "f";
    check.row[5] = "t";
    refuse_with(f, &check, KT_ERR_CERTIFICATE_EXPIRED);
    check.row[5] = "f";
    check.row[6] = "t";
    refuse_with(f, &check, KT_ERR_ORGANISATION_DISABLED);
    check.row[6] = "f";
    check.row[23] = "f";
    refuse_with(f, &check, KT_ERR_NOT_GRANTED);
    check.row[21] = "2";
    check.row[22] = OTHER;
    refuse_with(f, &check, KT_ERR_HANDLE_TAKEN);
}

static void result_that_cannot_be_used_leaves_the_prepared_group_in_doubt(void **state)
{
    const struct fake_answer script[] = {
        {.expect = "check_delete",
         .columns = 10,
         .row = {CLIENT, ORG, "acme", "active", "f", "f", "f", "1", "1", "1"}},
        BEGIN_OK,
        SAFE_OK,
        {.expect = "write_delete", .tag = "0"}, // the row that was checked is gone
        PREPARED,
        COMMITTED,
        END};
    struct fixture *f = *state;

    f->changes[0].kind = KT_CHANGE_DELETE;
    assert_int_equal(run(f, 1, script), KT_ERR_IN_DOUBT);
    assert_false(fake_pq_was_sent("ROLLBACK"));
    assert_false(fake_pq_was_sent("COMMIT PREPARED"));
}

static const struct fake_answer two_written[] = {CHECK_OK,    CHECK_OK,  BEGIN_OK, SAFE_OK,
                                                 WRITE_OK,    WRITE_OK,  LOG_OK,   PREPARED,
                                                 PROVEN("0"), COMMITTED, END};

static void deposits_bring_the_head_of_the_log_that_ends_with_them(void **state)
{
    struct fixture *f = *state;
    struct kt_merkle expected = f->writer.log;
    char text[KT_LEAF_TEXT];
    uint8_t leaf[KT_SHA256_LEN];

    assert_int_equal(run(f, 2, two_written), 0);
    for (int i = 0; i < 2; i++) {
        kt_leaf_format(&f->members[i].outcome.receipt.leaf, text);
        assert_int_equal(kt_merkle_leaf(text, strlen(text), leaf), 0);
        assert_int_equal(kt_merkle_append(&expected, leaf, NULL), 0);
    }
    assert_int_equal(f->writer.log.size, 43);
    assert_memory_equal(&f->writer.log, &expected, sizeof(expected));
}

static void failed_group_leaves_the_log_as_it_was(void **state)
{
    struct fake_answer script[] = {CHECK_OK, CHECK_OK, BEGIN_OK,
                                   SAFE_OK,  WRITE_OK, WRITE_OK,
                                   LOG_OK,   PREPARED, {.expect = "ROLLBACK"},
                                   END};
    struct fixture *f = *state;
    const struct kt_merkle before = f->writer.log;

    script[6].kind = FAKE_ERROR;
    script[6].sqlstate = "23505";
    assert_int_equal(run(f, 2, script), KT_ERR_DATABASE);
    assert_memory_equal(&f->writer.log, &before, sizeof(before));
    assert_int_equal(f->writer.state.log_index, 41);
}

// What was planned and then forgotten, as its record could not be written, is in no head.
static void forgotten_group_leaves_the_log_as_it_was(void **state)
{
    const struct fake_answer script[] = {CHECK_OK, END};
    struct fixture *f = *state;
    const struct kt_merkle before = f->writer.log;
    struct kt_error error;

    fake_pq_script(script, noticed, f);
    assert_int_equal(db_group_check(&f->writer, f->members, 1, &error), 0);
    assert_int_equal(db_group_plan(&f->writer, f->members, 1), 0);
    db_group_forget(&f->writer, f->members, 1);
    assert_memory_equal(&f->writer.log, &before, sizeof(before));
    assert_int_equal(run(f, 2, two_written), 0);
    assert_int_equal(f->writer.log.size, 43);
}

// Nothing is sent of a group whose indices the log cannot take.
static void index_that_does_not_follow_is_refused(void **state)
{
    const struct fake_answer script[] = {CHECK_OK, END};
    struct fixture *f = *state;

    f->writer.state.log_index = 42;
    assert_int_equal(run(f, 1, script), KT_ERR_INTERNAL);
    assert_int_equal(f->writer.log.size, 41);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(clean_group_is_prepared_proven_then_committed),
        CASE(warning_at_the_prepare_leaves_the_group_in_doubt),
        CASE(connection_lost_at_the_prepare_leaves_the_group_in_doubt),
        CASE(silence_at_the_prepare_ends_in_doubt_within_the_deadline),
        CASE(group_without_its_quorum_is_not_committed),
        CASE(group_with_its_quorum_is_committed),
        CASE(prepare_that_waits_for_members_that_are_gone_is_given_up_at_once),
        CASE(member_that_is_only_slow_is_waited_for),
        CASE(weakened_settings_refuse_the_group_before_anything_is_prepared),
        CASE(settings_weakened_after_the_prepare_leave_the_group_in_doubt),
        CASE(failed_insert_is_rolled_back_and_its_index_used_again),
        CASE(connection_lost_at_the_commit_leaves_the_group_in_doubt),
        CASE(second_change_of_a_handle_waits_for_the_next_group),
        CASE(repeated_deposit_is_answered_from_its_row_and_writes_nothing),
        CASE(deposit_id_of_another_body_is_a_conflict),
        CASE(deposits_without_the_right_are_refused),
        CASE(result_that_cannot_be_used_leaves_the_prepared_group_in_doubt),
        CASE(deposits_bring_the_head_of_the_log_that_ends_with_them),
        CASE(failed_group_leaves_the_log_as_it_was),
        CASE(forgotten_group_leaves_the_log_as_it_was),
        CASE(index_that_does_not_follow_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
