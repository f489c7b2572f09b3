// SPDX-License-Identifier: Apache-2.0
// What the agent does by itself against strangers' prepared transactions: one run at a time, ever
// fewer that fail, and one record for each number of them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kts/agent_cluster.h"
#include "kts/agent_own.h"
#include "kts/agent_view.h"
#include "kts/link.h"
#include "tests/unit/kts/agent_fixture.h"

#define S INT64_C(1000000)

static struct kts_view view;
static struct kts_link *audit; // the audit process' end

static int set_up(void **state)
{
    int fds[2];

    if (fixture_set_up(state))
        return -1;
    memset(&view, 0, sizeof(view));
    view.own_us = kt_monotonic_now() + 3600 * S; // nothing else of its own
    view.is_known = 1;
    view.strangers = 3;
    snprintf(view.strangers_owner, sizeof(view.strangers_owner), "kts_reader");
    fixture.agent.view = &view;
    atomic_store(&fixture.status->role, KTS_ROLE_ACTIVE);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fixture.agent.audit = (struct kts_agent_link){.agent = &fixture.agent};
    assert_int_equal(kts_agent_attach(&fixture.agent.audit, fds[0]), 0);
    assert_int_equal(kts_link_new(fds[1], &audit), 0);
    return 0;
}

static int tear_down(void **state)
{
    kts_jobs_end(&fixture.agent);
    kts_agent_drop(&fixture.agent.audit);
    kts_link_free(audit);
    fixture.agent.view = NULL;
    return fixture_tear_down(state);
}

static int under_way(void)
{
    return (int)kts_job_count(&fixture.agent, kts_job_strangers);
}

// As if `us` had gone by for the runs.
static void let_go_by(int64_t us)
{
    view.sweep.last_us -= us;
    view.sweep.next_us -= us;
}

// The run that was started fails: there is no database.
static void wait_for_failure(void)
{
    int64_t until_us = kt_monotonic_now() + 20 * S;

    while (under_way() && kt_monotonic_now() < until_us)
        assert_int_equal(event_base_loop(fixture.agent.base, EVLOOP_ONCE), 0);
    assert_int_equal(under_way(), 0);
}

// Records of the event that have come since the last question.
static int records(void)
{
    struct kts_message message;
    int n = 0;

    if (kts_link_receive(audit) == KT_ERR_NETWORK)
        return -1;
    while (kts_link_next(audit, &message) == 1) {
        json_t *record = json_loadb((const char *)kt_buf_ptr(&message.payload),
                                    kt_buf_left(&message.payload), 0, NULL);
        n += message.type == KTS_MSG_AUDIT &&
             strcmp(json_string_value(json_object_get(record, "event")), "database.strangers") == 0;
        json_decref(record);
    }
    return n;
}

static void a_run_begins_when_the_one_before_has_ended(void **state)
{
    (void)state;
    kts_own_jobs(&fixture.agent);
    assert_int_equal(under_way(), 1);
    for (int i = 0; i < 5; i++) { // it hangs
        let_go_by(100 * S);
        kts_own_jobs(&fixture.agent);
        assert_int_equal(under_way(), 1);
    }
    wait_for_failure();
    let_go_by(100 * S);
    kts_own_jobs(&fixture.agent);
    assert_int_equal(under_way(), 1);
}

static void runs_that_fail_become_fewer_up_to_a_bound(void **state)
{
    int64_t pause_us = 0;

    (void)state;
    for (int i = 0; i < 8; i++) {
        kts_own_jobs(&fixture.agent);
        assert_int_equal(under_way(), 1);
        wait_for_failure();
        assert_true(view.sweep.pause_us > pause_us || view.sweep.pause_us == 30 * S);
        pause_us = view.sweep.pause_us;
        let_go_by(pause_us - S / 2);
        kts_own_jobs(&fixture.agent);
        assert_int_equal(under_way(), 0); // not yet
        let_go_by(S);
    }
    assert_true(pause_us == 30 * S);
}

static void a_run_that_goes_well_ends_the_pauses_and_is_counted(void **state)
{
    json_t *result = json_pack("{s:i}", "count", 3);

    (void)state;
    kts_own_jobs(&fixture.agent);
    wait_for_failure();
    assert_true(view.sweep.pause_us > 0);
    kts_own_job_ended(&fixture.agent, kts_job_member_ask, result); // another one
    assert_true(view.sweep.pause_us > 0);
    kts_own_job_ended(&fixture.agent, kts_job_strangers, result);
    assert_true(view.sweep.pause_us == 0 && view.sweep.rolled_back == 3);
    assert_true(view.sweep.next_us <= kt_monotonic_now() + S);
    json_decref(result);
}

static void there_is_a_record_for_each_number_and_not_for_each_run(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        kts_own_jobs(&fixture.agent);
        assert_int_equal(under_way(), 1);
        wait_for_failure();
        let_go_by(view.sweep.pause_us + 1);
    }
    assert_int_equal(records(), 1);
    view.strangers = 4;
    kts_own_jobs(&fixture.agent);
    wait_for_failure();
    assert_int_equal(records(), 1);
    let_go_by(100 * S); // none for a while: it begins anew
    kts_own_jobs(&fixture.agent);
    assert_int_equal(records(), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_run_begins_when_the_one_before_has_ended),
        CASE(runs_that_fail_become_fewer_up_to_a_bound),
        CASE(a_run_that_goes_well_ends_the_pauses_and_is_counted),
        CASE(there_is_a_record_for_each_number_and_not_for_each_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
