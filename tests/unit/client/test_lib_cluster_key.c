// SPDX-License-Identifier: Apache-2.0
// The cluster's OpenPGP key is replaced: which line a client follows, and what an older key may say.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "lib/key_statement.h"
#include "tests/unit/client/fake_nodes.h"
#include "tests/unit/client/fake_statement.h"

#define FIRST  "1.00000000000000ab"
#define SECOND "2.00000000000000cd"
#define MOST   4

static struct keytrustee_error error;
static struct keytrustee_deposit deposit;
static char keys[4][KT_OPENPGP_FINGERPRINT_TEXT]; // the first is the one of the registration
static char shown[MOST * KT_KEY_STATEMENT_MAX];
static char *texts[MOST];
static size_t text_count;

static int make_keys(void **state)
{
    struct kt_gpg *gpg = NULL;

    fake_key_make(state);
    memcpy(keys[0], fake_fingerprint, sizeof keys[0]);
    assert_int_equal(kt_gpg_new(fake_keys, &gpg, NULL), 0);
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(kt_gpg_generate(gpg, KT_GPG_CLIENT, "cluster", keys[i], NULL), 0);
    kt_gpg_free(gpg);
    return 0;
}

static int get(void)
{
    struct keytrustee_secret *secret = NULL;
    int rc = keytrustee_get(client, "h", 1, &secret, &deposit, &error);

    keytrustee_free(secret);
    return rc;
}

static int set_up(void **state)
{
    fake_three(state);
    must_work(keytrustee_put(client, "h", "s", 1, NULL, &deposit, &error), &error);
    client->timeout_ms = 5000;
    text_count = 0;
    return 0;
}

static int tear_down(void **state)
{
    while (text_count > 0)
        free(texts[--text_count]);
    return fake_teardown(state);
}

static struct kt_key_statement names(size_t key, size_t next, uint32_t number, const char *before)
{
    struct kt_key_statement made = {.number = number, .time_us = kt_time_now()};

    assert_int_equal(kt_uuid_parse(FAKE_CLUSTER_ID, &made.cluster_id), 0);
    assert_int_equal(kt_incarnation_parse(FIRST, &made.incarnation), 0);
    memcpy(made.key, keys[key], sizeof made.key);
    memcpy(made.next, keys[next], sizeof made.next);
    if (before != NULL)
        assert_int_equal(kt_sha256(before, strlen(before), made.before), 0);
    return made;
}

// Signs it by both keys; nodes show it behind those before it. Owned by the case.
static const char *show(const struct kt_key_statement *statement)
{
    struct kt_buf out = KT_BUF_INIT(KT_KEY_STATEMENT_MAX);
    struct kt_error why = {0};
    struct kt_gpg *gpg = NULL;
    json_t *list = json_array(), *object;
    char *text;

    assert_int_equal(kt_gpg_new(fake_keys, &gpg, NULL), 0);
    if (kt_key_statement_sign(gpg, statement, &out, &why) != 0)
        fail_msg("%s", why.message);
    kt_gpg_free(gpg);
    texts[text_count] = strndup((const char *)kt_buf_ptr(&out), kt_buf_left(&out));
    kt_buf_free(&out);
    text_count++;
    for (size_t i = 0; i < text_count; i++)
        json_array_append_new(list, json_pack("{s:s}", "statement", texts[i]));
    object = json_pack("{s:o}", "cluster_keys", list);
    text = kt_json_text(object);
    assert_true(strlen(text) < sizeof shown);
    strcpy(shown, text);
    fake.cluster_keys = shown;
    free(text);
    json_decref(object);
    return texts[text_count - 1];
}

static void knows(size_t key)
{
    struct ktc_state disk;

    assert_string_equal(client->state.cluster_fingerprint, keys[key]);
    assert_int_equal(ktc_state_load(fake_path("client.json"), &disk, NULL), 0);
    assert_string_equal(disk.cluster_fingerprint, keys[key]);
}

static void has_warned(const char *words)
{
    if (strstr(warned, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, warned);
}

static void a_client_follows_the_line_to_the_newest_key_and_not_back(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL), two;

    (void)state;
    two = names(1, 2, 2, show(&one));
    show(&two);
    fake.cluster_key = keys[2];
    must_work(get(), &error);
    knows(2);
    assert_int_equal(fake.cluster_keys_asked, 1);
    must_work(get(), &error);
    assert_int_equal(fake.cluster_keys_asked, 1);
    fake.cluster_key = keys[0]; // a node that is behind
    must_work(get(), &error);
    must_work(get(), &error);
    knows(2);
    assert_int_equal(fake.cluster_keys_asked, 2);
    assert_string_equal(warned, "");
}

static void a_key_that_no_statement_names_is_not_taken(void **state)
{
    struct kt_key_statement of_others = names(2, 1, 1, NULL);

    (void)state;
    fake.cluster_key = keys[1];
    must_work(get(), &error); // an old server, which has no such call
    knows(0);
    client->key_asked[0] = '\0';
    show(&of_others);
    must_work(get(), &error);
    knows(0);
}

static void two_keys_that_follow_one_are_refused(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL), other = names(0, 3, 1, NULL);

    (void)state;
    show(&one);
    show(&other);
    fake.cluster_key = keys[3];
    must_work(get(), &error);
    knows(0);
    has_warned("claim to follow");
    has_warned(keys[3]);
}

static void who_knows_the_newer_key_is_told_of_a_fork_at_the_older_and_keeps_it(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL), other = names(0, 3, 1, NULL);

    (void)state;
    show(&one);
    fake.cluster_key = keys[1];
    must_work(get(), &error);
    show(&other);
    fake.cluster_key = keys[3];
    must_work(get(), &error);
    knows(1);
    has_warned("two successors");
    has_warned(keys[3]);
}

// Nodes show nothing any more.
static void hide(void)
{
    while (text_count > 0)
        free(texts[--text_count]);
}

static void who_was_led_to_a_false_key_is_told_when_the_true_one_is_shown(void **state)
{
    struct kt_key_statement stolen = names(0, 3, 1, NULL), one = names(0, 1, 1, NULL);
    struct kt_error why = {0};

    (void)state;
    show(&stolen);
    fake.cluster_key = keys[3];
    must_work(get(), &error);
    knows(3);
    assert_string_equal(warned, "");
    hide();
    show(&one);
    fake.cluster_key = keys[1];
    fake_reopen(); // it is on disk
    client->timeout_ms = 5000;
    must_work(get(), &error);
    knows(3);
    has_warned("two successors");
    has_warned(keys[1]);
    ktc_begin(client);
    assert_int_equal(ktc_cluster_key_follow(client, "one", NULL, &why), KT_ERR_SIGNATURE);
    assert_non_null(strstr(why.hint, "docs/security.md"));
}

static void the_newer_keys_line_is_followed_in_spite_of_a_fork_at_an_older_one(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL), other = names(0, 3, 1, NULL), two;

    (void)state;
    two = names(1, 2, 2, show(&one));
    fake.cluster_key = keys[1];
    must_work(get(), &error);
    knows(1);
    show(&two);
    show(&other);
    fake.cluster_key = keys[2];
    must_work(get(), &error);
    knows(2);
    has_warned("two successors");
}

static void another_successor_without_the_older_keys_signature_says_nothing(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL), other = names(0, 3, 1, NULL);
    char *at;

    (void)state;
    show(&one);
    fake.cluster_key = keys[1];
    must_work(get(), &error);
    hide();
    show(&other);
    at = strstr(shown, "incarnation 1.");
    at[strlen("incarnation ")] = '2';
    fake.cluster_key = keys[3];
    must_work(get(), &error);
    knows(1);
    assert_string_equal(warned, "");
}

static void a_gap_in_the_line_is_refused(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL), two;

    (void)state;
    two = names(1, 2, 3, show(&one));
    show(&two);
    fake.cluster_key = keys[2];
    must_work(get(), &error);
    knows(0);
    has_warned("leaves a statement");
}

static void a_statement_of_another_cluster_or_a_changed_one_is_refused(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL);
    char *at;

    (void)state;
    one.cluster_id.bytes[0] ^= 1;
    show(&one);
    fake.cluster_key = keys[1];
    must_work(get(), &error);
    knows(0);
    has_warned("of another cluster");
    one.cluster_id.bytes[0] ^= 1;
    text_count = 0;
    show(&one);
    at = strstr(shown, "incarnation 1.");
    at[strlen("incarnation ")] = '2';
    warned[0] = '\0';
    must_work(get(), &error);
    knows(0);
    has_warned("is not good");
}

// --- restores ---

static char *restored_by(size_t key, uint64_t log_index)
{
    struct kt_statement statement = fake_statement(SECOND, FIRST, log_index);
    char *text;

    memcpy(fake_fingerprint, keys[key], sizeof fake_fingerprint);
    text = fake_signed(&statement);
    memcpy(fake_fingerprint, keys[0], sizeof fake_fingerprint);
    fake_show(SECOND, text);
    return text;
}

static void a_restore_by_the_older_key_is_refused_once_there_is_a_newer_one(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL);

    (void)state;
    show(&one);
    free(restored_by(0, 17));
    fake.incarnation = SECOND;
    assert_int_equal(get(), KEYTRUSTEE_INTEGRITY); // also by who learns of it only now
    assert_non_null(strstr(error.message, "not by the cluster's"));
    knows(1);
    assert_int_equal(client->state.incarnation.number, 1);
    free(restored_by(1, 17));
    must_work(get(), &error);
    assert_int_equal(client->state.incarnation.number, 2);
}

static void who_was_away_takes_the_restore_that_the_newer_key_vouches_for(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL);
    char *text = restored_by(0, 17);

    (void)state;
    assert_int_equal(kt_sha256(text, strlen(text), one.restored), 0);
    assert_int_equal(kt_incarnation_parse(SECOND, &one.incarnation), 0);
    free(text);
    show(&one);
    fake.cluster_key = keys[1];
    fake.incarnation = SECOND;
    must_work(get(), &error);
    knows(1);
    assert_int_equal(client->state.incarnation.number, 2);
}

static void what_the_older_key_said_in_its_time_holds_and_nothing_else(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL);
    struct ktc_line line;
    struct kt_error why = {0};
    char *text = restored_by(0, 17);

    (void)state;
    fake.incarnation = SECOND;
    must_work(get(), &error);
    assert_int_equal(kt_sha256(text, strlen(text), one.restored), 0);
    assert_int_equal(kt_incarnation_parse(SECOND, &one.incarnation), 0);
    show(&one);
    fake.cluster_key = keys[1];
    must_work(get(), &error);
    knows(1);
    assert_int_equal(ktc_line_read(client, "one", &line, &why), 0);
    assert_int_equal(line.count, 2);
    free(text);
    free(restored_by(0, 16)); // signed by the older key, of the same incarnation
    assert_int_equal(ktc_line_read(client, "one", &line, &why), KT_ERR_SIGNATURE);
    assert_non_null(strstr(why.message, "not by the cluster's"));
}

static void registering_again_takes_no_key_that_does_not_follow(void **state)
{
    static const char *const servers[] = {"one", NULL};
    struct keytrustee_registration wanted = {.size = sizeof wanted, .servers = servers};
    struct kt_key_statement one = names(0, 1, 1, NULL);

    (void)state;
    wanted.auth_code = fake.auth_code;
    memcpy(fake_fingerprint, keys[1], sizeof fake_fingerprint);
    assert_int_equal(keytrustee_register(client, &wanted, &error), KEYTRUSTEE_INTEGRITY);
    assert_non_null(strstr(error.message, "does not follow"));
    knows(0);
    show(&one);
    must_work(keytrustee_register(client, &wanted, &error), &error);
    knows(1);
    memcpy(fake_fingerprint, keys[0], sizeof fake_fingerprint);
}

// Another process of this confdir follows the line while we register.
static int meanwhile_followed(const char *server, const struct kt_http_request *request, int *sent)
{
    struct ktc_state disk;

    *sent = 0;
    if (strcmp(request->path, "/v1/clients") != 0)
        return fake_reach(server, request, sent);
    assert_int_equal(ktc_state_load(fake_path("client.json"), &disk, NULL), 0);
    ktc_state_next_key(&disk, keys[1]);
    assert_int_equal(ktc_state_save(fake_path("client.json"), &disk, NULL), 0);
    return 0;
}

static void registering_again_does_not_go_back_from_what_another_process_followed(void **state)
{
    static const char *const servers[] = {"one", NULL};
    struct keytrustee_registration wanted = {.size = sizeof wanted, .servers = servers};

    (void)state;
    wanted.auth_code = fake.auth_code;
    fake.network = meanwhile_followed;
    must_work(keytrustee_register(client, &wanted, &error), &error);
    knows(1);
    assert_int_equal(client->state.left_count, 1);
    assert_string_equal(client->state.left[0].key, keys[0]);
}

static int no_cluster_keys(const char *server, const struct kt_http_request *request, int *sent)
{
    *sent = 0;
    return strcmp(request->path, "/v1/cluster-keys") == 0 ? KT_ERR_NETWORK
                                                          : fake_reach(server, request, sent);
}

static void an_older_keys_statement_that_could_not_be_checked_is_no_false_one(void **state)
{
    struct kt_key_statement one = names(0, 1, 1, NULL);
    struct ktc_line line;
    struct kt_error why = {0};
    char *text = restored_by(0, 17);

    (void)state;
    fake.incarnation = SECOND;
    must_work(get(), &error);
    assert_int_equal(kt_sha256(text, strlen(text), one.restored), 0);
    assert_int_equal(kt_incarnation_parse(SECOND, &one.incarnation), 0);
    show(&one);
    fake.cluster_key = keys[1];
    must_work(get(), &error);
    knows(1);
    fake.network = no_cluster_keys;
    assert_int_equal(ktc_line_read(client, "one", &line, &why), KT_ERR_UNCHECKED);
    assert_non_null(strstr(why.message, "cannot be had"));
    free(text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_client_follows_the_line_to_the_newest_key_and_not_back),
        CASE(a_key_that_no_statement_names_is_not_taken),
        CASE(two_keys_that_follow_one_are_refused),
        CASE(who_knows_the_newer_key_is_told_of_a_fork_at_the_older_and_keeps_it),
        CASE(who_was_led_to_a_false_key_is_told_when_the_true_one_is_shown),
        CASE(the_newer_keys_line_is_followed_in_spite_of_a_fork_at_an_older_one),
        CASE(another_successor_without_the_older_keys_signature_says_nothing),
        CASE(a_gap_in_the_line_is_refused),
        CASE(a_statement_of_another_cluster_or_a_changed_one_is_refused),
        CASE(a_restore_by_the_older_key_is_refused_once_there_is_a_newer_one),
        CASE(who_was_away_takes_the_restore_that_the_newer_key_vouches_for),
        CASE(what_the_older_key_said_in_its_time_holds_and_nothing_else),
        CASE(registering_again_takes_no_key_that_does_not_follow),
        CASE(registering_again_does_not_go_back_from_what_another_process_followed),
        CASE(an_older_keys_statement_that_could_not_be_checked_is_no_false_one),
    };

    return cmocka_run_group_tests(tests, make_keys, fake_key_remove);
}
