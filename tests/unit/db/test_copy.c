// SPDX-License-Identifier: Apache-2.0
// Three nodes through failovers: sealed, promoted, rewound, copied anew; timelines that collide.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <signal.h>

#define NODES 3
#include "tests/unit/db/real_nodes.h"

static uint64_t forked; // where node 2's second timeline began

// Something in the log that only this node has: acknowledged by nobody.
static void write_alone(int i, const char *what)
{
    char sql[300];

    snprintf(sql, sizeof(sql),
             "BEGIN READ WRITE; SET LOCAL synchronous_commit = local;"
             " CREATE TABLE %s AS SELECT generate_series(1, 10000); COMMIT",
             what);
    OK(db_pg_run(admins[i]->conn, MS, sql, &error));
}

static const char *has_table(int i, const char *what)
{
    char sql[100];

    snprintf(sql, sizeof(sql), "SELECT to_regclass('%s') IS NOT NULL", what);
    return ask(i, sql);
}

static void catch_up(int standby, int active)
{
    struct db_position position;

    OK(db_admin_position(admins[active], &position, &error));
    OK(db_admin_wait_replayed(admins[standby], position.lsn, MS, &error));
}

// Starts it as a standby without upstream, as its agent does when a peer knows of a newer epoch.
static void start_sealed(int i)
{
    struct db_replication sealed = {.mode = DB_MODE_SEALED};

    OK(db_replication_apply(nodes[i].cluster, &sealed, MS, &error));
    start_one(i);
    OK(db_admin_wait_sealed(admins[i], 1, MS, &error));
}

static int entries_like(const char *folder, const char *begin)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)))
        count += strncmp(entry->d_name, begin, strlen(begin)) == 0;
    closedir(dir);
    return count;
}

struct seen {
    int calls;
    uint64_t done, total;
};

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    struct seen *seen = arg;

    seen->calls++;
    seen->done = done;
    seen->total = total;
}

static void a_base_backup_tells_how_far_it_is(void **state)
{
    struct db_source source = source_of(1, 0);
    struct seen seen = {0};

    (void)state;
    OK(db_admin_node_put(admins[0], &nodes[1].peer, NULL, &error));
    // what a killed run left
    assert_int_equal(mkdir(temp_path("2/db.new"), 0700), 0);
    OK(db_copy_base(nodes[1].cluster, &source, on_progress, &seen, &error));
    assert_true(seen.calls > 0);
    assert_true(seen.total > 1000000 && seen.done > 1000000);
    assert_false(kt_file_exists(temp_path("2/db.new")));
    assert_true(kt_file_exists(temp_path("2/db/standby.signal")));
    assert_int_equal(db_cluster_is_populated(nodes[1].cluster), 1);
    follow(1, 0, 1);
    start_one(1);
    assert_string_equal(ask(1, "SHOW cluster_name"), "kts-02");
    nodes_copy(2, 0, 1);
}

static void a_base_backup_that_fails_says_why_and_leaves_all_as_it_was(void **state)
{
    struct db_source source = source_of(1, 0);

    (void)state;
    assert_int_equal(db_copy_base(nodes[1].cluster, &source, NULL, NULL, &error), KT_ERR_BUSY);
    stop_one(1);
    source.port = (uint16_t)real_port();
    assert_int_equal(db_copy_base(nodes[1].cluster, &source, NULL, NULL, &error), KT_ERR_CHILD);
    assert_non_null(strstr(error.message, "refused"));
    strcpy(source.member, "kts-09.0a1b2c39"); // a role that there is not
    source.port = nodes[0].peer.database_port;
    assert_int_equal(db_copy_base(nodes[1].cluster, &source, NULL, NULL, &error), KT_ERR_CHILD);
    start_one(1);
}

static void a_sealed_node_receives_nothing_and_reports_the_end_of_its_log(void **state)
{
    struct db_position sealed, active;
    struct db_receiver receiver;

    (void)state;
    seal(2); // first: the one that is to be active must have all that it has
    catch_up(1, 0);
    seal(1);
    OK(db_admin_receiver(admins[1], &receiver, &error));
    assert_false(receiver.is_streaming);
    OK(db_admin_position(admins[1], &sealed, &error));
    assert_true(sealed.in_recovery);
    assert_int_equal(sealed.timeline, 1);
    write_alone(0, "after_the_seal");
    OK(db_admin_position(admins[0], &active, &error));
    assert_true(active.lsn > sealed.lsn);
    stop_one(1);
    start_one(1); // it stays sealed
    OK(db_admin_wait_sealed(admins[1], 1, MS, &error));
    OK(db_admin_position(admins[1], &active, &error));
    assert_int_equal(active.lsn, sealed.lsn);
    assert_string_equal(has_table(1, "after_the_seal"), "f");
}

static void a_promoted_node_begins_a_timeline_and_waits_for_its_member(void **state)
{
    struct kt_epoch_row row = row_of(1, 2, 0);
    struct db_replication active = active_with(&row, 1), now;
    struct db_position position, again, before;
    uint64_t left = 0;

    (void)state;
    kill_one(0);
    OK(db_admin_position(admins[1], &before, &error));
    OK(real_promise(&nodes[1], 2, "kts-02", 0));
    OK(db_admin_promote(nodes[1].cluster, admins[1], &active, MS, &position, &error));
    assert_false(position.in_recovery);
    assert_int_equal(position.timeline, 2);
    assert_int_equal(position.start_lsn, before.lsn);
    forked = position.start_lsn;
    OK(db_admin_timeline_left(admins[1], 1, &left, &error));
    assert_int_equal(left, forked);
    assert_int_equal(db_admin_timeline_left(admins[1], 2, &left, &error), KT_ERR_NOT_FOUND);
    OK(db_replication_load(&nodes[1].paths, &now, &error));
    assert_int_equal(now.mode, DB_MODE_ACTIVE);
    assert_true(now.read_only);
    assert_false(kt_file_exists(temp_path("2/db/standby.signal")));
    assert_string_equal(ask(1, "SHOW default_transaction_read_only"), "on");
    assert_string_equal(ask(1, "SELECT current_setting('synchronous_standby_names')"),
                        "ANY 1 (\"kts-01.0a1b2c31_e2_kts-02\")");
    // the run was killed behind it: the same again changes nothing
    OK(db_admin_promote(nodes[1].cluster, admins[1], &active, MS, &again, &error));
    assert_int_equal(again.timeline, 2);
    active = active_with(&(struct kt_epoch_row){.active = "kts-02.0a1b2c32",
                                                .epoch = 3,
                                                .count = 1,
                                                .w = 1,
                                                .members = {"kts-03.0a1b2c33"}},
                         1);
    assert_int_equal(db_admin_promote(nodes[1].cluster, admins[1], &active, MS, &again, &error),
                     KT_ERR_FENCED);
    OK(db_admin_slots(admins[1], &row, &error));
    assert_string_equal(ask(1, "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM"
                               " pg_replication_slots"),
                        "kts_01_0a1b2c31 kts_03_0a1b2c33");
}

// It was killed, and has more than the new active: what it has is kept aside, and it follows.
static void a_crashed_active_is_rewound_and_follows(void **state)
{
    struct db_source source = source_of(0, 1);
    struct kt_epoch_row row = row_of(1, 2, 0);
    struct db_position position;

    (void)state;
    assert_int_equal(db_copy_rewind(nodes[0].cluster, &source, 0, &error), KT_ERR_CHILD);
    assert_int_equal(db_copy_rewind(nodes[0].cluster, &source, forked - 8, &error), KT_ERR_CHILD);
    assert_non_null(strstr(error.message, "part at"));
    OK(db_copy_rewind(nodes[0].cluster, &source, forked, &error));
    assert_int_equal(entries_like(nodes[0].paths.node, "aside-"), 1);
    assert_false(kt_file_exists(temp_path("1/node/rewinding")));
    follow(0, 1, 2);
    start_one(0);
    assert_string_equal(ask(0, "SHOW cluster_name"), "kts-01");
    OK(db_admin_wait_streaming(admins[1], &row, MS, &error));
    assert_string_equal(has_table(0, "after_the_seal"), "f");
    OK(db_admin_row_insert(admins[1], &row, MS, &error));
    catch_up(0, 1);
    OK(db_admin_position(admins[0], &position, &error));
    assert_int_equal(position.timeline, 2);
    assert_int_equal(position.start_lsn, forked);
    assert_string_equal(ask(0, "SELECT max(epoch) FROM epochs"), "2");
}

static void a_sealed_node_follows_across_the_switch(void **state)
{
    struct db_position position;

    (void)state;
    follow(2, 1, 2);
    catch_up(2, 1);
    OK(db_admin_position(admins[2], &position, &error));
    assert_int_equal(position.timeline, 2);
    assert_string_equal(ask(2, "SELECT max(epoch) FROM epochs"), "2");
    seal(2);
    OK(db_admin_position(admins[2], &position, &error));
    assert_int_equal(position.timeline, 2);
    stop_one(2);
    start_one(2);
    OK(db_admin_wait_sealed(admins[2], 1, MS, &error));
    OK(db_admin_position(admins[2], &position, &error));
    assert_int_equal(position.timeline, 2);
}

// Two nodes promoted at the same place: both logs have timeline 3,
// and pg_rewind sees no difference.
static void timelines_of_one_number_are_not_taken_for_one(void **state)
{
    struct kt_epoch_row first = row_of(0, 3, 1), second = row_of(2, 4, 1);
    struct db_replication active = active_with(&first, 1);
    struct db_source source = source_of(0, 2);
    struct db_position of_first, of_second;

    (void)state;
    follow(2, 1, 2);
    catch_up(2, 1);
    catch_up(0, 1);
    wait_for(1, "SELECT count(*) = 2 FROM pg_stat_replication WHERE state = 'streaming'");
    stop_one(1); // its last record goes to both
    seal(0);
    seal(2);
    OK(db_admin_position(admins[0], &of_first, &error));
    OK(db_admin_position(admins[2], &of_second, &error));
    assert_int_equal(of_first.lsn, of_second.lsn);
    OK(db_admin_promote(nodes[0].cluster, admins[0], &active, MS, &of_first, &error));
    write_alone(0, "of_the_first");
    write_alone(0, "more_of_it"); // its log is the longer one
    active = active_with(&second, 1);
    OK(db_admin_promote(nodes[2].cluster, admins[2], &active, MS, &of_second, &error));
    write_alone(2, "of_the_second");
    assert_int_equal(of_first.timeline, 3);
    assert_int_equal(of_second.timeline, 3);
    OK(db_admin_slots(admins[2], &second, &error));
    stop_one(0);
    assert_int_equal(db_copy_rewind(nodes[0].cluster, &source, of_second.start_lsn, &error),
                     KT_ERR_CHILD);
    assert_false(kt_file_exists(temp_path("1/node/rewinding")));
    // The second goes on to timeline 4: now the number differs, and the place is seen too late.
    stop_one(2);
    start_sealed(2);
    OK(db_admin_promote(nodes[2].cluster, admins[2], &active, MS, &of_first, &error));
    assert_int_equal(of_first.timeline, 4);
    assert_int_equal(db_copy_rewind(nodes[0].cluster, &source, of_second.start_lsn, &error),
                     KT_ERR_CHILD);
    start_sealed(0);
    assert_string_equal(has_table(0, "of_the_first"), "t"); // nothing was touched
    stop_one(0);
}

static void a_base_backup_keeps_what_was_there(void **state)
{
    struct db_source source = source_of(0, 2);
    struct kt_epoch_row row = row_of(2, 4, 0);
    struct db_replication active = active_with(&row, 1);

    (void)state;
    OK(db_replication_apply(nodes[2].cluster, &active, MS, &error));
    OK(db_copy_base(nodes[0].cluster, &source, NULL, NULL, &error));
    assert_int_equal(entries_like(temp_path("1"), "db.2"), 1);
    follow(0, 2, 4);
    start_one(0);
    OK(db_admin_wait_streaming(admins[2], &row, MS, &error));
    OK(db_admin_probe(admins[2], &row, MS, &error));
    assert_string_equal(has_table(0, "of_the_first"), "f");
    assert_string_equal(has_table(0, "of_the_second"), "t");
}

static void a_directory_whose_rewind_was_broken_off_is_not_started(void **state)
{
    struct db_source source = source_of(0, 2);

    (void)state;
    stop_one(0);
    temp_text("1/node/rewinding", "");
    assert_int_equal(db_cluster_start(nodes[0].cluster, 60, &error), KT_ERR_DIVERGED);
    assert_int_equal(db_copy_rewind(nodes[0].cluster, &source, forked, &error), KT_ERR_CHILD);
    OK(db_copy_base(nodes[0].cluster, &source, NULL, NULL, &error));
    assert_false(kt_file_exists(temp_path("1/node/rewinding")));
    start_one(0);
}

// Stopped between PostgreSQL's promotion and the node's own record of it.
static void a_promotion_that_was_broken_off_starts_as_a_sealed_standby(void **state)
{
    struct kt_epoch_row row = row_of(0, 5, 2);
    struct db_replication sealed = active_with(&row, 1), active = sealed;
    struct db_position position;

    (void)state;
    sealed.mode = DB_MODE_SEALED;
    OK(db_replication_apply(nodes[0].cluster, &sealed, MS, &error));
    OK(db_admin_wait_sealed(admins[0], 1, MS, &error));
    OK(db_pg_run(admins[0]->conn, MS, "SELECT pg_promote()", &error));
    stop_one(0);
    start_one(0);
    assert_string_equal(ask(0, "SELECT pg_is_in_recovery()"), "t");
    OK(db_admin_wait_sealed(admins[0], 1, MS, &error));
    OK(db_admin_position(admins[0], &position, &error));
    assert_int_equal(position.timeline, 5);
    OK(db_admin_promote(nodes[0].cluster, admins[0], &active, MS, &position, &error));
    assert_int_equal(position.timeline, 6);
    // a node that is no longer active keeps no slots
    OK(db_admin_slots(admins[0], NULL, &error));
    assert_string_equal(ask(0, "SELECT count(*) FROM pg_replication_slots"), "0");
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_base_backup_tells_how_far_it_is),
        cmocka_unit_test(a_base_backup_that_fails_says_why_and_leaves_all_as_it_was),
        cmocka_unit_test(a_sealed_node_receives_nothing_and_reports_the_end_of_its_log),
        cmocka_unit_test(a_promoted_node_begins_a_timeline_and_waits_for_its_member),
        cmocka_unit_test(a_crashed_active_is_rewound_and_follows),
        cmocka_unit_test(a_sealed_node_follows_across_the_switch),
        cmocka_unit_test(timelines_of_one_number_are_not_taken_for_one),
        cmocka_unit_test(a_base_backup_keeps_what_was_there),
        cmocka_unit_test(a_directory_whose_rewind_was_broken_off_is_not_started),
        cmocka_unit_test(a_promotion_that_was_broken_off_starts_as_a_sealed_standby),
    };

    return cmocka_run_group_tests(cases, nodes_setup, nodes_teardown);
}
