// SPDX-License-Identifier: Apache-2.0
// Inside the master: its children, their links, and what it hands to them.
#ifndef KTS_MASTER_H
#define KTS_MASTER_H

#include <event2/event.h>
#include <sys/types.h>

#include "kts/process.h"

struct kts_master;
struct kts_outgoing; // a control message that did not go at once

// One place to be filled by a process. A worker that is replaced has its own place beside its
// successor's, with another index, until it has ended.
struct kts_child {
    struct kts_child *next;
    struct kts_master *master;
    enum kts_process process;
    int index;      // workers: the lowest that no live worker has
    char title[16]; // "worker 0": for the log and the process list
    pid_t pid;      // 0: none at the moment
    int control_fd;
    struct event *readable, *writable;
    struct kts_outgoing *queue, **queue_end;
    struct event *timer; // restart when pid is 0, kill when it is retiring
    int64_t started_us;
    int delay_ms; // of the next restart after a crash
    int ready;
    int wants_database;  // to be replaced (or started) when the database is there
    uint64_t generation; // of the database when this one was started
    int64_t retry_us;    // not before, unless the generation has changed
    int retry_ms;
    uint64_t ticket;            // writer: the permission to write when it was started
    int waits;                  // writer: runs without a database, until there is a permission
    int retiring;               // was told to stop; not started again
    struct kts_child *replaces; // gets its STOP when this one is ready
    int is_replaced;
};

struct kts_master {
    const struct kt_paths *paths;
    struct kt_cluster_info info;
    struct kt_settings *settings;
    struct kts_status *status;
    struct kts_audit_pages audit_pages;
    struct kts_meter *meter;
    int started_as_root;
    uid_t owner; // of the confdir, when started as root
    gid_t owner_group;
    int has_network_user;
    int pid_fd;
    int listen_fd;
    int door_fd; // of the port for nodes and operators; -1: not open yet
    int door_complained;
    struct event *door_timer; // opens that port again
    int workers;
    struct kt_buf server_cert, ca_cert;
    struct kt_secret *server_key;
    struct kt_buf node_cert; // with the CA's behind it
    struct kt_secret *node_key;
    struct kt_tls_tickets tickets;
    struct event_base *base;
    struct event *events[8]; // signals and timers of the master itself
    int event_count;
    struct event *stop_timer;
    struct kts_child *children;
    pid_t pid;
    int ready; // said so
    int stopping;
    int killed; // a second signal, or the time for stopping is over
};

// Settings, identity and TLS files, checked.
int kts_master_load(struct kts_master *master, const struct kt_paths *paths,
                    struct kt_error *error) KT_MUST_CHECK;
void kts_master_unload(struct kts_master *master);
// Runs the server until it is told to stop. Call it once.
int kts_master_run(struct kts_master *master, struct kt_error *error) KT_MUST_CHECK;
void kts_master_check_ready(struct kts_master *master);
// Goes on with stopping: when the last of one kind has ended, the next kind is told to.
void kts_master_stop_next(struct kts_master *master);

// --- master_account.c ---
int kts_master_find_accounts(struct kts_master *master, struct kt_error *error) KT_MUST_CHECK;
void kts_master_find_network_user(struct kts_master *master);
// Around everything that opens files. Without effect when not started as root.
void kts_master_as_owner(const struct kts_master *master);
void kts_master_as_root(const struct kts_master *master);

// --- master_listen.c ---
// A listening TCP socket, non-blocking. `setting` is that of the port, for messages.
int kts_listen(const char *address, int port, int backlog, const char *setting, int *fd,
               struct kt_error *error) KT_MUST_CHECK;
int kts_master_listen(const struct kt_settings *settings, int *fd,
                      struct kt_error *error) KT_MUST_CHECK;
// Takes the pid file; KT_ERR_BUSY with the pid of the server that runs already.
int kts_master_lock(const char *pid_file, int *fd, struct kt_error *error) KT_MUST_CHECK;

// --- master_tls.c ---
// Reads certificate, key and CA certificate, and checks that they fit together.
int kts_master_load_tls(struct kts_master *master, struct kt_error *error) KT_MUST_CHECK;
int kts_master_new_tickets(struct kts_master *master) KT_MUST_CHECK;

// --- master_door.c ---
// Opens the port for nodes and operators and starts the door, now or when that goes.
int kts_master_door_start(struct kts_master *master) KT_MUST_CHECK;
// Who connects from now on is refused, once the door has closed its own.
void kts_master_door_close(struct kts_master *master);
// Reads the node's certificate and key; the ones before stay when they are not good.
int kts_master_load_node_tls(struct kts_master *master, struct kt_error *error) KT_MUST_CHECK;

// --- master_reload.c ---
// Opens the log as the settings say; again after a rotation.
void kts_master_open_log(struct kts_master *master);
void kts_master_reload(struct kts_master *master);

// --- master_children.c ---
int kts_child_new(struct kts_master *master, enum kts_process process, int index,
                  struct kts_child **child) KT_MUST_CHECK;
void kts_child_start(struct kts_child *child);
// Tells it to stop, kills it after timeouts.stop, and does not start it again.
void kts_child_retire(struct kts_child *child);
// The database is gone for this child, or was never there: it is started again, or replaced, when
// it is back. `retry_ms` bounds how often that is tried.
void kts_child_want_database(struct kts_child *child);
// Takes the exit statuses of those that have ended.
void kts_children_reap(struct kts_master *master);
// Starts or replaces those that wait for the database, when it is there.
void kts_children_check_database(struct kts_master *master);
void kts_children_kill(struct kts_master *master, int process); // -1: all
int kts_children_alive(const struct kts_master *master, int process);
void kts_children_free(struct kts_master *master);

// --- master_spawn.c: the other side of the fork ---
void kts_child_run(struct kts_child *child, int control_fd) __attribute__((noreturn));

// --- master_control.c ---
int kts_child_open_control(struct kts_child *child, int fd) KT_MUST_CHECK;
void kts_child_close_control(struct kts_child *child);
// Wipes what was not sent yet.
void kts_child_drop_queue(struct kts_child *child);
// Sends, or queues. `fd` (-1: none) is taken over.
void kts_child_send(struct kts_child *child, enum kts_control_type type, const void *payload,
                    size_t n, int fd);
// Makes the links between a child that was just started and all others that live.
void kts_child_link(struct kts_child *child);

#endif
