// SPDX-License-Identifier: Apache-2.0
// Calls to a cluster: changes find the active, also through a failover; what a node that is behind
// says is checked; and none lasts longer than it may.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_nodes.h"

static struct keytrustee_deposit deposit;
static struct keytrustee_error error;
static struct keytrustee_secret *secret;

static int put(const char *handle)
{
    return keytrustee_put(client, handle, "s", 1, NULL, &deposit, &error);
}

static int get(const char *handle, uint32_t version)
{
    int rc = keytrustee_get(client, handle, version, &secret, &deposit, &error);

    if (rc == KEYTRUSTEE_OK)
        keytrustee_free(secret);
    return rc;
}

// A deposit of another host: this one has no receipt of it.
static void put_elsewhere(const char *handle)
{
    must_work(put(handle), &error);
    char command[700];
    snprintf(command, sizeof command, "rm -rf %s/* && mkdir -m 700 %s/latest",
             fake_path("receipts"), fake_path("receipts"));
    assert_int_equal(system(command), 0);
    (void)fake_asked();
}

static size_t pending_count(void)
{
    struct kt_uuid ids[8];
    size_t count = 0;

    assert_int_equal(ktc_pending_list(client, ids, 8, &count, NULL), 0);
    return count;
}

// --- changes ---

static void a_change_goes_to_the_active_that_is_known(void **state)
{
    (void)state;
    fake_nodes[0].passive = 1;
    fake_nodes[2].passive = 0;
    must_work(put("h"), &error);
    assert_string_equal(fake_asked(), "one two three ");
    must_work(put("h"), &error);
    assert_string_equal(fake_asked(), "three ");
    fake_reopen();
    must_work(put("h"), &error);
    assert_string_equal(fake_asked(), "three ");
}

static void a_change_follows_the_name_that_a_passive_gives(void **state)
{
    (void)state;
    fake_nodes[0].passive = 1;
    fake_nodes[0].active = "four:4444"; // which nobody registered
    must_work(put("h"), &error);
    assert_string_equal(fake_asked(), "one four:4444 ");
    fake_reopen();
    must_work(put("h"), &error);
    assert_string_equal(fake_asked(), "four:4444 ");
}

static void fenced_and_without_quorum_are_passed_over_too(void **state)
{
    static const int codes[] = {KT_ERR_FENCED, KT_ERR_NO_QUORUM, KT_ERR_WRITER_UNAVAILABLE};

    (void)state;
    fake_nodes[2].passive = 0;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        ktc_servers_active(client, 0);
        fake_nodes[0].refuses = codes[i];
        fake_nodes[0].active = "three";
        must_work(put("h"), &error);
        assert_string_equal(fake_asked(), "one three ");
    }
}

static void nodes_that_name_each_other_are_asked_once_a_round(void **state)
{
    (void)state;
    client->timeout_ms = 1000;
    fake_nodes[0].passive = 1;
    fake_nodes[0].active = "two";
    fake_nodes[1].active = "one";
    assert_int_equal(put("h"), KEYTRUSTEE_UNAVAILABLE);
    assert_int_equal(strncmp(fake.asked, "one two three ", 14), 0);
    assert_non_null(strstr(error.message, "the operator has to promote one"));
    assert_int_equal(pending_count(), 0); // surely not stored
}

static char ids[8][KT_UUID_TEXT], hashes[8][KT_SHA256_TEXT];
static int tries;

// The active takes the deposit, its answer is lost, and it dies; later the second is promoted.
static int fail_over(const char *server, const struct kt_http_request *request, int *sent)
{
    if (strcmp(request->method, "PUT") == 0) {
        snprintf(ids[tries % 8], KT_UUID_TEXT, "%s", fake_request_header(request, "KT-Deposit-Id"));
        snprintf(hashes[tries % 8], KT_SHA256_TEXT, "%s",
                 fake_request_header(request, "KT-SHA256"));
        tries++;
    }
    if (strcmp(server, "one") == 0 && tries == 1) {
        fake_nodes[0].dead = 1;
        *sent = 1;
        return KT_ERR_NETWORK;
    }
    if (tries == 6)
        fake_nodes[1].passive = 0;
    return fake_reach(server, request, sent);
}

static void a_failover_during_a_put_is_not_noticed(void **state)
{
    (void)state;
    tries = 0;
    fake.network = fail_over;
    must_work(put("h"), &error);
    assert_true(tries >= 6);
    for (int i = 1; i < 6; i++) {
        assert_string_equal(ids[i], ids[0]);
        assert_string_equal(hashes[i], hashes[0]);
    }
    assert_int_equal(fake.deposit_count, 1);
    assert_string_equal(deposit.id, ids[0]);
    assert_int_equal(deposit.version, 1);
    assert_int_equal(pending_count(), 0);
    assert_string_equal(client->servers.list[client->servers.active].name, "two");
}

static int lose_then_passive(const char *server, const struct kt_http_request *request, int *sent)
{
    int rc = fake_reach(server, request, sent);

    if (*sent)
        fake_nodes[0].passive = 1;
    return rc;
}

static void a_put_in_doubt_without_an_active_is_kept_for_later(void **state)
{
    (void)state;
    fake_lost = 1;
    fake.network = lose_then_passive;
    client->timeout_ms = 1500;
    int64_t begun = kt_monotonic_now();
    assert_int_equal(put("h"), KEYTRUSTEE_IN_DOUBT);
    assert_true(kt_monotonic_now() - begun < 4000000);
    assert_int_equal(pending_count(), 1);
    fake_nodes[2].passive = 0; // promoted
    fake_reopen();
    must_work(keytrustee_resume(client, NULL, NULL, &error), &error);
    assert_int_equal(pending_count(), 0);
    assert_int_equal(fake.deposit_count, 1);
}

static void in_doubt_is_settled_by_the_active_of_then(void **state)
{
    (void)state;
    fake_nodes[0].refuses = KT_ERR_IN_DOUBT;
    fake_nodes[1].passive = 0;
    must_work(put("h"), &error);
    assert_string_equal(fake_asked(), "one two ");
    assert_int_equal(fake.deposit_count, 1);
}

// --- freshness ---

static void a_stale_not_found_is_checked_with_the_active(void **state)
{
    struct keytrustee_source source;

    (void)state;
    put_elsewhere("h");
    ktc_servers_prefer(client, 1);
    fake_nodes[1].behind = 1;
    must_work(get("h", 0), &error);
    assert_string_equal(fake_asked(), "two one ");
    keytrustee_answered_by(client, &source);
    assert_string_equal(source.server, "one");
    assert_int_equal(source.fresh, 1);
    must_work(get("h", 1), &error); // a named version, too
    assert_string_equal(fake_asked(), "two one ");
}

static void not_found_is_believed_of_the_active(void **state)
{
    (void)state;
    ktc_servers_prefer(client, 1);
    assert_int_equal(get("none", 0), KEYTRUSTEE_NOT_FOUND);
    assert_string_equal(fake_asked(), "two one ");
}

static void without_the_active_another_node_may_have_it(void **state)
{
    struct keytrustee_source source;

    (void)state;
    put_elsewhere("h");
    ktc_servers_prefer(client, 1);
    fake_nodes[0].dead = 2;
    fake_nodes[1].behind = 1;
    must_work(get("h", 0), &error);
    keytrustee_answered_by(client, &source);
    assert_string_equal(source.server, "three");
    assert_int_equal(source.fresh, 0);
}

static void a_not_found_that_cannot_be_checked_says_so(void **state)
{
    (void)state;
    client->timeout_ms = 400;
    fake_nodes[0].dead = 2;
    assert_int_equal(get("none", 0), KEYTRUSTEE_UNAVAILABLE);
    assert_string_equal(error.name, "unchecked");
    assert_non_null(strstr(error.message, "no such deposit"));
    assert_non_null(strstr(error.message, "could not be checked with the active"));
}

static void a_dead_active_is_not_waited_for_at_each_check(void **state)
{
    (void)state;
    client->timeout_ms = 400;
    ktc_servers_prefer(client, 1);
    fake_nodes[0].dead = 1;
    assert_int_equal(get("none", 0), KEYTRUSTEE_UNAVAILABLE);
    char *again = strstr(fake.asked, "one ");
    assert_non_null(again);
    assert_null(strstr(again + 1, "one "));
    (void)fake_asked();
    assert_int_equal(get("none", 0), KEYTRUSTEE_UNAVAILABLE);
    assert_null(strstr(fake.asked, "one "));
}

static int catch_up(const char *server, const struct kt_http_request *request, int *sent)
{
    if (fake.requests > 8) { // replayed, or promoted
        fake_nodes[1].behind = fake_nodes[2].behind = 0;
        fake_nodes[2].passive = 0;
    }
    return fake_reach(server, request, sent);
}

static void what_was_acknowledged_here_is_waited_for(void **state)
{
    (void)state;
    must_work(put("h"), &error);
    fake.requests = 0;
    fake_nodes[0].dead = 2;
    fake_nodes[1].behind = fake_nodes[2].behind = 1;
    fake.network = catch_up;
    must_work(get("h", 0), &error);
}

static void a_right_that_a_node_does_not_know_yet_is_checked(void **state)
{
    static const int codes[] = {KT_ERR_NOT_GRANTED, KT_ERR_CERTIFICATE_UNKNOWN,
                                KT_ERR_CLIENT_PENDING};

    (void)state;
    put_elsewhere("h");
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        ktc_servers_prefer(client, 1);
        fake_nodes[1].refuses = codes[i];
        must_work(get("h", 0), &error);
        assert_string_equal(fake_asked(), "two one ");
    }
    client->timeout_ms = 300;
    fake_nodes[0].dead = 2;
    fake_nodes[2].refuses = KT_ERR_CLIENT_PENDING;
    ktc_servers_prefer(client, 1);
    assert_int_equal(get("h", 0), KEYTRUSTEE_REFUSED);
    assert_string_equal(error.name, "client_pending");
    assert_non_null(strstr(error.message, "could not be checked"));
}

static int count_one(void *arg, const struct keytrustee_deposit *one)
{
    (void)one;
    ++*(int *)arg;
    return 0;
}

static void a_list_comes_from_the_active_or_says_that_it_does_not(void **state)
{
    struct keytrustee_source source;
    int count = 0;

    (void)state;
    put_elsewhere("h");
    ktc_servers_prefer(client, 1);
    must_work(keytrustee_list(client, "", count_one, &count, &error), &error);
    assert_string_equal(fake_asked(), "one ");
    keytrustee_answered_by(client, &source);
    assert_int_equal(source.fresh, 1);
    assert_string_equal(warned, "");
    client->timeout_ms = 400;
    fake_nodes[0].dead = 2;
    must_work(keytrustee_list(client, "", count_one, &count, &error), &error);
    assert_int_equal(count, 2);
    keytrustee_answered_by(client, &source);
    assert_int_equal(source.fresh, 0);
    assert_non_null(strstr(warned, "could not be checked"));
}

// --- time ---

static int64_t took_ms(int (*call)(void))
{
    int64_t begun = kt_monotonic_now();

    assert_int_equal(call(), KEYTRUSTEE_UNAVAILABLE);
    return (kt_monotonic_now() - begun) / 1000;
}

static int get_h(void)
{
    return get("h", 0);
}

static int put_doubtful(void)
{
    int rc = put("h");

    return rc == KEYTRUSTEE_IN_DOUBT ? KEYTRUSTEE_UNAVAILABLE : rc;
}

static void no_call_outlasts_its_deadline(void **state)
{
    (void)state;
    client->timeout_ms = 700;
    for (int how = 1; how <= 3; how++) { // dead, refusing, silent
        for (size_t i = 0; i < 3; i++)
            fake_nodes[i].dead = how;
        assert_true(took_ms(get_h) < 2500);
        assert_true(took_ms(put_doubtful) < 2500);
    }
}

static void a_silent_server_leaves_time_for_the_next(void **state)
{
    (void)state;
    must_work(put("h"), &error);
    client->timeout_ms = 900;
    fake_nodes[0].dead = 3;
    must_work(get("h", 0), &error);
    must_work(get("h", 0), &error);
    assert_string_equal(client->servers.list[client->servers.preferred].name, "two");
}

static void a_node_without_database_is_passed_over(void **state)
{
    (void)state;
    must_work(put("h"), &error);
    (void)fake_asked();
    fake_nodes[0].refuses = KT_ERR_DATABASE_UNAVAILABLE;
    must_work(get("h", 0), &error);
    assert_string_equal(fake_asked(), "one two ");
}

static int come_back(const char *server, const struct kt_http_request *request, int *sent)
{
    if (fake.requests > 7)
        fake_nodes[1].dead = 0;
    return fake_reach(server, request, sent);
}

static void a_read_waits_for_nodes_that_are_restarted(void **state)
{
    (void)state;
    must_work(put("h"), &error);
    fake.requests = 0;
    fake_nodes[0].dead = fake_nodes[1].dead = fake_nodes[2].dead = 2;
    fake.network = come_back;
    must_work(get("h", 0), &error);
}

static void timeouts_and_servers_can_be_given(void **state)
{
    static const char *const servers[] = {"three", NULL};
    struct keytrustee_options options = {
        .size = sizeof options, .connect_timeout_ms = 77, .timeout_ms = 1234, .servers = servers};
    struct keytrustee *other = NULL;
    char confdir[96];

    (void)state;
    snprintf(confdir, sizeof confdir, "%s/conf", fake_folder);
    options.confdir = confdir;
    must_work(keytrustee_open(&options, &other, &error), &error);
    assert_int_equal(other->connect_timeout_ms, 77);
    keytrustee_set_timeouts(other, 0, 88);
    assert_int_equal(other->connect_timeout_ms, 88);
    assert_int_equal(other->timeout_ms, 1234);
    assert_int_equal(other->servers.count, 1);
    assert_int_equal(keytrustee_get(other, "none", 0, &secret, NULL, &error),
                     KEYTRUSTEE_UNAVAILABLE);
    assert_null(strstr(fake.asked, "one"));
    keytrustee_close(other);
    assert_int_equal(client->connect_timeout_ms, 100);
}

// --- servers that have too many requests ---

static int limited;             // so many requests to come
static const char *limited_at;  // of this node; NULL: of any
static const char *retry_after; // or NULL

static int is_limited(const char *server)
{
    return limited_at == NULL || strcmp(limited_at, server) == 0;
}

static int declines_limited(const char *server, const struct kt_http_request *request)
{
    return (limited > 0 && is_limited(server)) || fake_declines(server, request);
}

static void speak_limited(const char *server, const struct kt_http_request *request,
                          struct kt_http_answer *answer)
{
    fake_speak(server, request, answer);
    if (limited <= 0 || !is_limited(server))
        return;
    limited--;
    fake_error(answer, KT_ERR_TOO_MANY_REQUESTS);
    if (retry_after != NULL)
        fake_header(answer, "Retry-After", retry_after);
}

static void be_limited(int times, const char *seconds)
{
    limited = times;
    limited_at = NULL;
    retry_after = seconds;
    fake.declines = declines_limited;
    fake.meddle = speak_limited;
    (void)fake_asked();
}

// The active takes the deposit, its answer is lost, and then it has too many requests.
static int lose_first_then_limit(const char *server, const struct kt_http_request *request,
                                 int *sent)
{
    *sent = fake.requests == 1;
    if (*sent)
        return KT_ERR_NETWORK;
    if (limited == 0 && strcmp(server, "one") == 0 && strstr(warned, "as the server asks") == NULL)
        limited = 1;
    return fake_reach(server, request, sent);
}

static int64_t now_ms(void)
{
    return kt_monotonic_now() / 1000;
}

static void who_comes_too_often_waits_as_the_server_asks(void **state)
{
    int64_t begun = now_ms();

    (void)state;
    client->timeout_ms = 10000;
    be_limited(1, "1");
    must_work(put("h"), &error);
    assert_true(now_ms() - begun >= 1000);
    assert_string_equal(fake_asked(), "one one "); // no other server: the limit is for this client
    assert_non_null(strstr(warned, "trying again in 1 s, as the server asks"));
    assert_int_equal(fake.deposit_count, 1);
}

static void a_read_that_a_node_has_no_room_for_is_answered_by_another(void **state)
{
    int64_t begun = 0;

    (void)state;
    must_work(put("h"), &error);
    begun = now_ms();
    be_limited(99, "60");
    limited_at = "one";
    must_work(get("h", 0), &error);
    assert_string_equal(fake_asked(), "one two ");
    assert_string_equal(warned, "");
    assert_true(now_ms() - begun < 1000);
}

static void a_read_waits_when_no_node_has_room_and_asks_each_as_late_as_it_says(void **state)
{
    int64_t begun = 0;

    (void)state;
    must_work(put("h"), &error);
    client->timeout_ms = 10000;
    be_limited(3, "1");
    begun = now_ms();
    must_work(get("h", 0), &error);
    assert_true(now_ms() - begun >= 1000);
    assert_string_equal(fake_asked(), "one two three one ");
    assert_non_null(strstr(warned, "trying again in 1 s, as the server asks"));

    be_limited(1, "2"); // the others may come back any moment
    fake_nodes[1].dead = fake_nodes[2].dead = 2;
    begun = now_ms();
    must_work(get("h", 0), &error);
    assert_true(now_ms() - begun >= 2000);
    assert_int_equal(strncmp(fake.asked, "one two three two three ", 24), 0);
    assert_string_equal(fake.asked + strlen(fake.asked) - 4, "one ");
    assert_null(strstr(fake.asked + 4, " one two"));
    (void)fake_asked();

    be_limited(99, "60"); // and when they do not, that one is named
    assert_int_equal(get("h", 0), KEYTRUSTEE_UNAVAILABLE);
    assert_string_equal(error.name, "too_many_requests");
    assert_non_null(strstr(error.message, "one has too many requests of this client"));
    assert_null(strstr(fake.asked + 4, "one "));
}

static void an_absence_that_the_active_has_no_room_for_is_looked_for_at_the_others_first(
    void **state)
{
    int64_t begun = 0;

    (void)state;
    must_work(put("h"), &error);
    client->timeout_ms = 10000;
    ktc_servers_prefer(client, 1);
    fake_nodes[1].behind = 1;
    be_limited(99, "60");
    limited_at = "one";
    begun = now_ms();
    must_work(get("h", 0), &error);
    assert_true(now_ms() - begun < 1000);
    assert_string_equal(fake_asked(), "two one two three two three ");

    ktc_servers_prefer(client, 1);
    fake_nodes[2].behind = 1; // then the active has to be waited for
    be_limited(1, "1");
    limited_at = "one";
    begun = now_ms();
    must_work(get("h", 0), &error);
    assert_true(now_ms() - begun >= 1000);
    assert_int_equal(get("none", 0), KEYTRUSTEE_NOT_FOUND);
    be_limited(99, "60");
    limited_at = "one";
    assert_int_equal(get("none", 0), KEYTRUSTEE_UNAVAILABLE);
    assert_string_equal(error.name, "too_many_requests");
}

static void a_wait_that_the_deadline_does_not_allow_is_not_begun(void **state)
{
    static const char *const seconds[] = {"20", "86400", "8"};
    int64_t begun = now_ms();

    (void)state;
    client->timeout_ms = 8000;
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        char words[40];
        be_limited(9, seconds[i]);
        assert_int_equal(put("h"), KEYTRUSTEE_UNAVAILABLE);
        assert_string_equal(error.name, "too_many_requests");
        snprintf(words, sizeof words, "in %s s", seconds[i]);
        assert_non_null(strstr(error.hint, words));
        assert_non_null(strstr(error.hint, "--timeout"));
        assert_string_equal(fake_asked(), "one ");
        assert_int_equal(get("h", 0), KEYTRUSTEE_UNAVAILABLE);
        assert_string_equal(error.name, "too_many_requests");
    }
    assert_int_equal(pending_count(), 0);
    assert_true(now_ms() - begun < 16000); // and not six times the deadline
}

static void a_server_that_never_has_room_holds_nobody_beyond_the_deadline(void **state)
{
    static const char *const odd[] = {"1", NULL, "0", "soon"}; // what is no time counts as 1 s
    int64_t begun = 0;
    uint64_t count = 0;

    (void)state;
    client->timeout_ms = 2200;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        begun = now_ms();
        be_limited(99, odd[i]);
        assert_int_equal(keytrustee_delete(client, "h", 0, &count, &error), KEYTRUSTEE_UNAVAILABLE);
        assert_string_equal(error.name, "too_many_requests");
        assert_string_equal(fake_asked(), "one one ");
        assert_non_null(strstr(error.message, "asked 2 times"));
        assert_in_range(now_ms() - begun, 1000, 4000);
    }
}

static void a_lost_answer_and_too_many_requests_end_as_one_deposit(void **state)
{
    (void)state;
    client->timeout_ms = 10000;
    be_limited(0, "1");
    fake.network = lose_first_then_limit;
    must_work(put("h"), &error);
    assert_int_equal(fake.deposit_count, 1);
    assert_int_equal(limited, 0);
    assert_non_null(strstr(warned, "as the server asks"));
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_three, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_change_goes_to_the_active_that_is_known),
        CASE(a_change_follows_the_name_that_a_passive_gives),
        CASE(fenced_and_without_quorum_are_passed_over_too),
        CASE(nodes_that_name_each_other_are_asked_once_a_round),
        CASE(a_failover_during_a_put_is_not_noticed),
        CASE(a_put_in_doubt_without_an_active_is_kept_for_later),
        CASE(in_doubt_is_settled_by_the_active_of_then),
        CASE(a_stale_not_found_is_checked_with_the_active),
        CASE(not_found_is_believed_of_the_active),
        CASE(without_the_active_another_node_may_have_it),
        CASE(a_not_found_that_cannot_be_checked_says_so),
        CASE(a_dead_active_is_not_waited_for_at_each_check),
        CASE(what_was_acknowledged_here_is_waited_for),
        CASE(a_right_that_a_node_does_not_know_yet_is_checked),
        CASE(a_list_comes_from_the_active_or_says_that_it_does_not),
        CASE(no_call_outlasts_its_deadline),
        CASE(a_silent_server_leaves_time_for_the_next),
        CASE(a_node_without_database_is_passed_over),
        CASE(a_read_waits_for_nodes_that_are_restarted),
        CASE(timeouts_and_servers_can_be_given),
        CASE(who_comes_too_often_waits_as_the_server_asks),
        CASE(a_read_that_a_node_has_no_room_for_is_answered_by_another),
        CASE(a_read_waits_when_no_node_has_room_and_asks_each_as_late_as_it_says),
        CASE(an_absence_that_the_active_has_no_room_for_is_looked_for_at_the_others_first),
        CASE(a_wait_that_the_deadline_does_not_allow_is_not_begun),
        CASE(a_server_that_never_has_room_holds_nobody_beyond_the_deadline),
        CASE(a_lost_answer_and_too_many_requests_end_as_one_deposit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
