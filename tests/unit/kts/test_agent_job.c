// SPDX-License-Identifier: Apache-2.0
// Jobs of the agent: one at a time where it matters, with an answer whatever becomes of them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/kts/agent_fixture.h"

#define DEADLINE_S 20

// A caller, and what it was answered.
struct caller {
    struct kts_call call;
    int answered;
    json_t *result;
    struct kt_error error;
};

static void take_answer(struct kts_call *call, const json_t *result, const struct kt_error *error)
{
    struct caller *caller = (struct caller *)((char *)call - offsetof(struct caller, call));

    caller->answered++;
    caller->result = result ? json_deep_copy(result) : NULL;
    if (error)
        caller->error = *error;
    event_base_loopbreak(call->agent->base);
}

static void begin(struct caller *caller)
{
    *caller = (struct caller){.call = {.agent = &fixture.agent,
                                       .caller = KTS_CALLER_LOCAL,
                                       .actor = "root (uid 0)",
                                       .answer = take_answer}};
    kts_call_begin(&caller->call);
}

static void end(struct caller *caller)
{
    kts_call_end(&caller->call);
    json_decref(caller->result);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    fail_msg("the job did not answer");
}

// Runs the agent until the caller has its answer.
static void wait_for(const struct caller *caller)
{
    static const struct timeval DEADLINE = {.tv_sec = DEADLINE_S};
    struct event *timer = evtimer_new(fixture.agent.base, on_deadline, NULL);

    event_add(timer, &DEADLINE);
    while (!caller->answered)
        event_base_loop(fixture.agent.base, EVLOOP_ONCE);
    event_free(timer);
}

static int start(struct caller *caller, const char *verb, kts_job_function *run, unsigned flags,
                 const json_t *args)
{
    int rc = kts_job_start(&caller->call, verb, run, flags, args, &caller->error);

    return rc;
}

// --- jobs ---

static int job_echo(struct kts_job *job, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    (void)error;
    kts_job_progress(job, "echoing", 1, 2);
    *result = json_pack("{s:O, s:s, s:I}", "args", args, "actor", job->actor, "pid",
                        (json_int_t)getpid());
    return 0;
}

static int job_refuse(struct kts_job *job, const json_t *args, json_t **result,
                      struct kt_error *error)
{
    (void)job;
    (void)args;
    (void)result;
    return kt_error_set(error, KT_ERR_NOT_PROVEN, "bring kts-02 up", "row 3 is not proven");
}

static int job_crash(struct kts_job *job, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    (void)job;
    (void)args;
    (void)result;
    (void)error;
    raise(SIGKILL);
    return 0;
}

// Waits until the file "go" is there.
static int job_wait(struct kts_job *job, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    (void)job;
    (void)args;
    (void)error;
    while (access(temp_path("go"), F_OK))
        usleep(5000);
    *result = json_object();
    return 0;
}

static int job_sockets(struct kts_job *job, const json_t *args, json_t **result,
                       struct kt_error *error)
{
    DIR *dir = opendir("/proc/self/fd");
    json_t *open = json_array();

    (void)error;
    (void)args;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd > 2 && fd != job->fd && fd != dirfd(dir))
            json_array_append_new(open, json_integer(fd));
    }
    closedir(dir);
    *result = open;
    return 0;
}

static int job_large(struct kts_job *job, const json_t *args, json_t **result,
                     struct kt_error *error)
{
    char *text = calloc(1, 3000001);

    (void)job;
    (void)args;
    (void)error;
    memset(text, 'x', 3000000);
    *result = json_pack("{s:s}", "text", text);
    free(text);
    return 0;
}

// --- cases ---

static void the_answer_of_a_job_reaches_its_caller(void **state)
{
    json_t *args = json_pack("{s:i}", "a", 7);
    struct caller caller;

    (void)state;
    begin(&caller);
    assert_int_equal(start(&caller, "test.echo", job_echo, 0, args), KT_ERR_AGAIN);
    wait_for(&caller);
    assert_non_null(caller.result);
    assert_true(json_equal(json_object_get(caller.result, "args"), args));
    assert_string_equal(json_string_value(json_object_get(caller.result, "actor")), "root (uid 0)");
    assert_int_not_equal(json_integer_value(json_object_get(caller.result, "pid")), getpid());
    assert_int_equal(fixture.agent.call_count, 1);
    end(&caller);
    assert_int_equal(fixture.agent.call_count, 0);
    json_decref(args);
}

static void an_error_keeps_code_message_and_hint(void **state)
{
    struct caller caller;

    (void)state;
    begin(&caller);
    assert_int_equal(start(&caller, "test.refuse", job_refuse, KTS_JOB_ALONE, NULL), KT_ERR_AGAIN);
    wait_for(&caller);
    assert_null(caller.result);
    assert_int_equal(caller.error.code, KT_ERR_NOT_PROVEN);
    assert_string_equal(caller.error.message, "row 3 is not proven");
    assert_string_equal(caller.error.hint, "bring kts-02 up");
    end(&caller);
}

static void a_job_that_is_killed_is_in_doubt(void **state)
{
    struct caller caller;

    (void)state;
    begin(&caller);
    assert_int_equal(start(&caller, "test.crash", job_crash, KTS_JOB_ALONE, NULL), KT_ERR_AGAIN);
    wait_for(&caller);
    assert_int_equal(caller.error.code, KT_ERR_IN_DOUBT);
    assert_false(kts_job_is_running(&fixture.agent));
    end(&caller);
}

static void a_large_answer_arrives_whole(void **state)
{
    struct caller caller;

    (void)state;
    begin(&caller);
    assert_int_equal(start(&caller, "test.large", job_large, 0, NULL), KT_ERR_AGAIN);
    wait_for(&caller);
    assert_int_equal(json_string_length(json_object_get(caller.result, "text")), 3000000);
    end(&caller);
}

static void a_second_job_that_must_be_alone_is_told_who_is_first(void **state)
{
    struct caller first, second, reader;

    (void)state;
    begin(&first);
    begin(&second);
    begin(&reader);
    assert_int_equal(start(&first, "node.seal", job_wait, KTS_JOB_ALONE, NULL), KT_ERR_AGAIN);
    assert_true(kts_job_is_running(&fixture.agent));
    assert_int_equal(start(&second, "node.follow", job_echo, KTS_JOB_ALONE, NULL), KT_ERR_BUSY);
    assert_non_null(strstr(second.error.message, "node.seal"));
    assert_non_null(strstr(second.error.message, "root (uid 0)"));
    // What only reads goes on.
    assert_int_equal(start(&reader, "test.echo", job_echo, 0, NULL), KT_ERR_AGAIN);
    wait_for(&reader);
    assert_false(first.answered);
    temp_text("go", "");
    wait_for(&first);
    assert_int_equal(start(&second, "node.follow", job_echo, KTS_JOB_ALONE, NULL), KT_ERR_AGAIN);
    wait_for(&second);
    end(&first);
    end(&second);
    end(&reader);
}

static void a_job_goes_on_when_its_caller_goes_away(void **state)
{
    struct caller gone, next;

    (void)state;
    begin(&gone);
    assert_int_equal(start(&gone, "node.seal", job_wait, KTS_JOB_ALONE, NULL), KT_ERR_AGAIN);
    end(&gone);
    assert_true(kts_job_is_running(&fixture.agent));
    temp_text("go", "");
    while (kts_job_is_running(&fixture.agent))
        event_base_loop(fixture.agent.base, EVLOOP_ONCE);
    assert_int_equal(gone.answered, 0);
    begin(&next);
    assert_int_equal(start(&next, "node.seal", job_echo, KTS_JOB_ALONE, NULL), KT_ERR_AGAIN);
    wait_for(&next);
    end(&next);
}

static void a_job_has_none_of_the_agents_descriptors(void **state)
{
    int fds[2];
    struct caller caller;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    begin(&caller);
    assert_int_equal(start(&caller, "test.sockets", job_sockets, 0, NULL), KT_ERR_AGAIN);
    wait_for(&caller);
    assert_int_equal(json_array_size(caller.result), 0);
    end(&caller);
    close(fds[0]);
    close(fds[1]);
}

static void a_job_that_holds_waits_until_the_writer_let_go(void **state)
{
    struct caller caller;

    (void)state;
    atomic_store(&fixture.status->writer_ticket, 5);
    atomic_store(&fixture.status->writer_open, 1);
    begin(&caller);
    assert_int_equal(start(&caller, "test.echo", job_echo, KTS_JOB_ALONE | KTS_JOB_HOLDS, NULL),
                     KT_ERR_AGAIN);
    assert_true(kts_job_holds(&fixture.agent));
    assert_int_equal(atomic_load(&fixture.status->writer_ticket), 0);
    for (int i = 0; i < 3; i++)
        event_base_loop(fixture.agent.base, EVLOOP_ONCE);
    assert_false(caller.answered);
    atomic_store(&fixture.status->writer_open, 0);
    wait_for(&caller);
    assert_non_null(caller.result);
    assert_false(kts_job_holds(&fixture.agent));
    end(&caller);
}

static void a_writer_that_does_not_let_go_is_waited_for_a_second(void **state)
{
    struct caller caller;

    (void)state;
    atomic_store(&fixture.status->writer_open, 1);
    begin(&caller);
    assert_int_equal(start(&caller, "test.echo", job_echo, KTS_JOB_ALONE | KTS_JOB_HOLDS, NULL),
                     KT_ERR_AGAIN);
    wait_for(&caller);
    assert_non_null(caller.result);
    end(&caller);
}

static void progress_is_told_while_it_runs(void **state)
{
    struct caller caller;
    json_t *now;

    (void)state;
    begin(&caller);
    assert_null(kts_job_state(&fixture.agent));
    assert_int_equal(start(&caller, "node.rejoin", job_wait, KTS_JOB_ALONE, NULL), KT_ERR_AGAIN);
    now = kts_job_state(&fixture.agent);
    assert_string_equal(json_string_value(json_object_get(now, "verb")), "node.rejoin");
    json_decref(now);
    temp_text("go", "");
    wait_for(&caller);
    end(&caller);
}

// The job's process id, in the file "pid".
static int job_hang(struct kts_job *job, const json_t *args, json_t **result,
                    struct kt_error *error)
{
    char text[32];

    (void)job;
    (void)args;
    (void)result;
    (void)error;
    snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    temp_text("pid.new", text);
    rename(temp_path("pid.new"), temp_path("pid"));
    while (getppid() != 1)
        pause();
    return KT_ERR_INTERNAL;
}

static void a_job_dies_with_the_agent(void **state)
{
    char *text = NULL;
    int64_t until = kt_monotonic_now() + DEADLINE_S * 1000000LL;
    pid_t agent = fork();
    long job;

    (void)state;
    if (agent == 0) {
        struct caller caller;
        event_reinit(fixture.agent.base);
        begin(&caller);
        if (start(&caller, "test.hang", job_hang, KTS_JOB_ALONE, NULL) == KT_ERR_AGAIN)
            event_base_dispatch(fixture.agent.base);
        _exit(1);
    }
    while (access(temp_path("pid"), F_OK) && kt_monotonic_now() < until)
        usleep(5000);
    assert_int_equal(kt_file_read_text(temp_path("pid"), 32, &text, NULL), 0);
    job = strtol(text, NULL, 10);
    free(text);
    assert_int_equal(kill((pid_t)job, 0), 0);
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    // It is reparented: until its new parent has taken notice it may stay as a zombie.
    for (;;) {
        char path[64], line[256] = "";
        snprintf(path, sizeof(path), "/proc/%ld/stat", job);
        FILE *file = fopen(path, "r");
        if (!file)
            break;
        if (!fgets(line, sizeof(line), file) || strstr(line, ") Z"))
            line[0] = '\0';
        fclose(file);
        if (!line[0])
            break;
        assert_true(kt_monotonic_now() < until);
        usleep(5000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_answer_of_a_job_reaches_its_caller, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(an_error_keeps_code_message_and_hint, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_job_that_is_killed_is_in_doubt, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_large_answer_arrives_whole, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_second_job_that_must_be_alone_is_told_who_is_first,
                                        fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_job_goes_on_when_its_caller_goes_away, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_job_has_none_of_the_agents_descriptors, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_job_that_holds_waits_until_the_writer_let_go,
                                        fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_writer_that_does_not_let_go_is_waited_for_a_second,
                                        fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(progress_is_told_while_it_runs, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_job_dies_with_the_agent, fixture_set_up,
                                        fixture_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
