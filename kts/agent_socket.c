// SPDX-License-Identifier: Apache-2.0
// The agent's unix socket: who asks, one request, one answer.
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "kts/agent_door.h"
#include "lib/agent_call.h"
#include "lib/json.h"
#include "lib/log.h"

#define CALLS_MAX   64
#define REQUEST_MAX (1u << 20) // no verb has more to say
#define READ_STEP   (64u << 10)
#define PAUSE_MS    200 // when there are no descriptors left
#define CALL_S      10  // for the request, and again for taking the answer

struct connection {
    struct kts_call call;
    int fd;
    struct event *readable, *writable;
    struct kt_buf in, out;
    int asked; // the request is complete
};

static struct connection *of(struct kts_call *call)
{
    return (struct connection *)((char *)call - offsetof(struct connection, call));
}

static void free_connection(struct connection *c)
{
    c->call.agent->socket_count--;
    event_free(c->readable);
    event_free(c->writable);
    close(c->fd);
    kt_buf_free(&c->in);
    kt_buf_free(&c->out);
    if (c->asked)
        kts_call_end(&c->call);
    free(c);
}

// --- answers ---

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;

    while (!(what & EV_TIMEOUT) && kt_buf_left(&c->out) > 0) {
        ssize_t n = send((int)fd, kt_buf_ptr(&c->out), kt_buf_left(&c->out), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 || kt_buf_consume(&c->out, (size_t)n))
            break;
    }
    free_connection(c);
}

// The connection ends when it is sent.
static void send_answer(struct kts_call *call, const json_t *result, const struct kt_error *error)
{
    const struct timeval tv = {.tv_sec = CALL_S};
    struct connection *c = of(call);
    // jansson counts references, also of what is const here.
    json_t *answer = result ? json_pack("{s:b, s:O}", "ok", 1, "result", result)
                            : json_pack("{s:b, s:o}", "ok", 0, "error", kts_call_error_json(error));
    char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
    int rc = text ? kt_buf_put_cstr(&c->out, text) : KT_ERR_NO_MEMORY;

    if (text) {
        kt_wipe(text, strlen(text));
        free(text);
    }
    json_decref(answer);
    if (rc)
        kt_log_code(KT_LOG_ERROR, rc, "an answer cannot be made"); // closed without one
    event_del(c->readable);
    // Sent from the loop, not from here: the caller may still hold the call.
    event_add(c->writable, &tv);
}

// --- requests ---

static void run_request(struct kts_call *call, const uint8_t *bytes, size_t n)
{
    static const char *const MEMBERS[] = {"verb", "args", NULL};
    struct kt_error error = {0};
    json_t *request = NULL;
    const char *verb = NULL;
    int rc = kt_json_parse_object(bytes, n, &request, &error);

    if (rc == 0)
        rc = kt_json_only(request, MEMBERS, &error);
    if (rc == 0)
        rc = kt_json_string(request, "verb", 1, 64, &verb, &error);
    if (rc)
        kts_call_fail(call, &error);
    else
        kts_verb_run(call, verb, json_object_get(request, "args"));
    json_decref(request);
}

static void take_request(struct connection *c)
{
    const uint8_t *p = kt_buf_ptr(&c->in);
    size_t left = kt_buf_left(&c->in);
    struct kt_error error = {0};
    size_t n;

    if (left < 4)
        return;
    n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (n <= REQUEST_MAX && left < 4 + n)
        return;
    c->asked = 1;
    kts_call_begin(&c->call);
    if (n <= REQUEST_MAX) {
        run_request(&c->call, p + 4, n);
        return;
    }
    kt_error_set(&error, KT_ERR_TOO_LARGE, NULL, "the request is too large");
    kts_call_fail(&c->call, &error);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;
    uint8_t *where;
    ssize_t n;

    if (what & EV_TIMEOUT) {
        if (!c->asked)
            free_connection(c);
        return;
    }
    if (kt_buf_reserve(&c->in, READ_STEP, &where)) {
        free_connection(c);
        return;
    }
    n = recv((int)fd, where, READ_STEP, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || c->asked) { // gone, or talking on: one request a connection
        free_connection(c);
        return;
    }
    kt_buf_commit(&c->in, (size_t)n);
    take_request(c);
}

// --- who ---

static void name_actor(struct kts_call *call, uid_t uid)
{
    const struct passwd *account = getpwuid(uid);

    snprintf(call->actor, sizeof(call->actor), "%.64s (uid %lu)",
             account ? account->pw_name : "unknown", (unsigned long)uid);
}

// Only the service's own account and root. The socket's mode says so too; this says it again.
static int is_allowed(struct kts_agent *agent, int fd, uid_t *uid)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n)) {
        kt_log(KT_LOG_ERROR, "the agent's socket: %s", strerror(errno));
        return 0;
    }
    *uid = peer.uid;
    if (peer.uid == 0 || peer.uid == geteuid())
        return 1;
    kt_log(KT_LOG_WARNING, "refused uid %lu (pid %ld) on the agent's socket",
           (unsigned long)peer.uid, (long)peer.pid);
    kts_agent_audit(agent, json_pack("{s:s, s:s, s:s, s:I}", "event", "agent.connect", "result",
                                     "denied", "reason", kt_err_info(KT_ERR_PERMISSION)->name,
                                     "uid", (json_int_t)peer.uid));
    return 0;
}

static int new_connection(struct kts_agent *agent, int fd, uid_t uid)
{
    const struct timeval tv = {.tv_sec = CALL_S};
    struct connection *c = calloc(1, sizeof(*c));

    if (!c)
        return KT_ERR_NO_MEMORY;
    c->call = (struct kts_call){.agent = agent, .caller = KTS_CALLER_LOCAL, .answer = send_answer};
    c->fd = fd;
    c->in = (struct kt_buf)KT_BUF_INIT(4 + REQUEST_MAX + READ_STEP);
    c->out = (struct kt_buf)KT_BUF_INIT(4 + KT_AGENT_MESSAGE_MAX);
    c->readable = event_new(agent->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(agent->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    if (!c->readable || !c->writable || event_add(c->readable, &tv)) {
        if (c->readable)
            event_free(c->readable);
        if (c->writable)
            event_free(c->writable);
        free(c);
        return KT_ERR_NO_MEMORY;
    }
    name_actor(&c->call, uid);
    agent->socket_count++;
    return 0;
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    struct kts_agent *agent = arg;

    (void)fd;
    (void)what;
    event_add(agent->listener, NULL);
}

// The connection that cannot be taken stays readable: without a pause the loop would spin.
static void pause_accepting(struct kts_agent *agent, const char *why)
{
    const struct timeval tv = {.tv_usec = PAUSE_MS * 1000};

    kt_log(KT_LOG_WARNING, "the agent's socket pauses: %s", why);
    event_del(agent->listener);
    event_add(agent->listen_pause, &tv);
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
    struct kts_agent *agent = arg;
    uid_t uid;
    int s;

    (void)what;
    s = accept4((int)fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (s < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(agent, strerror(errno));
        return;
    }
    if (!is_allowed(agent, s, &uid) || agent->socket_count >= CALLS_MAX ||
        new_connection(agent, s, uid))
        close(s);
}

int kts_agent_listen(struct kts_agent *agent, struct kt_error *error)
{
    const char *path = agent->start->paths->agent_socket;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    agent->listen_fd = fd;
    if (fd < 0)
        return kt_error_errno(error, "cannot make the agent's socket");
    if (strlen(path) >= sizeof(address.sun_path))
        return kt_error_set(error, KT_ERR_TOO_LARGE, NULL, "the path '%s' is too long", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    // What a killed server left; the pid file's lock says that no other is running.
    if (unlink(path) && errno != ENOENT)
        return kt_error_errno(error, "cannot remove the old '%s'", path);
    // The mode comes from the umask (077): there is no moment in which others could connect.
    mode_t before = umask(0177);
    int bound = bind(fd, (struct sockaddr *)&address, sizeof(address));
    umask(before);
    if (bound || listen(fd, CALLS_MAX))
        return kt_error_errno(error, "cannot listen on '%s'", path);
    agent->listener = event_new(agent->base, fd, EV_READ | EV_PERSIST, on_connection, agent);
    agent->listen_pause = evtimer_new(agent->base, on_pause_over, agent);
    if (!agent->listener || !agent->listen_pause || event_add(agent->listener, NULL))
        return kt_error_set(error, KT_ERR_NO_MEMORY, NULL, "out of memory");
    return 0;
}

void kts_agent_unlisten(struct kts_agent *agent)
{
    if (agent->listener) {
        event_free(agent->listener);
        unlink(agent->start->paths->agent_socket);
    }
    if (agent->listen_pause)
        event_free(agent->listen_pause);
    agent->listener = agent->listen_pause = NULL;
    if (agent->listen_fd >= 0)
        close(agent->listen_fd);
    agent->listen_fd = -1;
}
