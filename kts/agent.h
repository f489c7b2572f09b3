// SPDX-License-Identifier: Apache-2.0
// Inside the agent: its socket, its verbs, the changes it passes on, signing, and the watch.
#ifndef KTS_AGENT_H
#define KTS_AGENT_H

#include <event2/event.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "db/queries.h"
#include "kts/link.h"
#include "kts/process.h"
#include "lib/ca.h"
#include "lib/change.h"

struct kts_agent;
struct kts_call;    // one request, by socket or through the door (agent_call.c)
struct kts_pending; // one change that the writer has not answered (agent_change.c)
struct kts_agent_audit;
struct kts_running; // one job under way (agent_job.c)

// A link with its events. `link` NULL: none at the moment.
struct kts_agent_link {
    struct kts_agent *agent;
    struct kts_link *link;
    struct event *readable, *writable;
    void (*message)(struct kts_agent *agent, struct kts_message *message);
    void (*closed)(struct kts_agent *agent); // or NULL
};

// Operators whose certificates are listed (node_certificates), as last read from the database.
#define KTS_OPERATORS_MAX 64
struct kts_operator {
    char name[KT_ORG_NAME_MAX + 1];
    uint8_t cert_sha256[KT_SHA256_LEN];
};
struct kts_operators {
    struct kts_operator operators[KTS_OPERATORS_MAX];
    size_t count;
};

// Sessions in PostgreSQL of before a root of the CA ended (agent_ca_cut.c).
struct kts_ca_cut {
    unsigned wanted, running; // counts ends that were heard of; that of the job under way
    int64_t before_us;        // those that began earlier; 0: PostgreSQL has not read the file
    int64_t until_us;         // so long connections of before may still become sessions
    int64_t next_us;
    json_int_t ended; // so many
    int is_told;      // on record
    int is_cut;       // there was none left once
    int is_over;
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
    int socket_count;           // connections to it
    int call_count;             // requests that are not answered yet, both ways
    struct kts_agent_link door; // the door for nodes and operators
    struct kts_relay *relay;    // calls through it (agent_relay.c)
    struct kts_pending *pending;
    struct kts_running *jobs;
    struct kts_agent_peers *peers;       // agent_peers.c
    struct kts_agent_audit *audit_heads; // agent_audit.c
    struct kts_operators operators;
    uint64_t next_id;
    struct kt_secret *database_secret;
    struct db_session *database;
    struct kts_view *view;   // what the watch saw (agent_view.h)
    struct event *watch;     // the next look
    struct event *watch_end; // the end of the connection, while it is up
    int watch_ms;            // pause after a look that waited in vain; grows
    EVP_PKEY *ca_key;
    X509 *ca_cert; // with all of its set (kt_pki_ca_load); it signs
    uint8_t ca_sha256[KT_SHA256_LEN];
    int64_t ca_not_after_us;
    enum kt_ca_phase ca_phase;
    struct stat ca_file;              // the file that was read: another one is read again
    int64_t ca_since_us, ca_until_us; // as kt_ca_look
    int ca_outlived;                  // the node's own certificates are of an older root
    json_t *ca_roots;                 // SHA-256 of each, for others to compare
    json_t *ca_ended;                 // SHA-256 of the key of each that has ended
    struct kts_ca_cut ca_cut;
    struct event *stop_timer;
    int stopping;
};

// --- agent.c ---
// Sends, and sees to it that the rest goes when there is room. KT_ERR_NETWORK without a link.
int kts_agent_send(struct kts_agent_link *link, uint16_t type, uint64_t id, const void *payload,
                   size_t n) KT_MUST_CHECK;
// A link to `fd`, in place of the present one; takes the descriptor over, also on failure.
int kts_agent_attach(struct kts_agent_link *link, int fd) KT_MUST_CHECK;
// Closes it; none is fine. Not from inside an answer to one of its messages.
void kts_agent_drop(struct kts_agent_link *link);
// A record of the agent's own; the answer is not waited for.
void kts_agent_audit(struct kts_agent *agent, json_t *record /* stolen */);
// When it is to stop and nothing is in flight: ends the loop.
void kts_agent_check_stop(struct kts_agent *agent);

// --- agent_socket.c ---
int kts_agent_listen(struct kts_agent *agent, struct kt_error *error) KT_MUST_CHECK;
void kts_agent_unlisten(struct kts_agent *agent);

// --- agent_call.c ---
// Who may ask for a verb; a call has one of them.
enum kts_asker {
    KTS_CALLER_LOCAL = 1,    // the unix socket: root, or the service's own account
    KTS_CALLER_NODE = 2,     // a certificate of a node that is listed and not removed
    KTS_CALLER_OPERATOR = 4, // a listed operator's certificate
    KTS_CALLER_TOKEN = 8,    // a join token, no certificate
    KTS_CALLER_REMOVED = 16, // the certificate of a node that was removed
};
enum kts_asker kts_call_caller(const struct kts_call *call);
// "root (uid 0)", "node kts-02.1a2b3c4d", "operator ada", "token x3k5q7ab": for records.
const char *kts_call_actor(const struct kts_call *call);
// The member id of a node that asks; "" for others.
const char *kts_call_member(const struct kts_call *call);
struct kts_agent *kts_call_agent(const struct kts_call *call);
// Answers and ends the call. `result` is stolen.
void kts_call_succeed(struct kts_call *call, json_t *result);
void kts_call_fail(struct kts_call *call, const struct kt_error *error);
// The change, or the job, that the call waits for; told when the caller goes away.
void kts_call_set_pending(struct kts_call *call, struct kts_pending *pending);
void kts_call_set_job(struct kts_call *call, struct kts_running *job);

// --- agent_verbs.c ---
// 0: *result is the answer. KT_ERR_AGAIN: it comes later, through kts_call_succeed or _fail.
typedef int kts_verb_function(struct kts_call *call, const json_t *args, json_t **result,
                              struct kt_error *error);
// In a child of its own (agent_job.h). 0 with *result, or a code with `error`; may block.
struct kts_job;
typedef int kts_job_function(struct kts_job *job, const json_t *args, json_t **result,
                             struct kt_error *error);
// Flags of verbs, beside KTS_JOB_*: without a place for its record it does not run
// (KT_ERR_AUDIT_UNAVAILABLE); `run` makes the record, once it knows what to write.
#define KTS_VERB_CLOSED  0x100
#define KTS_VERB_RECORDS 0x200
// A node that asks must show the certificate that the database's table has for it (agent_listed.h).
#define KTS_VERB_LISTED 0x400
// A row has `run`, which answers from the agent's loop and must not wait, or `job`.
struct kts_verb {
    const char *name;
    unsigned callers;       // enum kts_asker, together
    unsigned flags;         // KTS_VERB_*, and KTS_JOB_* for a job
    kts_verb_function *run; // or NULL
    kts_job_function *job;  // or NULL
    const char *event;      // of the audit record that is made before it runs. NULL: it changes
                            // nothing, or the writer records it
};
// The record of a verb that was allowed; `more` (stolen, may be NULL) has further fields.
void kts_verb_record(struct kts_call *call, const char *event, json_t *more);
// NULL: there is none.
const struct kts_verb *kts_verb_find(const char *name);
// Calls `each` with every row.
void kts_verbs_walk(void (*each)(const struct kts_verb *verb, void *arg), void *arg);
// Whether the caller may ask for the verb: 0, KT_ERR_ROUTE_UNKNOWN, KT_ERR_NOT_MEMBER.
int kts_verb_check(const struct kts_verb *verb, enum kts_asker caller,
                   struct kt_error *error) KT_MUST_CHECK;
// Checks, records and runs the verb, and answers the call, now or later. `args` may be NULL.
void kts_verb_run(struct kts_call *call, const char *name, const json_t *args);

// --- agent_change_verbs.c ---
extern const struct kts_verb kts_change_verbs[]; // ends with name NULL
// Arguments of verbs, checked for form.
int kts_take_name(const json_t *args, const char *member, char out[KT_ORG_NAME_MAX + 1],
                  struct kt_error *error) KT_MUST_CHECK;
int kts_take_uuid(const json_t *args, const char *member, int required, struct kt_uuid *out,
                  struct kt_error *error) KT_MUST_CHECK;
// A list with commas of known rights, each once; `fallback` (or NULL: required) when there is none.
int kts_take_rights(const json_t *args, const char *fallback, char *out, size_t size,
                    struct kt_error *error) KT_MUST_CHECK;
// What is granted on: "object", "prefix" and "key_group".
int kts_take_object(const json_t *args, struct kt_change *change,
                    struct kt_error *error) KT_MUST_CHECK;

// --- agent_rights_verbs.c ---
extern const struct kts_verb kts_rights_verbs[];

// --- agent_cluster.c ---
extern const struct kts_verb kts_cluster_verbs[]; // ends with name NULL

// --- agent_peers_verbs.c, agent_token.c, agent_join.c ---
extern const struct kts_verb kts_peers_verbs[];
extern const struct kts_verb kts_token_verbs[];
extern const struct kts_verb kts_join_verbs[];
extern const struct kts_verb kts_operator_verbs[];    // agent_operator.c
extern const struct kts_verb kts_cert_verbs[];        // agent_cert.c
extern const struct kts_verb kts_receipt_verbs[];     // agent_receipt_key.c
extern const struct kts_verb kts_ca_verbs[];          // agent_ca_rotate.c
extern const struct kts_verb kts_ca_end_verbs[];      // agent_ca_end.c
extern const struct kts_verb kts_cluster_key_verbs[]; // agent_cluster_key.c

// --- agent_change.c ---
// Hands the change to the writer, which answers later: KT_ERR_AGAIN, or why not. `code` (an auth
// code's text, taken, may be NULL) is shown when the change is durable.
int kts_agent_change(struct kts_call *call, struct kt_change *change, struct kt_secret *code,
                     struct kt_error *error) KT_MUST_CHECK;
// The same; `shown` (stolen, NULL: no memory) is put into the answer when the change is durable.
int kts_agent_change_showing(struct kts_call *call, struct kt_change *change, json_t *shown,
                             struct kt_error *error) KT_MUST_CHECK;
void kts_agent_outcome(struct kts_agent *agent, struct kts_message *message);
// The writer is gone: what it was asked is in doubt.
void kts_agent_writer_gone(struct kts_agent *agent);
// Behind a look at the database: answers those whose change has reached the nodes. 1 while some
// wait for that.
void kts_agent_changes_look(struct kts_agent *agent);
int kts_agent_changes_wait(const struct kts_agent *agent);
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
// Reads nodes and operators now, when the database can be asked.
void kts_agent_watch_lists(struct kts_agent *agent);
// Looks at once instead of at its next turn: after a job, or when the heartbeat has something new.
void kts_agent_watch_now(struct kts_agent *agent);

#endif
