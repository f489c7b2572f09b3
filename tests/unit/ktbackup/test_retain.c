// SPDX-License-Identifier: Apache-2.0
// Which backups go: by sequence and the manifests' own times, and only of those that are good.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ktbackup/retain.h"

#define DAY INT64_C(86400000000)
#define MAX 16

static const struct kt_uuid OURS = {.bytes = {1}}, OTHERS = {.bytes = {2}};

static struct ktb_entry entries[MAX];
static struct ktb_entry *list[MAX];
static struct ktb_catalog catalog;

static int begin(void **state)
{
    (void)state;
    memset(entries, 0, sizeof(entries));
    catalog = (struct ktb_catalog){.entries = list, .room = MAX};
    return 0;
}

// The next of the catalog, which is in the order of sequences.
static struct ktb_entry *add(uint64_t sequence, int64_t day)
{
    struct ktb_entry *entry = &entries[catalog.count];

    entry->file.manifest.cluster_id = OURS;
    snprintf(entry->file.manifest.owner, sizeof(entry->file.manifest.owner), "n1");
    entry->file.manifest.sequence = sequence;
    entry->file.manifest.time_us = 1000 * DAY + day * DAY;
    list[catalog.count++] = entry;
    return entry;
}

static void add_days(int count)
{
    for (int i = 1; i <= count; i++)
        add((uint64_t)i, i);
}

// "..x": which of the catalog go.
static const char *decide(uint64_t keep, int64_t days)
{
    static char text[MAX + 1];
    const struct ktb_retention retention = {
        .keep = keep, .keep_within_us = days * DAY, .cluster_id = OURS, .owner = "n1"};
    int drop[MAX];
    size_t count = 0, said;

    memset(drop, 0x55, sizeof(drop)); // the function sets all of them
    said = ktb_retain(&catalog, &retention, drop);
    for (size_t i = 0; i < catalog.count; i++) {
        text[i] = drop[i] ? 'x' : '.';
        count += drop[i] != 0;
    }
    text[catalog.count] = '\0';
    assert_int_equal(said, count);
    return text;
}

static void without_a_rule_all_stay(void **state)
{
    (void)state;
    add_days(5);
    assert_string_equal(decide(0, 0), ".....");
    assert_string_equal(decide(0, 1), ".....");
}

static void last_n_stay_and_older_ones_go(void **state)
{
    (void)state;
    add_days(5);
    assert_string_equal(decide(1, 0), "xxxx.");
    assert_string_equal(decide(3, 0), "xx...");
    assert_string_equal(decide(5, 0), ".....");
    assert_string_equal(decide(UINT64_MAX, 0), ".....");
}

static struct ktb_entry *add_deposits(uint64_t sequence, uint64_t deposits, uint64_t log_index)
{
    struct ktb_entry *entry = add(sequence, (int64_t)sequence);

    snprintf(entry->file.manifest.tables[0].name, sizeof(entry->file.manifest.tables[0].name),
             "deposits");
    entry->file.manifest.tables[0].rows = deposits;
    entry->file.manifest.table_count = 1;
    entry->file.manifest.log_index = log_index;
    return entry;
}

static void one_that_holds_more_than_the_newest_stays(void **state)
{
    (void)state;
    add_deposits(1, 10, 10);
    add_deposits(2, 10, 12); // a log that goes further
    add_deposits(3, 30, 11); // twice the deposits
    add_deposits(4, 10, 11);
    assert_string_equal(decide(1, 0), "x...");
}

static void last_one_of_each_incarnation_stays(void **state)
{
    (void)state;
    add_deposits(1, 5, 5)->file.manifest.incarnation.number = 1;
    add_deposits(2, 6, 6)->file.manifest.incarnation.number = 1;
    add_deposits(3, 7, 7)->file.manifest.incarnation.number = 2;
    add_deposits(4, 8, 8)->file.manifest.incarnation.number = 2;
    assert_string_equal(decide(1, 0), "x.x.");
}

static void much_larger_one_is_found_however_long_ago(void **state)
{
    const struct ktb_retention retention = {.keep = 1, .cluster_id = OURS, .owner = "n1"};
    const struct ktb_entry *large, *now;

    (void)state;
    large = add_deposits(1, 100, 100);
    add_deposits(2, 3, 103);
    now = add_deposits(3, 4, 104);
    assert_ptr_equal(ktb_find_larger(&catalog, &retention, &now->file.manifest),
                     &large->file.manifest);
    catalog.count = 0;
    add_deposits(4, 100, 100);
    now = add_deposits(5, 60, 160);
    assert_null(ktb_find_larger(&catalog, &retention, &now->file.manifest));
}

static void of_an_empty_folder_nothing_goes(void **state)
{
    (void)state;
    assert_string_equal(decide(1, 0), "");
}

static void only_one_there_is_never_goes(void **state)
{
    (void)state;
    add(7, 1);
    assert_string_equal(decide(1, 0), ".");
    assert_string_equal(decide(1, 1), ".");
}

static void young_ones_stay_beyond_the_last_n(void **state)
{
    (void)state;
    add_days(6);
    assert_string_equal(decide(1, 3), "xxx...");
    assert_string_equal(decide(4, 1), "xx....");
}

static void exactly_as_old_as_the_age_goes(void **state)
{
    (void)state;
    add(1, 0);
    add(2, 1)->file.manifest.time_us += 1;
    add(3, 3);
    assert_string_equal(decide(1, 2), "x..");
    entries[0].file.manifest.time_us = entries[2].file.manifest.time_us - 2 * DAY;
    assert_string_equal(decide(1, 2), "x..");
}

static void clock_that_went_back_makes_nothing_old(void **state)
{
    (void)state;
    add(1, 100); // of a clock that was ahead
    add(2, 101);
    add(3, 2);
    assert_string_equal(decide(1, 5), "...");
    assert_string_equal(decide(1, 0), "xx.");
}

static void clock_that_went_ahead_once_makes_all_old_but_the_last_n(void **state)
{
    (void)state;
    add(1, 1);
    add(2, 2);
    add(3, 9000);
    assert_string_equal(decide(1, 5), "xx.");
    assert_string_equal(decide(2, 5), "x..");
}

static void what_cannot_be_verified_neither_counts_nor_goes(void **state)
{
    (void)state;
    add_days(5);
    entries[4].rc = KT_ERR_SIGNATURE;
    entries[0].rc = KT_ERR_NOT_FOUND;
    entries[2].file.signature = KT_SIGNATURE_UNCHECKED;
    assert_string_equal(decide(1, 0), ".x...");
    assert_string_equal(decide(2, 0), ".....");
}

static void unsigned_ones_of_folders_count(void **state)
{
    (void)state;
    add_days(3);
    for (int i = 0; i < 3; i++)
        entries[i].file.signature = KT_SIGNATURE_NONE;
    assert_string_equal(decide(2, 0), "x..");
}

static void other_clusters_and_nodes_neither_count_nor_go(void **state)
{
    (void)state;
    add_days(6);
    entries[1].file.manifest.cluster_id = OTHERS;
    entries[3].file.manifest.owner[1] = '2';
    entries[5].file.manifest.owner[1] = '2';
    assert_string_equal(decide(2, 0), "x.....");
    assert_string_equal(decide(1, 0), "x.x...");
}

// --- suspicion ---

static struct kt_manifest made_of(uint64_t deposits, uint64_t bytes)
{
    struct kt_manifest manifest = {.bytes = bytes, .table_count = 1};

    snprintf(manifest.tables[0].name, sizeof(manifest.tables[0].name), "deposits");
    manifest.tables[0].rows = deposits;
    return manifest;
}

static int is_suspicious(uint64_t deposits, uint64_t bytes, uint64_t deposits_now,
                         uint64_t bytes_now)
{
    const struct kt_manifest before = made_of(deposits, bytes),
                             now = made_of(deposits_now, bytes_now);

    return ktb_is_suspicious(&before, &now);
}

static void first_backup_is_not_suspicious(void **state)
{
    const struct kt_manifest now = made_of(0, 0);

    (void)state;
    assert_false(ktb_is_suspicious(NULL, &now));
}

static void half_of_the_deposits_gone_is_suspicious(void **state)
{
    (void)state;
    assert_false(is_suspicious(100, 1000, 50, 1000));
    assert_true(is_suspicious(100, 1000, 49, 1000));
    assert_true(is_suspicious(2, 1000, 0, 1000));
    assert_false(is_suspicious(100, 1000, 500, 1000));
}

static void all_deposits_gone_is_suspicious_even_if_there_was_one(void **state)
{
    (void)state;
    assert_true(is_suspicious(1, 1000, 0, 1000));
}

static void where_there_are_no_deposits_half_of_the_bytes_gone_is_suspicious(void **state)
{
    const uint64_t mib = 1 << 20;
    struct kt_manifest before = made_of(0, 8 * mib), now = made_of(0, 4 * mib - 1);

    (void)state;
    before.kind = now.kind = KT_BACKUP_CLIENT;
    assert_true(ktb_is_suspicious(&before, &now));
    now.bytes = 4 * mib;
    assert_false(ktb_is_suspicious(&before, &now));
    before.bytes = 100000; // a small one may halve for good reasons
    now.bytes = 1000;
    assert_false(ktb_is_suspicious(&before, &now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_a_rule_all_stay, begin),
        cmocka_unit_test_setup(last_n_stay_and_older_ones_go, begin),
        cmocka_unit_test_setup(one_that_holds_more_than_the_newest_stays, begin),
        cmocka_unit_test_setup(last_one_of_each_incarnation_stays, begin),
        cmocka_unit_test_setup(much_larger_one_is_found_however_long_ago, begin),
        cmocka_unit_test_setup(of_an_empty_folder_nothing_goes, begin),
        cmocka_unit_test_setup(only_one_there_is_never_goes, begin),
        cmocka_unit_test_setup(young_ones_stay_beyond_the_last_n, begin),
        cmocka_unit_test_setup(exactly_as_old_as_the_age_goes, begin),
        cmocka_unit_test_setup(clock_that_went_back_makes_nothing_old, begin),
        cmocka_unit_test_setup(clock_that_went_ahead_once_makes_all_old_but_the_last_n, begin),
        cmocka_unit_test_setup(what_cannot_be_verified_neither_counts_nor_goes, begin),
        cmocka_unit_test_setup(unsigned_ones_of_folders_count, begin),
        cmocka_unit_test_setup(other_clusters_and_nodes_neither_count_nor_go, begin),
        cmocka_unit_test(first_backup_is_not_suspicious),
        cmocka_unit_test(half_of_the_deposits_gone_is_suspicious),
        cmocka_unit_test(all_deposits_gone_is_suspicious_even_if_there_was_one),
        cmocka_unit_test(where_there_are_no_deposits_half_of_the_bytes_gone_is_suspicious),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
