// SPDX-License-Identifier: Apache-2.0
// Recovery keys that a server leaves out, or does not know of yet: no deposit is made without one that
// was accepted here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <poll.h>
#include <sys/wait.h>

#include "tests/unit/client/fake_cluster.h"

#define NOBODYS "0123456789012345678901234567890123456789"

static struct keytrustee_deposit deposit;
static struct keytrustee_error error;

// What /v1/clients/self says: which keys are in force, behind a barrier and otherwise.
static const char *in_force, *in_force_behind; // a fingerprint or NULL
static int barrier_fails;
// What the user does in another process while the server answers.
static const char *accepted_meanwhile, *forgotten_meanwhile; // or NULL

static int put(const char *handle)
{
    return keytrustee_put(client, handle, "secret", 6, NULL, &deposit, &error);
}

static json_t *key_json(const char *fingerprint)
{
    struct kt_buf key = KT_BUF_INIT(65536);
    char text[65536];
    json_t *list = json_array();

    if (fingerprint == NULL)
        return list;
    assert_int_equal(ktc_need_gpg(client, NULL), 0);
    assert_int_equal(kt_gpg_export(client->gpg, client->state.fingerprint, &key, NULL), 0);
    assert_true(kt_buf_left(&key) < sizeof text / 2);
    kt_base64_encode(kt_buf_ptr(&key), kt_buf_left(&key), text);
    json_array_append_new(list,
                          json_pack("{s:s, s:s}", "fingerprint", fingerprint, "openpgp", text));
    kt_buf_free(&key);
    return list;
}

static void be_another_process(void)
{
    struct keytrustee_options options = {.size = sizeof options};
    struct keytrustee *other = NULL;
    char confdir[96];

    snprintf(confdir, sizeof confdir, "%s/conf", fake_folder);
    options.confdir = confdir;
    must_work(keytrustee_open(&options, &other, &error), &error);
    if (accepted_meanwhile != NULL)
        must_work(keytrustee_recovery_accept(other, accepted_meanwhile, &error), &error);
    if (forgotten_meanwhile != NULL)
        must_work(keytrustee_recovery_forget(other, forgotten_meanwhile, &error), &error);
    accepted_meanwhile = forgotten_meanwhile = NULL;
    keytrustee_close(other);
}

static void tell_keys(const char *server, const struct kt_http_request *request,
                      struct kt_http_answer *answer)
{
    const char *fresh = fake_request_header(request, "KT-Freshness");
    json_t *self = NULL;

    (void)server;
    if (strcmp(request->path, "/v1/clients/self") != 0)
        return;
    be_another_process();
    if (fresh != NULL && barrier_fails) {
        fake_error(answer, KT_ERR_NO_QUORUM);
        return;
    }
    assert_int_equal(
        kt_json_parse_object(kt_buf_ptr(&answer->body), kt_buf_left(&answer->body), &self, NULL),
        0);
    json_object_set_new(self, "recovery", key_json(fresh != NULL ? in_force_behind : in_force));
    fake_json(answer, 200, self);
}

static int set_up(void **state)
{
    fake_registered(state);
    in_force = in_force_behind = NULL;
    barrier_fails = 0;
    accepted_meanwhile = forgotten_meanwhile = NULL;
    fake.meddle = tell_keys;
    return 0;
}

static void a_key_that_was_accepted_and_is_left_out_stops_the_deposit(void **state)
{
    (void)state;
    must_work(put("before"), &error); // nothing was accepted
    must_work(keytrustee_recovery_accept(client, NOBODYS, &error), &error);
    assert_int_equal(put("h"), KEYTRUSTEE_REFUSED);
    assert_string_equal(error.name, "recovery_withdrawn");
    assert_non_null(strstr(error.message, NOBODYS));
    assert_non_null(strstr(error.hint, "keytrustee recovery forget " NOBODYS));
    assert_int_equal(fake.deposit_count, 1);
    must_work(keytrustee_recovery_forget(client, NOBODYS, &error), &error);
    must_work(put("h"), &error);
}

static void a_key_that_was_in_force_and_is_left_out_stops_the_deposit(void **state)
{
    const char *own = client->state.fingerprint;

    (void)state;
    must_work(keytrustee_recovery_accept(client, own, &error), &error);
    in_force = in_force_behind = own;
    must_work(put("h"), &error);
    in_force = in_force_behind = NULL;
    assert_int_equal(put("h"), KEYTRUSTEE_REFUSED);
    assert_string_equal(error.name, "recovery_withdrawn");
    assert_int_equal(fake.deposit_count, 1);
}

static void a_node_that_has_not_heard_of_a_key_yet_is_asked_again_behind_a_barrier(void **state)
{
    (void)state;
    must_work(keytrustee_recovery_accept(client, client->state.fingerprint, &error), &error);
    in_force_behind = client->state.fingerprint;
    must_work(put("h"), &error);
    assert_int_equal(fake.deposit_count, 1);
}

static void when_no_node_can_be_sure_the_deposit_waits_and_nobody_is_accused(void **state)
{
    (void)state;
    client->timeout_ms = 2000;
    must_work(keytrustee_recovery_accept(client, NOBODYS, &error), &error);
    barrier_fails = 1;
    assert_int_equal(put("h"), KEYTRUSTEE_UNAVAILABLE);
    assert_int_equal(fake.deposit_count, 0);
}

static void a_key_that_was_not_accepted_is_said_first(void **state)
{
    (void)state;
    must_work(keytrustee_recovery_accept(client, NOBODYS, &error), &error);
    in_force = in_force_behind = client->state.fingerprint;
    assert_int_equal(put("h"), KEYTRUSTEE_REFUSED);
    assert_string_equal(error.name, "recovery_missing");
    assert_int_equal(fake.deposit_count, 0);
}

// What `recovery list` tells: each fingerprint with "in force" and "accepted" as 1 or 0.
static char listed[256];

static int note_key(void *arg, const char *fingerprint, int is_in_force, int accepted)
{
    size_t used = strlen(listed);

    (void)arg;
    snprintf(listed + used, sizeof listed - used, "%.4s %d %d, ", fingerprint, is_in_force,
             accepted);
    return 0;
}

static const char *list_keys(void)
{
    listed[0] = '\0';
    must_work(keytrustee_recovery_list(client, note_key, NULL, &error), &error);
    return listed;
}

static void a_key_that_is_accepted_while_a_server_is_asked_stays_accepted(void **state)
{
    (void)state;
    must_work(keytrustee_recovery_accept(client, NOBODYS, &error), &error);
    accepted_meanwhile = client->state.fingerprint;
    (void)list_keys();
    assert_int_equal(put("h"), KEYTRUSTEE_REFUSED); // neither is in force
    assert_string_equal(error.name, "recovery_withdrawn");
    assert_non_null(strstr(error.message, NOBODYS));
    assert_non_null(strstr(error.message, client->state.fingerprint));
}

static void a_key_that_is_accepted_while_a_server_is_asked_is_encrypted_to(void **state)
{
    const char *own = client->state.fingerprint;

    (void)state;
    must_work(keytrustee_recovery_accept(client, NOBODYS, &error), &error);
    accepted_meanwhile = own;
    forgotten_meanwhile = NOBODYS;
    in_force = in_force_behind = own;
    must_work(put("h"), &error);
    assert_int_equal(fake.deposit_count, 1);
}

static void a_key_that_is_forgotten_while_a_server_is_asked_stays_forgotten(void **state)
{
    (void)state;
    must_work(keytrustee_recovery_accept(client, NOBODYS, &error), &error);
    assert_string_equal(list_keys(), "0123 0 1, ");
    forgotten_meanwhile = NOBODYS;
    assert_string_equal(list_keys(), "");
    must_work(put("h"), &error);
}

// Holds the lock of the confdir, and accepts one more key before it lets go. Not 0: the other process
// was done before.
static int accept_under_lock(int ready, int done)
{
    struct pollfd is_done = {.fd = done, .events = POLLIN};
    struct ktc_recovery recovery;
    int fd = -1;

    if (ktc_lock(client, &fd, NULL) != 0 || write(ready, "", 1) != 1 ||
        poll(&is_done, 1, 500) != 0 || ktc_recovery_load(client, &recovery, NULL) != 0 ||
        ktc_fingerprints_add(&recovery.accepted, client->state.fingerprint) != 0 ||
        ktc_recovery_save(client, &recovery, NULL) != 0)
        return 1;
    close(fd);
    return 0;
}

static void what_a_server_says_is_saved_when_another_process_lets_go_of_the_confdir(void **state)
{
    int ready[2], done[2], status = 0;
    char byte;

    (void)state;
    must_work(keytrustee_recovery_accept(client, NOBODYS, &error), &error);
    (void)list_keys(); // which server answers is known from now on, and not saved again
    assert_int_equal(pipe(ready) | pipe(done), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(accept_under_lock(ready[1], done[0]));
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)list_keys();
    assert_int_equal(write(done[1], "", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_non_null(strstr(listed, "0123 0 1, "));
    assert_true(strlen(listed) > strlen("0123 0 1, ")); // and the other one
    close(ready[0]), close(ready[1]), close(done[0]), close(done[1]);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_key_that_was_accepted_and_is_left_out_stops_the_deposit),
        CASE(a_key_that_was_in_force_and_is_left_out_stops_the_deposit),
        CASE(a_node_that_has_not_heard_of_a_key_yet_is_asked_again_behind_a_barrier),
        CASE(when_no_node_can_be_sure_the_deposit_waits_and_nobody_is_accused),
        CASE(a_key_that_was_not_accepted_is_said_first),
        CASE(a_key_that_is_accepted_while_a_server_is_asked_stays_accepted),
        CASE(a_key_that_is_accepted_while_a_server_is_asked_is_encrypted_to),
        CASE(a_key_that_is_forgotten_while_a_server_is_asked_stays_forgotten),
        CASE(what_a_server_says_is_saved_when_another_process_lets_go_of_the_confdir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
