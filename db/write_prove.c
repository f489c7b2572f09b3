// SPDX-License-Identifier: Apache-2.0
// What makes an acknowledgement worth its name: a clean answer, settings that hold, and W members
// of this epoch that say themselves that they have it.
#include <poll.h>
#include <stdio.h>

#include "db/write.h"

// Members may come back in a moment; a caller is not kept waiting for longer than that.
#define PATIENCE_US 150000
#define LOOK_US     10000

// $1: what synchronous_standby_names must be.
#define SETTINGS_HOLD                                                                              \
    "current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'"               \
    " AND current_setting('synchronous_commit') IN ('on', 'remote_apply')"                         \
    " AND current_setting('synchronous_standby_names') = $1"

static const char guard_sql[] = "SELECT 1 / (" SETTINGS_HOLD ")::int";

// $2: JSON of names and members, $3: the position, NULL: what is flushed here now. A member counts
// once, however many connections it has; a name counts only under the role of its member: anybody
// can choose an application name. PostgreSQL itself looks at neither.
static const char prove_sql[] =
    "SELECT " SETTINGS_HOLD ", p.lsn,"
    " (SELECT count(DISTINCT m.value) FROM pg_catalog.pg_stat_replication r"
    "  JOIN json_each_text($2) m ON r.application_name = m.key"
    "  AND r.usename::text COLLATE \"C\" = m.value"
    "  WHERE r.state = 'streaming' AND r.flush_lsn >= p.lsn)"
    " FROM (SELECT coalesce($3, pg_current_wal_flush_lsn()) AS lsn OFFSET 0) p";

enum { OID_TEXT = 25, OID_JSON = 114, OID_LSN = 3220 }; // fixed in PostgreSQL's catalogue

int db_prove_prepare(struct db_writer *writer, struct kt_error *error)
{
    static const struct {
        const char *name, *sql;
        int count;
        Oid types[3];
    } statements[] = {
        {"guard", guard_sql, 1, {OID_TEXT}},
        {"prove", prove_sql, 3, {OID_TEXT, OID_JSON, OID_LSN}},
    };
    int64_t until = kt_monotonic_now() + (int64_t)writer->settings.timeout_ms * 1000;
    int r = 0;

    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]) && r == 0; i++) {
        PGresult *result = NULL;

        if (PQsendPrepare(writer->main, statements[i].name, statements[i].sql, statements[i].count,
                          statements[i].types) != 1 ||
            db_pipe_sync(writer->main) != 0 || db_pipe_result(writer->main, until, &result) != 0 ||
            db_pipe_end(writer->main, until) != 0)
            r = kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                             "the database did not prepare '%s'", statements[i].name);
        else
            r = db_result_code(result, error);
        PQclear(result);
    }
    return r;
}

int db_prove_send_guard(struct db_writer *writer)
{
    struct db_params params = {0};

    db_param_text(&params, writer->standby_names);
    return db_pipe_send(writer->main, "guard", &params);
}

int db_prove_unsafe(struct kt_error *error)
{
    return kt_error_set(error, KT_ERR_UNSAFE_SETTINGS, NULL,
                        "synchronous_standby_names, synchronous_commit, fsync or full_page_writes"
                        " of PostgreSQL were changed");
}

// 1 when too few members have been there for a while; *lacking_us begins as 0.
static int patience_is_over(const struct db_writer *writer, int64_t *lacking_us)
{
    const struct db_writer_settings *settings = &writer->settings;
    int64_t now = kt_monotonic_now();

    if (settings->quorum == NULL || settings->quorum(settings->arg))
        *lacking_us = 0;
    else if (*lacking_us == 0)
        *lacking_us = now;
    return *lacking_us != 0 && now - *lacking_us >= PATIENCE_US;
}

int db_prove_result(struct db_writer *writer, int64_t deadline_us, PGresult **result)
{
    int64_t lacking_us = 0;

    *result = NULL;
    for (;;) {
        int64_t look = kt_monotonic_now() + LOOK_US;
        int r = db_pipe_wait(writer->main, look < deadline_us ? look : deadline_us);

        if (r == 0)
            return db_pipe_result(writer->main, deadline_us, result);
        if (r != KT_ERR_TIMEOUT || look >= deadline_us)
            return r;
        if (patience_is_over(writer, &lacking_us))
            return KT_ERR_NO_QUORUM;
    }
}

// Asks once. `lsn` is "" at first and then the position that the first answer gave.
static int ask(struct db_writer *writer, char lsn[KT_LSN_TEXT], int64_t until,
               struct kt_error *error)
{
    struct db_params params = {0};
    PGresult *result = NULL;
    int r;

    db_param_text(&params, writer->standby_names);
    db_param_text(&params, writer->counted);
    db_param_text(&params, lsn[0] ? lsn : NULL);
    if ((r = db_pipe_send(writer->main, "prove", &params)) != 0 ||
        (r = db_pipe_sync(writer->main)) != 0 ||
        (r = db_pipe_result(writer->main, until, &result)) != 0 ||
        (r = db_pipe_end(writer->main, until)) != 0 || (r = db_result_code(result, error)) != 0)
        goto out;
    snprintf(lsn, KT_LSN_TEXT, "%s", db_column_text(result, 1));
    if (!db_column_true(result, 0))
        r = db_prove_unsafe(error);
    else if (db_column_number(result, 2) < writer->row.w)
        r = kt_error_set(error, KT_ERR_NO_QUORUM, NULL, "too few members have the group");
out:
    PQclear(result);
    return r;
}

int db_prove(struct db_writer *writer, int64_t deadline_us, struct kt_error *error)
{
    char lsn[KT_LSN_TEXT] = "";
    int64_t lacking_us = 0;
    int r;

    // an answer that is under way at the end is still taken: the connection stays in step
    while ((r = ask(writer, lsn, deadline_us + PATIENCE_US, error)) == KT_ERR_NO_QUORUM &&
           kt_monotonic_now() < deadline_us && !patience_is_over(writer, &lacking_us))
        poll(NULL, 0, 1); // a member's report is under way
    return r;
}

static int commit_nothing(struct db_writer *writer, int64_t until, struct kt_error *error)
{
    PGresult *result = NULL;
    int r;

    if ((r = db_pipe_send_text(writer->main,
                               "SELECT pg_logical_emit_message(true, 'kt', 'barrier')")) == 0 &&
        (r = db_pipe_sync(writer->main)) == 0 &&
        (r = db_prove_result(writer, until, &result)) == 0 &&
        (r = db_pipe_end(writer->main, until)) == 0)
        r = db_result_code(result, error);
    PQclear(result);
    return r;
}

int db_write_barrier(struct db_writer *writer, struct kt_error *error)
{
    int64_t until = kt_monotonic_now() + (int64_t)writer->settings.timeout_ms * 1000;
    int r;

    writer->notices = 0;
    r = commit_nothing(writer, until, error);
    if (r == 0)
        r = db_prove(writer, until, error);
    // the answer that did not come would be taken for the next group's: the connection is given up
    if (r == KT_ERR_TIMEOUT)
        r = kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL, "a barrier was not answered");
    if (r == KT_ERR_NO_QUORUM)
        kt_error_set(error, r, NULL, "too few members for a barrier");
    if (r == 0 && writer->notices != 0)
        r = kt_error_set(error, KT_ERR_NO_QUORUM, NULL, "the barrier came back with a warning");
    writer->notices = 0;
    return r;
}
