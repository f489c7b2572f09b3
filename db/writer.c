// SPDX-License-Identifier: Apache-2.0
// Opens the writer's database side: one writer only, leftovers settled, state read.
#include "db/writer.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/pg.h"
#include "db/write.h"
#include "lib/log.h"

// The key of the session advisory lock that only one writer of a database holds.
#define WRITER_LOCK "7308604759847039585"

// A warning may mean "committed locally, not replicated": it must be noticed, not printed.
static void notice(void *arg, const PGresult *result)
{
    struct db_writer *writer = arg;
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    writer->notices++;
    kt_log(KT_LOG_WARNING, "the database says: %s", message ? message : "(nothing)");
}

static int64_t deadline(const struct db_writer *writer)
{
    return kt_monotonic_now() + (int64_t)writer->settings.timeout_ms * 1000;
}

static int connect_one(struct db_writer *writer, const struct db_target *target, const char *level,
                       PGconn **conn, struct kt_error *error)
{
    char sql[256];
    PGresult *result;
    int r;

    if ((r = db_pg_connect(target, 2000, conn, error)) != 0)
        return r;
    PQsetNoticeReceiver(*conn, notice, writer);
    snprintf(sql, sizeof(sql),
             "SET synchronous_commit = %s; SET lock_timeout = '200ms'; SET statement_timeout = 0;"
             " SET client_min_messages = notice",
             level);
    result = PQexec(*conn, sql);
    r = db_result_code(result, error);
    PQclear(result);
    if (r != 0)
        return r;
    if (PQsetnonblocking(*conn, 1) != 0 || PQenterPipelineMode(*conn) != 1)
        return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL, "no pipeline mode");
    return 0;
}

// A writer that was killed may have left a session with a PREPARE on its way. It is ended before
// the lock is taken and the log index is read, so that no index is used twice.
static int end_old_sessions(struct db_writer *writer, struct kt_error *error)
{
    char sql[512];
    int64_t until = deadline(writer);

    snprintf(sql, sizeof(sql),
             "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
             " WHERE usename = current_user AND pid NOT IN (%d, %d)",
             PQbackendPID(writer->main), PQbackendPID(writer->commit));
    for (;;) {
        PGresult *result = NULL;
        uint64_t others;
        int r = db_pipe_run(writer->main, sql, until, &result, error);

        if (r != 0)
            return r;
        others = db_column_number(result, 0);
        PQclear(result);
        if (others == 0)
            return 0;
        if (kt_monotonic_now() > until)
            return kt_error_set(error, KT_ERR_BUSY, "end them with pg_terminate_backend",
                                "%" PRIu64 " sessions of an older writer do not end", others);
        poll(NULL, 0, 10);
    }
}

static int take_lock(struct db_writer *writer, struct kt_error *error)
{
    PGresult *result = NULL;
    int r = db_pipe_run(writer->main, "SELECT pg_try_advisory_lock(" WRITER_LOCK ")",
                        deadline(writer), &result, error);

    if (r == 0 && !db_column_true(result, 0))
        r = kt_error_set(error, KT_ERR_BUSY, "stop the other kts on this database",
                         "another writer holds this database");
    PQclear(result);
    return r;
}

// A permission that was taken back before both sessions were there: whoever took it back ends the
// sessions that there are, and must not be followed by new ones.
static int check_permission(const struct db_writer *writer, struct kt_error *error)
{
    const struct db_writer_settings *settings = &writer->settings;

    if (settings->permitted && !settings->permitted(settings->arg))
        return kt_error_set(error, KT_ERR_NO_QUORUM, NULL,
                            "the permission to write was taken back");
    return 0;
}

// After settling, so that settled deposits are counted.
static int read_log_index(struct db_writer *writer, struct kt_error *error)
{
    PGresult *result = NULL;
    int r = db_pipe_run(writer->main, "SELECT coalesce(max(log_index), 0) FROM deposits",
                        deadline(writer), &result, error);

    if (r == 0)
        writer->state.log_index = db_column_number(result, 0);
    PQclear(result);
    return r;
}

// Reads the answer to one preparation; the first failure is kept in *r.
static int read_prepared(struct db_writer *writer, const char *name, int64_t until, int *r,
                         struct kt_error *error)
{
    PGresult *result = NULL;
    struct kt_error why = {0};
    int code = db_pipe_result(writer->main, until, &result);

    if (code != 0)
        return kt_error_set(error, code, NULL, "the database did not prepare the statements");
    code = db_result_code(result, &why);
    PQclear(result);
    if (code != 0 && *r == 0)
        *r = kt_error_set(error, code, NULL, "statement '%s': %s", name, why.message);
    return 0;
}

static int prepare_statements(struct db_writer *writer, struct kt_error *error)
{
    int64_t until = deadline(writer);
    size_t count = 0;
    const struct db_change_ops *const *all = db_changes_all(&count);
    int r = 0, lost = 0, sent = 1;

    for (size_t i = 0; i < count && sent == 1; i++) {
        const struct db_change_ops *ops = all[i];

        sent = PQsendPrepare(writer->main, ops->check_name, ops->check_sql, 0, NULL) == 1 &&
               PQsendPrepare(writer->main, ops->write_name, ops->write_sql, 0, NULL) == 1;
    }
    if (!sent || PQsendPrepare(writer->main, db_log_write_name, db_log_write_sql, 0, NULL) != 1)
        return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL, "cannot prepare");
    if ((r = db_pipe_sync(writer->main)) != 0)
        return r;
    for (size_t i = 0; i < 2 * count && lost == 0; i++) {
        const struct db_change_ops *ops = all[i / 2];

        lost = read_prepared(writer, i % 2 ? ops->write_name : ops->check_name, until, &r, error);
    }
    if (lost == 0)
        lost = read_prepared(writer, db_log_write_name, until, &r, error);
    if (lost != 0)
        return lost;
    return r != 0 ? r : db_pipe_end(writer->main, until);
}

int db_writer_open(const struct db_target *target, const struct db_writer_settings *settings,
                   struct db_writer **writer, struct kt_error *error)
{
    struct db_writer *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        return KT_ERR_NO_MEMORY;
    w->settings = *settings;
    w->next_group = (uint64_t)kt_time_now(); // unlike any group that an older writer named
    if ((r = connect_one(w, target, "on", &w->main, error)) != 0 ||
        (r = connect_one(w, target, "local", &w->commit, error)) != 0 ||
        (r = check_permission(w, error)) != 0 || (r = end_old_sessions(w, error)) != 0 ||
        (r = take_lock(w, error)) != 0 || (r = db_write_read_row(w, error)) != 0 ||
        (r = db_prove_prepare(w, error)) != 0 || (r = db_write_settle(w, error)) != 0 ||
        (r = read_log_index(w, error)) != 0 || (r = db_log_read(w, error)) != 0 ||
        (r = db_write_choose_receipt_key(w, error)) != 0 || (r = prepare_statements(w, error)) != 0)
        goto out;
    w->notices = 0;
    *writer = w;
    return 0;
out:
    db_writer_close(w);
    return r;
}

void db_writer_close(struct db_writer *writer)
{
    if (writer == NULL)
        return;
    PQfinish(writer->main);
    PQfinish(writer->commit);
    free(writer->receipt_keys_json);
    free(writer->counted);
    free(writer);
}

void db_writer_state(const struct db_writer *writer, struct db_writer_state *state)
{
    *state = writer->state;
}

void db_writer_set_ca(struct db_writer *writer, const char *ca_cert_pem)
{
    writer->settings.ca_cert_pem = ca_cert_pem;
}

void db_writer_set_timeout(struct db_writer *writer, int timeout_ms)
{
    writer->settings.timeout_ms = timeout_ms;
}

void db_writer_fds(const struct db_writer *writer, int fds[2])
{
    fds[0] = PQsocket(writer->main);
    fds[1] = PQsocket(writer->commit);
}

int db_writer_idle(struct db_writer *writer)
{
    if (PQconsumeInput(writer->main) != 1 || PQconsumeInput(writer->commit) != 1 ||
        PQstatus(writer->main) != CONNECTION_OK || PQstatus(writer->commit) != CONNECTION_OK)
        return KT_ERR_DATABASE_UNAVAILABLE;
    // a backend that is being ended says so in a message before it closes
    if (!PQisBusy(writer->main)) {
        PGresult *result = PQgetResult(writer->main);

        PQclear(result);
    }
    return PQstatus(writer->main) == CONNECTION_OK ? 0 : KT_ERR_DATABASE_UNAVAILABLE;
}
