// SPDX-License-Identifier: Apache-2.0
// The master: opens what all need, starts the others, and keeps them running.
#include "kts/master.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kts/notify.h"
#include "lib/cli.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "lib/version.h"

#define POLL_MS      100 // how soon a database that came back is seen
#define TICKETS_S    3600
#define LAST_WORDS_S 2 // for the next kind, when the one before had to be killed

static int load(struct kts_master *master, struct kt_error *error)
{
    const struct kt_paths *paths = master->paths;
    int rc = kt_cluster_info_load(paths->cluster, &master->info, error);
    if (rc == KT_ERR_NOT_INITIALISED)
        return kt_error_set(error, rc, "run ktadmin init", "there is no cluster in '%s'",
                            paths->confdir);
    if (rc == 0)
        rc = kt_settings_load(paths->settings, &master->settings, error);
    if (rc == 0)
        rc = kts_master_load_tls(master, error);
    return rc;
}

int kts_master_load(struct kts_master *master, const struct kt_paths *paths, struct kt_error *error)
{
    int rc;

    *master = (struct kts_master){.paths = paths, .pid_fd = -1, .listen_fd = -1, .door_fd = -1};
    rc = kts_master_find_accounts(master, error);
    if (rc)
        return rc;
    kts_master_as_owner(master);
    rc = load(master, error);
    kts_master_as_root(master);
    return rc;
}

void kts_master_unload(struct kts_master *master)
{
    kts_children_free(master);
    for (int i = 0; i < master->event_count; i++)
        event_free(master->events[i]);
    if (master->stop_timer)
        event_free(master->stop_timer);
    if (master->door_timer)
        event_free(master->door_timer);
    if (master->base)
        event_base_free(master->base);
    if (master->listen_fd >= 0)
        close(master->listen_fd);
    kts_master_door_close(master);
    if (master->pid_fd >= 0) {
        kts_master_as_owner(master);
        if (unlink(master->paths->pid_file))
            kt_log(KT_LOG_WARNING, "cannot remove '%s'", master->paths->pid_file);
        kts_master_as_root(master);
        close(master->pid_fd); // and its lock, so that nobody else's file was removed
    }
    kt_buf_free(&master->server_cert);
    kt_buf_free(&master->ca_cert);
    kt_secret_free(master->server_key);
    kt_buf_free(&master->node_cert);
    kt_secret_free(master->node_key);
    kt_settings_free(master->settings);
    kt_wipe(&master->tickets, sizeof(master->tickets));
}

// --- readiness ---

void kts_master_check_ready(struct kts_master *master)
{
    int audit = 0, agent = 0, workers = 0;
    char status[64];

    for (const struct kts_child *c = master->children; c; c = c->next) {
        audit += c->process == KTS_AUDIT && c->ready;
        agent += c->process == KTS_AGENT && c->ready;
        workers += c->process == KTS_WORKER && c->ready && !c->retiring;
    }
    // Not the writer: without a database kts answers all the same, and says so.
    if (master->ready || master->stopping || !audit || !agent || workers < master->workers)
        return;
    master->ready = 1;
    snprintf(status, sizeof(status), "serving on port %d",
             (int)kt_settings_number(master->settings, KT_SET_HTTPS_PORT));
    kt_log(KT_LOG_NOTICE, "ready: '%s' port %s, %d workers",
           kt_settings_text(master->settings, KT_SET_HTTPS_ADDRESS),
           kt_settings_text(master->settings, KT_SET_HTTPS_PORT), master->workers);
    kts_notify_ready(status);
}

// --- stopping ---

// Who asks stops before who answers, so that nothing in flight is left without its answer.
// -1: all have ended.
static int now_stopping(const struct kts_master *master)
{
    static const enum kts_process ORDER[] = {KTS_WORKER, KTS_WRITER, KTS_DOOR, KTS_AGENT,
                                             KTS_AUDIT};

    for (size_t i = 0; i < sizeof(ORDER) / sizeof(ORDER[0]); i++) {
        if (kts_children_alive(master, (int)ORDER[i]) > 0)
            return (int)ORDER[i];
    }
    return -1;
}

void kts_master_stop_next(struct kts_master *master)
{
    int process = now_stopping(master);

    if (process != KTS_WORKER && process != KTS_WRITER)
        kts_master_door_close(master);
    for (struct kts_child *c = master->children; c; c = c->next) {
        if ((int)c->process == process)
            kts_child_retire(c);
    }
    if (process < 0)
        event_base_loopbreak(master->base);
}

static void on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval tv = {.tv_sec = LAST_WORDS_S};
    struct kts_master *master = arg;
    int process = now_stopping(master);

    (void)fd;
    (void)what;
    master->killed = 1;
    if (process >= 0) {
        kt_log(KT_LOG_WARNING, "%s did not stop in time, it is killed",
               kts_process_name((enum kts_process)process));
        kts_children_kill(master, process);
    }
    event_add(master->stop_timer, &tv);
}

static void on_stop_signal(evutil_socket_t number, short what, void *arg)
{
    struct kts_master *master = arg;
    int64_t ms = kt_settings_number(master->settings, KT_SET_TIMEOUT_STOP);
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    (void)what;
    if (master->stopping) {
        kt_log(KT_LOG_WARNING, "a second signal: not waiting any longer");
        master->killed = 1;
        kts_children_kill(master, -1);
        return;
    }
    kt_log(KT_LOG_NOTICE, "stopping (signal %d)", (int)number);
    kts_notify_stopping();
    master->stopping = 1;
    for (struct kts_child *c = master->children; c; c = c->next)
        event_del(c->timer); // no restarts any more
    event_add(master->stop_timer, &tv);
    kts_master_stop_next(master);
}

// --- the loop ---

static void on_child(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    kts_children_reap(arg);
}

static void on_reload(evutil_socket_t fd, short what, void *arg)
{
    struct kts_master *master = arg;

    (void)fd;
    (void)what;
    if (!master->stopping)
        kts_master_reload(master);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    kts_children_check_database(arg);
}

static void on_tickets(evutil_socket_t fd, short what, void *arg)
{
    struct kts_master *master = arg;

    (void)fd;
    (void)what;
    if (kts_master_new_tickets(master))
        return;
    for (struct kts_child *c = master->children; c; c = c->next) {
        if (c->process == KTS_WORKER && c->pid)
            kts_child_send(c, KTS_CTL_TICKETS, &master->tickets, sizeof(master->tickets), -1);
    }
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    kts_notify_alive();
}

static int add_event(struct kts_master *master, int number, event_callback_fn callback,
                     const struct timeval *every)
{
    short what = every ? EV_PERSIST : EV_SIGNAL | EV_PERSIST;
    struct event *e = event_new(master->base, number, what, callback, master);

    if (!e)
        return KT_ERR_NO_MEMORY;
    master->events[master->event_count++] = e;
    return event_add(e, every) ? KT_ERR_NO_MEMORY : 0;
}

static int add_events(struct kts_master *master)
{
    const struct timeval poll_every = {.tv_usec = POLL_MS * 1000};
    const struct timeval tickets_every = {.tv_sec = TICKETS_S};
    uint64_t watchdog = kts_notify_watchdog_us() / 2;
    struct timeval watchdog_every = {.tv_sec = (time_t)(watchdog / 1000000),
                                     .tv_usec = (suseconds_t)(watchdog % 1000000)};
    int rc;

    master->base = event_base_new();
    master->stop_timer = master->base ? evtimer_new(master->base, on_stop_timer, master) : NULL;
    if (!master->stop_timer)
        return KT_ERR_NO_MEMORY;
    rc = add_event(master, SIGCHLD, on_child, NULL);
    if (rc == 0)
        rc = add_event(master, SIGTERM, on_stop_signal, NULL);
    if (rc == 0)
        rc = add_event(master, SIGINT, on_stop_signal, NULL);
    if (rc == 0)
        rc = add_event(master, SIGHUP, on_reload, NULL);
    if (rc == 0)
        rc = add_event(master, -1, on_poll, &poll_every);
    if (rc == 0)
        rc = add_event(master, -1, on_tickets, &tickets_every);
    if (rc == 0 && watchdog > 0)
        rc = add_event(master, -1, on_watchdog, &watchdog_every);
    return rc;
}

static int start_children(struct kts_master *master)
{
    static const enum kts_process SINGLE[] = {KTS_AUDIT, KTS_AGENT, KTS_WRITER};
    struct kts_child *child;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(SINGLE) / sizeof(SINGLE[0]); i++) {
        rc = kts_child_new(master, SINGLE[i], 0, &child);
        if (rc == 0)
            kts_child_start(child);
    }
    for (int i = 0; rc == 0 && i < master->workers; i++) {
        rc = kts_child_new(master, KTS_WORKER, i, &child);
        if (rc == 0)
            kts_child_start(child);
    }
    return rc ? rc : kts_master_door_start(master);
}

// --- before the first fork ---

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max; // the workers' connections
        if (setrlimit(RLIMIT_NOFILE, &limit))
            kt_log(KT_LOG_WARNING, "the limit of open files cannot be raised");
    }
}

// Input is never read; and a number below 3 that was closed must not become a socket's.
static void occupy_standard_descriptors(void)
{
    int fd = open("/dev/null", O_RDWR);

    if (fd > 0)
        dup2(fd, 0);
    while (fd >= 0 && fd < 3)
        fd = open("/dev/null", O_RDWR);
    if (fd > 2)
        close(fd);
}

static int count_workers(const struct kt_settings *settings)
{
    int n = (int)kt_settings_number(settings, KT_SET_WORKERS);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (n > 0)
        return n;
    return cores > 65 ? 64 : cores > 2 ? (int)cores - 1 : 1;
}

// The run folder may be on a file system that is empty after each boot.
static int prepare_files(struct kts_master *master, struct kt_error *error)
{
    int rc = kt_dir_make(master->paths->run, 0700, error);

    if (rc == 0)
        rc = kt_dir_make(master->paths->audit, 0700, error);
    if (rc == 0)
        rc = kts_master_lock(master->paths->pid_file, &master->pid_fd, error);
    return rc;
}

static int prepare(struct kts_master *master, struct kt_error *error)
{
    int rc;

    kts_master_find_network_user(master);
    kts_master_as_owner(master);
    rc = prepare_files(master, error);
    kts_master_as_root(master);
    if (rc == 0)
        rc = kts_master_listen(master->settings, &master->listen_fd, error);
    if (rc)
        return rc;
    rc = kts_status_new(&master->status);
    if (rc == 0)
        rc = kts_audit_pages_new(&master->audit_pages);
    if (rc == 0)
        rc = kts_meter_new(&master->meter);
    if (rc == 0)
        rc = kts_master_new_tickets(master);
    if (rc == 0) // no previous key yet: one that nobody knows, rather than zeros
        rc = kt_random(master->tickets.previous, sizeof(master->tickets.previous));
    if (rc == 0)
        rc = add_events(master);
    if (rc)
        kt_error_set(error, rc, NULL, "cannot start: %s", kt_err_text(rc));
    return rc;
}

int kts_master_run(struct kts_master *master, struct kt_error *error)
{
    int rc;

    occupy_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    master->pid = getpid();
    if (kt_proc_harden())
        return kt_error_errno(error, "cannot harden the process");
    raise_descriptor_limit();
    kts_master_as_owner(master);
    kts_master_open_log(master);
    kts_master_as_root(master);
    rc = prepare(master, error);
    if (rc)
        return rc;
    master->workers = count_workers(master->settings);
    kt_log(KT_LOG_NOTICE, "kts " KT_VERSION_LINE " starting, node '%s'", master->info.node);
    rc = start_children(master);
    if (rc)
        return kt_error_set(error, rc, NULL, "cannot start: %s", kt_err_text(rc));
    event_base_dispatch(master->base);
    kt_log(KT_LOG_NOTICE, "stopped");
    return 0;
}
