// SPDX-License-Identifier: Apache-2.0
// Barriers and proofs: who counts, what is asked, and how long it is waited for.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "db/write.h"
#include "tests/support/fake_pq.h"

#define NAMES "ANY 1 (\"kts-02.0000000b_e7_kts-01\", \"kts-03.0000000c_e7_kts-01\")"
#define COUNTED                                                                                    \
    "{\"kts-02.0000000b_e7_kts-01\":\"kts-02.0000000b\","                                          \
    "\"kts-03.0000000c_e7_kts-01\":\"kts-03.0000000c\"}"
#define BARRIER                                                                                    \
    {                                                                                              \
        .expect = "pg_logical_emit_message", .columns = 1, .row = { "0/0" }                        \
    }
#define PROVE(n)                                                                                   \
    {                                                                                              \
        .expect = "prove", .columns = 3, .row = { "t", "0/3000060", n }                            \
    }
#define END                                                                                        \
    {                                                                                              \
        .expect = NULL                                                                             \
    }

static struct db_writer writer;
static int members; // that are connected, for the callback
static int64_t gone_us;

static int quorum(void *arg)
{
    (void)arg;
    return members >= 1;
}

static void noticed(void *arg)
{
    ((struct db_writer *)arg)->notices++;
}

static int setup(void **state)
{
    (void)state;
    memset(&writer, 0, sizeof(writer));
    writer.main = fake_pq_main;
    writer.commit = fake_pq_commit;
    writer.settings.timeout_ms = 300;
    writer.settings.quorum = quorum;
    writer.row = (struct kt_epoch_row){
        .incarnation = {1, 0xaa}, .epoch = 7, .sequence = 1, .count = 2, .w = 1};
    strcpy(writer.row.active, "kts-01.0000000a");
    strcpy(writer.row.members[0], "kts-02.0000000b");
    strcpy(writer.row.members[1], "kts-03.0000000c");
    members = 1;
    return db_write_use_row(&writer, NULL);
}

static int teardown(void **state)
{
    (void)state;
    free(writer.counted);
    return 0;
}

static int barrier(const struct fake_answer *script)
{
    struct kt_error error = {0};

    fake_pq_script(script, noticed, &writer);
    return db_write_barrier(&writer, &error);
}

static void guard_asks_for_the_names_of_this_epoch(void **state)
{
    const struct fake_answer script[] = {{.expect = "guard", .columns = 1, .row = {"1"}}, END};

    (void)state;
    fake_pq_script(script, noticed, &writer);
    assert_int_equal(db_prove_send_guard(&writer), 0);
    assert_string_equal(fake_pq_parameters(0), NAMES "\n");
}

static void members_count_by_the_name_of_this_epoch_and_by_role(void **state)
{
    const struct fake_answer script[] = {BARRIER, PROVE("1"), END};

    (void)state;
    assert_int_equal(barrier(script), 0);
    assert_string_equal(fake_pq_parameters(1), NAMES "\n" COUNTED "\n(null)\n");
}

static void position_stays_the_one_behind_the_commit_when_it_is_asked_again(void **state)
{
    const struct fake_answer script[] = {
        BARRIER,
        PROVE("0"),
        {.expect = "prove", .columns = 3, .row = {"t", "0/9999999", "0"}},
        PROVE("1"),
        END};

    (void)state;
    assert_int_equal(barrier(script), 0);
    assert_non_null(strstr(fake_pq_parameters(1), "(null)"));
    assert_non_null(strstr(fake_pq_parameters(2), "\n0/3000060\n"));
}

static void without_w_members_there_is_no_barrier(void **state)
{
    struct fake_answer script[120] = {BARRIER};

    (void)state;
    for (size_t i = 1; i < 119; i++)
        script[i] = (struct fake_answer)PROVE("1");
    writer.row.w = 2;
    writer.settings.timeout_ms = 40;
    assert_int_equal(barrier(script), KT_ERR_NO_QUORUM);
}

static void standalone_node_needs_nobody(void **state)
{
    const struct fake_answer script[] = {BARRIER, PROVE("0"), END};

    (void)state;
    writer.row.w = writer.row.count = 0;
    members = 1;
    assert_int_equal(barrier(script), 0);
}

static void warning_proves_nothing(void **state)
{
    const struct fake_answer at_the_commit[] = {
        {.expect = "pg_logical_emit_message", .columns = 1, .row = {"0/0"}, .notices = 1},
        PROVE("1"),
        END};
    const struct fake_answer later[] = {
        BARRIER,
        {.expect = "prove", .columns = 3, .row = {"t", "0/3000060", "1"}, .notices = 1},
        END};

    (void)state;
    assert_int_equal(barrier(at_the_commit), KT_ERR_NO_QUORUM);
    assert_int_equal(barrier(later), KT_ERR_NO_QUORUM);
}

static void changed_settings_prove_nothing(void **state)
{
    const struct fake_answer script[] = {
        BARRIER, {.expect = "prove", .columns = 3, .row = {"f", "0/3000060", "1"}}, END};

    (void)state;
    assert_int_equal(barrier(script), KT_ERR_UNSAFE_SETTINGS);
}

static void barrier_that_is_not_answered_gives_the_connection_up(void **state)
{
    const struct fake_answer silent[] = {
        {.expect = "pg_logical_emit_message", .kind = FAKE_SILENT}, PROVE("1"), END};
    const struct fake_answer unproven[] = {BARRIER, {.expect = "prove", .kind = FAKE_SILENT}, END};

    (void)state;
    assert_int_equal(barrier(silent), KT_ERR_DATABASE_UNAVAILABLE);
    assert_int_equal(barrier(unproven), KT_ERR_DATABASE_UNAVAILABLE);
}

static void barrier_without_members_is_given_up_within_a_fifth_of_a_second(void **state)
{
    const struct fake_answer silent[] = {
        {.expect = "pg_logical_emit_message", .kind = FAKE_SILENT}, PROVE("1"), END};
    int64_t began = kt_monotonic_now(), took;

    (void)state;
    writer.settings.timeout_ms = 10000;
    members = 0;
    assert_int_equal(barrier(silent), KT_ERR_NO_QUORUM);
    took = kt_monotonic_now() - began;
    assert_true(took >= 150000);
    assert_true(took < 200000);
}

// Counted from the moment at which the member went away.
static void member_goes(void)
{
    if (members == 1 && kt_monotonic_now() > gone_us)
        members = 0;
}

static void barrier_is_given_up_when_its_member_goes_away_meanwhile(void **state)
{
    const struct fake_answer silent[] = {
        {.expect = "pg_logical_emit_message", .kind = FAKE_SILENT, .then = member_goes},
        PROVE("1"),
        END};

    (void)state;
    writer.settings.timeout_ms = 10000;
    gone_us = kt_monotonic_now() + 100000;
    assert_int_equal(barrier(silent), KT_ERR_NO_QUORUM);
    assert_true(kt_monotonic_now() - gone_us < 300000);
}

static void proof_without_members_is_given_up_too(void **state)
{
    static struct fake_answer script[400] = {BARRIER};
    int64_t began = kt_monotonic_now();

    (void)state;
    for (size_t i = 1; i < 399; i++)
        script[i] =
            (struct fake_answer){.expect = "prove", .columns = 3, .row = {"t", "0/3000060", "0"}};
    writer.settings.timeout_ms = 10000;
    members = 0;
    assert_int_equal(barrier(script), KT_ERR_NO_QUORUM);
    assert_true(kt_monotonic_now() - began < 1000000);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(guard_asks_for_the_names_of_this_epoch),
        CASE(members_count_by_the_name_of_this_epoch_and_by_role),
        CASE(position_stays_the_one_behind_the_commit_when_it_is_asked_again),
        CASE(without_w_members_there_is_no_barrier),
        CASE(standalone_node_needs_nobody),
        CASE(warning_proves_nothing),
        CASE(changed_settings_prove_nothing),
        CASE(barrier_that_is_not_answered_gives_the_connection_up),
        CASE(barrier_without_members_is_given_up_within_a_fifth_of_a_second),
        CASE(barrier_is_given_up_when_its_member_goes_away_meanwhile),
        CASE(proof_without_members_is_given_up_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
