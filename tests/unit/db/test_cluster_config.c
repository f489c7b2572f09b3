// SPDX-License-Identifier: Apache-2.0
// The text of the managed files of PostgreSQL.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/replication.h"
#include "tests/unit/db/real_cluster.h"

static struct kt_buf out;
static struct db_cluster fake;

static int setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    out = (struct kt_buf)KT_BUF_INIT(65536);
    if (real_folders() != 0)
        return -1;
    fake.paths = &real.paths;
    fake.settings = real.settings;
    snprintf(fake.dir, sizeof(fake.dir), "%s", real.paths.db);
    return 0;
}

static int teardown(void **state)
{
    kt_buf_free(&out);
    kt_settings_free(real.settings);
    return temp_dir_teardown(state);
}

static const char *text(void)
{
    assert_int_equal(kt_buf_put_u8(&out, 0), 0);
    return (const char *)kt_buf_ptr(&out);
}

static void every_setting_that_the_promises_need_is_there(void **state)
{
    static const char *const NEEDED[] = {"listen_addresses = '127.0.0.1'\n",
                                         "ssl = on\n",
                                         "wal_sender_timeout = 5s\n",
                                         "wal_receiver_timeout = 5s\n",
                                         "recovery_target_timeline = latest\n",
                                         "unix_socket_permissions = 0700\n",
                                         "fsync = on\n",
                                         "full_page_writes = on\n",
                                         "synchronous_commit = on\n",
                                         "max_prepared_transactions = 32\n",
                                         "wal_log_hints = on\n",
                                         "wal_level = replica\n",
                                         "hot_standby_feedback = on\n",
                                         "jit = off\n",
                                         "authentication_timeout = 5s\n",
                                         "password_encryption = scram-sha-256\n",
                                         "max_slot_wal_keep_size = 4GB\n",
                                         "restart_after_crash = on\n",
                                         "ssl_min_protocol_version = 'TLSv1.3'\n"};
    const char *all;

    (void)state;
    assert_int_equal(kt_settings_set(real.settings, KT_SET_DATABASE_PORT, "11381", NULL), 0);
    assert_int_equal(db_config_settings(&fake, "kts-01", &out, NULL), 0);
    all = text();
    for (size_t i = 0; i < sizeof(NEEDED) / sizeof(NEEDED[0]); i++)
        assert_non_null(strstr(all, NEEDED[i]));
    assert_non_null(strstr(all, "port = 11381\ncluster_name = 'kts-01'\n"));
    assert_non_null(strstr(all, "/tls/node-key.pem'\n"));
    assert_non_null(strstr(all, "\ninclude 'keytrustee.replication.conf'\n"));
}

static void statements_parameters_and_details_are_never_logged(void **state)
{
    static const char *const NEEDED[] = {"log_statement = none\n",
                                         "log_min_error_statement = panic\n",
                                         "log_min_duration_statement = -1\n",
                                         "log_parameter_max_length = 0\n",
                                         "log_parameter_max_length_on_error = 0\n",
                                         "log_error_verbosity = terse\n"};
    const char *all;

    (void)state;
    assert_int_equal(db_config_settings(&fake, "kts-01", &out, NULL), 0);
    all = text();
    for (size_t i = 0; i < sizeof(NEEDED) / sizeof(NEEDED[0]); i++)
        assert_non_null(strstr(all, NEEDED[i]));
}

static void a_socket_folder_that_the_list_cannot_hold_is_refused(void **state)
{
    (void)state;
    strcpy(real.paths.run, "/srv/a,b/run");
    assert_int_equal(db_config_settings(&fake, "kts-01", &out, NULL), KT_ERR_INVALID);
    strcpy(real.paths.run, "/srv/a b/run");
    assert_int_equal(db_config_settings(&fake, "kts-01", &out, NULL), KT_ERR_INVALID);
}

static void quotes_are_doubled_and_control_characters_refused(void **state)
{
    (void)state;
    assert_int_equal(db_config_quote("/srv/it's", &out), 0);
    assert_string_equal(text(), "'/srv/it''s'");
    assert_int_equal(db_config_quote("a\nb", &out), KT_ERR_INVALID);
    assert_int_equal(db_config_quote("a\\b", &out), KT_ERR_INVALID);
}

static void standbys_come_in_where_the_service_listens(void **state)
{
    (void)state;
    assert_int_equal(kt_settings_set(real.settings, KT_SET_HTTPS_ADDRESS, "0.0.0.0", NULL), 0);
    assert_int_equal(db_config_settings(&fake, "kts-01", &out, NULL), 0);
    assert_non_null(strstr(text(), "listen_addresses = '*'\n"));
}

static void only_the_account_three_roles_and_members_come_in(void **state)
{
    (void)state;
    assert_int_equal(db_config_hba("keytrustee", &out), 0);
    assert_string_equal(text(), "# Written by ktadmin; changes are overwritten.\n"
                                "local all keytrustee peer map=keytrustee\n"
                                "local \"keytrustee\" kts_reader,kts_writer,kts_agent "
                                "scram-sha-256\n"
                                "local all all reject\n"
                                "local replication all reject\n"
                                "hostssl replication +kts_members all cert\n"
                                "hostssl \"keytrustee\" +kts_members all cert\n"
                                "host all all all reject\n"
                                "host replication all all reject\n");
    assert_int_equal(db_config_hba("a\"b", &out), KT_ERR_INVALID);
    assert_int_equal(db_config_hba("a\nlocal all all trust", &out), KT_ERR_INVALID);
}

static void the_owner_of_the_directory_is_mapped(void **state)
{
    (void)state;
    assert_int_equal(db_config_ident("operator", &out), 0);
    assert_non_null(strstr(text(), "keytrustee \"operator\" keytrustee\n"
                                   "keytrustee keytrustee keytrustee\n"));
    kt_buf_reset(&out);
    assert_int_equal(db_config_ident("keytrustee", &out), 0);
    assert_string_equal(text(), "# Written by ktadmin; changes are overwritten.\n"
                                "keytrustee \"keytrustee\" keytrustee\n");
    assert_int_equal(db_config_ident("/^.*$", &out), KT_ERR_INVALID); // would be a pattern
    assert_int_equal(db_config_ident("a\"b", &out), KT_ERR_INVALID);
}

// A marked data directory with a postgresql.conf of the operator's.
static void make_data_directory(void)
{
    struct db_mark mark = {.cluster_id = real.info.cluster_id};

    assert_int_equal(mkdir(real.paths.db, 0700), 0);
    assert_int_equal(db_mark_save(real.paths.db, &mark, NULL), 0);
    temp_text("db/postgresql.conf", "shared_buffers = 1GB");
    strcpy(real.peer.member, "kts-01.0a1b2c3d");
    assert_int_equal(real_promise(&real, 1, "kts-01", 0), 0);
}

static void configuring_twice_changes_nothing_the_second_time(void **state)
{
    char *conf = NULL;
    int done = 1;

    (void)state;
    make_data_directory();
    assert_int_equal(db_cluster_config_check(&fake, NULL), KT_ERR_UNSAFE_SETTINGS);
    assert_int_equal(db_cluster_configure(&fake, &done, NULL), 0);
    assert_int_equal(done, 0);
    assert_int_equal(db_cluster_configure(&fake, &done, NULL), 0);
    assert_int_equal(done, 1);
    assert_int_equal(db_replication_render(&fake, NULL), 0);
    assert_int_equal(db_cluster_config_check(&fake, NULL), 0);
    assert_int_equal(kt_file_read_text(temp_path("db/postgresql.conf"), 4096, &conf, NULL), 0);
    assert_string_equal(conf, "shared_buffers = 1GB\n"
                              "include 'keytrustee.conf' # kept last by ktadmin\n");
    free(conf);
}

static void a_managed_file_that_was_edited_is_found_and_mended(void **state)
{
    struct kt_error error = {0};
    int done = 1;

    (void)state;
    make_data_directory();
    assert_int_equal(db_cluster_configure(&fake, &done, NULL), 0);
    assert_int_equal(db_replication_render(&fake, NULL), 0);
    temp_text("db/pg_hba.conf", "local all all trust\n");
    assert_int_equal(db_cluster_config_check(&fake, &error), KT_ERR_UNSAFE_SETTINGS);
    assert_non_null(strstr(error.message, "pg_hba.conf"));
    assert_int_equal(db_cluster_configure(&fake, &done, NULL), 0);
    assert_int_equal(done, 0);
    assert_int_equal(db_cluster_config_check(&fake, NULL), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(every_setting_that_the_promises_need_is_there),
        CASE(statements_parameters_and_details_are_never_logged),
        CASE(a_socket_folder_that_the_list_cannot_hold_is_refused),
        CASE(quotes_are_doubled_and_control_characters_refused),
        CASE(standbys_come_in_where_the_service_listens),
        CASE(only_the_account_three_roles_and_members_come_in),
        CASE(the_owner_of_the_directory_is_mapped),
        CASE(configuring_twice_changes_nothing_the_second_time),
        CASE(a_managed_file_that_was_edited_is_found_and_mended),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
