// SPDX-License-Identifier: Apache-2.0
// cluster.json: what is saved is loaded, anything else is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/cluster_info.h"
#include "tests/unit/lib/temp_dir.h"

#define FINGERPRINT "0123456789ABCDEF0123456789ABCDEF01234567"
#define ID          "123e4567-e89b-42d3-a456-426614174000"
#define GOOD                                                                                       \
    "{\"version\": 1, \"cluster_id\": \"" ID "\", \"node\": \"node-1\", "                          \
    "\"openpgp_fingerprint\": \"" FINGERPRINT "\"}"

static struct kt_cluster_info info;
static struct kt_error error;

static void saved_info_is_loaded_again(void **state)
{
    struct kt_cluster_info saved = {.node = "node-1", .openpgp_fingerprint = FINGERPRINT};

    (void)state;
    assert_int_equal(kt_uuid_parse(ID, &saved.cluster_id), 0);
    assert_int_equal(kt_cluster_info_save(temp_path("cluster.json"), &saved, &error), 0);
    assert_int_equal(kt_cluster_info_load(temp_path("cluster.json"), &info, &error), 0);
    assert_memory_equal(&info.cluster_id, &saved.cluster_id, sizeof(info.cluster_id));
    assert_string_equal(info.node, "node-1");
    assert_string_equal(info.openpgp_fingerprint, FINGERPRINT);
    assert_true(info.openpgp_key_id == UINT64_C(0x89ABCDEF01234567));
}

static void fingerprint_becomes_upper_case(void **state)
{
    (void)state;
    const char *path = temp_text("f", "{\"version\":1,\"cluster_id\":\"" ID
                                      "\",\"node\":\"n\",\"openpgp_fingerprint\":"
                                      "\"0123456789abcdef0123456789abcdef01234567\"}");
    assert_int_equal(kt_cluster_info_load(path, &info, &error), 0);
    assert_string_equal(info.openpgp_fingerprint, FINGERPRINT);
}

static void missing_file_is_not_initialised(void **state)
{
    (void)state;
    assert_int_equal(kt_cluster_info_load(temp_path("none"), &info, &error),
                     KT_ERR_NOT_INITIALISED);
    assert_non_null(strstr(error.hint, "ktadmin init"));
}

static void file_of_wrong_form_is_invalid(void **state)
{
    static const char *const WRONG[] = {
        "",
        "[]",
        "{}",
        "{\"version\": 1}",
        "{\"version\": 2, \"cluster_id\": \"" ID
        "\", \"node\": \"n\", \"openpgp_fingerprint\": \"" FINGERPRINT "\"}",
        "{\"version\": 1, \"cluster_id\": \"x\", \"node\": \"n\", \"openpgp_fingerprint\": "
        "\"" FINGERPRINT "\"}",
        "{\"version\": 1, \"cluster_id\": \"" ID
        "\", \"node\": \"N\", \"openpgp_fingerprint\": \"" FINGERPRINT "\"}",
        "{\"version\": 1, \"cluster_id\": \"" ID
        "\", \"node\": \"abcdefghijklmnopq\", \"openpgp_fingerprint\": \"" FINGERPRINT "\"}",
        "{\"version\": 1, \"cluster_id\": \"" ID
        "\", \"node\": \"n\", \"openpgp_fingerprint\": \"0123\"}",
        "{\"version\": 1, \"cluster_id\": \"" ID "\", \"node\": \"n\"}",
        "{\"version\": 1, \"cluster_id\": \"" ID
        "\", \"node\": \"n\", \"openpgp_fingerprint\": \"" FINGERPRINT "\", \"x\": 1}",
    };

    (void)state;
    memset(&info, 0, sizeof(info));
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        if (kt_cluster_info_load(temp_text("f", WRONG[i]), &info, &error) != KT_ERR_INVALID)
            fail_msg("accepted: %s", WRONG[i]);
        assert_non_null(strstr(error.message, "/f'"));
        assert_int_equal(info.node[0], '\0');
    }
    assert_int_equal(kt_cluster_info_load(temp_text("f", GOOD), &info, &error), 0);
}

static void huge_file_is_too_large(void **state)
{
    static char text[5000];

    (void)state;
    memset(text, ' ', sizeof(text) - 1);
    assert_int_equal(kt_cluster_info_load(temp_text("f", text), &info, &error), KT_ERR_TOO_LARGE);
}

static void info_of_wrong_form_is_not_saved(void **state)
{
    struct kt_cluster_info bad = {.node = "Node", .openpgp_fingerprint = FINGERPRINT};

    (void)state;
    assert_int_equal(kt_cluster_info_save(temp_path("f"), &bad, &error), KT_ERR_INVALID);
    struct kt_cluster_info worse = {.node = "node", .openpgp_fingerprint = "12"};
    assert_int_equal(kt_cluster_info_save(temp_path("f"), &worse, &error), KT_ERR_INVALID);
    assert_int_equal(access(temp_path("f"), F_OK), -1);
}

static void save_into_a_missing_folder_fails(void **state)
{
    struct kt_cluster_info good = {.node = "node", .openpgp_fingerprint = FINGERPRINT};

    (void)state;
    assert_int_equal(kt_cluster_info_save(temp_path("none/f"), &good, &error), KT_ERR_SYSTEM);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(saved_info_is_loaded_again),       CASE(fingerprint_becomes_upper_case),
        CASE(missing_file_is_not_initialised),  CASE(file_of_wrong_form_is_invalid),
        CASE(huge_file_is_too_large),           CASE(info_of_wrong_form_is_not_saved),
        CASE(save_into_a_missing_folder_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
