// SPDX-License-Identifier: Apache-2.0
// Forking from the agent: children for what would keep it waiting.
#include "kts/agent_child.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/log.h"

static void close_between(int from, int to)
{
    if (from < to)
        close_range((unsigned)from, (unsigned)to - 1, 0);
}

// All but standard input, output and error, the log and `keep`: listening sockets, links and the
// event loop are the agent's alone.
static void close_others(int keep)
{
    int log = kt_log_fd();
    int low = keep < log ? keep : log, high = keep < log ? log : keep;

    close_between(3, low);
    close_between(low < 3 ? 3 : low + 1, high);
    close_range((unsigned)(high < 3 ? 3 : high + 1), ~0U, 0);
}

pid_t kts_agent_fork(const char *name, int keep)
{
    pid_t parent = getpid(), pid;
    char title[16];
    sigset_t none;

    pid = fork();
    if (pid != 0)
        return pid;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(1);
    snprintf(title, sizeof(title), "kts: %.10s", name);
    prctl(PR_SET_NAME, title);
    // Signals stay as the agent has them: a terminal's ^C is for the master only.
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    close_others(keep);
    return 0;
}
