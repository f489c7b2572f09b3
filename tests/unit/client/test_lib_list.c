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

static const char *page;

// Answers with rows of these handles, separated by spaces; what has a ">" is `next`.
static void give_rows(const char *server, const struct kt_http_request *request,
                      struct kt_http_answer *answer)
{
    char text[64], *at = text;
    json_t *rows = json_array(), *next = json_null();

    (void)server, (void)request;
    snprintf(text, sizeof text, "%s", page);
    for (char *word = strsep(&at, " "); word != NULL; word = strsep(&at, " ")) {
        if (word[0] == '>') {
            json_decref(next);
            next = json_string(word + 1);
            continue;
        }
        json_t *one = fake_describe(&fake.deposits[0]);
        json_object_set_new(one, "handle", json_string(word));
        json_array_append_new(rows, one);
    }
    fake_json(answer, 200, json_pack("{s:o, s:o}", "deposits", rows, "next", next));
}

static void rows_out_of_order_or_not_asked_for_are_refused(void **state)
{
    static const char *const pages[] = {"p/b p/a", "p/a p/a", "q/a", "p/a >p/b", "p/a >p/a"};

    (void)state;
    fill(1, "x");
    fake.meddle = give_rows;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        struct seen seen = {0};
        page = pages[i];
        assert_int_equal(keytrustee_list(client, "p/", see, &seen, &error), KEYTRUSTEE_FAILURE);
        assert_string_equal(error.name, "protocol");
    }
    struct seen seen = {0};
    page = "p/A p/a p/b";
    must_work(keytrustee_list(client, "p/", see, &seen, &error), &error);
    assert_int_equal(seen.count, 3);
}

// A row at a time, each after some time, without end.
static void give_a_row_slowly(const char *server, const struct kt_http_request *request,
                              struct kt_http_answer *answer)
{
    static char text[64];

    snprintf(text, sizeof text, "h%06d >h%06d", fake.requests, fake.requests);
    page = text;
    usleep(2000);
    give_rows(server, request, answer);
}

static void a_listing_has_a_deadline_as_a_whole(void **state)
{
    struct seen seen = {0};

    (void)state;
    fill(1, "x");
    client->timeout_ms = 20;
    fake.meddle = give_a_row_slowly;
    assert_int_equal(keytrustee_list(client, "", see, &seen, &error), KEYTRUSTEE_UNAVAILABLE);
    assert_string_equal(error.name, "timeout");
}

static void answer_without_count(const char *server, const struct kt_http_request *request,
                                 struct kt_http_answer *answer)
{
    (void)server, (void)request;
    fake_json(answer, 200, json_object());
}

static void a_deletion_answered_without_a_number_is_in_doubt(void **state)
{
    (void)state;
    fake.meddle = answer_without_count;
    assert_int_equal(keytrustee_delete(client, "h", 0, NULL, &error), KEYTRUSTEE_IN_DOUBT);
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
        CASE(rows_out_of_order_or_not_asked_for_are_refused),
        CASE(a_listing_has_a_deadline_as_a_whole),
        CASE(a_deletion_answered_without_a_number_is_in_doubt),
        CASE(deleting_says_how_many),
        CASE(a_lost_answer_to_a_deletion_is_in_doubt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
