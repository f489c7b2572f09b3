// SPDX-License-Identifier: Apache-2.0
// Inside the agent's part of the audit log: shared by agent_audit.c, agent_audit_heard.c and their
// tests.
#ifndef KTS_AGENT_AUDIT_INNER_H
#define KTS_AGENT_AUDIT_INNER_H

#include "kts/agent_audit.h"
#include "kts/agent_heads.h"
#include "lib/epoch.h"
#include "lib/peers.h"

struct kts_agent_audit {
    struct kts_heads *known;
    struct kt_audit_head own; // seq 0: none signed since the start
    char text[KT_AUDIT_HEAD_TEXT];
    char path[KT_PATH_MAX]; // of the file beside the log
    uint64_t appended_seq;
    uint32_t appended_file;
    int64_t appended_us, saved_us;
    int failed; // the last try: logged at the change only
    struct event *timer;
    struct kt_epoch_row recorded; // the newest row of which there is a record; epoch 0: none yet
    // Told once: peers that know more of this log than it has.
    struct {
        char member[KT_MEMBER_TEXT];
        uint64_t seq;
    } behind[KT_PEERS_MAX];
    size_t behind_count;
    // Of each peer the last head that it had not signed, and when that was logged.
    struct {
        char member[KT_MEMBER_TEXT];
        uint8_t sha256[KT_SHA256_LEN]; // of the head's text
        int64_t told_us;
    } unsigned_heads[KT_PEERS_MAX];
    size_t unsigned_next; // the place that the next peer takes
};

// --- agent_audit.c ---
// Signs what is new, has it in the file when that is due (or `now`), and keeps what is known.
int kts_agent_audit_tick(struct kts_agent *agent, int now, struct kt_error *error) KT_MUST_CHECK;

#endif
