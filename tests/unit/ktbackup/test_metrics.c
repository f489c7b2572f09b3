// SPDX-License-Identifier: Apache-2.0
// The textfile of metrics: what node_exporter reads, and that it is what the server's metrics are.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ktbackup/metrics.h"
#include "lib/file.h"
#include "tests/unit/lib/temp_dir.h"

static char *write_and_read(const char *path, const struct kt_backup_state *state)
{
    struct kt_error error = {0};
    char *text = NULL;

    if (ktb_metrics_write(path, state, &error) != 0 ||
        kt_file_read_text(path, 65536, &text, &error) != 0)
        fail_msg("%s", error.message);
    return text;
}

static void must_have(const char *text, const char *line)
{
    if (!strstr(text, line))
        fail_msg("'%s' is not in: %s", line, text);
}

static void state_of_a_backup_is_written_as_gauges_in_seconds(void **state)
{
    static struct kt_backup_state backup = {.made_us = 1795327903123456,
                                            .bytes = 2147614720,
                                            .deposits = 1200345,
                                            .failed_us = 1795327904000007,
                                            .verified_us = 1795327905000000,
                                            .proven_us = 1795327906500000};
    char *text = write_and_read(temp_path("a.prom"), &backup);

    (void)state;
    must_have(text, "\nkeytrustee_backup_last_success_timestamp_seconds 1795327903.123456\n");
    must_have(text, "\nkeytrustee_backup_last_bytes 2147614720\n");
    must_have(text, "\nkeytrustee_backup_last_deposits 1200345\n");
    must_have(text, "\nkeytrustee_backup_last_verified_timestamp_seconds 1795327905.000000\n");
    must_have(text, "\nkeytrustee_backup_last_failure_timestamp_seconds 1795327904.000007\n");
    must_have(text, "\nkeytrustee_restore_last_proven_timestamp_seconds 1795327906.500000\n");
    free(text);
}

static void what_never_happened_is_zero(void **state)
{
    static struct kt_backup_state nothing;
    char *text = write_and_read(temp_path("b.prom"), &nothing);

    (void)state;
    must_have(text, "\nkeytrustee_backup_last_success_timestamp_seconds 0.000000\n");
    must_have(text, "\nkeytrustee_backup_last_bytes 0\n");
    free(text);
}

// The page has the server's metrics, and a test of the server compares those with it.
static void every_metric_is_one_of_the_servers_with_its_type_and_text(void **state)
{
    static struct kt_backup_state nothing;
    char *text = write_and_read(temp_path("c.prom"), &nothing), *page = NULL, *save = NULL;
    struct kt_error error = {0};
    size_t found = 0, values = 0;

    (void)state;
    if (kt_file_read_text(KT_SOURCE_DIR "/docs/protocol.md", 1 << 20, &page, &error) != 0)
        fail_msg("%s", error.message);
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[128], row[512], type[16];
        int end = 0;
        if (sscanf(line, "# HELP %127s %n", name, &end) == 1) {
            assert_true(snprintf(row, sizeof row, "| `%s` | gauge | %s |", name, line + end) <
                        (int)sizeof row);
            must_have(page, row);
            found++;
        } else if (sscanf(line, "# TYPE %127s %15s", name, type) == 2) {
            assert_string_equal(type, "gauge");
        } else {
            values++;
        }
    }
    assert_int_equal(found, 6);
    assert_int_equal(values, 6);
    free(text);
    free(page);
}

static void file_can_be_read_by_others_and_is_replaced_whole(void **state)
{
    static struct kt_backup_state backup = {.bytes = 1};
    const char *path = temp_path("d.prom");
    struct stat before, after;

    (void)state;
    free(write_and_read(path, &backup));
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0644);
    free(write_and_read(path, &backup));
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino != after.st_ino);
}

static void folder_that_is_missing_is_an_error_that_names_the_file(void **state)
{
    static struct kt_backup_state backup;
    struct kt_error error = {0};

    (void)state;
    assert_int_not_equal(ktb_metrics_write(temp_path("none/e.prom"), &backup, &error), 0);
    assert_non_null(strstr(error.message, "none/e.prom"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(state_of_a_backup_is_written_as_gauges_in_seconds),
        CASE(what_never_happened_is_zero),
        CASE(every_metric_is_one_of_the_servers_with_its_type_and_text),
        CASE(file_can_be_read_by_others_and_is_replaced_whole),
        CASE(folder_that_is_missing_is_an_error_that_names_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
