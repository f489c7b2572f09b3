// SPDX-License-Identifier: Apache-2.0
// An active and its standby: who streams, what is acknowledged, who comes in.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>

#include "tests/unit/db/real_nodes.h"

static void a_first_node_is_active_and_alone(void **state)
{
    struct db_position position;
    struct kt_epoch_rows rows = {0};
    uint32_t count = 9;

    (void)state;
    OK(db_admin_position(admins[0], &position, &error));
    assert_false(position.in_recovery);
    assert_int_equal(position.timeline, 1);
    assert_int_equal(position.start_lsn, 0);
    assert_true(position.lsn > 0);
    OK(db_admin_rows(admins[0], &rows, &error));
    assert_int_equal(rows.count, 1);
    assert_string_equal(rows.rows[0].active, member_of(0));
    assert_int_equal(rows.rows[0].count, 0);
    assert_int_equal(rows.rows[0].incarnation.bits, 0x0123456789abcdefULL);
    kt_epoch_rows_free(&rows);
    OK(db_admin_in_doubt(admins[0], &count, &error));
    assert_int_equal(count, 0);
}

static void a_row_that_cannot_be_read_is_an_error(void **state)
{
    struct kt_epoch_rows rows = {0};

    (void)state;
    OK(db_pg_run(admins[0]->conn, MS,
                 "BEGIN READ WRITE; INSERT INTO epochs (incarnation, epoch, sequence, active,"
                 " members, w, start_lsn, timeline) VALUES (1, 9, 1, 'nobody', '{}', 0, '0/0', 1)",
                 &error));
    assert_int_equal(db_admin_rows(admins[0], &rows, &error), KT_ERR_DATABASE);
    assert_non_null(strstr(error.message, "'active'"));
    assert_int_equal(rows.count, 0);
    OK(db_pg_run(admins[0]->conn, MS, "ROLLBACK", &error));
}

static void a_copy_follows_under_the_name_of_the_epoch(void **state)
{
    struct kt_epoch_row row;
    struct db_streaming list[4];
    struct db_receiver receiver;
    struct db_position position;
    struct kt_peers peers = {0};
    size_t count = 0;

    (void)state;
    nodes_copy(1, 0, 1);
    row = row_of(0, 1, 1);
    OK(db_admin_wait_streaming(admins[0], &row, MS, &error));
    wait_for(0, "SELECT flush_lsn IS NOT NULL FROM pg_stat_replication");
    OK(db_admin_streaming(admins[0], list, 4, &count, &error));
    assert_int_equal(count, 1);
    assert_string_equal(list[0].member, "kts-02.0a1b2c32");
    assert_string_equal(list[0].application_name, "kts-02.0a1b2c32_e1_kts-01");
    assert_true(list[0].is_streaming);
    assert_true(list[0].flush_lsn > 0);
    OK(db_admin_receiver(admins[1], &receiver, &error));
    assert_true(receiver.is_streaming);
    OK(db_admin_receiver(admins[0], &receiver, &error));
    assert_false(receiver.is_streaming);
    OK(db_admin_position(admins[1], &position, &error));
    assert_true(position.in_recovery);
    assert_int_equal(position.timeline, 1);
    OK(db_admin_nodes(admins[1], &peers, &error));
    assert_int_equal(peers.count, 2);
    assert_memory_equal(&peers.peers[1], &nodes[1].peer, sizeof(peers.peers[1]));
    assert_string_equal(ask(0, "SELECT slot_name || active FROM pg_replication_slots"),
                        "kts_02_0a1b2c32true");
}

static void a_standby_promoted_by_hand_would_acknowledge_nothing(void **state)
{
    (void)state;
    assert_string_equal(ask(1, "SHOW synchronous_standby_names"), "\"kts_nobody\"");
    assert_string_equal(ask(1, "SHOW default_transaction_read_only"), "on");
}

static void a_row_without_a_member_that_waits_is_refused(void **state)
{
    struct kt_epoch_row row = row_of(0, 1, 1);

    (void)state;
    row.sequence = 2;
    assert_int_equal(db_admin_row_insert(admins[0], &row, MS, &error), KT_ERR_UNSAFE_SETTINGS);
    assert_string_equal(ask(0, "SELECT count(*) FROM epochs"), "1");
}

static void a_row_is_acknowledged_by_the_member(void **state)
{
    struct kt_epoch_row row = row_of(0, 1, 1);
    struct db_replication active = active_with(&row, 0);
    struct kt_epoch_rows rows = {0};
    struct db_position position;

    (void)state;
    row.sequence = 2;
    strcpy(row.note, "the first passive");
    OK(db_replication_apply(nodes[0].cluster, &active, MS, &error));
    OK(db_admin_probe(admins[0], &row, MS, &error));
    OK(db_admin_row_insert(admins[0], &row, MS, &error));
    OK(db_admin_position(admins[0], &position, &error));
    OK(db_admin_wait_replayed(admins[1], position.lsn, MS, &error));
    OK(db_admin_rows(admins[1], &rows, &error));
    assert_int_equal(rows.count, 2);
    assert_int_equal(kt_epoch_row_compare(&rows.rows[1], &row), 0);
    assert_string_equal(rows.rows[1].members[0], member_of(1));
    assert_string_equal(rows.rows[1].note, row.note);
    assert_int_equal(rows.rows[1].w, 1);
    kt_epoch_rows_free(&rows);
    assert_int_not_equal(db_admin_row_insert(admins[0], &row, MS, &error), 0); // it is there
}

static void rows_are_written_while_the_active_is_read_only(void **state)
{
    struct kt_epoch_row row = row_of(0, 1, 1);
    struct db_replication active = active_with(&row, 1);

    (void)state;
    row.sequence = 3;
    row.ends = 1;
    OK(db_replication_apply(nodes[0].cluster, &active, MS, &error));
    assert_int_equal(db_pg_run(admins[0]->conn, MS, "CREATE TABLE t (x int)", &error),
                     KT_ERR_DATABASE);
    OK(db_admin_row_insert(admins[0], &row, MS, &error));
    OK(db_admin_node_put(admins[0], &nodes[1].peer, NULL, &error));
    OK(db_admin_probe(admins[0], &row, MS, &error));
    active.read_only = 0;
    OK(db_replication_apply(nodes[0].cluster, &active, MS, &error));
}

// Its commit waits for a member that is gone. The row shows on the active only when the session
// that waits is ended; nobody was told that it is there.
static void a_row_that_no_member_has_is_in_doubt_and_shows_when_its_session_ends(void **state)
{
    struct kt_epoch_row row = row_of(0, 1, 1);

    (void)state;
    row.sequence = 4;
    stop_one(1);
    wait_for(0, "SELECT NOT EXISTS (SELECT FROM pg_stat_replication)");
    assert_int_equal(db_admin_wait_streaming(admins[0], &row, 100, &error), KT_ERR_NO_QUORUM);
    assert_non_null(strstr(error.message, "0 of 1"));
    assert_non_null(strstr(error.message, member_of(1)));
    assert_int_equal(db_admin_probe(admins[0], &row, 300, &error), KT_ERR_NO_QUORUM);
    assert_int_equal(db_admin_row_insert(admins[0], &row, 300, &error), KT_ERR_IN_DOUBT);
    assert_string_equal(ask(0, "SELECT max(sequence) FROM epochs"), "3");
    OK(db_admin_end_sessions(admins[0], MS, &error));
    assert_string_equal(ask(0, "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                               "'kts_row'"),
                        "0");
    assert_string_equal(ask(0, "SELECT max(sequence) FROM epochs"), "4");
    start_one(1);
    OK(db_admin_wait_streaming(admins[0], &row, MS, &error));
    OK(db_admin_probe(admins[0], &row, MS, &error));
}

// Another session cancels the wait: PostgreSQL then says that the row is committed, with a warning.
static void a_warning_during_the_commit_is_in_doubt(void **state)
{
    struct kt_epoch_row row = row_of(0, 1, 1);
    int status;
    pid_t child;

    (void)state;
    row.sequence = 5;
    stop_one(1);
    wait_for(0, "SELECT NOT EXISTS (SELECT FROM pg_stat_replication)");
    child = fork();
    if (child == 0) {
        struct db_admin *other = NULL;
        if (db_admin_open(nodes[0].cluster, MS, &other, NULL) != 0)
            _exit(1);
        for (int i = 0; i < 1000; i++) {
            PGresult *result = NULL;
            if (db_admin_ask(other,
                             "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                             " WHERE application_name = 'kts_row' AND wait_event = 'SyncRep'",
                             0, NULL, &result, NULL) != 0)
                _exit(2);
            if (PQntuples(result) == 1)
                _exit(0);
            PQclear(result);
            usleep(10000);
        }
        _exit(3);
    }
    assert_int_equal(db_admin_row_insert(admins[0], &row, 10000, &error), KT_ERR_IN_DOUBT);
    assert_non_null(strstr(error.message, "warning"));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    start_one(1);
    OK(db_admin_wait_streaming(admins[0], &row, MS, &error));
}

static void a_name_of_another_epoch_does_not_count(void **state)
{
    struct kt_epoch_row row = row_of(0, 1, 1), old = row;

    (void)state;
    follow(1, 0, 2);
    wait_for(0, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name ="
                " 'kts-02.0a1b2c32_e2_kts-01' AND state = 'streaming')");
    assert_int_equal(db_admin_probe(admins[0], &old, 300, &error), KT_ERR_NO_QUORUM);
    assert_int_equal(db_admin_wait_streaming(admins[0], &old, 300, &error), KT_ERR_NO_QUORUM);
    row.epoch = 2;
    OK(db_admin_wait_streaming(admins[0], &row, MS, &error));
    OK(db_admin_end_sessions(admins[0], MS, &error));
    follow(1, 0, 1);
    OK(db_admin_wait_streaming(admins[0], &old, MS, &error));
}

// Any application name is accepted by PostgreSQL; whose it is, the role says.
static void a_name_of_another_member_does_not_count(void **state)
{
    struct db_replication replication;
    struct kt_epoch_row row = row_of(0, 1, 1);
    struct db_streaming list[4];
    size_t count = 9;

    (void)state;
    OK(db_replication_load(&nodes[1].paths, &replication, &error));
    strcpy(replication.application_name, "kts-03.0a1b2c33_e1_kts-01");
    OK(db_replication_apply(nodes[1].cluster, &replication, MS, &error));
    wait_for(0, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name ="
                " 'kts-03.0a1b2c33_e1_kts-01' AND state = 'streaming')");
    OK(db_admin_streaming(admins[0], list, 4, &count, &error));
    assert_int_equal(count, 0);
    follow(1, 0, 1);
    OK(db_admin_wait_streaming(admins[0], &row, MS, &error));
}

static void a_setting_that_another_file_overrides_is_found(void **state)
{
    struct kt_epoch_row row = row_of(0, 1, 1);
    struct db_replication active = active_with(&row, 0);

    (void)state;
    OK(db_pg_run(admins[0]->conn, MS, "ALTER SYSTEM SET synchronous_standby_names = ''", &error));
    assert_int_equal(db_replication_apply(nodes[0].cluster, &active, 3000, &error),
                     KT_ERR_UNSAFE_SETTINGS);
    assert_non_null(strstr(error.message, "synchronous_standby_names"));
    row.sequence = 6;
    assert_int_equal(db_admin_row_insert(admins[0], &row, 3000, &error), KT_ERR_UNSAFE_SETTINGS);
    OK(db_pg_run(admins[0]->conn, MS, "ALTER SYSTEM RESET synchronous_standby_names", &error));
    OK(db_replication_apply(nodes[0].cluster, &active, MS, &error));
}

static void a_running_one_does_not_turn_from_active_to_standby(void **state)
{
    struct db_replication sealed = {.mode = DB_MODE_SEALED};

    (void)state;
    assert_int_equal(db_replication_apply(nodes[0].cluster, &sealed, MS, &error), KT_ERR_INVALID);
    assert_false(kt_file_exists(temp_path("1/db/standby.signal")));
}

// --- over TCP ---

// psql with what `words` adds to the connection; its status.
static int tcp(const char *words, const char *sql)
{
    char command[8 * KT_PATH_MAX];

    snprintf(command, sizeof(command),
             "PGCONNECT_TIMEOUT=5 psql -X -w -q -At -o /dev/null -c \"%s\""
             " \"host=127.0.0.1 port=%u sslmode=verify-ca sslrootcert=%s %s\" 2>>%s/psql.log",
             sql, (unsigned)nodes[0].peer.database_port, nodes[0].paths.ca_cert, words, temp_dir);
    return system(command);
}

// A certificate of the cluster's CA for something else, with its key, below tls/ of the first node.
static const char *other_identity(enum kt_pki_role role, const char *common_name)
{
    static char words[3 * KT_PATH_MAX];
    struct kt_pki_subject subject = {.role = role, .common_name = common_name, .lifetime_s = 86400};
    EVP_PKEY *ca_key = NULL, *key = NULL;
    X509 *ca = NULL, *cert = NULL;

    OK(kt_pki_key_load(nodes[0].paths.ca_key, &ca_key, &error));
    OK(kt_pki_cert_load(nodes[0].paths.ca_cert, &ca, &error));
    OK(kt_pki_new_p256(&key));
    OK(kt_pki_sign(ca_key, ca, key, &subject, &cert));
    OK(kt_pki_key_save(nodes[0].paths.server_key, key, &error));
    OK(kt_pki_cert_save(nodes[0].paths.server_cert, cert, NULL, &error));
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    snprintf(words, sizeof(words), "sslcert=%s sslkey=%s", nodes[0].paths.server_cert,
             nodes[0].paths.server_key);
    return words;
}

static void over_tcp_a_member_comes_in_by_its_certificate(void **state)
{
    char words[3 * KT_PATH_MAX];

    (void)state;
    snprintf(words, sizeof(words), "sslcert=%s sslkey=%s user=%s dbname=keytrustee",
             nodes[1].paths.node_cert, nodes[1].paths.node_key, member_of(1));
    assert_int_equal(tcp(words, "SELECT pg_read_binary_file('PG_VERSION')"), 0);
    // reading files of the data directory is all it may do there
    assert_int_not_equal(tcp(words, "SELECT count(*) FROM deposits"), 0);
    assert_int_not_equal(tcp(words, "SELECT pg_read_binary_file('/etc/passwd')"), 0);
    assert_int_not_equal(tcp(words, "CREATE TABLE public.t (x int)"), 0);
    assert_int_not_equal(tcp(words, "SELECT pg_reload_conf()"), 0);
}

static void over_tcp_nobody_else_comes_in(void **state)
{
    static const struct {
        enum kt_pki_role role;
        const char *common_name;
    } OTHERS[] = {
        {KT_PKI_CLIENT, "0b1c2d3e-0000-4000-8000-000000000001"},
        {KT_PKI_SERVER, "kts-02"},
        {KT_PKI_NODE, "keytrustee"},
        {KT_PKI_NODE, "kts_writer"},
        {KT_PKI_NODE, "kts_members"},
        {KT_PKI_NODE, "kts-09.0a1b2c39"}, // never joined
    };
    static const char *const USERS[] = {"keytrustee", "kts_writer",  "kts_reader",
                                        "kts_agent",  "kts_members", "kts-09.0a1b2c39"};
    char words[4 * KT_PATH_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(OTHERS) / sizeof(OTHERS[0]); i++) {
        const char *identity = other_identity(OTHERS[i].role, OTHERS[i].common_name);
        for (size_t k = 0; k < sizeof(USERS) / sizeof(USERS[0]); k++) {
            snprintf(words, sizeof(words), "%s user=%s dbname=keytrustee", identity, USERS[k]);
            if (tcp(words, "SELECT 1") == 0)
                fail_msg("%s comes in as %s", OTHERS[i].common_name, USERS[k]);
        }
        snprintf(words, sizeof(words), "%s user=%s dbname=keytrustee", identity, member_of(1));
        assert_int_not_equal(tcp(words, "SELECT 1"), 0);
        snprintf(words, sizeof(words), "%s user=%s replication=true", identity, member_of(1));
        assert_int_not_equal(tcp(words, "IDENTIFY_SYSTEM"), 0);
    }
    snprintf(words, sizeof(words), "user=%s dbname=keytrustee", member_of(1)); // no certificate
    assert_int_not_equal(tcp(words, "SELECT 1"), 0);
    snprintf(words, sizeof(words), "user=%s replication=true", member_of(1));
    assert_int_not_equal(tcp(words, "IDENTIFY_SYSTEM"), 0);
    // without TLS; and into another database
    snprintf(words, sizeof(words), "user=%s dbname=keytrustee sslmode=disable", member_of(1));
    assert_int_not_equal(tcp(words, "SELECT 1"), 0);
    snprintf(words, sizeof(words), "sslcert=%s sslkey=%s user=%s dbname=postgres",
             nodes[1].paths.node_cert, nodes[1].paths.node_key, member_of(1));
    assert_int_not_equal(tcp(words, "SELECT 1"), 0);
}

// A certificate for the second node, as text; peer->cert_sha256 is its hash.
static char *certificate_for(struct kt_peer *peer)
{
    const struct kt_pki_subject subject = {
        .role = KT_PKI_NODE, .common_name = peer->member, .lifetime_s = 3600};
    struct kt_buf pem = KT_BUF_INIT(65536);
    EVP_PKEY *ca_key = NULL, *key = NULL;
    X509 *ca = NULL, *cert = NULL;
    char *text;

    OK(kt_pki_key_load(nodes[0].paths.ca_key, &ca_key, &error));
    OK(kt_pki_cert_load(nodes[0].paths.ca_cert, &ca, &error));
    OK(kt_pki_new_p256(&key));
    OK(kt_pki_sign(ca_key, ca, key, &subject, &cert));
    OK(kt_pki_cert_sha256(cert, peer->cert_sha256));
    OK(kt_pki_cert_to_pem(cert, &pem));
    text = strndup((const char *)kt_buf_ptr(&pem), kt_buf_left(&pem));
    assert_non_null(text);
    kt_buf_free(&pem);
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    return text;
}

#define GOOD_CERTIFICATES                                                                          \
    "SELECT count(*) FROM node_certificates WHERE kind = 'node' AND name = 'kts-02'"               \
    " AND revoked_at IS NULL"

static void a_renewed_certificate_is_listed_beside_the_one_before_and_then_alone(void **state)
{
    struct kt_peer peer = nodes[1].peer, nobody = nodes[1].peer;
    char *first = certificate_for(&peer), *second;
    uint8_t before[KT_SHA256_LEN];

    (void)state;
    OK(db_admin_node_renew(admins[0], &peer, first, &error));
    assert_string_equal(ask(0, GOOD_CERTIFICATES), "1");
    memcpy(before, peer.cert_sha256, sizeof(before));
    second = certificate_for(&peer);
    memcpy(peer.cert_before, before, sizeof(before));
    OK(db_admin_node_renew(admins[0], &peer, second, &error));
    OK(db_admin_node_renew(admins[0], &peer, second, &error)); // a killed run is repeated
    assert_string_equal(ask(0, GOOD_CERTIFICATES), "2");
    assert_string_equal(ask(0, "SELECT count(*) FROM nodes n JOIN node_certificates k"
                               " ON k.sha256 = n.cert_sha256 WHERE n.member LIKE 'kts-02.%'"),
                        "1");
    memset(peer.cert_before, 0, sizeof(peer.cert_before));
    OK(db_admin_node_renew(admins[0], &peer, second, &error));
    assert_string_equal(ask(0, GOOD_CERTIFICATES), "1");
    // It is heard by those who have the entry of before, also when who asked had not heard that
    // one.
    assert_string_equal(ask(0, "SELECT revision FROM nodes WHERE member LIKE 'kts-02.%'"), "5");
    assert_int_equal(db_admin_node_renew(admins[0], &peer, first, &error), KT_ERR_INVALID);
    memcpy(nobody.cert_sha256, before,
           sizeof(before)); // of whoever has its key: replaced is replaced
    assert_int_equal(db_admin_node_renew(admins[0], &nobody, first, &error), KT_ERR_INVALID);
    assert_string_equal(ask(0, "SELECT count(*) FROM nodes n JOIN node_certificates k"
                               " ON k.sha256 = n.cert_sha256 WHERE n.member LIKE 'kts-02.%'"
                               " AND k.revoked_at IS NULL"),
                        "1");
    assert_int_equal(db_admin_node_renew(admins[0], &peer, "", &error), KT_ERR_INVALID);
    snprintf(nobody.member, sizeof(nobody.member), "kts-09.00000009");
    free(first);
    first = certificate_for(&nobody);
    assert_int_equal(db_admin_node_renew(admins[0], &nobody, first, &error), KT_ERR_NOT_MEMBER);
    assert_string_equal(ask(0, GOOD_CERTIFICATES), "1");
    free(first);
    memcpy(peer.cert_before, peer.cert_sha256,
           sizeof(before)); // it is removed in the middle of another
    first = certificate_for(&peer);
    OK(db_admin_node_renew(admins[0], &peer, first, &error));
    assert_string_equal(ask(0, GOOD_CERTIFICATES), "2");
    free(first);
    free(second);
}

static void a_removed_member_is_out_at_once(void **state)
{
    struct kt_peers peers = {0};
    char words[3 * KT_PATH_MAX];

    (void)state;
    OK(db_admin_node_remove(admins[0], member_of(1), &error));
    assert_string_equal(ask(0, "SELECT count(*) FROM pg_replication_slots"), "0");
    assert_string_equal(ask(0, "SELECT count(*) FROM pg_stat_replication"), "0");
    assert_string_equal(ask(0, GOOD_CERTIFICATES), "0");
    OK(db_admin_node_remove(admins[0], member_of(1), &error)); // a killed run is repeated
    snprintf(words, sizeof(words), "sslcert=%s sslkey=%s user=%s dbname=keytrustee",
             nodes[1].paths.node_cert, nodes[1].paths.node_key, member_of(1));
    assert_int_not_equal(tcp(words, "SELECT 1"), 0);
    OK(db_admin_nodes(admins[0], &peers, &error));
    assert_int_equal(peers.count, 2);
    assert_true(peers.peers[1].removed);
    assert_int_equal(peers.peers[1].revision, 7); // after five renewals
    assert_int_equal(db_admin_node_put(admins[0], &nodes[1].peer, NULL, &error), KT_ERR_NOT_MEMBER);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_first_node_is_active_and_alone),
        cmocka_unit_test(a_row_that_cannot_be_read_is_an_error),
        cmocka_unit_test(a_copy_follows_under_the_name_of_the_epoch),
        cmocka_unit_test(a_standby_promoted_by_hand_would_acknowledge_nothing),
        cmocka_unit_test(a_row_without_a_member_that_waits_is_refused),
        cmocka_unit_test(a_row_is_acknowledged_by_the_member),
        cmocka_unit_test(rows_are_written_while_the_active_is_read_only),
        cmocka_unit_test(a_row_that_no_member_has_is_in_doubt_and_shows_when_its_session_ends),
        cmocka_unit_test(a_warning_during_the_commit_is_in_doubt),
        cmocka_unit_test(a_name_of_another_epoch_does_not_count),
        cmocka_unit_test(a_name_of_another_member_does_not_count),
        cmocka_unit_test(a_setting_that_another_file_overrides_is_found),
        cmocka_unit_test(a_running_one_does_not_turn_from_active_to_standby),
        cmocka_unit_test(over_tcp_a_member_comes_in_by_its_certificate),
        cmocka_unit_test(over_tcp_nobody_else_comes_in),
        cmocka_unit_test(a_renewed_certificate_is_listed_beside_the_one_before_and_then_alone),
        cmocka_unit_test(a_removed_member_is_out_at_once),
    };

    return cmocka_run_group_tests(cases, nodes_setup, nodes_teardown);
}
