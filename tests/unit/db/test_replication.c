// SPDX-License-Identifier: Apache-2.0
// node/replication and what is written of it into the data directory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/db/real_nodes.h"

static struct db_cluster fake;
static struct db_replication follows;

static int setup(void **state)
{
    struct db_mark mark;

    (void)state;
    memset(&fake, 0, sizeof(fake));
    if (real_folders() != 0)
        return -1;
    fake.paths = &real.paths;
    fake.settings = real.settings;
    snprintf(fake.dir, sizeof(fake.dir), "%s", real.paths.db);
    strcpy(real.peer.member, "kts-01.0a1b2c3d");
    mark = (struct db_mark){.cluster_id = real.info.cluster_id};
    follows = (struct db_replication){.mode = DB_MODE_FOLLOW, .port = 11381};
    strcpy(follows.host, "10.0.0.7");
    strcpy(follows.member, "kts-01.0a1b2c3d");
    strcpy(follows.application_name, "kts-01.0a1b2c3d_e2_kts-02");
    if (mkdir(real.paths.db, 0700) != 0 || db_mark_save(real.paths.db, &mark, NULL) != 0)
        return -1;
    temp_text("db/postgresql.conf", "");
    return 0;
}

static int teardown(void **state)
{
    kt_settings_free(real.settings);
    return temp_dir_teardown(state);
}

// The rendered settings; freed by the next call.
static const char *rendered(const struct db_replication *replication)
{
    static char *text;

    free(text);
    text = NULL;
    OK(db_replication_save(&real.paths, replication, &error));
    OK(db_replication_render(&fake, &error));
    OK(kt_file_read_text(temp_path("db/" DB_REPLICATION_FILE), 16384, &text, &error));
    return text;
}

static void what_is_saved_is_loaded(void **state)
{
    struct db_replication loaded;
    struct db_replication active = {.mode = DB_MODE_ACTIVE, .read_only = 1};

    (void)state;
    assert_int_equal(db_replication_load(&real.paths, &loaded, &error), KT_ERR_NOT_FOUND);
    OK(db_replication_save(&real.paths, &follows, &error));
    OK(db_replication_load(&real.paths, &loaded, &error));
    assert_memory_equal(&loaded, &follows, sizeof(loaded));
    strcpy(active.standby_names, "ANY 1 (\"kts-02.0a1b2c32_e1_kts-01\")");
    OK(db_replication_save(&real.paths, &active, &error));
    OK(db_replication_load(&real.paths, &loaded, &error));
    assert_memory_equal(&loaded, &active, sizeof(loaded));
}

static void a_file_that_says_something_else_is_refused(void **state)
{
    static const char *const WRONG[] = {
        "",
        "{}",
        "{\"format\": 2, \"mode\": \"sealed\"}",
        "{\"format\": 1, \"mode\": \"passive\"}",
        "{\"format\": 1, \"mode\": \"follow\"}",
        "{\"format\": 1, \"mode\": \"follow\", \"host\": \"h' x='\", \"port\": 1, \"member\":"
        " \"kts-01.0a1b2c3d\", \"application_name\": \"x\"}",
        "{\"format\": 1, \"mode\": \"active\", \"standby_names\": \"it's\"}",
    };
    struct db_replication loaded;

    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        temp_text("node/replication", WRONG[i]);
        assert_int_equal(db_replication_load(&real.paths, &loaded, &error), KT_ERR_INVALID);
        assert_int_equal(db_replication_render(&fake, &error), KT_ERR_INVALID);
    }
    strcpy(follows.host, "h' x='");
    assert_int_equal(db_replication_save(&real.paths, &follows, &error), KT_ERR_INVALID);
    strcpy(follows.host, "/tmp");
    assert_int_equal(db_replication_save(&real.paths, &follows, &error), KT_ERR_INVALID);
}

static void a_follower_has_an_upstream_its_slot_and_a_signal(void **state)
{
    const char *text;

    (void)state;
    text = rendered(&follows);
    assert_non_null(strstr(text, "host=''keytrustee-node'' hostaddr=''10.0.0.7'' port=''11381''"
                                 " user=''kts-01.0a1b2c3d''"));
    assert_non_null(strstr(text, "application_name=''kts-01.0a1b2c3d_e2_kts-02''"));
    assert_non_null(strstr(text, "sslmode=''verify-full''"));
    assert_non_null(strstr(text, "/tls/node-key.pem''"));
    assert_non_null(strstr(text, "connect_timeout=''2''"));
    assert_non_null(strstr(text, "primary_slot_name = 'kts_01_0a1b2c3d'\n"));
    assert_non_null(strstr(text, "synchronous_standby_names = '\"kts_nobody\"'\n"));
    assert_non_null(strstr(text, "default_transaction_read_only = 'on'\n"));
    assert_true(kt_file_exists(temp_path("db/standby.signal")));
}

// The name that is checked is that of nodes: where it is stands there in numbers.
static void a_named_upstream_is_looked_up_at_each_render(void **state)
{
    struct db_replication loaded;

    (void)state;
    strcpy(follows.host, "localhost");
    assert_non_null(strstr(rendered(&follows), "host=''keytrustee-node"));
    OK(db_replication_load(&real.paths, &loaded, &error));
    assert_true(strstr(loaded.addresses, "127.0.0.1") || strstr(loaded.addresses, "::1"));
    OK(db_cluster_config_check(&fake, &error));
    // Not found: nothing else is connected to in its place, and what was found before stays.
    strcpy(follows.host, "no-such-host.invalid");
    assert_non_null(strstr(rendered(&follows), "host=''keytrustee-node'' hostaddr='''' port="));
    strcpy(follows.addresses, "10.0.0.7,fd00::7");
    assert_non_null(strstr(rendered(&follows), "host=''keytrustee-node,keytrustee-node''"
                                               " hostaddr=''10.0.0.7,fd00::7''"));
    strcpy(follows.addresses, "10.0.0.7' host='");
    assert_int_equal(db_replication_save(&real.paths, &follows, &error), KT_ERR_INVALID);
}

static void a_copy_from_a_sealed_donor_asks_for_no_slot(void **state)
{
    (void)state;
    strcpy(follows.application_name, "kts-01.0a1b2c3d_copy");
    assert_non_null(strstr(rendered(&follows), "primary_slot_name = ''\n"));
}

static void a_sealed_node_has_no_upstream(void **state)
{
    struct db_replication sealed = {.mode = DB_MODE_SEALED};
    const char *text;

    (void)state;
    text = rendered(&sealed);
    assert_non_null(strstr(text, "primary_conninfo = ''\n"));
    assert_non_null(strstr(text, "primary_slot_name = ''\n"));
    assert_non_null(strstr(text, "synchronous_standby_names = '\"kts_nobody\"'\n"));
    assert_true(kt_file_exists(temp_path("db/standby.signal")));
}

static void an_active_waits_for_its_names_and_has_no_signal(void **state)
{
    struct db_replication active = {.mode = DB_MODE_ACTIVE};
    const char *text;

    (void)state;
    strcpy(active.standby_names, "ANY 1 (\"kts-02.0a1b2c32_e1_kts-01\")");
    temp_text("db/standby.signal", "");
    temp_text("db/recovery.signal", "");
    text = rendered(&active);
    assert_non_null(strstr(text, "primary_conninfo = ''\n"));
    assert_non_null(
        strstr(text, "synchronous_standby_names = 'ANY 1 (\"kts-02.0a1b2c32_e1_kts-01\")'\n"));
    assert_non_null(strstr(text, "default_transaction_read_only = 'off'\n"));
    assert_false(kt_file_exists(temp_path("db/standby.signal")));
    assert_false(kt_file_exists(temp_path("db/recovery.signal")));
    active.read_only = 1;
    assert_non_null(strstr(rendered(&active), "default_transaction_read_only = 'on'\n"));
}

static void without_the_file_only_a_promised_active_starts(void **state)
{
    char *text = NULL;

    (void)state;
    assert_int_equal(db_replication_render(&fake, &error), KT_ERR_NOT_INITIALISED);
    OK(real_promise(&real, 2, "kts-02", 0));
    assert_int_equal(db_replication_render(&fake, &error), KT_ERR_FENCED);
    OK(real_promise(&real, 2, "kts-01", 1)); // promised, and rewound since
    assert_int_equal(db_replication_render(&fake, &error), KT_ERR_FENCED);
    assert_false(kt_file_exists(temp_path("db/" DB_REPLICATION_FILE)));
    OK(real_promise(&real, 1, "kts-01", 0));
    OK(db_replication_render(&fake, &error));
    OK(kt_file_read_text(temp_path("db/" DB_REPLICATION_FILE), 16384, &text, &error));
    assert_non_null(strstr(text, "synchronous_standby_names = ''\n"));
    free(text);
}

static void rendering_brings_back_what_a_copy_overwrote(void **state)
{
    char *text = NULL;

    (void)state;
    temp_text("db/" DB_SETTINGS_FILE, "port = 1\n");
    temp_text("db/pg_hba.conf", "local all all trust\n");
    temp_text("db/" DB_REPLICATION_FILE, "synchronous_standby_names = ''\n");
    (void)rendered(&follows);
    OK(db_cluster_config_check(&fake, &error));
    OK(kt_file_read_text(temp_path("db/pg_hba.conf"), 16384, &text, &error));
    assert_null(strstr(text, " trust\n"));
    free(text);
    temp_text("db/" DB_REPLICATION_FILE, "synchronous_standby_names = ''\n");
    assert_int_equal(db_cluster_config_check(&fake, &error), KT_ERR_UNSAFE_SETTINGS);
    assert_non_null(strstr(error.message, DB_REPLICATION_FILE));
}

static void a_timeline_is_told_from_names_and_histories(void **state)
{
    uint32_t timeline = 0;
    uint64_t start = 0, number = 0;

    (void)state;
    assert_int_equal(db_wal_name_parse("000000020000000100000003", 1 << 24, &timeline, &number), 0);
    assert_int_equal(timeline, 2);
    assert_int_equal(number, 259);
    assert_int_equal(db_wal_name_parse("00000002.history", 1 << 24, &timeline, &number),
                     KT_ERR_INVALID);
    assert_int_equal(
        db_wal_name_parse("000000020000000100000003.partial", 1 << 24, &timeline, &number),
        KT_ERR_INVALID);
    assert_int_equal(mkdir(temp_path("db/pg_wal"), 0700), 0);
    OK(db_timeline_start(&fake, 1, &start, &error));
    assert_int_equal(start, 0);
    assert_int_equal(db_timeline_start(&fake, 3, &start, &error), KT_ERR_NOT_FOUND);
    temp_text("db/pg_wal/00000002.history", "1\t0/1000\tno recovery target specified\n");
    temp_text("db/pg_wal/00000003.history", "1\t0/1000\tno recovery target specified\n\n"
                                            "2\t0/180000\tno recovery target specified\n");
    temp_text("db/pg_wal/00000004.history", "nothing\n");
    OK(db_timeline_start(&fake, 3, &start, &error));
    assert_int_equal(start, 0x180000);
    assert_int_equal(db_timeline_start(&fake, 4, &start, &error), KT_ERR_INVALID);
    // segments of 1 MB: the second one of each timeline; 3 begins in the middle of it
    assert_int_equal(db_timeline_of_log(&fake, 0x150000, &timeline, &error), KT_ERR_NOT_FOUND);
    temp_text("db/pg_wal/000000020000000000000001", "");
    assert_int_equal(truncate(temp_path("db/pg_wal/000000020000000000000001"), 1 << 20), 0);
    temp_text("db/pg_wal/000000030000000000000001", "");
    assert_int_equal(truncate(temp_path("db/pg_wal/000000030000000000000001"), 1 << 20), 0);
    OK(db_timeline_of_log(&fake, 0x150000, &timeline, &error));
    assert_int_equal(timeline, 2);
    OK(db_timeline_of_log(&fake, 0x180000, &timeline, &error)); // nothing of 3 yet
    assert_int_equal(timeline, 2);
    OK(db_timeline_of_log(&fake, 0x180028, &timeline, &error));
    assert_int_equal(timeline, 3);
    OK(db_timeline_of_log(&fake, 0x200000, &timeline, &error)); // the segment's end
    assert_int_equal(timeline, 3);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(what_is_saved_is_loaded),
        CASE(a_file_that_says_something_else_is_refused),
        CASE(a_follower_has_an_upstream_its_slot_and_a_signal),
        CASE(a_named_upstream_is_looked_up_at_each_render),
        CASE(a_copy_from_a_sealed_donor_asks_for_no_slot),
        CASE(a_sealed_node_has_no_upstream),
        CASE(an_active_waits_for_its_names_and_has_no_signal),
        CASE(without_the_file_only_a_promised_active_starts),
        CASE(rendering_brings_back_what_a_copy_overwrote),
        CASE(a_timeline_is_told_from_names_and_histories),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
