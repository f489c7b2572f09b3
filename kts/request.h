// SPDX-License-Identifier: Apache-2.0
// One request from its head to its answer: what the dispatcher, the handlers and the connection
// know of it.
#ifndef KTS_REQUEST_H
#define KTS_REQUEST_H

#include <jansson.h>

#include "db/reads.h"
#include "kts/barrier.h"
#include "kts/records.h"
#include "kts/routes.h"
#include "kts/shares.h"
#include "kts/status.h"
#include "lib/change.h"

struct kts_conn;
struct kts_worker;

// What a request waits for; decides what it is told when the time is up.
enum kts_phase {
    KTS_PHASE_NONE, // not waiting: nothing under way
    KTS_PHASE_BARRIER,
    KTS_PHASE_READ,
    KTS_PHASE_CHANGE,
    KTS_PHASE_AUDIT, // the answer is composed and held
    KTS_PHASE_DONE,  // answered: belongs to the connection until it is sent
};

typedef int (*kts_read_done)(struct kts_request *request, const struct db_answer *answer);
typedef int (*kts_barrier_passed)(struct kts_request *request, int code);
typedef int (*kts_change_done)(struct kts_request *request, const struct kt_outcome *outcome);

struct kts_request {
    struct kts_worker *worker;
    struct kts_conn *conn;
    enum kts_phase phase;
    char id[KT_REQUEST_ID_TEXT];
    enum kts_method method;
    struct kts_match match; // match.route is NULL when the request was refused before
    int keep_alive;
    int barrier; // `KT-Freshness: barrier` was asked for and is honoured
    int fresh;   // ... and has been passed
    uint64_t body_expected;
    size_t body_reserved; // of worker->body_bytes
    int body_unread;      // then the connection cannot be used again
    // From the head; "" when absent.
    char content_type[64]; // as the table of ciphertexts spells it
    char deposit_id[KT_UUID_TEXT];
    char sha256[KT_SHA256_TEXT];
    char bypass[8];                   // KT-Bypass-Governance
    struct kt_release_policy *policy; // PUT: owned, NULL when there is none
    char *justification;              // GET: owned, NULL when there is none
    struct kt_uuid retrieval_id;      // GET: nil when there is none
    char key_group[KT_UUID_TEXT];     // PUT
    char *query;                      // owned, NULL when empty
    // The body, for the time of the start function.
    const uint8_t *body;
    size_t body_len;
    // Who asks. The certificate is one that the CA signed and that is in its validity, unless
    // certificate_error says otherwise.
    int certificate_error;
    uint8_t certificate[KT_SHA256_LEN];
    int who_known;
    struct db_who who;
    // What the audit record says beside that.
    int refusal;            // 0: allowed; else the true reason, which the client may not be told
    int recorded_by_writer; // the change has gone to the writer, which makes the record
    struct kt_error error;  // what the client is told; code 0: nothing yet
    struct kt_uuid deposit;
    uint32_t version;
    uint32_t list_limit;            // deposit.list
    struct kt_uuid release_request; // what a retrieval waits for
    struct kt_uuid released;        // the retrieval that the writer let through
    // Under way
    struct db_read *read;
    kts_read_done read_done;
    struct kts_question question; // to the writer
    kts_change_done change_done;
    struct kts_barrier_waiter waiter;
    kts_barrier_passed passed;
    struct kts_record record;
    struct kts_share share;
    // Limits
    int malformed;          // refused by the connection: what came is no request
    uint64_t code_key;      // of the auth code's id, 0: none
    uint32_t retry_after_s; // with 429
};

// --- kts/dispatch.c: reads and changes of the handlers ---

// What a handler wants to read. Certificate and right are the dispatcher's.
enum kts_query_kind {
    KTS_READ_DEPOSIT,
    KTS_READ_HEAD,
    KTS_READ_BY_ID,
    KTS_READ_RELEASED, // the deposit that the request is about, let through as its retrieval_id
    KTS_READ_RECEIPT,
    KTS_READ_LIST,
    KTS_READ_SELF,
    KTS_READ_OPENPGP,
    KTS_READ_OPERATOR,     // whether the caller is one
    KTS_READ_INCARNATIONS, // for anybody
    KTS_READ_CLUSTER_KEYS, // for anybody
    KTS_READ_REQUESTS,
    KTS_READ_LOG_HEAD,
    KTS_READ_LOG_INCLUSION,
    KTS_READ_LOG_CONSISTENCY
};
struct kts_query {
    enum kts_query_kind kind;
    uint32_t version;           // 0: the latest
    const char *prefix, *after; // list
    uint32_t limit;             // list, requests
    const char *state;          // requests
    struct kt_uuid behind;      // requests
    uint64_t first, second;     // log: index and size, from and to
};
// 1 as long as the caller has shown no certificate that the CA signed and that is in its validity:
// anybody may be that.
int kts_is_stranger(const struct kts_request *request);
// Begins the read. `done` runs only when the caller is known, in good standing and, where the route
// has a right, has it on the deposit that was found. It returns 0 when it has answered, or the
// error to answer; so do start functions.
int kts_read(struct kts_request *request, const struct kts_query *query,
             kts_read_done done) KT_MUST_CHECK;
// Sends the change to the writer; certificate, request id and peer are filled in. Takes nothing
// over. `done` runs when the writer has made the change durable.
int kts_change(struct kts_request *request, struct kt_change *change,
               kts_change_done done) KT_MUST_CHECK;
// Waits for a barrier that begins after now; `passed` receives 0, or why there was none.
int kts_barrier(struct kts_request *request, kts_barrier_passed passed) KT_MUST_CHECK;
// A query parameter; "" when it is not there. KT_ERR_BAD_REQUEST.
int kts_request_query(struct kts_request *request, const char *name, char *out,
                      size_t size) KT_MUST_CHECK;
// A query parameter that is a number from 1 to `max`; *number keeps its value when it is not there.
int kts_request_number(struct kts_request *request, const char *name, uint32_t max,
                       uint32_t *number) KT_MUST_CHECK;
// As kts_request_number, for the parameter "limit" of lists: limits.list is the most.
int kts_request_limit(struct kts_request *request, uint32_t *limit) KT_MUST_CHECK;
// The query parameter "version", 0 when it is not there.
int kts_request_version(struct kts_request *request, uint32_t *version) KT_MUST_CHECK;
// For start and done functions: sets what the client is told beyond the table's text, and gives the
// code back to be returned.
int kts_fail(struct kts_request *request, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

// --- kts/respond.c ---

// Each composes head and body in the connection's one buffer and hands the answer to the
// dispatcher, which holds it until the audit record is on disk where the route wants that.
// `headers` are whole lines ("KT-Index: 7\r\n") or NULL.
int kts_respond(struct kts_request *request, int status, const char *content_type,
                const char *headers, const void *body, size_t n) KT_MUST_CHECK;
// `object` is stolen, also on failure; NULL (no memory when it was made) is answered as that.
int kts_respond_json(struct kts_request *request, int status, json_t *object) KT_MUST_CHECK;
// "KT-Active: <host>:<port>" as a line, when this node knows its active's service; else "".
#define KTS_ACTIVE_FIELD 280
void kts_active_field(struct kts_status *status, char out[KTS_ACTIVE_FIELD]);
// HEAD: headers only, with the length that GET would have.
int kts_respond_head(struct kts_request *request, const char *content_type, const char *headers,
                     uint64_t length) KT_MUST_CHECK;
// Composes an error; does not go through the dispatcher. Never fails: without memory the
// connection is closed.
void kts_compose_error(struct kts_request *request, const struct kt_error *error);

// --- kts/h_client_register.c, shared with renewal ---

// The member "csr": checked, copied, its key hashed.
int kts_take_csr(struct kts_request *request, const json_t *object,
                 struct kt_change *change) KT_MUST_CHECK;
// The writer's JSON as it is.
int kts_answer_text(struct kts_request *request, const struct kt_outcome *outcome,
                    int status) KT_MUST_CHECK;

// --- kts/release_head.c ---

// Takes the release policy of a PUT, or the justification and retrieval id of a GET, from its head.
// KT_ERR_BAD_REQUEST.
int kts_release_take_head(struct kts_request *request,
                          const struct kts_http_head *head) KT_MUST_CHECK;

// --- kts/release.c ---

// For the done function of a read that wanted a body which the release policy has held back. Answers
// when the writer lets the retrieval through, or gives the error to answer.
int kts_release(struct kts_request *request, const struct db_answer *answer,
                kts_read_done released) KT_MUST_CHECK;

// --- kts/deposit_json.c ---

// The object "deposit" of answers, from the receipt. NULL: no memory.
json_t *kts_deposit_json(const struct kt_receipt *receipt, const char *handle);
// The object "retention": lock, hold, what is to become of it. NULL: no memory.
json_t *kts_retention_json(const struct db_deposit *deposit);
// Adds its member "key_group": a UUID, or null. For answers that were read from the deposit's row.
void kts_deposit_json_key_group(json_t *object, const struct db_deposit *deposit);

#endif
