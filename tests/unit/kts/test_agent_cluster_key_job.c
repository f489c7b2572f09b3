// SPDX-License-Identifier: Apache-2.0
// What a node keeps of a cluster key that is handed to it, and which one it makes: with a real gpg.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>

#include <jansson.h>

#include "kts/agent_cluster_key.h"
#include "kts/agent_seal.h"
#include "lib/encode.h"
#include "lib/file.h"
#include "lib/pki.h"
#include "tests/unit/lib/key_lines.h"
#include "tests/unit/lib/temp_dir.h"

// Two homes: the active's, which has all keys, and a passive's, which has the first.
static struct kt_paths active, passive;
static struct kt_cluster_info info = {.node = "kts-01"};
static struct lines lines;
static X509 *ca;
static char root[KT_SHA256_TEXT];
static struct kt_error error;

static void must(int rc)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, error.message);
}

static void make_home(const char *name, EVP_PKEY *key, struct kt_paths *paths)
{
    char dir[300];

    snprintf(dir, sizeof(dir), "%s/%s", temp_dir, name);
    assert_int_equal(mkdir(dir, 0700), 0);
    snprintf(dir, sizeof(dir), "%s/%s/.keytrustee", temp_dir, name);
    assert_int_equal(mkdir(dir, 0700), 0);
    must(kt_paths_resolve(dir, paths, &error));
    snprintf(dir, sizeof(dir), "%s/%s/.keytrustee/ca", temp_dir, name);
    assert_int_equal(mkdir(dir, 0700), 0);
    must(kt_pki_key_save(paths->ca_key, key, &error));
    must(kt_pki_cert_save(paths->ca_cert, ca, NULL, &error));
    must(kt_cluster_info_save(paths->cluster, &info, &error));
}

static int set_up(void **state)
{
    uint8_t sha256[KT_SHA256_LEN];
    EVP_PKEY *key = NULL;

    if (temp_dir_setup(state) != 0)
        return -1;
    must(kt_uuid_random(&info.cluster_id));
    must(kt_pki_new_p256(&key));
    must(kt_pki_make_ca(key, "test", 86400, &ca));
    must(kt_pki_cert_sha256(ca, sha256));
    kt_hex_encode(sha256, sizeof(sha256), root);
    memset(info.openpgp_fingerprint, 'A', 40);
    make_home("active", key, &active);
    make_home("passive", key, &passive);
    EVP_PKEY_free(key);
    must(lines_make(&lines, active.gnupg, &info.cluster_id, &error));
    memcpy(info.openpgp_fingerprint, lines.keys[0], 41);
    return 0;
}

static int tear_down(void **state)
{
    X509_free(ca);
    lines_free(&lines);
    return temp_dir_teardown(state);
}

static int run(kts_job_function *function, const struct kt_paths *paths, const json_t *args,
               json_t **result)
{
    struct kts_start start = {.paths = paths, .info = &info};
    struct kts_job job = {.start = &start, .ca_cert = ca, .fd = -1};

    *result = NULL;
    error = (struct kt_error){0};
    return function(&job, args, result, &error);
}

// As cluster_key.hand of the active answers, with the statement that names it.
static json_t *handed(const char *fingerprint, const char *statement)
{
    json_t *args = json_pack("{s:s, s:s}", "fingerprint", fingerprint, "to", root), *answer;

    must(run(kts_job_cluster_key_hand, &active, args, &answer));
    json_decref(args);
    json_object_set_new(answer, "listed", json_false());
    if (statement)
        json_object_set_new(answer, "statement", json_string(statement));
    return answer;
}

static int take(json_t *args)
{
    json_t *result;
    int rc = run(kts_job_cluster_key_take, &passive, args, &result);

    json_decref(result);
    return rc;
}

static const char *keygrip_of(const json_t *args)
{
    return json_string_value(json_object_get(args, "keygrip"));
}

// The passive's file of a secret half; NULL: there is none. The caller frees.
static char *file_of(const char *keygrip)
{
    char path[KT_PATH_MAX], *text = NULL;

    must(kt_cluster_key_path(&passive, keygrip, path, &error));
    return kt_file_read_text(path, KT_CLUSTER_KEY_FILE_MAX, &text, NULL) == 0 ? text : NULL;
}

static int has_next(const struct kt_paths *paths, const char *fingerprint)
{
    struct kt_cluster_key_next next = {.statement = NULL};
    int has = kt_cluster_key_next_load(paths, &next, NULL) == 0 &&
              strcmp(next.fingerprint, fingerprint) == 0;

    kt_cluster_key_next_free(&next);
    return has;
}

static void the_key_that_the_one_in_use_names_is_kept(void **state)
{
    json_t *args = handed(lines.keys[1], lines.statements[0]);
    char *file;

    (void)state;
    must(take(args));
    file = file_of(keygrip_of(args));
    assert_non_null(file);
    assert_true(has_next(&passive, lines.keys[1]));
    must(take(args)); // again
    free(file);
    json_decref(args);
}

static void a_key_that_another_one_names_is_refused(void **state)
{
    json_t *args = handed(lines.keys[2], lines.statements[1]);

    (void)state;
    assert_int_equal(take(args), KT_ERR_SIGNATURE);
    json_object_set_new(args, "statement", json_string(lines.statements[0]));
    assert_int_equal(take(args), KT_ERR_SIGNATURE);
    json_object_del(args, "statement");
    assert_int_not_equal(take(args), 0);
    assert_null(file_of(keygrip_of(args)));
    assert_false(has_next(&passive, lines.keys[2]));
    json_decref(args);
}

// A secret half sealed under the name of another key.
static char *sealed(const char *about, const char *bytes)
{
    char *text = malloc(4 * (strlen(bytes) + 3)), *out = NULL;

    kt_base64_encode(bytes, strlen(bytes), text);
    must(kts_seal_for(ca, root, "keytrustee cluster key", about, text, &out, &error));
    free(text);
    return out;
}

static void what_is_not_both_halves_of_a_key_leaves_nothing(void **state)
{
    json_t *args = handed(lines.keys[1], lines.statements[0]), *other = handed(lines.other, NULL);
    char *garbage = sealed(lines.keys[1], "(protected-private-key nothing)");

    (void)state;
    json_object_set_new(args, "sealed", json_string(garbage));
    assert_int_not_equal(take(args), 0);
    assert_null(file_of(keygrip_of(args)));
    assert_false(has_next(&passive, lines.keys[1]));
    json_object_set(args, "public", json_object_get(other, "public"));
    assert_int_equal(take(args), KT_ERR_INVALID);
    assert_null(file_of(keygrip_of(args)));
    free(garbage);
    json_decref(args);
    json_decref(other);
}

static void a_key_that_works_is_not_overwritten(void **state)
{
    json_t *args = handed(lines.keys[1], lines.statements[0]);
    char *garbage = sealed(lines.keys[1], "(protected-private-key nothing)"), *before, *after;

    (void)state;
    must(take(args));
    before = file_of(keygrip_of(args));
    json_object_set_new(args, "sealed", json_string(garbage));
    must(take(args));
    after = file_of(keygrip_of(args));
    assert_non_null(after);
    assert_string_equal(before, after);
    free(before);
    free(after);
    free(garbage);
    json_decref(args);
}

static void nothing_takes_the_place_of_the_key_in_use(void **state)
{
    json_t *args = handed(lines.keys[0], NULL);

    (void)state;
    json_object_set_new(args, "listed", json_true());
    must(take(args));
    assert_null(file_of(keygrip_of(args)));
    json_decref(args);
}

static json_t *make(int fresh)
{
    json_t *args = json_pack("{s:[s], s:s, s:i, s:s, s:s, s:s, s:b}", "line", "", "newest", "",
                             "number", 1, "before", "", "incarnation", "1.0123456789abcdef",
                             "restored", "", "fresh", fresh),
           *result;

    must(run(kts_job_cluster_key_make, &active, args, &result));
    json_decref(args);
    return result;
}

// Keys of the cluster's name lie in the keyring, with their secret halves, and nobody named them.
static void a_key_is_made_and_not_found_in_the_keyring(void **state)
{
    json_t *first = make(1), *again = make(1);
    const char *made = json_string_value(json_object_get(first, "fingerprint"));

    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_string_not_equal(made, lines.keys[i]);
    assert_string_not_equal(made, lines.other);
    assert_true(has_next(&active, made));
    // What this node has written down is gone on with.
    assert_string_equal(json_string_value(json_object_get(again, "fingerprint")), made);
    json_decref(first);
    json_decref(again);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_key_that_the_one_in_use_names_is_kept),
        CASE(a_key_that_another_one_names_is_refused),
        CASE(what_is_not_both_halves_of_a_key_leaves_nothing),
        CASE(a_key_that_works_is_not_overwritten),
        CASE(nothing_takes_the_place_of_the_key_in_use),
        CASE(a_key_is_made_and_not_found_in_the_keyring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
