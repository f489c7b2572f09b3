// SPDX-License-Identifier: Apache-2.0
// The metrics: their form, their values, and their lines in docs/protocol.md.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kts/metrics.h"
#include "lib/file.h"

static struct kts_status status;
static struct kt_buf out;

static int set_up(void **state)
{
    (void)state;
    memset(&status, 0, sizeof(status));
    out = (struct kt_buf)KT_BUF_INIT(65536);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kt_buf_free(&out);
    return 0;
}

static const char *text(void)
{
    assert_int_equal(kts_metrics_put(&status, &out), 0);
    assert_int_equal(kt_buf_put(&out, "", 1), 0);
    return (const char *)kt_buf_ptr(&out);
}

static int has_line(const char *all, const char *line)
{
    const char *p = all;
    size_t n = strlen(line);

    while ((p = strstr(p, line)) != NULL) {
        if ((p == all || p[-1] == '\n') && p[n] == '\n')
            return 1;
        p += n;
    }
    return 0;
}

static void values_are_those_of_the_shared_status(void **state)
{
    const char *all;

    (void)state;
    atomic_store(&status.role, KTS_ROLE_PASSIVE);
    atomic_store(&status.epoch, 7);
    atomic_store(&status.members, 2);
    atomic_store(&status.w, 1);
    atomic_store(&status.log_index, UINT64_C(9007199254740993));
    atomic_store(&status.requests, 12);
    atomic_store(&status.gave_in_doubt, 3);
    atomic_store(&status.lag_us, 1500000);
    atomic_store(&status.last_commit_us, INT64_C(1700000000000001));
    atomic_store(kts_status_connections_of(&status, 3), 4);
    atomic_store(&status.backup_made_us, INT64_C(1700000001000002));
    atomic_store(&status.backup_bytes, 4096);
    atomic_store(&status.backup_deposits, 12);
    atomic_store(&status.backup_verified_us, INT64_C(1700000002000000));
    atomic_store(&status.backup_failed_us, INT64_C(1700000003000000));
    atomic_store(&status.receipt_not_after_us, INT64_C(1800000000000000));
    atomic_store(&status.clients_ending, 70000);
    atomic_store(&status.operators_ending, 2);
    all = text();
    assert_true(
        has_line(all, "keytrustee_receipt_key_not_after_timestamp_seconds 1800000000.000000"));
    assert_true(has_line(all, "keytrustee_client_certificates_ending 70000"));
    assert_true(has_line(all, "keytrustee_operator_certificates_ending 2"));
    assert_true(has_line(all, "keytrustee_role{role=\"passive\"} 1"));
    assert_true(has_line(all, "keytrustee_role{role=\"active\"} 0"));
    assert_true(has_line(all, "keytrustee_epoch 7"));
    assert_true(has_line(all, "keytrustee_members_streaming 2"));
    assert_true(has_line(all, "keytrustee_members_required 1"));
    assert_true(has_line(all, "keytrustee_deposit_log_index 9007199254740993"));
    assert_true(has_line(all, "keytrustee_requests_total 12"));
    assert_true(has_line(all, "keytrustee_groups_in_doubt 3"));
    assert_true(has_line(all, "keytrustee_replication_lag_seconds 1.500000"));
    assert_true(has_line(all, "keytrustee_last_commit_timestamp_seconds 1700000000.000001"));
    assert_true(has_line(all, "keytrustee_connections 4"));
    assert_true(
        has_line(all, "keytrustee_backup_last_success_timestamp_seconds 1700000001.000002"));
    assert_true(has_line(all, "keytrustee_backup_last_bytes 4096"));
    assert_true(has_line(all, "keytrustee_backup_last_deposits 12"));
    assert_true(
        has_line(all, "keytrustee_backup_last_verified_timestamp_seconds 1700000002.000000"));
    assert_true(
        has_line(all, "keytrustee_backup_last_failure_timestamp_seconds 1700000003.000000"));
    assert_true(has_line(all, "keytrustee_restore_last_proven_timestamp_seconds 0.000000"));
}

static void clock_of_another_node_gives_no_malformed_number(void **state)
{
    (void)state;
    atomic_store(&status.lag_us, -5);
    assert_true(has_line(text(), "keytrustee_replication_lag_seconds 0.000000"));
}

// What `promtool check metrics` demands.
static void names_and_types_are_as_prometheus_wants_them(void **state)
{
    size_t count;
    const struct kts_metric *all = kts_metrics_all(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(all[i].name);
        int is_total = n > 6 && strcmp(all[i].name + n - 6, "_total") == 0;
        assert_int_equal(strncmp(all[i].name, "keytrustee_", 11), 0);
        assert_int_equal(strspn(all[i].name, "abcdefghijklmnopqrstuvwxyz_"), n);
        assert_int_equal(is_total, strcmp(all[i].type, "counter") == 0);
        assert_true(is_total || strcmp(all[i].type, "gauge") == 0);
        assert_true(all[i].is_time == (strstr(all[i].name, "_seconds") != NULL));
        assert_null(strchr(all[i].help, '\n'));
        assert_null(strchr(all[i].help, '\\'));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(all[i].name, all[k].name);
    }
}

static void every_metric_stands_in_the_document_as_it_is(void **state)
{
    struct kt_error error = {0};
    size_t count;
    const struct kts_metric *all = kts_metrics_all(&count);
    char *doc = NULL;

    (void)state;
    assert_int_equal(kt_file_read_text(KT_SOURCE_DIR "/docs/protocol.md", 1 << 20, &doc, &error),
                     0);
    for (size_t i = 0; i < count; i++) {
        char line[512];
        snprintf(line, sizeof(line), "| `%s` | %s | %s |", all[i].name, all[i].type, all[i].help);
        if (!has_line(doc, line))
            fail_msg("docs/protocol.md needs this line:\n%s", line);
    }
    free(doc);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(values_are_those_of_the_shared_status),
        CASE(clock_of_another_node_gives_no_malformed_number),
        CASE(names_and_types_are_as_prometheus_wants_them),
        CASE(every_metric_stands_in_the_document_as_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
