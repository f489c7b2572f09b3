// SPDX-License-Identifier: Apache-2.0
// Sessions of before the CA's file changed: found by when they began, and ended; whatever they showed.
// And what hangs on an older root.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "lib/encode.h"
#include "tests/unit/db/real_nodes.h"

#define NOW kt_time_now()

static char conninfo[8 * KT_PATH_MAX];

// As a member, over TLS.
static PGconn *begin(void)
{
    PGconn *conn;

    snprintf(conninfo, sizeof(conninfo),
             "host=127.0.0.1 port=%u sslmode=verify-ca sslrootcert=%s sslcert=%s sslkey=%s user=%s"
             " dbname=keytrustee",
             (unsigned)nodes[0].peer.database_port, nodes[0].paths.ca_cert,
             nodes[1].paths.node_cert, nodes[1].paths.node_key, member_of(1));
    conn = PQconnectStart(conninfo);
    assert_non_null(conn);
    return conn;
}

// Until the session is there; or (`is_stalled`) until PostgreSQL has forked a process for it, which
// has not been told anything yet.
static int go_on(PGconn *conn, int is_stalled)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    for (int64_t until = kt_monotonic_now() + 20000000; kt_monotonic_now() < until;) {
        struct pollfd fd = {.fd = PQsocket(conn),
                            .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        if (poll(&fd, 1, 100) < 1)
            continue;
        if (is_stalled)
            return 1;
        status = PQconnectPoll(conn);
        if (status == PGRES_POLLING_OK || status == PGRES_POLLING_FAILED)
            return status == PGRES_POLLING_OK;
    }
    return 0;
}

static PGconn *session(void)
{
    PGconn *conn = begin();

    assert_true(go_on(conn, 0));
    return conn;
}

static int is_alive(PGconn *conn)
{
    PGresult *result = PQexec(conn, "SELECT 1");
    int is_so = PQresultStatus(result) == PGRES_TUPLES_OK;

    PQclear(result);
    return is_so;
}

static void wait_for_time(int64_t us)
{
    const struct timespec step = {.tv_nsec = 5000000};

    while (NOW < us)
        nanosleep(&step, NULL);
}

static struct db_before reloaded(void)
{
    struct db_before before = {0};

    OK(db_reload_ca(nodes[0].cluster, NOW, &before, &error));
    assert_true(before.us > 0);
    wait_for_time(before.us);
    return before;
}

static int end(int64_t before_us, uint32_t *left)
{
    uint32_t ended = 9;

    OK(db_admin_end_before(admins[0], before_us, &ended, left, &error));
    return (int)ended;
}

static void a_session_of_before_is_ended_and_one_of_after_stays(void **state)
{
    PGconn *old = session(), *fresh;
    struct db_before before = reloaded();
    uint32_t left = 9;

    (void)state;
    fresh = session();
    assert_true(is_alive(old));
    assert_int_equal(end(before.us, &left), 1);
    assert_int_equal(left, 0);
    assert_false(is_alive(old));
    assert_true(is_alive(fresh));
    assert_int_equal(end(before.us, &left), 0);
    PQfinish(old);
    PQfinish(fresh);
}

// Its process was forked with the file of before, and judges by that.
static void a_handshake_that_was_stalled_becomes_a_session_of_before(void **state)
{
    PGconn *stalled = begin();
    struct db_before before;
    uint32_t left = 9;

    (void)state;
    assert_true(go_on(stalled, 1));
    before = reloaded();
    assert_int_equal(end(before.us, &left), 0); // not there yet
    assert_true(before.pending_ms >= 2 * 5000); // but may be for so long
    assert_true(go_on(stalled, 0));
    assert_true(is_alive(stalled));
    assert_int_equal(end(before.us, &left), 1);
    assert_int_equal(left, 0);
    assert_false(is_alive(stalled));
    PQfinish(stalled);
}

static void a_session_that_does_not_end_is_not_counted_as_ended(void **state)
{
    PGconn *stopped = session();
    struct db_before before = reloaded();
    pid_t pid = PQbackendPID(stopped);
    uint32_t left = 0;
    int ended;

    (void)state;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    ended = end(before.us, &left);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(ended, 0);
    assert_int_equal(left, 1);
    wait_for(0, "SELECT count(*) = 0 FROM pg_stat_ssl WHERE ssl");
    assert_int_equal(end(before.us, &left), 0);
    assert_int_equal(left, 0);
    assert_false(is_alive(stopped));
    PQfinish(stopped);
}

static void sessions_through_the_socket_are_not_touched(void **state)
{
    struct db_admin *other = NULL;
    struct db_before before;
    uint32_t left = 9;

    (void)state;
    OK(db_admin_open(nodes[0].cluster, MS, &other, &error));
    before = reloaded();
    assert_int_equal(end(before.us, &left), 0);
    assert_true(is_alive(other->conn));
    db_admin_close(other);
}

static void nothing_is_of_before_when_it_was_started_since(void **state)
{
    struct db_before before = {.us = 9};

    (void)state;
    OK(db_reload_ca(nodes[0].cluster, NOW - 3600 * INT64_C(1000000), &before, &error));
    assert_true(before.us == 0);
    stop_one(0);
    before.us = 9;
    OK(db_reload_ca(nodes[0].cluster, NOW, &before, &error));
    assert_true(before.us == 0);
    start_one(0);
    admin_open(0);
}

// --- what hangs on an older root ---

#define CLIENTS 400 // with two keys each: more than a page

struct seen {
    int count, one_count;
    char last[KT_UUID_TEXT], one[64];
};

static int see(void *arg, const char *client, const char *name, const char *pem)
{
    struct seen *seen = arg;

    seen->count++;
    assert_true(strcmp(client, seen->last) >= 0);
    snprintf(seen->last, sizeof(seen->last), "%s", client);
    if (strcmp(name, "acme/one") != 0)
        return 0;
    seen->one_count++;
    strncat(seen->one, pem, sizeof(seen->one) - strlen(seen->one) - 1);
    return 0;
}

static void the_newest_certificate_of_each_key_of_a_client_is_looked_at(void **state)
{
    struct seen seen = {0};
    char sql[2048];

    (void)state;
    snprintf(
        sql, sizeof(sql),
        "BEGIN READ WRITE; INSERT INTO organisations (organisation_id, name, created_at, "
        "created_by)"
        " VALUES (gen_random_uuid(), 'acme', now(), 'x');"
        "INSERT INTO clients (client_id, organisation_id, name, state, created_at)"
        " SELECT gen_random_uuid(), organisation_id, CASE n WHEN 1 THEN 'one' WHEN 2 THEN 'gone'"
        "  ELSE 'many' END, CASE n WHEN 2 THEN 'revoked' ELSE 'active' END, now()"
        " FROM organisations, generate_series(1, %d) n;"
        "INSERT INTO client_certificates (sha256, client_id, key_sha256, certificate, not_after,"
        "  created_at, revoked_at) SELECT sha256((client_id::text || k || t)::bytea), client_id,"
        "  sha256((client_id::text || k)::bytea), k || t || ' ', CASE t WHEN 4 THEN now() ELSE"
        "  'infinity' END, now() + t * interval '1 s', CASE t WHEN 3 THEN now() END"
        " FROM clients, unnest('{a,b}'::text[]) k, generate_series(1, 4) t"
        " WHERE k = 'a' OR t <> 2; COMMIT",
        CLIENTS);
    OK(db_pg_run(admins[0]->conn, MS, sql, &error));
    OK(db_admin_client_certificates(admins[0], see, &seen, &error));
    assert_int_equal(seen.count, 2 * (CLIENTS - 1));
    assert_int_equal(seen.one_count, 2);
    assert_non_null(strstr(seen.one, "a2 "));
    assert_non_null(strstr(seen.one, "b1 "));
}

// By the root, where it is on record: what is made while a replacement has begun is of the older one.
static void operators_and_codes_are_judged_by_the_root_that_they_name(void **state)
{
    static const char SQL[] =
        "BEGIN READ WRITE; INSERT INTO node_certificates (sha256, kind, name, not_after, "
        "created_at,"
        " ca_sha256) SELECT sha256((n || coalesce(r, '') || t)::bytea), 'operator', n, 'infinity',"
        "  to_timestamp(t), sha256(r::bytea) FROM (VALUES ('ada', 'older', 30),"
        "  ('ben', 'newer', 10), ('cyd', NULL, 10), ('dan', NULL, 30), ('eve', 'older', 10),"
        "  ('eve', 'newer', 30)) v (n, r, t);"
        "INSERT INTO auth_codes (code_id, organisation_id, secret_sha256, max_uses, rights,"
        "  expires_at, created_at, created_by, ca_sha256) SELECT n, organisation_id,"
        "  sha256(n::bytea), 1, '{}', 'infinity', to_timestamp(t), 'x', sha256(r::bytea)"
        " FROM organisations, (VALUES ('a', 'older', 30), ('b', 'newer', 10), ('c', NULL, 10),"
        "  ('d', NULL, 30)) v (n, r, t); COMMIT";
    uint8_t root[KT_SHA256_LEN];
    json_t *found = NULL, *names = json_pack("[s, s]", "ada", "cyd");

    (void)state;
    OK(db_pg_run(admins[0]->conn, MS, SQL, &error));
    OK(kt_sha256("newer", 5, root));
    OK(db_admin_of_older_root(admins[0], root, INT64_C(20000000), &found, &error));
    assert_true(json_equal(json_object_get(found, "operators"), names));
    assert_int_equal(json_integer_value(json_object_get(found, "codes")), 2);
    json_decref(found);
    json_decref(names);
}

static int setup(void **state)
{
    if (nodes_setup(state))
        return -1;
    return db_admin_node_put(admins[0], &nodes[1].peer, NULL, &error);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_session_of_before_is_ended_and_one_of_after_stays),
        cmocka_unit_test(a_handshake_that_was_stalled_becomes_a_session_of_before),
        cmocka_unit_test(a_session_that_does_not_end_is_not_counted_as_ended),
        cmocka_unit_test(sessions_through_the_socket_are_not_touched),
        cmocka_unit_test(nothing_is_of_before_when_it_was_started_since),
        cmocka_unit_test(the_newest_certificate_of_each_key_of_a_client_is_looked_at),
        cmocka_unit_test(operators_and_codes_are_judged_by_the_root_that_they_name),
    };

    return cmocka_run_group_tests(cases, setup, nodes_teardown);
}
