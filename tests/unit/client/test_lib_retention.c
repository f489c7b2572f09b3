// SPDX-License-Identifier: Apache-2.0
// Undeleting, purging and locking: what is sent, what an answer means, and what info tells of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_cluster.h"

static struct keytrustee_error error;
static char sent[512], bypass[16];
static json_t *answer_object;
static int answer_code;

// Takes the request for this test alone; give() answers it.
static int take(const char *server, const struct kt_http_request *request)
{
    const char *header = fake_request_header(request, "KT-Bypass-Governance");

    (void)server;
    snprintf(sent, sizeof sent, "%s %s %.*s", request->method, request->path,
             (int)request->body_len, request->body ? (const char *)request->body : "");
    snprintf(bypass, sizeof bypass, "%s", header ? header : "");
    return 1;
}

static void give(const char *server, const struct kt_http_request *request,
                 struct kt_http_answer *answer)
{
    (void)server, (void)request;
    if (answer_code)
        fake_error(answer, answer_code);
    else
        fake_json(answer, 200, json_incref(answer_object));
}

static void answer_with(json_t *object)
{
    json_decref(answer_object);
    answer_object = object;
    answer_code = 0;
    fake.declines = take;
    fake.meddle = give;
}

static int tear_down(void **state)
{
    json_decref(answer_object);
    answer_object = NULL;
    return fake_teardown(state);
}

static void undeleting_says_how_many(void **state)
{
    uint64_t count = 9;

    (void)state;
    answer_with(json_pack("{s:i}", "undeleted", 2));
    must_work(keytrustee_undelete(client, "a/b", 0, &count, &error), &error);
    assert_int_equal(count, 2);
    assert_string_equal(sent, "POST /v1/deposits/a%2Fb/undelete ");
    must_work(keytrustee_undelete(client, "a/b", 3, NULL, &error), &error);
    assert_string_equal(sent, "POST /v1/deposits/a%2Fb/undelete?version=3 ");
    assert_int_equal(keytrustee_undelete(client, "not a handle", 0, NULL, &error),
                     KEYTRUSTEE_USAGE);
}

static void purging_says_when(void **state)
{
    uint64_t count = 9;
    int64_t after = 0;

    (void)state;
    answer_with(
        json_pack("{s:i, s:s}", "purging", 1, "purge_after", "2026-11-29T00:00:00.000001Z"));
    must_work(keytrustee_purge(client, "h", 1, &count, &after, &error), &error);
    assert_int_equal(count, 1);
    assert_int_equal(after % 1000000, 1);
    assert_string_equal(sent, "POST /v1/deposits/h/purge?version=1 ");
}

static void refusals_have_their_names(void **state)
{
    static const struct {
        int code;
        int result;
        const char *name;
    } cases[] = {{KT_ERR_DEPOSIT_LOCKED, KEYTRUSTEE_REFUSED, "deposit_locked"},
                 {KT_ERR_NOT_DELETED, KEYTRUSTEE_REFUSED, "not_deleted"},
                 {KT_ERR_DEPOSIT_PURGED, KEYTRUSTEE_NOT_FOUND, "deposit_purged"}};

    (void)state;
    answer_with(json_object());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        answer_code = cases[i].code;
        assert_int_equal(keytrustee_purge(client, "h", 0, NULL, NULL, &error), cases[i].result);
        assert_string_equal(error.name, cases[i].name);
    }
}

static void an_answer_that_lacks_something_is_in_doubt(void **state)
{
    struct keytrustee_lock lock = {.size = sizeof lock, .hold = 1};

    (void)state;
    answer_with(json_object());
    assert_int_equal(keytrustee_undelete(client, "h", 0, NULL, &error), KEYTRUSTEE_IN_DOUBT);
    assert_int_equal(keytrustee_lock(client, "h", 0, &lock, NULL, &error), KEYTRUSTEE_IN_DOUBT);
    answer_with(json_pack("{s:i, s:s}", "purging", 1, "purge_after", "soon"));
    assert_int_equal(keytrustee_purge(client, "h", 0, NULL, NULL, &error), KEYTRUSTEE_IN_DOUBT);
}

static void a_lock_sends_what_was_given_and_nothing_else(void **state)
{
    struct keytrustee_lock lock = {
        .size = sizeof lock, .mode = "governance", .until_us = INT64_C(1800000000000000)};
    uint64_t count = 0;

    (void)state;
    answer_with(json_pack("{s:i}", "versions", 2));
    must_work(keytrustee_lock(client, "h", 0, &lock, &count, &error), &error);
    assert_int_equal(count, 2);
    assert_string_equal(sent,
                        "PUT /v1/deposits/h/lock "
                        "{\"mode\":\"governance\",\"until\":\"2027-01-15T08:00:00.000000Z\"}");
    assert_string_equal(bypass, "");
    lock = (struct keytrustee_lock){.size = sizeof lock, .hold = -1, .bypass = 1};
    must_work(keytrustee_lock(client, "h", 2, &lock, NULL, &error), &error);
    assert_string_equal(sent, "PUT /v1/deposits/h/lock?version=2 {\"hold\":false}");
    assert_string_equal(bypass, "yes");
}

static void a_lock_that_makes_no_sense_is_not_sent(void **state)
{
    struct keytrustee_lock lock = {.size = sizeof lock, .mode = "forever"};

    (void)state;
    answer_with(json_object());
    sent[0] = '\0';
    assert_int_equal(keytrustee_lock(client, "h", 0, &lock, NULL, &error), KEYTRUSTEE_USAGE);
    lock.mode = NULL;
    lock.until_us = -1;
    assert_int_equal(keytrustee_lock(client, "h", 0, &lock, NULL, &error), KEYTRUSTEE_USAGE);
    lock.size = 1;
    assert_int_equal(keytrustee_lock(client, "h", 0, &lock, NULL, &error), KEYTRUSTEE_USAGE);
    assert_int_equal(keytrustee_lock(client, "h", 0, NULL, NULL, &error), KEYTRUSTEE_USAGE);
    assert_string_equal(sent, "");
}

static void add_retention(const char *server, const struct kt_http_request *request,
                          struct kt_http_answer *answer)
{
    json_t *object = NULL;

    (void)server, (void)request;
    assert_int_equal(
        kt_json_parse_object(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), &object, NULL),
        0);
    json_object_set(object, "retention", answer_object);
    fake_json(answer, 200, object);
}

static void info_tells_of_lock_hold_and_purge(void **state)
{
    struct keytrustee_deposit deposit;

    (void)state;
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    must_work(keytrustee_info(client, "h", 0, &deposit, &error), &error); // of an old server
    assert_int_equal(deposit.lock, KEYTRUSTEE_LOCK_NONE);
    answer_with(json_pack("{s:s, s:s, s:b, s:b, s:s, s:n}", "lock", "compliance", "until",
                          "2027-01-15T08:00:00.000000Z", "in_force", 1, "hold", 1, "purge_after",
                          "2027-01-15T08:00:01.000000Z", "purged"));
    fake.declines = NULL;
    fake.meddle = add_retention;
    must_work(keytrustee_info(client, "h", 0, &deposit, &error), &error);
    assert_int_equal(deposit.lock, KEYTRUSTEE_LOCK_COMPLIANCE);
    assert_int_equal(deposit.lock_until_us, INT64_C(1800000000000000));
    assert_int_equal(deposit.purge_after_us, INT64_C(1800000001000000));
    assert_true(deposit.lock_in_force && deposit.legal_hold && deposit.purged_us == 0);
    json_object_set_new(answer_object, "until", json_string("never"));
    assert_int_not_equal(keytrustee_info(client, "h", 0, &deposit, &error), KEYTRUSTEE_OK);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_registered, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(undeleting_says_how_many),
        CASE(purging_says_when),
        CASE(refusals_have_their_names),
        CASE(an_answer_that_lacks_something_is_in_doubt),
        CASE(a_lock_sends_what_was_given_and_nothing_else),
        CASE(a_lock_that_makes_no_sense_is_not_sent),
        CASE(info_tells_of_lock_hold_and_purge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
