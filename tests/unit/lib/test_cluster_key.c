// SPDX-License-Identifier: Apache-2.0
// The step from one cluster key to the next on a node's disk, with a real gpg.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cluster_key.h"
#include "lib/file.h"
#include "tests/unit/lib/temp_dir.h"

static struct kt_paths paths;
static struct kt_cluster_info info = {.node = "kts-01"};
static struct kt_gpg *gpg;
static struct kt_gpg_named first, second;
static char user_id[KT_CLUSTER_USER_ID];
static struct kt_error error;

static void must(int rc)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error.message);
}

static void make(struct kt_gpg_named *named)
{
    struct kt_gpg_named list[4];
    char made[KT_OPENPGP_FINGERPRINT_TEXT];
    size_t count = 0;

    must(kt_gpg_generate(gpg, KT_GPG_CLIENT, user_id, made, &error));
    must(kt_gpg_list_named(gpg, user_id, 1, list, 4, &count, &error));
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].fingerprint, made) == 0)
            *named = list[i];
    assert_string_equal(named->fingerprint, made);
}

static int has_secret(const struct kt_gpg_named *named)
{
    char path[KT_PATH_MAX];

    must(kt_cluster_key_path(&paths, named->keygrip, path, &error));
    return kt_file_exists(path);
}

static int set_up(void **state)
{
    char confdir[300];

    if (temp_dir_setup(state) != 0)
        return -1;
    snprintf(confdir, sizeof confdir, "%s/.keytrustee", temp_dir);
    assert_int_equal(mkdir(confdir, 0700), 0);
    must(kt_paths_resolve(confdir, &paths, &error));
    must(kt_uuid_random(&info.cluster_id));
    kt_cluster_key_user_id(&info.cluster_id, user_id);
    must(kt_gpg_new(paths.gnupg, &gpg, &error));
    make(&first);
    make(&second);
    memcpy(info.openpgp_fingerprint, first.fingerprint, sizeof first.fingerprint);
    must(kt_cluster_info_save(paths.cluster, &info, &error));
    return 0;
}

static int tear_down(void **state)
{
    kt_gpg_free(gpg);
    return temp_dir_teardown(state);
}

static void save_next(const struct kt_gpg_named *named, char *statement)
{
    struct kt_cluster_key_next next = {.statement = statement};

    memcpy(next.fingerprint, named->fingerprint, sizeof next.fingerprint);
    memcpy(next.keygrip, named->keygrip, sizeof next.keygrip);
    must(kt_cluster_key_next_save(&paths, &next, &error));
}

static void the_next_key_is_read_as_it_was_saved(void **state)
{
    struct kt_cluster_key_next next = {.statement = NULL};
    char statement[] = "a statement\n", path[KT_PATH_MAX];

    (void)state;
    assert_int_equal(kt_cluster_key_next_load(&paths, &next, &error), KT_ERR_NOT_FOUND);
    save_next(&second, statement);
    must(kt_cluster_key_next_load(&paths, &next, &error));
    assert_string_equal(next.fingerprint, second.fingerprint);
    assert_string_equal(next.keygrip, second.keygrip);
    assert_string_equal(next.statement, statement);
    kt_cluster_key_next_free(&next);
    save_next(&second, NULL);
    must(kt_cluster_key_next_load(&paths, &next, &error));
    assert_null(next.statement);
    must(kt_path_join(path, sizeof path, paths.confdir, "cluster-key.json"));
    must(kt_file_replace(path, "{\"version\":1,\"fingerprint\":\"../x\"}", 34, 0600, &error));
    assert_int_equal(kt_cluster_key_next_load(&paths, &next, &error), KT_ERR_INVALID);
    assert_non_null(strstr(error.message, path));
}

// Whatever of it had happened before.
static void is_used_wholly(void)
{
    struct kt_cluster_key_next next = {.statement = NULL};
    struct kt_gpg_named list[4];
    struct kt_cluster_info now;
    size_t count = 0;

    must(kt_cluster_key_use(&paths, gpg, second.fingerprint, &error));
    must(kt_cluster_info_load(paths.cluster, &now, &error));
    assert_string_equal(now.openpgp_fingerprint, second.fingerprint);
    assert_string_equal(now.node, info.node);
    assert_true(has_secret(&second));
    assert_false(has_secret(&first));
    assert_int_equal(kt_cluster_key_next_load(&paths, &next, &error), KT_ERR_NOT_FOUND);
    must(kt_gpg_list_named(gpg, user_id, 0, list, 4, &count, &error));
    assert_int_equal(count, 2); // old manifests verify
}

static void the_next_key_takes_the_place_of_the_one_in_use(void **state)
{
    char path[KT_PATH_MAX], name[128];

    (void)state;
    save_next(&second, NULL);
    is_used_wholly();
    snprintf(name, sizeof name, "openpgp-revocs.d/%s.rev", first.fingerprint);
    must(kt_path_join(path, sizeof path, paths.gnupg, name));
    assert_false(kt_file_exists(path));
    is_used_wholly(); // again
}

static void a_step_that_was_stopped_anywhere_is_repeated(void **state)
{
    struct kt_cluster_info now = info;
    char path[KT_PATH_MAX];

    (void)state;
    save_next(&second, NULL);
    memcpy(now.openpgp_fingerprint, second.fingerprint, sizeof second.fingerprint);
    must(kt_cluster_info_save(paths.cluster, &now, &error)); // behind the first file
    is_used_wholly();
    save_next(&second, NULL); // before the last one went
    is_used_wholly();
    must(kt_cluster_key_path(&paths, first.keygrip, path, &error));
    assert_int_equal(kt_file_erase(path, &error), 0); // it is gone
}

static void without_its_secret_half_a_key_is_not_used(void **state)
{
    struct kt_cluster_info now;
    char path[KT_PATH_MAX];

    (void)state;
    must(kt_cluster_key_path(&paths, second.keygrip, path, &error));
    must(kt_file_erase(path, &error));
    assert_int_equal(kt_cluster_key_use(&paths, gpg, second.fingerprint, &error), KT_ERR_NOT_FOUND);
    must(kt_cluster_info_load(paths.cluster, &now, &error));
    assert_string_equal(now.openpgp_fingerprint, first.fingerprint);
    assert_true(has_secret(&first));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_next_key_is_read_as_it_was_saved),
        CASE(the_next_key_takes_the_place_of_the_one_in_use),
        CASE(a_step_that_was_stopped_anywhere_is_repeated),
        CASE(without_its_secret_half_a_key_is_not_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
