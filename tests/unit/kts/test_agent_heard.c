// SPDX-License-Identifier: Apache-2.0
// How old what a passive shows is: it has to be replayed, not only received.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kts/agent_heard.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "tests/unit/lib/temp_dir.h"

#define S INT64_C(1000000)

static void look(struct kts_heard *heard, int64_t at_s, int64_t silent_s, uint64_t end,
                 uint64_t replayed)
{
    const struct kts_heard_facts facts = {
        .follows = 1, .asked_us = (at_s - silent_s) * S, .end_lsn = end, .replayed_lsn = replayed};

    kts_heard_look(heard, &facts, at_s * S);
}

static void passive_that_keeps_up_is_as_new_as_the_last_message(void **state)
{
    struct kts_heard heard = {.as_of_us = 1 * S};

    (void)state;
    look(&heard, 100, 0, 50, 50); // the first look of a streak proves nothing
    assert_int_equal(heard.as_of_us, 1 * S);
    look(&heard, 110, 2, 60, 60);
    assert_int_equal(heard.as_of_us, 108 * S);
    look(&heard, 120, 1, 60, 60); // nothing new to replay, but it was told so
    assert_int_equal(heard.as_of_us, 119 * S);
}

static void passive_that_receives_and_does_not_replay_grows_old(void **state)
{
    struct kts_heard heard = {.as_of_us = 1 * S};

    (void)state;
    look(&heard, 100, 0, 50, 50);
    look(&heard, 110, 0, 60, 60);
    for (int at = 120; at < 200; at += 10)
        look(&heard, at, 0, 60 + (uint64_t)at, 60);
    assert_int_equal(heard.as_of_us, 110 * S);
    look(&heard, 200, 0, 1000, 180); // what was the end at 120
    assert_int_equal(heard.as_of_us, 120 * S);
}

static void lag_that_never_ends_is_no_age(void **state)
{
    struct kts_heard heard = {.as_of_us = 1 * S};

    (void)state;
    for (int at = 100; at < 200; at++) // always one behind
        look(&heard, at, 0, (uint64_t)at, (uint64_t)at - 1);
    assert_true(heard.as_of_us >= 197 * S);
}

static void connection_alone_is_no_message(void **state)
{
    struct kts_heard heard = {.as_of_us = 1 * S};
    const struct kts_heard_facts away = {.follows = 0};

    (void)state;
    for (int at = 100; at < 200; at += 10) { // comes and goes, with what was heard long ago
        look(&heard, at, 0, 50, 50);
        look(&heard, at + 1, 1, 50, 50);
        look(&heard, at + 2, 1, 0, 50);
        kts_heard_look(&heard, &away, (at + 3) * S);
    }
    assert_int_equal(heard.as_of_us, 1 * S);
}

// Of an active whose answer to the question of `asked_s` is `age_ms` old and says that its log ends at
// 0/3C.
static void hear(struct kts_heard *heard, int64_t at_s, int64_t asked_s, json_int_t age_ms,
                 const char *role)
{
    struct kts_heard_facts facts = {.follows = 1, .replayed_lsn = 60};
    json_t *state = json_pack("{s:s, s:s, s:s, s:I}", "role", role, "database", "up", "lsn", "0/3C",
                              "lsn_age_ms", age_ms);

    kts_heard_answer(state, asked_s * S, &facts);
    kts_heard_look(heard, &facts, at_s * S);
    json_decref(state);
}

static void an_answer_that_was_kept_back_counts_from_its_question(void **state)
{
    struct kts_heard heard = {.as_of_us = 1 * S};

    (void)state;
    hear(&heard, 100, 100, 0, "active");
    hear(&heard, 200, 110, 0, "active"); // asked 90 s ago
    assert_int_equal(heard.as_of_us, 110 * S);
    hear(&heard, 300, 299, 4000, "active"); // and old when it was given
    assert_int_equal(heard.as_of_us, 295 * S);
    for (int at = 301; at < 400; at++) // the same answer, again and again
        hear(&heard, at, 299, 4000, "active");
    assert_int_equal(heard.as_of_us, 295 * S);
    hear(&heard, 500, 900, 0, "active"); // a time that has not come
    assert_int_equal(heard.as_of_us, 295 * S);
    hear(&heard, 501, 501, 0, "active"); // a new streak
    hear(&heard, 502, 502, 0, "active");
    assert_int_equal(heard.as_of_us, 502 * S);
}

static void what_no_active_says_makes_nothing_newer(void **state)
{
    static const char *const ROLES[] = {"passive", "fenced", "unestablished", "removed", ""};
    struct kts_heard heard = {.as_of_us = 1 * S};

    (void)state;
    for (int i = 0; i < 5; i++) {
        hear(&heard, 100 + 2 * i, 100 + 2 * i, 0, ROLES[i]);
        hear(&heard, 101 + 2 * i, 101 + 2 * i, 0, ROLES[i]);
    }
    hear(&heard, 200, 200, 0, "active");
    hear(&heard, 201, 201, -1, "active");
    hear(&heard, 202, 202, 203000, "active"); // older than this node's clock
    assert_int_equal(heard.as_of_us, 1 * S);
}

static void who_leads_is_never_old(void **state)
{
    struct kts_heard heard = {.as_of_us = 1 * S};
    const struct kts_heard_facts head = {.leads = 1, .has_quorum = 1};

    (void)state;
    kts_heard_look(&heard, &head, 500 * S);
    assert_int_equal(heard.as_of_us, 500 * S);
}

static void active_without_a_quorum_has_heard_nothing(void **state)
{
    struct kts_heard heard = {.as_of_us = 1 * S};
    const struct kts_heard_facts alone = {.leads = 1}, quorum_of_others = {.has_quorum = 1};

    (void)state;
    kts_heard_look(&heard, &alone, 500 * S); // it may have been replaced
    kts_heard_look(&heard, &quorum_of_others, 500 * S);
    assert_int_equal(heard.as_of_us, 1 * S);
}

static void age_survives_a_restart(void **state)
{
    struct kts_heard heard = {.as_of_us = kt_monotonic_now() - 1000 * S}, again;

    (void)state;
    kts_heard_save(&heard, temp_dir, 60 * S);
    kts_heard_load(temp_dir, &again);
    assert_in_range(kt_monotonic_now() - again.as_of_us, 1000 * S, 1005 * S);
    // less than a step: not written
    heard.as_of_us += 30 * S;
    kts_heard_save(&heard, temp_dir, 60 * S);
    kts_heard_load(temp_dir, &again);
    assert_in_range(kt_monotonic_now() - again.as_of_us, 1000 * S, 1005 * S);
}

// Longer than the setting can be: 3650 days.
static int is_unknown(const struct kts_heard *heard)
{
    return kt_monotonic_now() - heard->as_of_us > 3650LL * 86400 * S;
}

static void age_that_is_not_known_is_none_until_the_active_was_heard(void **state)
{
    static const char *const TEXTS[] = {"rubbish", "",
                                        "keytrustee-heard 1\nas-of 2999-01-01T00:00:00.000000Z\n"};
    struct kts_heard heard, again;
    int64_t now_us;

    (void)state;
    kts_heard_load(temp_dir, &heard); // no file: a new node
    assert_in_range(kt_monotonic_now() - heard.as_of_us, 0, 5 * S);
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        temp_text("heard", TEXTS[i]);
        kts_heard_load(temp_dir, &heard);
        assert_true(is_unknown(&heard));
        kts_heard_save(&heard, temp_dir, 60 * S); // that is no news
        kts_heard_load(temp_dir, &again);
        assert_true(is_unknown(&again));
        now_us = kt_monotonic_now();
        kts_heard_look(
            &heard,
            &(struct kts_heard_facts){
                .follows = 1, .asked_us = now_us - 2 * S, .end_lsn = 5, .replayed_lsn = 5},
            now_us - 2 * S);
        assert_true(is_unknown(&heard));
        kts_heard_look(&heard,
                       &(struct kts_heard_facts){
                           .follows = 1, .asked_us = now_us - S, .end_lsn = 5, .replayed_lsn = 5},
                       now_us);
        assert_true(heard.as_of_us == now_us - S);
        kts_heard_save(&heard, temp_dir, 60 * S);
        kts_heard_load(temp_dir, &again);
        assert_in_range(kt_monotonic_now() - again.as_of_us, S, 10 * S);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passive_that_keeps_up_is_as_new_as_the_last_message),
        cmocka_unit_test(passive_that_receives_and_does_not_replay_grows_old),
        cmocka_unit_test(lag_that_never_ends_is_no_age),
        cmocka_unit_test(connection_alone_is_no_message),
        cmocka_unit_test(an_answer_that_was_kept_back_counts_from_its_question),
        cmocka_unit_test(what_no_active_says_makes_nothing_newer),
        cmocka_unit_test(who_leads_is_never_old),
        cmocka_unit_test(active_without_a_quorum_has_heard_nothing),
        cmocka_unit_test_setup_teardown(age_survives_a_restart, temp_dir_setup, temp_dir_teardown),
        cmocka_unit_test_setup_teardown(age_that_is_not_known_is_none_until_the_active_was_heard,
                                        temp_dir_setup, temp_dir_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
