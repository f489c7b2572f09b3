// SPDX-License-Identifier: Apache-2.0
// The campaign's checker against histories by hand: each kind of violation is found, and only that.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/chaos/check.h"

#define A                 "id=a"
#define B                 "id=b"
#define PUT(op, id)       "p=w op=" op " ev=invoke kind=put node=n1 " id " sha=5" id
#define ACK(op, id, rest) "p=w op=" op " ev=ok kind=put node=n1 " id " status=201 inc=1.x " rest
#define ON(node, id)      "p=f op=1 ev=ok kind=final node=" node " " id " found=1"
#define GONE(node, id)    "p=f op=1 ev=ok kind=final node=" node " " id " found=0"

// The number of violations of a kind; all others must be 0.
static size_t found(const char *const *lines, enum chaos_violation kind)
{
    struct chaos_check *check = chaos_check_new(NULL);
    size_t count;

    for (; *lines; lines++) {
        struct chaos_event event;

        assert_int_equal(chaos_event_parse(*lines, &event), 0);
        chaos_check_event(check, &event);
    }
    chaos_check_finish(check);
    count = chaos_check_count(check, kind);
    assert_int_equal(chaos_check_violations(check), count);
    chaos_check_free(check);
    return count;
}

static void a_good_history_has_no_violation(void **state)
{
    static const char *const lines[] = {
        PUT("1", A), ACK("1", A, "epoch=1 index=1"), PUT("2", B),
        "p=w op=2 ev=unknown kind=put node=n1 id=b code=timeout",
        // the same deposit again, at the next active, from its row
        "p=w op=3 ev=invoke kind=put node=n2 id=a",
        "p=w op=3 ev=ok kind=put node=n2 id=a status=200 inc=1.x epoch=1 index=1",
        "p=w op=4 ev=invoke kind=put node=n2 id=c",
        "p=w op=4 ev=ok kind=put node=n2 id=c status=201 inc=1.x epoch=2 index=2",
        "p=r op=1 ev=invoke kind=get node=n1 id=b barrier=1",
        "p=r op=1 ev=ok kind=get node=n1 id=b found=0 barrier=1",
        // a passive may not have it yet
        "p=r op=2 ev=invoke kind=get node=n2 id=a", "p=r op=2 ev=ok kind=get node=n2 id=a found=0",
        ON("n1", A), ON("n2", A), ON("n1", "id=c"), ON("n2", "id=c"), GONE("n1", B), GONE("n2", B),
        NULL};

    (void)state;
    for (int kind = 0; kind < CHAOS_VIOLATION_COUNT; kind++)
        assert_int_equal(found(lines, (enum chaos_violation)kind), 0);
}

static void an_acknowledged_deposit_that_one_node_lacks_is_lost(void **state)
{
    static const char *const lines[] = {PUT("1", A), ACK("1", A, "epoch=1 index=1"), ON("n1", A),
                                        GONE("n2", A), NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_LOST), 1);
}

static void an_unknown_deposit_that_was_read_must_stay(void **state)
{
    static const char *const lines[] = {PUT("1", A),
                                        "p=w op=1 ev=unknown kind=put node=n1 id=a",
                                        "p=r op=1 ev=invoke kind=get node=n1 id=a",
                                        "p=r op=1 ev=ok kind=get node=n1 id=a found=1 sha=5id=a",
                                        GONE("n1", A),
                                        NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_VANISHED), 1);
}

static void a_fresh_read_that_misses_what_was_acknowledged_before_it_is_stale(void **state)
{
    static const char *const lines[] = {PUT("1", A),
                                        ACK("1", A, "epoch=1 index=1"),
                                        "p=r op=1 ev=invoke kind=get node=n2 id=a barrier=1",
                                        "p=r op=1 ev=ok kind=get node=n2 id=a barrier=1 found=0",
                                        ON("n1", A),
                                        NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_STALE), 1);
}

static void a_fresh_read_that_misses_what_was_read_before_it_is_stale(void **state)
{
    static const char *const lines[] = {PUT("1", A),
                                        "p=r op=1 ev=invoke kind=get node=n1 id=a",
                                        "p=r op=1 ev=ok kind=get node=n1 id=a found=1 sha=5id=a",
                                        "p=r op=2 ev=invoke kind=get node=n2 id=a barrier=1",
                                        "p=r op=2 ev=ok kind=get node=n2 id=a barrier=1 found=0",
                                        ON("n1", A),
                                        NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_STALE), 1);
}

static void a_fresh_read_that_began_before_the_acknowledgement_may_miss_it(void **state)
{
    static const char *const lines[] = {PUT("1", A),
                                        "p=r op=1 ev=invoke kind=get node=n2 id=a barrier=1",
                                        ACK("1", A, "epoch=1 index=1"),
                                        "p=r op=1 ev=ok kind=get node=n2 id=a barrier=1 found=0",
                                        ON("n1", A),
                                        NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_STALE), 0);
}

static void other_bytes_under_an_id_are_a_change(void **state)
{
    static const char *const lines[] = {PUT("1", A), "p=r op=1 ev=invoke kind=get node=n1 id=a",
                                        "p=r op=1 ev=ok kind=get node=n1 id=a found=1 sha=6",
                                        ON("n1", A), NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_CHANGED), 1);
}

static void nodes_that_serve_different_sets_disagree(void **state)
{
    static const char *const lines[] = {PUT("1", A), "p=w op=1 ev=unknown kind=put node=n1 id=a",
                                        ON("n1", A), GONE("n2", A), NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_DISAGREE), 1);
}

static void one_index_in_two_receipts_is_found(void **state)
{
    static const char *const lines[] = {PUT("1", A), ACK("1", A, "epoch=1 index=1"),
                                        PUT("2", B), ACK("2", B, "epoch=1 index=1"),
                                        ON("n1", A), ON("n1", B),
                                        NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_TWO_RECEIPTS), 1);
}

static void one_index_in_receipts_of_two_epochs_is_found(void **state)
{
    static const char *const lines[] = {PUT("1", A), ACK("1", A, "epoch=1 index=1"),
                                        PUT("2", B), ACK("2", B, "epoch=2 index=1"),
                                        ON("n1", A), ON("n1", B),
                                        NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_TWO_RECEIPTS), 1);
}

static void a_second_receipt_for_a_deposit_is_found(void **state)
{
    static const char *const lines[] = {PUT("1", A), ACK("1", A, "epoch=1 index=1"),
                                        PUT("2", A), ACK("2", A, "epoch=2 index=7"),
                                        ON("n1", A), NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_NEW_RECEIPT), 1);
}

static void two_nodes_that_acknowledge_in_one_epoch_are_found(void **state)
{
    static const char *const lines[] = {
        PUT("1", A), ACK("1", A, "epoch=3 index=1"),
        PUT("2", B), "p=w op=2 ev=ok kind=put node=n2 id=b status=201 inc=1.x epoch=3 index=2",
        ON("n1", A), ON("n1", B),
        NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_TWO_ACTIVES), 1);
}

static void what_nobody_read_at_the_end_is_not_proven(void **state)
{
    static const char *const lines[] = {PUT("1", A), ACK("1", A, "epoch=1 index=1"), NULL};
    (void)state;
    assert_int_equal(found(lines, CHAOS_UNREAD), 1);
}

static void an_operation_that_never_ends_is_unknown(void **state)
{
    struct chaos_check *check = chaos_check_new(NULL);
    struct chaos_event event;

    (void)state;
    assert_int_equal(chaos_event_parse(PUT("1", A), &event), 0);
    chaos_check_event(check, &event);
    chaos_check_finish(check);
    assert_int_equal(chaos_check_operations(check, CHAOS_PUT, CHAOS_UNKNOWN), 1);
    chaos_check_free(check);
}

static void lines_are_read_as_they_are_written(void **state)
{
    static const char *const good[] = {
        "t=12 p=w1 op=3 ev=invoke kind=put node=kts-01 id=x sha=ff",
        "t=13 p=w1 op=3 ev=ok kind=put node=kts-01 id=x status=201 inc=1.ab epoch=2 index=9",
        "t=14 p=r op=1 ev=ok kind=get node=kts-02 id=x sha=ff status=200 found=1 barrier=1",
        "t=15 p=r op=2 ev=unknown kind=get node=kts-02 id=x status=503 code=no_quorum"};
    static const char *const bad[] = {"",
                                      "t=1",
                                      "p=w op=1 ev=maybe kind=put node=n id=a",
                                      "p=w op=1 ev=ok kind=put node=n",
                                      "nonsense",
                                      "p=w op=x ev=ok kind=put node=n id=a",
                                      "p=w op=18446744073709551616 ev=ok kind=put node=n id=a",
                                      "p=w op=1 ev=ok kind=put node=n id=a status=1000"};
    struct chaos_event event;
    char text[1024], word[CHAOS_WORD];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(chaos_event_parse(good[i], &event), 0);
        chaos_event_format(&event, text, sizeof(text));
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(chaos_event_parse(bad[i], &event), -1);
    memset(text, 'a', CHAOS_WORD);
    text[CHAOS_WORD] = '\0';
    assert_int_equal(chaos_word(text, word), -1);
    text[CHAOS_WORD - 1] = '\0';
    assert_int_equal(chaos_word(text, word), 0);
    assert_string_equal(word, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_history_has_no_violation),
        cmocka_unit_test(an_acknowledged_deposit_that_one_node_lacks_is_lost),
        cmocka_unit_test(an_unknown_deposit_that_was_read_must_stay),
        cmocka_unit_test(a_fresh_read_that_misses_what_was_acknowledged_before_it_is_stale),
        cmocka_unit_test(a_fresh_read_that_misses_what_was_read_before_it_is_stale),
        cmocka_unit_test(a_fresh_read_that_began_before_the_acknowledgement_may_miss_it),
        cmocka_unit_test(other_bytes_under_an_id_are_a_change),
        cmocka_unit_test(nodes_that_serve_different_sets_disagree),
        cmocka_unit_test(one_index_in_two_receipts_is_found),
        cmocka_unit_test(one_index_in_receipts_of_two_epochs_is_found),
        cmocka_unit_test(a_second_receipt_for_a_deposit_is_found),
        cmocka_unit_test(two_nodes_that_acknowledge_in_one_epoch_are_found),
        cmocka_unit_test(what_nobody_read_at_the_end_is_not_proven),
        cmocka_unit_test(an_operation_that_never_ends_is_unknown),
        cmocka_unit_test(lines_are_read_as_they_are_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
