// SPDX-License-Identifier: Apache-2.0
// init: refusals before anything is touched, a whole run, repeated runs, and what the commands
// that look at files say of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ktadmin/init.h"
#include "tests/unit/ktadmin/commands.h"

#define INIT(...) RUN(kta_cmd_init, "init", "--node", "kts-01", ##__VA_ARGS__)

static int is_empty(void)
{
    return kt_dir_is_empty(temp_dir, NULL);
}

static void names_of_nodes_come_from_names_of_hosts(void **state)
{
    static const struct {
        const char *host, *node;
    } CASES[] = {{"KTS01.example.com", "kts01"},
                 {"key_trustee", "key-trustee"},
                 {"a23456789012345b", "a23456789012345b"},
                 {"a23456789012345bc", "kts-01"},
                 {"3f2a", "kts-01"},
                 {"", "kts-01"},
                 {"-x", "kts-01"}};
    char node[KT_NODE_NAME_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        kta_init_node_name(CASES[i].host, node);
        assert_string_equal(node, CASES[i].node);
    }
}

static void paths_that_sockets_or_postgresql_cannot_hold_are_refused(void **state)
{
    struct kt_paths paths = {0};

    (void)state;
    strcpy(paths.confdir, "/srv/kt/.keytrustee");
    strcpy(paths.run, "/srv/kt/run");
    assert_int_equal(kta_init_check_paths(&paths, NULL), 0);
    memset(paths.confdir, 'a', 100);
    assert_int_equal(kta_init_check_paths(&paths, NULL), KT_ERR_TOO_LARGE);
    strcpy(paths.confdir, "/srv/k t/.keytrustee");
    assert_int_equal(kta_init_check_paths(&paths, NULL), KT_ERR_INVALID);
    strcpy(paths.confdir, "/srv/k'/.keytrustee");
    assert_int_equal(kta_init_check_paths(&paths, NULL), KT_ERR_INVALID);
    strcpy(paths.confdir, "/srv/kt/.keytrustee");
    memset(paths.run, 'a', KT_SOCKET_DIR_MAX + 1);
    assert_int_equal(kta_init_check_paths(&paths, NULL), KT_ERR_TOO_LARGE);
}

static void wrong_options_are_refused_and_nothing_is_made(void **state)
{
    (void)state;
    assert_int_equal(RUN(kta_cmd_init, "init", "--node", "Kts"), KT_EXIT_USAGE);
    assert_int_equal(INIT("--port", "0"), KT_EXIT_USAGE);
    assert_non_null(strstr(err_text, "--port"));
    assert_int_equal(INIT("--port", "11372"), KT_EXIT_USAGE); // the agent's
    assert_int_equal(INIT("--pg-rootdir", "relative"), KT_EXIT_USAGE);
    assert_int_equal(INIT("--external-name", "a b"), KT_EXIT_USAGE);
    assert_int_equal(is_empty(), 1);
}

static void folders_with_strange_content_are_refused_and_left_alone(void **state)
{
    (void)state;
    assert_int_equal(mkdir(temp_path("logs"), 0700), 0);
    temp_text("logs/other.log", "x");
    assert_int_equal(INIT(), KT_EXIT_FAILURE);
    assert_non_null(strstr(err_text, "logs"));
    assert_false(kt_file_exists(temp_path(".keytrustee")));
    assert_true(kt_file_exists(temp_path("logs/other.log")));
}

static void a_confdir_with_other_files_is_refused(void **state)
{
    (void)state;
    assert_int_equal(mkdir(temp_path(".keytrustee"), 0700), 0);
    temp_text(".keytrustee/secring.gpg", "x");
    assert_int_equal(INIT(), KT_EXIT_FAILURE);
    assert_non_null(strstr(err_text, "secring.gpg"));
    assert_false(kt_file_exists(temp_path("node")));
}

static void a_database_that_init_did_not_make_is_refused(void **state)
{
    (void)state;
    assert_int_equal(mkdir(temp_path("db"), 0700), 0);
    temp_text("db/base", "x");
    assert_int_equal(INIT(), KT_EXIT_FAILURE);
    assert_non_null(strstr(err_text, "not made by ktadmin"));
    assert_false(kt_file_exists(temp_path(".keytrustee")));
}

static void a_copied_confdir_without_its_promise_is_refused(void **state)
{
    struct kt_cluster_info info = {.node = "kts-01"};

    (void)state;
    strcpy(info.openpgp_fingerprint, "0123456789ABCDEF0123456789ABCDEF01234567");
    assert_int_equal(kt_uuid_random(&info.cluster_id), 0);
    assert_int_equal(mkdir(temp_path(".keytrustee"), 0700), 0);
    assert_int_equal(kt_cluster_info_save(temp_path(".keytrustee/cluster.json"), &info, NULL), 0);
    assert_int_equal(INIT(), KT_EXIT_FAILURE);
    assert_non_null(strstr(err_text, "promise"));
    assert_false(kt_file_exists(temp_path("db")));
}

static void settings_that_are_there_rule_and_options_that_differ_are_refused(void **state)
{
    (void)state;
    assert_int_equal(mkdir(temp_path(".keytrustee"), 0700), 0);
    temp_text(".keytrustee/keytrustee.conf", "[https]\nport = 21000\n");
    assert_int_equal(INIT("--port", "22000"), KT_EXIT_FAILURE);
    assert_non_null(strstr(err_text, "edit the file"));
    assert_false(kt_file_exists(temp_path("node")));
}

static int mode_of(const char *name)
{
    struct stat st;

    return stat(temp_path(name), &st) == 0 ? (int)(st.st_mode & 07777) : -1;
}

// One whole life, since a run takes seconds.
static void a_whole_run_can_be_repeated_and_its_result_is_right(void **state)
{
    struct kt_promise promise, again;
    struct kt_cluster_info info;
    char first[256];

    (void)state;
    setenv("KEYTRUSTEE_SCHEMA_DIR", KT_SOURCE_DIR "/db/schema", 1);
    // The account's home: its own files are in nobody's way.
    temp_text(".profile", "x");
    temp_text(".bash_history", "x");
    temp_text(".psql_history", "x");
    assert_int_equal(
        INIT("--external-name", "kts.example.com", "--port", "31001", "--agent-port", "31002"),
        KT_EXIT_OK);
    assert_int_equal(strncmp(out_text, "Initialized directory for 4096R/", 32), 0);
    assert_non_null(strstr(out_text, "org add"));
    assert_null(strstr(err_text, "already there"));
    assert_null(strstr(err_text, "ReadWritePaths"));
    assert_true(kt_file_exists(temp_path(".psql_history")));
    snprintf(first, sizeof(first), "%.*s", (int)strcspn(out_text, "\n"), out_text);
    assert_int_equal(kt_promise_load(temp_path("node/promise"), &promise, NULL), 0);
    assert_int_equal(strncmp(promise.member, "kts-01.", 7), 0);
    assert_int_equal(promise.incarnation.number, 1);
    assert_int_equal(promise.epoch, 1);
    assert_string_equal(promise.active, "kts-01");
    assert_int_equal(promise.active_since, 1);
    assert_int_equal(kt_cluster_info_load(temp_path(".keytrustee/cluster.json"), &info, NULL), 0);
    assert_non_null(strstr(first, info.openpgp_fingerprint));
    assert_int_equal(mode_of(".keytrustee"), 0700);
    assert_int_equal(mode_of("run"), 0700);
    assert_int_equal(mode_of(".keytrustee/ca/key.pem"), 0600);
    assert_false(kt_file_exists(temp_path(".keytrustee/init.json")));
    assert_false(kt_file_exists(temp_path(".keytrustee/init.lock")));
    assert_false(kt_file_exists(temp_path("run/init-db")));

    assert_int_equal(RUN(kta_cmd_db, "db", "--status"), 3);
    assert_non_null(strstr(out_text, "stopped"));

    assert_int_equal(INIT(), KT_EXIT_OK);
    assert_int_equal(strncmp(out_text, first, strlen(first)), 0);
    assert_null(strstr(err_text, " done"));
    assert_int_equal(kt_promise_load(temp_path("node/promise"), &again, NULL), 0);
    assert_string_equal(promise.member, again.member);
    assert_int_equal(RUN(kta_cmd_init, "init", "--node", "other"), KT_EXIT_FAILURE);
    assert_non_null(strstr(err_text, "keeps its name"));
    assert_int_equal(RUN(kta_cmd_init, "init", "--quiet"), KT_EXIT_OK);
    assert_string_equal(err_text, "");
    assert_int_equal(strlen(out_text), strlen(first) + 1);

    assert_int_equal(RUN(kta_cmd_config_check, "config", "check"), KT_EXIT_OK);
    assert_null(strstr(out_text, "FAIL"));
    assert_int_equal(RUN(kta_cmd_status, "status"), KT_EXIT_UNAVAILABLE);
    assert_non_null(strstr(out_text, promise.member));
    assert_int_equal(RUN(kta_cmd_config_show, "config", "show"), KT_EXIT_OK);
    assert_string_equal(out_text, "[https]\nport = 31001\n\n[agent]\nport = 31002\n");

    assert_int_equal(RUN(kta_cmd_db, "db", "--start", "--background"), KT_EXIT_OK);
    assert_int_equal(RUN(kta_cmd_db, "db", "--status", "--json"), KT_EXIT_OK);
    assert_non_null(strstr(out_text, "\"running\""));
    assert_int_equal(RUN(kta_cmd_config_check, "config", "check"), KT_EXIT_OK);
    assert_int_equal(RUN(kta_cmd_db, "db", "--stop"), KT_EXIT_OK);

    // What must not start: a node without promise, one that follows another, one that was retired.
    again = promise;
    strcpy(again.active, "kts-02");
    again.active_since = 0;
    assert_int_equal(kt_promise_save(temp_path("node/promise"), &again, NULL), 0);
    assert_int_equal(RUN(kta_cmd_db, "db", "--start", "--background"), KT_EXIT_UNAVAILABLE);
    again = promise;
    strcpy(again.retired_by, "2 kts-02");
    assert_int_equal(kt_promise_save(temp_path("node/promise"), &again, NULL), 0);
    assert_int_not_equal(RUN(kta_cmd_db, "db", "--start", "--background"), KT_EXIT_OK);
    assert_int_equal(unlink(temp_path("node/promise")), 0);
    assert_int_equal(RUN(kta_cmd_db, "db", "--start", "--background"), KT_EXIT_FAILURE);
    assert_int_equal(RUN(kta_cmd_db, "db", "--status"), 3);
    assert_int_equal(kt_promise_save(temp_path("node/promise"), &promise, NULL), 0);

    // What config check finds.
    assert_int_equal(chmod(temp_path(".keytrustee/ca/key.pem"), 0644), 0);
    assert_int_equal(RUN(kta_cmd_config_check, "config", "check", "-q"), KT_EXIT_FAILURE);
    assert_non_null(strstr(out_text, "FAIL     modes of files"));
    assert_int_equal(chmod(temp_path(".keytrustee/ca/key.pem"), 0600), 0);
    assert_int_equal(rename(temp_path(".keytrustee/tls/node-key.pem"),
                            temp_path(".keytrustee/tls/server-key.pem")),
                     0);
    assert_int_equal(RUN(kta_cmd_config_check, "config", "check", "-q"), KT_EXIT_FAILURE);
    assert_non_null(strstr(out_text, "is not the key of"));
    // A certificate whose key is gone is not replaced.
    assert_int_equal(INIT(), KT_EXIT_FAILURE);
}

static void a_data_directory_outside_the_base_comes_with_its_drop_in(void **state)
{
    char elsewhere[] = "/tmp/kt-elsewhere-XXXXXX", dir[64], line[128], command[128];

    (void)state;
    setenv("KEYTRUSTEE_SCHEMA_DIR", KT_SOURCE_DIR "/db/schema", 1);
    assert_non_null(mkdtemp(elsewhere));
    snprintf(dir, sizeof(dir), "%s/pg", elsewhere);
    snprintf(line, sizeof(line), "ReadWritePaths=%s\n", dir);
    assert_int_equal(INIT("--pg-rootdir", dir), KT_EXIT_OK);
    assert_non_null(strstr(err_text, line));
    assert_int_equal(INIT("--quiet"), KT_EXIT_OK);
    assert_string_equal(err_text, "");
    snprintf(command, sizeof(command), "rm -rf %s", elsewhere);
    assert_int_equal(system(command), 0);
}

static void db_wants_exactly_one_of_its_verbs(void **state)
{
    (void)state;
    assert_int_equal(RUN(kta_cmd_db, "db"), KT_EXIT_USAGE);
    assert_int_equal(RUN(kta_cmd_db, "db", "--start", "--stop"), KT_EXIT_USAGE);
}

static void commands_without_a_node_say_so(void **state)
{
    (void)state;
    assert_int_equal(RUN(kta_cmd_status, "status"), KT_EXIT_FAILURE);
    assert_non_null(strstr(err_text, "ktadmin init"));
    assert_int_equal(RUN(kta_cmd_db, "db", "--status"), KT_EXIT_FAILURE);
    assert_int_equal(RUN(kta_cmd_config_check, "config", "check"), KT_EXIT_FAILURE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(names_of_nodes_come_from_names_of_hosts),
        CASE(paths_that_sockets_or_postgresql_cannot_hold_are_refused),
        CASE(wrong_options_are_refused_and_nothing_is_made),
        CASE(folders_with_strange_content_are_refused_and_left_alone),
        CASE(a_confdir_with_other_files_is_refused),
        CASE(a_database_that_init_did_not_make_is_refused),
        CASE(a_copied_confdir_without_its_promise_is_refused),
        CASE(settings_that_are_there_rule_and_options_that_differ_are_refused),
        CASE(a_whole_run_can_be_repeated_and_its_result_is_right),
        CASE(a_data_directory_outside_the_base_comes_with_its_drop_in),
        CASE(db_wants_exactly_one_of_its_verbs),
        CASE(commands_without_a_node_say_so),
    };

    if (become_ordinary() != 0)
        return 1;
    return cmocka_run_group_tests(cases, NULL, NULL);
}
