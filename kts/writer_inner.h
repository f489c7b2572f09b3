// SPDX-License-Identifier: Apache-2.0
// Inside the writer: its links, the queue of changes, and one group at a time.
#ifndef KTS_WRITER_INNER_H
#define KTS_WRITER_INNER_H

#include <jansson.h>

#include "db/writer.h"
#include "kts/fair.h"
#include "kts/link.h"
#include "kts/process.h"

#define KTS_WRITER_ASKERS_MAX  80   // 64 workers, the agent, and some that are being replaced
#define KTS_WRITER_QUEUE_MAX   4096 // changes; beyond it links are not read: their senders wait
#define KTS_WRITER_QUEUE_BYTES (64u << 20)
#define KTS_WRITER_SHARE       4 // one organisation has at most one part in so many of both

// Somebody who sends changes. `serial` tells a new link in an old place from the one before.
struct kts_asker {
    struct kts_link *link;
    enum kts_process process;
    int index;
    uint64_t serial;
};

#define KTS_ASKER_NONE (-1) // the writer itself: nobody is answered

struct kts_queued {
    struct kt_change change;
    int asker;       // place in askers, or KTS_ASKER_NONE
    uint64_t serial; // of that asker's link
    uint64_t id;     // of the message
    struct kts_queued *next;
    struct kts_fair_item turn;
    struct kts_tenant *tenant;
};

struct kts_writer {
    struct kts_start *start;
    struct kts_asker askers[KTS_WRITER_ASKERS_MAX];
    uint64_t next_serial;
    struct kts_link *audit;
    struct kts_link *agent; // signs certificates
    uint64_t next_call;
    struct kts_fair *fair;    // changes that wait for their turn
    struct kts_queued *first; // those that have had it: next in line, or put back
    size_t queued, queued_bytes;
    struct db_writer *db; // NULL: no permission to write, refuses all changes
    uint64_t ticket;      // the permission under which the database was opened
    int timeout_ms;
    int group_max;
    EVP_PKEY *receipt_key, *next_receipt_key; // of which one signs (db_writer_settings)
    EVP_PKEY *brought_receipt_key;            // by a reload, not looked at yet
    char *ca_cert_pem;
    int64_t next_tick_us; // kt_monotonic_now() of the next look at the clock
    int clock_jumped;     // the last one found a long step
    int stopping;
};

// The keys of receipts (writer_receipt_key.c): reads the node's files, before they are out of reach;
// takes the one that a reload brings; between groups, has it sign if it may. The last gives
// KT_ERR_DATABASE_UNAVAILABLE when the database is to be given up.
int kts_writer_load_receipt_keys(struct kts_writer *writer, struct kt_error *error) KT_MUST_CHECK;
void kts_writer_bring_receipt_key(struct kts_writer *writer, const void *pem, size_t n);
int kts_writer_use_receipt_key(struct kts_writer *writer) KT_MUST_CHECK;
// Says in the shared status which key signs.
void kts_writer_show_receipt_key(const struct kts_writer *writer);
void kts_writer_free_receipt_keys(struct kts_writer *writer);
// 1 as long as the permission under which the database was opened is in force.
int kts_writer_is_permitted(const struct kts_writer *writer);
// 1 when enough members are connected for a change.
int kts_writer_has_quorum(const struct kts_writer *writer);
// Carries out the group at the head of the queue. 0, or the reason to give the database up:
// KT_ERR_DATABASE_UNAVAILABLE, KT_ERR_IN_DOUBT, KT_ERR_NO_QUORUM (all its members have been
// answered then), or KT_ERR_AGAIN: the permission has ended, nothing was begun.
int kts_writer_group(struct kts_writer *writer) KT_MUST_CHECK;
// Answers one queued change and frees it.
void kts_writer_answer(struct kts_writer *writer, struct kts_queued *queued,
                       const struct kt_outcome *outcome);
// Answers everything that is queued with `code`.
void kts_writer_refuse_all(struct kts_writer *writer, int code);
// What the change is about, for its audit record (writer_record.c). Leaves what is there.
void kts_writer_record_about(json_t *record, const struct kt_change *change);
// Links (writer_links.c).
int kts_writer_take_link(struct kts_writer *writer,
                         struct kts_control_message *message) KT_MUST_CHECK;
void kts_writer_drop(struct kts_asker *asker);
int kts_writer_has_room(const struct kts_writer *writer); // for more changes
// Takes whole messages out of the link as long as the queue has room.
void kts_writer_take_changes(struct kts_writer *writer, int place);
void kts_writer_receive(struct kts_writer *writer, int place);
int kts_writer_flush(struct kts_writer *writer); // 1: there is still something to be sent
// The writer's own change (writer_tick.c): queues it when it is time; what it found, and whether
// another one is to follow; the audit record of the i-th deposit that it erases, to be freed.
void kts_writer_tick(struct kts_writer *writer);
void kts_writer_tick_done(struct kts_writer *writer, const struct db_member *member);
char *kts_writer_purge_record(const struct db_member *member, size_t i, const char *result,
                              int code) KT_MUST_CHECK;
// Asks the agent for a client's certificate: db_writer_settings.sign.
int kts_writer_sign(void *arg, const char *common_name, const char *organisation,
                    const uint8_t *csr, size_t csr_len, char **pem) KT_MUST_CHECK;
// The queue (writer_queue.c) owns what is in it.
// One that has no room any more (of its organisation's share, or none at all) is answered at once.
void kts_writer_push(struct kts_writer *writer, struct kts_queued *queued);
// Whose turn is next, left where it is; NULL when nothing waits.
struct kts_queued *kts_writer_next(struct kts_writer *writer);
struct kts_queued *kts_writer_pop(struct kts_writer *writer);
void kts_writer_push_front(struct kts_writer *writer, struct kts_queued *queued);

#endif
