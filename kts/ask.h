// SPDX-License-Identifier: Apache-2.0
// A worker's side of a link: questions under way to the writer or the audit process, by id.
#ifndef KTS_ASK_H
#define KTS_ASK_H

#include <event2/event.h>

#include "kts/link.h"

// Called once with code 0 and the answer's payload (a view, valid during the call), or with
// KT_ERR_NETWORK and NULL when the link broke.
typedef void (*kts_ask_done)(void *arg, int code, struct kt_buf *payload);

// A question under way; lies in the asker's own memory, zeroed at first.
struct kts_question {
    uint64_t id; // 0: none under way
    struct kts_question *next, **link;
    kts_ask_done done;
    void *arg;
};

struct kts_ask;

// `name` is for the log ("writer"). `answer_type` is the only message that the other side may send.
int kts_ask_new(struct event_base *base, const char *name, uint16_t answer_type,
                struct kts_ask **ask) KT_MUST_CHECK;
void kts_ask_free(struct kts_ask *ask); // questions under way are forgotten
// Takes over the descriptor of a new link, in place of the present one, whose questions get
// KT_ERR_NETWORK.
int kts_ask_attach(struct kts_ask *ask, int fd) KT_MUST_CHECK;
int kts_ask_is_open(const struct kts_ask *ask);
// KT_ERR_NETWORK without a link (the callback is not called then), KT_ERR_BUSY, KT_ERR_TOO_LARGE.
int kts_ask_send(struct kts_ask *ask, uint16_t type, const void *payload, size_t n,
                 struct kts_question *question, kts_ask_done done, void *arg) KT_MUST_CHECK;
// The answer, if one still comes, is dropped.
void kts_ask_forget(struct kts_question *question);

#endif
