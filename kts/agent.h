// SPDX-License-Identifier: Apache-2.0
// Inside the agent: its socket, its verbs, the changes it passes on, signing, and the watch.
#ifndef KTS_AGENT_H
#define KTS_AGENT_H

#include <event2/event.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "db/queries.h"
#include "kts/link.h"
#include "kts/process.h"
#include "lib/change.h"

struct kts_agent;
struct kts_call;    // one request on the socket (agent_socket.c)
struct kts_pending; // one change that the writer has not answered (agent_change.c)

// A link with its events. `link` NULL: none at the moment.
struct kts_agent_link {
    struct kts_agent *agent;
    struct kts_link *link;
    struct event *readable, *writable;
    void (*message)(struct kts_agent *agent, struct kts_message *message);
    void (*closed)(struct kts_agent *agent); // or NULL
};

struct kts_agent {
    struct kts_start *start;
    struct event_base *base;
    struct event *control;
    struct kt_buf storage;         // of control messages
    struct kts_agent_link changes; // to the writer: CHANGE
    struct kts_agent_link signing; // from the writer: SIGN
    struct kts_agent_link audit;
    int listen_fd;
    struct event *listener;
    struct event *listen_pause; // after EMFILE
    struct kts_call *calls;
    int call_count;
    struct kts_pending *pending;
    uint64_t next_id;
    struct kt_secret *database_secret;
    struct db_session *database;
    struct event *watch;     // the next look
    struct event *watch_end; // the end of the connection, while it is up
    int watch_ms;            // pause after a look that waited in vain; grows
    EVP_PKEY *ca_key;
    X509 *ca_cert;
    uint8_t ca_sha256[KT_SHA256_LEN];
    int64_t ca_not_after_us;
    struct event *stop_timer;
    int stopping;
};

// --- agent.c ---
// Sends, and sees to it that the rest goes when there is room. KT_ERR_NETWORK without a link.
int kts_agent_send(struct kts_agent_link *link, uint16_t type, uint64_t id, const void *payload,
                   size_t n) KT_MUST_CHECK;
// A record of the agent's own; the answer is not waited for.
void kts_agent_audit(struct kts_agent *agent, json_t *record /* stolen */);
// When it is to stop and nothing is in flight: ends the loop.
void kts_agent_check_stop(struct kts_agent *agent);

// --- agent_socket.c ---
int kts_agent_listen(struct kts_agent *agent, struct kt_error *error) KT_MUST_CHECK;
void kts_agent_unlisten(struct kts_agent *agent);
// "root (uid 0)": who asks, for records.
const char *kts_call_actor(const struct kts_call *call);
struct kts_agent *kts_call_agent(const struct kts_call *call);
// Answers and ends the call. `result` is stolen; its strings are wiped when `secret`.
void kts_call_succeed(struct kts_call *call, json_t *result, int secret);
void kts_call_fail(struct kts_call *call, const struct kt_error *error);
// The change that the call waits for; told when the caller goes away.
void kts_call_set_pending(struct kts_call *call, struct kts_pending *pending);

// --- agent_verbs.c ---
struct kts_verb {
    const char *name;
    // 0: *result is the answer. KT_ERR_AGAIN: it comes later, through kts_call_succeed or _fail.
    int (*run)(struct kts_call *call, const json_t *args, json_t **result, struct kt_error *error);
};
// Runs the verb of a request and answers, now or later.
void kts_verb_run(struct kts_call *call, const json_t *request);

// --- agent_change_verbs.c ---
extern const struct kts_verb kts_change_verbs[]; // ends with name NULL

// --- agent_change.c ---
// Hands the change to the writer, which answers later: KT_ERR_AGAIN, or why not. `code` (an auth
// code's text, taken, may be NULL) is shown when the change is durable.
int kts_agent_change(struct kts_call *call, struct kt_change *change, struct kt_secret *code,
                     struct kt_error *error) KT_MUST_CHECK;
void kts_agent_outcome(struct kts_agent *agent, struct kts_message *message);
// The writer is gone: what it was asked is in doubt.
void kts_agent_writer_gone(struct kts_agent *agent);
// The caller is gone: the change goes on, its answer is dropped.
void kts_pending_forget(struct kts_pending *pending);

// --- agent_sign.c ---
int kts_agent_load_ca(struct kts_agent *agent, struct kt_error *error) KT_MUST_CHECK;
void kts_agent_sign(struct kts_agent *agent, struct kts_message *message);
// Publishes the end of the server certificate.
void kts_agent_load_server_cert(struct kts_agent *agent);

// --- agent_watch.c ---
// For a query, which may close the connection: its descriptor is not watched until the next look.
struct db_session *kts_agent_database(struct kts_agent *agent);
int kts_agent_watch_start(struct kts_agent *agent, struct kt_error *error) KT_MUST_CHECK;

#endif
