// SPDX-License-Identifier: Apache-2.0
// What the agent's watch last saw of this node: its database, its promise, its peers' promises.
#ifndef KTS_AGENT_VIEW_H
#define KTS_AGENT_VIEW_H

#include "kts/agent.h"
#include "kts/agent_heard.h"
#include "lib/epoch.h"
#include "lib/openpgp.h"
#include "lib/peers.h"

#define KTS_VIEW_STREAMS 32
#define KTS_SILENT_US    3000000 // a member that reported nothing for so long does not count

// Somebody who streams from this node.
struct kts_stream {
    char member[KT_MEMBER_TEXT];
    char name[KT_REPLICATION_NAME_TEXT];
    int is_streaming;
    uint64_t flush_lsn, replay_lsn, lag_bytes;
    int64_t lag_us;
    char replied[48];   // its own clock: a report is a change of it
    int64_t replied_us; // kt_monotonic_now() of the last change
};

// Rolling back what strangers have prepared, since this agent started.
struct kts_sweep {
    uint64_t rolled_back;
    uint32_t told;    // how many there were when that was last logged and recorded
    char told_of[64]; // and whose
    int64_t last_us;  // when a run last began or ended; 0: never
    int64_t next_us;  // no run begins before
    int64_t pause_us; // behind the last run, which failed; 0: it went well
};

// The table of nodes (agent_listed.h), as last read.
struct kts_listed {
    int is_known;
    struct kt_peers nodes; // those that are not removed
    uint32_t expired;      // bit i: of nodes.peers[i] the certificate has
};

struct kts_view {
    // the files
    int has_promise;
    struct kt_promise promise;
    int has_pending;
    struct kt_epoch_row pending; // the row that is to be written, when it is of this promise
    int is_joining;              // node/joining: asks to become a member
    // the database, as of the last look that saw it
    int is_known;
    int in_recovery, restored;
    int clock_jumped;                  // purges wait for an operator
    char names[KT_STANDBY_NAMES_TEXT]; // synchronous_standby_names as PostgreSQL uses it
    uint32_t timeline;
    int64_t looked_us; // when that look began: what it says is of then, or later
    uint64_t lsn, replayed;
    int64_t lag_us;
    uint64_t log_index;
    uint32_t prepared;        // groups of changes between their two phases
    uint32_t strangers;       // prepared by others than the writer: places that it lacks
    char strangers_owner[64]; // a role that did, the last time there were any
    uint32_t spared;          // a superuser's, named as the writer's: left alone
    uint32_t spared_said;     // of these in the log
    struct kt_epoch_rows rows;
    int receives, receiver_streams;
    int64_t receiver_silent_us;
    struct kts_stream streams[KTS_VIEW_STREAMS];
    size_t stream_count;
    // what follows from it
    uint32_t members; // of the row in force, or to be, that stream under its epoch's name
    uint32_t w;
    int had_enough;
    int64_t begun_us;      // when this agent started
    int64_t hold_until_us; // writer.hold
    struct kts_listed listed;
    json_t *receipt_keys; // [{"id", "retired"}], the newest first; NULL: not read yet
    json_t *cluster_keys; // as db_query_listed gives them; NULL: not read yet
    // up to which of these the statements lie beside the keys (lib/key_line.h); "": none yet
    char key_line[KT_OPENPGP_FINGERPRINT_TEXT];
    char restored_sha256
        [KT_SHA256_TEXT]; // of the present incarnation's statement, "" when it has none
    json_t *settings;     // of PostgreSQL, that must be equal everywhere; NULL: not read yet
    int64_t listed_us;    // when nodes and operators were last read
    int64_t operators_us; // when operators were last read
    int64_t own_us;       // when a job of the agent's own was last started
    int64_t settled_us;   // when the names were last put right
    struct kts_sweep sweep;
    struct kts_heard heard;
};

// Reads promise, pending row and mark of joining.
void kts_view_files(const struct kt_paths *paths, struct kts_view *view);
// Takes over an answer of db_query_look.
int kts_view_take(struct kts_view *view, const json_t *look, struct kt_error *error) KT_MUST_CHECK;
void kts_view_free(struct kts_view *view);
// The row by which this node acknowledges: the newest, when it is of the own promise and this
// node's, else the one that waits to be written. NULL: neither.
const struct kt_epoch_row *kts_view_row(const struct kts_view *view);
// Counts the members of that row that stream under the names of its epoch.
uint32_t kts_view_count(const struct kts_view *view);
// Whether that stream counts for the row, or would if it were a member.
int kts_view_counts(const struct kts_view *view, const struct kts_stream *stream);
int kts_view_streams(const struct kts_view *view, const char *member);
// What the peers promised, as they last said.
#define KTS_VIEW_PROMISES KT_PEERS_MAX
size_t kts_view_promises(const struct kts_agent *agent, struct kt_promise out[KTS_VIEW_PROMISES]);

// --- agent_watch.c ---
// Gives or takes the writer's permission by what was seen last,
// when it is held or let go meanwhile.
void kts_agent_watch_permit(struct kts_agent *agent);

#endif
