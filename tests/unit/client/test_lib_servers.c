// SPDX-License-Identifier: Apache-2.0
// Servers: what a dead one costs, what the next process knows of it, and the list of them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_nodes.h"

static struct keytrustee_error error;

static void put(const char *handle)
{
    must_work(keytrustee_put(client, handle, "s", 1, NULL, NULL, &error), &error);
    (void)fake_asked();
}

// Fetches and says whom it asked.
static const char *get(const char *handle)
{
    struct keytrustee_secret *secret = NULL;

    must_work(keytrustee_get(client, handle, 0, &secret, NULL, &error), &error);
    keytrustee_free(secret);
    return fake_asked();
}

static void a_dead_server_costs_one_connect_timeout_and_then_none(void **state)
{
    (void)state;
    put("h");
    fake_nodes[0].dead = 1;
    int64_t begun = kt_monotonic_now();
    assert_string_equal(get("h"), "one two ");
    for (int i = 0; i < 5; i++)
        assert_string_equal(get("h"), "two ");
    int64_t took = kt_monotonic_now() - begun;
    assert_true(took >= 100000); // the one timeout
    assert_int_equal(client->servers.list[0].pause_s, 5);
}

static void the_next_process_does_not_pay_again(void **state)
{
    (void)state;
    put("h");
    fake_nodes[0].dead = 1;
    assert_string_equal(get("h"), "one two ");
    fake_reopen();
    assert_string_equal(get("h"), "two ");
    fake_nodes[1].dead = 2; // nor when the one that answered is gone too
    assert_string_equal(get("h"), "two three ");
}

static void a_refused_connection_sets_nothing_aside(void **state)
{
    (void)state;
    put("h");
    fake_nodes[0].dead = 2;
    assert_string_equal(get("h"), "one two ");
    assert_int_equal(client->servers.list[0].aside_until, 0);
    fake_nodes[0].dead = 0;
    fake_nodes[1].dead = fake_nodes[2].dead = 2;
    assert_string_equal(get("h"), "two three one ");
}

static void a_dead_server_is_the_last_hope(void **state)
{
    (void)state;
    put("h");
    fake_nodes[0].dead = 1;
    assert_string_equal(get("h"), "one two ");
    fake_nodes[0].dead = 0; // it is back, and nobody knows
    fake_nodes[1].dead = fake_nodes[2].dead = 2;
    assert_string_equal(get("h"), "two three one ");
    assert_int_equal(client->servers.list[0].aside_until, 0);
}

static void one_request_looks_whether_it_is_back(void **state)
{
    struct keytrustee *other = NULL;
    struct keytrustee_options options = {.size = sizeof options};
    char confdir[96];

    (void)state;
    ktc_server_failed(client, 0);
    snprintf(confdir, sizeof confdir, "%s/conf", fake_folder);
    options.confdir = confdir;
    must_work(keytrustee_open(&options, &other, &error), &error);
    assert_int_equal(ktc_server_is_aside(client, 0), 1);
    assert_int_equal(ktc_server_is_aside(other, 0), 1);
    // Its time has come, for both: on disk, and in both handles.
    client->servers.list[0].aside_until = other->servers.list[0].aside_until = 1;
    char path[256], *text = NULL;
    snprintf(path, sizeof path, "%s", fake_path("servers.json"));
    assert_int_equal(kt_file_read_text(path, 65536, &text, NULL), 0);
    json_t *object = json_loads(text, 0, NULL);
    json_t *first = json_array_get(json_object_get(object, "servers"), 0);
    json_object_set_new(first, "aside_until", json_integer(1));
    free(text);
    text = json_dumps(object, 0);
    assert_int_equal(kt_file_replace(path, text, strlen(text), 0600, NULL), 0);
    assert_int_equal(ktc_server_is_aside(client, 0), 0);
    assert_int_equal(ktc_server_is_aside(client, 0), 1);
    assert_int_equal(ktc_server_is_aside(other, 0), 1);
    free(text);
    json_decref(object);
    keytrustee_close(other);
}

static void the_pause_grows_to_a_minute_and_an_answer_ends_it(void **state)
{
    static const int pauses[] = {5, 10, 20, 40, 60, 60};

    (void)state;
    put("h");
    for (size_t i = 0; i < sizeof pauses / sizeof pauses[0]; i++) {
        ktc_server_failed(client, 0);
        assert_int_equal(client->servers.list[0].pause_s, pauses[i]);
    }
    fake_reopen();
    assert_int_equal(client->servers.list[0].pause_s, 60);
    fake_nodes[1].dead = fake_nodes[2].dead = 2;
    (void)get("h");
    assert_int_equal(client->servers.list[0].pause_s, 0);
    fake_reopen();
    assert_int_equal(client->servers.list[0].aside_until, 0);
}

static void a_clock_that_was_set_back_sets_nothing_aside_for_long(void **state)
{
    static const char text[] = "{\"version\":1,\"servers\":[{\"server\":\"one\",\"pause\":5,"
                               "\"aside_until\":9000000000000000}]}";

    (void)state;
    assert_int_equal(kt_file_replace(fake_path("servers.json"), text, strlen(text), 0600, NULL), 0);
    fake_reopen();
    assert_int_equal(ktc_server_waits(client, 0), 0);
}

static void a_damaged_file_is_ignored(void **state)
{
    static const char *const bad[] = {"", "{", "[]", "{\"version\":2}",
                                      "{\"version\":1,\"servers\":[7,{\"server\":\"a b\","
                                      "\"learned\":true},{\"server\":7}],\"active\":9}"};

    (void)state;
    put("h");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(
            kt_file_replace(fake_path("servers.json"), bad[i], strlen(bad[i]), 0600, NULL), 0);
        fake_reopen();
        assert_int_equal(client->servers.count, 3);
        assert_true(client->servers.active == KTC_NONE);
        (void)get("h");
    }
}

static void a_server_has_one_name_with_and_without_the_port(void **state)
{
    (void)state;
    assert_int_equal(ktc_servers_find(&client->servers, "ONE:11371"), 0);
    assert_true(ktc_servers_find(&client->servers, "one:11372") == KTC_NONE);
    snprintf(client->servers.list[1].address, KTC_ADDRESS_TEXT, "10.0.0.2:11371");
    assert_int_equal(ktc_servers_find(&client->servers, "10.0.0.2"), 1);
}

static void the_active_that_a_node_names_is_learned(void **state)
{
    (void)state;
    assert_true(ktc_servers_learn_active(client, "a b") == KTC_NONE);
    assert_true(ktc_servers_learn_active(client, "") == KTC_NONE);
    assert_int_equal(ktc_servers_learn_active(client, "two:11371"), 1);
    assert_int_equal(ktc_servers_learn_active(client, "four:4444"), 3);
    fake_reopen();
    assert_int_equal(client->servers.count, 4);
    assert_int_equal(client->servers.active, 3);
    assert_int_equal(client->servers.list[3].learned, 1);
    for (int i = 0; i < 100; i++) { // names without end
        char name[32];
        snprintf(name, sizeof name, "node-%d", i);
        assert_true(ktc_servers_learn_active(client, name) < KTC_NODES_MAX);
    }
    assert_int_equal(client->servers.count, KTC_NODES_MAX);
    assert_string_equal(client->servers.list[0].name, "one");
}

static void the_same_node_under_two_names_is_one_timeout(void **state)
{
    (void)state;
    put("h");
    assert_int_equal(ktc_servers_learn_active(client, "four:4444"), 3);
    ktc_servers_active(client, 0);
    snprintf(client->servers.list[0].address, KTC_ADDRESS_TEXT, "10.0.0.1:11371");
    snprintf(client->servers.list[3].address, KTC_ADDRESS_TEXT, "10.0.0.1:11371");
    fake_nodes[0].dead = fake_nodes[3].dead = 1;
    fake_nodes[1].dead = fake_nodes[2].dead = 2;
    client->timeout_ms = 900;
    struct keytrustee_secret *secret = NULL;
    assert_int_equal(keytrustee_get(client, "h", 0, &secret, NULL, &error), KEYTRUSTEE_UNAVAILABLE);
    assert_null(strstr(fake.asked, "four"));
    assert_int_equal(ktc_server_waits(client, 3), 1);
}

static void a_registered_name_of_the_active_is_used_rather_than_its_own(void **state)
{
    (void)state; // its own may lead nowhere from here
    assert_int_equal(ktc_servers_learn_active(client, "four:4444"), 3);
    snprintf(client->servers.list[1].address, KTC_ADDRESS_TEXT, "10.0.0.2:11371");
    snprintf(client->servers.list[3].address, KTC_ADDRESS_TEXT, "10.0.0.2:11371");
    assert_int_equal(ktc_servers_learn_active(client, "four:4444"), 1);
    assert_int_equal(client->servers.active, 1);
}

static char listed[256];

static int list_one(void *arg, const struct keytrustee_server *server)
{
    size_t used = strlen(listed);

    (void)arg;
    snprintf(listed + used, sizeof listed - used, "%s%s%s ", server->name,
             server->is_active ? "*" : "", server->learned ? "+" : "");
    return 0;
}

static const char *list(void)
{
    listed[0] = '\0';
    must_work(keytrustee_servers(client, list_one, NULL, &error), &error);
    return listed;
}

static void servers_are_added_and_removed(void **state)
{
    static const char *const more[] = {"five", "one:11371", NULL};
    static const char *const wrong[] = {"http://six", NULL};
    static const char *const all[] = {"one", "two", "three", NULL};

    (void)state;
    assert_string_equal(list(), "one* two three ");
    must_work(keytrustee_servers_add(client, more, &error), &error);
    assert_string_equal(list(), "one* two three five ");
    assert_int_equal(keytrustee_servers_add(client, wrong, &error), KEYTRUSTEE_USAGE);
    must_work(keytrustee_servers_remove(client, all, &error), &error);
    assert_string_equal(list(), "five ");
    assert_int_equal(keytrustee_servers_remove(client, more, &error), KEYTRUSTEE_USAGE);
    assert_int_equal(keytrustee_servers_remove(client, all, &error), KEYTRUSTEE_NOT_FOUND);
    fake_reopen();
    assert_string_equal(list(), "five ");
    assert_int_equal(fake.requests, 0);
}

static void the_list_has_a_bound(void **state)
{
    char names[KTC_SERVERS_MAX + 2][16];
    const char *list_of[KTC_SERVERS_MAX + 2] = {NULL};

    (void)state;
    for (size_t i = 0; i < KTC_SERVERS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "more-%zu", i);
        list_of[i] = names[i];
    }
    assert_int_equal(keytrustee_servers_add(client, list_of, &error), KEYTRUSTEE_USAGE);
    assert_string_equal(list(), "one* two three ");
}

static void an_unregistered_client_has_no_list(void **state)
{
    static const char *const one[] = {"one", NULL};

    (void)state;
    assert_int_equal(keytrustee_servers(client, list_one, NULL, &error), KEYTRUSTEE_REFUSED);
    assert_int_equal(keytrustee_servers_add(client, one, &error), KEYTRUSTEE_REFUSED);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_three, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_dead_server_costs_one_connect_timeout_and_then_none),
        CASE(the_next_process_does_not_pay_again),
        CASE(a_refused_connection_sets_nothing_aside),
        CASE(a_dead_server_is_the_last_hope),
        CASE(one_request_looks_whether_it_is_back),
        CASE(the_pause_grows_to_a_minute_and_an_answer_ends_it),
        CASE(a_clock_that_was_set_back_sets_nothing_aside_for_long),
        CASE(a_damaged_file_is_ignored),
        CASE(a_server_has_one_name_with_and_without_the_port),
        CASE(the_active_that_a_node_names_is_learned),
        CASE(the_same_node_under_two_names_is_one_timeout),
        CASE(a_registered_name_of_the_active_is_used_rather_than_its_own),
        CASE(servers_are_added_and_removed),
        CASE(the_list_has_a_bound),
        cmocka_unit_test_setup_teardown(an_unregistered_client_has_no_list, fake_setup,
                                        fake_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
