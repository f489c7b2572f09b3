// SPDX-License-Identifier: Apache-2.0
// What all processes of a node must know now, in memory shared since before the first fork.
#ifndef KTS_STATUS_H
#define KTS_STATUS_H

#include <stdatomic.h>
#include <stdint.h>

#include "lib/formats.h"

enum kts_role {
    KTS_ROLE_UNKNOWN = 0, // not yet read from the database
    KTS_ROLE_STANDALONE,  // acknowledges its own fsync: one copy
    KTS_ROLE_ACTIVE,
    KTS_ROLE_PASSIVE,
    KTS_ROLE_UNESTABLISHED,
    KTS_ROLE_FENCED,
    KTS_ROLE_REMOVED, // no node of the cluster any more: it serves nothing
    KTS_ROLE_COUNT,
};
const char *kts_role_name(enum kts_role role); // "standalone", ...

// A short text in shared memory, written by one process.
struct kts_status_text {
    _Atomic uint32_t sequence; // odd while it is written
    _Atomic char text[256];
};

// The last audit record that is on disk.
struct kts_status_head {
    _Atomic uint32_t sequence; // odd while it is written
    _Atomic uint32_t file;
    _Atomic uint64_t seq; // 0: none yet
    _Atomic uint64_t hash[KT_SHA256_LEN / 8];
};

// What the agent signs and says of the audit log, and the next audit process goes on from: a page of
// its own, which only the audit process can write. A worker that was taken over can write all of kts_status.
struct kts_audit_page {
    struct kts_status_head head;
    _Atomic uint64_t seq;           // set behind the head: for whoever died between the two
    struct kts_status_text problem; // why records cannot be written, "" when they can
};
// Both mappings of it, as the master has them.
struct kts_audit_pages {
    struct kts_audit_page *writable;
    const struct kts_audit_page *readable;
};

#define KTS_STATUS_WORKERS 128 // 64, and those that are being replaced

// One process writes each field, all read. Everything is a lock-free atomic.
struct kts_status {
    // agent
    _Atomic uint32_t role; // enum kts_role
    _Atomic uint32_t incarnation;
    _Atomic uint64_t incarnation_bits;
    _Atomic uint64_t epoch;
    _Atomic uint32_t members; // that stream now under this epoch
    _Atomic uint32_t w;
    // Permission to write: 0 = hold, no changes are taken. Each permission has a number of its own;
    // a writer that opened under another one gives up.
    _Atomic uint64_t writer_ticket;
    _Atomic uint32_t is_cut_off; // passive: nothing comes from the active (474)
    _Atomic uint32_t is_silent;  // passive, fenced: so for longer than it may serve clients
    _Atomic int64_t silence_us;  // passive, fenced: since it had all that its active had
    _Atomic uint64_t lag_bytes;  // passive: received and not replayed yet
    _Atomic int64_t lag_us;
    struct kts_status_text active_service; // "host:port" of the active's HTTPS, "" = unknown
    _Atomic uint32_t database_up;          // the agent's own connection works
    _Atomic uint64_t database_generation;  // grows each time the database comes back
    _Atomic int64_t server_certificate_not_after_us;
    _Atomic int64_t receipt_not_after_us; // the end of the receipt key's certificate; 0: not known
    _Atomic uint32_t clients_ending, operators_ending; // whose certificates end within 30 days
    // From node/backup.json; 0: never.
    _Atomic int64_t backup_made_us;
    _Atomic uint64_t backup_bytes, backup_deposits; // of that one
    _Atomic int64_t backup_verified_us, backup_failed_us;
    _Atomic int64_t restore_proven_us; // a drill or trial restore that passed
    _Atomic uint32_t left_prepared;    // groups that PostgreSQL holds while no writer is open
    // writer
    _Atomic uint32_t writer_open;   // 1: takes changes; 0: starting, settling or gone
    _Atomic uint32_t gave_in_doubt; // groups that a writer gave up, not yet settled
    _Atomic int64_t last_commit_us; // last group or barrier that was acknowledged (real time)
    _Atomic uint64_t log_index;     // last deposit's
    _Atomic uint64_t receipt_key;   // id of the key that signs, big-endian; 0: none yet
    // audit
    _Atomic uint32_t audit_open; // 1: records can be written
    _Atomic uint64_t audit_seq;  // for metrics; what is believed stands on the audit page
    // workers (added up by all)
    _Atomic uint64_t requests;
    _Atomic uint64_t retrievals;
    _Atomic uint64_t limited;       // requests that were answered 429 for failures before them
    _Atomic uint64_t refused_early; // connections that were closed before a handshake
    _Atomic uint64_t made_room;     // connections that were closed for a new one
    _Atomic uint64_t cut;           // connections that were too slow
    // Open connections, by the worker's index; the master clears that of a worker that has ended.
    _Atomic uint32_t connections[KTS_STATUS_WORKERS];
};

// Anonymous shared memory, zeroed.
int kts_status_new(struct kts_status **status) KT_MUST_CHECK;
// Zeroed. From here on nobody can map it writable once more.
int kts_audit_pages_new(struct kts_audit_pages *pages) KT_MUST_CHECK;
// In a child that is not the audit process: it keeps what it can only read.
void kts_audit_pages_give_up(struct kts_audit_pages *pages);
_Atomic uint32_t *kts_status_connections_of(struct kts_status *status, int worker);
uint64_t kts_status_connections(struct kts_status *status); // of all workers
// Groups of changes that are not settled yet, whoever knows of them.
uint32_t kts_status_in_doubt(const struct kts_status *status);
void kts_status_set_text(struct kts_status_text *text, const char *value); // cut at 255 bytes
// All of one moment, or what is there when none comes: the writer died in the middle, or never ends.
void kts_status_get_text(const struct kts_status_text *text, char out[256]);
void kts_status_set_head(struct kts_status_head *head, uint32_t file, uint64_t seq,
                         const uint8_t hash[KT_SHA256_LEN]);
// All of one moment. KT_ERR_NOT_FOUND: there is none yet. KT_ERR_AGAIN: it is being written, or its
// writer died in the middle; the next one's first record mends that.
int kts_status_get_head(const struct kts_status_head *head, uint32_t *file, uint64_t *seq,
                        uint8_t hash[KT_SHA256_LEN]) KT_MUST_CHECK;

#endif
