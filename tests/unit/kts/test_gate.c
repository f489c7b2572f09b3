// SPDX-License-Identifier: Apache-2.0
// When changes are taken, and what a client is told when not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kts/gate.h"
#include "lib/err.h"

static struct kts_status status;

static int set_up(void **state)
{
    (void)state;
    memset(&status, 0, sizeof(status));
    atomic_store(&status.role, KTS_ROLE_ACTIVE);
    atomic_store(&status.database_up, 1);
    atomic_store(&status.members, 2);
    atomic_store(&status.w, 1);
    atomic_store(&status.writer_ticket, 5);
    return 0;
}

static void role(enum kts_role role)
{
    atomic_store(&status.role, role);
}

static void active_with_its_members_takes_changes(void **state)
{
    (void)state;
    assert_int_equal(kts_gate_check(&status), 0);
    assert_int_equal(kts_gate_ticket(&status), 5);
    role(KTS_ROLE_STANDALONE);
    atomic_store(&status.members, 0);
    atomic_store(&status.w, 0);
    assert_int_equal(kts_gate_check(&status), 0);
    assert_int_equal(kts_gate_ticket(&status), 5);
}

static void active_with_too_few_members_refuses_at_once(void **state)
{
    (void)state;
    atomic_store(&status.members, 0);
    assert_int_equal(kts_gate_check(&status), KT_ERR_NO_QUORUM);
    assert_int_equal(kts_gate_ticket(&status), 0);
    atomic_store(&status.members, 1);
    atomic_store(&status.w, 2);
    assert_int_equal(kts_gate_check(&status), KT_ERR_NO_QUORUM);
    assert_int_equal(kts_gate_ticket(&status), 0);
}

static void other_roles_say_why_they_refuse(void **state)
{
    (void)state;
    role(KTS_ROLE_PASSIVE);
    assert_int_equal(kts_gate_check(&status), KT_ERR_PASSIVE);
    assert_int_equal(kts_gate_ticket(&status), 0);
    role(KTS_ROLE_FENCED);
    assert_int_equal(kts_gate_check(&status), KT_ERR_FENCED);
    assert_int_equal(kts_gate_ticket(&status), 0);
    assert_int_equal(kts_gate_serves(&status), 0);
    atomic_store(&status.is_silent, 1);
    assert_int_equal(kts_gate_serves(&status), KT_ERR_CUT_OFF);
    role(KTS_ROLE_PASSIVE);
    assert_int_equal(kts_gate_serves(&status), KT_ERR_CUT_OFF);
    atomic_store(&status.is_silent, 0);
    assert_int_equal(kts_gate_serves(&status), 0);
    role(KTS_ROLE_REMOVED);
    assert_int_equal(kts_gate_check(&status), KT_ERR_FENCED);
    assert_int_equal(kts_gate_ticket(&status), 0);
    assert_int_equal(kts_gate_serves(&status), KT_ERR_FENCED);
    role(KTS_ROLE_UNESTABLISHED);
    assert_int_equal(kts_gate_check(&status), KT_ERR_NO_QUORUM);
    assert_int_equal(kts_gate_ticket(&status), 0);
    role(KTS_ROLE_UNKNOWN);
    assert_int_equal(kts_gate_ticket(&status), 0);
}

static void change_in_doubt_is_never_called_undone(void **state)
{
    (void)state;
    atomic_store(&status.gave_in_doubt, 1);
    assert_int_equal(kts_gate_refusal(&status), KT_ERR_IN_DOUBT);
    atomic_store(&status.members, 0);
    assert_int_equal(kts_gate_check(&status), KT_ERR_IN_DOUBT);
    atomic_store(&status.database_up, 0);
    assert_int_equal(kts_gate_refusal(&status), KT_ERR_IN_DOUBT);
    role(KTS_ROLE_PASSIVE); // the active knows
    assert_int_equal(kts_gate_refusal(&status), KT_ERR_PASSIVE);
}

// After a restart nothing but PostgreSQL remembers what the writer before had under way.
static void group_that_lost_its_writer_is_in_doubt(void **state)
{
    (void)state;
    atomic_store(&status.left_prepared, 2);
    assert_int_equal(kts_status_in_doubt(&status), 2);
    assert_int_equal(kts_gate_refusal(&status), KT_ERR_IN_DOUBT);
    atomic_store(&status.members, 0);
    assert_int_equal(kts_gate_check(&status), KT_ERR_IN_DOUBT);
    role(KTS_ROLE_UNESTABLISHED);
    assert_int_equal(kts_gate_check(&status), KT_ERR_IN_DOUBT);
}

static void group_of_a_writer_that_is_open_is_under_way(void **state)
{
    (void)state;
    atomic_store(&status.left_prepared, 1); // as it was looked at before it opened
    atomic_store(&status.writer_open, 1);
    atomic_store(&status.members, 0);
    assert_int_equal(kts_status_in_doubt(&status), 0);
    assert_int_equal(kts_gate_check(&status), KT_ERR_NO_QUORUM);
    atomic_store(&status.gave_in_doubt, 1); // unless it says so itself
    assert_int_equal(kts_gate_check(&status), KT_ERR_IN_DOUBT);
}

static void closed_writer_is_a_hold_a_start_or_a_lost_database(void **state)
{
    (void)state;
    assert_int_equal(kts_gate_refusal(&status), KT_ERR_WRITER_UNAVAILABLE);
    atomic_store(&status.writer_ticket, 0);
    assert_int_equal(kts_gate_refusal(&status), KT_ERR_NO_QUORUM);
    atomic_store(&status.database_up, 0);
    assert_int_equal(kts_gate_refusal(&status), KT_ERR_DATABASE_UNAVAILABLE);
}

#define CASE(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(active_with_its_members_takes_changes),
        CASE(active_with_too_few_members_refuses_at_once),
        CASE(other_roles_say_why_they_refuse),
        CASE(change_in_doubt_is_never_called_undone),
        CASE(group_that_lost_its_writer_is_in_doubt),
        CASE(group_of_a_writer_that_is_open_is_under_way),
        CASE(closed_writer_is_a_hold_a_start_or_a_lost_database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
