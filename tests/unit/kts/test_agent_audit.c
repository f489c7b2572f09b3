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

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(half_a_head_is_cut_off_at_the_start_and_the_next_is_whole),
        CASE(head_that_did_not_fit_on_the_disk_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
