// SPDX-License-Identifier: Apache-2.0
// What the parts of a worker share. One worker a process; nothing here is shared between processes
// except `status`.
#ifndef KTS_WORKER_H
#define KTS_WORKER_H

#include <event2/event.h>
#include <openssl/ssl.h>

#include "kts/ask.h"
#include "kts/barrier.h"
#include "kts/ciphertext.h"
#include "kts/database.h"
#include "kts/origin.h"
#include "kts/process.h"
#include "kts/shares.h"
#include "kts/strangers.h"
#include "lib/pki.h"

struct kts_conn;
struct kts_record; // kts/records.h

struct kts_worker {
    struct kts_start *start;
    const struct kt_settings *settings; // start->settings; a reload replaces it
    struct kts_status *status;
    struct event_base *base;
    SSL_CTX *tls;
    uint32_t tls_age; // counts up with each
    struct kt_tls_tickets tickets;
    char cluster_id[KT_UUID_TEXT];
    X509 *ca; // with all of its set: the roots that an auth code may name
    char ca_field[sizeof("KT-CA: \r\n") + KT_PKI_CA_MARK_TEXT]; // of all answers; or ""
    struct kts_own_keys own_keys;

    struct kts_ask *writer;
    struct kts_ask *audit;
    struct kts_barrier barrier;
    struct kts_database *database;

    struct event *control_event;
    struct kt_buf control_storage;
    struct event *listen_event;
    struct event *accept_timer; // after EMFILE
    struct event *stop_timer;
    struct kts_conn *conns; // all open ones
    size_t conn_count;
    int is_closed; // takes no connections: full, and none of those that are there waits
    struct kts_origins *origins;
    struct kts_shares shares;
    // Connections whose answer was not taken at once, the first such in front, and what they hold.
    struct kts_conn *senders, **senders_end;
    size_t answer_bytes;
    uint64_t turned_away;  // connections refused since the last line of the log about it
    int64_t told_us;       // when that was
    size_t body_bytes;     // announced by all requests that are under way
    size_t stranger_bytes; // of these, by callers without a certificate of the cluster

    // Work put off to the end of the loop turn, when all readable clients have been served: the
    // batch of reads and that of audit records.
    struct event *turn_event;
    int turn_pending;
    unsigned turn_calls; // events served since it was put off
    struct kts_record *records, **records_end;
    struct kts_strangers strangers;

    int stopping;
    int exit_code;
};

// Of the worker's events. New ones have the middle.
enum { KTS_PRIORITY_CONTROL, KTS_PRIORITY_CLIENTS, KTS_PRIORITY_TURN, KTS_PRIORITIES };

// Has kts_worker_turn run at the end of this loop turn.
void kts_worker_put_off(struct kts_worker *worker);
// To be called by each connection's event: a stream of events of higher priority must not put the
// turn's work off for ever.
void kts_worker_count_call(struct kts_worker *worker);
// A connection has closed: accepts again if it had stopped for lack of room; ends a stop.
void kts_worker_conn_closed(struct kts_worker *worker);
// Now in milliseconds as struct timeval.
struct timeval kts_milliseconds(int64_t ms);

// kts/accept.c
int kts_accept_start(struct kts_worker *worker) KT_MUST_CHECK;
void kts_accept_stop(struct kts_worker *worker);
void kts_accept_resume(struct kts_worker *worker);

// kts/worker_control.c
int kts_worker_control_start(struct kts_worker *worker) KT_MUST_CHECK;

#endif
