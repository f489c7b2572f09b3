// SPDX-License-Identifier: Apache-2.0
// Finding the confdir, and everything that follows from it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/paths.h"
#include "tests/unit/lib/temp_dir.h"

static struct kt_paths paths;
static struct kt_error error;

// Resolves `given` and expects `confdir`.
static void expect(const char *given, const char *confdir)
{
    if (kt_paths_resolve(given, &paths, &error) != 0)
        fail_msg("%s", error.message);
    assert_string_equal(paths.confdir, confdir);
}

static void without_a_confdir_the_default_serves(void **state)
{
    (void)state;
    expect(NULL, KT_DEFAULT_CONFDIR);
    assert_string_equal(paths.base, "/var/lib/keytrustee");
    assert_string_equal(paths.settings, KT_DEFAULT_CONFDIR "/keytrustee.conf");
    assert_string_equal(paths.cluster, KT_DEFAULT_CONFDIR "/cluster.json");
    assert_string_equal(paths.gnupg, KT_DEFAULT_CONFDIR);
    assert_string_equal(paths.ca_key, KT_DEFAULT_CONFDIR "/ca/key.pem");
    assert_string_equal(paths.server_cert, KT_DEFAULT_CONFDIR "/tls/server-cert.pem");
    assert_string_equal(paths.node_key, KT_DEFAULT_CONFDIR "/tls/node-key.pem");
    assert_string_equal(paths.receipt_cert, KT_DEFAULT_CONFDIR "/receipt/cert.pem");
    assert_string_equal(paths.secrets, KT_DEFAULT_CONFDIR "/secrets");
    assert_string_equal(paths.promise, "/var/lib/keytrustee/node/promise");
    assert_string_equal(paths.agent_socket, "/var/lib/keytrustee/run/agent.sock");
    assert_string_equal(paths.pid_file, "/var/lib/keytrustee/run/kts.pid");
    assert_string_equal(paths.db, "/var/lib/keytrustee/db");
    assert_string_equal(paths.audit, "/var/lib/keytrustee/audit");
    assert_string_equal(paths.logs, "/var/lib/keytrustee/logs");
}

static void missing_folder_is_the_parent_of_the_confdir(void **state)
{
    (void)state;
    expect("/none/such", "/none/such/.keytrustee");
    assert_string_equal(paths.base, "/none/such");
    expect("/none/such/.keytrustee", "/none/such/.keytrustee");
    assert_string_equal(paths.base, "/none/such");
    expect("/", "/.keytrustee");
    assert_string_equal(paths.base, "/");
    assert_string_equal(paths.run, "/run");
}

static void folder_above_an_existing_confdir_serves(void **state)
{
    char want[512];

    (void)state;
    snprintf(want, sizeof(want), "%s", temp_path(".keytrustee"));
    expect(temp_dir, want);
    assert_int_equal(mkdir(want, 0700), 0);
    expect(temp_dir, want);
    expect(want, want);
    // it wins over settings that lie about in the folder above
    temp_text("keytrustee.conf", "");
    expect(temp_dir, want);
}

static void folder_with_settings_or_identity_is_the_confdir_itself(void **state)
{
    (void)state;
    temp_text("keytrustee.conf", "");
    expect(temp_dir, temp_dir);
    unlink(temp_path("keytrustee.conf"));
    temp_text("cluster.json", "{}");
    expect(temp_dir, temp_dir);
    // a file of that name is no confdir
    temp_text(".keytrustee", "");
    expect(temp_dir, temp_dir);
}

static void slashes_and_dots_are_tidied(void **state)
{
    (void)state;
    expect("//none///such/./x/", "/none/such/x/.keytrustee");
    expect("/none/.keytrustee/", "/none/.keytrustee");
}

static void relative_folder_is_taken_from_here(void **state)
{
    char here[512], want[600];

    (void)state;
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(temp_dir), 0);
    char real[512];
    assert_non_null(getcwd(real, sizeof(real)));
    snprintf(want, sizeof(want), "%s/x/.keytrustee", real);
    expect("x", want);
    expect("./x/", want);
    snprintf(want, sizeof(want), "%s/.keytrustee", real);
    expect(".", want);
    expect(".keytrustee", want);
    assert_int_equal(mkdir("x", 0700), 0);
    expect("x/..", want);
    assert_int_equal(kt_paths_resolve("none/..", &paths, &error), KT_ERR_SYSTEM);
    assert_int_equal(chdir(here), 0);
}

static void removed_current_folder_is_a_system_error(void **state)
{
    char here[512];

    (void)state;
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(mkdir(temp_path("gone"), 0700), 0);
    assert_int_equal(chdir(temp_path("gone")), 0);
    assert_int_equal(rmdir(temp_path("gone")), 0);
    assert_int_equal(kt_paths_resolve("x", &paths, &error), KT_ERR_SYSTEM);
    assert_int_equal(chdir(here), 0);
}

static void empty_confdir_is_invalid(void **state)
{
    (void)state;
    assert_int_equal(kt_paths_resolve("", &paths, &error), KT_ERR_INVALID);
}

static void folder_whose_sockets_would_not_fit_is_too_large(void **state)
{
    char given[KT_SOCKET_DIR_MAX + 2] = "/";

    (void)state;
    // "/aaa...a" + "/run" is exactly at the bound, then one over it
    memset(given + 1, 'a', KT_SOCKET_DIR_MAX - 5);
    given[KT_SOCKET_DIR_MAX - 4] = '\0';
    assert_int_equal(kt_paths_resolve(given, &paths, &error), 0);
    assert_int_equal(strlen(paths.run), KT_SOCKET_DIR_MAX);
    given[KT_SOCKET_DIR_MAX - 4] = 'a';
    given[KT_SOCKET_DIR_MAX - 3] = '\0';
    assert_int_equal(kt_paths_resolve(given, &paths, &error), KT_ERR_TOO_LARGE);
    assert_non_null(strstr(error.message, "80"));
    assert_non_null(strstr(error.message, "/run'"));
}

static void path_over_its_buffer_is_too_large_at_any_length(void **state)
{
    static char given[3000];

    (void)state;
    for (size_t n = KT_PATH_MAX - 40; n < KT_PATH_MAX + 40; n++) {
        memset(given, 'a', n);
        given[0] = '/';
        given[n] = '\0';
        assert_int_equal(kt_paths_resolve(given, &paths, &error), KT_ERR_TOO_LARGE);
        given[0] = 'a';
        assert_int_equal(kt_paths_resolve(given, &paths, &error), KT_ERR_TOO_LARGE);
    }
}

static void only_what_all_nodes_have_in_common_is_shared(void **state)
{
    static const char *const SHARED[] = {"ca/key.pem", "ca/cert.pem", "secrets/kts_writer",
                                         "private-keys-v1.d/AA2ABA.key", "pubring.kbx"};
    static const char *const OWN[] = {"cluster.json",
                                      "keytrustee.conf",
                                      "tls/node-key.pem",
                                      "gpg.conf",
                                      "gpg-agent.conf",
                                      "common.conf",
                                      "ca/key.pem~",
                                      "secrets/../tls/node-key.pem",
                                      "secrets/.hidden",
                                      "ca",
                                      "",
                                      "../ca/key.pem",
                                      "/ca/key.pem"};

    (void)state;
    for (size_t i = 0; i < sizeof(SHARED) / sizeof(SHARED[0]); i++)
        assert_true(kt_path_is_shared(SHARED[i]));
    for (size_t i = 0; i < sizeof(OWN) / sizeof(OWN[0]); i++)
        assert_false(kt_path_is_shared(OWN[i]));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(without_a_confdir_the_default_serves),
        CASE(missing_folder_is_the_parent_of_the_confdir),
        CASE(folder_above_an_existing_confdir_serves),
        CASE(folder_with_settings_or_identity_is_the_confdir_itself),
        CASE(slashes_and_dots_are_tidied),
        CASE(relative_folder_is_taken_from_here),
        CASE(removed_current_folder_is_a_system_error),
        CASE(empty_confdir_is_invalid),
        CASE(folder_whose_sockets_would_not_fit_is_too_large),
        CASE(only_what_all_nodes_have_in_common_is_shared),
        CASE(path_over_its_buffer_is_too_large_at_any_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
