// SPDX-License-Identifier: Apache-2.0
// Opens a worker's connection: connects and prepares, within a deadline.
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/reader_inner.h"

static int unavailable(const struct db_reader *reader, struct kt_error *error, const char *what)
{
    char text[256];

    snprintf(text, sizeof(text), "%s", PQerrorMessage(reader->conn));
    text[strcspn(text, "\n")] = '\0';
    return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL, "%s: %s", what, text);
}

static int poll_until(int fd, short events, int64_t deadline_us)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left_ms = (deadline_us - kt_monotonic_now() + 999) / 1000;
    int n = left_ms > 0 ? poll(&p, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms) : 0;

    if (n < 0 && errno == EINTR)
        return 0;
    return n < 0 ? KT_ERR_SYSTEM : n == 0 ? KT_ERR_TIMEOUT : 0;
}

static int connect_within(struct db_reader *reader, const struct db_target *target,
                          int statement_timeout_ms, int64_t deadline_us, struct kt_error *error)
{
    char port[16], options[256];
    const char *const names[] = {"host",
                                 "port",
                                 "dbname",
                                 "user",
                                 "password",
                                 "options",
                                 "application_name",
                                 "sslmode",
                                 "gssencmode",
                                 "client_encoding",
                                 NULL};
    const char *const values[] = {target->socket_dir,
                                  port,
                                  target->database,
                                  target->user,
                                  target->password,
                                  options,
                                  target->application_name,
                                  "disable",
                                  "disable",
                                  "UTF8",
                                  NULL};
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;

    snprintf(port, sizeof(port), "%d", target->port);
    // Read-only twice over: the role may only select, the session may not write. Plans are made
    // once: for the tables that will be, not for the empty ones of today.
    snprintf(options, sizeof(options),
             "-c default_transaction_read_only=on -c plan_cache_mode=force_generic_plan "
             "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off -c jit=off "
             "-c lock_timeout=200 -c statement_timeout=%d",
             statement_timeout_ms);
    reader->conn = PQconnectStartParams(names, values, 0);
    if (!reader->conn)
        return KT_ERR_NO_MEMORY;
    while (PQstatus(reader->conn) != CONNECTION_BAD && state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED)
            break;
        int rc = poll_until(PQsocket(reader->conn),
                            state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_us);
        if (rc)
            return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                                "the database did not accept a connection in time");
        state = PQconnectPoll(reader->conn);
    }
    return state == PGRES_POLLING_OK ? 0 : unavailable(reader, error, "cannot connect");
}

static int prepare_within(struct db_reader *reader, const struct db_statement *statement,
                          int64_t deadline_us, struct kt_error *error)
{
    int rc = 0;

    if (!PQsendPrepare(reader->conn, statement->name, statement->sql, statement->count,
                       statement->types))
        return unavailable(reader, error, "cannot prepare");
    while (rc == 0 && PQisBusy(reader->conn)) {
        rc = poll_until(PQsocket(reader->conn), POLLIN, deadline_us);
        if (rc == 0 && !PQconsumeInput(reader->conn))
            return unavailable(reader, error, "cannot prepare");
    }
    if (rc)
        return kt_error_set(error, KT_ERR_DATABASE_UNAVAILABLE, NULL,
                            "the database did not prepare the statement '%s' in time",
                            statement->name);
    for (PGresult *r; (r = PQgetResult(reader->conn)) != NULL; PQclear(r)) {
        if (PQresultStatus(r) != PGRES_COMMAND_OK)
            rc = kt_error_set(error, KT_ERR_DATABASE, "run ktadmin status and look at the schema",
                              "cannot prepare the statement '%s': %s", statement->name,
                              PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
    }
    return rc;
}

// Notices would go to standard error; a reader has none that matter.
static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

int db_reader_open(const struct db_target *target, int timeout_ms, int statement_timeout_ms,
                   struct db_reader **reader, struct kt_error *error)
{
    int64_t deadline_us = kt_monotonic_now() + (int64_t)timeout_ms * 1000;
    struct db_reader *fresh = calloc(1, sizeof(*fresh));
    size_t count;
    const struct db_statement *statements = db_reads_statements(&count);
    int rc;

    if (!fresh)
        return KT_ERR_NO_MEMORY;
    rc = connect_within(fresh, target, statement_timeout_ms, deadline_us, error);
    if (rc)
        goto out;
    PQsetNoticeReceiver(fresh->conn, ignore_notice, NULL);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = prepare_within(fresh, &statements[i], deadline_us, error);
    if (rc == 0 && (PQsetnonblocking(fresh->conn, 1) || !PQenterPipelineMode(fresh->conn)))
        rc = unavailable(fresh, error, "cannot enter pipeline mode");
    if (rc)
        goto out;
    *reader = fresh;
    fresh = NULL;
out:
    db_reader_close(fresh);
    return rc;
}
