// SPDX-License-Identifier: Apache-2.0
// The child's side of the fork: what it keeps, who it becomes, and which process it is from now on.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kts/master.h"
#include "lib/log.h"
#include "lib/proc.h"

static char log_name[32];

// The master's handlers would write into its event loop; a terminal's ^C is for the master only.
static void reset_signals(void)
{
    static const int IGNORED[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    sigset_t none;

    for (size_t i = 0; i < sizeof(IGNORED) / sizeof(IGNORED[0]); i++)
        signal(IGNORED[i], SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int listen_fd_of(const struct kts_child *child)
{
    if (child->process == KTS_WORKER)
        return child->master->listen_fd;
    return child->process == KTS_DOOR ? child->master->door_fd : -1;
}

// Closes every descriptor that is not this child's: other children's control sockets, the event
// loop, the pid file's lock, and the listening sockets of others.
static void close_others(const struct kts_child *child, int control_fd)
{
    int listen_fd = listen_fd_of(child);
    int keep[] = {2, control_fd, kt_log_fd(), listen_fd >= 0 ? listen_fd : 2};
    size_t n = sizeof(keep) / sizeof(keep[0]);

    qsort(keep, n, sizeof(keep[0]), compare);
    for (size_t i = 0; i + 1 < n; i++) {
        if (keep[i] + 1 < keep[i + 1])
            close_range((unsigned)keep[i] + 1, (unsigned)keep[i + 1] - 1, 0);
    }
    close_range((unsigned)keep[n - 1] + 1, ~0U, 0);
}

static void die_with_master(const struct kts_master *master)
{
    // Lost at each change of the user id, so it is set again behind that.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != master->pid)
        _exit(1);
}

// Root goes for good, except in a worker that becomes the network user: it needs the owner's
// files for its first connection to the database, so it drops by itself, and until then has the
// owner's effective ids: its files are opened with no more than that. The door needs no file.
static int become_owner(struct kts_child *child, int *still_root)
{
    struct kts_master *master = child->master;
    struct kt_error why = {0};

    *still_root = 0;
    if (!master->started_as_root)
        return 0;
    if (child->process == KTS_WORKER && master->has_network_user) {
        *still_root = 1;
        kts_master_as_owner(master);
        return kt_proc_harden() ? 1 : 0;
    }
    if (child->process == KTS_DOOR && master->has_network_user) {
        if (kt_proc_drop_to_user(kt_settings_text(master->settings, KT_SET_NETWORK_USER), &why)) {
            kt_log_error(&why, "cannot become the network user");
            return 1;
        }
        return kt_proc_harden() ? 1 : 0;
    }
    if (kt_proc_drop_to_owner(master->paths->confdir, &why)) {
        kt_log_error(&why, "cannot become the owner of the confdir");
        return 1;
    }
    return kt_proc_harden() ? 1 : 0; // a change of the user makes the process dumpable again
}

// Each has the keys of its own work only.
static void forget_secrets(struct kts_master *master, enum kts_process process)
{
    if (process != KTS_DOOR) {
        kt_secret_free(master->node_key);
        master->node_key = NULL;
    }
    if (process == KTS_WORKER)
        return;
    kt_secret_free(master->server_key);
    master->server_key = NULL;
    kt_wipe(&master->tickets, sizeof(master->tickets));
}

static int run_main(struct kts_child *child, struct kts_start *start)
{
    switch (child->process) {
    case KTS_AUDIT:
        return kts_audit_main(start);
    case KTS_AGENT:
        return kts_agent_main(start);
    case KTS_WRITER:
        return kts_writer_main(start);
    case KTS_WORKER:
        return kts_worker_main(start);
    case KTS_DOOR:
        return kts_door_main(start);
    case KTS_MASTER:
    case KTS_PROCESS_COUNT:
        break;
    }
    return 1;
}

void kts_child_run(struct kts_child *child, int control_fd)
{
    struct kts_master *master = child->master;
    char name[16];
    int still_root, is_door = child->process == KTS_DOOR;

    die_with_master(master);
    for (struct kts_child *c = master->children; c; c = c->next)
        kts_child_drop_queue(c); // what waits for others has the server key in it
    close_others(child, control_fd);
    reset_signals();
    snprintf(name, sizeof(name), "kts: %.10s", child->title);
    prctl(PR_SET_NAME, name);
    snprintf(log_name, sizeof(log_name), "kts %s", child->title);
    kt_log_rename(log_name);
    forget_secrets(master, child->process);
    if (child->process != KTS_AUDIT)
        kts_audit_pages_give_up(&master->audit_pages);
    if (become_owner(child, &still_root))
        _exit(1);
    die_with_master(master);
    struct kts_start start = {
        .process = child->process,
        .index = child->index,
        .paths = master->paths,
        .info = &master->info,
        .settings = master->settings,
        .status = master->status,
        .audit_page = master->audit_pages.readable,
        .own_audit_page = master->audit_pages.writable,
        .meter = master->meter,
        .control_fd = control_fd,
        .listen_fd = listen_fd_of(child),
        .started_as_root = still_root,
        .tls_cert = is_door ? master->node_cert : master->server_cert,
        .tls_key = is_door ? master->node_key : master->server_key,
        .ca_cert = master->ca_cert,
        .tickets = master->tickets,
    };
    kt_wipe(&master->tickets, sizeof(master->tickets));
    exit(run_main(child, &start));
}
