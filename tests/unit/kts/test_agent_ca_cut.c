// SPDX-License-Identifier: Apache-2.0
// When the agent ends the sessions of before a root's end: whenever it reads of one that it did not
// know, until there can be no more of them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kts/agent_ca_rotate.h"
#include "kts/agent_own.h"
#include "tests/unit/kts/agent_fixture.h"

#define S      INT64_C(1000000)
#define BEFORE INT64_C(1700000000000000)

static struct kts_ca_cut *cut = &fixture.agent.ca_cut;

static int set_up(void **state)
{
    if (fixture_set_up(state))
        return -1;
    fixture.agent.ca_ended = json_pack("[s]", "older");
    return 0;
}

static int tear_down(void **state)
{
    kts_jobs_end(&fixture.agent);
    json_decref(fixture.agent.ca_ended);
    fixture.agent.ca_ended = NULL;
    memset(cut, 0, sizeof(*cut));
    return fixture_tear_down(state);
}

static int under_way(void)
{
    return (int)kts_job_count(&fixture.agent, kts_job_ca_cut);
}

// Whether a job is begun at the next turn, `us` after the last one.
static int looks_after(int64_t us)
{
    kts_jobs_end(&fixture.agent);
    cut->next_us -= us;
    cut->until_us -= us;
    kts_ca_cut_look(&fixture.agent);
    return under_way();
}

static void tell(int64_t before_us, int ended, int left)
{
    json_t *result = json_pack("{s:I, s:i, s:i, s:i}", "before_us", (json_int_t)before_us,
                               "pending_ms", 10000, "ended", ended, "left", left);

    kts_own_job_ended(&fixture.agent, kts_job_ca_cut, result);
    json_decref(result);
}

static void without_an_end_that_is_news_nothing_is_done(void **state)
{
    json_t *same = json_pack("[s, s]", "oldest", "older");

    (void)state;
    kts_ca_cut_want(&fixture.agent, same);
    assert_false(looks_after(0));
    assert_true(kts_ca_cut_is_done(&fixture.agent));
    json_decref(same);
}

static void an_end_that_is_news_is_carried_out_by_whomever_it_was_told(void **state)
{
    json_t *none = json_array();

    (void)state;
    kts_ca_cut_want(&fixture.agent, none);
    assert_false(kts_ca_cut_is_done(&fixture.agent));
    assert_true(looks_after(0));
    json_decref(none);
}

static void an_agent_that_has_just_started_looks_too(void **state)
{
    (void)state;
    kts_ca_cut_want(&fixture.agent, NULL);
    assert_true(looks_after(0));
    tell(0, 0, 0); // PostgreSQL was started later
    assert_true(kts_ca_cut_is_done(&fixture.agent));
    assert_false(looks_after(100 * S));
}

static void it_goes_on_as_long_as_a_connection_of_before_may_become_a_session(void **state)
{
    (void)state;
    kts_ca_cut_want(&fixture.agent, NULL);
    assert_true(looks_after(0));
    tell(BEFORE, 2, 0);
    assert_true(kts_ca_cut_is_done(&fixture.agent));
    for (int i = 0; i < 9; i++) {
        assert_true(looks_after(S + 1));
        assert_true(cut->before_us == BEFORE);
        tell(BEFORE, i == 5, 0);
    }
    assert_true(looks_after(2 * S)); // once behind it
    tell(BEFORE, 0, 0);
    assert_false(looks_after(100 * S));
    assert_int_equal(cut->ended, 3);
}

static void what_does_not_end_is_not_done(void **state)
{
    (void)state;
    kts_ca_cut_want(&fixture.agent, NULL);
    assert_true(looks_after(0));
    tell(BEFORE, 1, 1);
    assert_false(kts_ca_cut_is_done(&fixture.agent));
    assert_true(looks_after(100 * S));
    tell(BEFORE, 1, 1);
    assert_true(looks_after(100 * S));
    tell(BEFORE, 1, 0);
    assert_true(kts_ca_cut_is_done(&fixture.agent));
}

static void a_failure_is_tried_again(void **state)
{
    (void)state;
    kts_ca_cut_want(&fixture.agent, NULL);
    assert_true(looks_after(0));
    kts_own_job_ended(&fixture.agent, kts_job_ca_cut, NULL);
    assert_false(kts_ca_cut_is_done(&fixture.agent));
    assert_false(looks_after(S));
    assert_true(looks_after(10 * S));
}

static void a_further_end_begins_anew_whatever_the_job_of_before_says(void **state)
{
    json_t *ended = json_pack("[s]", "older");

    (void)state;
    kts_ca_cut_want(&fixture.agent, NULL);
    assert_true(looks_after(0));
    json_array_append_new(fixture.agent.ca_ended, json_string("newer"));
    kts_ca_cut_want(&fixture.agent, ended);
    tell(BEFORE, 1, 0);
    assert_false(kts_ca_cut_is_done(&fixture.agent));
    assert_true(cut->before_us == 0);
    json_decref(ended);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(without_an_end_that_is_news_nothing_is_done),
        CASE(an_end_that_is_news_is_carried_out_by_whomever_it_was_told),
        CASE(an_agent_that_has_just_started_looks_too),
        CASE(it_goes_on_as_long_as_a_connection_of_before_may_become_a_session),
        CASE(what_does_not_end_is_not_done),
        CASE(a_failure_is_tried_again),
        CASE(a_further_end_begins_anew_whatever_the_job_of_before_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
