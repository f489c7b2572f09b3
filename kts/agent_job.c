// SPDX-License-Identifier: Apache-2.0
// Jobs of the agent: a child each, its result through a pipe.
#include "kts/agent_job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kts/agent_child.h"
#include "kts/agent_own.h"
#include "kts/agent_view.h"
#include "lib/agent_call.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"

#define JOBS_MAX     16
#define READ_STEP    (64u << 10)
#define TEXT_MAX     160
#define HOLD_MS      1000 // for a writer that is told to let go
#define HOLD_LOOK_MS 10
#define PROGRESS_US  200000

struct kts_running {
    struct kts_running *next;
    struct kts_agent *agent;
    struct kts_call *call; // NULL: its caller is gone, or there was none
    char verb[64];
    char actor[KT_ACTOR_TEXT];
    kts_job_function *run;
    unsigned flags;
    json_t *args;
    int64_t hold_until_us;
    struct event *timer; // while the writer is being held
    pid_t pid;           // 0: not forked yet
    int fd;
    struct event *readable;
    struct kt_buf in;
    char text[TEXT_MAX]; // progress
    uint64_t done, total;
};

// --- the child's side ---

static int send_frame(int fd, json_t *object)
{
    char *text = object ? kt_json_text(object) : NULL;
    struct kt_buf frame = KT_BUF_INIT(KT_AGENT_MESSAGE_MAX + 4);
    int rc = text ? kt_buf_put_cstr(&frame, text) : KT_ERR_NO_MEMORY;

    if (rc == 0)
        rc = kt_write_all(fd, kt_buf_ptr(&frame), kt_buf_left(&frame));
    kt_buf_free(&frame); // wipes
    if (text)
        kt_wipe(text, strlen(text));
    free(text);
    json_decref(object);
    return rc;
}

void kts_job_progress(struct kts_job *job, const char *text, uint64_t done, uint64_t total)
{
    int64_t now_us = kt_monotonic_now();

    if (now_us < job->progress_us + PROGRESS_US && done != total)
        return;
    job->progress_us = now_us;
    // Lost, when the agent is gone: then this process is about to end too.
    if (send_frame(job->fd, json_pack("{s:s, s:I, s:I}", "progress", text, "done", (json_int_t)done,
                                      "total", (json_int_t)total)))
        kt_log(KT_LOG_DEBUG, "progress cannot be told");
}

__attribute__((noreturn)) static void run_child(struct kts_running *running, int fd)
{
    struct kts_agent *agent = running->agent;
    const struct kt_paths *paths = agent->start->paths;
    struct kts_job job = {
        .start = agent->start,
        .status = agent->start->status,
        .credentials = {.ca_file = paths->ca_cert,
                        .cert_file = paths->node_cert,
                        .key_file = paths->node_key},
        .actor = running->actor,
        .ca_key = agent->ca_key,
        .ca_cert = agent->ca_cert,
        .listed = agent->view && agent->view->is_known && agent->view->listed.is_known
                      ? &agent->view->listed.nodes
                      : NULL,
        .fd = fd,
    };
    struct kt_error error = {0};
    json_t *result = NULL;
    int rc;

    rc = running->run(&job, running->args, &result, &error);
    if (rc == 0 && !result)
        rc = kt_error_set(&error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    if (rc && !error.code)
        kt_error_set(&error, rc, NULL, "%s", kt_err_text(rc));
    rc = send_frame(fd, rc ? json_pack("{s:i, s:s, s:s}", "error", error.code, "message",
                                       error.message, "hint", error.hint)
                           : json_pack("{s:o}", "result", result));
    _exit(rc ? 1 : 0);
}

// --- the agent's side ---

static void free_running(struct kts_running *running)
{
    struct kts_running **at = &running->agent->jobs;

    while (*at && *at != running)
        at = &(*at)->next;
    if (*at)
        *at = running->next;
    if (running->call)
        kts_call_set_job(running->call, NULL);
    if (running->timer)
        event_free(running->timer);
    if (running->readable)
        event_free(running->readable);
    if (running->fd >= 0)
        close(running->fd);
    kt_buf_free(&running->in);
    json_decref(running->args);
    free(running);
}

// Ends the job. `result` (stolen) NULL: `error` says why.
static void finish(struct kts_running *running, json_t *result, const struct kt_error *error)
{
    struct kts_agent *agent = running->agent;
    struct kts_call *call = running->call;

    if ((running->flags & KTS_JOB_ALONE) && agent->view)
        agent->view->listed_us = 0; // it may have changed the table of nodes
    // That it was begun is on record.
    if (!result && call && (running->flags & KTS_JOB_ALONE))
        kts_agent_audit(agent, json_pack("{s:s, s:s, s:s, s:s}", "event", running->verb, "result",
                                         "failed", "operator", running->actor, "reason",
                                         kt_err_info(error->code)->name));
    if (!result)
        kt_log_error(error, "'%s' asked for by '%s' failed", running->verb, running->actor);
    else if (running->flags & KTS_JOB_ALONE)
        kt_log(KT_LOG_NOTICE, "'%s' asked for by '%s' is done", running->verb, running->actor);
    if (!call)
        kts_own_job_ended(agent, running->run, result);
    free_running(running);
    if (call && result)
        kts_call_succeed(call, result);
    else if (call)
        kts_call_fail(call, error);
    else
        json_decref(result);
    kts_agent_watch_now(agent);
}

static void finish_broken(struct kts_running *running, int status)
{
    struct kt_error error = {0};

    kt_error_set(&error, KT_ERR_IN_DOUBT, "look at the log, then run it again",
                 "the job ended before it answered (%s %d)",
                 WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    finish(running, NULL, &error);
}

// One message of the job. 1: it was the last.
static int take_message(struct kts_running *running, const json_t *message)
{
    json_t *result = json_object_get(message, "result");
    const char *text = json_string_value(json_object_get(message, "progress"));
    struct kt_error error = {0};

    if (text) {
        snprintf(running->text, sizeof(running->text), "%s", text);
        running->done = (uint64_t)json_integer_value(json_object_get(message, "done"));
        running->total = (uint64_t)json_integer_value(json_object_get(message, "total"));
        return 0;
    }
    if (!result) {
        const char *why = json_string_value(json_object_get(message, "message"));
        const char *hint = json_string_value(json_object_get(message, "hint"));
        kt_error_set(&error, (int)json_integer_value(json_object_get(message, "error")),
                     hint && hint[0] ? hint : NULL, "%s", why ? why : "");
    }
    kill(running->pid, SIGKILL); // it is about to end, or it hangs in doing so
    waitpid(running->pid, NULL, 0);
    finish(running, json_incref(result), &error);
    return 1;
}

// Whole messages in what was read. 1: the job has ended.
static int take_messages(struct kts_running *running)
{
    const uint8_t *text;
    size_t n;

    for (;;) {
        struct kt_buf view = running->in;
        json_t *message = NULL;
        int ended;

        if (kt_buf_get_block(&view, &text, &n, KT_AGENT_MESSAGE_MAX))
            return 0;
        if (kt_json_parse_object(text, n, &message, NULL))
            return 0; // the end that follows says that it broke
        if (kt_buf_consume(&running->in, 4 + n)) {
            json_decref(message);
            return 0;
        }
        ended = take_message(running, message);
        json_decref(message);
        if (ended)
            return 1;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct kts_running *running = arg;
    uint8_t *where;
    int status = 0;
    ssize_t n = 0;

    (void)what;
    if (kt_buf_reserve(&running->in, READ_STEP, &where) == 0)
        n = read((int)fd, where, READ_STEP);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        kt_buf_commit(&running->in, (size_t)n);
        take_messages(running);
        return;
    }
    if (waitpid(running->pid, &status, WNOHANG) == 0) {
        kill(running->pid, SIGKILL);
        waitpid(running->pid, &status, 0);
    }
    finish_broken(running, status);
}

static int fork_job(struct kts_running *running, struct kt_error *error)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC))
        return kt_error_errno(error, "cannot make a pipe");
    running->fd = fds[0];
    running->readable =
        event_new(running->agent->base, fds[0], EV_READ | EV_PERSIST, on_readable, running);
    if (!running->readable || event_add(running->readable, NULL)) {
        close(fds[1]);
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    }
    running->pid = kts_agent_fork(running->verb, fds[1]);
    if (running->pid == 0)
        run_child(running, fds[1]);
    close(fds[1]);
    if (running->pid < 0) {
        running->pid = 0;
        return kt_error_errno(error, "cannot start a process for '%s'", running->verb);
    }
    return 0;
}

// --- holding the writer ---

static void on_held(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval LOOK = {.tv_usec = HOLD_LOOK_MS * 1000};
    struct kts_running *running = arg;
    struct kts_status *status = running->agent->start->status;
    struct kt_error error = {0};

    (void)fd;
    (void)what;
    if (atomic_load(&status->writer_open) && kt_monotonic_now() < running->hold_until_us)
        event_add(running->timer, &LOOK);
    else if (fork_job(running, &error))
        finish(running, NULL, &error);
}

static int hold_writer(struct kts_running *running, struct kt_error *error)
{
    static const struct timeval NOW = {0, 0};
    struct kts_agent *agent = running->agent;

    running->timer = evtimer_new(agent->base, on_held, running);
    if (!running->timer || event_add(running->timer, &NOW))
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    running->hold_until_us = kt_monotonic_now() + HOLD_MS * 1000;
    atomic_store(&agent->start->status->writer_ticket, 0);
    // Without a link there is no writer, or it looks at the ticket by itself.
    if (agent->changes.link &&
        kts_agent_send(&agent->changes, KTS_MSG_RECHECK, ++agent->next_id, NULL, 0))
        kt_log(KT_LOG_WARNING, "the writer cannot be told that it is held");
    return 0;
}

// --- starting ---

static const struct kts_running *find_alone(const struct kts_agent *agent)
{
    const struct kts_running *running = agent->jobs;

    while (running && !(running->flags & KTS_JOB_ALONE))
        running = running->next;
    return running;
}

static int check_free(const struct kts_agent *agent, unsigned flags, struct kt_error *error)
{
    const struct kts_running *alone = find_alone(agent);
    size_t count = 0;

    for (const struct kts_running *running = agent->jobs; running; running = running->next)
        count++;
    if ((flags & KTS_JOB_ALONE) && alone)
        return kt_error_set(error, KT_ERR_BUSY, "wait until it is done, then run it again",
                            "'%s', asked for by '%s', is under way on this node", alone->verb,
                            alone->actor);
    if (count >= JOBS_MAX)
        return kt_error_set(error, KT_ERR_BUSY, NULL, "%zu jobs are under way on this node", count);
    return 0;
}

static int start(struct kts_agent *agent, const char *actor, const char *verb,
                 kts_job_function *run, unsigned flags, const json_t *args,
                 struct kts_running **out, struct kt_error *error)
{
    struct kts_running *running;
    int rc = check_free(agent, flags, error);

    if (rc)
        return rc;
    running = calloc(1, sizeof(*running));
    if (!running)
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    *running = (struct kts_running){
        .next = agent->jobs,
        .agent = agent,
        .run = run,
        .flags = flags,
        .args = args ? json_deep_copy(args) : json_object(),
        .fd = -1,
        .in = KT_BUF_INIT(KT_AGENT_MESSAGE_MAX + 4 + READ_STEP),
    };
    snprintf(running->verb, sizeof(running->verb), "%s", verb);
    snprintf(running->actor, sizeof(running->actor), "%s", actor);
    agent->jobs = running;
    if (!running->args)
        rc = kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    else
        rc = flags & KTS_JOB_HOLDS ? hold_writer(running, error) : fork_job(running, error);
    if (rc)
        free_running(running);
    else
        *out = running;
    return rc;
}

int kts_job_start(struct kts_call *call, const char *verb, kts_job_function *run, unsigned flags,
                  const json_t *args, struct kt_error *error)
{
    struct kts_running *running = NULL;
    int rc =
        start(kts_call_agent(call), kts_call_actor(call), verb, run, flags, args, &running, error);

    if (rc)
        return rc;
    running->call = call;
    kts_call_set_job(call, running);
    return KT_ERR_AGAIN;
}

int kts_job_start_own(struct kts_agent *agent, const char *actor, const char *verb,
                      kts_job_function *run, unsigned flags, const json_t *args,
                      struct kt_error *error)
{
    struct kts_running *running = NULL;

    return start(agent, actor, verb, run, flags, args, &running, error);
}

void kts_job_forget(struct kts_running *running)
{
    running->call = NULL;
}

void kts_jobs_end(struct kts_agent *agent)
{
    struct kts_running *next;

    for (struct kts_running *running = agent->jobs; running; running = next) {
        next = running->next;
        if (running->pid > 0) {
            kill(running->pid, SIGKILL);
            waitpid(running->pid, NULL, 0);
        }
        free_running(running);
    }
}

// --- questions ---

int kts_job_is_running(const struct kts_agent *agent)
{
    return find_alone(agent) != NULL;
}

size_t kts_job_count(const struct kts_agent *agent, kts_job_function *run)
{
    size_t n = 0;

    for (const struct kts_running *running = agent->jobs; running; running = running->next)
        n += running->run == run;
    return n;
}

int kts_job_holds(const struct kts_agent *agent)
{
    const struct kts_running *running = agent->jobs;

    while (running && !(running->flags & KTS_JOB_HOLDS))
        running = running->next;
    return running != NULL;
}

json_t *kts_job_state(const struct kts_agent *agent)
{
    const struct kts_running *running = find_alone(agent);

    return running ? json_pack("{s:s, s:s, s:s, s:I, s:I}", "verb", running->verb, "actor",
                               running->actor, "text", running->text, "done",
                               (json_int_t)running->done, "total", (json_int_t)running->total)
                   : NULL;
}
