// SPDX-License-Identifier: Apache-2.0
// The reads of the workers. Each is one prepared statement, keyed by the SHA-256 of the caller's
// certificate, that authorises and fetches: there is no cache that could go stale.
#ifndef DB_READS_H
#define DB_READS_H

#include "db/reader.h"
#include "lib/digest.h"
#include "lib/encode.h"

#define DB_RIGHT_MAX 16
#define DB_LIST_MAX  10000 // the largest limits.list

// Who has the certificate.
struct db_who {
    struct kt_uuid client_id;
    struct kt_uuid organisation_id;
    char organisation[KT_ORG_NAME_MAX + 1];
    int pending; // the client's state; neither: active
    int revoked;
    int certificate_revoked;
    int64_t not_after_us; // of the certificate
    int organisation_disabled;
};

// A deposit's row; members that a read does not ask for are zero.
struct db_deposit {
    struct kt_uuid deposit_id;
    struct kt_uuid client_id;
    struct kt_uuid key_group; // nil: none
    char handle[KT_HANDLE_MAX + 1];
    char content_type[64];
    uint8_t sha256[KT_SHA256_LEN];
    uint64_t size;
    struct kt_receipt receipt; // version, index, time; the rest for db_read_receipt
    int deleted;
    int has_policy; // of release
    // HEAD and db_read_receipt; times are 0 when there is none
    char lock_mode[12];
    int64_t lock_until_us;
    int legal_hold;
    int lock_in_force; // db_read_receipt, as is what follows
    int64_t purge_after_us, purged_at_us;
};

// What the release policy of a deposit says to a read that wants the body. RELEASE_TOO_EARLY,
// _EXPIRED and _UNJUSTIFIED hold for every node; with _COUNTED the writer decides.
enum db_release {
    DB_RELEASE_UNKNOWN, // there is no policy, or it cannot be read
    DB_RELEASE_NOW,
    DB_RELEASE_TOO_EARLY,
    DB_RELEASE_EXPIRED,
    DB_RELEASE_UNJUSTIFIED,
    DB_RELEASE_COUNTED,
};

// What a read found; valid during the callback only.
struct db_answer {
    int known; // a client has the certificate; otherwise the rest is zero
    struct db_who who;
    size_t count; // deposits: 0 or 1; for a list 0 .. limit
    struct db_deposit *deposits;
    int granted;             // the right that was asked for, on that deposit
    int browsable;           // the client may at least know that the deposit exists
    int version_found;       // 0: no such version; the row is another one under that handle
    int gone;                // it was purged: there is no body (not for db_read_receipt)
    enum db_release release; // reads that want the body of a deposit with a policy
    const uint8_t *bytes;    // the body, or the OpenPGP key; NULL unless granted and released
    size_t len;
    // db_read_self, _incarnations, _cluster_keys, _requests, _log_*: a JSON object; db_read_receipt: the release
    // policy as one, or NULL
    const char *text;
    size_t text_len;
};

// `answer` is NULL unless code is 0. KT_ERR_DATABASE_UNAVAILABLE, KT_ERR_DATABASE_TIMEOUT,
// KT_ERR_DATABASE (logged), KT_ERR_NO_MEMORY.
typedef void (*db_answer_done)(void *arg, int code, const struct db_answer *answer);

// Each queues one read; db_reader_flush sends it. `right` is one of the access words of grants.
// The latest present version (version 0) or that one, with the body unless its release policy holds
// that back; `justified`: the request says what for.
int db_read_deposit(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                    const char *right, const char *handle, uint32_t version, int justified,
                    db_answer_done done, void *arg, struct db_read **read) KT_MUST_CHECK;
// As db_read_deposit, without the body.
int db_read_head(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                 const char *right, const char *handle, uint32_t version, db_answer_done done,
                 void *arg, struct db_read **read) KT_MUST_CHECK;
// As db_read_deposit, by its id.
int db_read_deposit_by_id(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                          const char *right, const struct kt_uuid *id, int justified,
                          db_answer_done done, void *arg, struct db_read **read) KT_MUST_CHECK;
// By its id, with the body when the writer let this retrieval of this client through a short while
// ago.
int db_read_released(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                     const char *right, const struct kt_uuid *id, const struct kt_uuid *retrieval,
                     db_answer_done done, void *arg, struct db_read **read) KT_MUST_CHECK;
// With the receipt, deleted or purged ones too; the latest version of all when version is 0.
int db_read_receipt(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                    const char *right, const char *handle, uint32_t version, db_answer_done done,
                    void *arg, struct db_read **read) KT_MUST_CHECK;
// The latest present version of each handle with `prefix` behind `after` that the right covers, in
// byte order, at most `limit` (1 .. DB_LIST_MAX). `granted`: the client has the right on anything.
int db_read_list(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                 const char *right, const char *prefix, const char *after, uint32_t limit,
                 db_answer_done done, void *arg, struct db_read **read) KT_MUST_CHECK;
// The requests for a release that the client made or may vote on, behind the one with the id
// `after` (nil: from the newest), at most `limit` (1 .. DB_LIST_MAX), `state` "" for all: `text`.
int db_read_requests(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                     const char *state, const struct kt_uuid *after, uint32_t limit,
                     db_answer_done done, void *arg, struct db_read **read) KT_MUST_CHECK;
// The client itself: `text`.
int db_read_self(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                 db_answer_done done, void *arg, struct db_read **read) KT_MUST_CHECK;
// The OpenPGP key with this fingerprint (upper-case hex) of a client of the same organisation.
int db_read_openpgp(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                    const char *fingerprint, db_answer_done done, void *arg,
                    struct db_read **read) KT_MUST_CHECK;
// Whether an operator has the certificate: `known`, and in `who` the state of the certificate.
int db_read_operator(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                     db_answer_done done, void *arg, struct db_read **read) KT_MUST_CHECK;
// The newest 64 incarnations with their statements, newest last: `text`. Anybody may ask: nobody is
// `known`.
int db_read_incarnations(struct db_reader *reader, db_answer_done done, void *arg,
                         struct db_read **read) KT_MUST_CHECK;
// The statements about the cluster's OpenPGP keys, newest last: `text`. Anybody may ask.
int db_read_cluster_keys(struct db_reader *reader, db_answer_done done, void *arg,
                         struct db_read **read) KT_MUST_CHECK;
// The newest signed head of the log of deposits, {"head": text | null}: `text`.
int db_read_log_head(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                     db_answer_done done, void *arg, struct db_read **read) KT_MUST_CHECK;
// The proof that the deposit with log index `index` is in the log's first `size` (1 <= index <= size
// < KT_MERKLE_MAX), with the leaf's hash as its row gives it: `text`; NULL when the log is shorter
// here, "null" when it is not whole.
int db_read_log_inclusion(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                          uint64_t index, uint64_t size, db_answer_done done, void *arg,
                          struct db_read **read) KT_MUST_CHECK;
// The proof that the first `to` of the log begin with its first `from` (1 <= from <= to): as above.
int db_read_log_consistency(struct db_reader *reader, const uint8_t certificate[KT_SHA256_LEN],
                            uint64_t from, uint64_t to, db_answer_done done, void *arg,
                            struct db_read **read) KT_MUST_CHECK;

#endif
