// SPDX-License-Identifier: Apache-2.0
// The writer's database side: groups of changes, written in two phases.
//
// A group goes through db_group_check, then (with the audit record on disk) db_group_write.
// One group is in flight at a time. Anything unclean after PREPARE TRANSACTION
// was sent is in doubt: the caller answers KT_ERR_IN_DOUBT and gives the writer
// up; the next db_writer_open settles.
#ifndef DB_WRITER_H
#define DB_WRITER_H

#include <openssl/evp.h>

#include "db/cluster.h"
#include "lib/change.h"

struct db_writer;

struct db_writer_settings {
    // Ed25519, the caller's as long as the writer has it: the keys that the node has, of which the
    // newest that is listed signs. `next_receipt_key` may be NULL.
    EVP_PKEY *receipt_key, *next_receipt_key;
    const char *ca_cert_pem; // handed to clients at registration; stays the caller's
    const struct kt_cluster_info *info;
    int64_t client_certificate_lifetime_s;
    // The epoch of which this node is the active: the newest row must say the same.
    struct kt_incarnation incarnation;
    uint64_t epoch;
    int timeout_ms; // for each step
    // Has `csr` signed for client `common_name`; the caller frees *pem. Source: the agent.
    int (*sign)(void *arg, const char *common_name, const char *organisation, const uint8_t *csr,
                size_t csr_len, char **pem);
    // 1 as long as the permission under which the writer opens is in force; asked when both
    // sessions are there, as they are ended when it is taken back. NULL: always.
    int (*permitted)(void *arg);
    // 1 when W members are connected now. While it says 0 an answer that waits for them is waited
    // for no longer than a moment. NULL: not known, up to the timeout.
    int (*quorum)(void *arg);
    void *arg;
};

// What a writer knows after opening.
struct db_writer_state {
    struct kt_incarnation incarnation;
    uint64_t epoch;
    uint32_t w; // members that must have flushed a group before it is committed
    uint32_t members;
    uint64_t log_index; // of the last deposit
    uint32_t settled;   // leftover groups that were committed at opening
};

// Opens two connections, ends the sessions of an older writer, takes the writer's lock, reads the
// newest row, proves a barrier under it, settles what is left over (COMMIT PREPARED, never a
// rollback) and reads the state. KT_ERR_DATABASE_UNAVAILABLE; KT_ERR_PASSIVE when the database is
// in recovery; KT_ERR_FENCED when the newest row is not this node's and this epoch's;
// KT_ERR_NO_QUORUM; KT_ERR_UNSAFE_SETTINGS.
int db_writer_open(const struct db_target *target, const struct db_writer_settings *settings,
                   struct db_writer **writer, struct kt_error *error) KT_MUST_CHECK;
void db_writer_close(struct db_writer *writer);
void db_writer_set_ca(struct db_writer *writer, const char *ca_cert_pem); // stays the caller's
void db_writer_set_timeout(struct db_writer *writer, int timeout_ms);
// Between groups: signs with `key` from now on, if it is listed, not retired, and newer than the one
// that signs; then it must last as long as the writer. 0 in any case but one: *signs says whether
// it does. KT_ERR_DATABASE_UNAVAILABLE: the connection is gone.
int db_writer_use_receipt_key(struct db_writer *writer, EVP_PKEY *key, int *signs,
                              struct kt_error *error) KT_MUST_CHECK;
// The id of the key that signs.
const uint8_t *db_writer_receipt_key_id(const struct db_writer *writer);
void db_writer_state(const struct db_writer *writer, struct db_writer_state *state);
// Reads what has arrived on idle connections; KT_ERR_DATABASE_UNAVAILABLE when one is gone.
int db_writer_idle(struct db_writer *writer) KT_MUST_CHECK;
// Descriptors to watch while idle.
void db_writer_fds(const struct db_writer *writer, int fds[2]);

// A deposit whose purge is due.
struct db_due {
    struct kt_uuid organisation_id, deposit_id;
    struct kt_uuid asked_by; // a client
    char organisation[KT_ORG_NAME_MAX + 1];
    char handle[KT_HANDLE_MAX + 1];
    uint32_t version;
};
#define DB_PURGES_MAX 100 // in one tick

// One change in a group. The caller sets `change`, db_group_* the rest.
struct db_member {
    struct kt_change *change;
    struct kt_outcome outcome;
    int wait; // 1: touches what an earlier member touches: not in this group
    // for the audit record, known after the check
    struct kt_uuid organisation_id;
    char organisation[KT_ORG_NAME_MAX + 1];
    struct kt_uuid client_id;
    struct kt_uuid key_group; // DEPOSIT: the one it is put into, or nil; GRANT, KEY_GROUP_ADD
    uint32_t version;
    uint64_t log_index;
    int held;                       // RETRIEVE: nothing is released, a request waits for votes
    struct kt_uuid release_request; // RETRIEVE, VOTE
    // inner
    int writes;        // 1: has a statement in the transaction
    char *certificate; // REGISTER, RENEW: new certificate, PEM
    uint8_t certificate_sha256[KT_SHA256_LEN];
    int64_t certificate_not_after_us;
    char rights[128];
    int pending; // REGISTER: waits for approval
    int again;   // REGISTER: a new certificate for a client that there is
    int64_t now_us;
    int64_t request_lifetime_s; // RETRIEVE
    int denies;                 // VOTE: with it, the votes cannot be reached any more
    // TICK: what is erased, for the audit records; the same as parameters; whether the clock has
    // made a long step, so that nothing is.
    struct db_due *due;
    size_t due_count;
    char *due_organisations, *due_deposits;
    int clock_jumped;
    int looks_at_clock; // a tick is to follow at once
};

// 1 when the kind may share a group with others; others are written alone.
int db_change_is_groupable(enum kt_change_kind kind);

// Checks all members against the database and each other: afterwards outcome.code says refused (or
// 0), outcome.repeated that it is answered from its row, `wait` that it must come in a later group.
// KT_ERR_DATABASE_UNAVAILABLE: the connection is gone. Any other code: a check failed,
// for which member is not known: they may be tried singly. Nothing was changed in
// either case, and no outcome counts.
int db_group_check(struct db_writer *writer, struct db_member *members, size_t count,
                   struct kt_error *error) KT_MUST_CHECK;
// Assigns log indices, makes receipts, has certificates signed.
int db_group_plan(struct db_writer *writer, struct db_member *members, size_t count) KT_MUST_CHECK;
// Takes back what planning assumed, when the group is not written after all.
void db_group_forget(struct db_writer *writer, const struct db_member *members, size_t count);
// The transaction of all members that write, in two phases; a barrier when none does and one was
// asked for. 0: all are durable and visible. Otherwise the code says of the whole group:
// KT_ERR_IN_DOUBT (give the writer up), KT_ERR_DATABASE_UNAVAILABLE (connection gone before the
// PREPARE was sent: nothing happened), KT_ERR_NO_QUORUM (a barrier that was not proven: nothing
// happened, give the writer up), any other: rolled back, nothing happened, members may be
// tried singly.
int db_group_write(struct db_writer *writer, struct db_member *members, size_t count,
                   struct kt_error *error) KT_MUST_CHECK;
void db_member_free(struct db_member *member); // not its change

#endif
