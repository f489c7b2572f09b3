// SPDX-License-Identifier: Apache-2.0
// ktadmin's side of the agent's unix socket.
#include "lib/agent_call.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/encode.h"
#include "lib/json.h"
#include "lib/secret.h"

#define READ_STEP (64u << 10)

struct call {
    const char *path;
    int fd;
    int64_t deadline_us;
    struct kt_error *error;
};

static int not_running(struct call *call)
{
    return kt_error_set(call->error, KT_ERR_NOT_RUNNING, NULL, "no server answers at '%s'",
                        call->path);
}

static int wait_for(struct call *call, short events)
{
    for (;;) {
        struct pollfd p = {.fd = call->fd, .events = events};
        int64_t left_ms = (call->deadline_us - kt_monotonic_now() + 999) / 1000;
        int n;

        if (left_ms <= 0)
            return kt_error_set(call->error, KT_ERR_TIMEOUT, NULL,
                                "the agent did not answer in time");
        n = poll(&p, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return kt_error_errno(call->error, "cannot wait for the agent");
    }
}

static int open_socket(struct call *call)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(call->path) >= sizeof(address.sun_path))
        return kt_error_set(call->error, KT_ERR_TOO_LARGE, NULL,
                            "the socket's path is too long: '%s'", call->path);
    memcpy(address.sun_path, call->path, strlen(call->path) + 1);
    call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (call->fd < 0)
        return kt_error_errno(call->error, "cannot make a socket");
    // Blocking: a unix connect waits only while the agent's backlog is full.
    struct timeval bound = {.tv_sec = 5};
    if (setsockopt(call->fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound)))
        return kt_error_errno(call->error, "cannot set a time limit on the socket");
    if (connect(call->fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return 0;
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
        return not_running(call);
    if (errno == EAGAIN)
        return kt_error_set(call->error, KT_ERR_TIMEOUT, NULL, "the agent is busy");
    return kt_error_errno(call->error, "cannot connect to '%s'", call->path);
}

static int send_all(struct call *call, struct kt_buf *out)
{
    while (kt_buf_left(out) > 0) {
        ssize_t n;
        int rc = wait_for(call, POLLOUT);
        if (rc)
            return rc;
        n = send(call->fd, kt_buf_ptr(out), kt_buf_left(out), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return 0; // it may have said why before it closed: read that
        if (n < 0)
            return kt_error_errno(call->error, "cannot send to the agent");
        rc = kt_buf_consume(out, (size_t)n);
        if (rc)
            return rc;
    }
    return 0;
}

static int receive_more(struct call *call, struct kt_buf *in)
{
    for (;;) {
        uint8_t *where;
        ssize_t n;
        int rc = wait_for(call, POLLIN);

        if (rc == 0)
            rc = kt_buf_reserve(in, READ_STEP, &where);
        if (rc)
            return rc;
        n = recv(call->fd, where, READ_STEP, MSG_DONTWAIT);
        if (n > 0) {
            kt_buf_commit(in, (size_t)n);
            return 0;
        }
        if (n == 0 || errno == ECONNRESET)
            // It had the whole request, so a change may have been passed on.
            return kt_error_set(call->error, KT_ERR_IN_DOUBT,
                                "see whether the server runs, then give the command again",
                                "the agent ended before it answered");
        if (errno != EINTR && errno != EAGAIN)
            return kt_error_errno(call->error, "cannot read from the agent");
    }
}

// Reads one frame; its text is then what is left in `in`.
static int receive_frame(struct call *call, struct kt_buf *in)
{
    uint32_t n = 0;
    int rc = 0;

    while (rc == 0 && kt_buf_left(in) < 4)
        rc = receive_more(call, in);
    if (rc == 0)
        rc = kt_buf_get_u32(in, &n);
    if (rc == 0 && n > KT_AGENT_MESSAGE_MAX)
        rc = kt_error_set(call->error, KT_ERR_PROTOCOL, NULL, "the agent's answer is too large");
    while (rc == 0 && kt_buf_left(in) < n)
        rc = receive_more(call, in);
    if (rc == 0 && kt_buf_left(in) != n)
        rc = kt_error_set(call->error, KT_ERR_PROTOCOL, NULL, "bytes behind the agent's answer");
    return rc;
}

static int read_answer(struct call *call, struct kt_buf *in, json_t **result)
{
    struct kt_error why = {0};
    json_t *answer = NULL;
    int rc = kt_json_parse_object(kt_buf_ptr(in), kt_buf_left(in), &answer, &why);

    if (rc)
        return kt_error_set(call->error, KT_ERR_PROTOCOL, NULL,
                            "the agent's answer is not JSON: %s", why.message);
    if (json_is_true(json_object_get(answer, "ok"))) {
        json_t *value = json_object_get(answer, "result");
        *result = value ? json_incref(value) : json_null();
    } else {
        json_t *e = json_object_get(answer, "error");
        const char *code = json_string_value(json_object_get(e, "code"));
        const char *message = json_string_value(json_object_get(e, "message"));
        const struct kt_err_info *info = kt_err_by_name(code ? code : "");
        rc = info && info->code ? info->code : KT_ERR_INTERNAL;
        kt_error_set(call->error, rc, json_string_value(json_object_get(e, "hint")), "%s",
                     message ? message : kt_err_text(rc));
    }
    json_decref(answer);
    return rc;
}

// The frame of a request, in `out`.
static int make_request(const char *verb, json_t *args, struct kt_buf *out)
{
    json_t *request = json_pack("{s:s, s:O?}", "verb", verb, "args", args);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    int rc = text ? kt_buf_put_cstr(out, text) : KT_ERR_NO_MEMORY;

    if (text) {
        kt_wipe(text, strlen(text));
        free(text);
    }
    json_decref(request);
    return rc;
}

int kt_agent_call(const char *socket_path, const char *verb, json_t *args, int timeout_ms,
                  json_t **result, struct kt_error *error)
{
    struct call call = {.path = socket_path,
                        .fd = -1,
                        .deadline_us = kt_monotonic_now() + (int64_t)timeout_ms * 1000,
                        .error = error};
    struct kt_buf out = KT_BUF_INIT(KT_AGENT_MESSAGE_MAX + 4);
    struct kt_buf in = KT_BUF_INIT(KT_AGENT_MESSAGE_MAX + 4 + READ_STEP);
    int rc = make_request(verb, args, &out);

    if (rc)
        kt_error_set(error, rc, NULL, "cannot make the request: %s", kt_err_text(rc));
    if (rc == 0)
        rc = open_socket(&call);
    if (rc == 0)
        rc = send_all(&call, &out);
    if (rc == 0)
        rc = receive_frame(&call, &in);
    if (rc == 0)
        rc = read_answer(&call, &in, result);
    if (call.fd >= 0)
        close(call.fd);
    json_decref(args);
    kt_buf_free(&out);
    kt_buf_free(&in);
    return rc;
}
