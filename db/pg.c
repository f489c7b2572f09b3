// SPDX-License-Identifier: Apache-2.0
// Connecting and asking with a deadline, free of the environment.
#include "db/pg.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "lib/encode.h"

extern char **environ;

void db_pg_clean_environment(void)
{
    char name[128];

    // libpq takes an empty value in the parameters for "not given" and looks at the environment, so
    // naming every parameter is not enough. unsetenv moves the list: begin again after each.
    for (char **entry = environ; entry && *entry;) {
        size_t n = strcspn(*entry, "=");

        if (strncmp(*entry, "PG", 2) != 0 || n >= sizeof(name)) {
            entry++;
            continue;
        }
        memcpy(name, *entry, n);
        name[n] = '\0';
        if (unsetenv(name) != 0)
            return;
        entry = environ;
    }
}

void db_pg_parameters(const struct db_target *target, char port[8],
                      const char *keywords[DB_PG_PARAMETERS], const char *values[DB_PG_PARAMETERS])
{
    int n = 0;

    (void)snprintf(port, 8, "%d", target->port);
#define ADD(keyword, value)                                                                        \
    do {                                                                                           \
        keywords[n] = (keyword);                                                                   \
        values[n] = (value);                                                                       \
        n++;                                                                                       \
    } while (0)
    ADD("host", target->socket_dir);
    ADD("port", port);
    ADD("dbname", target->database);
    ADD("user", target->user);
    if (target->password)
        ADD("password", target->password);
    // A path that cannot exist: libpq warns on standard error about one that is no plain file.
    ADD("passfile", "/dev/null/none");
    ADD("application_name", target->application_name ? target->application_name : "keytrustee");
    ADD("client_encoding", "UTF8");
    // A socket in a 0700 folder needs neither; both would look for files and libraries.
    ADD("sslmode", "disable");
    ADD("gssencmode", "disable");
#undef ADD
    keywords[n] = NULL;
    values[n] = NULL;
}

// Waits for `events` on the connection until `deadline` (monotonic microseconds).
static int wait_for(PGconn *conn, short events, int64_t deadline)
{
    for (;;) {
        struct pollfd one = {.fd = PQsocket(conn), .events = events};
        int64_t left_ms = (deadline - kt_monotonic_now() + 999) / 1000;
        int n;

        if (one.fd < 0)
            return KT_ERR_DATABASE_UNAVAILABLE;
        if (left_ms <= 0)
            return KT_ERR_DATABASE_TIMEOUT;
        n = poll(&one, 1, left_ms > 60000 ? 60000 : (int)left_ms);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return KT_ERR_SYSTEM;
    }
}

// The first line of what libpq says of the connection; its texts name no secrets.
static int connection_error(PGconn *conn, struct kt_error *error)
{
    const char *text = conn ? PQerrorMessage(conn) : "out of memory";
    size_t n = strcspn(text, "\n");

    return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL, "cannot reach the database: %.*s",
                        (int)(n > 300 ? 300 : n), text);
}

// libpq would print notices on standard error, beside the words of the program.
static void drop_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

int db_pg_connect(const struct db_target *target, int timeout_ms, PGconn **out,
                  struct kt_error *error)
{
    const char *keywords[DB_PG_PARAMETERS], *values[DB_PG_PARAMETERS];
    char port[8];
    int64_t deadline = kt_monotonic_now() + (int64_t)timeout_ms * 1000;
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    PGconn *conn;
    int rc = 0;

    db_pg_clean_environment();
    db_pg_parameters(target, port, keywords, values);
    conn = PQconnectStartParams(keywords, values, 0);
    if (!conn || PQstatus(conn) == CONNECTION_BAD) {
        rc = connection_error(conn, error);
        goto out;
    }
    while (state != PGRES_POLLING_OK) {
        rc = wait_for(conn, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);
        if (rc) {
            rc = kt_error_set(error, rc, NULL, "the database does not answer on '%s'",
                              target->socket_dir);
            goto out;
        }
        state = PQconnectPoll(conn);
        if (state == PGRES_POLLING_FAILED) {
            rc = connection_error(conn, error);
            goto out;
        }
    }
    (void)PQsetNoticeReceiver(conn, drop_notice, NULL);
    *out = conn;
    conn = NULL;
out:
    PQfinish(conn);
    return rc;
}

int db_pg_result_error(const PGresult *result, const char *what, struct kt_error *error)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *text = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    int code = KT_ERR_DATABASE;

    if (!state || strncmp(state, "08", 2) == 0 || strncmp(state, "57P", 3) == 0)
        code = KT_ERR_DATABASE_UNAVAILABLE;
    else if (strcmp(state, "57014") == 0 || strcmp(state, "55P03") == 0)
        code = KT_ERR_DATABASE_TIMEOUT;
    else if (strncmp(state, "53", 2) == 0)
        code = strcmp(state, "53100") == 0 ? KT_ERR_STORAGE_FULL : KT_ERR_DATABASE_UNAVAILABLE;
    return kt_error_set(error, code,
                        code == KT_ERR_DATABASE ? "PostgreSQL's log is in logs beside the confdir"
                                                : NULL,
                        "%s: %.200s%s%s%s", what, text ? text : "the connection broke",
                        state ? " (SQLSTATE " : "", state ? state : "", state ? ")" : "");
}

// Cancels what runs and waits a little for its end, so that the connection can be closed cleanly.
static void cancel(PGconn *conn)
{
    PGcancel *handle = PQgetCancel(conn);
    char text[256];

    if (!handle)
        return;
    (void)PQcancel(handle, text, sizeof(text));
    PQfreeCancel(handle);
}

// Takes in all results of what was sent; keeps the last one, or the first that failed.
static int collect(PGconn *conn, int64_t deadline, PGresult **out, struct kt_error *error)
{
    PGresult *kept = NULL;
    int rc = 0, failed = 0, cancelled = 0;

    for (;;) {
        PGresult *result;

        while (PQisBusy(conn)) {
            rc = wait_for(conn, POLLIN, deadline);
            if (rc == KT_ERR_DATABASE_TIMEOUT && !cancelled) {
                cancel(conn);
                cancelled = 1;
                deadline = kt_monotonic_now() + 2000000;
                continue;
            }
            if (rc || !PQconsumeInput(conn)) {
                PQclear(kept);
                return rc == KT_ERR_DATABASE_TIMEOUT
                           ? kt_error_set(error, rc, NULL, "the database does not answer")
                           : connection_error(conn, error);
            }
        }
        result = PQgetResult(conn);
        if (!result)
            break;
        if (failed) {
            PQclear(result);
            continue;
        }
        PQclear(kept);
        kept = result;
        failed = PQresultStatus(result) != PGRES_COMMAND_OK &&
                 PQresultStatus(result) != PGRES_TUPLES_OK &&
                 PQresultStatus(result) != PGRES_EMPTY_QUERY;
        if (PQresultStatus(result) == PGRES_COPY_IN || PQresultStatus(result) == PGRES_COPY_OUT ||
            PQresultStatus(result) == PGRES_COPY_BOTH)
            break; // nothing here speaks COPY; the caller drops the connection
    }
    if (failed || !kept) {
        rc = db_pg_result_error(kept, "the database refused", error);
        PQclear(kept);
        return rc;
    }
    *out = kept;
    return 0;
}

static int finish(PGconn *conn, int sent, int timeout_ms, PGresult **result, struct kt_error *error)
{
    int64_t deadline = kt_monotonic_now() + (int64_t)timeout_ms * 1000;
    PGresult *last = NULL;
    int rc;

    if (!sent)
        return connection_error(conn, error);
    rc = collect(conn, deadline, &last, error);
    if (rc)
        return rc;
    if (result)
        *result = last;
    else
        PQclear(last);
    return 0;
}

int db_pg_query(PGconn *conn, int timeout_ms, const char *sql, int count,
                const char *const *parameters, PGresult **result, struct kt_error *error)
{
    return finish(conn, PQsendQueryParams(conn, sql, count, NULL, parameters, NULL, NULL, 0),
                  timeout_ms, result, error);
}

int db_pg_run(PGconn *conn, int timeout_ms, const char *sql, struct kt_error *error)
{
    return finish(conn, PQsendQuery(conn, sql), timeout_ms, NULL, error);
}
