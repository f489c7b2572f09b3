// SPDX-License-Identifier: Apache-2.0
// The files of deposits on their way.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/client/fake_cluster.h"

#define POLICY "KT-Max-Retrievals: 2\nKT-Justification: required\n"
#define GROUP  "6f5e4d3c-0000-4000-8000-000000000001"

static struct kt_error error;
static const char *const path = "pending/01020300-0000-0000-0000-000000000000";
static const struct kt_uuid id = {{1, 2, 3}};

static void save(const char *policy, const char *group)
{
    struct ktc_pending pending = {.id = id, .handle = "a", .body = KT_BUF_INIT(64)};

    snprintf(pending.policy, sizeof pending.policy, "%s", policy);
    snprintf(pending.key_group, sizeof pending.key_group, "%s", group);
    assert_int_equal(kt_buf_put(&pending.body, "ciphertext", 10), 0);
    assert_int_equal(kt_sha256("ciphertext", 10, pending.sha256), 0);
    assert_int_equal(ktc_pending_save(client, &pending, &error), 0);
    ktc_pending_free(&pending);
}

static void what_is_saved_is_loaded_again(void **state)
{
    static const char *const each[][2] = {{"", ""}, {POLICY, ""}, {"", GROUP}, {POLICY, GROUP}};

    (void)state;
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
        struct ktc_pending found = {.handle = ""};
        save(each[i][0], each[i][1]);
        assert_int_equal(ktc_pending_load(client, &id, &found, &error), 0);
        assert_string_equal(found.handle, "a");
        assert_string_equal(found.policy, each[i][0]);
        assert_string_equal(found.key_group, each[i][1]);
        assert_int_equal(kt_buf_left(&found.body), 10);
        ktc_pending_free(&found);
        ktc_pending_remove(client, &id);
    }
}

static void a_line_with_a_zero_byte_is_damage(void **state)
{
    struct ktc_pending found = {.handle = ""};
    struct kt_buf file = KT_BUF_INIT(4096);
    char bytes[4096], *where;
    size_t n;

    (void)state;
    save(POLICY, GROUP);
    assert_int_equal(kt_file_read(fake_path(path), &file, &error), 0);
    n = kt_buf_left(&file);
    memcpy(bytes, kt_buf_ptr(&file), n);
    where = memmem(bytes, n, "KT-Max", 6);
    assert_non_null(where);
    *where = '\0';
    assert_int_equal(kt_file_replace(fake_path(path), bytes, n, 0600, &error), 0);
    assert_int_equal(ktc_pending_load(client, &id, &found, &error), KT_ERR_INVALID);
    kt_buf_free(&file);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, fake_registered, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_saved_is_loaded_again),
        CASE(a_line_with_a_zero_byte_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
