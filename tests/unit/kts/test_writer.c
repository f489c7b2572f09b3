// SPDX-License-Identifier: Apache-2.0
// The writer and its permission: what it says without one, and
// when it makes room for a new process.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "kts/writer_inner.h"
#include "lib/pki.h"
#include "tests/unit/lib/temp_dir.h"

static struct kts_status *status;
static struct kt_paths paths;
static struct kt_cluster_info info;
static struct kt_settings *settings;
static int control_fd;
static pid_t pid;
static struct kts_link *workers, *agents;
static uint64_t next_id;

static int make_keys(void)
{
    char confdir[300], dir[400];
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int rc;

    snprintf(confdir, sizeof(confdir), "%s/.keytrustee", temp_dir);
    rc = kt_paths_resolve(confdir, &paths, NULL) || mkdir(paths.confdir, 0700);
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        snprintf(dir, sizeof(dir), "%s/%s", confdir, i ? "receipt" : "ca");
        rc = mkdir(dir, 0700);
    }
    if (rc == 0)
        rc = kt_pki_new_ed25519(&key) || kt_pki_key_save(paths.receipt_key, key, NULL);
    EVP_PKEY_free(key);
    key = NULL;
    if (rc == 0)
        rc = kt_pki_new_p256(&key) || kt_pki_make_ca(key, "test", 3600, &cert) ||
             kt_pki_cert_save(paths.ca_cert, cert, NULL, NULL);
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

static int set_up(void **state)
{
    if (temp_dir_setup(state) || make_keys() || kt_settings_new(&settings) ||
        kts_status_new(&status))
        return -1;
    strcpy(info.node, "kts-01");
    atomic_store(&status->role, KTS_ROLE_ACTIVE);
    atomic_store(&status->database_up, 1);
    atomic_store(&status->members, 1);
    atomic_store(&status->w, 1);
    pid = 0;
    return 0;
}

static int tear_down(void **state)
{
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    kts_link_free(workers);
    kts_link_free(agents);
    workers = agents = NULL;
    if (control_fd > 0)
        close(control_fd);
    control_fd = 0;
    kt_settings_free(settings);
    return temp_dir_teardown(state);
}

static void give_link(enum kts_process asker, struct kts_link **ours)
{
    uint8_t payload[4] = {(uint8_t)asker, KTS_WRITER, 0, 0};
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(kts_control_send(control_fd, KTS_CTL_LINK, payload, 4, fds[1]), 0);
    close(fds[1]);
    assert_int_equal(kts_link_new(fds[0], ours), 0);
}

// The real process in a child; it has no database to connect to.
static void start_writer(void)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    control_fd = fds[0];
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct kts_start start = {
            .process = KTS_WRITER,
            .paths = &paths,
            .info = &info,
            .settings = settings,
            .status = status,
            .control_fd = fds[1],
            .listen_fd = -1,
        };
        close(fds[0]);
        _exit(kts_writer_main(&start));
    }
    close(fds[1]);
    give_link(KTS_WORKER, &workers);
    give_link(KTS_AGENT, &agents);
}

static int is_ready_with_database(void)
{
    struct kt_buf storage = KT_BUF_INIT(KTS_CONTROL_MAX);
    struct kts_control_message message;
    struct pollfd p = {.fd = control_fd, .events = POLLIN};
    uint8_t with_database = 9;

    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_int_equal(kts_control_receive(control_fd, &storage, &message), 0);
    assert_int_equal(message.type, KTS_CTL_READY);
    assert_int_equal(kt_buf_get_u8(&message.payload, &with_database), 0);
    kt_buf_free(&storage);
    return with_database;
}

// The code that a change gets.
static int answer_to_a_change(void)
{
    struct kt_change change = {.kind = KT_CHANGE_BARRIER};
    struct kt_buf out = KT_BUF_INIT(4096);
    struct kts_message answer;
    struct kt_outcome outcome = {0};
    int code;

    assert_int_equal(kt_change_encode(&change, &out), 0);
    assert_int_equal(kts_link_call(workers, KTS_MSG_CHANGE, ++next_id, kt_buf_ptr(&out),
                                   kt_buf_left(&out), KTS_MSG_OUTCOME, 10000, &answer),
                     0);
    assert_int_equal(kt_outcome_decode(&answer.payload, &outcome), 0);
    code = outcome.code;
    kt_outcome_free(&outcome);
    kt_buf_free(&out);
    return code;
}

static int exit_code_within_ms(int ms)
{
    int result = -1;

    for (int i = 0; i < ms; i++) {
        if (waitpid(pid, &result, WNOHANG) == pid) {
            pid = 0;
            return WIFEXITED(result) ? WEXITSTATUS(result) : -1;
        }
        poll(NULL, 0, 1);
    }
    fail_msg("the writer did not end within %d ms", ms);
    return -1;
}

static void without_permission_changes_are_refused_with_the_reason(void **state)
{
    (void)state;
    start_writer();
    assert_int_equal(is_ready_with_database(), 0);
    assert_int_equal(answer_to_a_change(), KT_ERR_NO_QUORUM);
    atomic_store(&status->role, KTS_ROLE_PASSIVE);
    assert_int_equal(answer_to_a_change(), KT_ERR_PASSIVE);
    atomic_store(&status->role, KTS_ROLE_FENCED);
    assert_int_equal(answer_to_a_change(), KT_ERR_FENCED);
    atomic_store(&status->role, KTS_ROLE_UNESTABLISHED);
    assert_int_equal(answer_to_a_change(), KT_ERR_NO_QUORUM);
    atomic_store(&status->role, KTS_ROLE_ACTIVE);
    atomic_store(&status->gave_in_doubt, 1);
    assert_int_equal(answer_to_a_change(), KT_ERR_IN_DOUBT);
    assert_int_equal(atomic_load(&status->writer_open), 0);
}

static void permission_makes_a_waiting_writer_end_at_once(void **state)
{
    (void)state;
    start_writer();
    assert_int_equal(is_ready_with_database(), 0);
    atomic_store(&status->writer_ticket, 5);
    assert_int_equal(exit_code_within_ms(1000), KTS_EXIT_DATABASE_LOST);
}

static void permission_without_its_members_is_waited_for(void **state)
{
    (void)state;
    atomic_store(&status->members, 0);
    atomic_store(&status->writer_ticket, 5);
    start_writer();
    assert_int_equal(is_ready_with_database(), 0);
    assert_int_equal(answer_to_a_change(), KT_ERR_NO_QUORUM);
    atomic_store(&status->members, 1);
    assert_int_equal(exit_code_within_ms(1000), KTS_EXIT_DATABASE_LOST);
}

static void agents_word_about_the_permission_is_no_fault(void **state)
{
    (void)state;
    start_writer();
    assert_int_equal(is_ready_with_database(), 0);
    assert_int_equal(kts_link_send(agents, KTS_MSG_RECHECK, ++next_id, NULL, 0), 0);
    assert_int_equal(answer_to_a_change(), KT_ERR_NO_QUORUM);
    assert_int_equal(kts_link_send(agents, KTS_MSG_RECHECK, ++next_id, NULL, 0), 0);
    assert_int_equal(answer_to_a_change(), KT_ERR_NO_QUORUM);
    assert_int_equal(kts_link_receive(agents), 0); // the link is still there
}

static void permission_without_a_database_ends_the_writer(void **state)
{
    (void)state;
    atomic_store(&status->writer_ticket, 5);
    start_writer();
    assert_int_equal(exit_code_within_ms(10000), KTS_EXIT_DATABASE_LOST);
}

// --- one group, without a database below it ---

static struct kts_start start;
static struct kts_writer writer;

static void queue_change(void)
{
    struct kts_queued *q = calloc(1, sizeof(*q));

    assert_non_null(q);
    q->asker = 0;
    q->serial = writer.askers[0].serial;
    q->id = ++next_id;
    kts_writer_push(&writer, q);
}

static int set_up_group(void **state)
{
    int fds[2];
    int rc = set_up(state);

    start = (struct kts_start){.status = status};
    memset(&writer, 0, sizeof(writer));
    writer.start = &start;
    if (kts_fair_new(&writer.fair))
        return -1;
    writer.group_max = 8;
    writer.ticket = 5;
    writer.askers[0].serial = 1;
    atomic_store(&status->writer_ticket, 5);
    if (rc || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) ||
        kts_link_new(fds[0], &writer.askers[0].link) || kts_link_new(fds[1], &workers))
        return -1;
    queue_change();
    return 0;
}

static int tear_down_group(void **state)
{
    kts_writer_refuse_all(&writer, KT_ERR_NO_QUORUM);
    kts_writer_drop(&writer.askers[0]);
    kts_fair_free(writer.fair);
    return tear_down(state);
}

static int code_received(void)
{
    struct kts_message message;
    struct kt_outcome outcome = {0};

    assert_int_equal(kts_link_receive(workers), 0);
    if (kts_link_next(workers, &message) != 1)
        return 1;
    assert_int_equal(kt_outcome_decode(&message.payload, &outcome), 0);
    kt_outcome_free(&outcome);
    return outcome.code;
}

// A change of that client's, with that name, in the queue.
static void queue_of(uint64_t organisation, uint64_t client, const char *name)
{
    struct kts_queued *q = calloc(1, sizeof(*q));

    assert_non_null(q);
    q->serial = writer.askers[0].serial;
    q->id = ++next_id;
    q->change.organisation_share = organisation;
    q->change.client_share = client;
    snprintf(q->change.name, sizeof(q->change.name), "%s", name);
    kts_writer_push(&writer, q);
}

static void expect_next(const char *name)
{
    const struct kt_outcome outcome = {.code = KT_ERR_NO_QUORUM};
    struct kts_queued *q = kts_writer_next(&writer);

    assert_non_null(q);
    assert_string_equal(q->change.name, name);
    assert_ptr_equal(kts_writer_pop(&writer), q);
    kts_writer_answer(&writer, q, &outcome);
}

static void an_organisation_gone_wild_leaves_others_their_turn(void **state)
{
    (void)state;
    for (int i = 0; i < 500; i++)
        queue_of(7, 1, "wild");
    queue_of(8, 1, "calm");
    queue_of(7, 2, "calm neighbour");
    expect_next(""); // what set_up has queued
    expect_next("wild");
    expect_next("calm");
    expect_next("calm neighbour");
    expect_next("wild");
    assert_int_equal(writer.queued, 498);
}

static void an_organisation_has_its_share_of_the_queue_and_no_more(void **state)
{
    const size_t share = KTS_WRITER_QUEUE_MAX / KTS_WRITER_SHARE;
    size_t refused = 0;

    (void)state;
    for (size_t i = 0; i < share + 10; i++)
        queue_of(7, i % 3, "wild");
    assert_int_equal(writer.queued, share + 1);
    assert_true(kts_writer_has_room(&writer));
    assert_int_equal(code_received(), KT_ERR_TOO_MANY_REQUESTS);
    for (int code; (code = code_received()) == KT_ERR_TOO_MANY_REQUESTS;)
        refused++;
    assert_int_equal(refused, 9);
    queue_of(8, 1, "calm");
    assert_int_equal(writer.queued, share + 2);
}

static void what_is_put_back_comes_first(void **state)
{
    struct kts_queued *q;

    (void)state;
    queue_of(7, 1, "one");
    queue_of(8, 1, "two");
    expect_next("");
    q = kts_writer_pop(&writer);
    assert_non_null(kts_writer_next(&writer));
    kts_writer_push_front(&writer, q);
    expect_next("one");
    expect_next("two");
    assert_null(kts_writer_next(&writer));
    assert_int_equal(writer.queued, 0);
    assert_int_equal(writer.queued_bytes, 0);
}

static void group_is_not_begun_when_the_permission_has_changed(void **state)
{
    (void)state;
    assert_true(kts_writer_is_permitted(&writer));
    atomic_store(&status->writer_ticket, 6);
    assert_int_equal(kts_writer_group(&writer), KT_ERR_AGAIN);
    atomic_store(&status->writer_ticket, 0);
    assert_int_equal(kts_writer_group(&writer), KT_ERR_AGAIN);
    atomic_store(&status->writer_ticket, 5);
    atomic_store(&status->role, KTS_ROLE_FENCED);
    assert_int_equal(kts_writer_group(&writer), KT_ERR_AGAIN);
    assert_int_equal(writer.queued, 1); // its answer comes with the end
    assert_int_equal(code_received(), 1);
}

static void group_is_refused_before_it_is_in_doubt_when_members_are_gone(void **state)
{
    (void)state;
    atomic_store(&status->members, 0);
    assert_int_equal(kts_writer_group(&writer), 0);
    assert_int_equal(writer.queued, 0);
    assert_int_equal(code_received(), KT_ERR_NO_QUORUM);
    assert_int_equal(atomic_load(&status->gave_in_doubt), 0);
}

#define PROCESS(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define GROUP(name)   cmocka_unit_test_setup_teardown(name, set_up_group, tear_down_group)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROCESS(without_permission_changes_are_refused_with_the_reason),
        PROCESS(permission_makes_a_waiting_writer_end_at_once),
        PROCESS(permission_without_its_members_is_waited_for),
        PROCESS(agents_word_about_the_permission_is_no_fault),
        PROCESS(permission_without_a_database_ends_the_writer),
        GROUP(an_organisation_gone_wild_leaves_others_their_turn),
        GROUP(an_organisation_has_its_share_of_the_queue_and_no_more),
        GROUP(what_is_put_back_comes_first),
        GROUP(group_is_not_begun_when_the_permission_has_changed),
        GROUP(group_is_refused_before_it_is_in_doubt_when_members_are_gone),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
