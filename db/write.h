// SPDX-License-Identifier: Apache-2.0
// Inside the writer's database side: connections, waiting with a deadline, and the kinds of change.
#ifndef DB_WRITE_H
#define DB_WRITE_H

#include <libpq-fe.h>

#include "db/writer.h"
#include "lib/epoch.h"
#include "lib/merkle.h"

struct db_writer {
    PGconn *main;   // checks, the transaction, PREPARE TRANSACTION: waits for standbys
    PGconn *commit; // COMMIT PREPARED, synchronous_commit = local
    struct db_writer_settings settings;
    struct db_writer_state state;
    struct kt_epoch_row row; // the newest: who acknowledges in this epoch
    struct kt_merkle log;    // over the deposits that are written; planned ones are not in it
    uint64_t next_group;
    unsigned notices; // warnings since the last look: none may come in a clean group
    uint8_t receipt_key_id[KT_KEY_ID_LEN]; // of settings.receipt_key
    char *receipt_keys_json;               // array for the registration answer
    char standby_names
        [KT_STANDBY_NAMES_TEXT]; // what synchronous_standby_names must be in this epoch
    char *counted; // JSON object: the name under which a member streams in this epoch, the member
};

// --- write_receipt_key.c ---
// Reads which receipt keys are listed, and chooses that of settings.receipt_key and
// settings.next_receipt_key by which receipts are signed: the newest one that is listed and not
// retired. KT_ERR_NOT_OURS, with what to do, when neither is.
int db_write_choose_receipt_key(struct db_writer *writer, struct kt_error *error) KT_MUST_CHECK;

// --- write_settle.c ---
// Reads the newest row whole and takes it over, when this node may write under it.
int db_write_read_row(struct db_writer *writer, struct kt_error *error) KT_MUST_CHECK;
// Names and members of writer->row.
int db_write_use_row(struct db_writer *writer, struct kt_error *error) KT_MUST_CHECK;
// Behind a clean barrier: COMMIT PREPARED for every group that is left over.
int db_write_settle(struct db_writer *writer, struct kt_error *error) KT_MUST_CHECK;

// --- write_log.c ---
// What a group adds to the log, and the head over it.
struct db_log_growth {
    int writes; // 1: the group has deposits, so tiles and head are written
    struct kt_merkle log;
    struct kt_tree_head head;
    struct kt_buf levels, positions, hashes; // of new tiles, as array literals
};
extern const char db_log_write_name[], db_log_write_sql[];
// The edge of the log from rows and tiles, behind the log index. KT_ERR_DATABASE when the log is not
// whole, KT_ERR_SIGNATURE when it is not what the newest head says.
int db_log_read(struct db_writer *writer, struct kt_error *error) KT_MUST_CHECK;
// Computes what the planned deposits of the group add to writer->log, and signs the head. Nothing of
// the writer changes: `growth->log` takes the place of writer->log when the group is written.
// KT_ERR_INTERNAL when an index does not follow. The caller frees `growth` in any case.
int db_log_grow(const struct db_writer *writer, const struct db_member *members, size_t count,
                struct db_log_growth *growth) KT_MUST_CHECK;
// Queues the statement; it gives one result.
int db_log_send(struct db_writer *writer, const struct db_log_growth *growth) KT_MUST_CHECK;
void db_log_growth_free(struct db_log_growth *growth);

// --- write_prove.c ---
// Prepares the two statements below on the main connection.
int db_prove_prepare(struct db_writer *writer, struct kt_error *error) KT_MUST_CHECK;
// Queues the first statement of a transaction: it fails with DB_UNSAFE when settings were weakened,
// so that the PREPARE behind it in the pipeline is not carried out.
#define DB_UNSAFE "22012"
int db_prove_send_guard(struct db_writer *writer) KT_MUST_CHECK;
int db_prove_unsafe(struct kt_error *error);
// The next result of the main connection, which may wait for members. KT_ERR_NO_QUORUM when too few
// of them have been there for a while: it need not be waited for any longer.
int db_prove_result(struct db_writer *writer, int64_t deadline_us, PGresult **result) KT_MUST_CHECK;
// After a clean PREPARE or commit: the settings still hold, and at least W members of the row
// report as flushed what is flushed here now.
int db_prove(struct db_writer *writer, int64_t deadline_us, struct kt_error *error) KT_MUST_CHECK;
// A commit that came back clean, under settings that hold, and that W members have: a quorum is
// here now. Any failure says that it was not proven; KT_ERR_DATABASE_UNAVAILABLE and
// KT_ERR_NO_QUORUM that the connection must be given up too.
int db_write_barrier(struct db_writer *writer, struct kt_error *error) KT_MUST_CHECK;

// Parameters of one prepared statement, all text except those put as bytes.
#define DB_PARAMS_MAX 32
#define DB_PARAM_TEXT 192
struct db_params {
    int count;
    const char *values[DB_PARAMS_MAX];
    int lengths[DB_PARAMS_MAX];
    int formats[DB_PARAMS_MAX];
    char text[DB_PARAMS_MAX][DB_PARAM_TEXT]; // storage of numbers, times, UUIDs
    char list[KT_RECIPIENTS_MAX * 21 + 3];   // of the one array
};
void db_param_text(struct db_params *params, const char *text); // NULL = SQL NULL; not copied
void db_param_bytes(struct db_params *params, const void *bytes, size_t n); // not copied
void db_param_number(struct db_params *params, uint64_t number);
void db_param_boolean(struct db_params *params, int value);
void db_param_time(struct db_params *params, int64_t us);
void db_param_uuid(struct db_params *params, const struct kt_uuid *uuid); // nil = SQL NULL
// An array of bigint, which has the bits of each id; at most KT_RECIPIENTS_MAX, and one such
// parameter in a statement.
void db_param_key_ids(struct db_params *params, const uint64_t *ids, size_t count);

// Columns of a result. Text columns only, except bytes, which unescapes bytea text.
int db_column_is_null(const PGresult *result, int column);
const char *db_column_text(const PGresult *result, int column);
int db_column_true(const PGresult *result, int column);
uint64_t db_column_number(const PGresult *result, int column); // 0 when NULL or not a number
int db_column_uuid(const PGresult *result, int column, struct kt_uuid *uuid) KT_MUST_CHECK;
int db_column_bytes(const PGresult *result, int column, uint8_t *out, size_t n) KT_MUST_CHECK;

// Queues a prepared statement in the pipeline of `conn`.
int db_pipe_send(PGconn *conn, const char *statement, const struct db_params *params) KT_MUST_CHECK;
// Queues a literal command.
int db_pipe_send_text(PGconn *conn, const char *sql) KT_MUST_CHECK;
// Ends the segment and flushes.
int db_pipe_sync(PGconn *conn) KT_MUST_CHECK;
// Waits until the next result is there, up to the absolute monotonic time. KT_ERR_TIMEOUT,
// KT_ERR_DATABASE_UNAVAILABLE.
int db_pipe_wait(PGconn *conn, int64_t deadline_us) KT_MUST_CHECK;
// The next statement's only result, waiting up to the absolute monotonic time; the caller PQclears
// it. KT_ERR_DATABASE_UNAVAILABLE (gone), KT_ERR_TIMEOUT. Errors and "aborted" are results too.
int db_pipe_result(PGconn *conn, int64_t deadline_us, PGresult **result) KT_MUST_CHECK;
// Waits for the end of the segment.
int db_pipe_end(PGconn *conn, int64_t deadline_us) KT_MUST_CHECK;
// One command with no or few rows outside a transaction: send, sync, result, end.
int db_pipe_run(PGconn *conn, const char *sql, int64_t deadline_us, PGresult **result,
                struct kt_error *error) KT_MUST_CHECK;
// Code for a failed result, by SQLSTATE; the server's primary message (never its detail, which
// may hold values) in `error`.
int db_result_code(const PGresult *result, struct kt_error *error);

// A kind of change: how it is checked and written. Each statement gives exactly one result.
struct db_change_ops {
    enum kt_change_kind kind;
    int groupable;
    const char *check_name, *check_sql;
    void (*check_params)(const struct kt_change *change, struct db_params *params);
    // Fills member (outcome.code for refusals) from the check's result.
    int (*checked)(struct db_writer *writer, struct db_member *member, const PGresult *result);
    // After all checks, in order: indices, receipts, certificates. May be NULL.
    int (*plan)(struct db_writer *writer, struct db_member *member);
    const char *write_name, *write_sql;
    void (*write_params)(struct db_writer *writer, const struct db_member *member,
                         struct db_params *params);
    // From the write's result (rows affected, RETURNING). May be NULL.
    int (*written)(struct db_writer *writer, struct db_member *member, PGresult *result);
};
extern const struct db_change_ops db_change_deposit, db_change_delete, db_change_register,
    db_change_renew, db_change_org_add, db_change_org_disable, db_change_authcode_new,
    db_change_authcode_revoke, db_change_client_approve, db_change_client_revoke, db_change_grant,
    db_change_grant_revoke, db_change_operator_add, db_change_operator_revoke, db_change_retrieve,
    db_change_vote, db_change_lock, db_change_undelete, db_change_purge, db_change_org_set,
    db_change_clock_confirm, db_change_tick, db_change_key_group_add, db_change_recovery_add,
    db_change_recovery_retire, db_change_receipt_key_add, db_change_receipt_key_certify,
    db_change_receipt_key_retire, db_change_cluster_key_add;
// The list of them all (changes.c).
const struct db_change_ops *const *db_changes_all(size_t *count);
// NULL for KT_CHANGE_BARRIER.
const struct db_change_ops *db_change_ops(enum kt_change_kind kind);

// Sets the outcome and returns 0, so that a check can `return db_refuse(...)`.
int db_refuse(struct db_member *member, int code, const char *message);
// Columns 0-6 of every check by certificate: client, organisation id, organisation name, client
// state, certificate revoked, certificate expired, organisation disabled. No row: unknown.
// Returns 1 when the member may go on, 0 when it was refused, negative on a broken result.
#define DB_AUTH_COLUMNS                                                                            \
    "c.client_id, c.organisation_id, o.name, c.state, cc.revoked_at IS NOT NULL,"                  \
    " cc.not_after <= now(), o.disabled_at IS NOT NULL"
#define DB_AUTH_FROM                                                                               \
    " FROM client_certificates cc JOIN clients c USING (client_id)"                                \
    " JOIN organisations o USING (organisation_id) "
#define DB_AUTH_COUNT 7
int db_check_client(struct db_member *member, const PGresult *result);
// In a check: whether the grant g is in force for the client c and covers the deposit d1; whether d1
// is locked now.
#define DB_GRANT_COVERS                                                                            \
    "g.revoked_at IS NULL AND (g.client_id = c.client_id OR g.client_id IS NULL)"                  \
    " AND CASE g.object WHEN 'own' THEN d1.client_id = c.client_id"                                \
    " WHEN 'prefix' THEN starts_with(d1.handle, g.prefix)"                                         \
    " ELSE g.key_group_id = d1.key_group_id END"
#define DB_LOCKED "(d1.legal_hold OR (d1.lock_mode IS NOT NULL AND d1.lock_until > kt_now()))"

#endif
