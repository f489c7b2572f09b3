// SPDX-License-Identifier: Apache-2.0
// The file of signed audit heads beside the log: what a crash or a full disk leaves of a head is cut
// off, and nothing whole is.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "kts/agent_audit.h"
#include "lib/audit_heads.h"
#include "tests/unit/kts/agent_fixture.h"

static char heads_path[KT_PATH_MAX];

static int set_up(void **state)
{
    if (fixture_set_up(state) || mkdir(temp_path("audit"), 0700))
        return -1;
    snprintf(fixture.paths.audit, KT_PATH_MAX, "%s", temp_path("audit"));
    snprintf(fixture.paths.node_key, KT_PATH_MAX, "%s/.keytrustee/tls/node-key.pem", temp_dir);
    return kt_path_join(heads_path, sizeof(heads_path), fixture.paths.audit, KT_AUDIT_HEADS_NAME);
}

// The agent runs for a moment while the log reaches `seq`; at its end it writes the head down.
static void sign_at(uint64_t seq)
{
    const uint8_t hash[KT_SHA256_LEN] = {(uint8_t)seq};
    struct kt_error error = {0};

    kts_status_set_head(&fixture.audit_pages.writable->head, 1, seq, hash);
    if (kts_agent_audit_start(&fixture.agent, &error))
        fail_msg("%s", error.message);
    kts_agent_audit_stop(&fixture.agent);
}

// How many whole heads are in the file, which must have nothing else.
static size_t heads_in_file(void)
{
    struct kt_audit_heads heads = {0};
    size_t n;

    assert_int_equal(kt_audit_heads_load(heads_path, &heads, NULL), 0);
    assert_false(heads.torn || heads.damaged);
    n = heads.count;
    kt_audit_heads_free(&heads);
    return n;
}

static off_t file_size(void)
{
    struct stat st;

    assert_int_equal(stat(heads_path, &st), 0);
    return st.st_size;
}

static void half_a_head_is_cut_off_at_the_start_and_the_next_is_whole(void **state)
{
    off_t whole;

    (void)state;
    sign_at(5);
    whole = file_size();
    sign_at(6);
    assert_int_equal(heads_in_file(), 2);
    for (off_t cut = whole + 1; cut < whole + 200; cut += 33) {
        assert_int_equal(truncate(heads_path, cut), 0);
        sign_at(7);
        assert_int_equal(heads_in_file(), 2); // 5 and 7
        assert_int_equal(truncate(heads_path, whole), 0);
        assert_int_equal(heads_in_file(), 1);
        sign_at(6);
    }
}

static void head_that_did_not_fit_on_the_disk_leaves_nothing_behind(void **state)
{
    struct rlimit before, limit;
    off_t whole;

    (void)state;
    sign_at(5);
    whole = file_size();
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)whole + 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    sign_at(6);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(file_size(), whole);
    assert_int_equal(heads_in_file(), 1);
    sign_at(7);
    assert_int_equal(heads_in_file(), 2);
}

// As years leave it: one head of each of `files` audit files. Nobody checks these signatures.
static void write_many(uint32_t files)
{
    struct kt_audit_head head = {.certificate_len = 900, .signature_len = 70};
    FILE *file = fopen(heads_path, "w");
    char text[KT_AUDIT_HEAD_TEXT];

    assert_non_null(file);
    snprintf(head.member, sizeof(head.member), OWN);
    for (head.file = 1; head.file <= files; head.file++) {
        head.seq = 1000 * (uint64_t)head.file;
        assert_int_equal(kt_audit_head_format(&head, text), 0);
        assert_true(fputs(text, file) >= 0);
    }
    assert_int_equal(fclose(file), 0);
}

// The heads of those files that are still there, which must be the latest of them.
static size_t files_in_file(uint32_t newest)
{
    struct kt_audit_heads heads = {0};
    size_t n;

    assert_int_equal(kt_audit_heads_load(heads_path, &heads, NULL), 0);
    assert_false(heads.torn || heads.damaged || heads.cut);
    for (n = 0; n + 1 < heads.count; n++) // the last is the one that was just signed
        assert_int_equal(heads.heads[n].file, newest - (heads.count - 2) + n);
    kt_audit_heads_free(&heads);
    return n;
}

static void heads_of_many_audit_files_are_kept_of_the_latest_ones(void **state)
{
    (void)state;
    write_many(1700);
    assert_true(file_size() > 2 << 20);
    sign_at(5);
    assert_in_range(files_in_file(1700), 400, 512);
    assert_true(file_size() < 2 << 20);
}

static void a_file_of_heads_beyond_its_bound_is_not_taken_for_damage(void **state)
{
    char aside[KT_PATH_MAX + 16];

    (void)state;
    write_many(4000);
    assert_true(file_size() > (off_t)KT_AUDIT_HEADS_FILE_MAX);
    sign_at(5);
    assert_in_range(files_in_file(4000), 400, 512);
    assert_true(file_size() < 2 << 20);
    snprintf(aside, sizeof(aside), "%s.damaged", heads_path);
    assert_false(kt_file_exists(aside));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(half_a_head_is_cut_off_at_the_start_and_the_next_is_whole),
        CASE(head_that_did_not_fit_on_the_disk_leaves_nothing_behind),
        CASE(heads_of_many_audit_files_are_kept_of_the_latest_ones),
        CASE(a_file_of_heads_beyond_its_bound_is_not_taken_for_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
