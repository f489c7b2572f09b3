// SPDX-License-Identifier: Apache-2.0
// What a client is told when changes cannot be sent to the writer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kts/worker.h"

static struct kts_status status;
static struct kts_worker worker = {.status = &status};

static int set_up(void **state)
{
    (void)state;
    atomic_store(&status.role, KTS_ROLE_STANDALONE);
    atomic_store(&status.database_up, 1);
    return kts_ask_new(NULL, "writer", KTS_MSG_OUTCOME, &worker.writer);
}

static int tear_down(void **state)
{
    (void)state;
    kts_ask_free(worker.writer);
    return 0;
}

static void without_a_writer_a_change_is_refused_as_undone(void **state)
{
    (void)state;
    atomic_store(&status.gave_in_doubt, 0);
    atomic_store(&status.database_up, 1);
    atomic_store(&status.writer_ticket, 1);
    assert_int_equal(kts_writer_check(&worker), KT_ERR_WRITER_UNAVAILABLE);
    atomic_store(&status.database_up, 0);
    assert_int_equal(kts_writer_check(&worker), KT_ERR_DATABASE_UNAVAILABLE);
}

static void while_a_group_is_in_doubt_no_change_is_called_undone(void **state)
{
    (void)state;
    atomic_store(&status.gave_in_doubt, 1);
    atomic_store(&status.database_up, 1);
    assert_int_equal(kts_writer_check(&worker), KT_ERR_IN_DOUBT);
    atomic_store(&status.database_up, 0);
    assert_int_equal(kts_writer_check(&worker), KT_ERR_IN_DOUBT);
}

static void connections_of_all_workers_are_added_up(void **state)
{
    (void)state;
    atomic_store(kts_status_connections_of(&status, 0), 3);
    atomic_store(kts_status_connections_of(&status, 127), 4);
    assert_int_equal(kts_status_connections(&status), 7);
    atomic_store(kts_status_connections_of(&status, 0), 0);
    assert_int_equal(kts_status_connections(&status), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_writer_a_change_is_refused_as_undone),
        cmocka_unit_test(while_a_group_is_in_doubt_no_change_is_called_undone),
        cmocka_unit_test(connections_of_all_workers_are_added_up),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
