// SPDX-License-Identifier: Apache-2.0
// Framed messages between the server's processes, over a stream socketpair.
#ifndef KTS_LINK_H
#define KTS_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"

// Codes on a link are 0 or the enum kt_err_code without its sign.
enum kts_message_type {
    KTS_MSG_CHANGE = 1, // worker, agent -> writer: kt_change
    KTS_MSG_OUTCOME,    // writer -> asker: kt_outcome, same id
    KTS_MSG_AUDIT,      // worker, writer, agent -> audit: the record's JSON, without time and node
    KTS_MSG_AUDIT_DONE, // audit -> asker, same id: u32 code (0 = on disk)
    KTS_MSG_SIGN,       // writer -> agent: kts_sign_request
    KTS_MSG_SIGNED,     // agent -> writer, same id: u32 code, block certificate PEM
    KTS_MSG_RECHECK,    // agent -> writer: writer_ticket of the status has changed
    // The door's (kts/relay.h):
    KTS_MSG_GREETING, // door -> agent: who has connected, kts_relay_call
    KTS_MSG_KNOWN,    // agent -> door, same id: u8 1 for a listed node or operator
    KTS_MSG_CALL,     // door -> agent: kts_relay_call
    KTS_MSG_LEAVE,    // agent -> door, same id: the body may come
    KTS_MSG_BODY,     // door -> agent, same id: the body
    KTS_MSG_ANSWER,   // agent -> door, same id: kts_relay_answer; may come in place of LEAVE
    KTS_MSG_CANCEL,   // door -> agent, same id: the caller is gone
};

#define KTS_MESSAGE_MAX (20u << 20) // payload; the largest is a change with its body

struct kts_link;

struct kts_message {
    uint16_t type;
    uint64_t id;
    struct kt_buf payload; // a view: wiped by the next kts_link_next or _receive; do not free
};

// Takes `fd` over (made non-blocking). Frame: u32 payload length, u16 type, u16 0, u64 id, payload.
int kts_link_new(int fd, struct kts_link **link) KT_MUST_CHECK;
void kts_link_free(struct kts_link *link);
// Largest payload that is taken from now on; KTS_MESSAGE_MAX at first.
void kts_link_bound(struct kts_link *link, size_t max);
int kts_link_fd(const struct kts_link *link);
// Reads what is there, without waiting. KT_ERR_NETWORK when the other side is gone.
int kts_link_receive(struct kts_link *link) KT_MUST_CHECK;
// 1: *message is the next whole one; 0: none yet; negative: the peer broke the framing.
int kts_link_next(struct kts_link *link, struct kts_message *message) KT_MUST_CHECK;
// Queues and writes as much as goes without waiting. KT_ERR_BUSY when over 64 MiB are queued.
int kts_link_send(struct kts_link *link, uint16_t type, uint64_t id, const void *payload,
                  size_t n) KT_MUST_CHECK;
// 0: all written; KT_ERR_AGAIN: wait for writability; KT_ERR_NETWORK: gone.
int kts_link_flush(struct kts_link *link) KT_MUST_CHECK;
int kts_link_wants_write(const struct kts_link *link);
// For processes that may wait: sends, then waits for the message with this type and id. Ids must
// grow: a late answer to an earlier call that timed out is dropped; anything else must not occur on
// such a link (KT_ERR_PROTOCOL).
int kts_link_call(struct kts_link *link, uint16_t type, uint64_t id, const void *payload, size_t n,
                  uint16_t answer_type, int timeout_ms, struct kts_message *answer) KT_MUST_CHECK;

#endif
