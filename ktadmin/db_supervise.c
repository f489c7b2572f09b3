// SPDX-License-Identifier: Apache-2.0
// Watching over PostgreSQL in the foreground: for the systemd
// unit, and for whoever wants to see it.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ktadmin/db_start.h"
#include "lib/file.h"
#include "lib/log.h"

#define LOCK_FILE     "db.lock" // kts/agent_cluster.h
#define SIGNAL_BASE   128
#define LOCK_LOOKS    20
#define LOCK_PAUSE_MS 50

struct supervisor {
    const struct kta_node *node;
    struct db_cluster *cluster;
    sigset_t signals, before;
    pid_t pid;
    int told_to_stop;
};

__attribute__((noreturn)) static void become_postgres(const struct supervisor *s, pid_t parent)
{
    struct kt_error why = {0};

    // It does not outlive its supervisor: nobody would start it again, or stop it.
    if (prctl(PR_SET_PDEATHSIG, SIGINT) || getppid() != parent)
        _exit(KT_EXIT_FAILURE);
    sigprocmask(SIG_SETMASK, &s->before, NULL);
    db_cluster_exec(s->cluster, &why);
    kt_log_error(&why, "PostgreSQL cannot be started");
    _exit(kt_err_info(why.code)->exit);
}

static int start(struct supervisor *s, struct kt_error *error)
{
    pid_t parent = getpid();

    s->pid = fork();
    if (s->pid < 0)
        return kt_error_errno(error, "cannot start a process");
    if (s->pid == 0)
        become_postgres(s, parent);
    return 0;
}

// Until PostgreSQL has ended; its status as a shell would give it.
static int wait_for_end(struct supervisor *s)
{
    int status = 0;

    for (;;) {
        int number = sigwaitinfo(&s->signals, NULL);
        if (waitpid(s->pid, &status, WNOHANG) == s->pid)
            break;
        if (number <= 0 || number == SIGCHLD)
            continue;
        // SIGHUP reads its settings again; the others end it, and us.
        s->told_to_stop |= number != SIGHUP;
        kill(s->pid, number);
    }
    s->pid = 0;
    return WIFSIGNALED(status) ? SIGNAL_BASE + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run(struct supervisor *s, int *exit_code, struct kt_error *error)
{
    struct kta_start_answer answer = {.again = 0};
    int rc = kta_start_allowed(s->node, &answer, error);

    while (rc == 0) {
        rc = start(s, error);
        if (rc)
            break;
        *exit_code = wait_for_end(s);
        if (s->told_to_stop)
            break;
        rc = kta_start_allowed(s->node, &answer, error);
        if (rc == 0 && !answer.again)
            break; // a crash, or an operator's stop: a person decides
    }
    if (rc == KT_ERR_SHUTTING_DOWN) { // nothing runs
        *exit_code = KT_EXIT_OK;
        rc = 0;
    }
    return rc;
}

int kta_supervise(const struct kta_node *node, struct db_cluster *cluster, int *exit_code,
                  struct kt_error *error)
{
    static const int SIGNALS[] = {SIGCHLD, SIGINT, SIGTERM, SIGQUIT, SIGHUP};
    struct supervisor s = {.node = node, .cluster = cluster};
    char path[KT_PATH_MAX];
    int lock = -1, rc = kt_path_join(path, sizeof(path), node->paths.run, LOCK_FILE);

    if (rc == 0)
        rc = kt_file_lock(path, &lock, error);
    // The agent holds it for a moment when it looks who runs PostgreSQL.
    for (int looks = 0; rc == KT_ERR_BUSY && looks < LOCK_LOOKS; looks++) {
        poll(NULL, 0, LOCK_PAUSE_MS);
        rc = kt_file_lock(path, &lock, error);
    }
    if (rc == KT_ERR_BUSY)
        kt_error_set(error, rc, "stop it first: ktadmin db --stop",
                     "another 'ktadmin db --start' runs PostgreSQL already");
    if (rc)
        return rc;
    sigemptyset(&s.signals);
    for (size_t i = 0; i < sizeof(SIGNALS) / sizeof(SIGNALS[0]); i++)
        sigaddset(&s.signals, SIGNALS[i]);
    // From now on they are taken by sigwaitinfo only: none is lost between two looks.
    if (sigprocmask(SIG_BLOCK, &s.signals, &s.before))
        rc = kt_error_errno(error, "cannot block signals");
    if (rc == 0)
        rc = run(&s, exit_code, error);
    sigprocmask(SIG_SETMASK, &s.before, NULL);
    close(lock);
    return rc;
}
