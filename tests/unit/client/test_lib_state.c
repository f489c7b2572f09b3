// SPDX-License-Identifier: Apache-2.0
// client.json, the newest history seen, deposits on their way, and how a client is opened.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_cluster.h"

static struct kt_incarnation incarnation(uint32_t number, uint64_t bits)
{
    struct kt_incarnation made = {number, bits};

    return made;
}

static enum ktc_seen observe(struct ktc_state *known, uint32_t number, uint64_t bits,
                             uint64_t epoch)
{
    struct kt_incarnation told = incarnation(number, bits);
    enum ktc_seen seen = KTC_SEEN_SAME;

    assert_int_equal(ktc_state_observe(known, &told, epoch, &seen), 0);
    return seen;
}

static void the_highest_epoch_is_remembered(void **state)
{
    struct ktc_state known = {0};

    (void)state;
    assert_int_equal(observe(&known, 1, 7, 3), KTC_SEEN_NEWER);
    assert_int_equal(observe(&known, 1, 7, 3), KTC_SEEN_SAME);
    assert_int_equal(observe(&known, 1, 7, 5), KTC_SEEN_NEWER);
    assert_int_equal(observe(&known, 1, 7, 4), KTC_SEEN_OLDER);
    assert_int_equal(known.epoch, 5);
    assert_int_equal(observe(&known, 2, 9, 1), KTC_SEEN_RESTORED);
    assert_int_equal(observe(&known, 1, 7, 99), KTC_SEEN_UNDONE);
    assert_int_equal(known.incarnation.number, 2);
    assert_int_equal(known.epoch, 1);
}

static void two_histories_of_one_number_are_refused(void **state)
{
    struct ktc_state known = {.incarnation = {1, 7}, .epoch = 3};
    struct kt_incarnation told = incarnation(1, 8);
    enum ktc_seen seen = KTC_SEEN_SAME;

    (void)state;
    assert_int_equal(ktc_state_observe(&known, &told, 9, &seen), KT_ERR_PROTOCOL);
    assert_int_equal(known.epoch, 3);
}

static void client_json_comes_back_as_it_was_saved(void **state)
{
    struct ktc_state saved = {
        .server_count = 2,
        .servers = {"one", "[::1]:443"},
        .client = "6fa459ea-ee8a-4ca4-894e-db77e160355e",
        .name = "host-1",
        .organisation = "org",
        .fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567",
        .cluster = "11111111-2222-4333-8444-555555555555",
        .cluster_fingerprint = "F123456789ABCDEF0123456789ABCDEF01234567",
        .left_count = 1,
        .left = {{"E123456789ABCDEF0123456789ABCDEF01234567",
                  "F123456789ABCDEF0123456789ABCDEF01234567"}},
        .mark_count = 2,
        .early_mark = "00112233445566778899aabbccddeeff",
        .marks = {"00112233445566778899aabbccddeeff", "10112233445566778899aabbccddeeff"},
        .incarnation = {3, 0xab},
        .epoch = 12};
    struct ktc_state loaded;
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/client.json", fake_folder);
    assert_int_equal(ktc_state_load(path, &loaded, NULL), KT_ERR_NOT_FOUND);
    assert_int_equal(ktc_state_save(path, &saved, NULL), 0);
    assert_int_equal(ktc_state_load(path, &loaded, NULL), 0);
    assert_memory_equal(&saved, &loaded, sizeof saved);
}

static void the_oldest_of_too_many_left_keys_is_forgotten(void **state)
{
    struct ktc_state known = {.cluster_fingerprint = "start"};
    char next[KT_OPENPGP_FINGERPRINT_TEXT];

    (void)state;
    for (int i = 0; i < KTC_LEFT_MAX + 2; i++) {
        snprintf(next, sizeof next, "key %d", i);
        ktc_state_next_key(&known, next);
    }
    assert_int_equal(known.left_count, KTC_LEFT_MAX);
    assert_string_equal(known.left[0].key, "key 1");
    assert_string_equal(known.left[0].next, "key 2");
    assert_string_equal(known.left[KTC_LEFT_MAX - 1].next, next);
    assert_string_equal(known.cluster_fingerprint, next);
}

static void a_damaged_client_json_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{",
                                      "{\"version\":2}",
                                      "{}",
                                      "{\"version\":1,\"servers\":[\"a b\"]}",
                                      "{\"version\":1,\"servers\":[1]}",
                                      "{\"version\":1,\"client\":7}",
                                      "{\"version\":1,\"incarnation\":\"x\"}",
                                      "{\"version\":1,\"left_keys\":[{\"key\":7}]}",
                                      "{\"version\":1,\"ca_marks\":[7]}",
                                      "{\"version\":1,\"epoch\":-1}"};
    struct ktc_state loaded;
    struct kt_error why;
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/client.json", fake_folder);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(kt_file_replace(path, bad[i], strlen(bad[i]), 0600, NULL), 0);
        assert_int_equal(ktc_state_load(path, &loaded, &why), KT_ERR_INVALID);
        assert_non_null(strstr(why.message, path));
    }
}

static void make_pending(struct ktc_pending *pending, const char *handle)
{
    *pending = (struct ktc_pending){.body = KT_BUF_INIT(100)};
    assert_int_equal(kt_uuid_random(&pending->id), 0);
    strcpy(pending->handle, handle);
    assert_int_equal(kt_buf_put(&pending->body, "cipher\n\ntext", 12), 0);
    assert_int_equal(kt_sha256("cipher\n\ntext", 12, pending->sha256), 0);
}

static void a_pending_deposit_comes_back_as_it_was_saved(void **state)
{
    struct ktc_pending saved, loaded = {0};
    struct kt_uuid ids[4];
    size_t count = 0;

    (void)state;
    make_pending(&saved, "a/b");
    strcpy(saved.policy, "KT-Max-Retrievals: 7\nKT-Justification: required\n");
    assert_int_equal(ktc_pending_load(client, &saved.id, &loaded, NULL), KT_ERR_NOT_FOUND);
    assert_int_equal(ktc_pending_save(client, &saved, NULL), 0);
    assert_int_equal(ktc_pending_save(client, &saved, NULL), KT_ERR_EXISTS);
    assert_int_equal(ktc_pending_load(client, &saved.id, &loaded, NULL), 0);
    assert_string_equal(loaded.handle, "a/b");
    assert_string_equal(loaded.policy, saved.policy);
    assert_int_equal(kt_buf_left(&loaded.body), 12);
    assert_memory_equal(kt_buf_ptr(&loaded.body), "cipher\n\ntext", 12);
    assert_int_equal(ktc_pending_list(client, ids, 4, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_memory_equal(&ids[0], &saved.id, sizeof saved.id);
    ktc_pending_remove(client, &saved.id);
    ktc_pending_remove(client, &saved.id);
    assert_string_equal(warned, "");
    assert_int_equal(ktc_pending_list(client, ids, 4, &count, NULL), 0);
    assert_int_equal(count, 0);
    ktc_pending_free(&saved);
    ktc_pending_free(&loaded);
}

static void a_damaged_pending_deposit_is_refused(void **state)
{
    struct ktc_pending saved, loaded = {0};
    struct kt_buf file = KT_BUF_INIT(4096);
    char path[128], name[KT_UUID_TEXT];

    (void)state;
    make_pending(&saved, "h");
    strcpy(saved.policy, "KT-Max-Retrievals: 7\n");
    assert_int_equal(ktc_pending_save(client, &saved, NULL), 0);
    kt_uuid_format(&saved.id, name);
    snprintf(path, sizeof path, "%s/conf/pending/%s", fake_folder, name);
    assert_int_equal(kt_file_read(path, &file, NULL), 0);
    for (size_t n = 0; n < file.len; n++) { // cut anywhere
        assert_int_equal(kt_file_replace(path, file.data, n, 0600, NULL), 0);
        assert_int_equal(ktc_pending_load(client, &saved.id, &loaded, NULL), KT_ERR_INVALID);
    }
    file.data[file.len - 1] ^= 1;
    assert_int_equal(kt_file_replace(path, file.data, file.len, 0600, NULL), 0);
    assert_int_equal(ktc_pending_load(client, &saved.id, &loaded, NULL), KT_ERR_INVALID);
    kt_buf_free(&file);
    ktc_pending_free(&saved);
}

static void the_confdir_is_named_by_option_environment_or_home(void **state)
{
    char path[KT_PATH_MAX];
    const char *home = getenv("HOME");
    char *kept = home ? strdup(home) : NULL;

    (void)state;
    setenv("KEYTRUSTEE_CONFDIR", "/env", 1);
    assert_int_equal(ktc_confdir_default(path, sizeof path, NULL), 0);
    assert_string_equal(path, "/env");
    unsetenv("KEYTRUSTEE_CONFDIR");
    setenv("HOME", "/home/x", 1);
    assert_int_equal(ktc_confdir_default(path, sizeof path, NULL), 0);
    assert_string_equal(path, geteuid() == 0 ? "/var/lib/keytrustee-client"
                                             : "/home/x/.config/keytrustee");
    if (kept != NULL)
        setenv("HOME", kept, 1);
    free(kept);
}

static void text_of_a_server_cannot_drive_a_terminal(void **state)
{
    char text[] = "a\033[31mb\r\n\x7f \xc2\x9b \xc3\xa4";

    (void)state;
    ktc_printable(text);
    assert_string_equal(text, "a?[31mb??? ?? \xc3\xa4");
}

static void an_older_callers_options_are_read_up_to_their_size(void **state)
{
    struct keytrustee_options options = {.size = offsetof(struct keytrustee_options, timeout_ms),
                                         .confdir = "/nowhere",
                                         .timeout_ms = 12345};
    struct keytrustee *opened = NULL;

    (void)state;
    assert_int_equal(keytrustee_open(&options, &opened, NULL), KEYTRUSTEE_OK);
    assert_string_equal(opened->confdir, "/nowhere");
    assert_int_equal(opened->timeout_ms, 30000);
    keytrustee_close(opened);
}

static void an_epoch_seen_by_another_process_is_not_forgotten(void **state)
{
    struct keytrustee *other = NULL;
    struct keytrustee_error error;
    struct keytrustee_options options = {.size = sizeof options, .warn = fake_warn};
    struct ktc_state disk;
    char confdir[96];

    (void)state;
    snprintf(confdir, sizeof confdir, "%s/conf", fake_folder);
    options.confdir = confdir;
    must_work(keytrustee_open(&options, &other, &error), &error);
    fake.epoch = 9;
    must_work(keytrustee_put(client, "h", "s", 1, NULL, NULL, &error), &error);
    fake.epoch = 4; // newer than `other` knows, older than what is on disk
    must_work(keytrustee_put(other, "h", "s", 1, NULL, NULL, &error), &error);
    assert_int_equal(other->state.epoch, 9);
    assert_int_equal(ktc_state_load(fake_path("client.json"), &disk, NULL), 0);
    assert_int_equal(disk.epoch, 9);
    keytrustee_close(other);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_setup, fake_teardown)
#define REGISTERED(function)                                                                       \
    cmocka_unit_test_setup_teardown(function, fake_registered, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_highest_epoch_is_remembered),
        cmocka_unit_test(two_histories_of_one_number_are_refused),
        CASE(client_json_comes_back_as_it_was_saved),
        CASE(the_oldest_of_too_many_left_keys_is_forgotten),
        CASE(a_damaged_client_json_is_refused),
        REGISTERED(a_pending_deposit_comes_back_as_it_was_saved),
        REGISTERED(a_damaged_pending_deposit_is_refused),
        cmocka_unit_test(the_confdir_is_named_by_option_environment_or_home),
        cmocka_unit_test(text_of_a_server_cannot_drive_a_terminal),
        cmocka_unit_test(an_older_callers_options_are_read_up_to_their_size),
        REGISTERED(an_epoch_seen_by_another_process_is_not_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
