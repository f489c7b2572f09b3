// SPDX-License-Identifier: Apache-2.0
// Starting kts in a session of its own, and PostgreSQL after it.
#include "ktadmin/start.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ktadmin/nodes.h"
#include "lib/agent_call.h"
#include "lib/file.h"

#define START_S   120
#define AGENT_US  30000000
#define PAUSE_MS  50
#define ANSWER_MS 10000

// Where it is installed or was built: ../sbin/kts, or beside ktadmin.
static int find_server(char out[KT_PATH_MAX], struct kt_error *error)
{
    static const char *const PLACES[] = {"../sbin/kts", "kts"};
    char self[KT_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    if (n > 0) {
        self[n] = '\0';
        slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
        for (size_t i = 0; slash && i < sizeof(PLACES) / sizeof(PLACES[0]); i++)
            if (kt_path_join(out, KT_PATH_MAX, self, PLACES[i]) == 0 && access(out, X_OK) == 0)
                return 0;
    }
    return kt_error_set(error, KT_ERR_NOT_FOUND, "start it by hand: kts", "kts is not installed");
}

static int agent_answers(const struct kt_paths *paths)
{
    json_t *answer = NULL;
    int rc = kt_agent_call(paths->agent_socket, "ping", NULL, ANSWER_MS, &answer, NULL);

    json_decref(answer);
    return rc == 0;
}

// In the grandchild: its own session, no terminal, the log.
static void become_server(const char *program, const struct kt_paths *paths, const char *log)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC),
        log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (null_fd < 0 || log_fd < 0 || dup2(null_fd, 0) < 0 || dup2(log_fd, 1) < 0 ||
        dup2(log_fd, 2) < 0)
        _exit(127);
    execl(program, "kts", "--confdir", paths->confdir, (char *)NULL);
    _exit(127);
}

static int start_server(const struct kt_paths *paths, struct kt_error *error)
{
    char program[KT_PATH_MAX], log[KT_PATH_MAX];
    int64_t until = kt_monotonic_now() + AGENT_US;
    pid_t child;
    int rc = find_server(program, error);

    if (rc == 0)
        rc = kt_path_join(log, sizeof(log), paths->logs, "kts.log");
    if (rc)
        return rc;
    child = fork();
    if (child < 0)
        return kt_error_errno(error, "cannot make a process");
    if (child == 0) {
        if (setsid() < 0)
            _exit(127);
        child = fork();
        if (child == 0)
            become_server(program, paths, log);
        _exit(child < 0 ? 127 : 0);
    }
    (void)!waitpid(child, NULL, 0);
    while (!agent_answers(paths)) {
        if (kt_monotonic_now() > until)
            return kt_error_set(error, KT_ERR_NOT_RUNNING, "look at its log",
                                "kts does not answer; its log is '%s'", log);
        kta_pause_ms(PAUSE_MS);
    }
    return 0;
}

static int is_allowed(const struct kt_paths *paths, struct kt_error *error)
{
    json_t *answer = NULL;
    const char *why;
    int rc =
        kt_agent_call(paths->agent_socket, "db.start_allowed", NULL, ANSWER_MS, &answer, error);

    if (rc == 0 && json_is_false(json_object_get(answer, "allowed"))) {
        why = json_string_value(json_object_get(answer, "reason"));
        rc = kt_error_set(error, KT_ERR_FENCED, "see ktadmin status",
                          "the server does not allow the start%s%s", why ? ": " : "",
                          why ? why : "");
    }
    json_decref(answer);
    return rc;
}

int kta_start_node(const struct kt_paths *paths, struct db_cluster *cluster, struct kt_error *error)
{
    int rc = agent_answers(paths) ? 0 : start_server(paths, error);

    if (rc == 0)
        rc = is_allowed(paths, error);
    return rc ? rc : db_cluster_start(cluster, START_S, error);
}
