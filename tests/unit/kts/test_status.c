// SPDX-License-Identifier: Apache-2.0
// Texts in shared memory: who reads one has an end, whatever its writer does.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kts/status.h"

#define DEADLINE_S 20

static struct kts_status *status;

static int set_up(void **state)
{
    (void)state;
    return kts_status_new(&status);
}

static void a_text_is_read_as_it_was_written(void **state)
{
    char out[256];

    (void)state;
    kts_status_set_text(&status->active_service, "127.0.0.1:11371");
    kts_status_get_text(&status->active_service, out);
    assert_string_equal(out, "127.0.0.1:11371");
    kts_status_set_text(&status->active_service, "");
    kts_status_get_text(&status->active_service, out);
    assert_string_equal(out, "");
}

// A process that does nothing but move the sequence.
static pid_t disturb(void)
{
    pid_t pid = fork();

    while (pid == 0)
        atomic_fetch_add(&status->active_service.sequence, 1);
    return pid;
}

static void a_text_whose_writer_never_ends_is_read_all_the_same(void **state)
{
    uint32_t before;
    char out[256];
    pid_t pid;

    (void)state;
    kts_status_set_text(&status->active_service, "127.0.0.1:11371");
    before = atomic_load(&status->active_service.sequence);
    pid = disturb();
    assert_true(pid > 0);
    while (atomic_load(&status->active_service.sequence) == before)
        usleep(1000);
    alarm(DEADLINE_S); // ends a reader that has no end
    for (int i = 0; i < 100; i++) {
        kts_status_get_text(&status->active_service, out);
        assert_string_equal(out, "127.0.0.1:11371");
    }
    alarm(0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_text_whose_writer_died_half_way_is_read_and_the_next_one_mends_it(void **state)
{
    char out[256];

    (void)state;
    kts_status_set_text(&status->active_service, "127.0.0.1:11371");
    atomic_fetch_add(&status->active_service.sequence, 1);
    kts_status_get_text(&status->active_service, out);
    assert_string_equal(out, "127.0.0.1:11371");
    kts_status_set_text(&status->active_service, "127.0.0.1:11381");
    assert_int_equal(atomic_load(&status->active_service.sequence) % 2, 0);
    kts_status_get_text(&status->active_service, out);
    assert_string_equal(out, "127.0.0.1:11381");
}

static void a_text_without_an_end_is_cut(void **state)
{
    char out[256];

    (void)state;
    for (size_t i = 0; i < 256; i++)
        atomic_store(&status->active_service.text[i], 'x');
    kts_status_get_text(&status->active_service, out);
    assert_int_equal(strlen(out), 255);
}

#define CASE(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_text_is_read_as_it_was_written),
        CASE(a_text_whose_writer_never_ends_is_read_all_the_same),
        CASE(a_text_whose_writer_died_half_way_is_read_and_the_next_one_mends_it),
        CASE(a_text_without_an_end_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
