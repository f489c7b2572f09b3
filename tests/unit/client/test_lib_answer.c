// SPDX-License-Identifier: Apache-2.0
// Which history an answer belongs to, and what of it is believed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_nodes.h"
#include "tests/unit/client/fake_statement.h"

static struct keytrustee_error error;
static struct keytrustee_deposit deposit;

static int put(const char *handle)
{
    return keytrustee_put(client, handle, "s", 1, NULL, &deposit, &error);
}

static int get(const char *handle, uint32_t version)
{
    struct keytrustee_secret *secret = NULL;
    int rc = keytrustee_get(client, handle, version, &secret, &deposit, &error);

    keytrustee_free(secret);
    return rc;
}

// All nodes have a deposit "h", and epoch 5 has been seen.
static int in_epoch_five(void **state)
{
    fake_three(state);
    fake.epoch = 5;
    must_work(put("h"), &error);
    (void)fake_asked();
    client->timeout_ms = 500;
    return 0;
}

static void a_node_of_the_present_epoch_is_preferred(void **state)
{
    struct keytrustee_source source;

    (void)state;
    fake_nodes[0].epoch = "4";
    must_work(get("h", 1), &error);
    assert_string_equal(fake_asked(), "one two ");
    keytrustee_answered_by(client, &source);
    assert_string_equal(source.server, "two");
    assert_int_equal(source.epoch, 5);
    assert_int_equal(source.older_epoch, 0);
    assert_string_equal(warned, "");
}

static void an_older_epoch_is_taken_when_nobody_else_answers(void **state)
{
    struct keytrustee_source source;

    (void)state; // a deposit never changes, and a disk must be unlocked
    fake_nodes[0].epoch = "4";
    fake_nodes[1].dead = 2;
    fake_nodes[2].refuses = KT_ERR_DATABASE_UNAVAILABLE;
    must_work(get("h", 1), &error);
    assert_non_null(strstr(warned, "older epoch"));
    assert_null(strstr(warned, "later version"));
    keytrustee_answered_by(client, &source);
    assert_string_equal(source.server, "one");
    assert_int_equal(source.epoch, 4);
    assert_int_equal(source.older_epoch, 1);
    must_work(get("h", 0), &error);
    assert_non_null(strstr(warned, "later version"));
    assert_int_equal(client->state.epoch, 5);
}

static void an_older_epoch_is_not_taken_against_what_was_acknowledged(void **state)
{
    (void)state;
    must_work(put("h"), &error);  // version 2
    fake.deposits[1].deleted = 1; // which the old node does not have
    fake_nodes[0].epoch = "4";
    fake_nodes[1].dead = fake_nodes[2].dead = 2;
    assert_int_equal(get("h", 0), KEYTRUSTEE_UNAVAILABLE);
    must_work(get("h", 1), &error);
}

static void an_older_epoch_says_nothing_about_absence(void **state)
{
    (void)state;
    fake_nodes[0].epoch = "4";
    fake_nodes[1].dead = fake_nodes[2].dead = 2;
    assert_int_equal(get("none", 0), KEYTRUSTEE_UNAVAILABLE);
    assert_string_equal(error.name, "fenced");
    assert_int_equal(get("h", 7), KEYTRUSTEE_UNAVAILABLE);
    fake_nodes[0].refuses = KT_ERR_NOT_GRANTED;
    assert_int_equal(get("h", 1), KEYTRUSTEE_UNAVAILABLE);
}

static void the_word_of_the_present_epoch_weighs_more(void **state)
{
    (void)state; // it may have been deleted
    fake_nodes[0].epoch = "4";
    fake_nodes[1].behind = fake_nodes[2].behind = 1;
    assert_int_equal(get("h", 1), KEYTRUSTEE_UNAVAILABLE);
    assert_string_equal(error.name, "unchecked");
}

static int see(void *arg, const struct keytrustee_deposit *one)
{
    (void)arg, (void)one;
    return 0;
}

static void an_absence_without_a_place_in_history_is_not_checked(void **state)
{
    const struct ktc_call call = {.method = "GET", .path = "/v1/deposits/h"};
    struct ktc_answer answer = {.http = {.body = KT_BUF_INIT(4096)}, .server = "one"};
    struct ktc_verdict verdict = {.active = KTC_NONE};

    (void)state;
    fake_error(&answer.http, KT_ERR_DEPOSIT_NOT_FOUND);
    fake_header(&answer.http, "KT-Freshness", "barrier");
    fake_header(&answer.http, "KT-Epoch", "4");
    assert_int_equal(ktc_judge(client, &call, &answer, &verdict), KT_ERR_DEPOSIT_NOT_FOUND);
    assert_int_equal(answer.fresh, 0);
    assert_int_equal(verdict.unchecked, 1);
    ktc_answer_free(&answer);
}

static void an_older_epoch_gives_no_list_and_no_barrier(void **state)
{
    (void)state;
    fake_nodes[0].epoch = "4"; // it says that it has passed a barrier
    fake_nodes[1].dead = fake_nodes[2].dead = 2;
    assert_int_equal(keytrustee_list(client, "", see, NULL, &error), KEYTRUSTEE_UNAVAILABLE);
    assert_string_equal(error.name, "fenced");
}

static void an_older_incarnation_is_never_believed(void **state)
{
    (void)state;
    fake_restore("2.00000000000000cd", fake.incarnation, 1);
    must_work(get("h", 1), &error);
    for (size_t i = 0; i < 3; i++)
        fake_nodes[i].incarnation = "1.00000000000000ab";
    assert_int_equal(get("h", 1), KEYTRUSTEE_UNAVAILABLE);
    assert_string_equal(error.name, "fenced");
    assert_int_equal(get("h", 0), KEYTRUSTEE_UNAVAILABLE);
    fake_nodes[2].incarnation = NULL; // the next one is right
    must_work(get("h", 1), &error);
    assert_int_equal(client->state.incarnation.number, 2);
}

static void another_history_does_not_stop_a_read_of_ours(void **state)
{
    (void)state;
    fake_nodes[0].incarnation = "1.00000000000000cd";
    must_work(get("h", 1), &error);
    fake_nodes[1].dead = fake_nodes[2].dead = 2;
    assert_int_equal(get("h", 1), KEYTRUSTEE_INTEGRITY);
}

static void an_acknowledgement_of_an_older_epoch_is_none(void **state)
{
    (void)state;
    fake_nodes[0].epoch = "4";
    assert_int_equal(put("new"), KEYTRUSTEE_IN_DOUBT);
    fake_nodes[0].passive = 1; // its clients are led to the new one
    fake_nodes[1].passive = 0;
    must_work(keytrustee_resume(client, NULL, NULL, &error), &error);
    assert_int_equal(fake.deposit_count, 2);
}

static void the_active_that_an_older_epoch_names_is_not_followed(void **state)
{
    (void)state;
    fake_nodes[0].passive = 1;
    fake_nodes[0].epoch = "4";
    fake_nodes[0].active = "four:4444";
    fake_nodes[1].passive = 0;
    must_work(put("new"), &error);
    assert_null(strstr(fake.asked, "four"));
    assert_string_equal(client->servers.list[client->servers.active].name, "two");
}

static void a_newer_epoch_is_remembered_by_the_next_process(void **state)
{
    (void)state;
    fake_nodes[1].epoch = "9";
    ktc_servers_prefer(client, 1);
    must_work(get("h", 1), &error);
    fake_reopen();
    assert_int_equal(client->state.epoch, 9);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, in_epoch_five, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_node_of_the_present_epoch_is_preferred),
        CASE(an_older_epoch_is_taken_when_nobody_else_answers),
        CASE(an_older_epoch_is_not_taken_against_what_was_acknowledged),
        CASE(an_older_epoch_says_nothing_about_absence),
        CASE(the_word_of_the_present_epoch_weighs_more),
        CASE(an_absence_without_a_place_in_history_is_not_checked),
        CASE(an_older_epoch_gives_no_list_and_no_barrier),
        CASE(an_older_incarnation_is_never_believed),
        CASE(another_history_does_not_stop_a_read_of_ours),
        CASE(an_acknowledgement_of_an_older_epoch_is_none),
        CASE(the_active_that_an_older_epoch_names_is_not_followed),
        CASE(a_newer_epoch_is_remembered_by_the_next_process),
    };

    return cmocka_run_group_tests(tests, fake_key_make, fake_key_remove);
}
