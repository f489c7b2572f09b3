// SPDX-License-Identifier: Apache-2.0
// The master's children: started, taken note of when they end, started again or replaced.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kts/master.h"
#include "lib/log.h"

#define DELAY_FIRST_MS 100
#define DELAY_LAST_MS  5000
#define TICKET_MS      10
#define LONG_LIFE_US   30000000 // after that a crash counts as the first again

static void after(struct event *timer, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    if (event_add(timer, &tv))
        kt_log(KT_LOG_ERROR, "a timer cannot be set");
}

static int twice(int ms)
{
    return ms * 2 > DELAY_LAST_MS ? DELAY_LAST_MS : ms * 2;
}

static int lived_long(const struct kts_child *child)
{
    return kt_monotonic_now() - child->started_us > LONG_LIFE_US;
}

void kts_child_want_database(struct kts_child *child)
{
    if (child->retry_ms == 0 || lived_long(child))
        child->retry_ms = DELAY_FIRST_MS;
    child->wants_database = 1;
    child->retry_us = kt_monotonic_now() + (int64_t)child->retry_ms * 1000;
    child->retry_ms = twice(child->retry_ms);
}

// A permission to write that the writer did not have yet is a reason to start it now: the failover
// that gave it waits for its first change.
static void look_for_ticket(struct kts_child *child)
{
    uint64_t ticket = atomic_load(&child->master->status->writer_ticket);

    if (ticket != 0 && ticket != child->ticket)
        kts_child_start(child);
    else
        after(child->timer, TICKET_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct kts_child *child = arg;

    (void)fd;
    (void)what;
    if (child->pid == 0 && child->process == KTS_WRITER && child->wants_database) {
        look_for_ticket(child);
    } else if (child->pid == 0) {
        kts_child_start(child);
    } else if (child->retiring) {
        kt_log(KT_LOG_WARNING, "%s (pid %ld) did not stop in time, it is killed", child->title,
               (long)child->pid);
        kill(child->pid, SIGKILL);
    }
}

int kts_child_new(struct kts_master *master, enum kts_process process, int index,
                  struct kts_child **child)
{
    struct kts_child *fresh = calloc(1, sizeof(*fresh));
    struct kts_child **end = &master->children;

    if (!fresh)
        return KT_ERR_NO_MEMORY;
    fresh->master = master;
    fresh->process = process;
    fresh->index = index;
    fresh->control_fd = -1;
    fresh->delay_ms = DELAY_FIRST_MS;
    fresh->queue_end = &fresh->queue;
    if (process == KTS_WORKER)
        snprintf(fresh->title, sizeof(fresh->title), "worker %d", index);
    else
        snprintf(fresh->title, sizeof(fresh->title), "%s", kts_process_name(process));
    fresh->timer = evtimer_new(master->base, on_timer, fresh);
    if (!fresh->timer) {
        free(fresh);
        return KT_ERR_NO_MEMORY;
    }
    while (*end)
        end = &(*end)->next;
    *end = fresh;
    *child = fresh;
    return 0;
}

static void free_child(struct kts_child *child)
{
    kts_child_close_control(child);
    event_free(child->timer);
    free(child);
}

static void remove_child(struct kts_master *master, struct kts_child *child)
{
    struct kts_child **at = &master->children;

    for (struct kts_child *c = master->children; c; c = c->next) {
        if (c->replaces == child)
            c->replaces = NULL;
    }
    while (*at && *at != child)
        at = &(*at)->next;
    if (*at)
        *at = child->next;
    free_child(child);
}

void kts_children_free(struct kts_master *master)
{
    while (master->children) {
        struct kts_child *child = master->children;
        master->children = child->next;
        free_child(child);
    }
}

static void start_again_later(struct kts_child *child)
{
    after(child->timer, child->delay_ms);
    child->delay_ms = twice(child->delay_ms);
}

void kts_child_start(struct kts_child *child)
{
    struct kts_status *status = child->master->status;
    sigset_t all, before;
    int fds[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds)) {
        kt_log(KT_LOG_ERROR, "cannot start %s: %s", child->title, strerror(errno));
        start_again_later(child);
        return;
    }
    child->ready = child->wants_database = child->waits = 0;
    child->ticket = atomic_load(&status->writer_ticket);
    event_del(child->timer);
    child->generation = atomic_load(&status->database_generation);
    child->started_us = kt_monotonic_now();
    sigfillset(&all); // until the child has reset the master's handlers
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        kts_child_run(child, fds[1]);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(fds[1]);
    if (pid < 0) {
        kt_log(KT_LOG_ERROR, "cannot start %s: %s", child->title, strerror(errno));
        close(fds[0]);
        start_again_later(child);
        return;
    }
    child->pid = pid;
    if (kts_child_open_control(child, fds[0])) {
        kt_log(KT_LOG_ERROR, "no memory for %s", child->title);
        kill(pid, SIGKILL); // comes back by its exit
        return;
    }
    kts_child_link(child);
    kt_log(KT_LOG_DEBUG, "%s started (pid %ld)", child->title, (long)pid);
}

void kts_child_retire(struct kts_child *child)
{
    if (child->retiring)
        return;
    child->retiring = 1;
    if (child->pid == 0) {
        event_del(child->timer);
        return;
    }
    kts_child_send(child, KTS_CTL_STOP, NULL, 0, -1);
    if (!child->master->stopping) // then one timer serves all
        after(child->timer, kt_settings_number(child->master->settings, KT_SET_TIMEOUT_STOP));
}

void kts_children_kill(struct kts_master *master, int process)
{
    for (struct kts_child *c = master->children; c; c = c->next) {
        if (c->pid && (process < 0 || (int)c->process == process))
            kill(c->pid, SIGKILL);
    }
}

int kts_children_alive(const struct kts_master *master, int process)
{
    int n = 0;

    for (const struct kts_child *c = master->children; c; c = c->next)
        n += c->pid && (process < 0 || (int)c->process == process);
    return n;
}

// What a process that is gone can no longer take back.
static void clear_status(const struct kts_child *child, int was_killed)
{
    struct kts_status *status = child->master->status;

    // A group that it was about to commit stands prepared. How many there are the agent's next look
    // says; until then none is called undone.
    if (child->process == KTS_WRITER) {
        if (was_killed)
            atomic_store(&status->left_prepared, 1);
        atomic_store(&status->writer_open, 0);
    } else if (child->process == KTS_AUDIT)
        atomic_store(&status->audit_open, 0);
    else if (child->process == KTS_AGENT)
        atomic_store(&status->database_up, 0);
    else if (child->process == KTS_WORKER)
        atomic_store(kts_status_connections_of(status, child->index), 0);
}

static void log_end(const struct kts_child *child, pid_t pid, int status)
{
    int expected = child->retiring || child->waits || child->master->stopping;
    enum kt_log_level level = expected ? KT_LOG_DEBUG : KT_LOG_ERROR;

    if (WIFSIGNALED(status))
        kt_log(expected && child->master->killed ? KT_LOG_NOTICE : KT_LOG_ERROR,
               "%s (pid %ld) was ended by signal %d (%s)", child->title, (long)pid,
               WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == KTS_EXIT_DATABASE_LOST)
        kt_log(
            expected ? KT_LOG_DEBUG : KT_LOG_NOTICE,
            child->waits
                ? "%s (pid %ld) ended to be started again with a database"
                : "%s (pid %ld) ended without a database, it is started again when that is there",
            child->title, (long)pid);
    else
        kt_log(level, "%s (pid %ld) ended with exit code %d", child->title, (long)pid,
               WEXITSTATUS(status));
}

static void after_database_lost(struct kts_child *child)
{
    if (child->waits) { // there is a permission now: only a new process can connect
        kts_child_start(child);
        return;
    }
    kts_child_want_database(child);
    if (child->process == KTS_WRITER)
        look_for_ticket(child);
}

static void on_end(struct kts_child *child, int status)
{
    struct kts_master *master = child->master;

    log_end(child, child->pid, status);
    child->pid = 0;
    child->ready = 0;
    kts_child_close_control(child);
    event_del(child->timer);
    clear_status(child, WIFSIGNALED(status));
    if (child->retiring || child->is_replaced) {
        remove_child(master, child);
        return;
    }
    if (master->stopping)
        return;
    if (lived_long(child))
        child->delay_ms = DELAY_FIRST_MS;
    if (WIFEXITED(status) && WEXITSTATUS(status) == KTS_EXIT_DATABASE_LOST)
        after_database_lost(child);
    else
        start_again_later(child);
}

void kts_children_reap(struct kts_master *master)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct kts_child *child = master->children;
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): who was removed is no longer in the list
        while (child && child->pid != pid)
            child = child->next;
        if (child)
            on_end(child, status);
    }
    if (master->stopping)
        kts_master_stop_next(master);
}

static int free_index(const struct kts_master *master)
{
    for (int index = 0;; index++) {
        const struct kts_child *c = master->children;
        while (c && (c->process != KTS_WORKER || c->index != index))
            c = c->next;
        if (!c)
            return index;
    }
}

// The new one serves before the old one is told to stop.
static void replace(struct kts_child *old)
{
    struct kts_child *fresh;

    if (kts_child_new(old->master, old->process, free_index(old->master), &fresh)) {
        kt_log(KT_LOG_ERROR, "no memory to replace %s", old->title);
        return;
    }
    old->is_replaced = 1;
    old->wants_database = 0;
    fresh->replaces = old;
    fresh->retry_ms = old->retry_ms;
    kts_child_start(fresh);
}

void kts_children_check_database(struct kts_master *master)
{
    uint64_t generation = atomic_load(&master->status->database_generation);
    int64_t now = kt_monotonic_now();
    struct kts_child *next;

    if (!atomic_load(&master->status->database_up) || master->stopping)
        return;
    for (struct kts_child *c = master->children; c; c = next) {
        next = c->next;
        if (!c->wants_database || c->retiring || (generation == c->generation && now < c->retry_us))
            continue;
        if (c->pid == 0)
            kts_child_start(c);
        else if (c->process == KTS_WORKER)
            replace(c);
    }
}
