// SPDX-License-Identifier: Apache-2.0
// Connecting with a deadline and without the environment.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/un.h>

#include "tests/unit/db/real_cluster.h"

static int setup(void **state)
{
    (void)state;
    return temp_dir_setup(NULL);
}

static struct db_target target_here(void)
{
    return (struct db_target){.socket_dir = temp_dir,
                              .port = 5555,
                              .database = "keytrustee",
                              .user = "kts_reader",
                              .password = "secret",
                              .application_name = "test"};
}

static void variables_of_libpq_are_dropped_and_others_kept(void **state)
{
    (void)state;
    setenv("PGHOSTADDR", "192.0.2.1", 1);
    setenv("PGSERVICE", "other", 1);
    setenv("PGOPTIONS", "-c fsync=off", 1);
    setenv("PG", "", 1);
    setenv("NOT_PGHOST", "kept", 1);
    db_pg_clean_environment();
    assert_null(getenv("PGHOSTADDR"));
    assert_null(getenv("PGSERVICE"));
    assert_null(getenv("PGOPTIONS"));
    assert_string_equal(getenv("NOT_PGHOST"), "kept");
    assert_non_null(getenv("PATH"));
}

static void a_socket_where_nobody_listens_is_unavailable(void **state)
{
    struct db_target target = target_here();
    struct kt_error error = {0};
    PGconn *conn = NULL;

    (void)state;
    assert_int_equal(db_pg_connect(&target, 1000, &conn, &error), KT_ERR_DATABASE_UNAVAILABLE);
    assert_null(conn);
    assert_null(strchr(error.message, '\n'));
    assert_null(strstr(error.message, "secret"));
}

static void a_server_that_says_nothing_runs_into_the_deadline(void **state)
{
    struct db_target target = target_here();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    PGconn *conn = NULL;
    int64_t start;

    (void)state;
    assert_true(fd >= 0);
    assert_true((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.5555",
                                 temp_dir) < sizeof(address.sun_path));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 4), 0);
    start = kt_monotonic_now();
    assert_int_equal(db_pg_connect(&target, 200, &conn, NULL), KT_ERR_DATABASE_TIMEOUT);
    assert_true(kt_monotonic_now() - start < 5000000);
    close(fd);
}

static void no_parameter_is_left_to_the_environment(void **state)
{
    static const char *const NEEDED[] = {"host",
                                         "port",
                                         "dbname",
                                         "user",
                                         "passfile",
                                         "sslmode",
                                         "gssencmode",
                                         "client_encoding",
                                         "application_name"};
    const char *keywords[DB_PG_PARAMETERS], *values[DB_PG_PARAMETERS];
    struct db_target target = target_here();
    char port[8];

    (void)state;
    db_pg_parameters(&target, port, keywords, values);
    for (size_t i = 0; i < sizeof(NEEDED) / sizeof(NEEDED[0]); i++) {
        int found = 0;
        for (int k = 0; keywords[k]; k++)
            found |= strcmp(keywords[k], NEEDED[i]) == 0 && values[k][0] != '\0';
        assert_true(found);
    }
    assert_string_equal(port, "5555");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(variables_of_libpq_are_dropped_and_others_kept),
        CASE(a_socket_where_nobody_listens_is_unavailable),
        CASE(a_server_that_says_nothing_runs_into_the_deadline),
        CASE(no_parameter_is_left_to_the_environment),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
