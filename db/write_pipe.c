// SPDX-License-Identifier: Apache-2.0
// Statements in pipeline mode on a connection whose owner may wait, but never for ever.
#include "db/write.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

static char *next_slot(struct db_params *params)
{
    return params->text[params->count];
}

static void add(struct db_params *params, const char *value, int length, int format)
{
    if (params->count >= DB_PARAMS_MAX)
        abort(); // a statement of ours has more parameters than its own table allows
    params->values[params->count] = value;
    params->lengths[params->count] = length;
    params->formats[params->count] = format;
    params->count++;
}

void db_param_text(struct db_params *params, const char *text)
{
    add(params, text, 0, 0);
}

void db_param_bytes(struct db_params *params, const void *bytes, size_t n)
{
    add(params, bytes, (int)n, 1);
}

void db_param_number(struct db_params *params, uint64_t number)
{
    char *slot = next_slot(params);

    snprintf(slot, DB_PARAM_TEXT, "%" PRIu64, number);
    add(params, slot, 0, 0);
}

void db_param_boolean(struct db_params *params, int value)
{
    add(params, value ? "t" : "f", 0, 0);
}

void db_param_time(struct db_params *params, int64_t us)
{
    char *slot = next_slot(params);

    kt_time_format(us, slot);
    add(params, slot, 0, 0);
}

void db_param_uuid(struct db_params *params, const struct kt_uuid *uuid)
{
    char *slot = next_slot(params);

    kt_uuid_format(uuid, slot);
    add(params, kt_uuid_is_nil(uuid) ? NULL : slot, 0, 0);
}

void db_param_key_ids(struct db_params *params, const uint64_t *ids, size_t count)
{
    size_t n = 1;

    params->list[0] = '{';
    for (size_t i = 0; i < count && i < KT_RECIPIENTS_MAX; i++)
        n += (size_t)snprintf(params->list + n, sizeof(params->list) - n, "%s%" PRId64,
                              i ? "," : "", (int64_t)ids[i]);
    snprintf(params->list + n, sizeof(params->list) - n, "}");
    add(params, params->list, 0, 0);
}

int db_column_is_null(const PGresult *result, int column)
{
    return PQgetisnull(result, 0, column);
}

const char *db_column_text(const PGresult *result, int column)
{
    return PQgetvalue(result, 0, column);
}

int db_column_true(const PGresult *result, int column)
{
    return PQgetvalue(result, 0, column)[0] == 't';
}

uint64_t db_column_number(const PGresult *result, int column)
{
    uint64_t n = 0;

    return kt_u64_parse(PQgetvalue(result, 0, column), 0, INT64_MAX, &n) == 0 ? n : 0;
}

int db_column_uuid(const PGresult *result, int column, struct kt_uuid *uuid)
{
    return kt_uuid_parse(PQgetvalue(result, 0, column), uuid);
}

int db_column_bytes(const PGresult *result, int column, uint8_t *out, size_t n)
{
    const char *text = PQgetvalue(result, 0, column);

    if (text[0] != '\\' || text[1] != 'x')
        return KT_ERR_INVALID;
    return kt_hex_decode(text + 2, out, n);
}

int db_pipe_send(PGconn *conn, const char *statement, const struct db_params *params)
{
    if (PQsendQueryPrepared(conn, statement, params->count, params->values, params->lengths,
                            params->formats, 0) != 1)
        return KT_ERR_DATABASE_UNAVAILABLE;
    return 0;
}

int db_pipe_send_text(PGconn *conn, const char *sql)
{
    return PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0) == 1
               ? 0
               : KT_ERR_DATABASE_UNAVAILABLE;
}

int db_pipe_sync(PGconn *conn)
{
    return PQpipelineSync(conn) == 1 ? 0 : KT_ERR_DATABASE_UNAVAILABLE;
}

// Writes what is queued and reads what comes, until libpq has the next result or time is up.
int db_pipe_wait(PGconn *conn, int64_t deadline_us)
{
    for (;;) {
        int unsent = PQflush(conn);
        struct pollfd p = {.fd = PQsocket(conn), .events = POLLIN};
        int64_t left = deadline_us - kt_monotonic_now();
        int r;

        if (unsent < 0)
            return KT_ERR_DATABASE_UNAVAILABLE;
        if (!PQisBusy(conn))
            return 0;
        if (left <= 0)
            return KT_ERR_TIMEOUT;
        if (unsent == 1)
            p.events |= POLLOUT;
        r = poll(&p, 1, (int)(left / 1000 + 1));
        if (r < 0 && errno != EINTR)
            return KT_ERR_DATABASE_UNAVAILABLE;
        if (r > 0 && (p.revents & ~POLLOUT) && PQconsumeInput(conn) != 1)
            return KT_ERR_DATABASE_UNAVAILABLE;
    }
}

int db_pipe_result(PGconn *conn, int64_t deadline_us, PGresult **result)
{
    PGresult *first, *next;
    int r;

    *result = NULL;
    if ((r = db_pipe_wait(conn, deadline_us)) != 0)
        return r;
    first = PQgetResult(conn);
    if (first == NULL || PQstatus(conn) != CONNECTION_OK) {
        PQclear(first);
        return KT_ERR_DATABASE_UNAVAILABLE;
    }
    // the NULL that ends each statement's results
    if ((r = db_pipe_wait(conn, deadline_us)) != 0) {
        PQclear(first);
        return r;
    }
    next = PQgetResult(conn);
    if (next != NULL) {
        PQclear(next);
        PQclear(first);
        return KT_ERR_DATABASE_UNAVAILABLE;
    }
    *result = first;
    return 0;
}

int db_pipe_end(PGconn *conn, int64_t deadline_us)
{
    PGresult *result;
    ExecStatusType status;
    int r;

    if ((r = db_pipe_wait(conn, deadline_us)) != 0)
        return r;
    result = PQgetResult(conn);
    status = PQresultStatus(result);
    PQclear(result);
    return status == PGRES_PIPELINE_SYNC ? 0 : KT_ERR_DATABASE_UNAVAILABLE;
}

int db_pipe_run(PGconn *conn, const char *sql, int64_t deadline_us, PGresult **result,
                struct kt_error *error)
{
    PGresult *answer = NULL;
    int r;

    if (result)
        *result = NULL;
    if ((r = db_pipe_send_text(conn, sql)) != 0 || (r = db_pipe_sync(conn)) != 0 ||
        (r = db_pipe_result(conn, deadline_us, &answer)) != 0 ||
        (r = db_pipe_end(conn, deadline_us)) != 0) {
        PQclear(answer);
        return kt_error_set(error, r, NULL, "%s",
                            r == KT_ERR_TIMEOUT ? "the database did not answer in time"
                                                : "the connection to the database is gone");
    }
    r = db_result_code(answer, error);
    if (r == 0 && result)
        *result = answer;
    else
        PQclear(answer);
    return r;
}

int db_result_code(const PGresult *result, struct kt_error *error)
{
    static const struct {
        const char *sqlstate; // a prefix
        int code;
    } map[] = {
        {"53100", KT_ERR_STORAGE_FULL},
        {"53", KT_ERR_DATABASE_UNAVAILABLE},
        {"55P03", KT_ERR_DATABASE_TIMEOUT},
        {"57014", KT_ERR_DATABASE_TIMEOUT},
        {"57P", KT_ERR_DATABASE_UNAVAILABLE},
        {"08", KT_ERR_DATABASE_UNAVAILABLE},
        {"25006", KT_ERR_PASSIVE},
        {"", KT_ERR_DATABASE},
    };
    ExecStatusType status = PQresultStatus(result);
    const char *sqlstate, *message;
    size_t i = 0;

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return 0;
    if (status == PGRES_PIPELINE_ABORTED)
        return kt_error_set(error, KT_ERR_DATABASE, NULL, "an earlier statement failed");
    sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (sqlstate == NULL)
        sqlstate = "08";
    while (strncmp(sqlstate, map[i].sqlstate, strlen(map[i].sqlstate)) != 0)
        i++;
    return kt_error_set(error, map[i].code, NULL, "PostgreSQL: %s (%s)",
                        message ? message : "no message", sqlstate);
}
