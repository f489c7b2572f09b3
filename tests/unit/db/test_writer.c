// SPDX-License-Identifier: Apache-2.0
// The writer on a real PostgreSQL: under which settings it opens, and whose word it takes. Members
// are pg_receivewal processes, which flush and report like a standby.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>

#include "db/queries.h"
#include "db/replication.h"
#include "db/writer.h"
#include "lib/digest.h"
#include "lib/pki.h"
#include "tests/unit/db/real_cluster.h"

#define MS     20000
#define MEMBER "kts-02.0000000b"
#define OTHER  "kts-03.0000000c"
#define NAME   MEMBER "_e2_kts-01"

static EVP_PKEY *receipt_key;
static struct db_target target;
static struct kt_secret *secret;
static pid_t receivers[4];
static int has_permission, has_quorum;

static void run_as_owner(const char *sql)
{
    struct db_target owner = {0};
    struct kt_error error = {0};
    PGconn *conn = NULL;
    int rc;

    db_target_owner(&real.paths, real.settings, "keytrustee", &owner);
    rc = db_pg_connect(&owner, MS, &conn, &error);
    if (rc == 0)
        rc = db_pg_query(conn, MS, "SET synchronous_commit = local", 0, NULL, NULL, &error);
    if (rc == 0)
        rc = db_pg_query(conn, MS, sql, 0, NULL, NULL, &error);
    PQfinish(conn);
    if (rc)
        fail_msg("%s: %s", sql, error.message);
}

static int count_as_owner(const char *sql)
{
    struct db_target owner = {0};
    PGresult *result = NULL;
    PGconn *conn = NULL;
    int n;

    db_target_owner(&real.paths, real.settings, "keytrustee", &owner);
    assert_int_equal(db_pg_connect(&owner, MS, &conn, NULL), 0);
    assert_int_equal(db_pg_query(conn, MS, sql, 0, NULL, &result, NULL), 0);
    n = atoi(PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(conn);
    return n;
}

static void wait_for(const char *sql, int wanted)
{
    for (int i = 0; i < 1000; i++) {
        if (count_as_owner(sql) == wanted)
            return;
        poll(NULL, 0, 10);
    }
    fail_msg("never %d: %s", wanted, sql);
}

static void set_names(const char *names)
{
    char sql[512];

    snprintf(sql, sizeof(sql), "ALTER SYSTEM SET synchronous_standby_names = '%s'", names);
    run_as_owner(sql);
    run_as_owner("SELECT pg_reload_conf()");
    snprintf(sql, sizeof(sql), "SELECT (current_setting('synchronous_standby_names') = '%s')::int",
             names);
    wait_for(sql, 1);
}

// Beside the server's own program: the folder of the settings may hold links to a few of them.
static void find_program(char *out, size_t size)
{
    char link[300], *own;

    snprintf(link, sizeof(link), "%s/postgres", db_cluster_bin(real.cluster));
    own = realpath(link, NULL);
    assert_non_null(own);
    snprintf(out, size, "%.*s/pg_receivewal", (int)(strrchr(own, '/') - own), own);
    assert_int_equal(access(out, X_OK), 0);
    free(own);
}

// Streams as `role` under `name`. What does not flush at once says only what it has written.
static void start_receiver(int place, const char *role, const char *name, int flushes)
{
    char dir[300], program[300], conn[600];
    int before = count_as_owner("SELECT count(*) FROM pg_stat_replication");

    snprintf(dir, sizeof(dir), "%s/wal-%d", temp_dir, place);
    assert_true(mkdir(dir, 0700) == 0 || access(dir, W_OK) == 0);
    find_program(program, sizeof(program));
    snprintf(conn, sizeof(conn), "host=%s port=%d user=%s application_name=%s", target.socket_dir,
             target.port, role, name);
    receivers[place] = fork();
    if (receivers[place] == 0) {
        execl(program, program, "-D", dir, "-d", conn, "--no-loop",
              flushes ? "--synchronous" : NULL, (char *)NULL);
        _exit(127);
    }
    assert_true(receivers[place] > 0);
    wait_for("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", before + 1);
}

static void stop_receivers(void)
{
    for (size_t i = 0; i < sizeof(receivers) / sizeof(receivers[0]); i++) {
        if (receivers[i] <= 0)
            continue;
        kill(receivers[i], SIGKILL);
        waitpid(receivers[i], NULL, 0);
        receivers[i] = 0;
    }
    wait_for("SELECT count(*) FROM pg_stat_replication", 0);
}

static int permitted(void *arg)
{
    (void)arg;
    return has_permission;
}

static int quorum(void *arg)
{
    (void)arg;
    return has_quorum;
}

static int open_in(uint64_t epoch, struct db_writer **writer, struct kt_error *error)
{
    struct db_writer_settings settings = {
        .receipt_key = receipt_key,
        .ca_cert_pem = "",
        .info = &real.info,
        .incarnation = {1, 0x0123456789abcdefULL},
        .epoch = epoch,
        .timeout_ms = 1500,
        .permitted = permitted,
        .quorum = quorum,
    };

    *writer = NULL;
    memset(error, 0, sizeof(*error));
    return db_writer_open(&target, &settings, writer, error);
}

static int barrier(struct db_writer *writer, struct kt_error *error)
{
    struct kt_change change = {.kind = KT_CHANGE_BARRIER};
    struct db_member member = {.change = &change};

    return db_group_write(writer, &member, 1, error);
}

static int refused_in(uint64_t epoch)
{
    struct db_writer *writer;
    struct kt_error error;
    int rc = open_in(epoch, &writer, &error);

    db_writer_close(writer);
    return rc;
}

static int set_up_all(void **state)
{
    uint8_t public_key[KT_ED25519_PUB_LEN], id[KT_KEY_ID_LEN];
    char hex[2 * KT_KEY_ID_LEN + 1], sql[256], path[400], *hba = NULL, *text;
    int rc = real_setup(state);

    if (rc || kt_pki_new_ed25519(&receipt_key) || kt_ed25519_public(receipt_key, public_key) ||
        kt_ed25519_key_id(public_key, id) ||
        db_target_load(&real.paths, real.settings, DB_ROLE_WRITER, &target, &secret, NULL))
        return -1;
    kt_hex_encode(id, KT_KEY_ID_LEN, hex);
    snprintf(sql, sizeof(sql),
             "INSERT INTO receipt_keys (key_id, certificate, created_at)"
             " VALUES (decode('%s', 'hex'), 'x', now())",
             hex);
    run_as_owner(sql);
    run_as_owner("CREATE ROLE \"" MEMBER "\" LOGIN REPLICATION");
    run_as_owner("CREATE ROLE \"" OTHER "\" LOGIN REPLICATION");
    snprintf(path, sizeof(path), "%s/pg_hba.conf", db_cluster_dir(real.cluster));
    if (kt_file_read_text(path, 65536, &hba, NULL) ||
        asprintf(&text, "local replication all trust\n%s", hba) < 0 ||
        kt_file_replace(path, text, strlen(text), 0600, NULL))
        return -1;
    free(hba);
    free(text);
    run_as_owner("SELECT pg_reload_conf()");
    return 0;
}

static int tear_down_all(void **state)
{
    kt_secret_free(secret);
    EVP_PKEY_free(receipt_key);
    return real_teardown(state);
}

static int set_up(void **state)
{
    (void)state;
    has_permission = has_quorum = 1;
    return 0;
}

// Epoch 2 has two members; W is 1 in its first row, 2 in its second.
static int set_up_members(void **state)
{
    run_as_owner("INSERT INTO epochs (incarnation, epoch, sequence, active, members, w, start_lsn,"
                 " timeline) VALUES (1, 2, 1, 'kts-01.0a1b2c3d', '{" MEMBER "," OTHER "}', 1,"
                 " '0/0', 1) ON CONFLICT DO NOTHING");
    set_names("ANY 1 (\"" NAME "\", \"" OTHER "_e2_kts-01\")");
    return set_up(state);
}

static int tear_down_members(void **state)
{
    (void)state;
    stop_receivers();
    return 0;
}

static void standalone_writer_opens_and_proves_its_barriers(void **state)
{
    struct db_writer_state what;
    struct db_writer *writer;
    struct kt_error error;
    int rc = open_in(1, &writer, &error);

    (void)state;
    if (rc)
        fail_msg("%d %s", rc, error.message);
    db_writer_state(writer, &what);
    assert_int_equal(what.w, 0);
    assert_int_equal(what.epoch, 1);
    assert_int_equal(barrier(writer, &error), 0);
    db_writer_close(writer);
}

static void writer_opens_only_in_the_epoch_that_it_was_permitted_for(void **state)
{
    (void)state;
    assert_int_equal(refused_in(2), KT_ERR_FENCED);
}

// A group that an earlier writer, or somebody else, left prepared.
static void leave_group_as(const struct db_target *role, const char *gid)
{
    char sql[256];
    struct kt_error error = {0};
    PGconn *conn = NULL;
    int rc = db_pg_connect(role, MS, &conn, &error);

    snprintf(sql, sizeof(sql),
             "SET synchronous_commit = local; BEGIN;"
             " SELECT pg_logical_emit_message(true, 'kt', 'x'); PREPARE TRANSACTION '%s'",
             gid);
    if (rc == 0)
        rc = db_pg_run(conn, MS, sql, &error);
    PQfinish(conn);
    if (rc)
        fail_msg("%s", error.message);
}

static void leave_group(const char *gid)
{
    leave_group_as(&target, gid);
}

#define LEFT "SELECT count(*) FROM pg_prepared_xacts"

static void permission_that_was_taken_back_settles_nothing(void **state)
{
    struct db_writer_state what;
    struct db_writer *writer;
    struct kt_error error;

    (void)state;
    leave_group("kt:1.0123456789abcdef:1:5");
    has_permission = 0;
    assert_int_equal(refused_in(1), KT_ERR_NO_QUORUM);
    assert_int_equal(count_as_owner(LEFT), 1);
    has_permission = 1;
    assert_int_equal(open_in(1, &writer, &error), 0);
    db_writer_state(writer, &what);
    assert_int_equal(what.settled, 1);
    assert_int_equal(count_as_owner(LEFT), 0);
    db_writer_close(writer);
}

// How many groups the agent sees in doubt.
static int seen_in_doubt(void)
{
    struct kt_secret *agent_secret = NULL;
    struct db_session *session = NULL;
    struct kt_error error = {0};
    struct db_target agent;
    json_t *look = NULL;
    int n;

    assert_int_equal(
        db_target_load(&real.paths, real.settings, DB_ROLE_AGENT, &agent, &agent_secret, NULL), 0);
    assert_int_equal(db_session_new(&agent, &session), 0);
    assert_int_equal(db_query_look(session, &look, &error), 0);
    n = (int)json_integer_value(json_object_get(look, "prepared"));
    json_decref(look);
    db_session_free(session);
    kt_secret_free(agent_secret);
    return n;
}

static uint32_t counted_in_doubt(void)
{
    struct db_admin *admin = NULL;
    struct kt_error error = {0};
    uint32_t n = 0;

    assert_int_equal(db_admin_open(real.cluster, MS, &admin, &error), 0);
    assert_int_equal(db_admin_in_doubt(admin, &n, &error), 0);
    db_admin_close(admin);
    return n;
}

static void group_of_another_role_is_neither_settled_nor_counted(void **state)
{
    struct db_target owner = {0};
    struct db_writer_state what;
    struct db_writer *writer;
    struct kt_error error;

    (void)state;
    db_target_owner(&real.paths, real.settings, "keytrustee", &owner);
    leave_group_as(&owner, "kt:1.0123456789abcdef:1:7");
    assert_int_equal(seen_in_doubt(), 0);
    assert_int_equal(counted_in_doubt(), 0);
    leave_group("kt:1.0123456789abcdef:1:8");
    assert_int_equal(seen_in_doubt(), 1);
    assert_int_equal(counted_in_doubt(), 1);
    assert_int_equal(open_in(1, &writer, &error), 0);
    db_writer_state(writer, &what);
    assert_int_equal(what.settled, 1);
    db_writer_close(writer);
    assert_int_equal(count_as_owner(LEFT " WHERE gid = 'kt:1.0123456789abcdef:1:7'"), 1);
    run_as_owner("ROLLBACK PREPARED 'kt:1.0123456789abcdef:1:7'");
}

static void member_under_its_name_and_role_acknowledges(void **state)
{
    struct db_writer *writer;
    struct kt_error error;
    int rc;

    (void)state;
    start_receiver(0, MEMBER, NAME, 1);
    rc = open_in(2, &writer, &error);
    if (rc)
        fail_msg("%d %s", rc, error.message);
    assert_int_equal(barrier(writer, &error), 0);
    db_writer_close(writer);
}

// PostgreSQL acknowledges by name alone: the barrier itself comes back clean.
static void stranger_under_a_members_name_does_not_count(void **state)
{
    (void)state;
    leave_group("kt:1.0123456789abcdef:1:6");
    start_receiver(0, OTHER, NAME, 1);
    assert_int_equal(refused_in(2), KT_ERR_NO_QUORUM);
    assert_int_equal(count_as_owner(LEFT), 1);
}

// The stranger makes PostgreSQL's own quorum; the member has the barrier, but not on its disk.
static void member_that_has_not_flushed_does_not_count(void **state)
{
    (void)state;
    start_receiver(0, OTHER, NAME, 1);
    start_receiver(1, OTHER, OTHER "_e2_kts-01", 0);
    assert_int_equal(refused_in(2), KT_ERR_NO_QUORUM);
}

static void name_of_another_epoch_does_not_count(void **state)
{
    int64_t began;

    (void)state;
    start_receiver(0, MEMBER, MEMBER "_e1_kts-01", 1);
    assert_int_equal(refused_in(2), KT_ERR_DATABASE_UNAVAILABLE);
    has_quorum = 0;
    began = kt_monotonic_now();
    assert_int_equal(refused_in(2), KT_ERR_NO_QUORUM);
    assert_true(kt_monotonic_now() - began < 1000000);
}

static void changed_names_are_noticed(void **state)
{
    struct db_writer *writer;
    struct kt_error error;

    (void)state;
    start_receiver(0, MEMBER, NAME, 1);
    assert_int_equal(open_in(2, &writer, &error), 0);
    set_names("");
    poll(NULL, 0, 100);
    assert_int_equal(barrier(writer, &error), KT_ERR_UNSAFE_SETTINGS);
    db_writer_close(writer);
    assert_int_equal(refused_in(2), KT_ERR_UNSAFE_SETTINGS);
}

// PostgreSQL counts connections: two of one member are two for it.
static void member_with_two_connections_counts_once(void **state)
{
    (void)state;
    run_as_owner("INSERT INTO epochs (incarnation, epoch, sequence, active, members, w, start_lsn,"
                 " timeline) VALUES (1, 2, 2, 'kts-01.0a1b2c3d', '{" MEMBER "," OTHER "}', 2,"
                 " '0/0', 1) ON CONFLICT DO NOTHING");
    set_names("ANY 2 (\"" NAME "\", \"" OTHER "_e2_kts-01\")");
    start_receiver(0, MEMBER, NAME, 1);
    start_receiver(1, MEMBER, NAME, 1);
    assert_int_equal(refused_in(2), KT_ERR_NO_QUORUM);
    start_receiver(2, OTHER, OTHER "_e2_kts-01", 1);
    assert_int_equal(refused_in(2), 0);
}

#define CASE(name)         cmocka_unit_test_setup(name, set_up)
#define WITH_MEMBERS(name) cmocka_unit_test_setup_teardown(name, set_up_members, tear_down_members)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(standalone_writer_opens_and_proves_its_barriers),
        CASE(writer_opens_only_in_the_epoch_that_it_was_permitted_for),
        CASE(permission_that_was_taken_back_settles_nothing),
        CASE(group_of_another_role_is_neither_settled_nor_counted),
        WITH_MEMBERS(member_under_its_name_and_role_acknowledges),
        WITH_MEMBERS(stranger_under_a_members_name_does_not_count),
        WITH_MEMBERS(member_that_has_not_flushed_does_not_count),
        WITH_MEMBERS(name_of_another_epoch_does_not_count),
        WITH_MEMBERS(changed_names_are_noticed),
        WITH_MEMBERS(member_with_two_connections_counts_once),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
