// SPDX-License-Identifier: Apache-2.0
// Inside the writer: its links, the queue of changes, and one group at a time.
#ifndef KTS_WRITER_INNER_H
#define KTS_WRITER_INNER_H

#include "db/writer.h"
#include "kts/link.h"
#include "kts/process.h"

#define KTS_WRITER_ASKERS_MAX  80   // 64 workers, the agent, and some that are being replaced
#define KTS_WRITER_QUEUE_MAX   4096 // changes; beyond it links are not read: their senders wait
#define KTS_WRITER_QUEUE_BYTES (64u << 20)

// Somebody who sends changes. `serial` tells a new link in an old place from the one before.
struct kts_asker {
    struct kts_link *link;
    enum kts_process process;
    int index;
    uint64_t serial;
};

struct kts_queued {
    struct kt_change change;
    int asker;       // place in askers
    uint64_t serial; // of that asker's link
    uint64_t id;     // of the message
    struct kts_queued *next;
};

struct kts_writer {
    struct kts_start *start;
    struct kts_asker askers[KTS_WRITER_ASKERS_MAX];
    uint64_t next_serial;
    struct kts_link *audit;
    struct kts_link *agent; // signs certificates
    uint64_t next_call;
    struct kts_queued *first, **last;
    size_t queued, queued_bytes;
    struct db_writer *db; // NULL: refuses all changes with `refusal`
    int refusal;
    int timeout_ms;
    int group_max;
    EVP_PKEY *receipt_key;
    char *ca_cert_pem;
    int stopping;
};

// Carries out the group at the head of the queue. 0, or the reason to give the database up:
// KT_ERR_DATABASE_UNAVAILABLE or KT_ERR_IN_DOUBT; all its members have been answered then.
int kts_writer_group(struct kts_writer *writer) KT_MUST_CHECK;
// Answers one queued change and frees it.
void kts_writer_answer(struct kts_writer *writer, struct kts_queued *queued,
                       const struct kt_outcome *outcome);
// Answers everything that is queued with `code`.
void kts_writer_refuse_all(struct kts_writer *writer, int code);
// The queue (writer_queue.c) owns what is in it.
void kts_writer_push(struct kts_writer *writer, struct kts_queued *queued);
struct kts_queued *kts_writer_pop(struct kts_writer *writer);
void kts_writer_push_front(struct kts_writer *writer, struct kts_queued *queued);

#endif
