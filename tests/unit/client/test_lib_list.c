// SPDX-License-Identifier: Apache-2.0
// Listing in pages, and deleting.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_cluster.h"

static struct keytrustee_error error;

struct seen {
    int count, stop_at;
    char last[KT_HANDLE_MAX + 1];
};

static int see(void *arg, const struct keytrustee_deposit *deposit)
{
    struct seen *seen = arg;

    assert_true(strcmp(deposit->handle, seen->last) > 0);
    snprintf(seen->last, sizeof seen->last, "%s", deposit->handle);
    return ++seen->count == seen->stop_at;
}

static void fill(int count, const char *format)
{
    for (int i = 0; i < count; i++) {
        char handle[32], id[KT_UUID_TEXT];
        snprintf(handle, sizeof handle, "%s%05d", format, i);
        snprintf(id, sizeof id, "00000000-0000-4000-8000-%012d", (int)fake.deposit_count);
        fake_add(id, handle, "x", 1);
    }
}

static void every_page_is_fetched(void **state)
{
    struct seen seen = {0};

    (void)state;
    fill(1203, "h");
    must_work(keytrustee_list(client, "", see, &seen, &error), &error);
    assert_int_equal(seen.count, 1203);
    assert_int_equal(fake.requests, 3);
}

static void nothing_to_list_is_no_error(void **state)
{
    struct seen seen = {0};

    (void)state;
    must_work(keytrustee_list(client, NULL, see, &seen, &error), &error);
    assert_int_equal(seen.count, 0);
}

static void only_handles_with_the_prefix_are_listed(void **state)
{
    struct seen seen = {0};

    (void)state;
    fill(5, "a/");
    fill(7, "b+@/");
    must_work(keytrustee_list(client, "b+@/", see, &seen, &error), &error);
    assert_int_equal(seen.count, 7);
    assert_int_equal(keytrustee_list(client, "b c", see, &seen, &error), KEYTRUSTEE_USAGE);
}

static void the_callback_can_stop_it(void **state)
{
    struct seen seen = {.stop_at = 3};

    (void)state;
    fill(1000, "h");
    must_work(keytrustee_list(client, "", see, &seen, &error), &error);
    assert_int_equal(seen.count, 3);
    assert_int_equal(fake.requests, 1);
}

static void go_round(const char *server, const struct kt_http_request *request,
                     struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_json(answer, 200, json_pack("{s:[], s:s}", "deposits", "next", "h"));
}

static void a_listing_that_never_ends_is_refused(void **state)
{
    struct seen seen = {0};

    (void)state;
    fake.meddle = go_round;
    assert_int_equal(keytrustee_list(client, "", see, &seen, &error), KEYTRUSTEE_FAILURE);
    assert_string_equal(error.name, "protocol");
}

static void deleting_says_how_many(void **state)
{
    uint64_t count = 0;

    (void)state;
    for (int i = 0; i < 3; i++)
        must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    must_work(keytrustee_delete(client, "h", 2, &count, &error), &error);
    assert_int_equal(count, 1);
    must_work(keytrustee_delete(client, "h", 0, &count, &error), &error);
    assert_int_equal(count, 2);
    assert_int_equal(keytrustee_delete(client, "h", 0, &count, &error), KEYTRUSTEE_NOT_FOUND);
    assert_int_equal(keytrustee_delete(client, "not a handle", 0, &count, &error),
                     KEYTRUSTEE_USAGE);
}

static int lose_answers(const char *server, const struct kt_http_request *request, int *sent)
{
    (void)server, (void)request;
    *sent = 1;
    return KT_ERR_TIMEOUT;
}

static void a_lost_answer_to_a_deletion_is_in_doubt(void **state)
{
    (void)state;
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    client->state.server_count = 1;
    client->timeout_ms = 50;
    fake.network = lose_answers;
    // The first try does it; a later one finds nothing, but its answer is lost too.
    assert_int_equal(keytrustee_delete(client, "h", 0, NULL, &error), KEYTRUSTEE_IN_DOUBT);
    assert_non_null(strstr(error.hint, "again"));
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_registered, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_page_is_fetched),
        CASE(nothing_to_list_is_no_error),
        CASE(only_handles_with_the_prefix_are_listed),
        CASE(the_callback_can_stop_it),
        CASE(a_listing_that_never_ends_is_refused),
        CASE(deleting_says_how_many),
        CASE(a_lost_answer_to_a_deletion_is_in_doubt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
